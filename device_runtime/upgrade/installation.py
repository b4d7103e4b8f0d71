"""Brings a bundle into use: copied into the device's own store, accepted here, and remembered if it was not."""

import time
from pathlib import Path

from device_runtime.bundle.bundle import Bundle
from device_runtime.errors import BundleError, InputError, ModelError
from device_runtime.interpreter.engine import Engine
from device_runtime.interpreter.providers import find_provider
from device_runtime.interpreter.runtime import load_runtime
from device_runtime.learning.learner import Learner
from device_runtime.state.folder import StateFolder
from device_runtime.upgrade.acceptance import accept

_EVERYWHERE = "any"  # in place of a runtime


class Installer:
    """Loads bundles for one device."""

    def __init__(self, folder: StateFolder, runtime: str) -> None:
        self._folder, self._runtime = folder, runtime

    def new(self, source: Bundle | str | Path, retry: bool = False) -> Learner:
        """A bundle that is to be used from now on, kept in the store.

        Args:
          source: an open bundle or the path of one.
          retry: tries also one that was refused before.

        Raises:
          BundleError, ModelError: it was refused, now or before; that is remembered for this runtime.
          StorageError: it cannot be copied.
        """
        bundle = source if isinstance(source, Bundle) else Bundle.open(source)
        if not retry and self._folder.state:  # a device without any bundle has nothing to lose by trying again
            self._check_refused(bundle)
        kept = self._folder.bundles.adopt(bundle)
        try:
            return self._learner(kept, accept(kept, self._runtime))
        except (BundleError, ModelError, InputError) as error:  # InputError: goldens that do not fit the model
            if not isinstance(error.__cause__, OSError):  # which is no fault of the bundle's
                self.refuse(bundle.identity, str(error))
            self._folder.tidy_bundles()
            raise error if not isinstance(error, InputError) else BundleError(f"goldens.pb: {error}") from error

    def kept(self, identity: bytes, source: Bundle | str | Path | None = None) -> Learner:
        """A bundle of the store, which was accepted when it came.

        Args:
          identity: of the bundle.
          source: where to take it from should the store not have it, undamaged.

        Raises:
          BundleError: neither has it.
        """
        try:
            bundle = self._folder.bundles.open(identity)
        except BundleError:
            if source is None:
                raise
            bundle = source if isinstance(source, Bundle) else Bundle.open(source)
            if bundle.identity != identity:
                raise
            bundle = self._folder.bundles.adopt(bundle)
        return self._learner(bundle, Engine(load_runtime(bundle.model, self._runtime), bundle.manifest))

    def newest(self) -> bytes:
        """The bundle that came last and was not refused; empty if the store has none."""
        refused = {bundle for (bundle,) in self._folder.database.query("SELECT bundle FROM refused")}
        return next((identity for identity in self._folder.bundles.newest() if identity not in refused), b"")

    def refuse(self, identity: bytes, reason: str, everywhere: bool = False) -> None:
        """Remembers that a bundle is of no use, on this runtime or everywhere, so that it is not tried for ever."""
        with self._folder.database.transaction() as db:
            values = (identity, _EVERYWHERE if everywhere else self._version(), reason, int(time.time()))
            db.execute("INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?)", values)

    @property
    def refused(self) -> dict[bytes, str]:
        """By identity, what is said of a bundle that is not tried again."""
        query = "SELECT bundle, reason FROM refused WHERE runtime IN (?, ?)"
        rows = self._folder.database.query(query, (self._version(), _EVERYWHERE))
        return {
            bundle: f"bundle: {bundle.hex()[:12]} was refused before ({reason}); upgrade(retry=True) tries it again"
            for bundle, reason in rows
        }

    def forgive(self, identity: bytes) -> None:
        """Forgets that a bundle was refused, since it is in use."""
        with self._folder.database.transaction() as db:
            db.execute("DELETE FROM refused WHERE bundle = ?", (identity,))

    def _check_refused(self, bundle: Bundle) -> None:
        if bundle.identity in (refused := self.refused):
            raise BundleError(refused[bundle.identity])

    def _learner(self, bundle: Bundle, engine: Engine) -> Learner:
        return Learner(engine, bundle, self._folder.samples)

    def _version(self) -> str:
        provider = find_provider(self._runtime)
        return f"{provider.name} {provider.version}"
