"""How well a cloud model, or each user's personal model, recommends: the two protocols of docs/evaluation.md.

`next` asks for each user's held-out item among 100 items that the user never touched (Section 4.2.1), and among
all of them. `liked` asks which of the items that the user met were liked: true negatives, Eq. 8's macro-AUC.
An evaluator is made once from the log and judges any number of models on the same users, items and negatives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf
from absl import logging

from dccl_tf.data.batches import point_rows
from dccl_tf.data.negatives import NegativeSampler
from dccl_tf.data.schema import InteractionLog, Span
from dccl_tf.data.synthetic import Oracle
from dccl_tf.metrics import NotANumberError, group_auc, hit_rate, log_loss, ndcg, user_auc
from dccl_tf.training_data import TrainingData

UserValues = dict[str, np.ndarray]  # metric -> [U], NaN for users that it does not count

HIT_RATES, NDCGS = (1, 5, 10), (5, 10)
FULL_RANKING_PAIRS = 400_000  # pairs of user and item scored at once
MOST_FULL_RANKING_PAIRS = 50_000_000  # in all: a minute or two a model on 2 cores


@dataclass(frozen=True)
class Vectors:
    """What makes models personal: a metapatch and a gate for each user."""

    theta: np.ndarray  # [U, K]
    gates: np.ndarray  # [U]


class Scorer(Protocol):
    """What can be judged: a `CloudModel`, with or without vectors, or a baseline."""

    @property
    def logits(self) -> Callable[..., tf.Tensor]:
        """Inputs of the model contract (and, of a `CloudModel`, vectors and gates) to logits, compiled."""
        ...


class Evaluator(Protocol):
    """Judges a model on a fixed set of users and items."""

    selection_metric: str  # the one by which training chooses its best epoch

    def __call__(self, cloud: Scorer, vectors: Vectors | None = None) -> UserValues:
        """Every metric, user by user."""
        ...


def validation(judge: Evaluator, cloud: Scorer, vectors: Vectors | None = None) -> float:
    """What training stops by: the mean over users of the judge's selection metric, higher is better; NaN for a model
    whose logits are no numbers any more, which training refuses."""
    try:
        return float(np.nanmean(judge(cloud, vectors)[judge.selection_metric]))
    except NotANumberError:
        return float("nan")


class NextEvaluator:
    """Protocol `next`: the item at one position of each user's sequence against items never touched."""

    selection_metric = "ndcg@10/neg100"

    def __init__(
        self,
        log: InteractionLog,
        span: Span,
        history_length: int,
        *,
        negatives: int = 100,
        seed: int = 0,
        full: bool = False,
        users_at_once: int = 256,
    ) -> None:
        """Args:
        log: all interactions; negatives avoid every item that the user ever touches.
        span: one position a user, the item to find; users with an empty span are left out, and so are, with a
          warning, those who have touched too many items to leave as many competitors.
        history_length: T.
        negatives: number of items that the true one competes with.
        seed: of the negatives.
        full: also rank against all untouched items; where that is more than `MOST_FULL_RANKING_PAIRS`, for a random
          sample of the users, the same for every model and seed.
        users_at_once: users of one batch.

        Raises:
          ValueError: there is no user to judge.
        """
        self.log, self.users_at_once = log, users_at_once
        sampler = NegativeSampler(log)
        self.users = _with_competitors(sampler, _judged(span), negatives, len(log.catalogue))
        self.positions = positions = span.start[self.users]
        self.history = point_rows(log, self.users, positions, history_length)[0]
        self.positives = log.items[log.offsets[self.users] + positions]
        drawn = sampler.draw_distinct(self.users, negatives, seed)
        self.candidates = np.concatenate([self.positives[:, None], drawn], axis=1).astype(np.int32)
        self.among_all = _sample(len(self.users), len(log.catalogue)) if full else np.zeros(0, np.int64)

    def __call__(self, cloud: Scorer, vectors: Vectors | None = None) -> UserValues:
        parts = _parts(len(self.users), self.users_at_once)
        values = [_ranking(self._scores(cloud, vectors, part, self.candidates[part]), "neg100") for part in parts]
        found = self._for_all(values, self.users)
        if len(self.among_all):
            parts = [self.among_all[few] for few in _parts(len(self.among_all), self._users_among_all)]
            found |= self._for_all([self._full(cloud, vectors, part) for part in parts], self.users[self.among_all])
        return found

    def of_oracle(self, oracle: Oracle) -> UserValues:
        """What the true preferences of a synthetic log would reach."""
        scores = oracle.logits(self.users, self.positions, self.candidates)
        return self._for_all([_ranking(scores, "neg100")], self.users)

    def logits(self, cloud: Scorer, vectors: Vectors | None, users: np.ndarray) -> np.ndarray:
        """Scores [len(users), V] of items 1..V for some of the evaluator's users."""
        everything = np.arange(1, len(self.log.catalogue) + 1, dtype=np.int32)
        part, at_once = np.searchsorted(self.users, users), self._users_among_all
        scores = [
            self._scores(cloud, vectors, part[few], np.broadcast_to(everything, (len(few), len(everything))), at_once)
            for few in _parts(len(part), at_once)
        ]
        return np.concatenate(scores)

    @property
    def _users_among_all(self) -> int:
        """Users of one batch with all items for candidates."""
        return min(self.users_at_once, max(1, FULL_RANKING_PAIRS // len(self.log.catalogue)))

    def _scores(
        self,
        cloud: Scorer,
        vectors: Vectors | None,
        part: np.ndarray,
        candidates: np.ndarray,
        at_once: int | None = None,
    ) -> np.ndarray:
        users = self.users[part].astype(np.int32)
        batch = {
            "history": self.history[part],
            "candidates": candidates,
            "profile": self.log.users.profile[users],
            "users": users,
        }
        return _score(cloud, batch, vectors, at_once or self.users_at_once)

    def _full(self, cloud: Scorer, vectors: Vectors | None, part: np.ndarray) -> UserValues:
        """Metrics of some users' items among all that they never touched."""
        items = np.arange(1, len(self.log.catalogue) + 1, dtype=np.int32)
        among_all = np.broadcast_to(items, (len(part), len(items)))
        scores = self._scores(cloud, vectors, part, among_all, self._users_among_all)
        positive = np.take_along_axis(scores, self.positives[part, None] - 1, axis=1)
        untouched = np.ones_like(scores, bool)
        for row, user in enumerate(self.users[part]):
            untouched[row, self.log.items[self.log.offsets[user] : self.log.offsets[user + 1]] - 1] = False
        where = np.concatenate([np.ones_like(positive, bool), untouched], axis=1)
        return _ranking(np.concatenate([positive, scores], axis=1), "full", where)

    def _for_all(self, parts: list[UserValues], users: np.ndarray) -> UserValues:
        """Values of some users, part by part, as values of all users."""
        everyone = {name: np.full(len(self.log.users), np.nan) for name in parts[0]}
        for name, values in everyone.items():
            values[users] = np.concatenate([part[name] for part in parts])
        return everyone


class LikedEvaluator:
    """Protocol `liked`: which items of a span did the user like? Each is judged with what came before as history."""

    selection_metric = "neg_log_loss/liked"

    def __init__(self, log: InteractionLog, span: Span, history_length: int) -> None:
        _judged(span)
        self.log = log
        self.data = TrainingData(log, span, "liked", history_length)

    def __call__(self, cloud: Scorer, vectors: Vectors | None = None) -> UserValues:
        return self._values(*self.logits(cloud, vectors))

    def of_oracle(self, oracle: Oracle) -> UserValues:
        """What the true preferences of a synthetic log would reach."""
        span = self.data.span
        users = np.repeat(np.arange(len(self.log.users)), span.lengths)
        positions = np.concatenate([np.arange(a, b) for a, b in zip(span.start, span.stop, strict=True)])
        places = self.log.offsets[users] + positions
        logits = oracle.logits(users, positions, self.log.items[places][:, None])[:, 0]
        return self._values(users, self.log.labels[places], logits)

    def _values(self, users: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> UserValues:
        count = len(self.log.users)
        sizes = np.bincount(users, minlength=count)
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: users without items do not count
            mean_loss = np.bincount(users, weights=log_loss(labels, logits), minlength=count) / sizes
        auc = user_auc(users, labels, logits, count)
        return {
            "macro_auc/liked": auc,
            "group_auc/liked": group_auc(auc, sizes),
            "log_loss/liked": mean_loss,
            "neg_log_loss/liked": -mean_loss,
        }

    def logits(self, cloud: Scorer, vectors: Vectors | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Users, labels and logits of every judged item, each [N], user by user and oldest first."""
        users, labels, logits = [], [], []
        for batch in self.data.in_order(0):
            real = batch["weights"] > 0  # [B, S]
            users.append(np.broadcast_to(batch["users"][:, None], real.shape)[real])
            labels.append(batch["targets"][..., 0][real])
            logits.append(_score(cloud, batch, vectors, len(real))[..., 0][real])
        return np.concatenate(users), np.concatenate(labels), np.concatenate(logits)


def _judged(span: Span) -> np.ndarray:
    """The users who have something to judge by."""
    users = np.flatnonzero(span.stop > span.start)
    if not len(users):
        raise ValueError(
            "split: expected users with held-out interactions, got none; it takes at least 3 interactions to be "
            "learned, validated and tested"
        )
    return users


def _with_competitors(sampler: NegativeSampler, users: np.ndarray, negatives: int, items: int) -> np.ndarray:
    """Those of the users who have not touched so many items, of V = `items`."""
    enough = sampler.available[users] >= negatives
    if not enough.any():
        raise ValueError(
            f"negatives: expected users with {negatives} items that they have not touched, beside the one to find, "
            f"got none of {len(users)}, with {items} items in all; judge by protocol liked, or bring more"
        )
    if not enough.all():
        logging.warning(
            "%d of %d users are not judged: they have touched all but fewer than %d of the %d items",
            (~enough).sum(), len(users), negatives, items,
        )  # fmt: skip
    return users[enough]


def _sample(users: int, items: int) -> np.ndarray:
    """The users, of so many, who are ranked among all items."""
    most = max(1, MOST_FULL_RANKING_PAIRS // items)
    if users <= most:
        return np.arange(users)
    logging.info("Of %d users a random %d are ranked among all %d items (full)", users, most, items)
    return np.sort(np.random.default_rng(0).choice(users, most, replace=False))


def _ranking(scores: np.ndarray, name: str, where: np.ndarray | None = None) -> UserValues:
    """Hit rates and NDCGs [N] of the item in column 0 of `scores` [N, C]."""
    metrics = {f"hr@{k}/{name}": hit_rate(scores, k, where) for k in HIT_RATES}
    return metrics | {f"ndcg@{k}/{name}": ndcg(scores, k, where) for k in NDCGS}


def _parts(count: int, size: int) -> list[np.ndarray]:
    return [np.arange(i, min(i + size, count)) for i in range(0, count, size)]


def _score(cloud: Scorer, batch: dict[str, np.ndarray], vectors: Vectors | None, rows: int) -> np.ndarray:
    """Logits of a batch, filled up to `rows` so that one compiled program serves every part."""
    count = len(batch["users"])
    fill = np.minimum(np.arange(max(rows, count)), count - 1)
    inputs = {name: batch[name][fill] for name in ("history", "candidates", "profile", "users")}
    if "history_labels" in batch:
        inputs["history_labels"] = batch["history_labels"][fill]
    if vectors is None:
        return cloud.logits(inputs).numpy()[:count]
    users = batch["users"][fill]
    return cloud.logits(inputs, vectors.theta[users], vectors.gates[users]).numpy()[:count]
