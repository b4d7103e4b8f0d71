"""What each table of the page compares: rows of models, and pairs of rows whose difference is shown.

plan = plan_of_table("2")
cells = plan.cells("ml-1m", ["next", "liked"], seeds=[0, 1, 2])
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dccl_tf.rounds import CLOUD, DEVICES, FAIR
from dccl_tf.study import paper
from dccl_tf.study.cells import Cell, Changes

# Baselines: job to name.
NAMES = {"mf": "MF", "fm": "FM", "neumf": "NeuMF", "deepfm": "DeepFM", "sasrec": "SASRec", "din": "DIN"}


@dataclass(frozen=True)
class Row:
    """One model of a table."""

    label: str
    job: str
    model: str  # which of the job's models
    changes: Changes = ()
    paper: str = ""  # its name in the paper's table, where it has one


@dataclass(frozen=True)
class Plan:
    """One table."""

    name: str  # of the section and of the file of results: "table2"
    title: str
    rows: tuple[Row, ...]
    pairs: tuple[tuple[str, str], ...]  # labels: (model, what it is measured against)
    figures: Mapping[str, paper.Figures] = field(default_factory=dict)  # the paper's, by data set, or for "" any
    paper_data: str = ""  # data of the paper's figures where they are not those of ours
    note: str = ""

    def cells(self, dataset: str, protocols: Iterable[str], seeds: Iterable[int]) -> list[Cell]:
        """Each cell once, seed by seed, so that a study that is killed has whole seeds."""
        cells = [
            Cell(dataset, protocol, seed, row.job, row.changes)
            for seed in seeds
            for protocol in protocols
            for row in self.rows
        ]
        return list(dict.fromkeys(cells))

    def row(self, label: str) -> Row:
        return next(row for row in self.rows if row.label == label)

    def of_paper(self, dataset: str, row: Row, metric: str) -> float | None:
        """The paper's figure beside a row's, in percent."""
        return paper.figure(self.figures.get(dataset, self.figures.get("", {})), row.paper, metric)


_WITH_IDS = Row("DIN with user ids", "din", NAMES["din"], (("user_ids", True),))
_DIN_FAIR = Row(FAIR, "dccl", FAIR)
_OURS = (Row(CLOUD, "dccl", CLOUD, paper="DCCL"), Row(DEVICES, "dccl", DEVICES))

TABLES = {
    "2": Plan(
        name="table2",
        title="Table 2: six baselines and DCCL",
        rows=(
            *(Row(name, job, name, paper=name) for job, name in NAMES.items()),
            _WITH_IDS,
            _DIN_FAIR,
            *_OURS,
        ),
        pairs=tuple((ours.label, other) for ours in _OURS for other in (FAIR, "DIN", _WITH_IDS.label)),
        figures={name: paper.TABLE_2[name] for name in ("amazon", "ml-1m")},
        note=(
            "The six baselines learn from everything before the validation item. *DIN, same data* is the DIN of the "
            "first half after the second half without devices: gone on, or learned anew if validation prefers it. "
            "Both have seen what DCCL has seen. *DIN with user ids* also embeds who the user is, in the cloud."
        ),
    ),
    "3": Plan(
        name="table3",
        title="Table 3: DIN, DCCL-e and DCCL-m in one round",
        rows=(
            Row("DIN", "dccl", "DIN", paper="DIN"),
            _DIN_FAIR,
            Row("DIN, retrained", "din", NAMES["din"]),
            _WITH_IDS,
            Row("DCCL-e", "dccl", "DCCL-e", paper="DCCL-e"),
            Row(CLOUD, "dccl", CLOUD, paper="DCCL-m"),
            Row(DEVICES, "dccl", DEVICES),
        ),
        pairs=(
            ("DCCL-e", "DIN"),
            ("DCCL-e", FAIR),
            *((ours.label, fair) for ours in _OURS for fair in (FAIR, "DIN, retrained", _WITH_IDS.label)),
        ),
        figures={"": paper.TABLE_3},
        paper_data="Taobao",
        note=(
            "*DIN* was pretrained on the first half and has not seen the second, as in the paper. Two fair baselines: "
            "*DIN, same data* is the better, by validation, of one that went on with the second half and one that "
            "learned anew from both; *DIN, retrained* always learned anew, as DCCL-m does. *DIN with user ids* did so, "
            "too, and embeds who the user is, in the cloud: it can remember what the window forgets."
        ),
    ),
}


def against_own_baseline(
    changes_of: Iterable[tuple[str, Changes]], models: Iterable[str], baseline: str = FAIR, paper: str = ""
) -> tuple[tuple[Row, ...], tuple[tuple[str, str], ...]]:
    """Rows and pairs of a plan whose variations of DCCL are each measured against the fair baseline of the same run.

    Args:
      changes_of: label and changes of each.
      models: of each, the rows beside its baseline.
      baseline: what the fair baseline is called.
      paper: the model of which the paper has figures under the variations' labels.
    """
    rows, pairs = [], []
    for label, changes in changes_of:
        fair = Row(f"{label}: {baseline}", "dccl", FAIR, changes)
        ours = [
            Row(f"{label}: {model}", "dccl", model, changes, paper=label if model == paper else "") for model in models
        ]
        rows += [fair, *ours]
        pairs += [(row.label, fair.label) for row in ours]
    return tuple(rows), tuple(pairs)


def _junctions(label: str, *on: int) -> tuple[str, Changes]:
    return label, (("junctions", tuple(place in on for place in (1, 2, 3))),)


def _table_4() -> Plan:
    single = [_junctions(f"{name} junction", place) for place, name in ((1, "1st"), (2, "2nd"), (3, "3rd"))]
    rows, pairs = against_own_baseline([("all three", ()), *single], ("DCCL-e", DEVICES), "none", paper="DCCL-e")
    return Plan(
        name="table4",
        title="Table 4: one round with patches at one junction, at all and at none",
        rows=rows,
        pairs=pairs,
        figures={"": paper.TABLE_4},
        paper_data="Taobao",
        note=(
            "*none* is the fair baseline of the same run: without a patch devices have nothing to learn, and nothing "
            "to teach."
        ),
    )


TABLES["4"] = _table_4()


def plan_of_table(number: str) -> Plan:
    """The plan of Table 2, 3 or 4.

    Raises:
      ValueError: there is no such table.
    """
    if number not in TABLES:
        raise ValueError(f"table: expected one of {', '.join(TABLES)}, got {number!r}")
    return TABLES[number]
