"""Recommenders by one contract: `logits = model({"history", "candidates", "profile", "users"})` (see `din`)."""

from dccl_tf.models.deepfm import DeepFm
from dccl_tf.models.din import Din, DinConfig
from dccl_tf.models.fm import Fm
from dccl_tf.models.mf import Mf
from dccl_tf.models.neumf import NeuMf
from dccl_tf.models.sasrec import SasRec

__all__ = ["DeepFm", "Din", "DinConfig", "Fm", "Mf", "NeuMf", "SasRec"]
