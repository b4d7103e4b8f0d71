"""A PostgreSQL server of the tests' own, on a socket in a temporary folder, from Debian's packages."""

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
        # initdb refuses root; Debian's package brings the user.
        self._as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        self.folder = Path(tempfile.mkdtemp(prefix="dccl-postgresql-"))
        if self._as_user:
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "dccl", "-N", "-E", "UTF8", "--locale=C")
        standard = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "max_connections": "50"}
        self._options = " ".join(f"-c {name}='{value}'" for name, value in (standard | settings).items())
        self.start()

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def url(self, schema: str = "public") -> str:
        """Of a schema, which need not exist yet."""
        self.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        return f"postgresql://dccl@/postgres?host={self.folder}&options=-csearch_path%3D{schema}"

    def execute(self, statement: str) -> None:
        """Runs SQL."""
        command = [self._bin / "psql", "-h", self.folder, "-U", "dccl", "-q", "-c", statement, "postgres"]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        """Starts the server, after a kill too."""
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", self._data, "-o", self._options, "-l", log, "-w", "-t", "60", "start")

    def kill(self) -> None:
        """kill -9 of the server and of the processes that it started."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for process in [first, *map(int, children)]:
            os.kill(process, signal.SIGKILL)
        while any(_alive(process) for process in [first, *map(int, children)]):
            time.sleep(0.01)

    def stop(self) -> None:
        """Stops the server and removes its folder."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        # Not to a pipe: the server would inherit it, and whoever reads to its end would wait for ever.
        command = [*self._as_user, str(self._bin / program), *arguments]
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/")
            output.seek(0)
            assert done.returncode == 0, output.read().decode()


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
