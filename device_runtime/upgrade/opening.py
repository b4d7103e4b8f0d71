"""How a device's stored state comes to the bundle that it is opened with: never silently."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np

from device_runtime.bundle.vocabulary import check_profile
from device_runtime.errors import InputError, StateError
from device_runtime.interpreter.engine import Engine
from device_runtime.learning.learner import Learner
from device_runtime.state.device_state import DeviceState

POLICIES = ("rebase", "keep", "reset")


@dataclass(frozen=True)
class Opening:
    """How the vector in use came to its bundle."""

    how: str  # first, resumed, rebase, keep, reset or rollback
    bundle: bytes  # identity of the bundle in use
    previous: bytes = b""  # identity of the bundle before it; empty if there was none
    damaged: tuple[str, ...] = ()  # files of the state folder that were set aside
    profile_unknown: tuple[str, ...] = ()  # given profile fields that the bundle does not know, or not their value
    refused: str = ""  # why the bundle that was given was refused; empty if it was not

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self) | {"bundle": self.bundle.hex(), "previous": self.previous.hex()}


def check_policy(policy: str) -> None:
    """Raises InputError if the policy is not one of `POLICIES`."""
    if not isinstance(policy, str) or policy not in POLICIES:
        raise InputError(f"on_bundle_change: expected {', '.join(POLICIES)}, got {policy!r}")


def open_state(
    learner: Learner, stored: DeviceState | None, profile: Mapping[str, Any] | None, policy: str, sequence: int
) -> tuple[DeviceState, np.ndarray, Opening]:
    """The state to go on with; nothing is stored.

    Args:
      learner: of the bundle in use from now on.
      stored: the state so far; None for a new device, which begins at U(0, u) (Eq. 6) with gate 0.
      profile: raw values; None takes those that are stored.
      policy: for a state of another bundle. "rebase" makes its vector U(vector, u), "keep" leaves it, and either
        way the gate is decided anew on held-out rows; "reset" begins again.
      sequence: number of the newest upload.

    Returns:
      The state, the profile's indices [P] int32, and what happened.

    Raises:
      StateError: the stored vector's length is not this bundle's and the policy is not "reset", or the state claims a
        length that its own bundle does not have.
    """
    bundle = learner.bundle
    raw = _plain(profile) if profile is not None else stored.profile if stored else {}
    fields = bundle.vocabulary.fields  # a stored profile may have fields that another bundle lacks
    indices, unknown = bundle.vocabulary.profile({name: value for name, value in raw.items() if name in fields})
    if profile is not None:
        unknown = [*unknown, *(name for name in raw if name not in fields)]
    if stored is None:
        how, state = "first", _fresh(learner.engine, bundle.identity, indices, sequence)
    elif stored.bundle == bundle.identity:
        _check_length(stored, bundle.manifest.metapatch_length)
        how, state = "resumed", stored
    elif policy == "reset":
        fresh = _fresh(learner.engine, bundle.identity, indices, sequence)
        how, state = policy, replace(fresh, opening=policy, previous_bundle=stored.bundle)
    else:
        how, state = policy, _carried(learner, stored, policy, indices)
    opening = Opening(how, bundle.identity, state.previous_bundle, profile_unknown=tuple(unknown))
    return replace(state, profile=raw), indices, opening


def rolled_back(
    learner: Learner, left: DeviceState, now: DeviceState, sequence: int
) -> tuple[DeviceState, np.ndarray, Opening]:
    """The state in which a device left the bundle that it returns to: vector, optimiser, gate and evidence.

    Args:
      learner: of that bundle.
      left: the state at that time.
      now: the state so far. Its profile stays, as the user's.
      sequence: number of the newest upload.

    Returns:
      As `open_state`.
    """
    _check_length(left, learner.bundle.manifest.metapatch_length)
    state = replace(left, profile=now.profile, sequence=sequence, opening="rollback", previous_bundle=now.bundle)
    state, indices, opening = open_state(learner, state, None, "keep", sequence)
    return state, indices, replace(opening, how="rollback")


def begun_again(learner: Learner, stored: DeviceState, profile: np.ndarray, sequence: int) -> DeviceState:
    """A state at U(0, u) in the bundle in use, whose profile [P] and way back stay as they are."""
    fresh = _fresh(learner.engine, learner.bundle.identity, profile, sequence)
    return replace(fresh, profile=stored.profile, opening="reset", previous_bundle=stored.previous_bundle)


def _check_length(state: DeviceState, expected: int) -> None:
    if len(state.anchor) != expected:
        raise StateError(
            f"state: expected a vector of {expected} floats, as its bundle {state.bundle.hex()[:12]} has, "
            f"got {len(state.anchor)}; open the device with on_bundle_change='reset' on another bundle"
        )


def _fresh(engine: Engine, identity: bytes, profile: np.ndarray, sequence: int) -> DeviceState:
    current = engine.start(profile)
    return DeviceState(identity, current, current.vector, sequence=sequence)


def _carried(learner: Learner, stored: DeviceState, policy: str, profile: np.ndarray) -> DeviceState:
    """A state of another bundle. It counts as untrained in this one, so it is not uploaded before it was trained."""
    expected, got = learner.bundle.manifest.metapatch_length, len(stored.anchor)
    if expected != got:
        raise StateError(
            f"on_bundle_change: expected a vector of {expected} floats for {policy!r}, got {got} from the bundle "
            f"{stored.bundle.hex()[:12]}; use 'reset', which begins again"
        )
    if policy == "rebase":
        current = learner.engine.rebase(stored.current.vector, profile)
        anchor = current.vector
    else:
        current, anchor = stored.current, stored.anchor
    evidence, gate = learner.weigh(current, profile)
    return replace(
        stored,
        bundle=learner.bundle.identity,
        current=current,
        anchor=anchor,
        gate=gate,
        samples=0,
        evidence=evidence,
        opening=policy,
        previous_bundle=stored.bundle,
    )


def _plain(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The profile as JSON can hold it."""
    check_profile(profile)
    return {str(k): int(v) if isinstance(v, Integral) else v for k, v in profile.items() if v is not None}
