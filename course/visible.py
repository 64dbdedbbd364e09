"""What a release brings for the visible checks: instances of a public seed, kept in a file."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from course.plain import plain
from course.tasks import ProblemSet, Task, expected, instances, wrong_ways

PUBLIC = "visible"
MOST = 2  # instances of a task
HERE = Path(__file__).parent


def _kept(value: Any) -> Any:
    """A plain value as JSON, and as `checks.restored` reads it."""
    if isinstance(value, np.ndarray):
        return {"array": value.flatten().tolist(), "kind": value.dtype.name, "shape": value.shape}
    if isinstance(value, list | tuple):
        return [_kept(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {key: _kept(item) for key, item in value.items()}}
    return value


def of_task(task: Task) -> dict[str, Any]:
    """What the visible check of a task knows: arguments, right answers, wrong ones by sentence."""
    return {
        "function": task.function,
        "adapter": task.adapter,
        "tolerance": task.tolerance,
        "absolute": task.absolute,
        "instances": [
            {
                "arguments": [_kept(plain(one)) for one in arguments],
                "right": _kept(expected(task, arguments)),
                "slips": {s: _kept(value) for s, value in wrong_ways(task, arguments).items()},
            }
            for arguments in instances(task, PUBLIC)[:MOST]
        ],
    }


def write(problem_set: ProblemSet, folder: Path) -> None:
    """Puts checks.py, what it needs, and checks.json into the folder of a set."""
    kept = {task.key: of_task(task) for task in problem_set.tasks if task.visible}
    (folder / "checks.json").write_text(json.dumps(kept), encoding="utf-8")
    for name in ("checks.py", "compare.py", "plain.py"):
        shutil.copyfile(HERE / name, folder / name)
