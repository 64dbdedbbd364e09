"""The cell for Colab stands in all notebooks where there is an address, and in none without."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from project_rules import ROOT, notebook_faults

colab = runpy.run_path(str(ROOT / "book/colab.py"), run_name="colab")
ADDRESS = "https://github.com/someone/cam-book"
KEPT = ("torch", "torchvision", "numpy")


def test_notebooks_and_configuration_agree():
    wrong = [path.name for path in colab["disagreeing"](ROOT)]
    assert wrong == [], "run: python book/colab.py"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The notebooks and the configuration alone."""
    for path in (ROOT / "_config.yml", *colab["paths"](ROOT)):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    configure(tmp_path, "")
    colab["main"](tmp_path)
    return tmp_path


def configure(project: Path, url: str, branch: str = "main") -> None:
    config = yaml.safe_load((project / "_config.yml").read_text())
    config["repository"] = {"url": url, "branch": branch}
    (project / "_config.yml").write_text(yaml.safe_dump(config))


def contents(project: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in colab["paths"](project)}


def test_the_cell_comes_and_goes_and_the_rest_stays(project: Path):
    plain = contents(project)
    assert len(plain) > 11
    configure(project, ADDRESS)
    assert len(colab["disagreeing"](project)) == len(plain)
    colab["main"](project)
    written = contents(project)
    colab["main"](project)
    assert contents(project) == written
    assert colab["disagreeing"](project) == []
    for name, text in written.items():
        [first, title, *_], cells = json.loads(text)["cells"], json.loads(plain[name])["cells"]
        assert json.loads(text)["cells"][1:] == cells
        assert "".join(title["source"]).startswith("# ")
        assert first["metadata"] == {"tags": ["remove-cell"]}  # pages do not show it
        assert text.endswith(plain[name].removeprefix(b'{\n "cells": [\n'))

    configure(project, ADDRESS + "-moved/", "release/2")
    colab["main"](project)
    assert all(f"{ADDRESS}-moved@release/2".encode() in text for text in contents(project).values())
    configure(project, "")
    colab["main"](project)
    assert contents(project) == plain


def test_a_notebook_with_the_cell_is_stored_as_it_must_be(project: Path):
    configure(project, ADDRESS)
    colab["main"](project)
    for path in colab["paths"](project):
        if path.parent == project / "notebooks":
            assert notebook_faults(path) == []
        notebook = nbformat.read(path, as_version=4)
        assert path.read_text(encoding="utf-8") == nbformat.writes(notebook) + "\n"
    shutil.copy(ROOT / "pyproject.toml", project)
    (project / "camlib").mkdir()
    for path in ROOT.glob("camlib/*.py"):  # the order of imports depends on what is the project's
        (project / "camlib" / path.name).touch()
    for command in (["check", "--quiet"], ["format", "--check", "--diff"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "notebooks"]
        done = subprocess.run(ruff, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "url", ["someone/cam-book", "https://host/a b", 'https://host/a"; import x']
)
def test_what_is_no_address_is_refused(project: Path, url: str):
    configure(project, url)
    with pytest.raises(ValueError, match="is no address"):
        colab["main"](project)


def code() -> str:
    return colab["CODE"].replace("ADDRESS", f"{ADDRESS}@main")


def test_with_camlib_the_cell_does_nothing():
    """In a kernel whose pip would fail."""
    broken = "import subprocess\n\nsubprocess.run = None"
    cells = [nbformat.v4.new_code_cell(one) for one in (broken, code(), "import camlib")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    assert [cell.outputs for cell in notebook.cells] == [[], [], []]


def asked_of_pip(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command that the cell runs where camlib is missing."""
    commands: list[list[str]] = []
    found = importlib.util.find_spec

    def without_camlib(name: str, *arguments: Any) -> Any:
        return None if name == "camlib" else found(name, *arguments)

    def keep(command: list[str], check: bool) -> None:
        assert check, "a failure of pip must show"
        commands.append(command)

    with monkeypatch.context() as patched:
        patched.setattr(importlib.util, "find_spec", without_camlib)
        patched.setattr(subprocess, "run", keep)
        exec(code(), {})
    [command] = commands
    return command


def test_without_camlib_pip_is_told_what_to_leave_alone(monkeypatch: pytest.MonkeyPatch):
    command = asked_of_pip(monkeypatch)
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-1] == f"camlib[notebooks] @ git+{ADDRESS}@main"
    constraints = Path(command[command.index("--constraint") + 1]).read_text().splitlines()
    assert constraints == [f"{name}=={importlib.metadata.version(name)}" for name in KEPT]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source tree to install from, without weights."""
    for name in ("pyproject.toml", "README.md", "LICENSE", "camlib/__init__.py"):
        target = tmp_path / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    return tmp_path / "source"


def dry_run(command: list[str], source: Path) -> tuple[dict[str, Any], str]:
    """What pip would install, from this tree and from nowhere else, and what it says."""
    report = source.parent / "report.json"
    options = ["--dry-run", "--no-index", "--no-build-isolation", "--report", str(report)]
    place = f"camlib[notebooks] @ {source.as_uri()}"
    loud = [one for one in command[:-1] if one != "--quiet"]  # it would keep the reason to itself
    done = subprocess.run([*loud, *options, place], capture_output=True, text=True, check=False)
    return json.loads(report.read_text()) if report.exists() else {}, done.stdout + done.stderr


def test_pip_would_install_camlib_alone(monkeypatch: pytest.MonkeyPatch, source: Path):
    """Here, where all that camlib needs is installed."""
    report, told = dry_run(asked_of_pip(monkeypatch), source)
    assert [one["metadata"]["name"] for one in report["install"]] == ["camlib"], told


def test_pip_would_rather_fail_than_change_torch(monkeypatch: pytest.MonkeyPatch, source: Path):
    project = source / "pyproject.toml"
    project.write_text(project.read_text().replace('"torch>=', '"torch>=9'))
    report, told = dry_run(asked_of_pip(monkeypatch), source)
    assert report == {}
    assert "conflict" in told
    assert "torch" in told
