"""Plain values cross the pipe unchanged; whatever else comes is refused before it does harm."""

from __future__ import annotations

import io
import json
import math
import random
import tracemalloc
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import torch

from course import transport
from course.transport import BadMessage, receive, send

Pair = namedtuple("Pair", "first second")


def packed(value: Any) -> bytes:
    pipe = io.BytesIO()
    send(pipe, value)
    return pipe.getvalue()


def there_and_back(value: Any) -> Any:
    return receive(io.BytesIO(packed(value)))


def message(body: Any, sizes: Any = (), rest: bytes = b"") -> bytes:
    return json.dumps({"body": body, "sizes": sizes}).encode() + b"\n" + rest


def array(kind: Any, *shape: Any) -> dict[str, Any]:
    return {"array": [kind, *shape]}


def same(one: Any, other: Any) -> bool:
    """Equal in kind, shape and value, NaN included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return False
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return bool(one == other) or (one != one and other != other)


# What is plain


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**63 - 1),
        0.1,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        "",
        "a word,\nsecond line \x00 ü 🙂",
        [],
        [1, [2.5, ["deep"]], None],
        {},
        {"float": "nan", "array": 1, "list": [], "dict": {"": None}},
        np.array(2.5),
        np.zeros((0, 3), "float32"),
        np.arange(24, dtype="int64").reshape(2, 3, 4),
        np.array([True, False]),
        np.array([np.nan, np.inf, -np.inf]),
        [np.ones(2), {"two": np.zeros((1, 1), "uint8")}, np.ones((), "float16")],
    ],
    ids=lambda value: repr(value)[:30],
)
def test_plain_values_come_back(value: Any):
    assert same(there_and_back(value), value)


@pytest.mark.parametrize("kind", transport.KINDS)
def test_each_kind_of_number_comes_back(kind: str):
    value = np.array([[0, 1, 1], [1, 0, 100]]).astype(kind)
    assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, 2), [1, 2]),
        (Pair(1, 2), [1, 2]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (torch.Size([2, 3]), [2, 3]),
        (np.float32(0.5), np.array(0.5, "float32")),
        (np.float64(0.5), np.array(0.5)),
        (np.bool_(True), np.array(True)),
        (np.uint16([1, 2]), np.array([1, 2])),
        (np.longdouble([0.5]), np.array([0.5])),
        (np.array([1.5, 2.0], ">f4"), np.array([1.5, 2.0], "float32")),
        (np.array([1, 256], ">i8"), np.array([1, 256])),
        (np.arange(6.0).reshape(2, 3).T, np.arange(6.0).reshape(2, 3).T.copy()),
        (np.ones(4)[::-2], np.ones(2)),
        (np.broadcast_to(np.float64(1), (2, 2)), np.ones((2, 2))),
        (np.ma.masked_array([1.0, 2.0], [0, 1]), np.array([1.0, 2.0])),
        (torch.tensor([1.5], requires_grad=True), np.array([1.5], "float32")),
        (torch.tensor([1.5], dtype=torch.bfloat16), np.array([1.5], "float32")),
        (torch.nn.Parameter(torch.ones(2)), np.ones(2, "float32")),
        (torch.tensor([2 - 1j]).conj().imag, np.array([1.0], "float32")),
        (torch.ones(2, 3).T, np.ones((3, 2), "float32")),
        (torch.tensor(3), np.array(3)),
        (torch.ones(2, dtype=torch.int16), np.ones(2, "int64")),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_nearly_plain_comes_as_plain(value: Any, plain: Any):
    assert same(there_and_back(value), plain)


class Odd:
    """What equals anything."""

    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Odd(), "holds a Odd"),
        ([1, {"a": Odd}], "holds a type"),
        (b"bytes", "holds a bytes"),
        ({1, 2}, "holds a set"),
        (range(3), "holds a range"),
        (iter([1]), "holds a list_iterator"),
        (1j, "holds a complex"),
        (type("Whole", (int,), {})(1), "holds a Whole"),
        (type("Word", (str,), {})("a"), "holds a Word"),
        (type("Number", (float,), {})(1), "holds a Number"),
        (2**63, "too large"),
        ({1: "a"}, "keys that are no words"),
        ("\ud800", "half a character"),
        ({"\ud800": 1}, "half a character"),
        (np.array([Odd()], dtype=object), "holds object"),
        (np.array(["a"]), "no plain number"),
        (np.array([1j]), "holds complex128"),
        (torch.ones(1, dtype=torch.complex64), "holds complex64"),
        (np.array(["2020-01-01"], "datetime64[D]"), "no plain number"),
        (np.zeros(1, [("a", "f4")]), "no plain number"),
        (np.ones((1,) * 9), "9 axes"),
        (np.zeros(transport.MOST_BYTES + 1, "uint8"), "too large"),
        ([np.zeros(2**20)] * 9, "too large"),
        ("a" * transport.MOST_TEXT, "too large"),
        ([np.ones(())] * (transport.MOST_ITEMS + 1), "too large"),
    ],
    # No repr: an address in it differs from process to process.
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_not_plain_is_not_sent(value: Any, says: str):
    pipe = io.BytesIO()
    with pytest.raises(BadMessage, match=says):
        send(pipe, value)
    assert pipe.getvalue() == b""


def test_depth_is_limited():
    for deepest in (transport.MOST_DEPTH, transport.MOST_DEPTH + 1, 5000):
        value: Any = 1
        for _ in range(deepest):
            value = [value]
        if deepest == transport.MOST_DEPTH:
            assert there_and_back(value) == value
        else:
            with pytest.raises(BadMessage, match="nested too deeply"):
                packed(value)


def test_a_list_in_itself_is_not_sent():
    value: list[Any] = []
    value.append(value)
    with pytest.raises(BadMessage, match="nested too deeply"):
        packed(value)


# What is no message


DEEP = b"[" * 100_000 + b"]" * 100_000
NESTED = {
    "list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": [{"list": []}]}]}]}]}]}]}]
}
BAD = {
    "no JSON": b"40 points\n",
    "no line": b"40 points",
    "an endless line": b"a" * (transport.MOST_TEXT + 10),
    "an endless line that ends": b" " * transport.MOST_TEXT + message(1),
    "no dictionary": b"[1]\n",
    "a number": b"1\n",
    "nothing": b"null\n",
    "no body": b'{"sizes": []}\n',
    "no sizes": b'{"body": 1}\n',
    "another coding": '{"body": 1, "sizes": []}'.encode("utf-16") + b"\n",
    "letters that are not ASCII": '{"body": "ü", "sizes": []}\n'.encode(),
    "bytes that are no letters": b'{"body": "\xff\xfe", "sizes": []}\n',
    "deep JSON": DEEP + b"\n",
    "deep sizes": b'{"body": 1, "sizes": ' + DEEP + b"}\n",
    "a deep body": message({"list": [{"list": [NESTED]}]}),
    "a number of 5000 digits": b'{"body": 1' + b"0" * 5000 + b', "sizes": []}\n',
    "a number of 100 digits": message(10**100),
    "a number beyond 64 bits": message(2**63),
    "NaN unsaid": b'{"body": NaN, "sizes": []}\n',
    "infinity unsaid": b'{"body": -Infinity, "sizes": []}\n',
    "a number that becomes infinite": b'{"body": 1e999, "sizes": []}\n',
    "a bare list": message([1, 2]),
    "an empty dictionary": message({}),
    "a bare dictionary": message({"a": 1, "b": 2}),
    "a kind of its own": message({"pickle": "gASVAAAA"}),
    "two kinds": message({"list": [], "dict": {}}),
    "a list that is none": message({"list": "abc"}),
    "a dictionary that is none": message({"dict": [1]}),
    "a float that is none": message({"float": "1.0"}),
    "a float as a list": message({"float": ["nan"]}),
    "half a character": b'{"body": "\\ud800", "sizes": []}\n',
    "half a character as a key": b'{"body": {"dict": {"\\udfff": 1}}, "sizes": []}\n',
    "sizes that are none": message(1, 5),
    "sizes in a dictionary": message(1, {"0": 4}),
    "a size that is a word": message(array("uint8", 4), ["4"], b"abcd"),
    "a size that is true": message(array("uint8", 1), [True], b"a"),
    "a negative size": message(array("uint8", 1), [-1], b"a"),
    "negative sizes that cancel": message(array("uint8", 4), [2**70, -(2**70), 4], b"abcd"),
    "half a size": message(array("uint8", 1), [1.5], b"ab"),
    "too many sizes": message(1, [0] * (transport.MOST_ITEMS + 1)),
    "a gigabyte": message(array("uint8", 2**30), [2**30], b"abc"),
    "many that are a gigabyte": message(1, [2**20] * 1024, b"abc"),
    "bytes of no array": message(1, [3], b"abc"),
    "an array without bytes": message(array("uint8", 3)),
    "no bytes, but a shape": message(array("float32", 1000, 1000), [0]),
    "one array's bytes for two": message({"list": [array("uint8", 2)] * 2}, [2], b"ab"),
    "no kind": message({"array": []}),
    "an unknown kind": message(array("float128", 1), [16], b"a" * 16),
    "objects": message(array("object", 1), [8], b"a" * 8),
    "objects, in short": message(array("O", 1), [8], b"a" * 8),
    "words": message(array("<U1", 1), [4], b"abcd"),
    "a record": message(array([["a", "f4"]], 1), [4], b"abcd"),
    "a kind that is nothing": message(array(None, 1), [8], b"a" * 8),
    "a negative axis": message(array("uint8", -1), [1], b"a"),
    "two negative axes": message(array("uint8", -2, -2), [4], b"abcd"),
    "a true axis": message(array("uint8", True), [1], b"a"),
    "half an axis": message(array("uint8", 1.0), [1], b"a"),
    "an axis in words": message(array("uint8", "1"), [1], b"a"),
    "an axis in a list": message(array("uint8", [1]), [1], b"a"),
    "too few bytes": message(array("float32", 2), [7], b"abcdefg"),
    "too many bytes": message(array("float32", 1), [8], b"abcdefgh"),
    "too many axes": message(array("uint8", *[1] * 9), [1], b"a"),
    "a huge axis": message(array("uint8", 0, 2**40), [0]),
    "huge axes beside an empty one": message(array("float64", 0, *[2**31 - 1] * 4), [0]),
}
SHORT = {
    "nothing": b"",
    "half an array": message(array("uint8", 4), [4], b"ab"),
    "one array of two": message({"list": [array("uint8", 2)] * 2}, [2, 2], b"ab"),
    "64 MB that do not come": message(array("uint8", 2**26), [2**26], b"abc"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_refused(name: str):
    with pytest.raises(BadMessage):
        receive(io.BytesIO(BAD[name]))


@pytest.mark.parametrize("name", SHORT)
def test_an_early_end_is_an_end(name: str):
    with pytest.raises(EOFError):
        receive(io.BytesIO(SHORT[name]))


@pytest.mark.parametrize("name", [name for name in BAD if "gigabyte" in name])
def test_promised_bytes_are_refused_unread(name: str):
    tracemalloc.start()
    with pytest.raises(BadMessage, match="too large"):
        receive(io.BytesIO(BAD[name]))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20


def test_an_endless_line_is_not_read_to_its_end():
    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, into: Any) -> int:
            into[:] = b"a" * len(into)
            self.given += len(into)
            return len(into)

    source = Endless()
    with pytest.raises(BadMessage, match="too long"):
        receive(cast(BinaryIO, io.BufferedReader(source)))
    assert source.given < 2 * transport.MOST_TEXT


def test_any_byte_is_a_truth_value():
    value = receive(io.BytesIO(message(array("bool", 3), [3], b"\x00\x01\x07")))
    assert same(value, np.array([False, True, True]))
    assert value.astype(float).tolist() == [0.0, 1.0, 1.0]


def test_messages_follow_each_other():
    pipe = io.BytesIO(packed([1, np.ones(3)]) + packed("b") + packed({"c": np.zeros(0)}))
    assert same(receive(pipe), [1, np.ones(3)])
    assert receive(pipe) == "b"
    assert same(receive(pipe), {"c": np.zeros(0)})
    with pytest.raises(EOFError):
        receive(pipe)


# Chance


def plain_value(rng: random.Random, depth: int = 0) -> Any:
    """A plain value of any kind."""

    def of_some(make: Callable[[], Any]) -> list[Any]:
        return [make() for _ in range(rng.randrange(4))]

    def inner() -> Any:
        return plain_value(rng, depth + 1)

    def numbers() -> Any:
        shape = of_some(lambda: rng.randrange(4))
        values = np.random.default_rng(rng.randrange(2**32)).normal(scale=50, size=shape)
        return np.asarray(values).astype(rng.choice(transport.KINDS))

    ways = [
        lambda: rng.choice([None, True, False]),
        lambda: rng.randrange(-(2**63) + 1, 2**63),
        lambda: rng.choice([rng.gauss(0, 1e30), 0.0, math.inf, math.nan]),
        lambda: "".join(of_some(lambda: chr(rng.choice([0, 34, 65, 92, 228, 0x1F642])))),
        numbers,
    ]
    if depth < transport.MOST_DEPTH:
        ways += [
            lambda: of_some(inner),
            lambda: {str(i): value for i, value in enumerate(of_some(inner))},
        ]
    return rng.choice(ways)()


def test_any_plain_value_comes_back():
    rng = random.Random(0)
    with np.errstate(invalid="ignore"):
        values = [plain_value(rng) for _ in range(500)]
    for value in values:
        assert same(there_and_back(value), value)


def broken(rng: random.Random, text: bytes) -> bytes:
    """A message with something changed, taken away, put in or told twice."""
    found = bytearray(text)
    for _ in range(rng.randrange(1, 4)):
        at, to = sorted(rng.randrange(len(found) + 1) for _ in range(2))
        how = rng.randrange(5)
        if how == 0 and at < len(found):
            found[at] = rng.randrange(256)
        elif how == 1:
            del found[at : min(to, at + 9)]
        elif how == 2:
            words = (b"-1", b"1e999", b"NaN", b"[", b"}", b'"array"', b"null", b"9" * 25, b'"O"')
            found[at:at] = rng.choice(words)
        elif how == 3:
            found[at:at] = found[at : min(to, at + 40)]
        else:
            del found[to:]
    return bytes(found)


def is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(one) for key, one in value.items())
    if isinstance(value, np.ndarray):
        return value.dtype.name in transport.KINDS and value.nbytes <= transport.MOST_BYTES
    return value is None or type(value) in (bool, int, float, str)


def test_a_broken_message_is_refused_or_plain():
    rng = random.Random(1)
    ends = dict.fromkeys(("refused", "ended", "plain"), 0)
    with np.errstate(invalid="ignore"):
        whole = [packed(plain_value(rng)) for _ in range(200)]
    for i in range(6000):
        try:
            value = receive(io.BytesIO(broken(rng, whole[i % len(whole)])))
        except BadMessage:
            ends["refused"] += 1
        except EOFError:
            ends["ended"] += 1
        else:
            ends["plain"] += 1
            assert is_plain(value)
            packed(value)
    assert min(ends.values()) > 20


def odd_json(rng: random.Random, depth: int = 0) -> Any:
    """JSON made of the words of a message, put together at random."""
    if depth > 5 or rng.random() < 0.3:
        return rng.choice([None, True, -1, 0, 1, 4, 2**31, 2**63, 0.5, "nan", "uint8", "O", "é"])
    if rng.random() < 0.4:
        return [odd_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    if rng.random() < 0.5:
        kind, size = rng.choice(transport.KINDS), rng.randrange(-1, 4)
        return array(kind, *[rng.choice([size, 1, 0, 2**20]) for _ in range(rng.randrange(4))])
    words = ["float", "list", "dict", "array", "body"]
    return {rng.choice(words): odd_json(rng, depth + 1) for _ in range(rng.randrange(3))}


def test_odd_messages_are_refused_or_plain():
    rng = random.Random(2)
    ends = dict.fromkeys(("refused", "ended", "plain"), 0)
    for _ in range(6000):
        sizes = [rng.choice([0, 1, 2, 4, 8, 12]) for _ in range(rng.randrange(3))]
        given = odd_json(rng, 5) if rng.random() < 0.1 else sizes
        text = message(odd_json(rng), given, rng.randbytes(sum(sizes)))
        try:
            value = receive(io.BytesIO(text))
        except BadMessage:
            ends["refused"] += 1
        except EOFError:
            ends["ended"] += 1
        else:
            ends["plain"] += 1
            assert is_plain(value)
    assert ends["refused"] > 1000
    assert ends["plain"] > 100
