"""Leaving out users and items that were seen too rarely; what is left out is counted.

Appendix A.1 keeps users and items with at least 8 interactions of Amazon, 20 of MovieLens-1M and 50 of Taobao.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from absl import logging

from dccl_tf.arguments import at_least_one
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
    owners, items = log.owners, log.items
    keep = np.ones(len(items), bool)

    def count(users_kept: np.ndarray, items_kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        keep[:] = users_kept[owners] & items_kept[items - 1]
        return _counts(owners[keep], len(log.users)), _counts(items[keep] - 1, len(log.catalogue))

    first = _counts(owners, len(log.users)), _counts(items - 1, len(log.catalogue))
    users_kept, items_kept = core(*first, min_user_interactions, min_item_interactions, count)
    if users_kept.all() and items_kept.all():
        return log
    left_out = filtered_counts(users_kept, items_kept, int((~keep).sum()))
    return _kept(log, keep, users_kept, items_kept, left_out)


def core(
    of_user: np.ndarray,
    of_item: np.ndarray,
    min_user_interactions: int,
    min_item_interactions: int,
    count: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Which users and items are left once every one that is left has enough interactions.

    Args:
      of_user: [U] interactions of each user.
      of_item: [V] interactions of each item.
      min_user_interactions: of each user that is kept.
      min_item_interactions: of each item that is kept.
      count: from masks of users [U] and items [V] to both counts among the interactions of those alone.

    Returns:
      bool [U] and bool [V].

    Raises:
      ValueError: a minimum below 1, or nothing is left.
    """
    at_least_one(min_user_interactions=min_user_interactions, min_item_interactions=min_item_interactions)
    total, longest = int(of_user.sum()), of_user.max(initial=0)
    users_kept, items_kept = np.ones(len(of_user), bool), np.ones(len(of_item), bool)
    while True:
        enough = of_user >= min_user_interactions, of_item >= min_item_interactions
        if (enough[0] == users_kept).all() and (enough[1] == items_kept).all():
            break
        users_kept, items_kept = enough
        of_user, of_item = count(users_kept, items_kept)
    if not users_kept.any() or not items_kept.any():
        raise ValueError(
            f"min_user_interactions, min_item_interactions: {min_user_interactions} and {min_item_interactions} leave "
            f"nothing of {total} interactions; the longest history has {longest}"
        )
    return users_kept, items_kept


def filtered_counts(users_kept: np.ndarray, items_kept: np.ndarray, interactions: int) -> dict[str, int]:
    """What `core` left out, for the log's `counts`, and for people."""
    left_out = {
        "users_filtered": int((~users_kept).sum()),
        "items_filtered": int((~items_kept).sum()),
        "interactions_filtered": interactions,
    }
    logging.info("Filters left out %s", ", ".join(f"{count} {name.split('_')[0]}" for name, count in left_out.items()))
    return left_out


def cap_histories(log: InteractionLog, most: int) -> InteractionLog:
    """The newest `most` interactions of each user: a robot with a million clicks then costs what a keen reader does.
    Users and items stay as they are.

    Returns:
      A log whose `counts` say what was left out; the log itself if nothing was.

    Raises:
      ValueError: `most` is below 1.
    """
    at_least_one(most=most)
    lengths = np.minimum(log.lengths, most)
    if (lengths == log.lengths).all():
        return log
    positions = np.arange(len(log.items)) - np.repeat(log.offsets[:-1], log.lengths)
    keep = positions >= np.repeat(log.lengths - most, log.lengths)
    return replace(
        log,
        items=log.items[keep],
        timestamps=log.timestamps[keep],
        labels=None if log.labels is None else log.labels[keep],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        counts=log.counts | capped_counts(log.lengths, most),
    )


def capped_counts(lengths: np.ndarray, most: int) -> dict[str, int]:
    """What a cap leaves out of histories of these lengths [U], for the log's `counts`."""
    return {"users_capped": int((lengths > most).sum()), "interactions_capped": int((lengths - most).clip(0).sum())}


def sample_users(log: InteractionLog, most: int, seed: int = 0) -> InteractionLog:
    """A log of `most` users drawn at random (one seed, one sample), in their order, and of the items that they met.

    Returns:
      A log whose `counts` say what was left out; the log itself if it has no more users than that.

    Raises:
      ValueError: `most` is below 1.
    """
    at_least_one(most=most)
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


def kept_catalogue(catalogue: Catalogue, kept: np.ndarray) -> Catalogue:
    """The marked items [V]; categories keep their numbers."""
    rows = np.concatenate([[True], kept, [True]])  # padding and out of vocabulary stay
    titles = tuple(np.array(catalogue.titles, object)[kept]) if catalogue.titles else ()
    return Catalogue(catalogue.ids[kept], catalogue.categories[rows], catalogue.category_names, titles)


def kept_users(users: Users, kept: np.ndarray) -> Users:
    """The marked users [U]; profile values keep their numbers."""
    return Users(users.ids[kept], users.profile[kept], users.fields)


def _kept(
    log: InteractionLog, keep: np.ndarray, users_kept: np.ndarray, items_kept: np.ndarray, left_out: dict[str, int]
) -> InteractionLog:
    """The log of the marked interactions [N], users [U] and items [V] alone."""
    number = np.concatenate([[0], np.cumsum(items_kept)]).astype(np.int32)
    lengths = _counts(log.owners[keep], len(log.users))[users_kept]
    return replace(
        log,
        items=number[log.items[keep]],
        timestamps=log.timestamps[keep],
        labels=None if log.labels is None else log.labels[keep],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        users=kept_users(log.users, users_kept),
        catalogue=kept_catalogue(log.catalogue, items_kept),
        counts=log.counts | left_out,
    )


def _counts(numbers: np.ndarray, length: int) -> np.ndarray:
    return np.bincount(numbers, minlength=length)
