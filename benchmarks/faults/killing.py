"""Kills a device at random moments (SIGKILL of a real process) and looks at what is left.

Each time the device is told a few things to do, then one more, and is killed at a random moment of that; then its
folder is opened and checked, and life goes on from there. Every `LIFE` kills a new device begins, so that its first
minutes are hit too.
"""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.killing_life import CONFIG, CloudFile, open_device, sequence
from device_runtime import Bundle

ROOT = Path(__file__).parents[2]
LIFE = 25  # kills of one device
TARGETS = ("open", "log", "personalize", "upgrade", "rollback", "upload")


def study(folder: Path, bundles: Sequence[Path], kills: Iterable[int], seed: int = 0) -> dict[str, dict[str, int]]:
    """Kills devices, `LIFE` times each.

    Args:
      folder: an empty one.
      bundles: two, between which the devices go back and forth.
      kills: a range, or what shows the progress through one.
      seed: of what is done and when the kill comes, though not of how fast this machine is then.

    Returns:
      What was killed, and on which side of each action the folder was found.

    Raises:
      AssertionError: something was lost, or is not as it was acknowledged.
    """
    victims: list[Victim] = []
    for number in kills:
        if number % LIFE == 0:
            victims.append(Victim(folder / str(number), bundles, random.Random(f"{seed} {number}")))
        victims[-1].kill_once()
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for victim in victims:
        for name, counts in victim.summary().items():
            total[name].update(counts)
    return {name: dict(sorted(counts.items())) for name, counts in total.items()}


class Victim:
    """A device, what it has acknowledged, and the checks after each kill, which raise AssertionError."""

    def __init__(self, folder: Path, bundles: Sequence[Path], chance: random.Random) -> None:
        folder.mkdir()
        self.folder, self.bundles = folder, list(bundles)
        self.identities = [Bundle.open(path).identity for path in bundles]
        self.state, self.cloud = folder / "device", CloudFile(folder / "cloud.txt")
        self.chance = chance
        self.logged = 0  # newest interaction that was acknowledged
        self.vector = ""  # as last acknowledged
        self.bundle = self.identities[0]
        self.seconds: dict[str, float] = defaultdict(lambda: 0.2)  # how long each action took last
        self.kills: Counter[str] = Counter()  # by what was being done
        self.after: Counter[str] = Counter()  # which side of the action the folder was on afterwards

    def kill_once(self) -> None:
        """One life, one kill, all checks."""
        target = self.chance.choice(TARGETS)
        child = _Child(self.state, self.cloud.path, self.bundles)
        try:
            action = None
            if target == "open":
                self._wait(target)
            else:
                child.answer()
                for name in self.chance.choices(TARGETS[1:], weights=(6, 2, 1, 1, 2), k=self.chance.randrange(4)):
                    self._acknowledged(child.do(self._action(name)))
                action = self._action(target)
                child.send(action)
                self._wait(target)
        finally:
            rest = child.kill()
        self.kills[target] += 1
        if rest and action:
            self._acknowledged(rest[-1] | action)
            action = None
        self._check(action, target)

    def summary(self) -> dict[str, Counter[str]]:
        """Counts by what was done."""
        return {
            "killed_during": self.kills,
            "found": self.after,
            "acknowledged": Counter(interactions=self.logged, uploads=len(self.cloud.bodies())),
        }

    def _wait(self, name: str) -> None:
        time.sleep(self.chance.uniform(0.0, 1.2 * self.seconds[name]))

    def _action(self, name: str) -> dict[str, Any]:
        action: dict[str, Any] = {"do": name}
        if name == "log":
            action |= {"first": self.logged + 1, "count": self.chance.choice((1, 1, 5, 40))}
        if name == "upgrade":
            action["to"] = 1 - self.identities.index(self.bundle)
        return action

    def _acknowledged(self, answer: dict[str, Any]) -> None:
        self.seconds[answer["do"]] = answer.get("seconds", self.seconds[answer["do"]])
        self.vector = answer["vector"]
        if "refused" in answer:
            assert answer["do"] in ("rollback", "upload"), answer
            return
        if answer["do"] == "log":
            self.logged += answer["count"]
        if answer["do"] in ("upgrade", "rollback"):
            self.bundle = self.identities[1 - self.identities.index(self.bundle)]

    def _check(self, pending: dict[str, Any] | None, target: str) -> None:
        """What must hold after a kill; `pending` is the action that was not acknowledged."""
        doing = pending["do"] if pending else ""
        if doing == "personalize":
            self._check_resumes()
        with open_device(self.state, None if (self.state / "state.bin").exists() else self.bundles[0]) as device:
            assert not device.opening.damaged, device.opening.damaged
            assert np.isfinite(device.vector).all()
            assert np.isfinite(device.scores(device.bundle.vocabulary.ids[:20])).all()
            other = self.identities[1 - self.identities.index(self.bundle)]
            allowed = {self.bundle} | ({other} if doing in ("upgrade", "rollback") else set())
            assert device.bundle.identity in allowed, f"{doing}: on a bundle that is neither the old nor the new"
            vector = device.vector.tobytes().hex()
            if doing not in ("personalize", "upgrade", "rollback"):
                assert vector in (self.vector, self.vector or vector), f"{doing}: another vector than before"
            number = device.state["sequence"]
            sides = {"upgrade": device.bundle.identity != self.bundle, "personalize": vector != self.vector}
            sides["rollback"] = sides["upgrade"]
            self.bundle, self.vector = device.bundle.identity, vector
        sides["log"] = self._check_log(pending)
        sent = [sequence(body) for body in self.cloud.bodies()]
        bodies = dict(zip(sent, self.cloud.bodies(), strict=True))
        assert all(bodies[one] == body for one, body in zip(sent, self.cloud.bodies(), strict=True)), "a number twice"
        assert sent == sorted(sent), f"upload numbers went down: {sent}"
        assert number >= max(sent, default=0), f"the cloud has {max(sent)}, the device counts {number}"
        side = "done, not acknowledged" if sides.get(doing) else "as before"
        self.after[f"{target}: {side if pending else 'acknowledged'}"] += 1

    def _check_log(self, pending: dict[str, Any] | None) -> bool:
        """All that was acknowledged is there, in order, and of the pending action all or nothing."""
        with sqlite3.connect(f"file:{self.state / 'samples.sqlite'}?mode=ro", uri=True) as db:
            history = [time for (time,) in db.execute("SELECT timestamp FROM history ORDER BY position")]
            query = "SELECT timestamp, count(*) FROM samples JOIN history USING (position) GROUP BY position"
            samples = db.execute(query).fetchall()
            (orphans,) = db.execute(
                "SELECT count(*) FROM samples WHERE position NOT IN (SELECT position FROM history)"
            ).fetchone()
            (sound,) = db.execute("PRAGMA integrity_check").fetchone()
        db.close()
        newest = history[-1] if history else 0
        more = pending["count"] if pending and pending["do"] == "log" else 0
        assert sound == "ok", sound
        assert newest in (self.logged, self.logged + more), f"acknowledged {self.logged}, found {newest}"
        assert history == list(range(newest - len(history) + 1, newest + 1)), "interactions are missing"
        assert len(history) >= min(newest, 450), f"{len(history)} of {newest} interactions are left"
        assert not orphans, f"{orphans} samples without their interaction"
        assert all(count == 2 for _, count in samples), "a sample is missing beside its interaction"
        done = newest > self.logged
        self.logged = newest
        return done

    def _check_resumes(self) -> None:
        """A personalisation that was killed, taken up again, ends where one does that begins from the stored state."""
        vectors = []
        for keep in (True, False):
            copy = self.folder / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.state, copy)
            if not keep:
                (copy / "training.bin").unlink(missing_ok=True)
            with open_device(copy) as device:
                device.personalize(CONFIG)
                vectors.append(device.vector)
        assert np.array_equal(*vectors), f"resumed to {vectors[0]}, from the start to {vectors[1]}"


class _Child:
    """The device's process."""

    def __init__(self, state: Path, cloud: Path, bundles: Sequence[Path]) -> None:
        command = [sys.executable, "-m", "benchmarks.faults.killing_life", str(state), str(cloud), *map(str, bundles)]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `kill`)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=ROOT
        )

    def send(self, action: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(action) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        assert line, f"the device's process ended: {self._text()}"
        return json.loads(line)

    def do(self, action: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        self.send(action)
        return self.answer() | action | {"seconds": time.perf_counter() - began}

    def kill(self) -> list[dict[str, Any]]:
        """Ends the process as a phone does that runs out of memory; returns answers that were still on their way."""
        self.process.kill()
        lines = self.process.stdout.read().splitlines()
        code = self.process.wait()
        assert code == -signal.SIGKILL, f"the device's process ended by itself with {code}: {self._text()}"
        self.process.stdin.close()
        self.process.stdout.close()
        text = self._text()
        assert "Traceback" not in text, text
        self.errors.close()
        return [json.loads(line) for line in lines if line.endswith("}") and "vector" in line]

    def _text(self) -> str:
        self.errors.seek(0)
        return self.errors.read()[-3000:]
