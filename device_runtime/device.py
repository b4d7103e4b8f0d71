"""One device: logs interactions, ranks, personalises itself and uploads its vector.

    with Device.open("state", bundle="bundle", profile={"age": "25-34"}) as device:
        device.log(item=1193, label=1, skipped=[661, 914])
        print(device.personalize().gate)
        ids, scores = device.rank([1193, 661, 914, 3408], k=3)

Items are the log's own ids everywhere. All methods are safe under threads; one process owns a state folder, and a
fork of it is refused.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from device_runtime.bundle.bundle import Bundle
from device_runtime.bundle.vocabulary import RawId
from device_runtime.cloud.delivery import Delivery, Retries
from device_runtime.cloud.privacy import UploadNoise
from device_runtime.cloud.sender import Sender
from device_runtime.cloud.transport import Transport
from device_runtime.errors import DeviceError, InputError, StorageError
from device_runtime.learning.personalize import OnStep, PersonalizeConfig, Report, ShouldStop
from device_runtime.learning.rows import encode_history
from device_runtime.log.events import Event
from device_runtime.log.interactions import interactions
from device_runtime.log.samples import LogLimits
from device_runtime.state.folder import STATE, StateFolder
from device_runtime.state.ownership import Owner
from device_runtime.upgrade.in_use import InUse
from device_runtime.upgrade.opening import Opening, check_policy

_LARGEST = float(np.finfo(np.float32).max)


class Device:
    """A device with its state folder and bundle. Made by `Device.open`; `close` it or use it in a `with`."""

    def __init__(self, folder: StateFolder, device_id: str, sender: Sender, in_use: InUse) -> None:
        self._folder, self._device_id, self._sender, self._in_use = folder, device_id, sender, in_use
        self._lock = Owner()  # state, log and caches
        self._training = Owner(reentrant=False)  # one personalisation, upgrade or rollback at a time
        self._sending = Owner()  # one at a time, and never while holding the others
        self._counts: Counter[str] = Counter()
        self._history: tuple[np.ndarray, np.ndarray] | None = None  # items and labels [T]; read when first asked for
        self._met: set[RawId] | None = None  # likewise

    @classmethod
    def open(
        cls,
        state_dir: str | Path,
        bundle: Bundle | str | Path | None = None,
        device_id: str | None = None,
        key: bytes | None = None,
        profile: Mapping[str, Any] | None = None,
        runtime: str = "auto",
        on_bundle_change: str = "rebase",
        on_damage: str = "error",
        limits: LogLimits | None = None,
        noise: UploadNoise | None = None,
    ) -> "Device":
        """Opens a device, or begins a new one in an empty folder with the vector U(0, u) (Eq. 6).

        The device goes on with the bundle in use. A `bundle` counts when it is given for the first time: to a new
        device, or because the app ships another one by now. Then it is an upgrade (see `upgrade`): it has to pass every
        check on this device first. One that does not is refused and remembered, the device goes on with the bundle it
        had, and `opening` says so. One that was given before does not undo an upgrade or a rollback since.

        Args:
          state_dir: the device's own folder; made if absent.
          bundle: an open bundle or the path of one; its files are copied into the folder. By default the one in use.
          device_id: opaque id; by default the stored one, or a new random one.
          key: 32 bytes from the cloud's registration; stored, so given once. Needed by uploads alone.
          profile: value of each profile field, such as {"age": "25-34"}; stored, so given once.
          runtime: "auto", "tflite-runtime", "ai-edge-litert" or "tensorflow".
          on_bundle_change: what happens to a vector that belongs to another bundle: "rebase" makes it U(vector, u)
            in the new basis, "keep" leaves it, "reset" begins again. `opening` says what was done.
          on_damage: "error", or "reset" to set a damaged file aside and begin afresh.
          limits: bounds of the log.
          noise: what is added to every vector that is uploaded while it is open; not stored, and none by default.

        Raises:
          DeviceError: its subclasses say what was wrong; what was stored is as it was.
        """
        check_policy(on_bundle_change)
        for name, value, kind in (("limits", limits, LogLimits), ("noise", noise, UploadNoise)):
            if value is not None and not isinstance(value, kind):
                raise InputError(f"{name}: expected a {kind.__name__}, got {type(value).__name__}")
        if not (Path(state_dir) / STATE).exists() and bundle is not None:
            bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
            bundle.vocabulary.profile(profile)  # refuses a wrong one before anything is made
        folder = StateFolder(state_dir, on_damage, limits)
        try:
            name = folder.identity.identify(device_id)
            sender = Sender(folder, name, folder.identity.key(key), noise)
            return cls(folder, name, sender, InUse(folder, runtime, bundle, profile, on_bundle_change))
        except BaseException:
            folder.close()
            raise

    # ---- Logging ---------------------------------------------------------------------------------

    def log(self, item: RawId, label: int = 1, skipped: Sequence[RawId] = (), timestamp: int | None = None) -> None:
        """Adds one interaction; on return it is on the disk.

        The item enters the history with its label, and becomes a training sample whose history is what came before.

        Args:
          item: raw id.
          label: 1 liked or clicked, 0 not.
          skipped: items shown at the same time and not chosen: samples with label 0, outside the history.
          timestamp: seconds; now by default.

        Raises:
          InputError: an id or the label is not what was asked for; nothing was added.
          StorageError: the log cannot be written; nothing was added.
        """
        self.log_many([item], [label], [skipped], None if timestamp is None else [timestamp])

    def log_many(
        self,
        items: Sequence[RawId],
        labels: Sequence[int] | None = None,
        skipped: Sequence[Sequence[RawId]] | None = None,
        timestamps: Sequence[int] | None = None,
    ) -> None:
        """Adds N interactions, oldest first, all or none of them, in one transaction; see `log`.

        Args:
          items: [N] raw ids.
          labels: [N]; all 1 by default.
          skipped: N lists of raw ids; empty by default.
          timestamps: [N] seconds; now by default.
        """
        self._append(items, labels, skipped, timestamps, train=True)

    def remember(
        self, items: Sequence[RawId], labels: Sequence[int] | None = None, timestamps: Sequence[int] | None = None
    ) -> None:
        """Adds N interactions, oldest first, to the history alone: the past of a user before the device was, from
        which the cloud model may have learned already. Arguments as for `log_many`."""
        self._append(items, labels, None, timestamps, train=False)

    # ---- Ranking ---------------------------------------------------------------------------------

    def scores(self, candidates: Iterable[RawId], gate: float | None = None) -> np.ndarray:
        """Logits [N] float32 of N candidates in the given order.

        Args:
          candidates: raw ids, any number; those that the bundle does not know share one id and are counted.
          gate: 0 is the cloud model, 1 the personal one; by default what the evidence decided.
        """
        return self._scores(self.bundle.vocabulary.raw_ids("candidates", candidates), gate)

    def rank(
        self,
        candidates: Iterable[RawId],
        k: int | None = None,
        gate: float | None = None,
        exclude_history: bool = False,
    ) -> tuple[list[RawId], np.ndarray]:
        """The candidates, best first; equal scores keep the given order.

        Args:
          candidates: raw ids, any number.
          k: how many to return; all by default.
          gate: as for `scores`.
          exclude_history: leaves out what the user has met, as far back as the log's limits say.

        Returns:
          Raw ids and their logits.
        """
        if k is not None and (isinstance(k, bool) or not isinstance(k, Integral) or k < 1):
            raise InputError(f"k: expected a whole number of at least 1, got {k!r}")
        ids = self.bundle.vocabulary.raw_ids("candidates", candidates)
        if exclude_history:
            with self._lock:
                if self._met is None:
                    self._met = self._folder.samples.met()
                ids = [item for item in ids if item not in self._met]
        scores = self._scores(ids, gate)
        best = np.argsort(-scores, kind="stable")[:k]
        return [ids[place] for place in best.tolist()], scores[best]

    def _scores(self, ids: list[RawId], gate: float | None) -> np.ndarray:
        if gate is not None and (isinstance(gate, bool) or not isinstance(gate, Real) or not abs(gate) <= _LARGEST):
            raise InputError(f"gate: expected a finite number, got {gate!r}")
        with self._lock:
            state, learner, profile = self._in_use.state, self._in_use.learner, self._in_use.profile
            vocabulary = learner.bundle.vocabulary
            if self._history is None:
                length = learner.bundle.manifest.history_length
                self._history = encode_history(self._folder.samples.newest(length), vocabulary, length)
            history, labels = self._history
            encoded = vocabulary.encode(ids)
            self._counts["ranked"] += len(ids)
            self._counts["unknown_ranked"] += int(np.count_nonzero(encoded == vocabulary.out_of_vocabulary))
        gate = state.gate if gate is None else gate
        return learner.engine.logits(state.current, history, labels, profile, encoded, gate)

    # ---- Learning --------------------------------------------------------------------------------

    def personalize(
        self,
        config: PersonalizeConfig | None = None,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Report:
        """Trains the vector on all kept samples, goes on from the current one, and sets the gate by evidence.

        Rankings in other threads go on with the old vector until the new one is stored. A call that its budget, the
        app or a kill interrupts leaves a checkpoint: the next call with the same settings goes on with that training,
        on the rows that it began with, to the same vector, gate and losses. Until then what it learned is in use.

        Args:
          config: settings, the call's budget among them; by default the manifest's and no budget.
          on_step: called with epoch, step and loss after every step.
          should_stop: asked before every step; True ends the call.

        Raises:
          StorageError: the new state cannot be written; the device keeps the old one.
        """
        with self._training:
            with self._lock:
                state, profile = self._in_use.state, self._in_use.profile
            checkpoint = self._folder.checkpoint
            outcome = self._in_use.learner.learn(state, profile, checkpoint, config, on_step, should_stop)
            report = outcome.report
            if not report.steps:  # nothing was learned: what is known of the vector in use stays
                report = replace(report, gate=state.gate)
            else:
                with self._lock:
                    now = self._in_use.state  # its sequence number may have grown meanwhile
                    samples = report.samples if outcome.trained else now.samples
                    after = replace(now, current=outcome.state, gate=outcome.gate, evidence=outcome.evidence)
                    self._in_use.save(replace(after, samples=samples))
            if not report.interrupted:  # not before the outcome is stored, or a kill in between would lose it
                with suppress(StorageError):  # one that stays fits no vector any more
                    checkpoint.clear()
            self._folder.events.add("personalize", **report.to_dict())
            return report

    def reset(self, forget_user: bool = False) -> None:
        """Begins again with the vector U(0, u) and gate 0, on the bundle in use.

        Args:
          forget_user: erases the interactions, the profile, the events, the uploads that wait and the way back too,
            for a user who asks for that or leaves. The device's id, key and upload number stay.

        Raises:
          StorageError: not all could be erased or begun again; what could be is, so call again.
        """
        with self._training, self._lock:
            try:
                self._in_use.begin_again(bool(forget_user))
            finally:
                if forget_user:
                    self._history = self._met = None

    # ---- Bundles ---------------------------------------------------------------------------------

    def upgrade(self, bundle: Bundle | str | Path, on_bundle_change: str = "rebase", retry: bool = False) -> Opening:
        """Goes over to another bundle; the vector follows by the policy (see `open`) and the log stays.

        Before that the bundle is copied into the state folder, its hashes, its certificate and its operators are
        checked, and its golden calls are replayed on this device. The one before it is kept to roll back to.

        Args:
          bundle: an open bundle or the path of one.
          on_bundle_change: see `open`.
          retry: tries it even if it was refused before, or rolled back from.

        Raises:
          DeviceError: it was refused, which an event tells too; the device goes on with the bundle it had.
        """
        check_policy(on_bundle_change)
        with self._training:
            try:
                learner = self._in_use.accepted(bundle, retry)
                with self._lock:
                    try:
                        self._in_use.enter(learner, None, on_bundle_change)
                    finally:
                        self._history = None  # of the other bundle's numbers, if that is in use now
            except DeviceError as error:
                self._in_use.note_refusal(bundle, error)
                raise
            return self.opening

    def rollback(self) -> Opening:
        """Returns to the bundle before this one, with the vector, optimiser, gate and evidence that were left there.

        The log stays. The bundle that is left is not taken again by `open`, or by `upgrade` without `retry`.

        Raises:
          StateError: there is none to return to.
          BundleError: it is damaged; the device goes on with the bundle it has.
        """
        with self._training, self._lock:
            self._in_use.roll_back()
            self._history = None
            return self.opening

    # ---- Uploading -------------------------------------------------------------------------------

    def upload(self) -> bytes:
        """A signed upload of the vector, ready to send; sending it again is safe.

        It is queued on the disk before this returns, for `send`. While vector and evidence stay as they are it is the
        same message; a new one takes the next sequence number.

        Raises:
          StateError: there is no key, or the vector has not been trained in this bundle.
        """
        with self._lock:
            queued, self._in_use.state = self._sender.queue(self._in_use.state)
            return self._sender.body(queued)

    def acknowledge(self, receipt: bytes) -> str:
        """Takes the cloud's receipt for an upload that the app sent itself, so that it waits no more.

        Args:
          receipt: a serialised dccl.Receipt.

        Returns:
          "accepted", "duplicate" or "rejected".

        Raises:
          InputError: it is no receipt of an upload that waits.
        """
        with self._lock:
            return self._sender.acknowledge(receipt)

    def send(self, to: str | Transport, retries: Retries | None = None) -> list[Delivery]:
        """Queues the vector, if it was trained in this bundle, and sends all that waits, in the order of its numbers.

        What brings no receipt waits for the next call, be it days later; so does all while a change of the key has no
        answer. Rankings go on meanwhile. On a device that was opened with noise, what waits without any is superseded
        and never sent.

        Args:
          to: the collector's address, or a transport of one's own.
          retries: how often to try within this call.

        Returns:
          What became of each; empty if nothing waits.

        Raises:
          StateError: there is no key.
          InputError: the address is not https.
        """
        with self._sending:
            with self._lock:
                if self._in_use.state.samples:
                    self.upload()
            return self._sender.send(to, retries)

    # ---- What is known ---------------------------------------------------------------------------

    @property
    def device_id(self) -> str:
        return self._device_id

    @property
    def bundle(self) -> Bundle:
        """The one in use: the device's own copy."""
        return self._in_use.learner.bundle

    @property
    def refused(self) -> dict[bytes, str]:
        """The bundles that `upgrade` takes on `retry` alone, by identity, and why; see `fetch_bundle`."""
        with self._lock:
            return self._in_use.refused

    @property
    def vector(self) -> np.ndarray:
        """The metapatch [K] float32; a copy."""
        return self._in_use.state.current.vector.copy()

    @property
    def gate(self) -> float:
        """What rankings use: 1 the personal model, 0 the cloud's."""
        return self._in_use.state.gate

    @property
    def history_size(self) -> int:
        """Interactions in the history."""
        with self._lock:
            return self._folder.samples.counts()["history"]

    @property
    def opening(self) -> Opening:
        """How the vector came to this bundle."""
        return self._in_use.opening

    @property
    def state(self) -> dict[str, Any]:
        """A summary in plain types, for people and JSON."""
        with self._lock:
            in_use, runtime = self._in_use, self._in_use.learner.engine.runtime
            return in_use.state.summary() | {
                "device_id": self._device_id,
                "opening": in_use.opening.how,
                "refused": in_use.opening.refused,
                "runtime": f"{runtime.name} {runtime.version}",
                "sequence": self._folder.sequence,
                "profile_unknown": list(in_use.opening.profile_unknown),
                "has_key": self._sender.has_key,
                "newest_upload_has_noise": self._sender.newest_has_noise,
                "uploads_waiting": len(self._folder.outbox.waiting()),
                "log": self._folder.samples.counts(),
                "counts": dict(self._counts),
                "events_lost": self._folder.events.lost,
            }

    def events(self, newest: int = 20) -> list[Event]:
        """The newest events, oldest of them first: the first opening and those that found damage, personalisations,
        upgrades, refusals, rollbacks, resets, uploads.

        Args:
          newest: how many at most; 1,000 are kept.
        """
        if isinstance(newest, bool) or not isinstance(newest, Integral) or newest < 1:
            raise InputError(f"newest: expected a whole number of at least 1, got {newest!r}")
        with self._lock:
            return self._folder.events.newest(int(newest))

    def prune(self, keep: int) -> None:
        """Forgets all samples but those of the newest `keep` interactions, and the history that nothing needs."""
        if isinstance(keep, bool) or not isinstance(keep, Integral) or keep < 0:
            raise InputError(f"keep: expected a whole number of at least 0, got {keep!r}")
        with self._lock:
            self._folder.samples.prune(int(keep), self.bundle.manifest.history_length)
            self._history = None

    def close(self) -> None:
        """Frees the state folder for others, once a training that is under way has ended. In a fork it does nothing:
        the files are the parent's."""
        if not self._lock.here:
            return
        with self._training, self._lock:
            self._folder.close()
            self._history = None

    def __enter__(self) -> "Device":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- Inside ----------------------------------------------------------------------------------

    def _append(
        self,
        items: Sequence[RawId],
        labels: Sequence[int] | None,
        skipped: Sequence[Sequence[RawId]] | None,
        timestamps: Sequence[int] | None,
        train: bool,
    ) -> None:
        now = int(time.time())
        vocabulary, length = self.bundle.vocabulary, self.bundle.manifest.history_length
        events = interactions(vocabulary, items, labels, skipped, timestamps, now)
        logged = [event.item for event in events]
        unknown = int(np.count_nonzero(vocabulary.encode(logged) == vocabulary.out_of_vocabulary))
        with self._lock:
            no_longer_met = self._folder.samples.append(events, train, length, now)
            self._history = None
            if self._met is not None:
                self._met.update(logged)
                self._met.difference_update(no_longer_met)
            self._counts.update(logged=len(events), unknown_logged=unknown)
