"""The source notebooks of the coursework, and what is handed out with them."""

from __future__ import annotations

import functools
import importlib.util
import json
import sys
from types import ModuleType
from typing import Any

from course.flow import ASSIGNMENTS, SOURCES

__all__ = ["ASSIGNMENTS", "SOURCES", "cells_of", "handout_of", "notebook_of"]


@functools.cache
def notebook_of(name: str) -> dict[str, Any]:
    text = (SOURCES / name / f"{name}.ipynb").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def cells_of(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = notebook_of(name)["cells"]
    return found


def handout_of(name: str) -> ModuleType:
    """The set's handout.py, under its own name, as the student's cells import it."""
    path = SOURCES / name / "handout.py"
    spec = importlib.util.spec_from_file_location("handout", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["handout"] = module
    spec.loader.exec_module(module)
    return module
