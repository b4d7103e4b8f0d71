"""What the collector takes in over loopback, from concurrent clients over kept-open connections, and what it loses.

    python benchmarks/collector.py [--stores=sqlite,postgresql] [--soak_minutes=10]

For each store, with the server a process of its own and the clients all in this one:
  single   one signed upload a request, signed as it is sent, the next when the receipt has come
  batch    uploads signed beforehand, 1,000 a request
  soak     single uploads at 80% of what "single" reached, evenly spread over time
Times are from the first byte sent to the receipt's last, in milliseconds; `cpu_us` is processor time an upload, in
microseconds, which tells what a machine with other work cannot show; memory is the server's resident set. Lost are
devices whose newest acknowledged upload the store does not hold in the end. PostgreSQL is a server of its own.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1]))  # runs from a checkout that is not installed

from benchmarks.collector_side import BUNDLE, Client, Fleet, K
from dccl_tf.vectors import KeyVault, VectorStore
from protos import dccl_pb2
from tests.postgresql import Cluster

_STORES = flags.DEFINE_list("stores", ["sqlite", "postgresql"], "Which stores to measure.")
_DEVICES = flags.DEFINE_integer("devices", 20_000, "Devices that upload in turn.", lower_bound=1000)
_CONNECTIONS = flags.DEFINE_integer("connections", 128, "Of single uploads.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 10.0, "Of each measurement.", lower_bound=1.0)
_SOAK_MINUTES = flags.DEFINE_float("soak_minutes", 0.0, "0 leaves it out.", lower_bound=0.0)
_PORT = flags.DEFINE_integer("port", 8765, "Of the server.")

ROOT = Path(__file__).parents[1]
BATCH, BATCH_CONNECTIONS = 1000, 4
PEAK_SHARE = 0.8


async def single(fleet: Fleet, times: list[float], client: Client) -> None:
    """One upload, signed here and now."""
    name, sequence, body = fleet.next_upload()
    began = time.perf_counter()
    receipt = dccl_pb2.Receipt.FromString(await client.post(b"/v1/vectors", body))
    times.append(time.perf_counter() - began)
    fleet.note(name, sequence, receipt)


async def closed_loop(connections: int, seconds: float, work: Callable[[Client], Any], label: str) -> float:
    """Every connection does one piece of work after another; returns the seconds that it took."""
    clients = [await Client.connect(_PORT.value) for _ in range(connections)]
    began = time.perf_counter()

    async def repeat(client: Client) -> None:
        while time.perf_counter() - began < seconds and await work(client) is not False:
            pass
        client.close()

    running = asyncio.gather(*map(repeat, clients))
    with tqdm(total=round(seconds), desc=label, unit="s", leave=False) as bar:
        while not running.done():
            await asyncio.wait({running}, timeout=1.0)
            bar.update()
    await running
    return time.perf_counter() - began


@dataclass
class Measured:
    """The processes at work, and what they spent from now on."""

    server: int
    database: int | None  # PostgreSQL's first process

    def __post_init__(self) -> None:
        self._before = self._spent()

    def _spent(self) -> dict[str, float]:
        spent = {"server": _processor_seconds([self.server]), "clients": time.process_time()}
        return spent | ({"database": _processor_seconds(_family(self.database))} if self.database else {})

    def figures(self, uploads: int, took: float, times: Sequence[float]) -> dict[str, Any]:
        """What there is to tell of uploads that took some seconds."""
        p50, p99 = np.percentile(times, [50, 99]) * 1000.0
        spent = {name: round((now - self._before[name]) / uploads * 1e6) for name, now in self._spent().items()}
        return {
            "uploads": uploads,
            "uploads_a_second": round(uploads / took),
            "p50_ms": round(p50, 1),
            "p99_ms": round(p99, 1),
            "cpu_us": spent,
            "server_mb": self.megabytes(),
        }

    def megabytes(self) -> float:
        """The server's resident set."""
        pages = int(Path(f"/proc/{self.server}/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _processor_seconds(processes: Sequence[int]) -> float:
    ticks = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(process: int) -> list[int]:
    return [process, *map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


async def measure_single(fleet: Fleet, measured: Measured) -> dict[str, Any]:
    """Uploads a second with all connections busy."""
    times: list[float] = []
    took = await closed_loop(_CONNECTIONS.value, _SECONDS.value, lambda client: single(fleet, times, client), "single")
    return measured.figures(len(times), took, times)


async def measure_batches(fleet: Fleet, processes: tuple[int, int | None], a_second: int = 25_000) -> dict[str, Any]:
    """Vectors a second in batches that were signed beforehand."""
    ready = []
    for _ in tqdm(range(round(_SECONDS.value * a_second / BATCH)), desc="signing", leave=False):
        uploads = [fleet.next_upload() for _ in range(BATCH)]
        body = dccl_pb2.UploadBatch(uploads=[body for _, _, body in uploads]).SerializeToString()
        ready.append(([one[:2] for one in uploads], body))
    ready.reverse()
    times: list[float] = []

    async def batch(client: Client) -> bool:
        if not ready:
            return False
        uploads, body = ready.pop()
        began = time.perf_counter()
        receipts = dccl_pb2.ReceiptBatch.FromString(await client.post(b"/v1/vectors:batch", body)).receipts
        times.append(time.perf_counter() - began)
        for (name, sequence), receipt in zip(uploads, receipts, strict=True):
            fleet.note(name, sequence, receipt)
        return True

    measured = Measured(*processes)
    took = await closed_loop(BATCH_CONNECTIONS, _SECONDS.value, batch, "batch")
    return measured.figures(BATCH * len(times), took, times)


async def measure_soak(fleet: Fleet, measured: Measured, rate: float) -> dict[str, Any]:
    """Uploads at an even rate, or as many as are answered if they are fewer; the server's memory over time."""
    times: list[float] = []
    seconds, interval = 60.0 * _SOAK_MINUTES.value, _CONNECTIONS.value / rate
    began = time.perf_counter()
    due: dict[Client, float] = {}

    async def paced(client: Client) -> None:
        now = time.perf_counter()
        due.setdefault(client, now + interval * len(due) / _CONNECTIONS.value)  # one after the other
        await asyncio.sleep(due[client] - now)
        due[client] = max(due[client], now) + interval
        await single(fleet, times, client)

    memory: list[float] = []

    async def watch() -> None:
        while time.perf_counter() - began < seconds:
            memory.append(measured.megabytes())
            await asyncio.sleep(seconds / 12.0)

    watching = asyncio.create_task(watch())
    took = await closed_loop(_CONNECTIONS.value, seconds, paced, "soak")
    await watching
    return measured.figures(len(times), took, times) | {"rate_wanted": round(rate), "server_mb_over_time": memory}


@asynccontextmanager
async def served(folder: Path, url: str) -> AsyncIterator[int]:
    """A server as a process of its own, whose number this gives."""
    command = [sys.executable, "-m", "scripts.serve_cloud", f"--data_dir={folder}", f"--store={url}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, f"--port={_PORT.value}"], cwd=ROOT, stderr=log)
    try:
        for _ in range(600):
            if process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{_PORT.value}/readyz").close()
            except (urllib.error.URLError, ConnectionError):
                await asyncio.sleep(0.1)
            else:
                yield process.pid
                return
        raise RuntimeError(f"the server did not start: {(folder / 'log').read_text()}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def measure(url: str, folder: Path, database: int | None) -> dict[str, Any]:
    """All figures of one store."""
    store = VectorStore.open(url, KeyVault.from_file(folder / "secret"))
    store.register_bundle(BUNDLE, K)
    fleet = Fleet(store.register_devices(f"device-{number:08d}" for number in range(_DEVICES.value)))
    async with served(folder, url) as server:
        processes = (server, database)
        figures = {
            "single": await measure_single(fleet, Measured(*processes)),
            "batch": await measure_batches(fleet, processes),
        }
        if _SOAK_MINUTES.value:
            rate = PEAK_SHARE * figures["single"]["uploads_a_second"]
            figures["soak"] = await measure_soak(fleet, Measured(*processes), rate)
    figures["lost"] = fleet.lost(store)
    figures["rejected"] = store.counts_by_reason()
    store.close()
    return figures


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags alone, got {' '.join(argv[1:])}")
    result = {"cores": os.cpu_count(), "load_before": os.getloadavg()[0], "devices": _DEVICES.value, "K": K}
    for name in _STORES.value:
        with tempfile.TemporaryDirectory() as folder:
            cluster = None
            if name == "postgresql":
                cluster = Cluster()
            url = cluster.url() if cluster else f"sqlite:///{folder}/store.sqlite"
            try:
                result[name] = asyncio.run(measure(url, Path(folder), cluster and cluster.process))
            finally:
                if cluster:
                    cluster.stop()
    print(json.dumps(result | {"load_after": os.getloadavg()[0]}, indent=2))


if __name__ == "__main__":
    app.run(main)
