"""Checks of what goes into a signature, before the interpreter is touched.

Some runtimes crash on a wrong length and all of them keep a NaN for good, so every tensor is checked by name,
type, exact shape and finiteness. Casts that lose nothing are made: int64 to int32, float64 to float32, lists.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_runtime.errors import InputError


@dataclass(frozen=True)
class TensorSpec:
    """A named input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class SignatureSpec:
    """What a signature takes and gives, by name."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


def checked(signature: str, specs: Mapping[str, TensorSpec], values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The values as the arrays that the signature expects.

    Raises:
      InputError: a name is missing or unknown, or a value has another type or shape or is not finite.
    """
    if values.keys() != specs.keys():
        for name in values:
            if name not in specs:
                raise InputError(f"{signature}: {unknown_name('input', name, specs)}")
        missing = ", ".join(name for name in specs if name not in values)
        raise InputError(f"{signature}: expected the inputs {', '.join(specs)}, got none for {missing}")
    return {
        name: value if _fits(spec, value) else _cast(f"{signature}: {name}", spec, value)
        for name, spec, value in ((name, spec, values[name]) for name, spec in specs.items())
    }


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """'unknown input "histroy"; did you mean "history"?', with all names where none is near."""
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
    return f"unknown {kind} {name!r}; {hint}"


def _fits(spec: TensorSpec, value: Any) -> bool:
    """Whether the interpreter can take a value as it is: the usual case, found out in a microsecond or two."""
    return (
        type(value) is np.ndarray
        and value.dtype == spec.dtype
        and value.shape == spec.shape
        and value.flags.c_contiguous
        and (spec.dtype.kind != "f" or bool(np.isfinite(value).all()))
    )


def _cast(label: str, spec: TensorSpec, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:  # a ragged list
        raise InputError(f"{label}: expected shape {list(spec.shape)}, got rows of different lengths") from error
    if array.shape != spec.shape:
        raise InputError(f"{label}: expected shape {list(spec.shape)}, got {list(array.shape)}")
    if array.dtype.kind not in ("iu" if spec.dtype.kind in "iu" else "iuf"):
        raise InputError(f"{label}: expected {spec.dtype}, got {array.dtype}")
    if spec.dtype.kind in "iu":
        return _integers(label, spec.dtype, array)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf and is refused as such
        floats = np.ascontiguousarray(array, spec.dtype)
    if not np.isfinite(floats).all():
        first = np.argmin(np.isfinite(floats))
        raise InputError(f"{label}: expected finite {spec.dtype} values, got {array.flat[first]} at position {first}")
    return floats


def _integers(label: str, dtype: np.dtype, array: np.ndarray) -> np.ndarray:
    limits = np.iinfo(dtype)
    if array.dtype != dtype and array.size and not limits.min <= array.min() <= array.max() <= limits.max:
        worst = array.max() if array.max() > limits.max else array.min()
        raise InputError(f"{label}: expected values that fit {dtype}, got {worst}")
    return np.ascontiguousarray(array, dtype)
