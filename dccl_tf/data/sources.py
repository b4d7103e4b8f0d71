"""Where MovieLens comes from: the caller's folder, a cache, GroupLens's server, or a wheel on PyPI that ships it."""

import io
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from absl import logging

SERVER = "https://files.grouplens.org/datasets/movielens/{name}.zip"
SERVER_SECONDS = 5.0
DOWNLOAD_SECONDS = 60.0
WHEEL = "recbole==1.2.1"
WHEEL_SECONDS = 120
WHEEL_FOLDER = "recbole/dataset_example/ml-100k/"
LICENCE = (
    "MovieLens is by GroupLens: for research, not to be redistributed; cite F. M. Harper and J. A. Konstan, "
    "The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015"
)
_MARKERS = {"ml-100k": ("u.data", "ml-100k.inter"), "ml-1m": ("ratings.dat",)}


@dataclass(frozen=True)
class Source:
    """A set at hand: the path of a zip or of an unpacked folder, and where it came from, in words."""

    path: Path
    origin: str


def find(name: str, data_dir: str | Path | None = None, cache_dir: str | Path | None = None) -> Source:
    """Looks for MovieLens `name` in GroupLens's layout or (ml-100k from the wheel) in RecBole's.

    Args:
      name: "ml-100k" or "ml-1m".
      data_dir: GroupLens's zip, a folder that holds it, or the folder that it unpacks to; by default the environment
        variable DCCL_DATA. Where it is given no other place is tried: nobody wants other data than those pointed at.
      cache_dir: where downloads are kept; by default XDG_CACHE_HOME/dccl or ~/.cache/dccl.

    Raises:
      FileNotFoundError: no place has it; the message names each with the reason, and what to do.
    """
    given = data_dir or os.environ.get("DCCL_DATA")
    if given:
        return _announced(name, Source(_in_folder(name, Path(given), data_dir is None), "the given path"))
    cached = _cache_folder(cache_dir) / f"{name}.zip"
    if zipfile.is_zipfile(cached):
        return _announced(name, Source(cached, "the cache"))

    places: list[tuple[str, Callable[[str], bytes]]] = [(SERVER.format(name=name), _from_server)]
    if name == "ml-100k":
        places.append((f"the wheel {WHEEL} on PyPI", _from_wheel))
    failures = [f"the cache {cached.parent} ({'holds a damaged' if cached.exists() else 'holds no'} {cached.name})"]
    for place, fetch in places:
        try:
            content = fetch(name)
        except (OSError, subprocess.SubprocessError, zipfile.BadZipFile, KeyError) as error:
            failures.append(f"{place} ({' '.join(str(error).split())[:300] or type(error).__name__})")
            continue
        return _announced(name, Source(_kept(content, cached), place))
    no_wheel = "" if name == "ml-100k" else " (No package on PyPI ships this set; ml-100k has one.)"
    raise FileNotFoundError(
        f"{name} is not to be had. Tried: {'; '.join(failures)}. Download {SERVER.format(name=name)} by hand and pass "
        f"its path as --data_dir or in DCCL_DATA.{no_wheel}"
    )


def _in_folder(name: str, given: Path, from_environment: bool) -> Path:
    if given.is_file():
        return given
    for place in (given, given / name):
        if any((place / marker).is_file() for marker in _MARKERS[name]):
            return place
    if (given / f"{name}.zip").is_file():
        return given / f"{name}.zip"
    holds = sorted(path.name for path in given.iterdir())[:10] if given.is_dir() else None
    raise FileNotFoundError(
        f"{'DCCL_DATA' if from_environment else 'data_dir'}: expected {name}.zip as GroupLens has it, the folder that "
        f"it unpacks to (with {_MARKERS[name][0]}), or a folder that holds one of them, got {given}, which "
        + ("does not exist" if holds is None else f"holds {', '.join(holds) or 'nothing'}")
    )


def _cache_folder(cache_dir: str | Path | None) -> Path:
    if cache_dir:
        return Path(cache_dir)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dccl"


def _kept(content: bytes, cached: Path) -> Path:
    """Writes the cache so that a kill leaves the old file or the new one. Where it cannot be written, a temporary
    file serves."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=cached.parent, prefix=f".{cached.name}.")
    except OSError as error:
        logging.warning("The cache %s cannot be written (%s); keeping nothing", cached.parent, error)
        number, temporary = tempfile.mkstemp(prefix="dccl-", suffix=f"-{cached.name}")
        cached = Path(temporary)
    with open(number, "wb") as file:
        file.write(content)
    os.replace(temporary, cached)
    return cached


def _announced(name: str, source: Source) -> Source:
    logging.info("%s from %s: %s. %s.", name, source.origin, source.path, LICENCE)
    return source


def _from_server(name: str) -> bytes:
    """Downloads the zip, or gives up: after `SERVER_SECONDS` unless it is then on course to arrive in
    `DOWNLOAD_SECONDS`. A thread downloads, since no timeout of urllib covers looking up a name."""
    url = SERVER.format(name=name)
    began = time.monotonic()
    arrived: queue.SimpleQueue[bytes | OSError] = queue.SimpleQueue()
    received, total = 0, 0
    given_up = threading.Event()

    def download() -> None:
        nonlocal received, total
        try:
            with urllib.request.urlopen(url, timeout=SERVER_SECONDS) as answer:
                total = int(answer.headers.get("Content-Length") or 0)
                content = io.BytesIO()
                while not given_up.is_set() and (piece := answer.read1(1 << 16)):
                    content.write(piece)
                    received = content.tell()
            arrived.put(content.getvalue())
        except OSError as error:
            arrived.put(error)
        except Exception as error:  # of a broken answer, such as http.client's: the caller knows OSError alone
            arrived.put(OSError(f"{type(error).__name__}: {error}"))

    threading.Thread(target=download, daemon=True).start()
    try:
        try:
            result = arrived.get(timeout=SERVER_SECONDS)
        except queue.Empty:
            if received < total * SERVER_SECONDS / DOWNLOAD_SECONDS or not total:
                raise TimeoutError(f"{received} bytes in {SERVER_SECONDS:g} seconds; given up") from None
            result = arrived.get(timeout=DOWNLOAD_SECONDS - (time.monotonic() - began))
    except queue.Empty:
        raise TimeoutError(f"{received} of {total} bytes in {DOWNLOAD_SECONDS:g} seconds; given up") from None
    finally:
        given_up.set()
    if isinstance(result, OSError):
        raise result
    with zipfile.ZipFile(io.BytesIO(result)) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} arrived damaged")
    return result


def _from_wheel(name: str) -> bytes:
    """The set out of RecBole's wheel, which ships it as an example, as a small zip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--dest", folder, WHEEL], capture_output=True, text=True, timeout=WHEEL_SECONDS, check=False
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise OSError("pip download: " + (done.stderr.strip().splitlines() or ["brought no wheel"])[-1])
        content = io.BytesIO()
        with zipfile.ZipFile(wheels[0]) as wheel, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as out:
            for part in ("inter", "item", "user"):
                out.writestr(f"{name}/{name}.{part}", wheel.read(f"{WHEEL_FOLDER}{name}.{part}"))
    return content.getvalue()
