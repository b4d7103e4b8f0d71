"""A PostgreSQL server of the tests' own, on a socket in a temporary folder, from Debian's packages."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

INSTALL = "scripts/setup_postgresql.sh installs it"


class Cluster:
    """Started by `Cluster()`; the caller stops it."""

    def __init__(self, **settings: str) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        if not found:
            pytest.skip(f"PostgreSQL is not installed; {INSTALL}")
        self._bin = found[-1]
        # It refuses to run as root; Debian's package brings the user.
        self._user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix="dccl-postgresql-"))
        if self._user:
            shutil.chown(self.folder, "postgres", "postgres")
        initdb = [self._bin / "initdb", "-D", self._data, "-A", "trust", "-U", "dccl", "-N", "-E", "UTF8", "--locale=C"]
        subprocess.run(initdb, check=True, capture_output=True, cwd="/", **self._user)
        standard = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "max_connections": "50"}
        self._options = [f"--{name}={value}" for name, value in (standard | settings).items()]
        self.start()

    @property
    def process(self) -> int:
        """Number of the server's first process."""
        return self._server.pid

    def url(self, schema: str = "public") -> str:
        """Of a schema, which need not exist yet."""
        self.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        return f"postgresql://dccl@/postgres?host={self.folder}&options=-csearch_path%3D{schema}"

    def execute(self, statement: str) -> None:
        """Runs SQL."""
        command = [self._bin / "psql", "-h", self.folder, "-U", "dccl", "-q", "-c", statement, "postgres"]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        """Starts the server, after a kill too; returns when it answers."""
        # A child of this process, which so can wait for its end: a killed one that nobody has waited for still holds
        # its lock.
        log = (self.folder / "log").open("ab")
        command = [self._bin / "postgres", "-D", self._data, *self._options]
        self._server = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **self._user)
        log.close()
        ready = [self._bin / "pg_isready", "-q", "-h", self.folder, "-U", "dccl", "-d", "postgres"]
        end = time.monotonic() + 60.0
        while subprocess.run(ready).returncode:
            told = (self.folder / "log").read_text()
            assert self._server.poll() is None, told
            assert time.monotonic() < end, told
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9 of the server and of the processes that it started."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        for process in [self.process, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._server.wait()
        while any(_alive(process) for process in map(int, children)):
            time.sleep(0.01)

    def stop(self) -> None:
        """Stops the server and removes its folder."""
        self._server.send_signal(signal.SIGINT)  # "fast": ends connections
        self._server.wait(60)
        shutil.rmtree(self.folder)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
