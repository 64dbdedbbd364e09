"""The visible checks of a problem set: `check("1.1", my_function)` says what it thinks of it.

They compare with a few instances kept in checks.json. Grading compares with others, so an answer
that fits these alone is worth nothing there.
"""

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from compare import complaint
from plain import as_torch, plain

HERE = Path(__file__).parent


class Verdict:
    """Whether an answer is right so far, and what there is to say about it."""

    def __init__(self, ok: bool, message: str):
        self.ok, self.message = ok, message

    def __repr__(self) -> str:
        return ("Right so far: " if self.ok else "Not yet: ") + self.message


def restored(value: Any) -> Any:
    """A kept value, with its arrays."""
    if isinstance(value, list):
        return [restored(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return np.array(value["array"], dtype=value["kind"]).reshape(value["shape"])
    return {key: restored(item) for key, item in value["dict"].items()}


def check(key: str, function: Callable[..., Any]) -> Verdict:
    """What there is to say about the function of a task, such as "1.1"."""
    kept = json.loads((HERE / "checks.json").read_text(encoding="utf-8"))
    if key not in kept:
        return Verdict(False, f"there is no task {key!r}; there are {', '.join(kept)}.")
    task = kept[key]
    call = function
    if task["adapter"]:
        import handout

        adapter = getattr(handout, task["adapter"])

        def call(*arguments: Any) -> Any:
            return adapter(function, *arguments)

    for one in task["instances"]:
        try:
            answer = plain(call(*as_torch(restored(one["arguments"]))))
        except Exception as error:  # a student's own error is shown, with where it came from
            if isinstance(error, NotImplementedError) and not error.args:
                return Verdict(False, f"`{task['function']}` is still to be written.")
            traceback.print_exc()
            return Verdict(False, f"it stops with {type(error).__name__}: {error}")
        slips = {sentence: restored(value) for sentence, value in one["slips"].items()}
        found = complaint(
            answer,
            restored(one["right"]),
            slips,
            task["tolerance"],
            task["absolute"],
        )
        if found:
            return Verdict(False, found.rstrip(".") + ".")
    return Verdict(
        True, f"it agrees with {len(task['instances'])} instances; grading draws others."
    )
