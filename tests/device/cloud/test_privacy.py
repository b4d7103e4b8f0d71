"""Noise on uploads: what leaves, what does not, and what it guarantees."""

import math

import numpy as np
import pytest

from device_runtime import Device, InputError, UploadNoise
from protos import dccl_pb2
from tests.device.bundles import successor
from tests.device.cloud.test_delivery import Cloud, read

KEY = b"k" * 32


def upload(device):
    return dccl_pb2.VectorUpload.FromString(dccl_pb2.SignedUpload.FromString(device.upload()).upload)


def trained(folder, bundle, noise):
    device = Device.open(folder, bundle, key=KEY, noise=noise)
    items = np.random.default_rng(0).integers(101, 121, 60)
    device.log_many(items, items % 2)
    device.personalize()
    return device


def test_a_vector_beyond_the_norm_is_cut_to_it():
    # |(3, 4)| is 5: cut to norm 1 it is (0.6, 0.8); the noise is too small to be seen.
    sent = UploadNoise(clip_norm=1.0, noise_multiplier=1e-9).apply(np.array([3, 4], np.float32))
    np.testing.assert_allclose(sent, [0.6, 0.8], atol=1e-6)


def test_a_vector_within_the_norm_stays():
    sent = UploadNoise(clip_norm=10.0, noise_multiplier=1e-12).apply(np.array([3, -4, 0], np.float32))
    np.testing.assert_allclose(sent, [3, -4, 0], atol=1e-6)
    assert UploadNoise(1.0, 1e-12).apply(np.zeros(3, np.float32)).tolist() == pytest.approx([0, 0, 0], abs=1e-9)


def test_the_noise_has_the_deviation_that_it_says():
    noise = UploadNoise(clip_norm=2.0, noise_multiplier=0.5)
    drawn = noise.apply(np.zeros(20_000, np.float32))
    assert noise.deviation == 1.0
    # Of 20,000 draws the mean is within 4 / sqrt(20,000) and the deviation within 4 / sqrt(40,000), but for one in
    # 16,000 times.
    assert abs(drawn.mean()) < 0.029
    assert abs(drawn.std() - 1.0) < 0.02


def test_a_noisy_upload_tells_nothing_of_the_samples_beside_the_vector(tmp_path, bundle):
    with trained(tmp_path / "device", bundle, UploadNoise(1.0, 0.5)) as device:
        sent = upload(device)
        assert not sent.HasField("evidence")
        assert sent.samples == 1
        assert (np.array(sent.vector, np.float32) != device.vector).all()


def test_one_vector_is_noised_once_so_that_asking_again_averages_nothing_out(tmp_path, bundle):
    noise = UploadNoise(1.0, 0.5)
    with trained(tmp_path / "device", bundle, noise) as device:
        body = device.upload()
        assert device.upload() == body
    with Device.open(tmp_path / "device", noise=noise) as device:
        assert device.upload() == body


def test_the_device_tells_whether_its_newest_upload_had_noise(tmp_path, bundle):
    with trained(tmp_path / "device", bundle, UploadNoise(1.0, 0.5)) as device:
        assert device.state["newest_upload_has_noise"] is None
        device.upload()
        assert device.state["newest_upload_has_noise"] is True
    with Device.open(tmp_path / "device") as device:
        assert device.state["newest_upload_has_noise"] is True
        device.upload()
        assert device.state["newest_upload_has_noise"] is False


@pytest.mark.parametrize("after", ["upgrade", "reset"])
def test_with_noise_an_exact_upload_that_still_waits_is_withdrawn(tmp_path, bundle, bundle_path, after):
    with trained(tmp_path / "device", bundle, None) as device:
        device.upload()
        device.upgrade(successor(bundle_path, tmp_path / "next")) if after == "upgrade" else device.reset()
    cloud = Cloud()
    with Device.open(tmp_path / "device", noise=UploadNoise(1.0, 0.5)) as device:
        (delivery,) = device.send(cloud)
        assert (delivery.sequence, delivery.status, cloud.bodies) == (1, "superseded", [])
        assert "made without noise" in delivery.detail
        assert device.send(cloud) == []
        device.log(101)
        device.personalize()
        assert [one.status for one in device.send(cloud)] == ["accepted"]
        assert [read(body).HasField("evidence") for body in cloud.bodies] == [False]


def test_a_noisy_upload_that_still_waits_is_sent(tmp_path, bundle, bundle_path):
    with trained(tmp_path / "device", bundle, UploadNoise(1.0, 0.5)) as device:
        body = device.upload()
        device.upgrade(successor(bundle_path, tmp_path / "next"))
        cloud = Cloud()
        assert [one.status for one in device.send(cloud)] == ["accepted"]
        assert cloud.bodies == [body]


def test_by_default_the_vector_leaves_as_it_is(tmp_path, bundle):
    with trained(tmp_path / "device", bundle, None) as device:
        np.testing.assert_array_equal(np.array(upload(device).vector, np.float32), device.vector)


@pytest.mark.parametrize("values", [(0, 1), (1, 0), (-1, 1), (math.nan, 1), (1, math.inf), ("1", 1), (True, 1)])
def test_noise_that_is_none_is_refused(values):
    with pytest.raises(InputError, match=r"noise\..*: expected a finite number above 0"):
        UploadNoise(*values)


@pytest.mark.parametrize(("multiplier", "uploads"), [(2.0, 1), (8.0, 30), (1.0, 5)])
def test_epsilon_is_that_of_the_gaussian_mechanism_in_closed_form(multiplier, uploads):
    """n Gaussian mechanisms of sensitivity 2 C and deviation z C are one with mu = 2 sqrt(n) / z, for which
    delta = Phi(mu/2 - eps/mu) - exp(eps) Phi(-mu/2 - eps/mu) (Balle and Wang, 2018)."""
    pytest.importorskip("dp_accounting")
    delta = 1e-5
    epsilon = UploadNoise(clip_norm=3.0, noise_multiplier=multiplier).epsilon(uploads, delta)
    mu = 2.0 * math.sqrt(uploads) / multiplier

    def normal(x):
        return 0.5 * math.erfc(-x / math.sqrt(2.0))

    exact = normal(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal(-mu / 2 - epsilon / mu)
    assert exact == pytest.approx(delta, rel=0.05)


@pytest.mark.parametrize(("uploads", "delta"), [(0, 1e-5), (1.5, 1e-5), (True, 1e-5), (1, 0.0), (1, 1.0)])
def test_an_account_of_nothing_is_refused(uploads, delta):
    with pytest.raises(InputError, match="expected a"):
        UploadNoise(1.0, 1.0).epsilon(uploads, delta)


@pytest.mark.parametrize(
    ("multiplier", "verdict"),
    [  # the mean loss of 1 upload is 2 / multiplier**2: 1250 for 0.04
        (0.04, "so little noise guarantees nothing"),
        (1e-300, "so little noise guarantees nothing"),
        (1e300, "expected as much as the accountant can count"),
    ],
)
def test_noise_that_cannot_be_accounted_for_is_told(multiplier, verdict):
    pytest.importorskip("dp_accounting")
    with pytest.raises(InputError, match=verdict):
        UploadNoise(1.0, multiplier).epsilon(1, 1e-6)
