"""The personal models f^(m) that teach the cloud (Eq. 5 and 7), rebuilt from vectors as features of a batch.

No personal model is ever loaded: the vectors are a table, a batch looks its users' rows up, and one graph computes
every teacher (the paper's point below Eq. 5). A packed row belongs to one user, so its patch is built once for all its
samples. Teachers are those of the model that their vectors were trained on, not of the current one: vectors of several
bundles make several groups, each with its own cloud model.

teachers = personal_models([Uploads(cloud, store.newest(bundle.identity))], users=len(log.users))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf
from absl import logging

from dccl_tf.cloud_model import CloudModel
from dccl_tf.losses import bernoulli_kl, cross_entropy
from dccl_tf.real_devices import owners_of
from dccl_tf.trainer import Batch
from dccl_tf.trust import Trust
from dccl_tf.vectors import UploadedVectors


class PersonalModels(Protocol):
    """What teaches: `Teachers` of one bundle, or `TeacherGroups` of several."""

    @property
    def clouds(self) -> tuple[CloudModel, ...]:
        """The models that the vectors were trained on."""
        ...

    def theta(self, batch: Batch) -> tf.Tensor:
        """The vectors [B, K] of the batch's users, 0 for those without one, if all bundles have one K."""
        ...

    def logits(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """The teachers' logits [B, S, C], and how much they count, [B, 1, 1] or [B, S, C]; 0 without a vector."""
        ...

    def divergence(self, batch: Batch, logits: tf.Tensor) -> tf.Tensor:
        """KL(teacher || logits) of each sample [B, S, C]; 0 for users without a vector."""
        ...


class _Divergence:
    """What both kinds share."""

    def divergence(self, batch: Batch, logits: tf.Tensor) -> tf.Tensor:
        teacher, weight = self.logits(batch)
        return weight * bernoulli_kl(teacher, logits)


class Teachers(_Divergence):
    """The personal models of one bundle: its cloud model and its devices' vectors."""

    def __init__(
        self,
        cloud: CloudModel,
        vectors: np.ndarray,
        known: np.ndarray,
        *,
        items: np.ndarray | None = None,
        confidence: bool = False,
    ) -> None:
        """Args:
        cloud: the model as it was when the bundle was exported; nothing trains it.
        vectors: [U, K] float32, one row a user; anything where there is none.
        known: [U] bool, whose vector has been uploaded.
        items: int32 [V + 2], from item numbers of the batches to those of `cloud`; None: they are the same.
        confidence: weigh each sample by the teacher's own answer (`trust`).

        Raises:
          ValueError: a shape does not fit, or there is no vector at all.
        """
        expected = (len(known), cloud.metapatch.length)
        if vectors.shape != expected:
            raise ValueError(f"vectors: expected shape {expected}, got {vectors.shape}")
        if not known.any():
            raise ValueError("known: expected at least one valid vector, got none; keep the current bundle")
        self.cloud = cloud
        self._items, self._confidence = items, confidence
        self._vectors = tf.constant(np.where(known[:, None], vectors, 0.0), tf.float32)
        self._known = tf.constant(known, tf.float32)

    @property
    def clouds(self) -> tuple[CloudModel, ...]:
        return (self.cloud,)

    def theta(self, batch: Batch) -> tf.Tensor:
        return tf.gather(self._vectors, batch["users"])

    def logits(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        known = tf.gather(self._known, batch["users"])[:, None, None]
        batch = self._as_its_own(batch)
        if self._items is not None:
            batch = batch | {name: tf.gather(self._items, batch[name]) for name in ("history", "candidates")}
        if not self._confidence:
            return self.cloud(batch, theta=self.theta(batch)), known
        shared, own = self.cloud.shared_and_personal(batch, self.theta(batch))
        lost = cross_entropy(own, batch["targets"]) - cross_entropy(shared, batch["targets"])
        return own, known * tf.exp(-tf.nn.relu(lost))

    def _as_its_own(self, batch: Batch) -> Batch:
        """The batch with histories of the teacher's T: the newest items of longer ones, zeros before shorter ones."""
        missing = self.cloud.din.config.history_length + batch["candidates"].shape[1] - 1 - batch["history"].shape[1]
        if not missing:
            return batch
        own = {name: batch[name] for name in ("history", "history_labels") if name in batch}
        own = {k: tf.pad(v, [[0, 0], [missing, 0]]) if missing > 0 else v[:, -missing:] for k, v in own.items()}
        return batch | own


class TeacherGroups(_Divergence):
    """The personal models of several bundles; each row of a batch meets its own group alone."""

    def __init__(self, groups: Sequence[Teachers], group: np.ndarray) -> None:
        """Args:
        groups: one for each bundle.
        group: int [U], the number of each user's group; -1 for users without a vector.
        """
        self._groups, self._group = tuple(groups), tf.constant(group, tf.int32)

    @property
    def clouds(self) -> tuple[CloudModel, ...]:
        return tuple(group.cloud for group in self._groups)

    def theta(self, batch: Batch) -> tf.Tensor:
        number = tf.gather(self._group, batch["users"])[:, None]
        return tf.add_n([tf.where(number == i, group.theta(batch), 0.0) for i, group in enumerate(self._groups)])

    def logits(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        number = tf.gather(self._group, batch["users"])
        logits = weights = tf.zeros(tf.shape(batch["candidates"]))
        for index, group in enumerate(self._groups):
            rows = tf.where(number == index)  # [b, 1]
            taught, weight = group.logits({name: tf.gather(value, rows[:, 0]) for name, value in batch.items()})
            logits = tf.tensor_scatter_nd_update(logits, rows, taught)
            weights = tf.tensor_scatter_nd_update(weights, rows, tf.broadcast_to(weight, tf.shape(taught)))
        return tf.ensure_shape(logits, batch["candidates"].shape), tf.ensure_shape(weights, batch["candidates"].shape)


@dataclass(frozen=True)
class Uploads:
    """One bundle's newest vectors and the model that they were trained on."""

    cloud: CloudModel
    uploaded: UploadedVectors
    items: np.ndarray | None = None  # as for `Teachers`


def personal_models(sources: Sequence[Uploads], users: int, trust: Trust | None = None) -> PersonalModels:
    """The teachers of one or several bundles. A device with vectors of several bundles counts by its newest upload.

    Args:
      sources: of each bundle, the oldest first.
      users: U. Devices that name none of the users 0 to U - 1 are left out, with a warning.
      trust: which vectors teach, and how much.

    Raises:
      ValueError: there is no vector at all.
    """
    trust = trust or Trust()
    tables = [_Table.of(source, users, trust) for source in sources]
    last_first = [table.sequences for table in reversed(tables)]  # of two alike the newer bundle's
    newest = len(tables) - 1 - np.argmax(last_first, axis=0)  # [U], number of a bundle
    group, groups = np.full(users, -1), []
    for number, (source, table) in enumerate(zip(sources, tables, strict=True)):
        known = (newest == number) & table.heard
        if known.any():
            group[known] = len(groups)
            own = {"items": source.items, "confidence": trust.confidence}
            groups.append(Teachers(source.cloud, table.vectors, known, **own))
    if not groups:
        raise ValueError("sources: expected at least one vector to learn from, got none; keep the current bundle")
    return groups[0] if len(groups) == 1 else TeacherGroups(groups, group)


@dataclass(frozen=True)
class _Table:
    """One bundle's vectors by user."""

    vectors: np.ndarray  # [U, K]
    sequences: np.ndarray  # [U] number of the upload, -1 where there is none
    heard: np.ndarray  # [U] bool, whether the vector teaches

    @classmethod
    def of(cls, source: Uploads, users: int, trust: Trust) -> "_Table":
        uploaded, length = source.uploaded, source.cloud.metapatch.length
        if len(uploaded) and uploaded.vectors.shape[1] != length:
            raise ValueError(f"sources: expected vectors of {length} floats, got {uploaded.vectors.shape[1]}")
        owners = owners_of(uploaded.device_ids, users)
        vectors, heard = trust.applied(uploaded)
        strangers, unheard = int((owners < 0).sum()), int((~heard).sum())
        if strangers or unheard:
            logging.warning(
                "Of %d vectors %d belong to no user of the log and %d are not trusted: they teach nothing",
                *(len(owners), strangers, unheard),
            )
        table = cls(np.zeros((users, length), np.float32), np.full(users, -1), np.zeros(users, bool))
        if len(real := np.flatnonzero(owners >= 0)):
            table.vectors[owners[real]] = vectors[real]
            table.sequences[owners[real]] = uploaded.sequences[real]
            table.heard[owners[real]] = heard[real]
        return table


def refuse_own_student(teachers: PersonalModels | None, student: CloudModel) -> None:
    """Raises ValueError if a teacher is made of the student's own weights, which are about to change."""
    if teachers and any(cloud is student for cloud in teachers.clouds):
        raise ValueError("teachers: expected a model of their own (cloud.copy()), got the student itself")
