"""The trip, step by step: each fixture is where the whole stands after one more thing has happened to it.

Programs, server and devices run as they do for their users, as processes; only what is compared is computed here.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import tensorflow as tf

from dccl_tf import run_config
from dccl_tf.data import sources
from dccl_tf.data.movielens import load_movielens
from dccl_tf.run_config import DcclConfig
from dccl_tf.vectors import UploadedVectors
from tests.collector.devices import SmallDevice, send
from tests.collector.served import ROOT, wait_for
from tests.trip.cloud import Cloud
from tests.trip.phones import Groups, phones_of
from tests.trip.programs import PATIENCE, Programs, Shipped

DEVICES = 200


@pytest.fixture(scope="module")
def data_dir():
    """Where MovieLens-100K lies; nothing is downloaded."""
    place = Path(os.environ.get("DCCL_DATA") or ROOT / ".." / "shared" / "data").resolve()
    try:
        sources.find("ml-100k", place)
    except FileNotFoundError as error:
        pytest.skip(f"the trip needs MovieLens-100K: {error}")
    return place


@pytest.fixture(scope="module")
def log(data_dir):
    return load_movielens("ml-100k", data_dir)


@pytest.fixture(scope="module")
def config():
    return DcclConfig(protocol="next")


@pytest.fixture(scope="module")
def split(log, config):
    return run_config.split_log(log, config)


@pytest.fixture(scope="module")
def programs(data_dir, tmp_path_factory):
    return Programs(data_dir, tmp_path_factory.mktemp("trip"))


@pytest.fixture(scope="module")
def first(programs):
    """What the cloud learned from the first half of every user's clicks."""
    programs.run("train_cloud", "--stage=rehearse", "--epochs=8", f"--output={programs.folder / 'first.keras'}")
    return programs.export("first")


@pytest.fixture(scope="module")
def cloud(programs, first):
    """The collector, with the first bundle for all."""
    cloud = Cloud(programs.folder / "collector")
    cloud.publish(first.bundle, percent=100)
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def phones(log, split, programs, cloud):
    """200 users with clicks in the second half, and what their phones have to know."""
    (span,) = split.rounds
    users = np.random.default_rng(0).permutation(np.flatnonzero(span.stop > span.start))[:DEVICES]
    return phones_of(log, span, users, programs.folder / "phones", cloud.url)


@pytest.fixture(scope="module")
def joined(phones):
    """All phones have registered, fetched the bundle and personalised; their uploads wait."""
    return Groups("join", phones).finished()


@dataclass
class Sent:
    """How the first uploads went."""

    acknowledged: dict[str, dict]  # by device, when the server was killed
    on_disk: UploadedVectors  # just after that
    facts: dict[str, dict]  # of all devices at the end


@pytest.fixture(scope="module")
def sent(phones, joined, cloud, first):
    """All phones send at the same time, and the server is killed in the midst of it and started again."""
    groups = Groups("send", phones)
    wait_for(lambda: len(groups.facts) >= DEVICES // 5, PATIENCE)
    acknowledged = groups.facts
    cloud.kill()
    on_disk = cloud.held(first.bundle)
    cloud.start_again()
    return Sent(acknowledged, on_disk, groups.finished())


@pytest.fixture(scope="module")
def refused(phones, joined, sent, cloud, first):
    """Four phones go bad and send what they should not, under their own keys: what they are told."""
    vectors = cloud.held(first.bundle).vectors
    fine, median = vectors[0], np.median(np.linalg.norm(vectors, axis=1))
    bad = {
        "poisoned by length": {"sequence": 2, "vector": 6 * median * fine / np.linalg.norm(fine)},  # 4 are allowed
        "poisoned by NaN": {"sequence": 2, "vector": np.where(np.arange(len(fine)) == 3, np.nan, fine)},
        "stale number": {"sequence": 1, "vector": fine + 0.01},
        "stale bundle": {"sequence": 2, "vector": fine, "bundle": bytes(32)},
    }
    with httpx.Client(base_url=cloud.url) as client:
        receipts = {}
        for phone, (name, fields) in zip(phones, bad.items(), strict=False):
            device = SmallDevice(phone["device_id"], bytes.fromhex(joined[phone["device_id"]]["key"]))
            receipts[name] = send(client, device.body(**{"bundle": first.bundle.identity} | fields))
    return receipts


@dataclass
class Distilled:
    """The next cloud model, and how it was made."""

    shipped: Shipped
    epochs: int
    epochs_before: int  # that had been saved when the trainer was killed
    events: Path  # TensorBoard's


@pytest.fixture(scope="module")
def distilled(programs, refused, cloud, first):
    """The trainer distils the vectors of the store, is killed after an epoch, and goes on when it is started again."""
    work, epochs = programs.folder / "work", 4
    flags = [
        "--stage=distill", f"--store={cloud.store_url}", f"--bundle={first.bundle.path}",
        f"--checkpoint={first.checkpoint}", f"--round_epochs={epochs}", "--basis_epochs=1", f"--work_dir={work}",
        f"--output={programs.folder / 'next.keras'}",
    ]  # fmt: skip
    trainer = programs.start("train_cloud", *flags)
    saved = work / "distill" / "checkpoint"
    try:
        wait_for(lambda: trainer.poll() is not None or tf.train.latest_checkpoint(saved), PATIENCE)
    finally:
        trainer.kill()
    assert trainer.wait() == -signal.SIGKILL, programs.told("train_cloud")
    finished = int(tf.train.latest_checkpoint(saved).rpartition("-")[2])
    programs.run("train_cloud", *flags)
    shipped = programs.export("next", f"--parent={first.bundle.path}")
    return Distilled(shipped, epochs, finished, work / "distill" / "tensorboard" / "distill")


@pytest.fixture(scope="module")
def tenth(phones, distilled, cloud):
    """The new bundle is out for 10% of devices, and all have asked."""
    cloud.publish(distilled.shipped.bundle, percent=10)
    return Groups("renew", phones).finished()


@pytest.fixture(scope="module")
def everybody(phones, tenth, distilled, cloud):
    """It is out for all, and all have asked again."""
    cloud.widen(distilled.shipped.bundle, percent=100)
    return Groups("renew", phones).finished()
