"""Bundles as files to serve: in a folder, or anywhere that fsspec reaches, each as one zip and compressed once.

Compressed when published and not when asked for, so that a range of a compressed file means the same every time.
"""

import gzip
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import brotli
import fsspec

from device_runtime import Bundle

IDENTITY = "identity"  # the content coding that changes nothing
SUFFIXES = {IDENTITY: ".zip", "gzip": ".zip.gz", "br": ".zip.br"}
WORTHWHILE = 0.97  # a coding is kept if it is smaller than this share of the plain file
CHUNK_BYTES = 256 * 1024
BROTLI_QUALITY = 5  # 11 takes a minute for 15 MB and gains a percent
THE_START_OF_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # one bundle, one zip


class MissingFileError(OSError):
    """A file of a published bundle is gone or not whole."""


class BundleFiles:
    """Reads and writes the files."""

    def __init__(self, url: str) -> None:
        """Opens a folder or fsspec URL, which is made if need be.

        Raises:
          ValueError: `url` is of no storage that is installed.
          OSError: it cannot be made.
        """
        try:
            self._storage, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ValueError(f"bundles: expected a folder or an fsspec URL, got {url!r} ({error})") from error
        self._storage.makedirs(self._root, exist_ok=True)

    def save(self, bundle: Bundle) -> dict[str, int]:
        """Writes a verified bundle; returns the bytes of each coding that is worth while."""
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "bundle.zip"
            with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as archive:
                for name, content in bundle.files.items():
                    data = content.read_bytes() if isinstance(content, Path) else content
                    archive.writestr(zipfile.ZipInfo(name, THE_START_OF_ZIP_TIME), data)
            sizes = {}
            for coding, encode in _ENCODERS.items():
                encoded = encode(plain)
                size = encoded.stat().st_size
                if coding == IDENTITY or size < WORTHWHILE * sizes[IDENTITY]:
                    self._put(encoded, self._path(bundle.identity, coding))
                    sizes[coding] = size
        return sizes

    def read(self, identity: bytes, coding: str, first: int, count: int) -> Iterator[bytes]:
        """`count` bytes of a file from byte `first` on, in pieces.

        Raises:
          OSError: the file is gone; or, from a piece on, it is shorter.
        """
        return _pieces(self._storage.open(self._path(identity, coding), "rb"), identity, first, count)

    def check(self) -> None:
        """Raises OSError if the storage cannot be reached."""
        if not self._storage.isdir(self._root):
            raise OSError(f"bundles: {self._root} is gone")

    def check_whole(self, identity: bytes, sizes: Mapping[str, int]) -> None:
        """Raises MissingFileError unless a bundle's files are there and as long as they were when it was published.

        Args:
          identity: of the bundle.
          sizes: bytes of each file by content coding.
        """
        self._storage.invalidate_cache()  # some storages remember what they once listed
        for coding, size in sizes.items():
            try:
                found = self._storage.size(self._path(identity, coding))
            except FileNotFoundError:
                found = None
            if found != size:
                what = "is gone" if found is None else f"has {found} bytes, not {size}"
                raise MissingFileError(f"bundle {identity.hex()}: its file ({coding}) {what}; publish it again")

    def _path(self, identity: bytes, coding: str) -> str:
        return f"{self._root}/{identity.hex()}{SUFFIXES[coding]}"

    def _put(self, file: Path, path: str) -> None:
        self._storage.put_file(str(file), f"{path}.part")
        self._storage.mv(f"{path}.part", path)


def _pieces(opened: BinaryIO, identity: bytes, first: int, count: int) -> Iterator[bytes]:
    with opened as file:
        file.seek(first)
        while count:
            piece = file.read(min(count, CHUNK_BYTES))
            if not piece:
                raise OSError(f"bundle {identity.hex()}: its file ends {count} bytes early")
            count -= len(piece)
            yield piece


def _gzip(plain: Path) -> Path:
    encoded = plain.with_name("bundle.gz")
    with plain.open("rb") as source, encoded.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as target:
        shutil.copyfileobj(source, target, CHUNK_BYTES)
    return encoded


def _brotli(plain: Path) -> Path:
    encoded, compressor = plain.with_name("bundle.br"), brotli.Compressor(quality=BROTLI_QUALITY)
    with plain.open("rb") as source, encoded.open("wb") as target:
        while piece := source.read(CHUNK_BYTES):
            target.write(compressor.process(piece))
        target.write(compressor.finish())
    return encoded


_ENCODERS: dict[str, Callable[[Path], Path]] = {IDENTITY: lambda plain: plain, "gzip": _gzip, "br": _brotli}
