"""What the figures' sections say, from made-up cells, and that the drawings are sound."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from dccl_tf.metrics import by_activity
from dccl_tf.report.drawing import standalone
from dccl_tf.study import plots
from dccl_tf.study.cells import Cell, Judged
from dccl_tf.study.collect import Collector
from dccl_tf.study.figures import FIGURES
from dccl_tf.study.statistics import difference, summary
from tests.data.logs import log_of

USERS = 40
# The first 20 users have 4 interactions, the others 2.
LOG = log_of(*([[1, 2, 1, 2]] * 20 + [[1, 2]] * 20))


def collector(judged, protocol="liked"):
    return Collector("toy", protocol, (0, 1), lambda cell: judged(cell))


def models(active: float, tail: float):
    """The fair baseline has 0.5 for all, DCCL-e gains `active` and `tail` in the two groups, the devices nothing."""
    gain = np.repeat([active, tail], 20)
    values = {"DIN, same data": np.full(USERS, 0.5), "DCCL-e": 0.5 + gain, "DCCL-m + devices": np.full(USERS, 0.5)}
    return {name: {"macro_auc/liked": one} for name, one in values.items()}


def made(number, judged, protocol="liked"):
    return FIGURES[number].make(collector(judged, protocol), LOG)


def test_groups_are_of_the_most_active_first_and_ties_keep_the_order_of_users():
    groups = by_activity(np.array([3, 9, 3, 9]), np.array([True, True, True, False]), groups=3, least=1)
    assert [group.tolist() for group in groups] == [[1], [0], [2]]


def test_too_few_users_make_fewer_groups():
    assert len(by_activity(np.arange(45), np.ones(45, bool), groups=20, least=20)) == 2
    assert by_activity(np.arange(3), np.ones(3, bool)) == []


def test_figure_4_tells_the_gain_of_each_half_averaged_over_seeds():
    # Seed 0 gains 0 and 0.1, seed 1 gains 0.02 and 0.3: on average 1 point among the active, 20 in the tail.
    figure = made("4", lambda cell: Judged(models(0.02 * cell.seed, 0.1 + 0.2 * cell.seed)))
    assert "| DCCL-e | +1.00 [+1.00, +1.00] | +20.00 [+20.00, +20.00] |" in figure.text
    assert [(group["interactions"], group["users"]) for group in figure.data["groups"]] == [(4.0, 20), (2.0, 20)]
    assert "DCCL-e is better than DIN, same data in 2 of 2 groups, clearly so in 2" in figure.drawing.description


def test_a_figure_of_which_nothing_is_done_is_none():
    assert [made(number, lambda cell: None) for number in FIGURES] == [None] * len(FIGURES)


def rounds(cell: Cell):
    """Round r of n: the baseline has r / 10, the devices 0.05 more; of ten rounds nothing is done."""
    count = dict(cell.changes)["rounds"]
    if count == 10:
        return None
    values = {}
    for number in range(1, count + 1):
        for name, more in (("DIN, same data", 0.0), ("DCCL-m + devices", 0.05)):
            values[f"round {number}: {name}"] = {"macro_auc/liked": np.full(USERS, number / 10 + more)}
    return Judged(values)


def test_figure_5_tells_first_and_last_round_of_what_is_done():
    figure = made("5", rounds)
    gain = "+5.00 [+5.00, +5.00]"
    assert f"| 2 rounds | 10.00 | 15.00 | {gain} | 20.00 | 25.00 | {gain} |" in figure.text
    assert f"| 5 rounds | 10.00 | 15.00 | {gain} | 50.00 | 55.00 | {gain} |" in figure.text
    assert "10 rounds" not in figure.text
    assert [point["mean"] for point in figure.data["curves"][2]["values"]["DIN, same data"]] == pytest.approx(
        [0.1, 0.2]
    )


CASE = {
    "user": "user A7b", "interactions": 9, "history": ["a", "b"], "held_out": "z",
    "top": {"DIN": list("abcde"), "DCCL-e": list("zabcd")},
}  # fmt: skip


def test_figure_6_marks_the_held_out_item_and_says_how_the_user_was_chosen():
    figure = made("6", lambda cell: Judged({}, facts={"case": CASE}), "next")
    assert "| 1 | a | **z** |\n| 2 | b | a |" in figure.text
    assert figure.text.startswith("User A7b, 9 interactions")  # the id as it is
    assert "DCCL-e ranks best (seed 0), so this shows what can happen" in figure.text


def test_figure_7_averages_purity_over_seeds():
    def judged(cell):
        purity = {"purity": 0.3 + 0.2 * cell.seed, "shuffled_purity": 0.1}
        return Judged({}, facts={"map": {"points": [[0.0, 1.0]], "categories": ["x"], **purity}})

    figure = made("7", judged)
    assert "40.0% share its category, 10.0% if categories are shuffled (2 seeds)" in figure.text
    assert figure.data["purity"] == [0.3, 0.5]


def test_rounds_name_what_is_dashed():
    fair, ours = ([{0: np.full(3, mean)} for mean in means] for means in ((0.1, 0.2), (0.1, 0.3)))
    values = {"fair": [summary(one) for one in fair], "ours": [summary(one) for one in ours]}
    gains = [difference(one, other) for one, other in zip(ours, fair, strict=True)]
    drawing = plots.rounds({2: plots.Rounds(values, gains)}, "hr@1/neg100")
    assert [name for name, _ in drawing.legend] == ["2 rounds: ours (dashed: fair)"]
    assert "2 rounds, ours: 10.00 to 30.00" in drawing.description
    ElementTree.fromstring(standalone(drawing))
