"""How an answer is compared with the right one, and what there is to say about it.

Used by the judge, and copied into each release beside the student's notebook, so that the visible
checks say what grading would say. NumPy alone. An answer may come from a stranger: nothing here
stops with an error or makes a large array because of what it is, and no sentence tells the right
numbers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

QUOTED = 200  # letters of an answer in a sentence
ROUNDING = 1e-2  # what a difference is a share of where all that is expected is zero

TRANSPOSED = "your answer has the right shape, but is transposed: rows and columns are swapped"


def complaint(
    answer: Any,
    right: Any,
    slips: Mapping[str, Any],
    tolerance: float = 1e-4,
    absolute: bool = False,
) -> str | None:
    """What is wrong with an answer, in a sentence; None if it agrees with the right one.

    Args:
        answer: plain values, as they come out of the pipe.
        right: the right answer, in plain values.
        slips: for each sentence that names a mistake what it would have answered. The first that
            agrees with the answer, and not with the right one, is said.
        tolerance: the largest difference allowed, as a share of the largest value of the right
            array (or of 1, if `absolute`). Whole numbers, truth values and words must be equal.
        absolute: see tolerance.
    """
    unlike = _unlike(answer, right, tolerance, absolute)
    if unlike is None:
        return None
    for sentence, value in slips.items():
        same = _unlike(value, right, tolerance, absolute) is None
        if not same and _unlike(answer, value, tolerance, absolute) is None:
            return sentence
    return unlike


def _name(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a number of many digits"
    if isinstance(value, bool | int | float | np.generic):
        return f"the number {value}"
    names = {list: "a list", dict: "a dictionary", str: "a word", type(None): "nothing (None)"}
    return names.get(type(value), f"a {type(value).__name__}")


def _unlike(answer: Any, right: Any, tolerance: float, absolute: bool) -> str | None:
    """How the answer differs from the right one, in a sentence; None if it does not."""
    if isinstance(right, dict):
        if not isinstance(answer, dict):
            return f"your answer is {_name(answer)}, expected a dictionary"
        if set(answer) != set(right):
            keys = ", ".join(sorted(map(repr, answer)))
            keys = keys if len(keys) < QUOTED else f"{keys[:QUOTED]}..."
            return f"the keys are {keys or 'none'}, expected {', '.join(sorted(map(repr, right)))}"
        return _first([(f"{key}: ", answer[key], right[key]) for key in right], tolerance, absolute)
    if isinstance(right, str) or right is None:
        if type(answer) is type(right) and answer == right:
            return None
        shown = repr(answer[:QUOTED]) if isinstance(answer, str) else _name(answer)
        return f"your answer is {shown}, which is not the right one"
    if isinstance(right, list) and not _of_one_kind(right):
        return _unlike_list(answer, right, tolerance, absolute)
    return _unlike_array(answer, right, tolerance, absolute)


def _unlike_list(answer: Any, right: list[Any], tolerance: float, absolute: bool) -> str | None:
    """The same for several results."""
    stack = isinstance(answer, np.ndarray) and np.shape(answer)[:1] == (len(right),)
    if not stack and (not isinstance(answer, list) or len(answer) != len(right)):
        have = f"{len(answer)} of them" if isinstance(answer, list) else _name(answer)
        return f"expected {len(right)} results in a tuple or list, your answer is {have}"
    results = enumerate(zip(answer, right, strict=True), 1)
    pairs = [(f"result {i}: ", one, other) for i, (one, other) in results]
    found = _first(pairs, tolerance, absolute)
    if found and stack:  # taken apart like a tuple, it would do; it need not be meant as one
        return f"expected {len(right)} results in a tuple or list, your answer is {_name(answer)}"
    return found


def _of_one_kind(value: list[Any]) -> bool:
    """Whether a list is an array, such as a box: numbers that are all whole, or none of them.

    A count and a share are no array: what is little for the one would be much for the other.
    """
    kinds = {np.asarray(item).dtype.kind in "biu" for item in value if _shape(item) == ()}
    return all(_shape(item) == () for item in value) and len(kinds) <= 1


def _first(pairs: list[tuple[str, Any, Any]], tolerance: float, absolute: bool) -> str | None:
    for where, one, other in pairs:
        if found := _unlike(one, other, tolerance, absolute):
            return where + found
    return None


def _shape(value: Any) -> tuple[int, ...] | None:
    """The shape of a number, of an array, of lists of them; None for what is no such array."""
    if isinstance(value, np.ndarray | np.generic):
        return value.shape if value.dtype.kind in "biuf" else None
    if isinstance(value, bool | int | float):
        return ()
    if not isinstance(value, list):
        return None
    inner = {_shape(item) for item in value} or {()}
    first = inner.pop()
    return None if inner or first is None else (len(value), *first)


def _unlike_array(answer: Any, right: Any, tolerance: float, absolute: bool) -> str | None:
    if isinstance(answer, str | dict) or answer is None:
        return f"your answer is {_name(answer)}, expected numbers"
    wanted, shape = np.asarray(right), _shape(answer)
    if shape is None:
        return f"your answer is {_name(answer)}, expected an array of numbers"
    if shape != wanted.shape:
        turned = ""
        if len(shape) >= 2 and (*shape[:-2], shape[-1], shape[-2]) == wanted.shape:
            turned = ": its last two axes are swapped"
        return f"your answer has shape {shape}, expected {wanted.shape}{turned}"
    try:
        given = np.asarray(answer)  # no larger than what is expected
        numbers, target = given.astype(np.float64), wanted.astype(np.float64)
    except OverflowError:
        return "your answer holds a number of many digits"
    if np.isfinite(target).all() and not np.isfinite(numbers).all():
        return "your answer holds NaN or an infinite number"
    with np.errstate(all="ignore"):  # what overflows is not right, and that is all
        return _unlike_numbers(given, numbers, wanted, target, tolerance, absolute)


def _unlike_numbers(
    given: Any, numbers: Any, wanted: Any, target: Any, tolerance: float, absolute: bool
) -> str | None:
    """The same for arrays of one shape, each as it is and as floats."""
    exact, allowed = wanted.dtype.kind in "biu", 0.0
    if not exact:
        largest = float(np.abs(target[np.isfinite(target)]).max(initial=0.0))
        allowed = tolerance * (1.0 if absolute else largest or ROUNDING)
    right = np.isclose(numbers, target, rtol=0.0, atol=allowed, equal_nan=True)
    if exact and given.dtype.kind in "biu":
        right = np.equal(given, wanted)  # also where floats cannot tell two whole numbers apart
    if right.all():
        return None
    if numbers.ndim >= 2 and numbers.shape[-1] == numbers.shape[-2]:
        turned = numbers.swapaxes(-1, -2)
        if np.isclose(turned, target, rtol=0.0, atol=allowed, equal_nan=True).all():
            return TRANSPOSED
    factor = None if exact else _common_factor(numbers, target, tolerance)
    if factor is not None:
        return f"your answer is {factor:.4g} times the right one"
    if not numbers.ndim:
        return "your answer is not the right number"
    return f"{int((~right).sum())} of {right.size} numbers are not right"


def _common_factor(numbers: Any, target: Any, tolerance: float) -> float | None:
    """The one number by which all of them are off, if there is one.

    Not where all are the same: an answer of ones would be told the right number.
    """
    square = float((target * target).sum())
    if not target.size or np.ptp(target) == 0 or not np.isfinite(square) or square == 0:
        return None
    factor = float((numbers * target).sum()) / square
    if not 1e-9 < abs(factor) < np.inf:
        return None
    off = np.abs(numbers - factor * target).max() / np.abs(target).max()
    return factor if off <= tolerance * max(1.0, abs(factor)) else None
