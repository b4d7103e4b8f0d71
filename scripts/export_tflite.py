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

from absl import flags, logging

from scripts import programs

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "The .keras file of a cloud model (dccl-train-cloud, dccl-run).")
_OUTPUT = flags.DEFINE_string("output", None, "A new folder, or a new file that ends in .zip.")
_VERIFY = flags.DEFINE_string("verify", None, "A bundle to check instead: hashes, operators, golden calls.")
_PROTOCOL = flags.DEFINE_enum("protocol", None, ["next", "liked"], "By default liked if the model takes labels.")
_CANDIDATES = flags.DEFINE_integer("candidates", 100, "C, items that `infer` scores at once.", lower_bound=1)
_TRAIN_BATCH = flags.DEFINE_integer("train_batch", 32, "B, rows of a training step.", lower_bound=1)


def main(argv: list[str]) -> int:
    """Runs the program; returns the exit code."""
    return programs.run("dccl-export", lambda: _run(argv))


def _run(argv: list[str]) -> None:
    if len(argv) > 1:
        raise ValueError(f"expected flags alone, got {' '.join(argv[1:])}")
    if _VERIFY.value:
        verify(Path(_VERIFY.value))
    elif _CHECKPOINT.value and _OUTPUT.value:
        _export()
    else:
        raise ValueError("expected --checkpoint and --output to export, or --verify to check a bundle")


def verify(path: Path) -> None:
    """Replays what can be replayed without TensorFlow, and prints it.

    Raises:
      ValueError: a check failed.
    """
    from device_runtime import Bundle, load_runtime, read_operators, replay_goldens
    from device_runtime.errors import DeviceError

    try:
        bundle = Bundle.open(path)
        use = {(one.name, one.version) for one in read_operators(bundle.model)}
        runtime = load_runtime(bundle.model)
        results = replay_goldens(bundle, runtime)
    except DeviceError as error:
        raise ValueError(str(error)) from error
    print(f"bundle {bundle.identity.hex()[:16]}: hashes agree, {bundle.size:,} bytes")
    print(f"runtime {runtime.name} {runtime.version}, {len(use)} operators")
    failed = [name for name, passed in _checks(bundle, use, results) if not passed]
    if failed:
        raise ValueError(f"verify: {', '.join(failed)} failed")
    print("all checks passed")


def _checks(bundle, use, results) -> list[tuple[str, bool]]:  # noqa: ANN001 (types of modules imported when needed)
    """Prints a line a check; returns their names and verdicts."""
    listed = {(one.name, one.version) for one in bundle.manifest.operators}
    worst: dict[str, tuple[float, float]] = {}
    for result in results:
        worst[result.signature] = max(worst.get(result.signature, (0.0, 0.0)), (result.difference, result.tolerance))
    checks = [("operators as the manifest lists them", use == listed, "")]
    checks += [(f"golden {name}", d <= t, f"{d:.1e}, at most {t:.0e}") for name, (d, t) in sorted(worst.items())]
    certified = bundle.certificate["checks"]
    checks.append(
        (f"certificate ({len(certified)} checks)", bool(certified) and all(c["passed"] for c in certified), "")
    )
    for name, passed, detail in checks:
        print(f"  {'passed' if passed else 'FAILED'}  {name}  {detail}".rstrip())
    return [(name, passed) for name, passed, _ in checks]


def _export() -> None:
    from scripts import flags_data, flags_model

    values = flags.FLAGS
    from dataclasses import replace

    import keras

    import dccl_tf.cloud_model  # noqa: F401 (registers the classes of the file)
    from export import Sizes, export_bundle

    log, _ = flags_data.load_log(values)
    cloud = keras.saving.load_model(_CHECKPOINT.value)
    protocol = _PROTOCOL.value or ("liked" if cloud.din.config.history_labels else "next")
    config = replace(flags_model.config(values, protocol), protocol=protocol)
    bundle = export_bundle(
        cloud,
        Path(_OUTPUT.value),
        catalogue=log.catalogue,
        users=log.users,
        protocol=protocol,
        training=config.training(),
        precision=values.precision,
        sizes=Sizes(_CANDIDATES.value, _TRAIN_BATCH.value),
        seed=values.seed,
    )
    logging.info("%d checks passed", len(bundle.certificate["checks"]))
    print(f"wrote {bundle.path} ({bundle.size:,} bytes), identity {bundle.identity.hex()}")


def cli() -> None:
    """The console command `dccl-export`."""
    import sys

    modules: list[str] = []
    if not any(word.startswith(("--verify", "-verify")) for word in sys.argv):
        from scripts import flags_data, flags_model  # they need pandas, which --verify does without

        modules = [flags_data.__name__, flags_model.__name__]
    programs.start(main, __name__, *modules)


if __name__ == "__main__":
    cli()
