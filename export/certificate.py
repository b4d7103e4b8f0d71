"""The certificate: what a file has to pass before it is written, each check with its measured value and its bound.

"The loss goes down" is not among the checks: it does so in files whose weights the converter has dropped.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from device_runtime import read_operators
from export.convert import ExportError
from export.device_module import DeviceModule, Sizes
from export.goldens import Arrays, golden_calls
from export.operator_versions import OLDEST_RUNTIME, too_new
from export.runtimes import Candidate, RuntimeFailed, installed

Calls = list[tuple[str, Arrays]]

STEPS = 20  # training steps that are compared with TensorFlow
LONG = 100  # training steps after which nothing but the vector may have changed
PERTURBED = 4  # entries of the vector that are checked by finite differences


@dataclass(frozen=True)
class Check:
    """One check: passed if `measured` lies within `bound`."""

    name: str
    passed: bool
    measured: str
    bound: str


class CertificateError(ExportError):
    """A check failed; nothing was written."""

    def __init__(self, checks: list[Check]) -> None:
        self.checks = checks
        failed = "; ".join(f"{c.name}: {c.measured}, expected {c.bound}" for c in checks if not c.passed)
        super().__init__(f"the certificate failed: {failed}")


@dataclass(frozen=True)
class Subject:
    """What is certified: the file, and the model and module that it was made from."""

    model: bytes
    cloud: CloudModel
    module: DeviceModule
    sizes: Sizes
    precision: str
    seed: int = 0

    @property
    def tolerance(self) -> float:
        """Of logits and vectors; float16 constants are exact to 3 digits."""
        return 1e-5 if self.precision == "float32" else 1e-2

    @property
    def reference(self) -> DeviceModule:
        """The module whose training the file must repeat: with the weights that the file has, rounded ones included."""
        if self.precision == "float32":
            return self.module
        rounded = self.cloud.copy()
        for variable in rounded.trainable_variables:
            variable.assign(variable.numpy().astype(self.precision).astype(np.float32))
        return DeviceModule(rounded, self.sizes, self.module.optimizer, self.precision)

    def calls(self) -> Calls:
        return golden_calls(self.cloud.din.config, self.sizes, self.cloud.metapatch.length, self.seed)

    def call(self, signature: str, which: int = 0, **changes: Any) -> tuple[str, Arrays]:
        """The golden call number `which` of a signature, with some inputs changed."""
        inputs = [inputs for name, inputs in self.calls() if name == signature][which]
        return signature, inputs | {k: np.asarray(v, np.float32) for k, v in changes.items()}

    def state(self, vector: np.ndarray) -> tuple[str, Arrays]:
        """A call of `set` with a fresh optimiser."""
        zeros = np.zeros_like(vector)
        inputs = {"vector": vector, "first_moment": zeros, "second_moment": zeros, "step": np.zeros(1, np.float32)}
        return "set", inputs


def certify(subject: Subject, candidates: list[Candidate] | None = None) -> list[Check]:
    """Runs every check.

    Args:
      subject: the file and its origin.
      candidates: runtimes to try; all that are installed by default.

    Returns:
      The checks, all of them passed.

    Raises:
      CertificateError: with all checks, if any failed.
    """
    checks = [*_of_the_file(subject)]
    for candidate in candidates if candidates is not None else installed():
        try:
            checks += _of_a_runtime(subject, candidate)
        except RuntimeFailed as error:
            checks.append(Check(f"runs on {candidate.name}", False, str(error), "no error"))
    if not all(check.passed for check in checks):
        raise CertificateError(checks)
    return checks


def as_json(checks: list[Check], precision: str) -> dict[str, Any]:
    """The content of certificate.json: the same for the same file, checked on the same runtimes."""
    return {
        "precision": precision,
        "oldest_runtime": OLDEST_RUNTIME,
        "made_with": {"tensorflow": tf.__version__},
        "certified_on": {candidate.runtime: candidate.version for candidate in installed()},
        "checks": [asdict(check) for check in checks],
    }


def _of_the_file(subject: Subject) -> Iterator[Check]:
    operators = read_operators(subject.model)
    custom = sorted({use.name for use in operators if use.custom})
    yield Check("builtin operators alone", not custom, ", ".join(custom) or "no other operator", "no other operator")
    newer = too_new([(use.name, use.version) for use in operators if not use.custom])
    yield Check(f"operators known to {OLDEST_RUNTIME}", not newer, ", ".join(newer) or "all are known", "all are known")
    least = weight_bytes(subject.cloud, subject.precision)
    most = 2 * least + 1_000_000
    size = len(subject.model)
    yield Check(
        "size of the file against the weights", least <= size <= most, f"{size} bytes", f"{least} to {most} bytes"
    )


def weight_bytes(cloud: CloudModel, precision: str) -> int:
    """Bytes that a phone's weights need at least: the folded item table and the matrices above it."""
    din = cloud.din
    table = (din.config.items + 2) * din.items.width
    inside = {id(variable) for variable in din.items.variables}
    other = sum(int(np.prod(v.shape)) for v in cloud.trainable_variables if id(v) not in inside)
    # Small tensors may be folded into others, so only nine tenths of them are asked for.
    return int((table + 0.9 * other) * (4 if precision == "float32" else 2))


def _of_a_runtime(subject: Subject, candidate: Candidate) -> Iterator[Check]:
    def run(*calls: tuple[str, Arrays]) -> list[Arrays]:
        return candidate.run(subject.model, list(calls))

    yield _fresh(run(subject.call("get"), subject.call("init"), subject.call("train")), candidate)
    yield _infer(subject, candidate)
    yield _gate(run, subject, candidate)
    yield _start(run, subject, candidate)
    yield from _training(run, subject, candidate)
    yield _finite_differences(run, subject, candidate)
    yield _frozen(run, subject, candidate)


def _difference(left: np.ndarray, right: np.ndarray) -> float:
    """Largest absolute difference; infinite where shapes differ or a value is not finite."""
    left, right = np.asarray(left, np.float64), np.asarray(right, np.float64)
    if left.shape != right.shape:
        return np.inf
    difference = np.abs(left - right).max(initial=0.0)
    return float(difference) if np.isfinite(difference) else np.inf


def _bounded(name: str, candidate: Candidate, measured: float, bound: float) -> Check:
    return Check(f"{name} ({candidate.name})", measured <= bound, f"{measured:.2e}", f"at most {bound:.0e}")


def _fresh(answers: list[Arrays], candidate: Candidate) -> Check:
    """Every variable has a value in a fresh interpreter, and it is 0."""
    largest = max(float(np.abs(value).max()) for value in answers[0].values())
    return _bounded("initial state is zero", candidate, largest, 0.0)


def _infer(subject: Subject, candidate: Candidate) -> Check:
    """`infer` against Keras on the model's own ids: history, candidates, vector and gate as they come."""
    vector = subject.call("rebase")[1]["vector"]
    calls, expected = [subject.state(vector)], []
    rows = subject.call("evaluate")[1]
    _, user = subject.call("infer")
    for row in range(min(4, len(rows["history"]))):  # row 0 has an empty history
        own = {name: rows[name][row : row + 1] for name in ("history", "history_labels") if name in rows}
        for gate in (1.0, 0.5):
            inputs = user | own
            calls.append(("infer", inputs | {"gate": np.array([gate], np.float32)}))
            tensors = {name: tf.constant(value) for name, value in inputs.items() if name != "gate"}
            expected.append(subject.cloud(tensors, theta=tf.constant(vector[None]), gate=tf.constant([gate])))
    answers = candidate.run(subject.model, calls)[1:]
    scale = max(1.0, max(float(np.abs(logits).max()) for logits in expected))
    worst = max(_difference(a["logits"], e) for a, e in zip(answers, expected, strict=True)) / scale
    return _bounded("infer equals Keras", candidate, worst, subject.tolerance)


def _gate(run: Any, subject: Subject, candidate: Candidate) -> Check:
    """With gate 0 any vector gives what the zero vector gives, bit for bit: the cloud model."""
    wild = subject.call("rebase")[1]["vector"] * 5
    answers = run(subject.state(wild), subject.call("infer", gate=[0.0]), subject.call("reset"), subject.call("infer"))
    return _bounded(
        "gate 0 is the cloud model", candidate, _difference(answers[1]["logits"], answers[3]["logits"]), 0.0
    )


def _start(run: Any, subject: Subject, candidate: Candidate) -> Check:
    """The gradient where a device begins is not zero, or it would never learn."""
    answers = run(subject.call("init"), subject.call("train", pull=[0.0]), subject.call("get"))
    norm = float(np.linalg.norm(answers[2]["first_moment"]))
    return Check(f"gradient at the start ({candidate.name})", norm > 1e-8, f"{norm:.2e}", "more than 1e-08")


def _training(run: Any, subject: Subject, candidate: Candidate) -> Iterator[Check]:
    """Steps agree with TensorFlow, and one step is a function of state and batch."""
    calls = [subject.call("init"), *[subject.call("train")] * STEPS, subject.call("get")]
    functions = subject.reference.functions
    expected = [functions[name](**{k: tf.constant(v) for k, v in inputs.items()}) for name, inputs in calls]
    answers = run(*calls)
    moved = _difference(answers[-1]["vector"], expected[-1]["vector"].numpy())
    yield _bounded(f"{STEPS} training steps equal TensorFlow's", candidate, moved, subject.tolerance)
    twice = run(subject.call("init"), subject.call("train"), subject.call("init"), subject.call("train"))
    difference = _difference(twice[1]["loss"], twice[3]["loss"])
    yield _bounded("the same step gives the same loss", candidate, difference, 0.0)


def _finite_differences(run: Any, subject: Subject, candidate: Candidate) -> Check:
    """The gradient, read off the first moment after one step, against central differences of the loss."""
    vector = subject.call("rebase")[1]["vector"]
    step = 2e-3
    still = subject.call("train", learning_rate=[0.0], pull=[0.0])
    calls = [subject.state(vector), still, subject.call("get")]
    entries = range(min(PERTURBED, len(vector)))
    for entry in entries:
        for sign in (1, -1):
            moved = vector.copy()
            moved[entry] += sign * step
            calls += [subject.state(moved), still]
    answers = run(*calls)
    moment = answers[2]["first_moment"][: len(entries)].astype(np.float64)
    losses = np.array([float(answer["loss"][0]) for answer in answers[4::2]]).reshape(-1, 2)
    slopes = (losses[:, 0] - losses[:, 1]) / (2 * step)
    gradient = moment / subject.module.first_moment_share
    noise = 1e-6 / step  # of float32 losses near 1
    worst = np.abs(gradient - slopes).max() / max(np.abs(gradient).max(), 20 * noise)
    return _bounded("gradient equals finite differences", candidate, float(worst), 0.1)


def _frozen(run: Any, subject: Subject, candidate: Candidate) -> Check:
    """After many steps everything but the vector and its optimiser's state is what it was: model, basis, encoder."""
    fixed = subject.state(subject.call("rebase")[1]["vector"])
    probe = [fixed, subject.call("infer"), subject.call("infer", gate=[0.0]), subject.call("init")]
    answers = run(*probe, *[subject.call("train")] * LONG, *probe)
    before, after = answers[: len(probe)], answers[-len(probe) :]
    worst = max(_difference(b[name], a[name]) for b, a in zip(before, after, strict=True) for name in b)
    return _bounded(f"nothing but the vector changes in {LONG} steps", candidate, worst, 0.0)
