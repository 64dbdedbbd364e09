"""What agrees with a right answer, what does not, and what there is to say about it."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from course import compare
from course.compare import complaint
from course.transport import BadMessage, receive, send

NAN, INF = float("nan"), float("inf")
GRID = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], dtype=np.float32)
SQUARE = np.array([[1.0, 2.0], [3.0, 4.0]])
MIXED = [np.array([3, 1]), np.array([0.5, 0.25])]


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    """NumPy's warnings would show on students' pages."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def through_the_pipe(value: Any) -> Any:
    pipe = io.BytesIO()
    send(pipe, value)
    pipe.seek(0)
    return receive(pipe)


# ---- what agrees, and what does not ----

SAME: list[tuple[Any, Any]] = [
    (GRID, GRID),
    (GRID.tolist(), GRID),
    (GRID.astype(np.float64), GRID),
    (GRID.astype(np.float16), GRID),
    (list(GRID), GRID),
    (tuple(GRID), GRID),
    (GRID.astype(np.int64), GRID),
    (GRID, GRID.tolist()),
    # Whole numbers: an exact one is right in whatever it is kept.
    (np.array([1.0, 2.0]), np.array([1, 2])),
    (np.array([1, 2], dtype=np.uint8), np.array([1, 2])),
    ([1, 2.0], np.array([1, 2])),
    (np.array([1, 0]), np.array([True, False])),
    (np.array([1.0, 0.0]), np.array([True, False])),
    (np.array([True, False]), np.array([1, 0])),
    (np.array([True, False]), np.array([1.0, 0.0])),
    # Numbers of Python, of NumPy, arrays without an axis.
    (3, 3),
    (3.0, 3),
    (3, 3.0),
    (np.array(3), 3),
    (3, np.array(3)),
    (np.array(3.0, dtype=np.float32), 3.0),
    (3.0, np.array(3.0, dtype=np.float32)),
    (True, 1),
    (1, True),
    (True, True),
    (1.0, np.array(True)),
    ([np.array(1.0), 2.0], [1.0, np.array(2.0)]),
    # Several results.
    (MIXED, MIXED),
    (tuple(MIXED), MIXED),
    ([MIXED[0].tolist(), MIXED[1].tolist()], MIXED),
    (np.array([[3.0, 1.0], [0.5, 0.25]]), MIXED),  # a stack can be taken apart
    (np.array([3.0, 0.5]), [3, 0.5]),
    (["a", 1, None], ["a", 1, None]),
    ({"a": 1, "b": GRID}, {"b": GRID.tolist(), "a": 1.0}),
    ("word", "word"),
    (None, None),
    ({}, {}),
    # Nothing at all.
    ([], []),
    (np.zeros(0), []),
    ([], np.zeros(0)),
    (np.zeros((0, 4)), np.zeros((0, 4), dtype=np.int64)),
    ([[], []], np.zeros((2, 0))),
    # What is no number, where none is right.
    (np.array([NAN, 1.0]), np.array([NAN, 1.0])),
    (np.array([INF, -INF]), np.array([INF, -INF])),
    ([NAN, 1.0], np.array([NAN, 1.0])),
    (2**63 - 1, 2**63 - 1),
    (np.array([1e308, 1.0]), np.array([1e308, 1.0])),
    (np.zeros(3), np.zeros(3)),
]


@pytest.mark.parametrize(("answer", "right"), SAME)
def test_what_is_right_in_other_clothes_is_right(answer: Any, right: Any):
    assert complaint(through_the_pipe(answer), through_the_pipe(right), {}) is None
    for absolute in (False, True):
        assert (
            complaint(through_the_pipe(right), through_the_pipe(right), {}, 1e-4, absolute) is None
        )


OTHER: list[tuple[Any, Any, str]] = [
    # Shapes.
    (GRID.T, GRID, "your answer has shape (3, 2), expected (2, 3): its last two axes are swapped"),
    (GRID[None], GRID, "your answer has shape (1, 2, 3), expected (2, 3)"),
    (GRID.ravel(), GRID, "your answer has shape (6,), expected (2, 3)"),
    (GRID.ravel().tolist(), GRID, "your answer has shape (6,), expected (2, 3)"),
    (np.zeros((4, 3, 2)), np.zeros((4, 2, 3)), "expected (4, 2, 3): its last two axes are swapped"),
    (np.zeros((3, 2, 4)), np.zeros((2, 3, 4)), "has shape (3, 2, 4), expected (2, 3, 4)"),
    (3.0, GRID, "your answer has shape (), expected (2, 3)"),
    ([3.0], 3.0, "your answer has shape (1,), expected ()"),
    (np.zeros((0, 4)), np.zeros(0), "your answer has shape (0, 4), expected (0,)"),
    ([], np.zeros((2, 0)), "your answer has shape (0,), expected (2, 0)"),
    (np.zeros((0, 3)), GRID, "your answer has shape (0, 3), expected (2, 3)"),
    # Turned, of the right shape.
    (SQUARE.T, SQUARE, compare.TRANSPOSED),
    (SQUARE.T > 2, SQUARE > 2, compare.TRANSPOSED),
    (SQUARE.T.astype(int), SQUARE.astype(int), compare.TRANSPOSED),
    (np.stack([SQUARE.T] * 3), np.stack([SQUARE] * 3), compare.TRANSPOSED),
    # A factor, unless all are alike: then it would be the right number.
    (GRID * 3, GRID, "your answer is 3 times the right one"),
    (-GRID, GRID, "your answer is -1 times the right one"),
    (GRID * 1.001, GRID, "your answer is 1.001 times the right one"),
    (GRID / 49, GRID, "your answer is 0.02041 times the right one"),
    (GRID * 0, GRID, "6 of 6 numbers are not right"),
    (np.ones(4), np.full(4, 7.0), "4 of 4 numbers are not right"),
    (1.0, 7.0, "your answer is not the right number"),
    ([1.0], [7.0], "1 of 1 numbers are not right"),
    (np.array([2, 4]), np.array([1, 2]), "2 of 2 numbers are not right"),
    # Numbers.
    (GRID + np.array([[0, 0, 1], [0, 0, 0]]), GRID, "1 of 6 numbers are not right"),
    (np.array([1.0001, 2.0]), np.array([1, 2]), "1 of 2 numbers are not right"),
    (True, False, "your answer is not the right number"),
    (np.array([True, True]), np.array([True, False]), "1 of 2 numbers are not right"),
    (2**53 + 1, 2**53, "your answer is not the right number"),
    (np.array([2**62 + 1]), np.array([2**62]), "1 of 1 numbers are not right"),
    (np.array([-1]), np.array([255], dtype=np.uint8), "1 of 1 numbers are not right"),
    # What is no number.
    (np.array([NAN, 2.0]), np.array([1.0, 2.0]), "your answer holds NaN or an infinite number"),
    (np.array([INF, 2.0]), np.array([1.0, 2.0]), "your answer holds NaN or an infinite number"),
    (NAN, 3, "your answer holds NaN or an infinite number"),
    (-INF, 1e308, "your answer holds NaN or an infinite number"),
    (GRID * NAN, GRID, "your answer holds NaN or an infinite number"),
    (np.array([NAN, NAN]), np.array([NAN, 2.0]), "1 of 2 numbers are not right"),
    (np.array([1.0, 2.0]), np.array([NAN, 2.0]), "1 of 2 numbers are not right"),
    (np.array([INF, INF]), np.array([INF, 2.0]), "1 of 2 numbers are not right"),
    (np.array([INF, 5.0]), np.array([INF, 2.0]), "1 of 2 numbers are not right"),
    (np.array([-INF, 2.0]), np.array([INF, 2.0]), "1 of 2 numbers are not right"),
    (np.array([NAN, 2.0]), np.array([INF, 2.0]), "1 of 2 numbers are not right"),
    (np.array([-1e308, 1.0]), np.array([1e308, 1.0]), "1 of 2 numbers are not right"),
    (np.array([1e308, 1e308]), np.array([1.0, 2.0]), "2 of 2 numbers are not right"),
    # Kinds.
    (None, GRID, "your answer is nothing (None), expected numbers"),
    ("3", 3, "your answer is a word, expected numbers"),
    ({"a": 1}, GRID, "your answer is a dictionary, expected numbers"),
    (["1", "2"], np.array([1.0, 2.0]), "your answer is a list, expected an array of numbers"),
    ([None, 2.0], np.array([NAN, 2.0]), "your answer is a list, expected an array of numbers"),
    ([[1.0, 2.0], [3.0]], SQUARE, "your answer is a list, expected an array of numbers"),
    ([[1.0, 2.0], 3.0], SQUARE, "your answer is a list, expected an array of numbers"),
    ([{}, {}], np.array([1.0, 2.0]), "your answer is a list, expected an array of numbers"),
    ([[], {}], np.zeros((2, 0)), "your answer is a list, expected an array of numbers"),
    # Several results.
    (GRID, MIXED, "2 results in a tuple or list, your answer is an array of shape (2, 3)"),
    (MIXED[:1], MIXED, "expected 2 results in a tuple or list, your answer is 1 of them"),
    ([*MIXED, 3], MIXED, "expected 2 results in a tuple or list, your answer is 3 of them"),
    (
        MIXED[0],
        MIXED,
        "expected 2 results in a tuple or list, your answer is an array of shape (2,)",
    ),
    (3.0, MIXED, "expected 2 results in a tuple or list, your answer is the number 3.0"),
    (None, MIXED, "expected 2 results in a tuple or list, your answer is nothing (None)"),
    ({"a": 1}, MIXED, "expected 2 results in a tuple or list, your answer is a dictionary"),
    ("ab", ["a", "b"], "expected 2 results in a tuple or list, your answer is a word"),
    (MIXED[::-1], MIXED, "result 1: 2 of 2 numbers are not right"),
    ([MIXED[0], MIXED[1] * 2], MIXED, "result 2: your answer is 2 times the right one"),
    ([MIXED[0], None], MIXED, "result 2: your answer is nothing (None), expected numbers"),
    (["a", "c"], ["a", "b"], "result 2: your answer is 'c', which is not the right one"),
    # What is little for a count is much for a share.
    ([1000, 0.45], [1000, 0.5], "result 2: your answer is not the right number"),
    # Dictionaries.
    ([1, 2], {"a": 1}, "your answer is a list, expected a dictionary"),
    (GRID, {"a": 1}, "your answer is an array of shape (2, 3), expected a dictionary"),
    ({"b": 1}, {"a": 1}, "the keys are 'b', expected 'a'"),
    ({}, {"a": 1}, "the keys are none, expected 'a'"),
    ({"a": 1, "b": 2}, {"a": 1}, "the keys are 'a', 'b', expected 'a'"),
    ({"a": 2}, {"a": 1}, "a: your answer is not the right number"),
    ({"a": {"b": None}}, {"a": {"b": 1}}, "a: b: your answer is nothing (None), expected numbers"),
    # Words.
    ("Top", "top", "your answer is 'Top', which is not the right one"),
    ("x" * 9999, "top", f"your answer is '{'x' * 200}', which is not the right one"),
    (None, "top", "your answer is nothing (None), which is not the right one"),
    (3, "top", "your answer is the number 3, which is not the right one"),
    ("None", None, "your answer is 'None', which is not the right one"),
    (0, None, "your answer is the number 0, which is not the right one"),
    (MIXED, "top", "your answer is a list, which is not the right one"),
]


@pytest.mark.parametrize(("answer", "right", "sentence"), OTHER)
def test_what_is_not_right_is_told_in_words(answer: Any, right: Any, sentence: str):
    said = complaint(through_the_pipe(answer), through_the_pipe(right), {})
    assert said is not None
    assert sentence in said


def test_masks_that_are_turned_are_told_so():
    mask = np.array([[True, True, False], [False, False, False], [False, False, True]])
    assert complaint(mask.T, mask, {}) == compare.TRANSPOSED


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (np.array([1 + 2j]), np.array([1.0])),  # NumPy would drop the imaginary part
        (1j, 1.0),
        (np.array(["1"]), np.array([1.0])),
        (np.array([1.0], dtype=object), np.array([1.0])),
        (np.array([None]), np.array([NAN])),
        ({1.0}, np.array([1.0])),
        (b"1", 1),
        (object(), 1),
        ([[1.0], object()], np.array([[1.0], [2.0]])),
        ({1: 2, "a": 3}, {"a": 3}),  # keys that cannot be ordered
        (slice(3), "slice"),
    ],
)
def test_what_no_pipe_would_bring_is_refused_too(answer: Any, right: Any):
    """The visible check sees what a function gives, as it is."""
    assert complaint(answer, right, {})


# ---- how much it may differ ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 300.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_tolerance_is_a_share_of_the_largest_value(scale: float, sign: int, dtype: Any):
    right = (np.array([-10.0, 0.001, 0.0, 5.0]) * scale).astype(dtype)
    for place in range(4):
        for share, agrees in ((0.98, True), (1.02, False)):
            answer = right.astype(np.float64)
            answer[place] += sign * share * 1e-3 * 10 * scale
            assert (complaint(answer, right, {}, 1e-3) is None) == agrees, (place, share)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 300.0])
def test_an_absolute_tolerance_is_what_it_says(scale: float):
    right = np.array([-10.0, 0.001, 0.0, 5.0]) * scale
    for share, agrees in ((0.98, True), (1.02, False)):
        answer = right + np.array([0, 0, 1, 0]) * share * 1e-3
        assert (complaint(answer, right, {}, 1e-3, absolute=True) is None) == agrees


def test_one_number_is_its_own_scale():
    for right in (7.0, np.array(7.0), [7.0]):
        shape = np.shape(right)
        assert complaint(np.full(shape, 7.0006), right, {}, 1e-4) is None
        assert complaint(np.full(shape, 7.0008), right, {}, 1e-4)


def test_rounding_of_32_bits_is_no_mistake():
    rng = np.random.default_rng(0)
    features, weight = rng.normal(size=(50, 300)), rng.normal(size=(20, 300))
    right = features @ weight.T
    answer = features.astype(np.float32) @ weight.astype(np.float32).T
    assert not np.array_equal(answer, right)
    assert complaint(answer, right, {}) is None
    assert complaint(right.astype(np.float32), right, {}, 1e-6) is None
    # Where all that is expected is zero, there is no largest value to take a share of.
    assert complaint(np.full(3, 1e-8), np.zeros(3), {}) is None
    assert complaint(np.full(3, 1e-4), np.zeros(3), {})


def test_whole_numbers_have_no_tolerance():
    for answer in (np.array([1000.05]), np.array([1001]), np.array([999])):
        assert complaint(answer, np.array([1000]), {}, 0.5)
        assert complaint(answer, np.array([1000]), {}, 5.0, absolute=True)


def test_an_infinite_right_value_is_no_licence():
    """A share of infinity would let everything through."""
    right = np.array([INF, 1.0, 2.0])
    assert complaint(np.array([INF, 1.00001, 2.0]), right, {}) is None
    assert complaint(np.array([INF, 1.1, 2.0]), right, {})
    assert complaint(np.array([5.0, 1.0, 2.0]), right, {})
    right = np.array([NAN, 1.0, 2.0])
    assert complaint(np.array([NAN, 1.00001, 2.0]), right, {}) is None
    assert complaint(np.array([NAN, 1.1, 2.0]), right, {})


# ---- slips ----


def test_the_first_slip_that_fits_is_said_where_it_differs_from_what_is_right():
    right = np.array([1.0, 2.0, 3.0])
    slips = {
        "the same as right here": right.copy(),
        "the same but for rounding": right + 1e-9,
        "doubled": right * 2,
        "doubled, said otherwise": right * 2,
        "of another shape": right[:2],
        "a word": "three",
        "nothing": None,
        "not a number": right * NAN,
    }
    assert complaint(right, right, slips) is None
    assert complaint(right * 2, right, slips) == "doubled"
    assert complaint(right * 2 + 1e-5, right, slips) == "doubled"
    assert complaint(right[:2], right, slips) == "of another shape"
    assert complaint("three", right, slips) == "a word"
    assert complaint(None, right, slips) == "nothing"
    assert complaint(right * NAN, right, slips) == "not a number"
    assert complaint(right * 3, right, slips) == "your answer is 3 times the right one"


def test_an_answer_within_tolerance_is_right_also_if_a_slip_is_nearer():
    right, slip = np.array([1000.0, 0.0]), np.array([1000.0, 0.2])
    assert complaint(np.array([1000.0, 0.09]), right, {"slip": slip}, 1e-4) is None
    assert complaint(np.array([1000.0, 0.15]), right, {"slip": slip}, 1e-4) == "slip"
    # A slip that would be right here, too, is none here, though the answer agrees with it.
    slip = np.array([1000.0, 0.05])
    said = complaint(np.array([1000.0, 0.12]), right, {"slip": slip}, 1e-4)
    assert said == "1 of 2 numbers are not right"


def test_a_slip_in_one_of_several_results_is_told():
    right = [np.array([1, 2]), np.array([0.5, 0.25])]
    slips = {"the first is off by one": [np.array([0, 1]), np.array([0.5, 0.25])]}
    assert complaint([np.array([0, 1]), [0.5, 0.25]], right, slips) == "the first is off by one"
    assert complaint([np.array([1, 2]), [0.5, 0.5]], right, slips) not in (None, *slips)


# ---- no sentence tells the right numbers ----


def test_no_sentence_tells_a_right_number_or_word():
    rng = np.random.default_rng(1)
    for _ in range(60):
        number = round(float(rng.uniform(1000, 9999)), 3)
        whole, word = int(rng.integers(10**6, 10**7)), f"word{rng.integers(10**6)}"
        rights = [number, whole, word, np.full((2, 2), number), np.array([whole, whole + 1])]
        rights += [[whole, number], {"a": number, "b": word}, [word, whole], np.array(number)]
        answers = [0, 1, 1.0, True, "x", None, [], {}, np.ones((2, 2)), np.ones(2), [1, 1.0]]
        answers += [{"a": 1, "b": 1}, ["x", 1], [1], np.eye(2), np.zeros(0), NAN, 10**30]
        for right in rights:
            for answer in answers:
                said = complaint(answer, right, {}) or ""
                assert said
                told = set(re.findall(r"[\d.]+|word\d+", said))
                assert not told & {str(number), f"{number:.4g}", str(whole), word, str(whole + 1)}


# ---- a stranger's answers ----


def strange(rng: random.Random, depth: int = 0) -> Any:
    """Anything that the pipe can bring."""
    numbers: list[Any] = [0, 1, -1, 2**63 - 1, 1 - 2**63, 0.0, -0.0, 1.0, 1e308, 5e-324, NAN, INF]
    kinds = ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]
    choice = rng.randrange(9 if depth < 5 else 6)
    if choice < 2:
        return rng.choice(numbers)
    if choice == 2:
        return rng.choice([None, True, False, "", "word", "3", "\0", "x" * 500])
    if choice < 6:
        shape = [rng.choice([0, 1, 2, 2, 3]) for _ in range(rng.randrange(5))]
        values = [rng.choice(numbers) for _ in range(int(np.prod(shape)))]
        with np.errstate(all="ignore"):
            return np.array(values, dtype=np.float64).astype(rng.choice(kinds)).reshape(shape)
    items = [strange(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 2, 3]))]
    if choice == 6:
        return {rng.choice(["a", "b", "\n", ""]): item for item in items}
    return items


def all_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(all_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(all_finite, value))
    return not isinstance(value, float | np.ndarray) or bool(np.isfinite(value).all())


def test_no_answer_stops_the_comparison_and_none_that_is_no_number_is_right():
    rng = random.Random(0)
    rights = [right for _, right in SAME] + [right for _, right, _ in OTHER]
    agreed = refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of making strange arrays
        answers = [strange(rng) for _ in range(1500)]
    for answer in answers:
        answer = through_the_pipe(answer)
        right = rng.choice([*rights, *answers[:100]])
        right = through_the_pipe(right)
        said = complaint(answer, right, {"slip": rng.choice(rights)}, absolute=rng.random() < 0.5)
        assert said is None or isinstance(said, str)
        assert said is None or len(said) < 1000
        agreed += said is None
        refused += said is not None
        if all_finite(right) and not all_finite(answer):
            assert said is not None, (answer, right)
        assert complaint(answer, answer, {}) is None, answer
    assert agreed > 10
    assert refused > 1000


HUGE = 10**4400  # of more digits than Python would print


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (HUGE, 3),
        (-HUGE, 3.0),
        (HUGE, "word"),
        (HUGE, None),
        (HUGE, {"a": 1}),
        (HUGE, MIXED),
        ([HUGE, 1], np.array([1, 2])),
        ([HUGE, 1.5], np.array([1.0, 2.0])),
        ([2**63, -1], np.array([1.0, 2.0])),
        ([2**64 - 1, 1], np.array([-1, 1])),
        ([HUGE, "a"], ["b", "a"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_that_fit_nowhere_are_refused(answer: Any, right: Any):
    said = complaint(answer, right, {"slip": 1})
    assert said
    assert len(said) < 200


def test_lists_of_a_large_array_are_not_laid_out():
    """All together, they would take more memory than there is."""
    answer = [np.zeros(2**24, dtype=np.uint8)] * 10_000
    for right in (GRID, np.zeros(10_000), 3.0):
        said = complaint(answer, right, {"slip": GRID})
        assert said == f"your answer has shape (10000, 16777216), expected {np.shape(right)}"


def test_keys_without_end_are_not_told_to_their_end():
    said = complaint({f"key{i}": i for i in range(10_000)}, {"a": 1}, {})
    assert said is not None
    assert len(said) < 300
    assert said.endswith("..., expected 'a'")


def test_what_the_pipe_refuses_never_comes_here():
    with pytest.raises(BadMessage):
        through_the_pipe(np.array([1j]))


def test_it_needs_numpy_alone():
    """It is copied into each release."""
    code = "import sys, compare; sys.exit('torch' in sys.modules or 'course' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(compare.__file__).parent, check=False
    )
    assert done.returncode == 0
