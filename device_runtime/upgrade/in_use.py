"""What a device has in use: a bundle with its model, the state in it, and the ways from one bundle to another."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from device_runtime.bundle.bundle import Bundle
from device_runtime.errors import BundleError, DeviceError, InputError, ModelError, StateError, StorageError
from device_runtime.learning.learner import Learner
from device_runtime.state.device_state import DeviceState
from device_runtime.state.folder import StateFolder
from device_runtime.upgrade.installation import Installer
from device_runtime.upgrade.opening import Opening, begun_again, open_state, rolled_back


class InUse:
    """The bundle and state of one device. Not safe under threads by itself."""

    learner: Learner
    state: DeviceState
    profile: np.ndarray  # [P] int32
    opening: Opening

    def __init__(
        self,
        folder: StateFolder,
        runtime: str,
        bundle: Bundle | str | Path | None,
        profile: Mapping[str, Any] | None,
        policy: str,
    ) -> None:
        """Brings a bundle into use: the given one if it is news to the device, or else, or if it is refused, the one
        that the device had."""
        self._folder, self._installer = folder, Installer(folder, runtime)
        stored, refused = folder.state, ""
        if stored is None:
            if bundle is None:
                self.enter(self._installer.new(self._newest_kept()), profile, policy)
            else:
                self._enter_given(bundle, profile, policy)
            return
        before = given = stored.bundle
        try:
            if bundle is not None:
                before, given = folder.given, _identity(bundle)
            if given not in (stored.bundle, before):
                self._enter_given(bundle, profile, policy)
                return
        except (BundleError, ModelError, StateError, StorageError) as error:
            if stored.bundle not in folder.bundles:
                raise
            refused = str(error)
            self.note_refusal(bundle, error)
        try:
            learner = self._installer.kept(stored.bundle, bundle)
        except BundleError:
            if bundle is None or refused:
                raise
            self._enter_given(bundle, profile, policy)  # an older one, given before, is better than a damaged one
            return
        self.enter(learner, profile, policy, refused)
        if given != before and not refused:
            self._note_given(given)

    def accepted(self, bundle: Bundle | str | Path, retry: bool) -> Learner:
        """A new bundle that has passed its checks here. Raises DeviceError if it was refused, now or before."""
        return self._installer.new(bundle, retry)

    @property
    def refused(self) -> dict[bytes, str]:
        """See `Device.refused`."""
        return self._installer.refused

    def enter(self, learner: Learner, profile: Mapping[str, Any] | None, policy: str, refused: str = "") -> None:
        """Brings the stored state to a bundle and puts that into use; on an error everything stays as it was."""
        folder, stored = self._folder, self._folder.state
        state, indices, opening = open_state(learner, stored, profile, policy, folder.sequence)
        opening = replace(opening, damaged=tuple(folder.damaged), refused=refused)
        changes = stored is not None and opening.how != "resumed"
        if changes:
            folder.bundles.leave(stored)
        if opening.how != "resumed" or state.profile != stored.profile:
            folder.save(state)  # from here on the new bundle is the one in use
        self._use(learner, state, indices, opening)
        if changes:
            with suppress(StorageError):  # on a full disk: it is in use all the same
                self._installer.forgive(state.bundle)
        folder.tidy_bundles()
        runtime = learner.engine.runtime
        facts = {"runtime": f"{runtime.name} {runtime.version}", "gate": state.gate}
        if opening.how != "resumed" or opening.damaged:  # not each of a program that opens the device for every call
            folder.events.add("upgrade" if changes else "opening", **opening.to_dict(), **facts)

    def note_refusal(self, bundle: Bundle | str | Path, error: DeviceError) -> None:
        """Writes down that a bundle was refused, and keeps no copy of it."""
        name = bundle.identity.hex() if isinstance(bundle, Bundle) else str(bundle)
        self._folder.events.add("refusal", bundle=name, reason=str(error))
        self._folder.tidy_bundles()

    def _enter_given(self, bundle: Bundle | str | Path, profile: Mapping[str, Any] | None, policy: str) -> None:
        """Brings the bundle that an opening gives into use."""
        self.enter(self._installer.new(bundle), profile, policy)
        self._note_given(self.state.bundle)

    def _note_given(self, identity: bytes) -> None:
        """Remembers the bundle that an opening gave, so that the next opening with it is no upgrade."""
        with suppress(StorageError):  # on a full disk: what is in use stays in use
            self._folder.given = identity

    def roll_back(self) -> None:
        """See `Device.rollback`."""
        now, bundles = self.state, self._folder.bundles
        left = bundles.left(now.previous_bundle)
        learner = self._installer.kept(left.bundle)
        self._installer.refuse(now.bundle, "it was rolled back", everywhere=True)
        state, profile, opening = rolled_back(learner, left, now, self._folder.sequence)
        try:
            self._folder.save(state)
        except StorageError:
            self._installer.forgive(now.bundle)  # it stays in use
            raise
        self._use(learner, state, profile, opening)
        bundles.keep(state.bundle)
        self._folder.events.add("rollback", **opening.to_dict())

    def begin_again(self, forget_user: bool) -> None:
        """See `Device.reset`."""
        state, profile = self.state, self.profile
        if forget_user:
            self._folder.bundles.keep(state.bundle)  # first: it makes room on a full disk
            self._folder.forget_user()
            profile, _ = self.learner.bundle.vocabulary.profile({})
            state = replace(state, profile={}, previous_bundle=b"")
        self.save(begun_again(self.learner, state, profile, self._folder.sequence))
        self.profile = profile
        self._folder.checkpoint.clear()
        self._folder.events.add("reset", forget_user=forget_user)

    def save(self, state: DeviceState) -> None:
        """Makes a state of the bundle in use the stored one. Raises StorageError; then all stays as it was."""
        self._folder.save(state)
        self.state = state

    def _use(self, learner: Learner, state: DeviceState, profile: np.ndarray, opening: Opening) -> None:
        self.learner, self.state, self.profile, self.opening = learner, state, profile, opening

    def _newest_kept(self) -> Bundle:
        identity = self._installer.newest()
        if not identity:
            raise InputError("bundle: expected a folder or a zip for a new device, got none")
        return self._folder.bundles.open(identity)


def _identity(bundle: Bundle | str | Path) -> bytes:
    return bundle.identity if isinstance(bundle, Bundle) else Bundle.identify(bundle)
