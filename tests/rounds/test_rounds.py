"""Algorithm 1 end to end on a small made-up log: the same again, resumed after a kill, refused with other settings."""

import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from dccl_tf import rounds
from dccl_tf.cloud_model import CloudModel
from dccl_tf.data.synthetic import synthetic_log
from dccl_tf.evaluate import NextEvaluator, validation
from dccl_tf.findings import advice, protocol_results
from dccl_tf.fleet import FleetConfig, FleetVectors
from dccl_tf.run_config import DcclConfig, device_data, split_log, untrained
from dccl_tf.study.arms import judged as judged_cell
from dccl_tf.study.arms import models_by_round
from dccl_tf.trainer import History, TrainConfig
from export.runtimes import Candidate

CONFIG = DcclConfig(
    protocol="liked",
    devices=5,
    history_length=8,
    metapatch_length=4,
    pretraining=TrainConfig(epochs=3, learning_rate=0.01),
    incremental=TrainConfig(epochs=2, learning_rate=0.01),
    basis=TrainConfig(epochs=1, learning_rate=0.01),
)


@pytest.fixture(autouse=True)
def one_runtime(monkeypatch):
    """Certificates on one runtime alone: here the loop is tested, not the file."""
    monkeypatch.setattr("export.certificate.installed", lambda: [Candidate("tensorflow", delegate=False)])


@pytest.fixture(scope="module")
def log_and_oracle():
    return synthetic_log(2, users=60, items=100, shortest=16, mean_length=25, longest=40)


def judged(outcome) -> dict[str, np.ndarray]:
    return {name: outcome.evaluator(*model)["log_loss/liked"] for name, model in outcome.models().items()}


@pytest.fixture(scope="module")
def finished(log_and_oracle, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("export.certificate.installed", lambda: [Candidate("tensorflow", delegate=False)])
        folder = tmp_path_factory.mktemp("finished")
        return folder, rounds.run(log_and_oracle[0], CONFIG, folder, "log")


def test_devices_upload_and_agree_with_the_fleet(finished):
    (facts,) = finished[1].agreement
    assert facts["devices"] == 5
    assert facts["median_difference"] < 1e-5
    assert facts["receipts"] == {"ACCEPTED": facts["uploads_real"] + facts["uploads_simulated"]}
    assert facts["upgraded"]["median_difference"] < 1e-5
    assert facts["upgraded"]["equal_gates"] == 5
    assert [bundle.manifest.parent for bundle in finished[1].bundles] == [b"", finished[1].bundles[0].identity]


def test_killed_run_resumes_to_the_same_numbers(log_and_oracle, finished, tmp_path, monkeypatch):
    learn = rounds.learn_jointly

    def killed_beside_teachers(*args, **options):
        if args[-1]:
            raise KeyboardInterrupt
        return learn(*args, **options)

    monkeypatch.setattr(rounds, "learn_jointly", killed_beside_teachers)
    with pytest.raises(KeyboardInterrupt):
        rounds.run(log_and_oracle[0], CONFIG, tmp_path, "log")

    def only_beside_teachers(*args, **options):
        assert args[-1], "a finished stage ran again"
        return learn(*args, **options)

    monkeypatch.setattr(rounds, "learn_jointly", only_beside_teachers)
    resumed = judged(rounds.run(log_and_oracle[0], CONFIG, tmp_path, "log"))
    for name, values in judged(finished[1]).items():
        np.testing.assert_allclose(resumed[name], values, atol=1e-6, err_msg=name)


def test_runs_share_what_does_not_depend_on_how_they_differ(log_and_oracle, tmp_path, monkeypatch):
    trained = []

    def untaught(*args, name: str, **options) -> History:
        trained.append(name)
        return History([0.5], [0.5], 0)

    def named(run: rounds._Run, cloud: CloudModel, number: int, parent: bytes) -> SimpleNamespace:
        bundle = SimpleNamespace(identity=bytes([number]) * 32)
        run.store.register_bundle(bundle.identity, cloud.metapatch.length)
        return bundle

    monkeypatch.setattr(rounds._Run, "export", named)
    monkeypatch.setattr(rounds, "pretrain", untaught)
    monkeypatch.setattr(rounds, "learn_jointly", untaught)

    def run(name: str, **changes) -> list[str]:
        trained.clear()
        config = dataclasses.replace(CONFIG, devices=0, **changes)
        rounds.run(log_and_oracle[0], config, tmp_path / name, "log", tmp_path / "shared")
        return trained

    assert run("first") == ["pretrain", "din", "same_data0-gone-on", "same_data0-anew", "distill0"]
    assert run("other teachers", beta=5.0) == ["distill0"]
    assert run("other sizes", metapatch_length=6) == ["pretrain", "distill0"]


def test_the_baseline_begins_the_same_whatever_the_sizes_of_metapatches(log_and_oracle):
    def made(length: int) -> CloudModel:
        keras.utils.set_random_seed(0)
        return untrained(log_and_oracle[0], dataclasses.replace(CONFIG, metapatch_length=length))

    first, second = made(4), made(6)
    for ours, theirs in zip(first.din.get_weights(), second.din.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert first.metapatch.length != second.metapatch.length


def test_other_settings_in_one_folder_are_refused(log_and_oracle, finished):
    other = dataclasses.replace(CONFIG, beta=0.9)
    with pytest.raises(ValueError, match="another beta"):
        rounds.run(log_and_oracle[0], other, finished[0], "log")


def test_findings_hold_every_model_and_the_oracle(log_and_oracle, finished):
    log, oracle = log_and_oracle
    found = protocol_results(log, CONFIG, finished[1], oracle)
    assert list(found.models) == ["DIN", "DIN, same data", "DCCL-e", "DCCL-m", "DCCL-m + devices", "oracle"]
    auc = {name: row["macro_auc/liked"].mean for name, row in found.models.items()}
    assert auc["oracle"] == max(auc.values())
    assert sum(group.users for group in found.activity) <= 60
    assert found.bundle["checks"]
    models = finished[1].models()
    assert found.validation == {name: validation(finished[1].valid, *models[name]) for name in models}
    assert found.advice == advice(CONFIG, found.validation)


def test_advice_is_given_where_validation_prefers_the_baseline_and_names_what_was_not_tried():
    worse = {"DIN, same data": 0.6985, "DCCL-m + devices": 0.6951}
    found = advice(DcclConfig(beta=0.1, offset_pull=320.0), worse)
    assert "0.6985 against 0.6951" in found[0]
    assert ["--beta=0" in found[1], "--offset_pull=6400, here 320" in found[2]] == [True, True]
    assert len(advice(DcclConfig(beta=0.0, offset_pull=6400.0), worse)) == 1
    assert len(advice(DcclConfig(beta=0.1, learning="progressive"), worse)) == 2
    for better in (0.6985, 0.7, float("nan")):
        assert advice(DcclConfig(), worse | {"DCCL-m + devices": better}) == []


def test_the_study_finds_each_round_s_models_among_the_stages(finished):
    folder, outcome = finished
    by_round = judged_cell(outcome.evaluator, dict(models_by_round(folder, 1)), {})
    whole = judged_cell(outcome.evaluator, outcome.models(), {})
    for name in ("DIN, same data", "DCCL-m", "DCCL-m + devices"):
        for metric, values in whole.values[name].items():
            np.testing.assert_allclose(by_round.values[f"round 1: {name}"][metric], values, atol=1e-6)
        assert by_round.totals[f"round 1: {name}"] == pytest.approx(whole.totals[name], abs=1e-6)


def test_oracle_under_next_has_what_it_can_have(log_and_oracle, finished):
    """It ranks the sampled candidates; ranking everything is left to the models."""
    log, oracle = log_and_oracle
    split = split_log(log, dataclasses.replace(CONFIG, protocol="next"))
    evaluator = NextEvaluator(log, split.test, CONFIG.history_length, negatives=20)
    values = evaluator.of_oracle(oracle)["ndcg@10/neg100"]
    chance = sum(1 / np.log2(rank + 1) for rank in range(1, 11)) / 21
    assert np.nanmean(values) > 1.3 * chance
    model = untrained(log, dataclasses.replace(CONFIG, protocol="next"))
    outcome = dataclasses.replace(finished[1], evaluator=evaluator)
    models = {name: (model, None) for name in finished[1].models()}
    object.__setattr__(outcome, "models", lambda: models)
    found = protocol_results(log, dataclasses.replace(CONFIG, protocol="next"), outcome, oracle)
    assert set(found.models["oracle"]) <= set(found.models["DIN"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"protocol": "x"}, "protocol"),
        ({"rounds": 0}, "rounds"),
        ({"rehearsal": 1.0}, "rehearsal"),
        ({"learning": "x"}, "learning"),
        ({"memory": "x"}, "memory"),
        ({"shared": -1}, "shared"),
        ({"beta": -1}, "beta"),
        ({"negatives": -3}, "negatives: expected at least 1, got -3"),
        ({"metapatch_length": 0}, "metapatch_length"),
        ({"history_length": 0}, "history_length"),
        ({"dropout": 1.5}, "dropout"),
        ({"precision": "int8"}, "precision: expected 'float32' or 'float16', got 'int8'"),
        ({"runtime": "x"}, "runtime: expected one of auto"),
        ({"upload_noise": float("nan"), "devices": 0}, "upload_noise"),
    ],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        DcclConfig(**setting)


def test_rounds_shorter_than_what_devices_hold_out_are_learned_in_the_paper_s_order(log_and_oracle, tmp_path):
    # Of everything so far devices hold out a fifth, and the last of three rounds is a sixth of it.
    config = dataclasses.replace(CONFIG, devices=0, learning="progressive", rounds=3, incremental=CONFIG.basis)
    outcome = rounds.run(log_and_oracle[0], config, tmp_path, "log")
    assert len(outcome.bundles) == 4
    assert "distill0-older" in outcome.histories
    assert "distill2-older" not in outcome.histories


def test_a_share_of_the_devices_uploads_and_with_noise(log_and_oracle, tmp_path):
    """60 users, half of whom are silent by chance; noise of 0.5 has that standard deviation over 60 * 4 floats."""
    config = dataclasses.replace(CONFIG, devices=0, upload_share=0.5, upload_noise=0.5)
    run = rounds._Run(log_and_oracle[0], config, tmp_path, "log")
    devices = FleetVectors(*(np.zeros((60, 4), np.float32), *(np.ones(60) for _ in range(5))))
    sent = run.sent(devices, number=0)
    assert 20 <= (sent.samples > 0).sum() <= 40
    assert sent.vectors.std() == pytest.approx(0.5, rel=0.15)
    np.testing.assert_array_equal(run.sent(devices, number=0).vectors, sent.vectors)
    assert not np.array_equal(run.sent(devices, number=1).vectors, sent.vectors)


def test_real_devices_do_not_blur_uploads():
    with pytest.raises(ValueError, match="devices: expected 0, since only a fleet"):
        dataclasses.replace(CONFIG, devices=5, upload_noise=0.1)


def test_policy_after_an_upgrade_follows_the_way_of_learning():
    assert DcclConfig().policy == "reset"
    assert DcclConfig(learning="progressive").policy == "rebase"
    assert DcclConfig(after_upgrade="keep").policy == "keep"


def test_the_prior_weighs_the_same_against_a_click_however_many_rows_it_has():
    """One row under liked; the item and four drawn ones, or nine, under next."""
    found = [DcclConfig(protocol="liked"), DcclConfig(protocol="next"), DcclConfig(protocol="next", negatives=9)]
    assert [config.fleet.pull for config in found] == [320.0, 1600.0, 3200.0]
    assert DcclConfig(protocol="next", fleet=FleetConfig(pull=8.0)).fleet.pull == 8.0


def test_devices_log_their_whole_past_or_the_rounds_alone(log_and_oracle):
    """By round 1 of 2: pretraining and two rounds, or the two rounds; each span as the split has it."""
    config = dataclasses.replace(CONFIG, rounds=2)
    split = split_log(log_and_oracle[0], config)
    whole = device_data(log_and_oracle[0], config, split, round_number=1)
    assert [data.span for data in whole] == [split.pretrain, *split.rounds]
    rounds_alone = device_data(log_and_oracle[0], dataclasses.replace(config, memory="rounds"), split, round_number=0)
    assert [data.span for data in rounds_alone] == [split.rounds[0]]
