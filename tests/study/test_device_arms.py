"""One cloud model, devices in many ways: each arm is what it says, and is judged under its name."""

import numpy as np
import pytest

from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.fleet import FleetConfig
from dccl_tf.run_config import DcclConfig
from dccl_tf.study.device_arms import CLOUD_ALONE, DeviceArm, run_devices
from dccl_tf.study.sweeps import DEVICE_SWEEPS, device_arms, plan_of_sweep
from dccl_tf.trainer import TrainConfig

CONFIG = DcclConfig(
    protocol="liked",
    devices=0,
    history_length=8,
    metapatch_length=4,
    pretraining=TrainConfig(epochs=2, learning_rate=0.01),
    # In three parts, whose graphs are compiled for any number of rows.
    fleet=FleetConfig(epochs=2, pull=16.0, gate_margin=-1000.0, devices_at_once=16),
)
ARMS = {
    "default": DeviceArm(),
    "still": DeviceArm(fleet=(("epochs", 1), ("learning_rate", 1e-30))),
    "zero": DeviceArm(fleet=(("epochs", 1), ("learning_rate", 1e-30)), start="zero"),
    "mean": DeviceArm(fleet=(("epochs", 1), ("learning_rate", 1e-30)), start="mean"),
    "random": DeviceArm(fleet=(("epochs", 1), ("learning_rate", 1e-30)), start="random"),
    "untrained": DeviceArm(fleet=(("epochs", 0),)),
    "swapped": DeviceArm(swapped=True),
    "patches": DeviceArm(learns="patches", rates=(1e-30,), pulls=(1.0,)),
    "last": DeviceArm(learns="last", rates=(1e-30, 0.01), pulls=(1.0,)),
    "head": DeviceArm(learns="head", rates=(1e-30,), pulls=(1.0,)),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    log = synthetic_log(2, users=40, items=160, shortest=16, mean_length=20, longest=30)[0]
    test, models, facts = run_devices(log, CONFIG, ARMS, tmp_path_factory.mktemp("devices"), "log")
    return log, models, facts["arms"], {name: test(*model)["log_loss/liked"] for name, model in models.items()}


def test_vectors_that_do_not_move_are_their_start(found):
    log, models, _, _ = found
    starts = models["still"][1].theta
    np.testing.assert_allclose(starts, models[CLOUD_ALONE][0].encoder.start(log.users.profile), atol=1e-6)
    np.testing.assert_allclose(models["zero"][1].theta, 0.0, atol=1e-6)
    np.testing.assert_allclose(models["mean"][1].theta, np.tile(starts.mean(axis=0), (40, 1)), atol=1e-6)
    assert models["random"][1].theta.std() == pytest.approx(0.25, rel=0.2)  # 16 ** -0.5, over 160 floats


def test_controls_have_what_they_say(found):
    _, models, _, _ = found
    np.testing.assert_allclose(models["untrained"][1].theta, models["still"][1].theta, atol=1e-6)
    assert models["untrained"][1].gates.min() == 1.0
    own, others = models["default"][1].theta, models["swapped"][1].theta
    np.testing.assert_array_equal(np.sort(own, axis=0), np.sort(others, axis=0))
    assert (own == others).all(axis=1).mean() < 0.5


def test_what_else_a_device_could_train_begins_as_the_same_model(found):
    """Free patches begin as those of U(0, u); changes of layers begin as none."""
    _, _, _, losses = found
    np.testing.assert_allclose(losses["patches"], losses["still"], atol=1e-5)
    np.testing.assert_allclose(losses["head"], losses[CLOUD_ALONE], atol=1e-5)
    assert not np.allclose(losses["default"], losses["still"], atol=1e-4)


def test_facts_say_what_was_trained_and_what_validation_took(found):
    _, _, facts, _ = found
    assert facts["default"]["floats"] == 4
    assert facts["last"]["floats"] == CONFIG.hidden[-1] + 1
    assert facts["last"]["learning_rate"] in ARMS["last"].rates
    assert facts["default"]["open"] == 1.0


def test_an_arm_that_changes_nothing_stands_once():
    for name, sweep in DEVICE_SWEEPS.items():
        arms = device_arms(sweep.job)
        assert DeviceArm() not in [arm for model, arm in arms.items() if model != "default"]
        assert {row.model for row in plan_of_sweep(name).rows} <= {CLOUD_ALONE, *arms}


def test_an_arm_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="start, learns: expected one of"):
        DeviceArm(start="warm")
