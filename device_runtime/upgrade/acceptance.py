"""What a new bundle has to pass on this device before anything of the device's is entrusted to it.

Its files are verified when it is opened (bundle/bundle.py). Here: did its exporter certify it, does this runtime know
its operators, does it load, and does it compute here what it computed there?
"""

from device_runtime.bundle.bundle import Bundle
from device_runtime.bundle.goldens import replay_goldens
from device_runtime.errors import BundleError
from device_runtime.interpreter.engine import Engine
from device_runtime.interpreter.operators import read_operators
from device_runtime.interpreter.runtime import Runtime, load_runtime


def accept(bundle: Bundle, runtime: str = "auto") -> Engine:
    """The bundle's model, ready for use.

    Raises:
      BundleError: a check failed; the message says which and how.
      ModelError: this runtime cannot load or run the model.
      RuntimeMissingError: there is no runtime, which is not the bundle's fault.
    """
    require_certificate(bundle)
    _require_operators(bundle)
    loaded = load_runtime(bundle.model, runtime)
    _require_version(bundle, loaded)
    engine = Engine(loaded, bundle.manifest)
    _require_goldens(bundle, loaded)
    return engine


def require_certificate(bundle: Bundle) -> None:
    """Raises BundleError unless the certificate lists checks and all of them were passed."""
    certificate = bundle.certificate
    checks = certificate.get("checks") if isinstance(certificate, dict) else None
    if not isinstance(checks, list) or not checks:
        raise BundleError("certificate.json: expected the checks that the export passed, got none; export it again")
    for check in checks:
        if not isinstance(check, dict) or check.get("passed") is not True:
            name = check.get("name") if isinstance(check, dict) else check
            raise BundleError(f"certificate.json: expected every check passed, got {name!r} failed; export it again")


def _require_operators(bundle: Bundle) -> None:
    listed = {(one.name, one.version) for one in bundle.manifest.operators}
    held = {(use.name, use.version) for use in read_operators(bundle.model)}
    if listed != held:
        name, version = min(listed ^ held)
        where = "model.tflite alone" if (name, version) in held else "the manifest alone"
        raise BundleError(f"manifest.pb: expected the model's operators, got {name} version {version} in {where}")


def _require_version(bundle: Bundle, runtime: Runtime) -> None:
    """Of a wheel that the manifest names, no older version than it says."""
    name, _, oldest = bundle.manifest.oldest_runtime.rpartition(" ")
    if runtime.name == name and _numbers(runtime.version) < _numbers(oldest):
        raise BundleError(
            f"manifest.pb: expected {name} {oldest} or newer, got {runtime.version}, which lacks operator versions "
            "that the model needs; install a newer one"
        )


def _require_goldens(bundle: Bundle, runtime: Runtime) -> None:
    for result in replay_goldens(bundle, runtime):
        if not result.passed:
            raise BundleError(
                f"goldens.pb: expected {result.signature} to give its {result.output} within {result.tolerance:.1e}, "
                f"got a difference of {result.difference:.1e} on {runtime.name} {runtime.version}; this device cannot "
                "use the bundle with this runtime"
            )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
