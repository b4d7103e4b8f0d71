"""Files that run and are wrong fail their certificate (hostile rows X3 to X5, X7, X9)."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.schema import Catalogue
from device_runtime import load_runtime
from export.certificate import CertificateError, certify
from export.checks import NEAR_FLOAT32, STEPS_AGREE, Check, of_a_runtime, of_the_file
from export.convert import convert
from export.device_module import DeviceModule
from export.operator_versions import too_new
from export.runtimes import Candidate, RuntimeFailed, installed
from export.subject import Subject
from tests.export.conftest import SIZES, exported
from tests.models import small

HERE = [Candidate("tensorflow", delegate=False)]


def subject(cloud, module=None, model=None, precision="float32") -> Subject:
    module = module or DeviceModule(cloud, SIZES)
    return Subject(model or convert(module, module.functions, precision), cloud, module, SIZES, precision)


def failed(checks) -> set[str]:
    return {check.name.split(" (")[0] for check in checks if not check.passed}


def test_sound_file_passes_on_every_installed_runtime(bundle):
    checks = bundle.certificate["checks"]
    assert all(check["passed"] for check in checks)
    names = {check["name"] for check in checks}
    for candidate in installed():
        assert f"infer equals Keras ({candidate.name})" in names


def test_operators_newer_than_the_oldest_runtime_are_named():
    # LOG version 2 (int8) and version 12 of FULLY_CONNECTED (int8 by channel) came after tflite-runtime 2.14.
    uses = [("ADD", 1), ("LOG", 2), ("FULLY_CONNECTED", 12), ("STABLEHLO_ADD", 1), ("GATHER", 6)]
    assert too_new(uses) == ["LOG version 2", "FULLY_CONNECTED version 12", "STABLEHLO_ADD version 1"]


def test_other_weights_fail_by_infer(cloud):  # X3: what the file computes is not what the cloud trained
    module = DeviceModule(small.cloud(seed=1), SIZES)
    with pytest.raises(CertificateError) as error:
        certify(subject(cloud, module), HERE)
    assert "infer equals Keras" in failed(error.value.checks)


class Echo(DeviceModule):
    """A module whose `set` returns what it was given."""

    def _set(self, **state):
        super()._set(**state)
        return {"step": state["step"]}


def test_output_that_is_an_input_is_named(cloud):  # LiteRT.js would overwrite it
    found = {check.name: check for check in of_the_file(subject(cloud, Echo(cloud, SIZES)))}
    assert not found["no output is an input"].passed
    assert found["no output is an input"].measured == "set"


class Stripped(DeviceModule):
    """A module whose item table the converter has dropped."""

    def __init__(self, cloud, sizes) -> None:
        super().__init__(cloud, sizes)
        self._table = tf.zeros([1, cloud.din.items.width])

    def _below(self, candidates, **user):
        user["history"] = 0 * user["history"]
        return super()._below(0 * candidates, **user)


def test_dropped_weights_fail_by_infer_and_by_size():  # X3
    items = 20_000  # a table that dwarfs the rest of the file
    catalogue = Catalogue(np.arange(items), np.zeros((items + 2, 1), np.int32), ())
    cloud = CloudModel.for_data(catalogue, small.users(), length=small.K, history_length=small.T)
    module = Stripped(cloud, SIZES)
    runtime = load_runtime(convert(module, module.functions), "tensorflow")
    one = subject(cloud, module)
    _, inputs = one.call("train")
    runtime.call("init", **one.call("init")[1])
    losses = [float(runtime.call("train", **inputs)["loss"][0]) for _ in range(20)]
    assert losses[-1] < losses[0]  # and yet the loss goes down
    with pytest.raises(CertificateError) as error:
        certify(one, HERE)
    assert {"infer equals Keras", "size of the file against the weights"} <= failed(error.value.checks)


def test_a_model_of_little_but_its_basis_has_a_sound_size():
    """The basis stands in the file twice: 32 * (256 * 64 * 2 + 64 + 256) values and half as many of the second patch,
    32 * (128 * 64 * 2 + 64 + 128), 4 bytes each."""
    cloud = CloudModel.for_data(
        small.catalogue(), small.users(), length=32, bottlenecks=(64, 64), hidden=(256, 128), history_length=small.T
    )
    basis = 4 * 32 * (256 * 64 * 2 + 64 + 256 + 128 * 64 * 2 + 64 + 128)
    one = subject(cloud)
    found = {check.name: check for check in of_the_file(one)}
    assert len(one.model) > 2 * basis > 2 * 0.9 * basis + 1_000_000
    assert found["size of the file against the weights"].passed


class WithKerasOptimizer(DeviceModule):
    """A module whose `train` uses a Keras optimiser."""

    def __init__(self, cloud, sizes) -> None:
        super().__init__(cloud, sizes)
        self.adam = keras.optimizers.Adam(0.01)
        self.adam.build([self.vector])

    def _trace(self, name, inputs):
        if name != "train":
            return super()._trace(name, inputs)

        def train(**tensors):
            self.adam.apply([tf.ones_like(self.vector)], [self.vector])
            return {"loss": tf.reshape(sum(tf.reduce_sum(tf.cast(t, tf.float32)) for t in tensors.values()), [1])}

        named = {key: tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in inputs.items()}
        return tf.function(train).get_concrete_function(**named)


def test_keras_optimizer_inside_train_fails(cloud):  # X4
    with pytest.raises(CertificateError) as error:
        certify(subject(cloud, WithKerasOptimizer(cloud, SIZES)), HERE)
    assert "runs on tensorflow without delegate" in failed(error.value.checks), error.value


class WithoutVector(DeviceModule):
    """An upgrade forgets what the device has learned."""

    def _rebase(self, vector, profile):
        return super()._rebase(0.0 * vector, profile)


class WithoutMoments(DeviceModule):
    """A restart forgets the optimiser's state."""

    def _set(self, step, **state):
        return super()._set(step=0.0 * step, **state)


class Steeper(DeviceModule):
    """Held-out clicks are judged by other logits than those that rank."""

    def _evaluate(self, **inputs):
        return {"logits": 2.0 * super()._evaluate(**inputs)["logits"]}


@pytest.mark.parametrize("wrong", [WithoutVector, WithoutMoments, Steeper])
def test_a_file_whose_other_signatures_are_wrong_fails(cloud, wrong):
    broken = wrong(cloud, SIZES)
    with pytest.raises(CertificateError) as error:
        certify(subject(cloud, model=convert(broken, broken.functions, "float32")), HERE)
    assert "rebase, set, reset and evaluate equal TensorFlow's" in failed(error.value.checks)


class Forgetful(DeviceModule):
    """A module whose training changes something else too."""

    def __init__(self, cloud, sizes) -> None:
        super().__init__(cloud, sizes)
        self.drift = tf.Variable(tf.zeros([1]))

    def _train(self, **inputs):
        self.drift.assign_add(tf.ones([1]))
        return super()._train(**inputs)

    def _above(self, hidden, vector, gate):
        return super()._above(hidden, vector, gate) + self.drift


def test_training_that_changes_more_than_the_vector_fails(cloud):  # X5, as batch norm's averages would
    with pytest.raises(CertificateError) as error:
        certify(subject(cloud, Forgetful(cloud, SIZES)), HERE)
    assert "nothing but the vector changes in 100 steps" in failed(error.value.checks)


@pytest.mark.parametrize(
    ("name", "kinked", "drawn"),
    [(STEPS_AGREE, {0, 1}, [0, 1, 2]), (STEPS_AGREE, {0, 1, 2}, [0, 1, 2]), ("infer equals Keras", {0}, [0])],
)
def test_golden_rows_at_a_kink_are_drawn_again(cloud, monkeypatch, name, kinked, drawn):
    one, seeds = subject(cloud, model=b"-"), []

    def of_a_runtime(drawn: Subject, candidate: Candidate) -> list[Check]:
        seeds.append(drawn.seed)
        return [Check(f"{name} ({candidate.name})", drawn.seed not in kinked, "1e-3", "at most 1e-5")]

    monkeypatch.setattr("export.certificate.of_the_file", lambda subject: [])
    monkeypatch.setattr("export.certificate.of_a_runtime", of_a_runtime)
    if set(drawn) <= kinked:
        with pytest.raises(CertificateError, match=name):
            certify(one, HERE)
    else:
        assert certify(one, HERE)[0].seed == drawn[-1]
    assert seeds == drawn


def test_dropout_of_the_cloud_is_off_in_the_file(bundle, cloud):  # X5: the fixture's model has dropout 0.5
    assert cloud.din.config.dropout == 0.5
    runtime = load_runtime(bundle.model_bytes, "tensorflow")
    calls = subject(cloud, model=b"-").calls
    init, train = (next(inputs for name, inputs in calls if name == wanted) for wanted in ("init", "train"))
    losses = set()
    for _ in range(3):
        runtime.call("init", **init)
        losses.add(float(runtime.call("train", **train)["loss"][0]))
    assert len(losses) == 1


def test_float16_trains_on_every_installed_runtime(tmp_path, cloud):  # X7
    half = exported(tmp_path / "half", cloud, precision="float16")
    names = [check["name"] for check in half.certificate["checks"] if check["name"].startswith("20 training steps")]
    assert len(names) == 2 * len(installed())  # against the rounded weights and against those before
    one = subject(cloud, model=b"-")
    _, init = one.call("init")
    _, train = one.call("train", learning_rate=[1e-3])
    vectors = []
    for model in (half.model_bytes, subject(cloud).model):
        runtime = load_runtime(model, "tensorflow")
        runtime.call("init", **init)
        for _ in range(20):
            runtime.call("train", **train)
        vectors.append(runtime.call("get", unused=np.zeros(1, np.float32))["vector"])
    assert 0 < np.abs(vectors[0] - vectors[1]).max() < 1e-3


def test_float16_steps_that_end_far_from_float32_s_fail(cloud):  # X7: as of rounding that changes the model
    module = DeviceModule(cloud, SIZES, precision="float16")
    one = subject(cloud, module, precision="float16")
    assert NEAR_FLOAT32 not in failed(of_a_runtime(one, HERE[0]))
    other = small.cloud(seed=1)
    one = replace(one)
    one.__dict__["unrounded"] = DeviceModule(other, SIZES)
    assert failed(of_a_runtime(one, HERE[0])) == {NEAR_FLOAT32}


@pytest.mark.parametrize(("precision", "wide"), [("float32", True), ("float16", False)])
def test_float16_table_is_never_widened_as_a_whole(cloud, precision, wide):
    module = DeviceModule(cloud, SIZES, precision=precision)
    interpreter = tf.lite.Interpreter(model_content=convert(module, module.functions, precision))
    tensors = [tensor for graph in range(len(module.functions)) for tensor in interpreter.get_tensor_details(graph)]
    table = [small.V + 2, cloud.din.items.width]
    assert any(t["dtype"] == np.float32 and t["shape"].tolist() == table for t in tensors) == wide


def test_a_runtime_that_hangs_has_failed(cloud, monkeypatch):
    monkeypatch.setattr("export.runtimes._SECONDS", 0.01)
    with pytest.raises(RuntimeFailed, match=r"ai-edge-litert: no answer within 0\.01 seconds"):
        Candidate("ai-edge-litert", delegate=True).run(b"-", [])


def test_outputs_of_one_shape_are_told_apart_by_name(bundle):  # X9
    runtime = load_runtime(bundle.model_bytes, "tensorflow")
    length = bundle.manifest.metapatch_length
    state = {name: np.full(length, value, np.float32) for name, value in
             (("vector", 1), ("first_moment", 2), ("second_moment", 3))}  # fmt: skip
    runtime.call("set", **state, step=np.array([4], np.float32))
    got = runtime.call("get", unused=np.zeros(1, np.float32))
    for name, values in state.items():
        np.testing.assert_array_equal(got[name], values)
    assert got["step"] == 4
