"""Checks of arguments that many constructors share: each raises ValueError with the name, what was expected and what
came."""

import difflib
from collections.abc import Iterable


def at_least_one(**numbers: int) -> None:
    """Raises ValueError for the first argument below 1, by its name."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name}: expected at least 1, got {number}")


def a_share(**numbers: float) -> None:
    """Raises ValueError for the first argument outside [0, 1), by its name."""
    for name, number in numbers.items():
        if not 0.0 <= number < 1.0:
            raise ValueError(f"{name}: expected a share in [0, 1), got {number}")


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The end of an error about a word that is none of `names`; empty where none is near."""
    by_lower = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(word).lower(), by_lower, n=1)
    return f"; did you mean {by_lower[near[0]]!r}?" if near else ""
