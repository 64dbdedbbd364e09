"""What a call costs next to another one: time as a ratio, memory as the most that tensors take."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import torch

MIB = 2**20


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def paired_ratio(
    call: Callable[[], object], plain: Callable[[], object], repeats: int = 20
) -> float:
    """Median of time(call) / time(plain), each pair run one right after the other.

    A time says little on a machine that does other things as well; the ratio of two that were
    taken side by side says more.

    Args:
        call, plain: take no argument; each is run once before it is measured.
        repeats: number of pairs.
    """
    call(), plain()
    ratios = []
    for i in range(repeats):
        # Who goes first alternates, so that neither always finds the caches warm.
        if i % 2:
            other, own = seconds(plain), seconds(call)
        else:
            own, other = seconds(call), seconds(plain)
        ratios.append(own / other)
    return statistics.median(ratios)


def peak_memory(call: Callable[[], object]) -> float:
    """Most memory (MiB) that torch's tensors take at once during a call, over that before it.

    On the CPU, as torch's profiler counts it. The call is run once before it is measured.
    """
    call()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        call()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = [event for event in events if event["name"] == "[memory]"]
    changes.sort(key=lambda event: event["ts"])
    return max(accumulate(event["args"]["Bytes"] for event in changes), default=0) / MIB
