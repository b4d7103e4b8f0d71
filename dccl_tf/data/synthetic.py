"""Made-up users whose true preference is known, so that an oracle's score can stand beside a model's.

Items have a vector near the mean of their categories' and a popularity with a long tail. A user's taste is a unit
vector: the profile's part and a personal part, which turns towards another taste from interaction to interaction.
The preference s = strength * <taste, item> + popularity decides what is met next (chance proportional to exp(s), no
item twice) and whether it is liked (chance sigmoid(s - the median of what is met)). Histories have a long tail too.
"""

from dataclasses import dataclass

import numpy as np

from dccl_tf.data.schema import Catalogue, InteractionLog, ProfileField, Users
from dccl_tf.data.sequences import sorted_log

WIDTH = 8
STRENGTH = 3.0
SHORTEST = 8  # interactions of the shortest histories
TAIL = 1.2  # of the lengths: standard deviation of their logarithm
_REGIONS = ("north", "east", "south", "west")
_AGES = ("under 25", "25-39", "40-59", "60 and over")
_KINDS = (
    "action",
    "art",
    "comedy",
    "cooking",
    "drama",
    "history",
    "music",
    "nature",
    "science",
    "sport",
    "travel",
    "war",
)
_DAY = 86_400


@dataclass(frozen=True)
class Oracle:
    """The true preferences of a synthetic log."""

    tastes: np.ndarray  # [U, D] unit vectors: at the first interaction
    turned: np.ndarray  # [U, D] unit vectors, orthogonal to `tastes`: what they turn towards
    drift: float  # radians an interaction
    items: np.ndarray  # [V + 2, D], zeros for padding and out of vocabulary
    popularity: np.ndarray  # [V + 2]
    middle: float  # preference of an item that is liked as often as not

    def logits(self, users: np.ndarray, positions: np.ndarray, items: np.ndarray) -> np.ndarray:
        """True preferences: log odds of being liked, and, up to a constant for each row, the log of the chance to
        be met next.

        Args:
          users: int [N].
          positions: int [N] in those users' sequences.
          items: int [N, C] model ids.

        Returns:
          float64 [N, C].
        """
        taste = self._taste(np.asarray(users), np.asarray(positions))
        return STRENGTH * np.einsum("nd,ncd->nc", taste, self.items[items]) + self.popularity[items] - self.middle

    def _taste(self, users: np.ndarray, positions: np.ndarray) -> np.ndarray:
        angle = self.drift * positions[:, None]
        return np.cos(angle) * self.tastes[users] + np.sin(angle) * self.turned[users]


def synthetic_log(
    seed: int = 0,
    *,
    users: int = 1000,
    items: int = 800,
    categories: int = 8,
    mean_length: float = 40.0,
    shortest: int = SHORTEST,
    longest: int = 300,
    drift: float = 0.03,
) -> tuple[InteractionLog, Oracle]:
    """Makes a log, the same for the same arguments.

    Args:
      seed: of everything.
      users: U.
      items: V.
      categories: G, at most 12; an item has one or two.
      mean_length: about the mean number of interactions of a user.
      shortest: interactions of the shortest histories.
      longest: bound of the longest; at most half of the items.
      drift: radians by which a taste turns at each interaction; after pi / 2 / drift of them it is another.

    Returns:
      The log, with labels, and its oracle.

    Raises:
      ValueError: numbers that do not fit together.
    """
    if users < 1 or items < 4 or not 1 <= categories <= len(_KINDS):
        raise ValueError(
            f"users, items, categories: expected at least 1, at least 4 and 1 to {len(_KINDS)}, "
            f"got {users}, {items} and {categories}"
        )
    if seed < 0 or not np.isfinite(drift):
        raise ValueError(f"seed, drift: expected 0 or more and a finite number, got {seed} and {drift}")
    longest = min(longest, items // 2)
    if not 1 <= shortest <= longest:
        raise ValueError(
            f"shortest, longest: expected 1 <= shortest <= longest <= items / 2, got {shortest} and {longest}"
        )
    random = np.random.default_rng(seed)
    catalogue, vectors, popularity = _items(random, items, categories)
    people, tastes, turned = _people(random, users)
    tail = random.lognormal(-0.5 * TAIL**2, TAIL, users)  # mean 1
    lengths = np.minimum(shortest + (tail * max(mean_length - shortest, 0)).astype(int), longest)
    oracle = Oracle(tastes, turned, drift, vectors, popularity, middle=0.0)
    met = _sequences(random, oracle, lengths)  # [U, longest]
    owners, positions = np.nonzero(met)
    chosen = met[owners, positions]
    preference = oracle.logits(owners, positions, chosen[:, None])[:, 0]
    middle = float(np.median(preference))
    labels = random.random(len(chosen)) < 1 / (1 + np.exp(middle - preference))
    first = random.integers(0, 300 * _DAY, users)
    gaps = np.ceil(random.exponential(_DAY, met.shape)).astype(np.int64)
    log = sorted_log(
        owners,
        chosen,
        1_600_000_000 + first[owners] + np.cumsum(gaps, axis=1)[owners, positions],
        labels,
        users=people,
        catalogue=catalogue,
        counts={"interactions": len(chosen), "interactions_liked": int(labels.sum()), "users": users, "items": items},
        source=f"made up, seed {seed}",
    )
    return log, Oracle(tastes, turned, drift, vectors, popularity, middle)


def _items(random: np.random.Generator, count: int, categories: int) -> tuple[Catalogue, np.ndarray, np.ndarray]:
    """The catalogue, and vectors [V + 2, D] and popularity [V + 2]."""
    centres = _unit(random.normal(size=(categories + 1, WIDTH)))
    belongs = np.zeros((count + 2, 2), np.int32)
    belongs[1:-1, 0] = random.integers(1, categories + 1, count)
    second = random.integers(1, categories + 1, count)
    belongs[1:-1, 1] = np.where((random.random(count) < 0.3) & (second != belongs[1:-1, 0]), second, 0)
    weight = (belongs > 0)[..., None]
    mean = (centres[belongs] * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    vectors = _unit(mean + 0.25 * random.normal(size=mean.shape))
    vectors[[0, -1]] = 0.0
    popularity = np.zeros(count + 2)
    popularity[1:-1] = -0.8 * np.log(random.permutation(count) + 1.0)  # Zipf's law, exponent 0.8
    popularity[1:-1] -= popularity[1:-1].mean()
    titles = tuple(f"{_KINDS[kind - 1]} {number}" for number, kind in enumerate(belongs[1:-1, 0], start=1))
    return Catalogue(np.arange(1, count + 1), belongs, _KINDS[:categories], titles), vectors, popularity


def _people(random: np.random.Generator, count: int) -> tuple[Users, np.ndarray, np.ndarray]:
    """The users, and the two orthogonal tastes [U, D] of each between which they turn."""
    fields = (ProfileField("region", _REGIONS), ProfileField("age", _AGES))
    profile = np.stack([random.integers(0, field.size, count) for field in fields], axis=1).astype(np.int32)
    shared = sum(
        random.normal(size=(field.size, WIDTH))[column] for field, column in zip(fields, profile.T, strict=True)
    )
    tastes = _unit(shared + 1.2 * random.normal(size=(count, WIDTH)))
    turned = random.normal(size=(count, WIDTH))
    turned = _unit(turned - (turned * tastes).sum(axis=1, keepdims=True) * tastes)
    return Users(np.arange(1, count + 1), profile, fields), tastes, turned


def _sequences(random: np.random.Generator, oracle: Oracle, lengths: np.ndarray) -> np.ndarray:
    """Items that each user meets, oldest first, [U, longest], 0 after the end. The largest of preferences with
    Gumbel noise is a draw proportional to exp(preference)."""
    met = np.zeros((len(lengths), lengths.max()), np.int64)
    everything = np.arange(1, len(oracle.items) - 1)
    fresh = np.ones((len(lengths), len(everything)), bool)
    for position in range(lengths.max()):
        active = np.flatnonzero(lengths > position)
        taste = oracle._taste(active, np.full(len(active), position))
        preference = STRENGTH * taste @ oracle.items[everything].T + oracle.popularity[everything]
        preference += random.gumbel(size=preference.shape)
        preference[~fresh[active]] = -np.inf
        chosen = preference.argmax(axis=1)
        met[active, position] = everything[chosen]
        fresh[active, chosen] = False
    return met


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
