"""From the log's own item ids and profile values to the numbers that the model takes.

Model ids are 1..V in the order of the vocabulary, 0 is padding, V + 1 is every item that the bundle does not know.
A vocabulary holds whole numbers or strings, never both.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from device_runtime.errors import BundleError, InputError
from device_runtime.interpreter.tensors import unknown_name
from protos import dccl_pb2

RawId = int | str
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


class Vocabulary:
    """The items and profile fields of one bundle."""

    def __init__(self, items: dccl_pb2.Vocabulary, fields: Sequence[dccl_pb2.ProfileField] = ()) -> None:
        """Raises BundleError if both or neither of the two lists are filled, or an id stands twice."""
        if bool(items.int_ids) == bool(items.string_ids):
            raise BundleError(
                "vocabulary.pb: expected either int_ids or string_ids to be filled, "
                f"got {len(items.int_ids)} and {len(items.string_ids)}; export the bundle again"
            )
        self.kind = int if items.int_ids else str
        self.size = len(items.int_ids) or len(items.string_ids)  # V
        if self.kind is int:
            ids = np.array(items.int_ids, np.int64)
            self._order = np.argsort(ids, kind="stable").astype(np.int32)
            self._sorted = ids[self._order]
            repeated = bool((self._sorted[1:] == self._sorted[:-1]).any())
            # Hashed ids may be negative; in any other log a negative id is a mistake, such as a missing value.
            self._negative = bool(ids.min() < 0)
        else:
            self._index = {text: number for number, text in enumerate(items.string_ids, start=1)}
            repeated = len(self._index) < self.size
        if repeated:
            raise BundleError("vocabulary.pb: expected each item id once, got one twice; export the bundle again")
        self._fields = {field.name: {v: i for i, v in enumerate(field.values, start=1)} for field in fields}

    def __len__(self) -> int:
        return self.size

    @property
    def out_of_vocabulary(self) -> int:
        return self.size + 1

    @property
    def ids(self) -> list[RawId]:
        """The raw ids of model ids 1..V, in that order."""
        if self.kind is str:
            return list(self._index)
        return self._sorted[np.argsort(self._order)].tolist()

    @property
    def fields(self) -> dict[str, list[str]]:
        """Name of each profile field and its values."""
        return {name: list(values) for name, values in self._fields.items()}

    def raw_ids(self, name: str, values: Iterable[Any]) -> list[RawId]:
        """The ids as plain ints or strings of this vocabulary's kind; whether they are known plays no part.

        Args:
          name: what to call them in an error.
          values: a list, tuple or array of ids.

        Raises:
          InputError: an id is of another type than the vocabulary's, negative, or beyond 64 bits.
        """
        values = _listed(name, values)
        if self.kind is str:
            for position, value in enumerate(values):
                if not isinstance(value, str):
                    raise InputError(_wrong(name, position, value, "a string, as in this bundle's vocabulary"))
                if not value.isascii() and not _is_text(value):
                    raise InputError(_wrong(name, position, value, "a string that UTF-8 can hold"))
            return [str(value) for value in values]
        if set(map(type, values)) == {int} and 0 <= min(values) <= max(values) <= _LARGEST:
            return values  # the usual case, checked in C
        for position, value in enumerate(values):
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise InputError(_wrong(name, position, value, "a whole number, as in this bundle's vocabulary"))
            if value < 0 and not self._negative:
                raise InputError(_wrong(name, position, value, "an item id of the log, which is never negative"))
            if not _SMALLEST <= value <= _LARGEST:
                raise InputError(_wrong(name, position, value, "an item id of 64 bits"))
        return [int(value) for value in values]

    def encode(self, raw: Sequence[RawId]) -> np.ndarray:
        """Model ids [N] int32 of raw ids; V + 1 for each that this bundle does not know, whatever its type."""
        if not len(raw):
            return np.zeros(0, np.int32)
        if self.kind is str:
            unknown = self.out_of_vocabulary
            return np.array([self._index.get(item, unknown) for item in raw], np.int32)
        if set(map(type, raw)) == {int}:
            return self._encode_numbers(np.array(raw, np.int64))
        # A log that was begun under a vocabulary of strings may be read under one of whole numbers.
        mine = np.array([isinstance(item, int) for item in raw])
        ids = np.array([item if own else 0 for item, own in zip(raw, mine, strict=True)], np.int64)
        return np.where(mine, self._encode_numbers(ids), np.int32(self.out_of_vocabulary))

    def _encode_numbers(self, ids: np.ndarray) -> np.ndarray:
        place = np.searchsorted(self._sorted, ids)
        place[place == self.size] = 0
        known = self._sorted[place] == ids
        return np.where(known, self._order[place] + np.int32(1), np.int32(self.out_of_vocabulary))

    def parse(self, text: str) -> RawId:
        """An item id as typed on a command line. Raises InputError if it is not of the vocabulary's kind."""
        if self.kind is str:
            return text
        try:
            return int(text)
        except ValueError as error:
            raise InputError(f"item: expected a whole number, as in this bundle's vocabulary, got {text!r}") from error

    def profile(self, values: Mapping[str, Any] | None) -> tuple[np.ndarray, list[str]]:
        """Indices [P] int32 of a profile such as {"age": "25-34"}; a field that is absent or None is unknown (0).

        Returns:
          The indices, and the names of the fields whose value this bundle does not know.

        Raises:
          InputError: a field's name is unknown, or a value is neither a string nor a whole number.
        """
        values = {} if values is None else values
        check_profile(values)
        for name in values:
            if name not in self._fields:
                raise InputError(f"profile: {unknown_name('field', name, self._fields)}")
        indices, unknown = [], []
        for name, known in self._fields.items():
            value = values.get(name)
            index = 0 if value is None else known.get(str(value), 0)
            if value is not None and not index:
                unknown.append(name)
            indices.append(index)
        return np.array(indices, np.int32), unknown


def check_profile(values: Any) -> None:
    """Raises InputError unless these are fields and values of a profile, whether a bundle knows them or not."""
    if not isinstance(values, Mapping):
        raise InputError(f"profile: expected a dict of field to value, got {type(values).__name__}")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, np.integer, type(None))):
            raise InputError(f"profile: expected a string or a whole number for {name!r}, got {value!r}")


def first_repeated(names: Iterable[str]) -> str | None:
    """The first of some names that stands again; None if each stands once."""
    return next((name for name, times in Counter(names).items() if times > 1), None)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates, as a broken file name gives
        return False
    return True


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise InputError(f"{name}: expected a list of item ids, got {values!r}")
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise InputError(f"{name}: expected a list of item ids, got an array of shape {list(values.shape)}")
        return values.tolist()
    return list(values)


def _wrong(name: str, position: int, value: Any, expected: str) -> str:
    return f"{name}: expected {expected}, got {value!r} ({type(value).__name__}) at position {position}"
