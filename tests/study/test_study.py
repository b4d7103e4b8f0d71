"""A study of fake cells: resumed after a kill, extended by a seed, written to a page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dccl_tf.study.cells import Cell, CellFolder, Judged
from dccl_tf.study.plans import Plan, Row
from dccl_tf.study.run import Study
from tests.data.logs import log_of

PLAN = Plan(
    name="tiny",
    title="Tiny",
    rows=(Row("A", "job", "model a"), Row("B", "other", "model b", (("x", 2),))),
    pairs=(("B", "A"),),
)
LOG = log_of([1, 2], [2, 1], [1, 1])


class Job:
    """Model a has 0.2, model b 0.3 for every user, plus 0.1 a seed; keeps note of what it did."""

    def __init__(self, killed_at: int = -1) -> None:
        self.done: list[Cell] = []
        self.killed_at = killed_at

    def __call__(self, cell: Cell, folder: Path) -> Judged:
        if len(self.done) == self.killed_at:
            raise KeyboardInterrupt
        self.done.append(cell)
        name, value = ("model a", 0.2) if cell.job == "job" else ("model b", 0.3)
        metric = "ndcg@10/neg100" if cell.protocol == "next" else "macro_auc/liked"
        return Judged({name: {metric: np.full(3, value + 0.1 * cell.seed)}})


def study(folder: Path, seeds: tuple[int, ...] = (0, 1), **settings) -> Study:
    return Study(
        dataset="toy",
        protocols=("next",),
        seeds=seeds,
        folder=folder / "work",
        output=folder / "out",
        settings=lambda cell: {"job": cell.job, "seed": cell.seed, "x": 1} | dict(cell.changes) | settings,
        identity="log",
    )


def test_cells_come_seed_by_seed_and_once(tmp_path):
    cells = study(tmp_path).cells([PLAN, PLAN])
    assert [(cell.seed, cell.job) for cell in cells] == [(0, "job"), (0, "other"), (1, "job"), (1, "other")]


def test_a_change_to_what_is_the_default_makes_no_second_cell(tmp_path):
    plan = Plan("p", "P", (Row("A", "job", "model a"), Row("A, x = 1", "job", "model a", (("x", 1),))), ())
    assert len(study(tmp_path, (0,)).cells([plan])) == 1


def test_a_killed_study_goes_on_without_doing_anything_again(tmp_path):
    made = study(tmp_path)
    cells = made.cells([PLAN])
    killed = Job(killed_at=2)
    with pytest.raises(KeyboardInterrupt):
        made.run(cells, killed)
    resumed = Job()
    assert made.run(cells, resumed) == []
    assert killed.done + resumed.done == cells


def test_more_seeds_do_only_what_is_new(tmp_path):
    made = study(tmp_path, (0,))
    made.run(made.cells([PLAN]), Job())
    more, job = study(tmp_path, (0, 1)), Job()
    more.run(more.cells([PLAN]), job)
    assert {cell.seed for cell in job.done} == {1}


def test_another_default_is_another_cell(tmp_path):
    made = study(tmp_path, (0,))
    made.run(made.cells([PLAN]), Job())
    other, job = study(tmp_path, (0,), epochs=9), Job()
    other.run(other.cells([PLAN]), job)
    assert len(job.done) == 2


def test_a_cell_that_fails_is_told_and_the_others_are_done(tmp_path):
    made = study(tmp_path, (0,))

    def job(cell: Cell, folder: Path) -> Judged:
        if cell.job == "job":
            raise FloatingPointError("the loss is nan")
        return Job()(cell, folder)

    failed = made.run(made.cells([PLAN]), job)
    assert failed == ["toy next job seed 0: the loss is nan"]
    assert [made.is_done(cell) for cell in made.cells([PLAN])] == [False, True]


def test_a_cell_that_another_process_does_is_left_to_it(tmp_path):
    """While one study does a cell a second one is begun: it does the other cell, and the first finds that one done."""
    first, job, inner = study(tmp_path, (0,)), Job(), Job()
    cells = first.cells([PLAN])

    def begun_twice(cell: Cell, folder: Path) -> Judged:
        if cell.job == "job":
            assert study(tmp_path, (0,)).run(cells, inner) == []
        return job(cell, folder)

    assert first.run(cells, begun_twice) == []
    assert (job.done, inner.done) == ([cells[0]], [cells[1]])
    assert all(map(first.is_done, cells))


def test_a_page_of_more_seeds_is_left_as_it_is(tmp_path, caplog):
    both = study(tmp_path)
    both.run(both.cells([PLAN]), Job())
    (path,) = both.write([PLAN], LOG, {})
    before = path.read_text()
    assert study(tmp_path, (1,)).write([PLAN], LOG, {}) == []
    assert path.read_text() == before
    assert "it holds 2 cells that are not done here, such as 'toy next job seed 0'" in caplog.text


def test_a_page_of_cells_that_are_not_done_here_is_left_as_it_is(tmp_path, caplog):
    """As with another work_dir, or where a default has changed since: rows would vanish."""
    made = study(tmp_path)
    made.run(made.cells([PLAN]), Job())
    (path,) = made.write([PLAN], LOG, {})
    other = replace(made, folder=tmp_path / "other")
    other.run(other.cells([PLAN])[:3], Job())
    assert other.write([PLAN], LOG, {}) == []
    assert "1 cells that are not done here" in caplog.text
    assert json.loads(path.read_text())["protocols"]["next"]["rows"].keys() == {"A", "B"}


def test_a_page_of_another_log_by_the_same_name_is_left_as_it_is(tmp_path, caplog):
    made = study(tmp_path)
    made.run(made.cells([PLAN]), Job())
    (path,) = made.write([PLAN], LOG, {})
    before = path.read_text()
    other = replace(made, identity="filtered in another way")
    other.run(other.cells([PLAN]), Job())
    assert other.write([PLAN], LOG, {}) == []
    assert path.read_text() == before
    assert "it is of other data" in caplog.text


def test_a_cell_comes_back_as_it_was_saved(tmp_path):
    cell = Cell("toy", "liked", 3, "dccl")
    values = {"DCCL-m + devices": {"macro_auc/liked": np.array([0.5, np.nan, 1.0], np.float32)}}
    totals = {"DCCL-m + devices": {"calibration_error/liked": 0.25}}
    folder = CellFolder(tmp_path)
    folder.save(cell, {"a": 1}, Judged(values, totals, {"case": None}), seconds=2.0)
    found = folder.load(cell, {"a": 1})
    np.testing.assert_array_equal(
        found.values["DCCL-m + devices"]["macro_auc/liked"], values["DCCL-m + devices"]["macro_auc/liked"]
    )
    assert (found.totals, found.facts) == (totals, {"case": None})
    assert folder.told(cell, {"a": 1})["seconds"] == 2.0


@pytest.fixture
def written(tmp_path):
    made = study(tmp_path)
    made.run(made.cells([PLAN]), Job())
    (path,) = made.write([PLAN], LOG, {"command": "the command"})
    return path, (tmp_path / "out" / "docs" / "results.md").read_text()


def test_results_hold_means_spreads_and_differences_and_no_user(written):
    found = json.loads(written[0].read_text())
    row = found["protocols"]["next"]["rows"]["B"]["ndcg@10/neg100"]
    # Seeds 0 and 1 have 0.3 and 0.4.
    assert row["mean"] == pytest.approx(0.35)
    assert row["spread"] == pytest.approx(0.1 / 2**0.5)
    (gain,) = found["protocols"]["next"]["differences"]
    assert (gain["model"], gain["against"]) == ("B", "A")
    assert gain["metrics"]["ndcg@10/neg100"]["mean"] == pytest.approx(0.1)
    assert found["command"] == "the command"
    assert found["settings"]["next other"]["x"] == 2
    assert written[0].name == "tiny-toy.json"


def test_the_page_shows_them(written):
    assert "| A | 25.00 ± 7.07 |\n| B | **35.00 ± 7.07** |" in written[1]
    # 0.1 over 0.25 is 40%; every user gains alike, so the interval has no width, and the gain is clear.
    assert "| B against A | **+10.00 [+10.00, +10.00]** (+40.00%) |" in written[1]
    assert "2 seeds, 3 users" in written[1]


def test_a_page_tells_of_how_many_users_were_ranked_among_all_items(tmp_path):
    def job(cell: Cell, folder: Path) -> Judged:
        judged = Job()(cell, folder)
        for found in judged.values.values():
            found["ndcg@10/full"] = np.array([0.1, np.nan, 0.3])
        return judged

    made = study(tmp_path)
    made.run(made.cells([PLAN]), job)
    made.write([PLAN], LOG, {})
    assert "2 seeds, 3 users (full: a sample of 2)" in (tmp_path / "out" / "docs" / "results.md").read_text()


def test_what_is_done_is_written_though_some_is_not(tmp_path):
    made = study(tmp_path)
    made.run(made.cells([PLAN])[:3], Job())  # B lacks the second seed
    made.write([PLAN], LOG, {})
    page = (tmp_path / "out" / "docs" / "results.md").read_text()
    assert "1 to 2 seeds a row" in page
    assert "| A (2 seeds) | 25.00 ± 7.07 |\n| B (seed 0) | 30.00 |" in page  # other seeds: neither is called the best


def test_what_another_protocol_has_done_stays_on_the_page(tmp_path):
    for name in ("next", "liked"):
        made = replace(study(tmp_path, (0,)), protocols=(name,))
        made.run(made.cells([PLAN]), Job())
        made.write([PLAN], LOG, {})
    page = (tmp_path / "out" / "docs" / "results.md").read_text()
    assert "**Protocol `next`" in page
    assert "**Protocol `liked`" in page
    assert set(json.loads((tmp_path / "out" / "results" / "tiny-toy.json").read_text())["protocols"]) == {
        "next",
        "liked",
    }


def test_a_default_without_a_variation_beside_it_is_no_table(tmp_path):
    made = study(tmp_path)
    made.run(made.cells([PLAN])[:1], Job())  # A alone
    assert made.write([PLAN], LOG, {}) == []


def test_a_plan_of_which_nothing_is_done_writes_nothing(tmp_path):
    assert study(tmp_path).write([PLAN], LOG, {}) == []
    assert not (tmp_path / "out").exists()
