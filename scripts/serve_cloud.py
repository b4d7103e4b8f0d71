"""The collector: takes devices' vectors in, hands bundles out. Needs no TensorFlow.

  dccl-serve --data_dir=collector                       serves on 127.0.0.1:8080, with all it needs in that folder
  dccl-serve publish BUNDLE --percent=10                a new bundle, for a tenth of devices; a folder or a zip
  dccl-serve rollout IDENTITY --percent=100             for all
  dccl-serve halt IDENTITY                              nobody else gets it; resume IDENTITY goes on
  dccl-serve rollback IDENTITY                          whoever has it is offered the one before
  dccl-serve bundles | statistics | quarantine          what there is; quarantine takes --reason
  dccl-serve forget DEVICE_ID                           removes a device, its key and its vectors
  dccl-serve reseal                                     encrypts all keys under the first line of the secret file

IDENTITY may be cut after 8 digits. All but the first work on the store itself, whether or not it is being served; the
same can be done over HTTP with the operator's token (docs/collector.md). For others than this machine:

  dccl-serve --host=0.0.0.0 --port=443 --tls_certificate=cert.pem --tls_key=key.pem --enrolment_token_file=token \\
      --store=postgresql://dccl@db/dccl --bundles=s3://bundles/dccl

Ends with 0, or with 1 and one line on what was wrong.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from device_runtime.errors import DeviceError
from scripts import programs

_DATA_DIR = flags.DEFINE_string("data_dir", "collector", "Folder of what has no flag of its own; made on first use.")
_STORE = flags.DEFINE_string("store", None, "URL of the database; by default SQLite in --data_dir.")
_BUNDLES = flags.DEFINE_string("bundles", None, "Folder or fsspec URL of the bundles' files; by default in --data_dir.")
_SECRET_FILE = flags.DEFINE_string(
    "secret_file", None, "What devices' keys are encrypted under; by default a file in --data_dir, made on first use."
)
_OPERATOR_TOKEN_FILE = flags.DEFINE_string(
    "operator_token_file", None, "The operator's token; by default a file in --data_dir, made on first use."
)
_ENROLMENT_TOKEN_FILE = flags.DEFINE_string(
    "enrolment_token_file", None, "The token that a device must name to register; without one, anybody may."
)
_ENROLMENTS_PER_SECOND = flags.DEFINE_float(
    "enrolments_per_second", 100.0, "serve: devices that may register; after a quiet time ten seconds' worth at once."
)
_KEEP_DAYS = flags.DEFINE_float("keep_days", None, "Delete vectors older than that, hourly; by default none.")

_HOST = flags.DEFINE_string("host", "127.0.0.1", "serve: address to listen on.")
_PORT = flags.DEFINE_integer("port", 8080, "serve: port to listen on.")
_TLS_CERTIFICATE = flags.DEFINE_string("tls_certificate", None, "serve: PEM file; with --tls_key, HTTPS.")
_TLS_KEY = flags.DEFINE_string("tls_key", None, "serve: PEM file.")
_BEHIND_PROXY = flags.DEFINE_bool("behind_proxy", False, "serve: a proxy before this ends TLS.")
_OPEN_ENROLMENT = flags.DEFINE_bool("open_enrolment", False, "serve: let anybody register, not from here alone.")
_LOG_REQUESTS = flags.DEFINE_bool("log_requests", False, "serve: a line of the log for each request.")
_NORM = flags.DEFINE_float("norm", 100.0, "serve: longest vector that is accepted, whatever the others are like.")
_NORM_RATIO = flags.DEFINE_float("norm_ratio", 4.0, "serve: longest vector, in medians of its bundle's vectors.")
_QUARANTINE_MB = flags.DEFINE_float(
    "quarantine_mb", 64.0, "serve: kept of rejected uploads, for each reason.", lower_bound=0.0, upper_bound=1e6
)

_PERCENT = flags.DEFINE_float("percent", None, "publish, rollout: of devices, 0 to 100.")
_REASON = flags.DEFINE_string("reason", None, "quarantine: of this reason alone, such as NORM_TOO_LARGE.")
_LIMIT = flags.DEFINE_integer("limit", 20, "quarantine: how many at most.")

SHORTEST_IDENTITY = 8  # digits
UNREADABLE_SHOWN = 100  # devices whose keys `reseal` cannot open


def main(argv: list[str]) -> int:
    """Runs one command; returns the exit code."""
    try:
        return _run(argv[1] if len(argv) > 1 else "serve", argv[2:])
    except ImportError as error:
        print(f"dccl-serve: needs the package {error.name}; pip install 'dccl[service]'", file=sys.stderr)
    except (ValueError, LookupError, OSError, DeviceError) as error:
        print(f"dccl-serve: {error}", file=sys.stderr)
    return 1


def _run(name: str, words: list[str]) -> int:
    commands: dict[str, tuple[list[str], Callable[..., Any]]] = {
        "serve": ([], _serve),
        "publish": (["BUNDLE"], _publish),
        "rollout": (["IDENTITY"], lambda identity: _change(identity, percent=_percent())),
        "halt": (["IDENTITY"], lambda identity: _change(identity, state="halted")),
        "resume": (["IDENTITY"], lambda identity: _change(identity, state="active")),
        "rollback": (["IDENTITY"], lambda identity: _change(identity, state="rolled_back")),
        "bundles": ([], _list),
        "statistics": ([], lambda: _with_collector(lambda collector: collector.store.statistics())),
        "quarantine": ([], _quarantine),
        "forget": (["DEVICE_ID"], _forget),
        "reseal": ([], _reseal),
    }
    if name not in commands:
        raise ValueError(f"command: expected one of {', '.join(commands)}, got {name}; --help explains them")
    expected, work = commands[name]
    if len(words) != len(expected):
        raise ValueError(
            f"{name}: expected {' '.join(expected) or 'no further words'}, got {' '.join(words) or 'none'}"
        )
    if (result := work(*words)) is not None:
        print(json.dumps(result, indent=2))
    return 0


def _settings() -> Any:
    from dccl_tf.collector import Settings
    from dccl_tf.vectors import Limits

    return Settings(
        data_dir=_DATA_DIR.value,
        store=_STORE.value,
        bundles=_BUNDLES.value,
        secret_file=_SECRET_FILE.value,
        operator_token_file=_OPERATOR_TOKEN_FILE.value,
        enrolment_token_file=_ENROLMENT_TOKEN_FILE.value,
        enrolments_per_second=_ENROLMENTS_PER_SECOND.value,
        keep_days=_KEEP_DAYS.value,
        limits=Limits(
            norm=_NORM.value, norm_ratio=_NORM_RATIO.value, quarantine_bytes=round(_QUARANTINE_MB.value * 2**20)
        ),
    )


def _serve() -> None:
    from dccl_tf.collector.serving import Address, serve

    address = Address(_HOST.value, _PORT.value, _TLS_CERTIFICATE.value, _TLS_KEY.value, _BEHIND_PROXY.value)
    serve(_settings(), address, _OPEN_ENROLMENT.value, _LOG_REQUESTS.value)


def _with_collector(work: Callable[[Any], Any], new: bool = False) -> Any:
    """Calls `work` with the collector of the flags, which need not exist yet if it may be `new`."""
    from sqlalchemy.exc import SQLAlchemyError

    from dccl_tf.collector import Collector, logs

    if not (new or _STORE.value or Path(_DATA_DIR.value).is_dir()):
        raise ValueError(f"data_dir: expected the folder of a collector, got {_DATA_DIR.value}, where there is none")
    logs.configure("WARNING")
    collector = Collector.open(_settings())
    try:
        return work(collector)
    except SQLAlchemyError as error:
        raise ValueError(f"store: {' '.join(str(error).split())}") from error
    finally:
        collector.close()


def _publish(bundle: str) -> dict[str, Any]:
    from dccl_tf.collector.operator_api import release_json

    return release_json(_with_collector(lambda collector: collector.publish(bundle, _percent()), new=True))


def _change(identity: str, **change: Any) -> dict[str, Any]:
    from dccl_tf.collector.operator_api import release_json

    def work(collector: Any) -> Any:
        names = [one.bundle for one in collector.releases.newest_first() if one.bundle.hex().startswith(identity)]
        if len(identity) < SHORTEST_IDENTITY or len(names) != 1:
            raise ValueError(f"identity: expected the first digits of one bundle, at least 8, got {identity}")
        return collector.change_release(names[0], **change)

    return release_json(_with_collector(work))


def _percent() -> float:
    if _PERCENT.value is None:
        raise ValueError("percent: expected --percent=0 to 100, got none")
    return _PERCENT.value


def _list() -> list[dict[str, Any]]:
    from dccl_tf.collector.operator_api import release_json

    return [release_json(one) for one in _with_collector(lambda collector: collector.releases.newest_first())]


def _quarantine() -> dict[str, Any]:
    from dccl_tf.collector.operator_api import quarantined_json

    def work(collector: Any) -> dict[str, Any]:
        found = collector.store.quarantined(_LIMIT.value, _REASON.value)
        return {"counts": collector.store.counts_by_reason(), "uploads": [quarantined_json(one) for one in found]}

    return _with_collector(work)


def _forget(device_id: str) -> dict[str, Any]:
    if not _with_collector(lambda collector: collector.store.forget_device(device_id)):
        raise LookupError(f"device_id: {device_id!r} is not registered")
    return {"forgotten": device_id}


def _reseal() -> dict[str, Any]:
    resealed, unreadable = _with_collector(lambda collector: collector.store.reseal())
    return {"resealed": resealed, "unreadable": len(unreadable), "unreadable_devices": unreadable[:UNREADABLE_SHOWN]}


def cli() -> None:
    """The console command `dccl-serve`."""
    programs.start(main, __name__, words=True)


if __name__ == "__main__":
    cli()
