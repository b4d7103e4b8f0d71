"""The phones of some users of a log, in several processes (`group`) at the same time."""

import json
import subprocess
import sys
import threading

from dccl_tf.real_devices import device_id
from tests.collector.served import ROOT


def phones_of(log, span, users, folder, url):
    """What each phone needs to know: its user's profile, clicks in the span, and what was clicked before."""
    found = []
    for user in users.tolist():
        first, start, stop = log.offsets[user], span.start[user], span.stop[user]
        items = log.catalogue.ids[log.items[first : first + stop] - 1].tolist()
        named = zip(log.users.fields, log.users.profile[user], strict=True)
        found.append(
            {
                "url": url,
                "state": str(folder / device_id(user)),
                "device_id": device_id(user),
                "profile": {field.name: field.values[index - 1] for field, index in named if index},
                "past": items[:start],
                "clicks": items[start:],
            }
        )
    return found


class Group(threading.Thread):
    """A process that takes some phones through one step; `facts` grows as they finish."""

    def __init__(self, step, phones):
        super().__init__()
        self.facts = {}
        self._phones = phones
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.trip.group", step], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.start()

    def run(self):
        with self.process:
            for phone in self._phones:
                self.process.stdin.write(json.dumps(phone) + "\n")
                self.process.stdin.flush()
                if not (line := self.process.stdout.readline()):
                    return  # it failed; its error is on standard error
                self.facts[phone["device_id"]] = json.loads(line)


class Groups:
    """All phones on their way through one step."""

    def __init__(self, step, phones, processes=4):
        self._groups = [Group(step, phones[number::processes]) for number in range(processes)]

    @property
    def facts(self):
        """What became of each phone that has finished, by device id."""
        return {name: fact for group in self._groups for name, fact in list(group.facts.items())}

    def finished(self):
        """The same, of all phones, once all have finished."""
        for group in self._groups:
            group.join()
        assert [group.process.returncode for group in self._groups] == [0] * len(self._groups)
        return self.facts
