"""A week of 50 users' devices on MovieLens-1M, with kills: is any user left worse off than the cloud model leaves him?

    python benchmarks/faults/week.py BUNDLE0 BUNDLE1 BUNDLE2 --data_dir=ml-1m.zip [--users=50] [--output=FILE]

The bundles are those of one `dccl-run --protocols=liked --rounds=2`: each learned from clicks before the day that it
comes on, so nobody is judged on clicks that the cloud knew. Of each user's log, in the order of time:

    the pretraining half                 what the device is told before day 1
    days 1 and 2, 3 and 4                the two rounds; after day 2 comes BUNDLE1, after day 4 BUNDLE2
    days 5, 6 and 7                      validation and the older half of test; after day 6 the device is rolled back
    afterwards                           the newer half of test: the next clicks, logged but no longer learned from

Every night each device personalises itself by the manifest's settings. Half of all days are killed (SIGKILL) by chance
and go on from what the device had acknowledged. Every click is scored before it is logged, as rankings would
score its item (`served`) and by the cloud model (gate 0).
"""

import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[2]))  # runs from a checkout that is not installed

from benchmarks.faults import records
from dccl_tf.data.movielens import load_movielens
from dccl_tf.data.schema import InteractionLog, Split
from dccl_tf.data.sequences import split_liked
from device_runtime import Bundle
from device_runtime.learning.weighing import log_loss

ROOT = Path(__file__).parents[2]
DAYS = 7
_DATA = flags.DEFINE_string("data_dir", None, "MovieLens-1M: GroupLens's zip, or its folder.", required=True)
_USERS = flags.DEFINE_integer("users", 50, "How many, by chance, of those with at least 60 ratings.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the users and the kills.")
_KILLS = flags.DEFINE_float("kills", 0.5, "Share of the days that are killed.", lower_bound=0.0, upper_bound=0.9)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")
Action = dict[str, Any]


def main(argv: Sequence[str]) -> None:
    """Lives the week, prints and writes what became of the users; exits with 1 if a device broke its promise."""
    if len(argv) != 4:
        raise app.UsageError("expected BUNDLE0, BUNDLE1 and BUNDLE2")
    bundles = [Path(path).resolve() for path in argv[1:]]
    margin = Bundle.open(bundles[0]).manifest.training.gate_margin
    log = load_movielens("ml-1m", _DATA.value)
    split = split_liked(log, rounds=2)
    chance = random.Random(_SEED.value)
    users = sorted(chance.sample(np.flatnonzero(log.lengths >= 60).tolist(), _USERS.value))
    with tempfile.TemporaryDirectory() as folder:
        lives = [
            _Life(Path(folder, str(user)), log, split, user, bundles, random.Random(f"{_SEED.value} {user}")).live()
            for user in tqdm(users, "users", disable=None)
        ]
    facts = {"seed": _SEED.value, "users": len(users), "gate_margin": margin} | findings(lives, margin)
    print(json.dumps({name: value for name, value in facts.items() if name != "nights"}, indent=1))
    if _OUTPUT.value:
        records.write(Path(_OUTPUT.value), argv, facts)
    sys.exit(1 if facts["broken_promises"] else 0)


@dataclass
class Week:
    """What one device went through."""

    nights: list[dict[str, Any]] = field(default_factory=list)  # facts after each night, upgrade and rollback
    clicks: list[dict[str, Any]] = field(default_factory=list)  # scored before they were logged, with their day
    kills: Counter[str] = field(default_factory=Counter)  # by what was being done
    resumed: int = 0  # personalisations that went on from a checkpoint


def findings(weeks: Sequence[Week], margin: float) -> dict[str, Any]:
    """What the weeks say.

    Args:
      weeks: one for each user.
      margin: of the gate.

    Returns:
      The promise, on the rows that the gate saw: log loss as served at most the cloud model's minus the margin. And
      what nobody can promise, the loss on clicks that came later: served minus cloud, mean of each user.
    """
    decisions = [night for week in weeks for night in week.nights if night["heldout_samples"]]
    broken = [night for night in decisions if night["gate"] and night["personal_loss"] >= night["cloud_loss"] - margin]
    last = [week.nights[-1] for week in weeks]
    seen = [night["personal_loss"] - night["cloud_loss"] if night["gate"] else 0.0 for night in last]
    during = [_served_minus_cloud(week, range(1, DAYS + 1)) for week in weeks]
    after = [_served_minus_cloud(week, [DAYS + 1]) for week in weeks]
    return {
        "kills": dict(sum((week.kills for week in weeks), Counter())),
        "personalisations_resumed": sum(week.resumed for week in weeks),
        "gate_decisions": len(decisions),
        "broken_promises": len(broken),
        "gates_open_at_the_end": sum(night["gate"] > 0 for night in last),
        "heldout_served_minus_cloud": _distribution(seen, margin),
        "week_served_minus_cloud": _distribution(during, margin),
        "next_clicks_served_minus_cloud": _distribution(after, margin),
        "next_clicks_gate_open_alone": _distribution(
            [one for one, night in zip(after, last, strict=True) if night["gate"]], margin
        ),
        "clicks_scored": sum(len(week.clicks) for week in weeks),
        "nights": [[_short(night) for night in week.nights] for week in weeks],
    }


def _served_minus_cloud(week: Week, days: Sequence[int]) -> float:
    clicks = [click for click in week.clicks if click["day"] in days]
    labels = np.array([click["label"] for click in clicks])
    served, cloud = (log_loss(np.array([click[name] for click in clicks]), labels) for name in ("served", "cloud"))
    return float((served - cloud).mean())


def _distribution(values: Sequence[float], margin: float) -> dict[str, float]:
    if not values:
        return {"users": 0}
    quantiles = dict(
        zip(("best", "q25", "median", "q75", "worst"), np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), strict=True)
    )
    facts = {"users": len(values), "mean": np.mean(values)} | quantiles
    facts |= {"better": int(np.sum(np.array(values) < 0)), "worse": int(np.sum(np.array(values) > 0))}
    facts["worse_by_more_than_the_margin"] = int(np.sum(np.array(values) > abs(margin)))
    return {name: round(float(value), 5) for name, value in facts.items()}


def _short(night: dict[str, Any]) -> dict[str, Any]:
    names = ("day", "done", "gate", "heldout_samples", "cloud_loss", "personal_loss")
    return {name: round(night[name], 5) if isinstance(night[name], float) else night[name] for name in names}


class _Life:
    """One user's week."""

    def __init__(
        self, folder: Path, log: InteractionLog, split: Split, user: int, bundles: list[Path], chance: random.Random
    ) -> None:
        self.folder, self.bundles, self.chance, self.week = folder, bundles, chance, Week()
        self.seconds = 2.0  # that a day takes
        self.identities = [Bundle.open(bundle).identity.hex() for bundle in bundles]
        begin, end = log.offsets[user], log.offsets[user + 1]
        ids = log.catalogue.ids
        self.items = ids[log.items[begin:end] - 1].tolist()
        self.labels = log.labels[begin:end].tolist()
        self.profile = {
            one.name: one.values[index - 1]
            for one, index in zip(log.users.fields, log.users.profile[user], strict=True)
            if index
        }
        rounds, test = split.rounds, split.test
        middle = int(test.start[user] + test.stop[user]) // 2
        ends = [split.pretrain.stop[user]]
        for start, stop, days in (
            (rounds[0].start[user], rounds[0].stop[user], 2),
            (rounds[1].start[user], rounds[1].stop[user], 2),
            (split.valid.start[user], middle, 3),
        ):
            ends += np.linspace(start, stop, days + 1).round().astype(int)[1:].tolist()
        self.ends = [int(one) for one in ends]  # of the past and of each day

    def live(self) -> Week:
        """The whole week, and the clicks after it."""
        self._day(0, [{"do": "past", "until": self.ends[0]}, {"do": "night"}])
        for day in range(1, DAYS + 1):
            actions: list[Action] = [{"do": "live", "until": self.ends[day]}, {"do": "night"}]
            if day in (2, 4):
                actions.append({"do": "upgrade", "to": day // 2})
            if day == 6:
                actions.append({"do": "rollback", "to": 1})
            self._day(day, actions)
        self._day(DAYS + 1, [{"do": "live", "until": len(self.items)}])
        return self.week

    def _day(self, day: int, actions: list[Action]) -> None:
        """Does the actions, over again from what the device had acknowledged where its process was killed."""
        fuse = self.chance.uniform(0.0, 1.1 * self.seconds) if self.chance.random() < _KILLS.value else None
        while actions:
            began = time.perf_counter()
            with _Process(self.folder, self.bundles[0], self.profile, fuse) as process:
                doing = "open"
                try:
                    facts = process.answer()
                    while actions:
                        if not self._done(actions[0], facts):
                            doing = actions[0]["do"]
                            facts = self._do(process, day, actions[0], facts)
                        actions = actions[1:]
                    self.seconds = time.perf_counter() - began
                except _KilledError:
                    self.week.kills[doing] += 1
            fuse = None

    def _done(self, action: Action, facts: dict[str, Any]) -> bool:
        """Whether a device in this state has the action behind it. A night is lived again, which goes on with it."""
        if action["do"] in ("past", "live"):
            return facts["history"] >= action["until"]
        return "to" in action and facts["bundle"] == self.identities[action["to"]]

    def _do(self, process: "_Process", day: int, action: Action, facts: dict[str, Any]) -> dict[str, Any]:
        new = slice(facts["history"], action.get("until"))
        orders = {"do": action["do"]}
        if action["do"] in ("past", "live"):
            orders |= {"items": self.items[new], "labels": self.labels[new]}
        if action["do"] == "upgrade":
            orders["to"] = str(self.bundles[action["to"]])
        process.send(orders)
        if action["do"] == "live":
            for _ in orders["items"]:
                self.week.clicks.append(process.answer() | {"day": day})
            return facts | {"history": action["until"]}
        facts = process.answer()
        if action["do"] != "past":
            self.week.nights.append(facts | {"day": day})
        self.week.resumed += facts.get("resumed", False)
        return facts


class _KilledError(Exception):
    """The process is gone, as it was meant to be."""


class _Process:
    """A device's process, killed after `fuse` seconds if there is one."""

    def __init__(self, folder: Path, bundle: Path, profile: dict[str, str], fuse: float | None) -> None:
        command = [sys.executable, "-m", "benchmarks.faults.week_device", str(folder), str(bundle)]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `__exit__`)
        self.process = subprocess.Popen(
            [*command, json.dumps(profile)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=ROOT,
        )
        self.timer = threading.Timer(fuse, self.process.kill) if fuse is not None else None
        if self.timer:
            self.timer.start()

    def send(self, action: Action) -> None:
        try:
            self.process.stdin.write(json.dumps(action) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise _KilledError from error

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if line.endswith("\n"):
            return json.loads(line)
        code = self.process.wait()
        self.errors.seek(0)
        if code != -signal.SIGKILL:
            raise RuntimeError(f"the device's process ended with {code}: {self.errors.read()[-3000:]}")
        raise _KilledError

    def __enter__(self) -> "_Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.timer:
            self.timer.cancel()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


if __name__ == "__main__":
    app.run(main)
