"""The shape of data that every loader returns and everything downstream reads.

Items are 1..V in model ids; 0 is padding and V + 1 is the one out-of-vocabulary id. Users are 0..U-1.
Interactions of all users lie in flat columns, user after user, each user's oldest first; ties in time keep
the order of the log. `offsets[u]:offsets[u + 1]` are user u's.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from device_runtime.bundle.vocabulary import first_repeated


@dataclass(frozen=True)
class ProfileField:
    """One categorical column of the users' profile; index 0 is "unknown", `values[i]` has index i + 1."""

    name: str
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (twice := first_repeated(self.values)) is not None:  # a device knows values by name alone
            raise ValueError(f"values: expected each once in the profile field {self.name!r}, got {twice!r} again")

    @property
    def size(self) -> int:
        """Number of indices, the unknown one included."""
        return len(self.values) + 1


@dataclass(frozen=True)
class Users:
    """Who the users are. A log without profiles has one field "none" that is 0 for everybody."""

    ids: np.ndarray  # [U] int64 or str: ids in the log
    profile: np.ndarray  # [U, P] int32
    fields: tuple[ProfileField, ...]  # P
    numbers: np.ndarray | None = None  # [U] int64, in the log of which these users are a part; None: they are all

    def __len__(self) -> int:
        return len(self.ids)

    def with_ids(self) -> "Users":
        """The same, with who the user is as one more field of the profile: for models that embed user ids."""
        number = np.arange(1, len(self) + 1, dtype=np.int32)
        profile = np.concatenate([self.profile, number[:, None]], axis=1)
        return replace(self, profile=profile, fields=(*self.fields, ProfileField("user_id", tuple(map(str, self.ids)))))


@dataclass(frozen=True)
class Catalogue:
    """What the items are. Row 0 (padding) and row V + 1 (out of vocabulary) of `categories` are all 0."""

    ids: np.ndarray  # [V] int64 or str: ids in the log of model ids 1..V
    categories: np.ndarray  # [V + 2, M] int32: up to M categories an item, filled from the left, 0 = none
    category_names: tuple[str, ...]  # names of categories 1..G
    titles: tuple[str, ...] = ()  # [V] for people; empty where the log has none

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def out_of_vocabulary(self) -> int:
        return len(self.ids) + 1


@dataclass(frozen=True)
class InteractionLog:
    """All interactions, sorted by user and, within a user, by time."""

    items: np.ndarray  # [N] int32, 1..V
    timestamps: np.ndarray  # [N] int64, seconds or any monotone clock
    labels: np.ndarray | None  # [N] int8, 1 = liked or clicked, 0 = not; None: every interaction is positive
    offsets: np.ndarray  # [U + 1] int64
    users: Users
    catalogue: Catalogue
    counts: dict[str, int] = field(default_factory=dict)  # what loading read, kept and left out, and why
    source: str = ""  # where the log came from and its licence, for people
    shared_clock: bool = True  # False: a timestamp orders its own user's interactions alone

    def __post_init__(self) -> None:
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.items) or len(self.offsets) != len(self.users) + 1:
            raise ValueError(
                f"offsets: expected {len(self.users) + 1} values from 0 to {len(self.items)}, "
                f"got {len(self.offsets)} from {self.offsets[0]} to {self.offsets[-1]}"
            )

    @property
    def lengths(self) -> np.ndarray:
        """Interactions of each user, [U]."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """Whose interaction each is, [N] int64."""
        return np.repeat(np.arange(len(self.users)), self.lengths)

    @cached_property
    def touched(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Every pair of a user and an item that met: owners, items and the position of their first meeting.

        Three int64 arrays, sorted by user and then by item.
        """
        owners = self.owners
        pairs, index = np.unique(owners * (len(self.catalogue) + 1) + self.items, return_index=True)
        whose = owners[index]
        return whose, pairs - whose * (len(self.catalogue) + 1), index - self.offsets[whose]


@dataclass(frozen=True)
class Span:
    """For each user the positions `start:stop` of the own sequence (0 = oldest) that a phase may learn from
    or is judged on. What lies before a position is its history, whichever span it belongs to."""

    start: np.ndarray  # [U] int64
    stop: np.ndarray  # [U] int64

    @property
    def lengths(self) -> np.ndarray:
        """Positions of each user [U]."""
        return np.maximum(self.stop - self.start, 0)

    def __len__(self) -> int:
        """Positions of all users together."""
        return int(self.lengths.sum())


@dataclass(frozen=True)
class Split:
    """The phases of Algorithm 1: pretraining, rounds of device-cloud collaboration, validation, test."""

    pretrain: Span
    rounds: tuple[Span, ...]
    valid: Span
    test: Span
    counts: dict[str, int] = field(default_factory=dict)  # positions of each phase, users who have none in it

    @property
    def identity(self) -> str:
        """A few digits of a SHA-256, by which one split of a log is told from another."""
        digest = hashlib.sha256()
        for span in (self.pretrain, *self.rounds, self.valid, self.test):
            digest.update(np.stack([span.start, span.stop]).astype(np.int64).tobytes())
        return digest.hexdigest()[:16]
