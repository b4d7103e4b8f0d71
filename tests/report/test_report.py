"""The report's files hold what they were given."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from dccl_tf.metrics import Estimate
from dccl_tf.report import (
    ActivityGroup,
    Case,
    ProtocolResults,
    Results,
    VectorMap,
    jsonable,
    results_table,
    write_report,
)


def estimate(mean: float) -> Estimate:
    return Estimate(mean, mean - 0.01, mean + 0.01, 50, 2)


def results() -> Results:
    rows = {
        model: {"macro_auc/liked": estimate(auc), "log_loss/liked": estimate(loss)}
        for model, auc, loss in (("DIN", 0.61, 0.58), ("DIN, same data", 0.62, 0.56), ("DCCL-e", 0.63, 0.57))
    }
    liked = ProtocolResults(
        models=rows,
        baseline="DIN, same data",
        differences={"DIN": rows["DIN"]},
        validation={"DIN, same data": -0.56, "DCCL-m + devices": -0.57},
        advice=[],
        metric="macro_auc/liked",
        activity=[
            ActivityGroup(25, 40.0 - i, {"DIN, same data": 0.6, "DCCL-m": 0.6 + i / 100}, {"DCCL-m": estimate(i / 100)})
            for i in range(3)
        ],
        vectors=VectorMap([[0.0, 1.0], [2.0, 3.0]], ["Drama", "<script>"], 0.5, 0.25),
        case=Case("user 7", 12, ["A & B"], "C", {"DIN": ["D"]}),
        curves={"pretrain": {"loss": [0.6, 0.5], "validation": []}},
        devices=[
            {
                "devices": 3, "seconds": 1.0, "largest_difference": 1e-6, "median_difference": 1e-7, "equal_gates": 3,
                "uploads_real": 3, "uploads_simulated": 5, "upload_bytes": 172, "receipts": {"ACCEPTED": 8},
                "upgraded": {"largest_difference": 2e-6},
            }
        ],
        bundle={"identity": "ab" * 32, "bytes": 123, "checks": [
            {"name": "c", "measured": "0", "bound": "0", "passed": True}
        ]},
        split={"test_positions": 9},
        seconds={"pretrain": 1.5},
    )  # fmt: skip
    return Results(
        dataset="ml-100k",
        source="somewhere",
        counts={"users": 50},
        seed=0,
        settings={"beta": 0.1},
        versions={"python": "3"},
        command="dccl-run",
        date="2026-01-31",
        seconds=9.0,
        protocols={"liked": liked},
    )


def test_table_shows_shares_in_percent_and_losses_in_nats():
    lines = results_table(results()).splitlines()
    assert lines[1].split() == ["macro_auc/liked", "log_loss/liked"]
    assert lines[3].split("  ")[0] == "DIN"
    assert "61.00 [60.00, 62.00]" in lines[3]
    assert "0.5800 [0.5700, 0.5900]" in lines[3]


def test_json_holds_every_figure(tmp_path):
    write_report(results(), tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["protocols"]["liked"]["models"]["DCCL-e"]["macro_auc/liked"]["mean"] == 0.63
    assert found["protocols"]["liked"]["models"]["DIN"]["log_loss/liked"]["skipped"] == 2


def test_a_report_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    write_report(results(), tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(path, text, **_):
        path.write_bytes(text.encode()[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        write_report(dataclasses.replace(results(), seed=1), tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_page_is_one_file_that_escapes_what_it_shows(tmp_path):
    page = write_report(results(), tmp_path).read_text()
    assert "A &amp; B" in page
    assert "<script>" not in page
    assert 'src="http' not in page
    assert page.count("<svg") == 3


def test_figures_without_data_are_left_out(tmp_path):
    whole = results()
    bare = dataclasses.replace(whole.protocols["liked"], activity=[], vectors=None, case=None, differences={})
    page = write_report(dataclasses.replace(whole, protocols={"liked": bare}), tmp_path).read_text()
    assert page.count("<svg") == 1


def test_best_is_marked_by_the_metric_s_direction(tmp_path):
    page = write_report(results(), tmp_path).read_text()
    assert '<td class="best"><b>63.00</b>' in page  # the highest AUC
    assert '<td class="best"><b>0.5600</b>' in page  # the lowest loss


def test_table_stars_clear_differences_in_the_order_of_the_models():
    whole = results()
    paired = {
        "macro_auc/liked": Estimate(0.01, -0.01, 0.03, 50, 2),
        "log_loss/liked": Estimate(0.01, 0.005, 0.015, 50, 0),
    }
    liked = dataclasses.replace(whole.protocols["liked"], differences={"DCCL-e": paired, "DIN": paired})
    lines = results_table(dataclasses.replace(whole, protocols={"liked": liked})).splitlines()
    assert [line.split("  ")[0] for line in lines[-2:]] == ["DIN", "DCCL-e"]
    assert "+1.00 [-1.00, +3.00]  " in lines[-1]
    assert lines[-1].endswith("+0.0100 [+0.0050, +0.0150] *")


def test_advice_ends_the_terminal_s_table_and_is_on_the_page(tmp_path):
    whole = results()
    liked = dataclasses.replace(whole.protocols["liked"], advice=["f < DIN.", "Try --beta=0."])
    told = dataclasses.replace(whole, protocols={"liked": liked})
    assert results_table(told).split("\n\n")[-2:] == ["f < DIN.", "Try --beta=0."]
    assert "<p>f &lt; DIN.</p>" in write_report(told, tmp_path).read_text()


def test_page_counts_users_and_those_left_out(tmp_path):
    assert "50 users, 2 not counted" in write_report(results(), tmp_path).read_text()


def test_page_says_that_a_check_failed(tmp_path):
    whole = results()
    checks = [{"name": "c", "measured": "1", "bound": "0", "passed": ok} for ok in (True, False)]
    liked = dataclasses.replace(whole.protocols["liked"], bundle=whole.protocols["liked"].bundle | {"checks": checks})
    page = write_report(dataclasses.replace(whole, protocols={"liked": liked}), tmp_path).read_text()
    assert "1 of 2 checks passed" in page
    assert "<td>NO</td>" in page


def test_same_results_give_the_same_bytes(tmp_path):
    one, two = (write_report(results(), tmp_path / name) for name in "ab")
    assert one.read_bytes() == two.read_bytes()


def test_what_json_has_not_becomes_plain():
    value = jsonable({"a": np.float32(0.5), "b": np.array([1, 2]), "c": float("nan"), "d": b"\x01"})
    assert value == {"a": 0.5, "b": [1, 2], "c": None, "d": "01"}
