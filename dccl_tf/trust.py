"""How far uploaded vectors are trusted as teachers: some phones are broken, and some lie.

`Ingest` has refused what no phone would send. What passes may still be noise, or meant to harm. Three defences, each by
itself or together:

- `norm_clip`: no vector is further from the population's median than a few times what is usual; one that is moves back
  onto that bound. It needs nothing but the vectors, and stops a few from being teachers of their own size.
- `least_gain`: a device teaches only if its vector won by so much on held-out clicks. The devices report that
  themselves; where the cloud has the clicks too, `replayed` puts its own figures in place of theirs.
- `confidence`: in each sample a teacher weighs min(1, p(label | teacher) / p(label | its cloud model)): where its
  vector makes the answer worse, it is heard less. No device can forge that.

The loss bounds what is left: the gradient of a sample's KL is a difference of two probabilities, so a teacher moves a
logit by at most beta, however large its vector is (docs/trainer.md has the measurements).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dccl_tf import fleet
from dccl_tf.cloud_model import CloudModel
from dccl_tf.fleet import FleetConfig
from dccl_tf.real_devices import owners_of
from dccl_tf.training_data import TrainingData
from dccl_tf.vectors import UploadedVectors


@dataclass(frozen=True)
class Trust:
    """Which defences are on; all are off by default."""

    norm_clip: float = 0.0  # largest distance from the median vector, in median distances; 0: any
    least_gain: float | None = None  # nats of held-out log loss that a vector must have won by; None: any
    confidence: bool = False

    def __post_init__(self) -> None:
        if self.norm_clip != 0.0 and not 1.0 <= self.norm_clip < float("inf"):
            raise ValueError(f"norm_clip: expected 0 (off) or at least 1, got {self.norm_clip}")
        if self.least_gain is not None and not np.isfinite(self.least_gain):
            raise ValueError(f"least_gain: expected a finite number of nats or None (off), got {self.least_gain}")

    def applied(self, uploaded: UploadedVectors) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [M, K] float32 as they may teach, and bool [M], which of them do."""
        vectors = clipped(uploaded.vectors, self.norm_clip) if self.norm_clip else uploaded.vectors
        if self.least_gain is None:
            return vectors, np.ones(len(uploaded), bool)
        with np.errstate(invalid="ignore"):  # NaN: the device held nothing out, so nothing speaks for its vector
            return vectors, uploaded.cloud_loss - uploaded.personal_loss >= self.least_gain


def clipped(vectors: np.ndarray, bound: float) -> np.ndarray:
    """Vectors [M, K], those beyond `bound` median distances from the median vector moved back onto that distance.

    Medians, of each float and of the distances, so that what fewer than half of the devices send moves neither far.
    """
    if not len(vectors):
        return vectors
    centre = np.median(vectors, axis=0)
    distances = np.linalg.norm(vectors.astype(np.float64) - centre, axis=1)
    largest = bound * np.median(distances)
    share = np.minimum(1.0, largest / np.maximum(distances, 1e-12))
    moved = centre + (vectors - centre) * share[:, None]
    return np.where(distances[:, None] > largest, moved, vectors).astype(np.float32)


def replayed(
    uploaded: UploadedVectors, cloud: CloudModel, data: Sequence[TrainingData], config: FleetConfig
) -> UploadedVectors:
    """The same uploads, with held-out losses that the cloud has found itself, on what each device held out.

    Args:
      uploaded: of M devices; those of no user of the log have no losses (NaN).
      cloud: the model that the vectors were trained on.
      data: the samples that devices had logged, phase by phase, oldest first.
      config: how devices train; what share they hold out.
    """
    users = len(data[0].log.users)
    owners = owners_of(uploaded.device_ids, users)
    vectors = np.zeros((users, cloud.metapatch.length), np.float32)
    vectors[owners[owners >= 0]] = uploaded.vectors[owners >= 0]
    found = fleet.personalize(cloud, data, replace(config, epochs=0), start=vectors)
    cloud_loss, personal_loss = (
        np.where(owners >= 0, loss[owners], np.nan) for loss in (found.cloud_loss, found.personal_loss)
    )
    return replace(uploaded, cloud_loss=cloud_loss, personal_loss=personal_loss)
