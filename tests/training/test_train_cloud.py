"""`dccl-train-cloud`: from a store with vectors of two bundles to the next model."""

import shutil
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from dccl_tf import real_devices
from dccl_tf.bundle_models import check_exported_from, items_of
from dccl_tf.data.storage import save_log
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.fleet import FleetVectors
from dccl_tf.run_config import DcclConfig, untrained
from dccl_tf.vectors import VectorStore
from dccl_tf.vectors.parquet import write_vectors
from device_runtime import Bundle
from export import Sizes, export_bundle
from tests.one_process import calls_of

SIZES = {"history_length": 6, "metapatch_length": 4, "item_width": 8, "hidden": (12, 8, 8)}
CONFIG = DcclConfig(protocol="liked", bottlenecks=(3, 3, 3), **SIZES)
USERS = 40
ALONE = {"store": None, "bundle": [], "checkpoint": []}


@pytest.fixture(scope="module")
def log():
    return synthetic_log(1, users=USERS, items=60, shortest=20, mean_length=25, longest=30)[0]


@pytest.fixture(scope="module")
def shipped(log, tmp_path_factory):
    """Flags: two bundles, their checkpoints, and a store where even users have a vector of the first bundle and every
    third one, later, of the second."""
    folder = tmp_path_factory.mktemp("shipped")
    store = VectorStore.open(f"sqlite:///{folder / 'vectors.sqlite'}")
    found = {"store": f"sqlite:///{folder / 'vectors.sqlite'}", "interactions": str(save_log(log, folder / "log.npz"))}
    paths = {"checkpoint": [], "bundle": []}
    for number, step in enumerate((2, 3)):
        keras.utils.set_random_seed(number)
        cloud = untrained(log, CONFIG)
        cloud.save(folder / f"{number}.keras")
        bundle = export_bundle(
            cloud, folder / f"bundle{number}", catalogue=log.catalogue, users=log.users, protocol="liked",
            training=CONFIG.training(), sizes=Sizes(candidates=5, train_batch=4),
        )  # fmt: skip
        store.register_bundle(bundle.identity, 4)
        devices = FleetVectors.new(np.random.default_rng(number).normal(size=(USERS, 4)) * 0.3)
        devices = replace(devices, samples=(np.arange(USERS) % step == 0).astype(np.int64))
        real_devices.deliver(bundle, [], devices, store, sequence=number + 1)
        paths["checkpoint"].append(str(folder / f"{number}.keras"))
        paths["bundle"].append(str(bundle.path))
    return found | paths


@pytest.fixture(scope="module")
def train(shipped):
    """Calls the program with other flags than those of `shipped`: its model, or its error."""
    sizes = {name: list(value) if isinstance(value, tuple) else value for name, value in SIZES.items()}
    usual = sizes | {"dataset": "prepared", "protocol": "liked", "bottlenecks": [3, 3, 3], "epochs": 1}
    usual |= {"round_epochs": 1, "basis_epochs": 1, "closing_beta": 0.0} | shipped
    with calls_of("train_cloud") as program:

        def call(output, **values):
            words = []
            for name, value in (usual | values | {"output": output}).items():
                if isinstance(value, list) and name in ("checkpoint", "bundle"):
                    words += [f"--{name}={one}" for one in value]
                elif value is not None:
                    words.append(f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}")
            code, told = program(*words)
            if code:
                raise ValueError(told)
            return keras.saving.load_model(output)

        yield call


def test_distillation_goes_on_from_the_last_checkpoint(train, shipped, tmp_path):
    learned, before = train(tmp_path / "n.keras", stage="distill"), keras.saving.load_model(shipped["checkpoint"][1])
    for part in ("din", "metapatch", "encoder"):
        moves = [
            np.abs(new - old).max()
            for new, old in zip(getattr(learned, part).get_weights(), getattr(before, part).get_weights(), strict=True)
        ]
        assert 0.0 < max(moves) < 0.1, part  # learned, and from there


def test_a_parquet_copy_teaches_the_same(train, shipped, tmp_path):
    command = [sys.executable, "-m", "scripts.export_vectors", f"--store={shipped['store']}"]
    command += [f"--bundle={path}" for path in shipped["bundle"]]
    subprocess.run([*command, f"--output={tmp_path / 'v.parquet'}"], check=True)
    one, other = (
        train(tmp_path / f"{number}.keras", stage="distill", store=store)
        for number, store in enumerate((shipped["store"], tmp_path / "v.parquet"))
    )
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_phones_with_ids_of_their_own_teach_for_the_users_of_a_table(train, log, shipped, tmp_path):
    store, found, lines = VectorStore.open(shipped["store"]), {}, ["device_id,user"]
    for identity in (Bundle.open(path).identity for path in shipped["bundle"]):
        vectors = store.newest(identity)
        users = [int(name.removeprefix("user-")) for name in vectors.device_ids]
        found[identity] = replace(vectors, device_ids=[f"phone {user}" for user in users])
        lines += [f"phone {user},{log.users.ids[user]}" for user in users]
    write_vectors(tmp_path / "v.parquet", found)
    (tmp_path / "devices.csv").write_text("\n".join(dict.fromkeys(lines)))
    named = train(tmp_path / "1.keras", stage="distill")
    phones = {"store": tmp_path / "v.parquet", "device_users": tmp_path / "devices.csv"}
    tabled = train(tmp_path / "2.keras", stage="distill", **phones)
    for ours, theirs in zip(tabled.get_weights(), named.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_a_store_that_is_not_there_or_has_no_vectors_makes_no_file(shipped, tmp_path):
    command = [sys.executable, "-m", "scripts.export_vectors", f"--bundle={shipped['bundle'][0]}"]
    command.append(f"--output={tmp_path / 'v.parquet'}")
    (tmp_path / "v.parquet").write_text("last week's")
    VectorStore.open(f"sqlite:///{tmp_path / 'empty.sqlite'}").close()
    for name, message in (("typo", "url: expected a vector store, got nothing at "), ("empty", "store: expected ")):
        store = f"--store=sqlite:///{tmp_path / name}.sqlite"
        ended = subprocess.run([*command, store], capture_output=True, text=True)
        assert (ended.returncode, message in ended.stderr, ended.stderr.count("\n")) == (1, True, 1)
    assert (tmp_path / "v.parquet").read_text() == "last week's"
    assert not (tmp_path / "typo.sqlite").exists()


def test_other_items_of_the_same_number_are_refused(train, log, shipped, tmp_path):
    """Numbered anew they would be other items, and no shape would tell."""
    others = replace(log, catalogue=replace(log.catalogue, ids=log.catalogue.ids + 1))
    values = {"stage": "basis", "store": None, "bundle": [], "checkpoint": shipped["checkpoint"][:1]}
    with pytest.raises(ValueError, match=r"checkpoint: expected a model of this log's 60 items .*0\.keras, made for"):
        train(tmp_path / "n.keras", **values, interactions=save_log(others, tmp_path / "others.npz"))
    cloud = keras.saving.load_model(shipped["checkpoint"][0])
    with pytest.raises(ValueError, match="checkpoint: expected a model of this log's"):
        export_bundle(
            cloud, tmp_path / "b", catalogue=others.catalogue, users=log.users, protocol="liked",
            training=CONFIG.training(),
        )  # fmt: skip


def test_the_history_length_is_the_checkpoint_s(train, shipped, tmp_path):
    values = {"stage": "basis", "store": None, "bundle": [], "checkpoint": shipped["checkpoint"][:1]}
    assert train(tmp_path / "n.keras", **values, history_length=None).din.config.history_length == 6
    with pytest.raises(ValueError, match=r"history_length: expected 6, as .*0\.keras was made with, got 20"):
        train(tmp_path / "n.keras", **values, history_length=20)
    with pytest.raises(ValueError, match=r"protocol: expected liked, for which .*0\.keras was made, got next"):
        train(tmp_path / "n.keras", **values, protocol="next")


def test_vectors_of_the_other_protocol_do_not_teach(train, tmp_path):
    """What comes next is not what is liked: their logits mean something else."""
    with pytest.raises(ValueError, match=r"protocol: expected 'liked', as .*bundle0 says .*, got 'next'"):
        train(tmp_path / "n.keras", stage="rehearse", protocol="next")
    assert not (tmp_path / "n.keras").exists()


def test_teachers_of_another_history_length_teach_what_learns_anew(train, tmp_path):
    assert train(tmp_path / "n.keras", stage="rehearse", history_length=9).din.config.history_length == 9


def test_a_model_that_cannot_be_written_leaves_the_one_before(train, tmp_path):
    output = tmp_path / "folder" / f"{'n' * 240}.keras"  # beside which no longer name has room
    before = train(tmp_path / "folder" / "n.keras", stage="pretrain", **ALONE)  # which makes the folder
    (tmp_path / "folder" / "n.keras").rename(output)
    with pytest.raises(ValueError, match=r"n\.keras"):
        train(output, stage="pretrain", learning_rate=0.5, **ALONE)
    for ours, theirs in zip(keras.saving.load_model(output).get_weights(), before.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_teachers_change_what_rehearsal_learns(train, tmp_path):
    taught = train(tmp_path / "taught.keras", stage="rehearse", beta=5.0)
    free = train(tmp_path / "free.keras", stage="rehearse", beta=5.0, **ALONE)
    moves = [np.abs(a - b).max() for a, b in zip(taught.get_weights(), free.get_weights(), strict=True)]
    assert max(moves) > 1e-3


def test_checkpoints_in_another_order_than_bundles_are_refused(train, shipped, tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint: expected the model that .*bundle0 .* in the same order"):
        train(tmp_path / "n.keras", stage="distill", checkpoint=shipped["checkpoint"][::-1])
    assert not (tmp_path / "n.keras").exists()


def test_a_work_dir_continues_the_same_settings_alone(train, tmp_path):
    values = {"stage": "pretrain", "work_dir": tmp_path / "work"} | ALONE
    first, again = (train(tmp_path / f"{number}.keras", **values) for number in (1, 2))
    for ours, theirs in zip(again.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"work_dir: .* another .*pretraining"):
        train(tmp_path / "3.keras", **values, learning_rate=0.5)
    assert list((tmp_path / "work" / "pretrain" / "tensorboard").rglob("events*"))


def test_a_work_dir_is_not_continued_with_other_vectors(train, shipped, tmp_path):
    values = {"stage": "distill", "work_dir": tmp_path / "work", "store": tmp_path / "v.parquet"}
    identities = [Bundle.open(path).identity for path in shipped["bundle"]]
    found = {identity: VectorStore.open(shipped["store"]).newest(identity) for identity in identities}
    write_vectors(tmp_path / "v.parquet", found)
    train(tmp_path / "1.keras", **values)
    newer = found[identities[1]]
    write_vectors(tmp_path / "v.parquet", found | {identities[1]: replace(newer, sequences=newer.sequences + 1)})
    with pytest.raises(ValueError, match=r"work_dir: .* another store"):
        train(tmp_path / "2.keras", **values)


def test_a_replay_holds_out_what_devices_of_the_bundle_do(train, shipped, tmp_path):
    """A fifth, on which any vector loses less than 100; or nothing, so that nothing speaks for a vector."""
    vectors = VectorStore.open(shipped["store"]).newest(Bundle.open(shipped["bundle"][0]).identity)
    for share in (0.2, 0.0):
        folder = shutil.copytree(shipped["bundle"][0], tmp_path / f"bundle-{share}")
        manifest = Bundle.open(folder).manifest
        manifest.training.heldout_fraction = share
        (folder / "manifest.pb").write_bytes(manifest.SerializeToString(deterministic=True))
        write_vectors(tmp_path / "v.parquet", {Bundle.open(folder).identity: vectors})
        values = {"bundle": [folder], "checkpoint": shipped["checkpoint"][:1], "store": tmp_path / "v.parquet"}
        values |= {"stage": "distill", "replay": True, "least_gain": -100.0}
        if share:
            train(tmp_path / "n.keras", **values)
            continue
        with pytest.raises(ValueError, match="expected at least one vector to learn from, got none"):
            train(tmp_path / "n.keras", **values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stage": "distill", "checkpoint": []}, "2 bundles and 0 checkpoints"),
        ({"stage": "rehearse", "store": None}, "got None, 2 bundles and 2 checkpoints"),
        (
            {"stage": "basis"},
            "basis expects the .keras file to go on from and no bundle, got 2 checkpoints and 2 bundles",
        ),
        ({"stage": "rehearse", "learning": "progressive"}, "learning: --stage says what is learned here"),
        ({"stage": "distill", "replay": True}, "replay: expected --least_gain"),
        ({"stage": "pretrain", "bundle": [], "checkpoint": []}, "store: --stage=pretrain learns from no vectors"),
        (
            {"stage": "basis", "store": None, "bundle": [], "checkpoint": ["no.keras"]},
            "got no.keras, where there is none",
        ),
        ({"stage": "distill", "bundle": ["no", "no"]}, "no"),
    ],
)
def test_flags_that_do_not_fit_are_named(train, tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "n.keras", **values)


def test_items_that_a_bundle_does_not_know_are_out_of_its_vocabulary(shipped, log):
    bundle = Bundle.open(shipped["bundle"][0])
    assert items_of(bundle, log) is None
    ids = log.catalogue.ids.copy()
    ids[[0, 1]], ids[2] = ids[[1, 0]], 10**6  # two changed places, one is new
    found = items_of(bundle, replace(log, catalogue=replace(log.catalogue, ids=ids)))
    np.testing.assert_array_equal(found[:5], [0, 2, 1, len(ids) + 1, 4])
    assert found[-1] == len(ids) + 1


def test_ids_as_text_are_the_bundle_s_numbers(shipped, log):
    bundle = Bundle.open(shipped["bundle"][0])
    assert items_of(bundle, replace(log, catalogue=replace(log.catalogue, ids=log.catalogue.ids.astype(str)))) is None
    with pytest.raises(ValueError, match=rf"bundle: expected items of the log, such as {10**6 + 1}, .* got none of"):
        items_of(bundle, replace(log, catalogue=replace(log.catalogue, ids=10**6 + log.catalogue.ids)))


def test_a_model_whose_answers_are_no_numbers_made_no_bundle(shipped):
    bundle, cloud = Bundle.open(shipped["bundle"][0]), keras.saving.load_model(shipped["checkpoint"][0])
    check_exported_from(bundle, cloud, "0.keras", "liked")
    with pytest.raises(ValueError, match=r"got 0\.keras, which answers otherwise by nan"):  # it was asked nothing
        check_exported_from(replace(bundle, files=bundle.files | {"goldens.pb": b""}), cloud, "0.keras", "liked")
    cloud.din.logit.bias.assign([np.nan])
    with pytest.raises(ValueError, match=r"got 0\.keras, which answers otherwise by nan"):
        check_exported_from(bundle, cloud, "0.keras", "liked")


@pytest.fixture(scope="module")
def evaluate(shipped):
    """Calls `dccl-evaluate` with a checkpoint, a bundle and a store: its exit code, and what it tells."""
    usual = ["--dataset=prepared", "--protocol=liked", f"--interactions={shipped['interactions']}"]
    with calls_of("evaluate") as program:

        def call(checkpoint, bundle, store):
            return program(*usual, f"--checkpoint={checkpoint}", f"--bundle={bundle}", f"--store={store}")

        yield call


def test_what_was_shipped_is_judged(evaluate, shipped):
    """The gates of these devices are closed, so their personal models are the cloud's."""
    code, told = evaluate(shipped["checkpoint"][0], shipped["bundle"][0], shipped["store"])
    cloud, personal = told[told.index("cloud\n") :].split("personal\n")
    assert code == 0
    assert "macro_auc" in cloud
    assert cloud == f"cloud\n{personal}"


def test_vectors_are_judged_on_the_model_of_their_bundle_alone(evaluate, shipped):
    code, told = evaluate(shipped["checkpoint"][1], shipped["bundle"][0], shipped["store"])
    assert code == 1
    assert "checkpoint: expected the model that" in told


def test_a_store_without_vectors_of_the_bundle_is_told(evaluate, shipped, tmp_path):
    checkpoint, bundle = shipped["checkpoint"][0], shipped["bundle"][0]
    identity, other = (Bundle.open(path).identity for path in shipped["bundle"])
    found = VectorStore.open(shipped["store"]).newest(other)
    write_vectors(tmp_path / "v.parquet", {other: found})
    code, told = evaluate(checkpoint, bundle, tmp_path / "v.parquet")
    assert (code, f"store: expected vectors of {bundle}, got none" in told) == (1, True)
    write_vectors(tmp_path / "v.parquet", {identity: replace(found, vectors=found.vectors[:, :3])})
    code, told = evaluate(checkpoint, bundle, tmp_path / "v.parquet")
    assert (code, f"store: expected vectors of 4 floats, as in {bundle}, got 3" in told) == (1, True)
