"""The checks of a certificate, each with its measured value and its bound.

"The loss goes down" is not among them: it does so in files whose weights the converter has dropped.

A check of a runtime is a generator: it yields the calls that it wants made, gets their answers back and returns its
`Check`. So all of them share one interpreter, which is what takes the time. They begin by setting the state that
they need; the first finds the interpreter fresh.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from device_runtime import read_outline
from export.goldens import Arrays
from export.operator_versions import OLDEST_RUNTIME, too_new
from export.runtimes import Candidate
from export.subject import Call, Subject

STEPS = 20  # training steps that are compared with TensorFlow
STEPS_AGREE = f"{STEPS} training steps equal TensorFlow's"
NEAR_FLOAT32 = f"{STEPS} training steps end near those of the float32 model"
DRIFT = (
    0.05  # of the way that they go; trained models drift by up to 0.02, those whose rate is too high by 0.4 and more
)
LONG = 100  # training steps after which nothing but the vector may have changed
DIFFERENCES = (2e-3, 5e-4)  # steps of finite differences
PERTURBED = 4  # entries of the vector that are checked by finite differences
TRAINERS = ("train", "train_encoded")
USER = ("history", "history_labels")


@dataclass(frozen=True)
class Check:
    """One check, and whether what was measured lies within the bound."""

    name: str
    passed: bool
    measured: str
    bound: str


Probe = Generator[list[Call], list[Arrays], Check]


def of_the_file(subject: Subject) -> Iterator[Check]:
    """What can be said without running it."""
    outline = read_outline(subject.model)
    operators = outline.operators
    custom = sorted({use.name for use in operators if use.custom})
    yield Check("builtin operators alone", not custom, ", ".join(custom) or "no other operator", "no other operator")
    newer = too_new([(use.name, use.version) for use in operators if not use.custom])
    yield Check(f"operators known to {OLDEST_RUNTIME}", not newer, ", ".join(newer) or "all are known", "all are known")
    # LiteRT.js writes the empty output over such an input.
    echoes = ", ".join(outline.echoes)
    yield Check("no output is an input", not echoes, echoes or "none is", "none is")
    size, (least, most) = len(subject.model), subject.size_bounds
    yield Check(
        "size of the file against the weights", least <= size <= most, f"{size} bytes", f"{least} to {most} bytes"
    )


def of_a_runtime(subject: Subject, candidate: Candidate) -> list[Check]:
    """What it computes there.

    Raises:
      RuntimeFailed: the file does not load there, or a call fails.
    """
    probes = [make(subject) for make in PROBES]
    if subject.precision == "float16":
        probes.append(_drift(subject))
    wanted = [next(probe) for probe in probes]
    answers = iter(candidate.run(subject.model, [call for calls in wanted for call in calls]))
    checks = []
    for probe, calls in zip(probes, wanted, strict=True):
        try:
            probe.send([next(answers) for _ in calls])
        except StopIteration as end:
            check = end.value
            checks.append(Check(f"{check.name} ({candidate.name})", check.passed, check.measured, check.bound))
    return checks


def _initial_state(subject: Subject) -> Probe:
    """Every variable has a value in a fresh interpreter, and it is 0."""
    answers = yield [subject.call("get"), subject.call("train")]
    largest = max(_difference(value, np.zeros_like(value)) for value in answers[0].values())
    return _bounded("initial state is zero", largest, 0.0)


def _infer(subject: Subject) -> Probe:
    """`infer` against Keras: histories with and without padding, two gates, any vector."""
    rows, user = subject.call("evaluate")[1], subject.call("infer")[1]
    calls, expected = [subject.state(subject.vector)], []
    for row in range(min(4, len(rows["history"]))):  # row 0 has an empty history
        own = user | {name: rows[name][row : row + 1] for name in USER if name in rows}
        tensors = {name: tf.constant(value) for name, value in own.items() if name != "gate"}
        for gate in (1.0, 0.5):
            calls.append(("infer", own | {"gate": np.array([gate], np.float32)}))
            theta = tf.constant(subject.vector[None])
            expected.append(subject.cloud(tensors, theta=theta, gate=tf.constant([gate])).numpy())
    answers = yield calls
    scale = max(1.0, max(float(np.abs(logits).max()) for logits in expected))
    worst = max(_difference(a["logits"], e) for a, e in zip(answers[1:], expected, strict=True)) / scale
    return _bounded("infer equals Keras", worst, subject.tolerance)


def _encode(subject: Subject) -> Probe:
    """`encode` against Keras: row b with a history of its own, the T items from place b on."""
    name, window = subject.call("encode")
    length = subject.cloud.din.config.history_length
    rows = {key: np.lib.stride_tricks.sliding_window_view(window[key][0], length) for key in USER if key in window}
    rows |= {"profile": window["profile"], "candidates": window["candidates"][:, None]}
    expected = subject.cloud.din.below({key: tf.constant(value) for key, value in rows.items()})[0].numpy()[:, 0]
    answers = yield [(name, window)]
    scale = max(1.0, float(np.abs(expected).max()))
    return _bounded("encode equals Keras", _difference(answers[0]["hidden"], expected) / scale, subject.tolerance)


def _gate(subject: Subject) -> Probe:
    """With gate 0 any vector gives what the zero vector gives, bit for bit: the cloud model."""
    readers = ("infer", "evaluate", "evaluate_encoded")
    answers = yield [
        subject.state(5 * subject.vector),
        *[subject.call(name, gate=[0.0]) for name in readers],
        subject.call("reset"),
        *[subject.call(name) for name in readers],
    ]
    pairs = zip(answers[1 : 1 + len(readers)], answers[-len(readers) :], strict=True)
    worst = max(_difference(before["logits"], after["logits"]) for before, after in pairs)
    return _bounded("gate 0 is the cloud model", worst, 0.0)


def _start(subject: Subject) -> Probe:
    """The gradient where a device begins is not zero, or it would never learn."""
    answers = yield [subject.call("init"), subject.call("train", pull=[0.0]), subject.call("get")]
    norm = float(np.linalg.norm(answers[2]["first_moment"]))
    return Check("gradient at the start", norm > 1e-8, f"{norm:.2e}", "more than 1e-08")


def _steps(subject: Subject) -> Probe:
    """Steps agree with TensorFlow, from ids and from encoded rows, and so does what a given vector makes of the rows.

    Not what the trained one makes of them: logits may be many times as far apart as the vectors that they come from.
    """
    lives = [[subject.call("init"), *[subject.call(name)] * STEPS, subject.call("get")] for name in TRAINERS]
    calls = [*lives[0], *lives[1], subject.state(subject.vector), subject.call("evaluate_encoded")]
    functions = subject.reference.functions
    expected = [functions[name](**{k: tf.constant(v) for k, v in inputs.items()}) for name, inputs in calls]
    answers = yield calls
    vectors = len(lives[0]) - 1, len(calls) - 3
    worst = max(_difference(answers[at]["vector"], expected[at]["vector"].numpy()) for at in vectors)
    logits = expected[-1]["logits"].numpy()
    of_logits = _difference(answers[-1]["logits"], logits) / max(1.0, float(np.abs(logits).max()))
    return _bounded(STEPS_AGREE, max(worst, of_logits), subject.tolerance)


def _drift(subject: Subject) -> Probe:
    """Of float16: from one vector, at the rate that ships, against the weights before they were rounded.

    Euclidean lengths, and a share of the way: Adam moves an entry by about the rate whatever its gradient is, so one
    whose gradient is near 0 may go either way.
    """
    rate, functions = subject.learning_rate, subject.unrounded.functions

    def origin(call: Call) -> Arrays:
        name, inputs = call
        return {k: v.numpy() for k, v in functions[name](**{k: tf.constant(v) for k, v in inputs.items()}).items()}

    start = origin(subject.call("init"))["vector"]
    calls = [subject.state(start), *[subject.call("train", learning_rate=[rate])] * STEPS, subject.call("get")]
    expected = [origin(call) for call in calls][-1]["vector"]
    answers = yield calls
    drift, way = answers[-1]["vector"] - expected, float(np.linalg.norm(expected - start))
    share = float(np.linalg.norm(drift)) / max(way, 1e-12)
    measured = f"{share:.2%} of the way at rate {rate:g}, {np.abs(drift).max():.1e} in an entry"
    return Check(NEAR_FLOAT32, share <= DRIFT, measured, f"at most {DRIFT:.0%} of the way")


def _repeated(subject: Subject) -> Probe:
    """One step is a function of state and batch: nothing random is left in."""
    steps = [subject.call(name) for name in ("init", TRAINERS[0], "init", TRAINERS[1])]
    answers = yield steps * 2
    half = len(steps)
    worst = max(_difference(answers[at]["loss"], answers[half + at]["loss"]) for at in (1, 3))
    return _bounded("the same step gives the same loss", worst, 0.0)


def _gradient(subject: Subject) -> Probe:
    """The gradient, read off the first moment after one step, against central differences of the loss.

    An entry counts with the step that fits it best: a wide one may cross a kink of ReLU, a narrow one drowns in the
    rounding of the loss.
    """
    vector = subject.vector
    still = subject.call("train", learning_rate=[0.0], pull=[0.0])
    calls = [subject.state(vector), still, subject.call("get")]
    entries = min(PERTURBED, len(vector))
    for step in DIFFERENCES:
        for move in step * np.eye(len(vector), dtype=np.float32)[:entries]:
            calls += [subject.state(vector + move), still, subject.state(vector - move), still]
    answers = yield calls
    gradient = answers[2]["first_moment"][:entries].astype(np.float64) / subject.module.first_moment_share
    losses = np.array([float(answer["loss"][0]) for answer in answers[4::2]]).reshape(len(DIFFERENCES), entries, 2)
    steps = np.array(DIFFERENCES)[:, None]
    slopes = (losses[..., 0] - losses[..., 1]) / (2 * steps)
    noise = 1e-6 / steps  # of float32 losses near 1
    errors = np.abs(slopes - gradient) / np.maximum(np.abs(gradient).max(), 20 * noise)
    worst = float(errors.min(axis=0).max()) if np.isfinite(errors).all() else float("inf")
    return _bounded("gradient equals finite differences", worst, 0.1)


def _moves(subject: Subject) -> Probe:
    """What else changes the vector, or judges with it, against TensorFlow: upgrade, restart, a batch without weight."""
    empty = np.zeros(subject.sizes.train_batch)
    calls = [subject.call(name) for name in ("rebase", "get", "set", "get", "evaluate")]
    calls += [subject.call(name, weights=empty) for name in TRAINERS]
    calls += [subject.call(name) for name in ("get", "reset", "get")]
    functions = subject.reference.functions
    expected = [functions[name](**{k: tf.constant(v) for k, v in inputs.items()}) for name, inputs in calls]
    answers = yield calls
    worst = 0.0
    for found, wanted in zip(answers, expected, strict=True):
        for name, value in wanted.items():
            scale = max(1.0, float(np.abs(value).max(initial=0.0)))
            worst = max(worst, _difference(found[name], value.numpy()) / scale)
    return _bounded("rebase, set, reset and evaluate equal TensorFlow's", worst, subject.tolerance)


def _frozen(subject: Subject) -> Probe:
    """After many steps everything but the vector and its optimiser's state is what it was: model, basis, encoder."""
    probe = [
        subject.state(subject.vector),
        subject.call("infer"),
        subject.call("infer", gate=[0.0]),
        subject.call("init"),
    ]
    steps = [subject.call(name) for name in TRAINERS]
    answers = yield [*probe, *steps * (LONG // len(steps)), *probe]
    pairs = zip(answers[: len(probe)], answers[-len(probe) :], strict=True)
    worst = max(_difference(before[name], after[name]) for before, after in pairs for name in before)
    return _bounded(f"nothing but the vector changes in {LONG} steps", worst, 0.0)


PROBES: tuple[Callable[[Subject], Probe], ...] = (
    _initial_state,
    _infer,
    _encode,
    _gate,
    _start,
    _steps,
    _repeated,
    _gradient,
    _moves,
    _frozen,
)


def _difference(left: np.ndarray, right: np.ndarray) -> float:
    """Largest absolute difference; infinite where shapes differ or a value is not finite."""
    if left.shape != right.shape:
        return np.inf
    difference = np.abs(left.astype(np.float64) - right).max(initial=0.0)
    return float(difference) if np.isfinite(difference) else np.inf


def _bounded(name: str, measured: float, bound: float) -> Check:
    return Check(name, measured <= bound, f"{measured:.2e}", f"at most {bound:.0e}")
