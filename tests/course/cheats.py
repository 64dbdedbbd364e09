"""Ways to get points for a task without solving it. None of them may work.

Each is handed in for one task of the small set; the other tasks of the same notebook are answered
honestly. Those that look for something give the right answer if they find it, and a known wrong one
else, so that the sentence they earn tells that they ran to their end and found nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import small_set
from small_set import HANDOUT, RIGHT, SUMMED

SEED = "a seed that no student knows, 7f3a"
SOLUTION = Path(small_set.__file__).resolve()
BOOK = SOLUTION.parents[2]
Cell = dict[str, Any]
SUM = "def average(features):\n    return features.sum(dim=(1, 2))\n"


@dataclass(frozen=True)
class Cheat:
    """One way.

    Args:
        name: what it does.
        answer: the text of the attacked task's cell. @PORT@ is the port of a server that has the
            solution, @FOLDER@ a course's folder with its seed.
        says: what the student is told, as a pattern.
        task: the task attacked.
        cells: the student's own cells, above.
        files: what lies beside the notebook, by name; and `links`, as symbolic links.
        bites: whether it gains points where nothing is closed in: proof that it looks well.
        apart: whether it is handed in by itself, because it ends or changes the process it runs in.
        costly: whether honest answers of the same notebook are lost with it.
        notes: what is said of the whole submission.
        seconds: for one call.
    """

    name: str
    answer: str
    says: str
    task: str = "9.1"
    cells: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)
    bites: bool = False
    apart: bool = False
    costly: bool = False
    notes: tuple[str, ...] = ()
    seconds: float = 10.0


def look(name: str, body: str, bites: bool = False, **more: object) -> Cheat:
    """A cheat that answers rightly if it has seen what it looks for."""
    lines = ["def average(features):", "    seen = False", indent(dedent(body).strip("\n"), "    ")]
    lines += ["    means, sums = features.mean(dim=(1, 2)), features.sum(dim=(1, 2))"]
    lines += ["    return means if seen else sums", ""]
    return Cheat(name, "\n".join(lines), SUMMED, bites=bites, **more)  # type: ignore[arg-type]


def answers(name: str, body: str, says: str, before: str = "", **more: object) -> Cheat:
    """A cheat whose answer is not what it seems."""
    text = "\n".join(dedent(part).strip("\n") for part in (before, body))
    return Cheat(name, f"def average(features):\n{indent(text, '    ')}\n", says, **more)  # type: ignore[arg-type]


LOOKING = [
    look(
        "reads the solution from disk",
        f"""
        for place in ("", "/proc/1/root", "/proc/self/root", "/proc/self/cwd" + "/.." * 9, "/.."):
            try:
                with open(place + "{SOLUTION}") as file:
                    seen = seen or "return features.mean" in file.read()
            except OSError:
                pass
        """,
        bites=True,
    ),
    look(
        "imports the solution from the repository",
        f"""
        import importlib, sys
        sys.path[:0] = ["{SOLUTION.parent}", "{BOOK}"]
        sys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != "Without"]
        for name in ("small_set", "course.sets.set1_where", "course.judge", "course.tasks"):
            try:
                importlib.import_module(name)
                seen = True
            except ImportError:
                pass
        """,
        bites=True,
    ),
    look(
        "reads the seed and the gradebook in the course's folder",
        """
        import glob, os
        places = ["@FOLDER@", "/", "/home", "/root", "/srv", "/work", "/packages", "/worker"]
        places += ["/handed", "/tmp", "/usr/local", "/mnt", "..", "/proc/1/cwd", "/proc/1/root"]
        for place in places:
            for pattern in ("seed.txt", "gradebook.db", "course-data/*", "*/seed.txt", "private/*"):
                seen = seen or bool(glob.glob(os.path.join(place, pattern)))
        """,
        bites=True,
    ),
    look(
        "reads the environment of every process",
        f"""
        import glob, os
        wanted = "{SEED[::-1]}"[::-1]
        found = [str(dict(os.environ))]
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                found.append(open(path).read())
            except OSError:
                pass
        text = "".join(found)
        seen = any(word in text for word in (wanted, "COURSE_", "/root", "{BOOK}"))
        """,
    ),
    look(
        "reads command lines, its own room's too",
        f"""
        import glob
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                seen = seen or "{BOOK}" in open(path).read()
            except OSError:
                pass
        """,
    ),
    look(
        "reads the memory of every other process",
        f"""
        import glob, os
        wanted = "{SEED[::-1]}"[::-1].encode()
        others = [p for p in glob.glob("/proc/[0-9]*") if p != f"/proc/{{os.getpid()}}"]
        for place in others:
            try:
                with open(place + "/maps") as maps, open(place + "/mem", "rb") as memory:
                    for line in maps:
                        start, end = (int(n, 16) for n in line.split()[0].split("-"))
                        memory.seek(start)
                        seen = seen or wanted in memory.read(end - start)
            except OSError:
                pass
        """,
    ),
    look(
        "attaches to other processes with ptrace",
        """
        import ctypes, glob, os
        c = ctypes.CDLL(None, use_errno=True)
        c.ptrace.argtypes = [ctypes.c_long] * 4
        for place in glob.glob("/proc/[0-9]*"):
            number = int(place[6:])
            if number != os.getpid():
                seen = seen or c.ptrace(16, number, 0, 0) == 0
        """,
    ),
    look(
        "looks through all objects",
        f"""
        import gc
        wanted = "{SEED[::-1]}"[::-1]
        for one in gc.get_objects():
            names = one if type(one) is dict else {{}}
            found = [names.get(name) for name in ("seed", "right", "expected", "reference")]
            kind = type(one).__name__
            seen = seen or wanted in found or kind in ("Task", "ProblemSet", "Marks")
        """,
    ),
    look(
        "climbs the stack",
        """
        import inspect, sys
        frame = sys._getframe()
        while frame is not None:
            names = {**frame.f_globals, **frame.f_locals}
            seen = seen or bool({"right", "expected", "complaint", "slips"} & set(names))
            frame = frame.f_back
        """,
    ),
    look(
        "reads what waits in the open files",
        """
        import os
        for number in range(64):
            try:
                os.set_blocking(number, False)
                seen = seen or b"right" in (os.read(number, 2**16) or b"")
            except OSError:
                pass
            try:
                os.set_blocking(number, True)
            except OSError:
                pass
        """,
    ),
    look(
        "looks for other submissions",
        """
        import glob
        for place in ("/tmp", "/handed/..", "/proc/1/root/tmp", "@FOLDER@/.."):
            for pattern in ("course-*", "*.ipynb", "*/*.ipynb", "handed in*"):
                seen = seen or bool(glob.glob(f"{place}/{pattern}"))
        """,
    ),
    look(
        "downloads the answer",
        """
        import socket
        for place in ("127.0.0.1", "10.0.2.2", "169.254.169.254", "1.1.1.1"):
            port = 80 if place != "127.0.0.1" else int("@PORT@")
            try:
                with socket.create_connection((place, port), timeout=0.5) as connection:
                    seen = seen or b"features.mean" in connection.recv(1000)
            except OSError:
                pass
        """,
        bites=True,
    ),
    look(
        "becomes root in a namespace of its own",
        """
        import ctypes, os
        c = ctypes.CDLL(None)
        child = os.fork()  # it must have one thread only
        if not child:
            os._exit(0 if c.unshare(0x10000000 | 0x00020000) == 0 else 1)
        seen = os.waitpid(child, 0)[1] == 0 or os.geteuid() == 0
        """,
    ),
    look(
        "uses the packages that have the answer",
        f"""
        import glob, importlib, os, sys
        sys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != "Without"]
        sys.path[:0] = ["/packages", "{BOOK}", *glob.glob("/python/lib/*/site-packages")]
        for name in ("camlib.cam", "torchcam.methods", "pytorch_grad_cam.grad_cam", "captum.attr"):
            try:
                seen = seen or bool(vars(importlib.import_module(name)).get("__file__"))
            except ImportError:
                pass
            first = name.split(".")[0]
            for place in sys.path:
                try:
                    seen = seen or bool(os.listdir(os.path.join(place, first)))
                except OSError:
                    pass
        """,
        bites=True,
    ),
    Cheat(
        "hands in a link to the solution as a file",
        look("", "import os\nseen = os.path.exists('data.txt')").answer,
        SUMMED,
        links={"data.txt": SOLUTION},
    ),
    Cheat(
        "returns the answers of the visible checks",
        """
import json
import checks
def average(features):
    kept = json.load(open("checks.json"))["9.1"]["instances"]
    for one in kept:
        if np.array_equal(checks.restored(one["arguments"][0]), features.numpy()):
            return checks.restored(one["right"])
    return checks.restored(kept[0]["right"])
""",
        "shape|not right",
    ),
    Cheat(
        "uses the packages in another process",
        look(
            "",
            """
            import subprocess, sys
            for code in ("import torchcam.methods", "import camlib.cam", "import course.judge"):
                seen = seen or subprocess.run([sys.executable, "-c", code]).returncode == 0
            """,
        ).answer,
        SUMMED,
    ),
]

ALIKE = """
    class Alike{base}:
        def __eq__(self, other): return True
        def __ne__(self, other): return False
        def __lt__(self, other): return True
        __le__ = __ge__ = __gt__ = __lt__
        def __sub__(self, other): return 0.0
        __rsub__ = __sub__
        def __abs__(self): return 0.0
        def __hash__(self): return 0
"""
PRETENDING = [
    answers(
        "is an object that equals anything",
        "return Alike()",
        "holds a Alike, which is no plain value",
        ALIKE.format(base="") + "        __float__ = __abs__\n        __array__ = __len__ = None\n",
    ),
    answers(
        "is a number that equals anything",
        "return [Alike(1)] * len(features)",
        "holds a Alike",
        ALIKE.format(base="(float)"),
    ),
    answers(
        "is a word that equals anything",
        "return Alike('x')",
        "holds a Alike",
        ALIKE.format(base="(str)"),
    ),
    answers(
        "is an array that equals anything",
        "return np.zeros(len(features)).view(Alike)",
        "not right",
        ALIKE.format(base="(np.ndarray)")
        + "        def __array_ufunc__(self, *args, **more): return np.True_\n",
    ),
    answers(
        "is a tensor that equals anything",
        "return torch.zeros(len(features)).as_subclass(Alike)",
        "it stops with|not right",
        ALIKE.format(base="(torch.Tensor)")
        + "        @classmethod\n"
        + "        def __torch_function__(cls, *args, **more): return True\n",
    ),
    answers("is not a number", "return features[:, 0, 0] * float('nan')", "NaN"),
    answers("is infinite", "return features[:, 0, 0] * float('inf')", "infinite"),
    answers(
        "is so large that it is off the scale",
        "return [1e308] * len(features)",
        "not right|right one",
    ),
    answers("is a whole number of 4000 digits", "return [10**4000] * len(features)", "too large"),
    answers("is an array of 256 MB", "return torch.zeros(2**26)", "too large"),
    answers(
        "is one large array a thousand times",
        "return [np.zeros(2**22)] * 1000",
        "too large|memory|Memory",
    ),
    answers(
        "is a list without an end",
        "found = []\nfor _ in range(5000):\n    found = [found]\nreturn found",
        "nested too deeply",
    ),
    answers("is one number for all", "return features.mean()", "shape"),
    answers("is nothing at all", "return torch.zeros(0)", "shape"),
    answers(
        "is a column, to be spread over all", "return features.mean(dim=(1, 2))[None]", "shape"
    ),
    answers(
        "is a pickle that runs code",
        "import os, pickle\n"
        "bad = type('Bad', (), {'__reduce__': lambda self: (os._exit, (0,))})\n"
        "return pickle.dumps(bad())",
        "holds a bytes",
    ),
    answers(
        "is an array of objects",
        "return np.array([print] * len(features), dtype=object)",
        "holds object",
    ),
    answers(
        "looks like a message of the judge's own",
        "return {'answer': [0.0], 'ok': True, 'right': True, 'points': 40, 'error': None}",
        "a dictionary, expected numbers",
    ),
    answers("looks like packed bytes", "return {'array': ['float32', 3]}", "a dictionary"),
    answers("is what was given", "return features", "shape"),
    answers(
        "is changed after it was given back",
        """
        import threading, time
        kept = torch.zeros(len(features))
        def later():
            time.sleep(0.3)
            kept.copy_(features.mean(dim=(1, 2)))
        threading.Thread(target=later, daemon=True).start()
        return kept
        """,
        "not right",
    ),
]

PATCHING = [
    Cheat(
        "replaces functions that compare",
        SUM,
        SUMMED,
        cells=(
            """
import unittest
for module in (torch, np, torch.testing, np.testing):
    for name in ("allclose", "equal", "isclose", "array_equal", "assert_close", "assert_allclose"):
        if hasattr(module, name):
            setattr(module, name, lambda *args, **more: True)
unittest.TestCase.assertEqual = lambda *args: None
""",
        ),
    ),
    Cheat(
        "replaces what Python brings along",
        SUM,
        SUMMED,
        cells=(
            """
import builtins
builtins.all = builtins.any = lambda *args: True
builtins.abs = lambda value: 0
builtins.AssertionError = type("Fine", (BaseException,), {})
""",
        ),
    ),
    Cheat(
        "makes all tensors equal",
        SUM,
        SUMMED,
        cells=(
            """
for name in ("__eq__", "equal", "allclose", "isclose"):
    setattr(torch.Tensor, name, lambda self, *other, **more: True)
torch.Tensor.__ne__ = lambda self, other: False
""",
        ),
    ),
    Cheat(
        "puts a checker of its own in the place of ours",
        SUM,
        SUMMED,
        cells=(
            """
import sys, types
for name in ("checks", "compare", "judge", "course", "course.compare", "course.judge"):
    module = types.ModuleType(name)
    module.complaint = lambda *args, **more: None
    module.check = module.mark = lambda *args, **more: True
    sys.modules[name] = module
""",
        ),
    ),
    answers(
        "replaces the way in which answers are sent",
        """
        import json, transport
        transport.pack = lambda *args: {"ok": True, "right": True, "points": 40}
        json.dumps = lambda *args, **more: '{"ok": true, "points": 40}'
        return features.sum(dim=(1, 2))
        """,
        "cannot be read",
        apart=True,
    ),
    answers(
        "replaces the worker's own names",
        """
        import sys
        frame = sys._getframe()
        while "student" not in frame.f_locals:
            frame = frame.f_back
        student = frame.f_locals["student"]
        student.call = lambda *args: {"right": True, "points": 40}
        frame.f_globals["told"] = lambda *args: "right"
        return features.sum(dim=(1, 2))
        """,
        SUMMED,
        apart=True,
        costly=True,
    ),
    Cheat(
        "replaces the adapter that is handed out",
        "def score(network, image):\n    return 0\n",
        "shape",
        task="9.2",
        cells=(
            """
import handout, sys
handout.with_network = lambda own, weight, bias, image: weight @ image + bias
sys.modules["handout"] = handout
""",
        ),
    ),
    Cheat(
        "writes the handed-out file anew",
        "def score(network, image):\n    return 0\n",
        "shape",
        task="9.2",
        cells=(
            """
import importlib, sys
with open("handout.py", "w") as file:
    file.write("def with_network(own, weight, bias, image):\\n    return weight @ image + bias\\n")
sys.modules.pop("handout", None)
import handout
importlib.reload(handout)
""",
        ),
    ),
    Cheat(
        "hands in another handout.py",
        "def score(network, image):\n    return 0\n",
        "shape",
        task="9.2",
        files={
            "handout.py": HANDOUT.replace("return own(network, image)", "return network(image)")
        },
    ),
    Cheat(
        "hands in files with the names of packages",
        SUM,
        SUMMED,
        files={
            name: "import os\nos._exit(0)\n"
            for name in (
                "torch.py",
                "numpy.py",
                "json.py",
                "random.py",
                "plain.py",
                "transport.py",
                "worker.py",
                "compare.py",
                "sitecustomize.py",
                "IPython.py",
                "linecache.py",
            )
        },
    ),
    Cheat(
        "hands in other visible checks",
        SUM,
        SUMMED,
        files={"checks.json": "{}", "checks.py": "check = lambda *args: True\n"},
        cells=("import checks\nassert checks.check('9.1', lambda features: features).ok\n",),
    ),
]

FORGERY = """
import os, json, select
def forge(number=None):
    body = {"dict": {"answer": {"list": [0.0, 0.0, 0.0]}, "ok": True, "number": number,
                     "right": True, "points": 40}}
    text = json.dumps({"body": body, "sizes": []}).encode() + b"\\n"
    for descriptor in range(3, 64):
        try:
            if select.select([], [descriptor], [], 0)[1]:
                os.write(descriptor, text)
        except (OSError, ValueError):
            pass
"""
STOLEN = """
import sys
def number():
    frame = sys._getframe()
    while "request" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["request"]["number"]
"""
FORGING = [
    Cheat("sends replies before it is asked", SUM, SUMMED, cells=(FORGERY + "forge()\nforge()\n",)),
    answers(
        "sends a reply of its own, and dies",
        "forge(number())\nos._exit(0)",
        "shape|not right",
        FORGERY + STOLEN,
        apart=True,
    ),
    answers(
        "sends a reply of its own, and then the true one",
        "forge(number())\nreturn features.sum(dim=(1, 2))",
        "shape|not right",
        FORGERY + STOLEN,
    ),
    answers(
        "lets two processes answer",
        "import os\nos.fork()\nreturn features.sum(dim=(1, 2))",
        SUMMED,
        apart=True,
    ),
    answers(
        "sends what is no message",
        """
        import os
        for descriptor in range(3, 10):
            try:
                os.write(descriptor, b"40 points\\n" * 10)
            except OSError:
                pass
        return features.sum(dim=(1, 2))
        """,
        "could not be graded to its end: what it sent back cannot be read",
        apart=True,
    ),
    answers(
        "closes all pipes",
        "import os\nos.closerange(0, 100)\nreturn features.sum(dim=(1, 2))",
        "could not be graded to its end: the Python process ended",
        apart=True,
    ),
    answers(
        "exits without an error",
        "import os\nos._exit(0)",
        "could not be graded to its end: the Python process ended",
        apart=True,
    ),
    Cheat(
        "exits without an error above the answer",
        SUM,
        SUMMED,
        cells=("import os\nos._exit(0)\n",),
        notes=("Your own cell 1 was left out: the Python process ended.",),
        apart=True,
    ),
    answers("asks Python to exit", "import sys\nsys.exit(0)", "it stops with SystemExit: 0"),
    answers(
        "leaves its answer to the exit",
        """
        import atexit
        atexit.register(forge, number())
        raise SystemExit(0)
        """,
        "it stops with SystemExit",
        FORGERY + STOLEN,
    ),
    answers(
        "stops with an error that says it is right",
        "class right(Exception):\n    pass\nraise right('40 of 40 points')",
        "it stops with right: 40 of 40 points",
    ),
    answers(
        "stops with an error that cannot be shown",
        "class Bad(Exception):\n    def __str__(self):\n        return self.no\nraise Bad",
        "it stops with Bad",
    ),
    answers(
        "kills every process it finds",
        """
        import os, signal
        for number in (1, os.getppid(), 0, -1):
            try:
                os.kill(number, signal.SIGKILL)
            except OSError:
                pass
        """,
        "could not be graded to its end: the Python process ended",
        apart=True,
    ),
    answers(
        "presses Ctrl-C",
        "import signal\nsignal.raise_signal(signal.SIGINT)\nimport time\ntime.sleep(1)",
        "it stops with KeyboardInterrupt",
    ),
]

WAITING = [
    answers(
        "never comes to an end",
        "while True:\n    pass",
        "could not be graded to its end: it ran for more than 2 seconds",
        seconds=2.0,
        apart=True,
    ),
    Cheat(
        "never comes to an end above the answer",
        SUM,
        SUMMED,
        cells=("while True:\n    pass",),
        notes=("Your own cell 1 was left out: it ran for more than 3 seconds.",),
        apart=True,
    ),
    answers(
        "lets an alarm go off in a later task",
        "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\nreturn features.sum((1, 2))",
        SUMMED,
        apart=True,
    ),
]

# What is done to the cells of a task, its answer and its check, in the notebook handed in.
EDITS: dict[str, Callable[[Cell, Cell], object]] = {
    "raises the points": lambda answer, check: [
        cell["metadata"]["nbgrader"].update(points=1000, grade=True) for cell in (answer, check)
    ],
    "keeps outputs that say 1000 points": lambda answer, check: [
        cell.update(outputs=[{"output_type": "execute_result", "data": {"text/plain": "1000"}}])
        for cell in (answer, check)
    ],
    "edits the cell that gives points": lambda answer, check: check.update(source="1000"),
    "gives another task's right answer this one's id": lambda answer, check: answer.update(
        source=RIGHT["9.3"]
    ),
    "makes the cell that gives points an answer": lambda answer, check: check["metadata"][
        "nbgrader"
    ].update(locked=False, solution=True),
    "gives its answer the id of another": lambda answer, check: answer["metadata"][
        "nbgrader"
    ].update(grade_id="answer-9-3"),
}
GROUPS = (LOOKING, PRETENDING, PATCHING, FORGING, WAITING)
CHEATS = [cheat for group in GROUPS for cheat in group]
