"""The bundles that a device keeps: its own copies, so that a folder of downloads may vanish.

bundles/IDENTITY/             the five files of a bundle, IDENTITY in hex
bundles/IDENTITY/state.bin    the device's state when it left this bundle for another, to roll back to
"""

import shutil
from pathlib import Path

from device_runtime.bundle.bundle import HASHES, MANIFEST, MODEL, Bundle
from device_runtime.errors import BundleError, StateError, StorageError
from device_runtime.state.device_state import DeviceState, load_state, save_state
from device_runtime.state.files import sync_file, sync_folder

_STATE = "state.bin"
_UNFINISHED = ".new"
_GIVE = "give the device its bundle again: Device.open(bundle=), or dccl-device upgrade BUNDLE or --url=URL"


class BundleStore:
    """The folder of one device's bundles."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, identity: bytes) -> bool:
        return bool(identity) and self._path(identity).is_dir()

    def open(self, identity: bytes) -> Bundle:
        """A kept bundle, verified anew. Raises BundleError if it is not kept, or damaged."""
        if identity not in self:
            raise BundleError(
                f"bundle: expected one that this device keeps, got {identity.hex()[:12] or 'none'}; {_GIVE}"
            )
        path = self._path(identity)
        try:
            bundle = Bundle.open(path)
        except BundleError as error:
            raise BundleError(f"{error}; {_GIVE}") from error
        if bundle.identity != identity:
            raise BundleError(f"{path / MANIFEST}: expected SHA-256 {identity.hex()}, got another; {_GIVE}")
        return bundle

    def adopt(self, bundle: Bundle) -> Bundle:
        """Copies a bundle in, unless an undamaged copy is kept; there is a whole copy or none, whenever this stops.

        Raises:
          BundleError: its files are no longer what they were when it was opened.
          StorageError: it cannot be written.
        """
        path = self._path(bundle.identity)
        if bundle.path == path:
            return bundle
        if bundle.identity in self:
            try:
                return self.open(bundle.identity)
            except BundleError:
                self._remove(path)
        model = bundle.model  # verified again
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            for name in (MANIFEST, *HASHES):
                content = model if name == MODEL else bundle.files[name]
                if isinstance(content, Path):
                    shutil.copyfile(content, unfinished / name)
                else:
                    (unfinished / name).write_bytes(content)
                sync_file(unfinished / name)
            Bundle.open(unfinished)
            sync_folder(unfinished)
            unfinished.rename(path)
            sync_folder(self._folder)
        except OSError as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise StorageError(f"{path}: cannot be written ({error.strerror}); the bundles kept are intact") from error
        return Bundle.open(path)

    def leave(self, state: DeviceState) -> None:
        """Keeps the state that a device has in its bundle, before it goes over to another. Raises StorageError."""
        if state.bundle in self:
            save_state(self._path(state.bundle) / _STATE, state)

    def left(self, identity: bytes) -> DeviceState:
        """The state that the device had in a bundle when it left it. Raises StateError if it is not there."""
        state = load_state(self._path(identity) / _STATE) if identity in self else None
        if state is None or state.bundle != identity:
            raise StateError(
                f"rollback: expected the bundle before this one among those kept, got {identity.hex()[:12] or 'none'}; "
                "a device keeps one, and none once it has rolled back"
            )
        return state

    def newest(self) -> list[bytes]:
        """Identities of the bundles kept, the one that came last first."""
        paths = [path for path in self._folder.glob("?" * 64) if (path / MANIFEST).is_file()]
        paths.sort(key=lambda path: (path / MANIFEST).stat().st_mtime_ns, reverse=True)
        return [bytes.fromhex(path.name) for path in paths]

    def keep(self, *identities: bytes) -> None:
        """Removes all but these, and what an interrupted copy left. What cannot be removed waits for next time."""
        names = {identity.hex() for identity in identities}
        for path in self._folder.glob("*"):
            if path.name not in names:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)

    def _path(self, identity: bytes) -> Path:
        return self._folder / identity.hex()
