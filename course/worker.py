"""Runs a student's cells and functions, inside the sandbox. It knows no answer, seed or mark.

Started as `python worker.py SETTINGS`, it reads requests from its standard input and answers on
what was its standard output, while the student's own prints go nowhere. Requests and replies:
    {"cell": label, "source": text}                          {"ok": True} or {"error": text}
    {"function": name, "adapter": name, "arguments": [...]}  {"answer": value} or {"error": text}
Each reply carries the "number" of its request, so that one which nobody asked for is known.
"""

import importlib
import importlib.util
import json
import linecache
import os
import re
import resource
import shutil
import sys
import traceback
import types
from typing import Any

ERROR_LENGTH = 400
HANDED = "/handed"  # what goes with the notebook; the student's code gets a copy
# Magics that run the code behind them. All others do nothing.
TIMED_CELL = re.compile(r"\A\s*%%(time|timeit|capture|prun)\b[^\n]*")
TIMED_LINE = re.compile(r"^(\s*)%time\s", re.MULTILINE)


def limit(limits: dict[str, int]) -> None:
    """Bounds what this process and its children may take; they cannot raise it again."""
    os.nice(5)  # whoever judges, and works on this machine, comes first
    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


class Without:
    """Says of packages that are the answer to a task why they cannot be imported."""

    def __init__(self, names: list[str]):
        self.names = set(names)

    def find_spec(self, name: str, *_: Any) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} is not there in grading: write it yourself")


class _Silent:
    """Stands for IPython, of which a notebook may ask for magics: none does anything."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **more: None


def told(error: BaseException, labels: set[str]) -> str:
    """An error in the words a student needs: kind, message, and lines of their own cells."""
    lines = [
        f"line {frame.lineno} of {frame.filename.strip('<>')}: {(frame.line or '').strip()[:120]}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename in labels
    ]
    try:
        message = " ".join(str(error).split())
    except BaseException:
        message = ""
    where = f" ({lines[-1]})" if lines else ""
    if isinstance(error, SyntaxError):
        where = f" (line {error.lineno} of {str(error.filename).strip('<>')})"
        message = str(error.msg or "")
    text = f"{type(error).__name__}: {message[:ERROR_LENGTH]}{where}"
    if isinstance(error, NotImplementedError) and not message:
        text = "NotImplementedError"  # as the stub of an answer raises it
    return text.encode("utf-8", "replace").decode()


def runnable(source: str) -> str:
    """The cell as Python: what measures time is left out, other lines for IPython do nothing."""
    source = TIMED_LINE.sub(r"\1", TIMED_CELL.sub("", source))
    try:
        from IPython.core.inputtransformer2 import TransformerManager

        manager: Any = TransformerManager
        return str(manager().transform_cell(source))
    except Exception:  # an unfinished cell, say: Python's own message is the better one
        return source


class Student:
    """The names that the student's cells have made so far, and the adapters handed out."""

    def __init__(self, adapters: dict[str, Any]) -> None:
        # The module is called __main__, as in a notebook.
        self.module = types.ModuleType("__main__")
        self.module.__dict__.update(get_ipython=_Silent, display=lambda *args, **more: None)
        self.labels: set[str] = set()
        self.adapters = adapters
        sys.modules["__main__"] = self.module

    def run(self, label: str, source: str) -> None:
        name, text = f"<{label}>", runnable(source)
        self.labels.add(name)
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), self.module.__dict__)

    def call(self, function: str, adapter: str | None, arguments: list[Any]) -> Any:
        own = self.module.__dict__.get(function)
        if not callable(own):
            raise NameError(f"there is no function `{function}`")
        return own(*arguments) if adapter is None else self.adapters[adapter](own, *arguments)


def own_pipes() -> tuple[Any, Any]:
    """Where requests come from and replies go to; what the student prints goes nowhere."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    return requests, replies


def main() -> None:
    settings = json.loads(sys.argv[1])
    limit(settings["limits"])
    requests, replies = own_pipes()
    if os.path.isdir(HANDED):
        for name in os.listdir(HANDED):
            shutil.copyfile(os.path.join(HANDED, name), name)

    import torch
    from plain import as_torch
    from transport import BadMessage, receive, send

    torch.set_num_threads(1)
    # The student's files come last: none of them stands in for a package. What is handed out is
    # loaded before any code of the student's.
    sys.path[:] = [*sys.path[1:], os.getcwd()]
    sys.meta_path.insert(0, Without(settings["without"]))
    found = importlib.util.find_spec("handout")
    student = Student(dict(vars(importlib.import_module("handout"))) if found else {})
    send(replies, {"ok": True})
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        number = {"number": request["number"]}
        try:
            if "cell" in request:
                student.run(request["cell"], request["source"])
                reply: dict[str, Any] = {"ok": True}
            else:
                arguments = as_torch(request["arguments"])
                answer = student.call(request["function"], request["adapter"], arguments)
                reply = {"answer": answer}
            send(replies, reply | number)
        except BadMessage as error:
            send(replies, {"error": f"its answer cannot be read: {error}"} | number)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt
            send(replies, {"error": told(error, student.labels)} | number)


if __name__ == "__main__":
    main()
