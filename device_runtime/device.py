"""One device: logs interactions, ranks, personalises itself and uploads its vector.

    with Device.open("state", bundle="bundle", profile={"age": "25-34"}) as device:
        device.log(item=1193, label=1, skipped=[661, 914])
        print(device.personalize().gate)
        ids, scores = device.rank([1193, 661, 914, 3408], k=3)

Items are the log's own ids everywhere. All methods are safe under threads; one process owns a state folder.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from device_runtime.bundle import Bundle
from device_runtime.engine import Engine
from device_runtime.errors import InputError, StateError
from device_runtime.folder import StateFolder
from device_runtime.interactions import interactions
from device_runtime.learning import Learner
from device_runtime.opening import Opening, check_policy, open_state
from device_runtime.personalize import OnStep, PersonalizeConfig, Report, ShouldStop
from device_runtime.rows import encode_history
from device_runtime.runtime import load_runtime
from device_runtime.state import DeviceState
from device_runtime.upload import signed_upload
from device_runtime.vocabulary import RawId


class Device:
    """A device with its state folder and bundle. Made by `Device.open`; `close` it or use it in a `with`."""

    def __init__(self, folder: StateFolder, device_id: str, key: bytes | None, runtime: str) -> None:
        self._folder, self._device_id, self._key, self._runtime_choice = folder, device_id, key, runtime
        self._lock = threading.RLock()  # state, log and caches
        self._training = threading.Lock()  # one personalisation or upgrade at a time
        self._counts: Counter[str] = Counter()

    @classmethod
    def open(
        cls,
        state_dir: str | Path,
        bundle: Bundle | str | Path,
        device_id: str | None = None,
        key: bytes | None = None,
        profile: Mapping[str, Any] | None = None,
        runtime: str = "auto",
        on_bundle_change: str = "rebase",
        on_damage: str = "error",
    ) -> "Device":
        """Opens a device, or begins a new one in an empty folder with the vector U(0, u) (Eq. 6).

        Args:
          state_dir: the device's own folder; made if absent.
          bundle: an open bundle or the path of one.
          device_id: opaque id; by default the stored one, or a new random one.
          key: 32 bytes from the cloud's registration; stored, so given once. Needed by `upload` alone.
          profile: value of each profile field, such as {"age": "25-34"}; stored, so given once.
          runtime: "auto", "tflite-runtime", "ai-edge-litert" or "tensorflow".
          on_bundle_change: what happens to a vector that belongs to another bundle: "rebase" makes it U(vector, u)
            in the new basis, "keep" leaves it, "reset" begins again. `opening` says what was done.
          on_damage: "error", or "reset" to set a damaged file aside and begin afresh.

        Raises:
          DeviceError: its subclasses say what was wrong; what was stored is as it was.
        """
        check_policy(on_bundle_change)
        bundle, engine = _loaded(bundle, runtime)
        bundle.vocabulary.profile(profile)  # refuses a wrong one before anything is made
        folder = StateFolder(state_dir, on_damage)
        try:
            device = cls(folder, folder.identify(device_id), folder.key(key), runtime)
            device._enter(bundle, engine, profile, on_bundle_change)
        except BaseException:
            folder.close()
            raise
        return device

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
        return self._scores(self._bundle.vocabulary.raw_ids("candidates", candidates), gate)

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
          exclude_history: leaves out what the user has met.

        Returns:
          Raw ids and their logits.
        """
        if k is not None and (isinstance(k, bool) or not isinstance(k, Integral) or k < 1):
            raise InputError(f"k: expected a whole number of at least 1, got {k!r}")
        ids = self._bundle.vocabulary.raw_ids("candidates", candidates)
        if exclude_history:
            met = self._folder.samples.items()
            ids = [item for item in ids if item not in met]
        scores = self._scores(ids, gate)
        best = np.argsort(-scores, kind="stable")[:k]
        return [ids[place] for place in best], scores[best]

    def _scores(self, ids: list[RawId], gate: float | None) -> np.ndarray:
        if gate is not None and (isinstance(gate, bool) or not isinstance(gate, Real) or not np.isfinite(gate)):
            raise InputError(f"gate: expected a finite number, got {gate!r}")
        with self._lock:
            state, bundle, engine, profile = self._state, self._bundle, self._engine, self._profile
            if self._history is None:
                length = bundle.manifest.history_length
                self._history = encode_history(self._folder.samples.newest(length), bundle.vocabulary, length)
            history, labels = self._history
            encoded = bundle.vocabulary.encode(ids)
            unknown = int((encoded == bundle.vocabulary.out_of_vocabulary).sum())
            self._counts.update(ranked=len(ids), unknown_ranked=unknown)
        return engine.logits(state.current, history, labels, profile, encoded, state.gate if gate is None else gate)

    # ---- Learning --------------------------------------------------------------------------------

    def personalize(
        self,
        config: PersonalizeConfig | None = None,
        on_step: OnStep | None = None,
        should_stop: ShouldStop | None = None,
    ) -> Report:
        """Trains the vector on all kept samples, goes on from the current one, and sets the gate by evidence.

        Rankings in other threads go on with the old vector until the new one is stored.

        Args:
          config: settings; by default the manifest's.
          on_step: called with epoch, step and loss after every step.
          should_stop: asked before every step.

        Raises:
          StorageError: the new state cannot be written; the device keeps the old one.
        """
        with self._training:
            with self._lock:
                state, profile = self._state, self._profile
            outcome = self._learner.learn(state, profile, config, on_step, should_stop)
            if outcome.report.stopped == "no samples":
                return replace(outcome.report, gate=state.gate)
            with self._lock:
                now = self._state  # its sequence number may have grown meanwhile
                samples = outcome.report.samples if outcome.trained else now.samples
                after = replace(now, current=outcome.state, gate=outcome.gate, evidence=outcome.evidence)
                self._save(replace(after, samples=samples))
            return outcome.report

    def upgrade(self, bundle: Bundle | str | Path, on_bundle_change: str = "rebase") -> Opening:
        """Goes over to another bundle; the vector follows by the policy (see `open`) and the log stays.

        Raises:
          DeviceError: the device goes on with the bundle it had.
        """
        check_policy(on_bundle_change)
        bundle, engine = _loaded(bundle, self._runtime_choice)
        with self._training, self._lock:
            self._enter(bundle, engine, None, on_bundle_change)
        return self.opening

    def upload(self) -> bytes:
        """A signed upload of the vector, ready to send; sending it again is safe.

        Each call takes a new sequence number, which is on the disk before this returns.

        Raises:
          StateError: there is no key, or the vector has not been trained in this bundle.
        """
        with self._lock:
            if self._key is None:
                raise StateError("upload: this device has no key; open it once with key= from the cloud's registration")
            if not self._state.samples:
                raise StateError("upload: the vector has not been trained in this bundle; call personalize() first")
            sequence = self._folder.sequence + 1
            self._save(replace(self._state, sequence=sequence))
            self._folder.save_sequence(sequence)
            return signed_upload(self._state, self._device_id, self._key)

    # ---- What is known ---------------------------------------------------------------------------

    @property
    def device_id(self) -> str:
        return self._device_id

    @property
    def bundle(self) -> Bundle:
        return self._bundle

    @property
    def vector(self) -> np.ndarray:
        """The metapatch [K] float32; a copy."""
        return self._state.current.vector.copy()

    @property
    def gate(self) -> float:
        """What rankings use: 1 the personal model, 0 the cloud's."""
        return self._state.gate

    @property
    def history_size(self) -> int:
        """Interactions in the history."""
        return self._folder.samples.counts()["history"]

    @property
    def opening(self) -> Opening:
        """How the vector came to this bundle."""
        return self._opening

    @property
    def state(self) -> dict[str, Any]:
        """A summary in plain types, for people and JSON."""
        return self._state.summary() | {
            "device_id": self._device_id,
            "opening": self._opening.how,
            "runtime": f"{self._engine.runtime.name} {self._engine.runtime.version}",
            "sequence": self._folder.sequence,
            "profile_unknown": list(self._opening.profile_unknown),
            "has_key": self._key is not None,
            "log": self._folder.samples.counts(),
            "counts": dict(self._counts),
        }

    def prune(self, keep: int) -> None:
        """Forgets all samples but those of the newest `keep` interactions, and the history that nothing needs."""
        if isinstance(keep, bool) or not isinstance(keep, Integral) or keep < 0:
            raise InputError(f"keep: expected a whole number of at least 0, got {keep!r}")
        with self._lock:
            self._folder.samples.prune(int(keep), self._bundle.manifest.history_length)
            self._history = None

    def close(self) -> None:
        """Frees the state folder for others."""
        with self._lock:
            self._folder.close()

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
        vocabulary = self._bundle.vocabulary
        events = interactions(vocabulary, items, labels, skipped, timestamps, now=int(time.time()))
        unknown = int((vocabulary.encode([event.item for event in events]) == vocabulary.out_of_vocabulary).sum())
        with self._lock:
            self._folder.samples.append(events, train)
            self._history = None
            self._counts.update(logged=len(events), unknown_logged=unknown)

    def _enter(self, bundle: Bundle, engine: Engine, profile: Mapping[str, Any] | None, policy: str) -> None:
        """Brings the stored state to a bundle and puts that into use; on an error everything stays as it was."""
        learner = Learner(engine, bundle, self._folder.samples)
        stored = self._folder.state
        state, indices, opening = open_state(learner, stored, profile, policy, self._folder.sequence)
        if opening.how != "resumed" or state.profile != stored.profile:
            self._folder.save(state)
        self._bundle, self._engine, self._learner = bundle, engine, learner
        self._state, self._profile, self._history = state, indices, None
        self._opening = replace(opening, damaged=tuple(self._folder.damaged))

    def _save(self, state: DeviceState) -> None:
        self._folder.save(state)
        self._state = state


def _loaded(bundle: Bundle | str | Path, runtime: str) -> tuple[Bundle, Engine]:
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    return bundle, Engine(load_runtime(bundle.model, runtime), bundle.manifest)
