"""Where MovieLens comes from: the caller's folder, a cache, GroupLens's server, or a wheel on PyPI that ships it."""

import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import logging

SERVER = "https://files.grouplens.org/datasets/movielens/{name}.zip"
SERVER_SECONDS = 5
WHEEL = "recbole==1.2.1"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k/"
LICENCE = (
    "MovieLens is by GroupLens: free for research, not to be redistributed; cite F. M. Harper and J. A. Konstan, "
    "The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015."
)


def find(name: str, data_dir: str | Path | None = None, cache_dir: str | Path | None = None) -> Path:
    """A zip with the files of MovieLens `name` in GroupLens's layout or (ml-100k from a wheel) in RecBole's.

    Args:
      name: "ml-100k" or "ml-1m".
      data_dir: GroupLens's zip, a folder that holds it, or the folder that it unpacks to; by default the environment
        variable DCCL_DATA. If it is given and has nothing, no other place is tried.
      cache_dir: where downloads are kept; by default ~/.cache/dccl.

    Returns:
      Path of a zip, or of the unpacked folder.

    Raises:
      FileNotFoundError: no place has it; the message names each with the reason.
    """
    given = data_dir or os.environ.get("DCCL_DATA")
    if given:
        found = _in_folder(name, Path(given))
        if found is None:
            raise FileNotFoundError(
                f"data_dir: expected {name}.zip as GroupLens has it, the folder that it unpacks to, or a folder that "
                f"holds one of them, got {given}"
            )
        return _announced(name, found, "given")
    cache = Path(cache_dir or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dccl")
    cached = cache / f"{name}.zip"
    if cached.exists():
        return _announced(name, cached, "cache")
    failures = []
    places: list[tuple[str, Callable[[str, Path], None]]] = [(SERVER.format(name=name), _from_server)]
    if name == "ml-100k":
        places.append((f"the wheel {WHEEL} on PyPI", _from_wheel))
    for place, fetch in places:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                fetched = Path(folder) / f"{name}.zip"
                fetch(name, fetched)
                os.replace(fetched, cached)
            return _announced(name, cached, place)
        except (OSError, subprocess.SubprocessError, zipfile.BadZipFile, TimeoutError) as error:
            failures.append(f"{place} ({' '.join(str(error).split())[:200] or type(error).__name__})")
            logging.info("%s is not to be had from %s", name, failures[-1])
    raise FileNotFoundError(
        f"{name} was not found in the cache {cache}, nor at " + ", nor in ".join(failures) + ". Download "
        f"{SERVER.format(name=name)} by hand and pass its path as --data_dir"
        + ("" if name == "ml-100k" else "; no wheel on PyPI ships this set, ml-100k's does")
    )


def _in_folder(name: str, given: Path) -> Path | None:
    if given.is_file():
        return given
    marker = "u.data" if name == "ml-100k" else "ratings.dat"
    for place in (given, given / name):
        if (place / marker).exists():
            return place
    zipped = given / f"{name}.zip"
    return zipped if zipped.exists() else None


def _announced(name: str, path: Path, source: str) -> Path:
    logging.info("%s: using %s (%s). %s", name, path, source, LICENCE)
    return path


def _from_server(name: str, target: Path) -> None:
    """Downloads within `SERVER_SECONDS` in all, name look-up and a slow trickle included."""

    def download() -> None:
        with (
            urllib.request.urlopen(SERVER.format(name=name), timeout=SERVER_SECONDS) as answer,
            target.open("wb") as out,
        ):
            shutil.copyfileobj(answer, out)

    pool = ThreadPoolExecutor(max_workers=1)
    try:
        pool.submit(download).result(timeout=SERVER_SECONDS)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    with zipfile.ZipFile(target) as archive:
        if archive.testzip():
            raise zipfile.BadZipFile(f"{target.name} arrived damaged")


def _from_wheel(name: str, target: Path) -> None:
    """Takes the set out of RecBole's wheel, which ships it as an example."""
    folder = target.parent / "wheel"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*command, "--dest", str(folder), WHEEL], check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for part in ("inter", "item", "user"):
            out.writestr(f"{name}/{name}.{part}", source.read(f"{WHEEL_FOLDER}{name}.{part}"))
