"""What people see of long work: one bar with rate, percent and time left, and not TensorFlow's notes to itself."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from absl import logging
from tqdm import tqdm

Item = TypeVar("Item")


def progress(
    items: Iterable[Item], description: str, total: int | None = None, unit: str = "it", even: bool = True
) -> "tqdm[Item]":
    """Wraps an iterable in a bar that appears only if the work lasts more than a second.

    Args:
      items: what to iterate over.
      description: the words before the bar.
      total: number of items, where `len(items)` cannot tell.
      unit: what one item is called.
      even: the items take about as long, so the newest tell best how long the rest will; else their mean does.
    """
    options: dict[str, Any] = {"delay": 1.0, "mininterval": 0.5, "leave": True, "dynamic_ncols": True}
    if not even:
        options["smoothing"] = 0.0
    return tqdm(items, desc=description, total=total, unit=unit, **options)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps out of the log what TensorFlow tells at level INFO of every file that it saves."""
    before = logging.get_verbosity()
    logging.set_verbosity(min(before, logging.WARNING))
    try:
        yield
    finally:
        logging.set_verbosity(before)
