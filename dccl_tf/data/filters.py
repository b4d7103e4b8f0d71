"""Leaving out users and items that were seen too rarely; what is left out is counted.

Appendix A.1 keeps users and items with at least 8 interactions of Amazon, 20 of MovieLens-1M and 50 of Taobao.
"""

from dataclasses import replace

import numpy as np
from absl import logging

from dccl_tf.data.schema import Catalogue, InteractionLog, Users


def filter_log(log: InteractionLog, min_user_interactions: int = 1, min_item_interactions: int = 1) -> InteractionLog:
    """Drops users and items with too few interactions until every one that is left has enough.

    With only `min_user_interactions` it is a filter of minimum history; with both it is the k-core. Repeated
    interactions count each time. Model ids are given anew, in the same order; categories and profile values that
    nobody has any more keep their numbers.

    Args:
      log: all interactions.
      min_user_interactions: of each user that is kept.
      min_item_interactions: of each item that is kept.

    Returns:
      A log whose `counts` say what was left out; the log itself if nothing was.

    Raises:
      ValueError: a minimum below 1, or nothing is left.
    """
    for name, least in (
        ("min_user_interactions", min_user_interactions),
        ("min_item_interactions", min_item_interactions),
    ):
        if least < 1:
            raise ValueError(f"{name}: expected at least 1, got {least}")
    owners, items = log.owners, log.items
    keep = np.ones(len(items), bool)
    while True:
        of_user = np.bincount(owners[keep], minlength=len(log.users))
        of_item = np.bincount(items[keep], minlength=len(log.catalogue) + 1)
        users_kept, items_kept = of_user >= min_user_interactions, of_item >= min_item_interactions
        before = keep.sum()
        keep = users_kept[owners] & items_kept[items]
        if keep.sum() == before:
            break
    if not keep.any():
        raise ValueError(
            f"min_user_interactions, min_item_interactions: {min_user_interactions} and {min_item_interactions} leave "
            f"nothing of {len(items)} interactions; the longest history has {log.lengths.max(initial=0)}"
        )
    items_kept = items_kept[1:]
    if users_kept.all() and items_kept.all():
        return log
    left_out = {
        "users_filtered": int((~users_kept).sum()),
        "items_filtered": int((~items_kept).sum()),
        "interactions_filtered": int((~keep).sum()),
    }
    logging.info("Filters left out %s", ", ".join(f"{count} {name.split('_')[0]}" for name, count in left_out.items()))
    return _kept(log, keep, users_kept, items_kept, left_out)


def sample_users(log: InteractionLog, most: int, seed: int = 0) -> InteractionLog:
    """A log of `most` users drawn at random (one seed, one sample), in their order, and of the items that they met.

    Returns:
      A log whose `counts` say what was left out; the log itself if it has no more users than that.

    Raises:
      ValueError: `most` is below 1.
    """
    if most < 1:
        raise ValueError(f"most: expected at least 1 user, got {most}")
    if most >= len(log.users):
        return log
    chosen = np.zeros(len(log.users), bool)
    chosen[np.random.default_rng(seed).choice(len(log.users), most, replace=False)] = True
    keep = chosen[log.owners]
    met = np.bincount(log.items[keep], minlength=len(log.catalogue) + 1)[1:] > 0
    left_out = {
        "users_not_sampled": int((~chosen).sum()),
        "items_not_sampled": int((~met).sum()),
        "interactions_not_sampled": int((~keep).sum()),
    }
    return _kept(log, keep, chosen, met, left_out)


def _kept(
    log: InteractionLog, keep: np.ndarray, users_kept: np.ndarray, items_kept: np.ndarray, left_out: dict[str, int]
) -> InteractionLog:
    """The log of the marked interactions [N], users [U] and items [V] alone."""
    catalogue, users = log.catalogue, log.users
    number = np.concatenate([[0], np.cumsum(items_kept)]).astype(np.int32)
    lengths = np.bincount(log.owners[keep], minlength=len(users))[users_kept]
    rows = np.concatenate([[True], items_kept, [True]])  # padding and out of vocabulary stay
    titles = np.array(catalogue.titles, object)
    return replace(
        log,
        items=number[log.items[keep]],
        timestamps=log.timestamps[keep],
        labels=None if log.labels is None else log.labels[keep],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        users=Users(users.ids[users_kept], users.profile[users_kept], users.fields),
        catalogue=Catalogue(
            catalogue.ids[items_kept],
            catalogue.categories[rows],
            catalogue.category_names,
            tuple(titles[items_kept]) if catalogue.titles else (),
        ),
        counts=log.counts | left_out,
    )
