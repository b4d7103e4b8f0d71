"""Scores and rankings, for any number of candidates and any history."""

import threading

import numpy as np
import pytest

from device_runtime import Device, InputError, PersonalizeConfig

K, T, C, V = 4, 5, 8, 20


@pytest.fixture
def used(device):
    """A device with a history and a trained vector."""
    device.log_many([101, 104, 109, 115, 120, 102, 103], [1, 0, 1, 1, 0, 1, 0])
    device.personalize()
    return device


@pytest.mark.parametrize("count", [0, 1, C - 1, C, C + 1, 2 * C + 3, 5 * C])
def test_scores_are_those_of_one_candidate_at_a_time(used, count):
    candidates = [101 + number % 25 for number in range(count)]
    alone = [used.scores([item], gate=1)[0] for item in candidates]
    scores = used.scores(candidates, gate=1)
    assert scores.shape == (count,)
    np.testing.assert_allclose(scores, alone, atol=1e-6)  # a kernel's last places may round in another way


def test_rank_sorts_by_score_and_keeps_the_given_order_of_equals(used):
    candidates = [120, 999, 101, 998, 110]  # 998 and 999 are both out of the vocabulary: one score
    scores = dict(zip(candidates, used.scores(candidates).tolist(), strict=True))
    ids, ranked = used.rank(candidates)
    assert ids == sorted(candidates, key=lambda item: -scores[item])
    assert ranked.tolist() == [scores[item] for item in ids]
    assert ids.index(999) < ids.index(998)


def test_k_cuts_and_more_than_there_is_gives_all(used):
    assert used.rank([101, 102, 103], k=2)[0] == used.rank([101, 102, 103])[0][:2]
    assert len(used.rank([101, 102, 103], k=10)[0]) == 3


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "3"])
def test_a_k_that_is_no_count_is_refused(used, k):
    with pytest.raises(InputError, match="k: expected a whole number of at least 1"):
        used.rank([101], k=k)


def test_no_candidates_give_no_ranking(used):
    ids, scores = used.rank([])
    assert ids == []
    assert scores.shape == (0,)


def test_what_the_user_met_can_be_left_out(used):
    ids, _ = used.rank(range(101, 121), exclude_history=True)
    assert sorted(ids) == [105, 106, 107, 108, 110, 111, 112, 113, 114, 116, 117, 118, 119]


def test_unknown_candidates_share_a_score_and_are_counted(used):
    scores = used.scores([V + 101, 2**31 - 1, 101])
    assert scores[0] == scores[1] != scores[2]
    assert used.state["counts"]["unknown_ranked"] == 2


@pytest.mark.parametrize("candidates", [[-1], [101, -(2**31)], ["101"], [101, 1.5], [None], 101])
def test_candidates_that_are_no_ids_are_refused_by_name(used, candidates):
    with pytest.raises(InputError, match="candidates: expected"):
        used.rank(candidates)


@pytest.mark.parametrize("gate", [np.nan, np.inf, "1", True])
def test_a_gate_that_is_no_number_is_refused(used, gate):
    with pytest.raises(InputError, match="gate: expected a finite number"):
        used.rank([101], gate=gate)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint16, np.uint64])
def test_numpy_ids_score_like_python_ints(used, kind):
    np.testing.assert_array_equal(used.scores(np.array([101, 120], kind)), used.scores([101, 120]))


def test_gate_0_is_the_cloud_model_whatever_the_vector(used, tmp_path, bundle):
    with Device.open(tmp_path / "other", bundle, profile={"age": "old"}) as other:
        other.log_many([101, 104, 109, 115, 120, 102, 103], [1, 0, 1, 1, 0, 1, 0])
        assert (other.vector != used.vector).any()
        np.testing.assert_array_equal(other.scores(range(101, 121), gate=0), used.scores(range(101, 121), gate=0))
        assert (other.scores([101], gate=1) != used.scores([101], gate=1)).all()


def test_by_default_the_gate_is_what_the_evidence_decided(used):
    np.testing.assert_array_equal(used.scores([101]), used.scores([101], gate=used.gate))


def test_an_empty_history_gives_finite_scores_that_no_label_on_padding_changes(device, runtime):
    empty = device.scores(range(101, 109), gate=0)
    assert np.isfinite(empty).all()
    user = {"history": np.zeros((1, 5), np.int32), "profile": [[2]], "candidates": [range(1, 9)], "gate": [0]}
    for label in (0, 1):
        logits = runtime.call("infer", history_labels=np.full((1, 5), label), **user)["logits"]
        np.testing.assert_array_equal(logits[0], empty)


def test_of_a_history_longer_than_t_the_newest_t_count(device, tmp_path, bundle):
    newest = [110, 111, 112, 113, 114]
    device.log_many([101, 102, 103, *newest])
    with Device.open(tmp_path / "other", bundle, profile={"age": "old"}) as other:
        other.log_many(newest)
        np.testing.assert_array_equal(device.scores([101, 120]), other.scores([101, 120]))


def test_a_new_interaction_changes_the_next_scores(device):
    before = device.scores([101])
    device.log(110)
    assert device.scores([101]) != before


def test_the_profile_plays_its_part(device, tmp_path, bundle):
    with Device.open(tmp_path / "other", bundle, profile={"age": "young"}) as other:
        assert other.scores([101], gate=0) != device.scores([101], gate=0)


def test_rankings_during_training_are_by_the_old_vector(used):
    expected = used.scores(range(101, 121), gate=1)
    seen = []

    def on_step(epoch, step, loss):
        thread = threading.Thread(target=lambda: seen.append(used.scores(range(101, 121), gate=1)))
        thread.start()
        thread.join()

    before = used.vector
    used.personalize(PersonalizeConfig(heldout_fraction=0.0), on_step=on_step)
    assert len(seen) > 5
    assert all((scores == expected).all() for scores in seen)
    assert (used.vector != before).any()
