"""Exports a cloud model as one certified bundle for every phone, or replays a bundle's certificate.

  dccl-export --checkpoint=cloud.keras --dataset=prepared --interactions=log.npz --output=bundle
  dccl-export --checkpoint=cloud.keras --output=bundle.zip --precision=float16
  dccl-export --verify=bundle                       needs no TensorFlow, only a TFLite wheel

The data flags name the log that the model was trained on: its item ids become the bundle's vocabulary and its users'
fields the profile. Nothing is written unless every check passes. Ends with 0, or with 1 and one line on what failed.
"""

if not __package__:
    import _root  # noqa: F401 (run by its path)

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from scripts import programs

if TYPE_CHECKING:
    from device_runtime import Bundle, GoldenResult

Verdict = tuple[str, bool, str]  # what was checked, whether it passed, details

# Of the flags of the cloud's training those that act here.
ACTING = (
    "precision",
    "seed",
    "negatives",
    "pull",
    "gate_margin",
    "device_optimizer",
    "device_learning_rate",
    "device_epochs",
)

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The .keras file of a cloud model (dccl-train-cloud, dccl-run).")
_OUTPUT = flags.DEFINE_string("output", None, "A new folder, or a new file that ends in .zip.")
_VERIFY = flags.DEFINE_string("verify", None, "A bundle to check instead: hashes, operators, golden calls.")
_PROTOCOL = flags.DEFINE_enum("protocol", None, ["next", "liked"], "By default liked if the model takes labels.")
_CANDIDATES = flags.DEFINE_integer("candidates", 100, "C, items that `infer` scores at once.", lower_bound=1)
_PARENT = flags.DEFINE_string("parent", None, "The bundle that this model was distilled from, where there is one.")
_TRAIN_BATCH = flags.DEFINE_integer(
    "train_batch", 32, "B, rows of a training step; of one row kernels give a wrong gradient.", lower_bound=2
)


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-export", argv, _run)


def _run() -> None:
    if _VERIFY.value and (_CHECKPOINT.value or _OUTPUT.value):
        raise ValueError("verify: expected it alone, got --checkpoint or --output beside it: nothing is exported then")
    if _VERIFY.value:
        verify(Path(_VERIFY.value))
    elif _CHECKPOINT.value and _OUTPUT.value:
        _export()
    else:
        raise ValueError("expected --checkpoint and --output to export, or --verify to check a bundle")


def verify(path: Path) -> None:
    """Replays what can be replayed without TensorFlow, and prints it.

    Raises:
      DeviceError: the bundle cannot be opened or run.
      ValueError: a check failed.
    """
    from device_runtime import Bundle, load_runtime, replay_goldens

    bundle = Bundle.open(path)
    print(f"bundle {bundle.identity.hex()[:16]}, {bundle.size:,} bytes")
    checks = [("hashes of all files", True, ""), *_on_paper(bundle)]
    runtime = load_runtime(bundle.model)
    print(f"runtime {runtime.name} {runtime.version}")
    checks += _replayed(replay_goldens(bundle, runtime))
    width = max(len(name) for name, _, _ in checks)
    for name, passed, detail in checks:
        print(f"  {'passed' if passed else 'FAILED'}  {name:{width}}  {detail}".rstrip())
    failed = [name for name, passed, _ in checks if not passed]
    if failed:
        raise ValueError(f"verify: {', '.join(failed)} failed")
    print(f"all {len(checks)} checks passed")


def _on_paper(bundle: "Bundle") -> list[Verdict]:
    """What the files say, without running anything."""
    from device_runtime import BundleError, read_operators
    from device_runtime.upgrade.acceptance import require_certificate
    from export.operator_versions import OLDEST_RUNTIME, too_new

    listed = {(one.name, one.version) for one in bundle.manifest.operators}
    use = [(one.name, one.version) for one in read_operators(bundle.model)]
    newer = ", ".join(too_new(use))
    try:
        require_certificate(bundle)
        certified = (True, f"{len(bundle.certificate['checks'])} checks")
    except BundleError as error:
        certified = (False, str(error))
    return [
        ("operators as the manifest lists them", set(use) == listed, f"{len(listed)} operators"),
        (f"operators known to {OLDEST_RUNTIME}", not newer, newer),
        ("checks of the certificate", *certified),
    ]


def _replayed(results: "list[GoldenResult]") -> list[Verdict]:
    """A verdict for each signature, by its worst output."""
    from device_runtime.bundle.goldens import worst_of_each

    return [
        (f"golden calls of {one.signature}", one.passed, f"{one.difference:.1e}, at most {one.tolerance:.0e}")
        for one in worst_of_each(results)
    ]


def _export() -> None:
    from export import Sizes, export_bundle
    from scripts import flags_data, flags_model

    values = flags.FLAGS
    flags_model.refuse_idle(values, ACTING, "an export")
    log, _ = flags_data.load_log(values)
    cloud = flags_model.load_checkpoint(_CHECKPOINT.value)
    protocol = _PROTOCOL.value or ("liked" if cloud.din.config.history_labels else "next")
    config = flags_model.config_of(values, protocol, cloud, _CHECKPOINT.value)
    if Path(_OUTPUT.value).exists():
        raise ValueError(f"output: expected a new folder or zip, got {_OUTPUT.value}, which exists; name another")
    bundle = export_bundle(
        cloud,
        Path(_OUTPUT.value),
        catalogue=log.catalogue,
        users=log.users,
        protocol=protocol,
        training=config.training(),
        parent=_identity(_PARENT.value) if _PARENT.value else b"",
        precision=values.precision,
        sizes=Sizes(_CANDIDATES.value, _TRAIN_BATCH.value),
        seed=values.seed,
    )
    certificate = bundle.certificate
    where = ", ".join(f"{runtime} {version}" for runtime, version in certificate["certified_on"].items())
    print(f"{len(certificate['checks'])} checks passed on {where}")
    print(f"wrote {bundle.path} ({bundle.size:,} bytes), identity {bundle.identity.hex()}")


def _identity(path: str) -> bytes:
    from device_runtime import Bundle
    from device_runtime.errors import DeviceError

    try:
        return Bundle.open(path).identity
    except DeviceError as error:
        raise ValueError(f"parent: {error}") from error


def cli() -> None:
    """The console command `dccl-export`."""
    import sys

    if any(word.startswith(("--verify", "-verify")) for word in sys.argv):
        programs.start(main, __name__)
    else:
        from scripts import flags_data, flags_model  # noqa: F401 (they need pandas, which --verify does without)

        programs.start(main, __name__, flags_data.__name__, shown=ACTING)


if __name__ == "__main__":
    cli()
