"""Plain values over a pipe: numbers, words, lists, dictionaries and arrays. Nothing is unpickled.

A message is a line of JSON and, after it, the bytes of its arrays in the order in which they occur.
Both ends use this file; the one inside the sandbox may be in a stranger's hands, so `receive`
believes nothing: sizes are bounded before anything is read, each array has bytes of its own, kinds
of numbers are those of a list, numbers are finite or said not to be, depth is limited.
"""

import json
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

KINDS = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64")
MOST_BYTES = 64 * 2**20
MOST_TEXT = 2**20
MOST_ITEMS = 10_000  # arrays
MOST_DEPTH = 8
MOST_AXES = 8
LARGEST = 2**63 - 1


class BadMessage(ValueError):  # noqa: N818  (the name says what it is)
    """What came is no message of plain values."""


def pack(value: Any, parts: list[bytes], depth: int = 0) -> Any:
    """The value as JSON can hold it; the bytes of its arrays go to `parts`.

    Raises:
        BadMessage: for what is no plain value, such as an object of a class of one's own.
    """
    if depth > MOST_DEPTH:
        raise BadMessage("it is nested too deeply")
    if value is None or type(value) is bool:
        return value
    if type(value) is str:
        return _word(value)
    if type(value) is int:
        return _whole(value)
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, list | tuple):
        return {"list": [pack(item, parts, depth + 1) for item in value]}
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            raise BadMessage("a dictionary has keys that are no words")
        return {"dict": {_word(key): pack(value[key], parts, depth + 1) for key in value}}
    if hasattr(value, "detach"):  # a torch tensor, whose package the judge need not know
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.resolve_conj().resolve_neg().numpy()
    if isinstance(value, np.generic | np.ndarray):
        array = np.asarray(value)
        kind = array.dtype.name
        if kind not in KINDS:
            wider = {"i": "int64", "u": "int64", "f": "float64"}.get(array.dtype.kind)
            if wider is None:
                raise BadMessage(f"an array holds {kind}, which is no plain number")
            kind = wider
        if array.ndim > MOST_AXES:
            raise BadMessage(f"an array has {array.ndim} axes")
        array = array.astype(kind, copy=False)  # in this machine's order of bytes
        if array.nbytes > MOST_BYTES:
            raise BadMessage("it is too large")
        parts.append(array.tobytes())
        return {"array": [kind, *array.shape]}
    raise BadMessage(f"it holds a {type(value).__name__}, which is no plain value")


def _word(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadMessage("a word holds half a character") from error
    return value


def _whole(value: int) -> int:
    # JSON has no limit, but what does not fit in 64 bits is no answer to any task.
    if abs(value) > LARGEST:
        raise BadMessage("a whole number is too large")
    return value


def unpack(value: Any, parts: Iterator[bytes], depth: int = 0) -> Any:
    """The reverse of `pack`; arrays come as NumPy arrays, tuples as lists.

    Raises:
        BadMessage: for what `pack` does not make.
    """
    if depth > MOST_DEPTH:
        raise BadMessage("it is nested too deeply")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _word(value)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise BadMessage("it is no message")
    ((kind, inner),) = value.items()
    if kind == "float" and inner in ("nan", "inf", "-inf"):
        return float(inner)
    if kind == "list" and isinstance(inner, list):
        return [unpack(item, parts, depth + 1) for item in inner]
    if kind == "dict" and isinstance(inner, dict):
        return {_word(key): unpack(inner[key], parts, depth + 1) for key in inner}
    if kind == "array" and isinstance(inner, list) and inner:
        return _array(inner[0], inner[1:], next(parts, None))
    raise BadMessage("it is no message")


def _array(kind: Any, shape: list[Any], part: bytes | None) -> Any:
    if kind not in KINDS or part is None:
        raise BadMessage("it holds an array of no known kind, or without its bytes")
    if len(shape) > MOST_AXES or not all(type(s) is int and 0 <= s < 2**31 for s in shape):
        raise BadMessage("it holds an array without a shape")
    each = np.dtype(kind).itemsize
    if math.prod(shape) * each != len(part) or math.prod(s for s in shape if s) > MOST_BYTES:
        raise BadMessage("it holds an array whose bytes do not fit its shape")
    if kind == "bool":  # any byte but 0 is true
        return (np.frombuffer(part, dtype="uint8") != 0).reshape(shape)
    return np.frombuffer(part, dtype=kind).reshape(shape)


def send(pipe: BinaryIO, value: Any) -> None:
    """Write one message.

    Raises:
        BadMessage: if the value is not plain, or too large. Nothing is written then.
    """
    parts: list[bytes] = []
    body = json.dumps({"body": pack(value, parts), "sizes": [len(part) for part in parts]})
    if sum(map(len, parts)) > MOST_BYTES or len(parts) > MOST_ITEMS or len(body) >= MOST_TEXT:
        raise BadMessage("it is too large")
    pipe.write(body.encode("ascii") + b"\n" + b"".join(parts))
    pipe.flush()


def receive(pipe: BinaryIO) -> Any:
    """Read one message.

    Raises:
        BadMessage: if what comes is none.
        EOFError: if nothing comes any more.
    """
    line = pipe.readline(MOST_TEXT + 1)
    if not line:
        raise EOFError
    if not line.endswith(b"\n"):
        raise BadMessage("its text is too long, or ends too early")
    try:
        message = json.loads(line.decode("ascii"))
        body, sizes = message["body"], message["sizes"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadMessage("it is no message") from error
    if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
        raise BadMessage("it is no message")
    if len(sizes) > MOST_ITEMS or sum(sizes) > MOST_BYTES:
        raise BadMessage("it is too large")
    parts = []
    for size in sizes:
        part = pipe.read(size)
        if len(part) != size:
            raise EOFError
        parts.append(part)
    rest = iter(parts)
    value = unpack(body, rest)
    if next(rest, None) is not None:
        raise BadMessage("it has bytes that belong to no array")
    return value
