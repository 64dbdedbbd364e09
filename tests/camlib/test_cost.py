"""camlib.cost on calls whose cost is known."""

import time

import pytest
import torch

from camlib.cost import paired_ratio, peak_memory


def test_a_ratio_is_that_of_the_work():
    found = paired_ratio(lambda: time.sleep(0.03), lambda: time.sleep(0.01), repeats=7)
    assert 2 < found < 4  # 1/3 if it were the other way round


def test_a_machine_that_slows_down_changes_no_ratio():
    """Each pair takes longer than the one before: only within a pair can one compare."""
    calls = []

    def work(share):
        calls.append(share)
        time.sleep(share * 0.002 * 1.6 ** ((len(calls) - 1) // 2))

    found = paired_ratio(lambda: work(2), lambda: work(1), repeats=8)
    assert 1.4 < found < 2.6
    # One of each to warm up; then who goes first alternates.
    assert calls == [2, 1] + [2, 1, 1, 2] * 4


@pytest.mark.parametrize(
    ("call", "mib"),
    [
        (lambda: torch.ones(3, 2**20), 12),
        (lambda: torch.ones(3, 2**20) + torch.ones(3, 2**20), 36),  # three at once
        (lambda: [torch.ones(2**20).sum() for _ in range(5)], 4),  # one at a time
        (lambda: None, 0),
    ],
)
def test_peak_memory_is_what_tensors_take_at_once(call, mib):
    assert peak_memory(call) == pytest.approx(mib, abs=0.01)


def test_what_was_there_before_or_is_made_once_does_not_count():
    before = torch.ones(8, 2**20)
    made_once = []

    def call():
        if not made_once:
            made_once.append(torch.ones(2**20))
        return before[0] + made_once[0]

    assert peak_memory(call) == pytest.approx(4, abs=0.01)
