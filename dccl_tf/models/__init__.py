"""Recommenders by one contract: `logits = model({"history", "candidates", "profile"})` (see `din`)."""

from dccl_tf.models.din import Din, DinConfig

__all__ = ["Din", "DinConfig"]
