"""Nothing large, private or half-made among the project's files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from project_rules import (
    LARGEST,
    ROOT,
    citation_faults,
    project_files,
    text_faults,
    workflow_faults,
)

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_no_file_is_large():
    large = [path for path in project_files() if path.stat().st_size > LARGEST]
    # Trained weights have a limit of their own, for all of them together.
    assert [path for path in large if path.parent != ROOT / "camlib/weights"] == []


def test_large_files_are_seen_and_ignored_ones_are_not(tmp_path: Path):
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    for name in ("large", "ignored"):
        (tmp_path / name).write_bytes(bytes(LARGEST + 1))
    large = [path.name for path in project_files(tmp_path) if path.stat().st_size > LARGEST]
    assert large == ["large"]


def test_no_file_holds_what_is_true_on_one_machine_only():
    found = {path.relative_to(ROOT).as_posix(): text_faults(path) for path in project_files()}
    assert {path: faults for path, faults in found.items() if faults} == {}


@pytest.mark.parametrize(
    "text",
    [
        "see /" + "root/data",
        "'/" + "work/data'",
        "/" + "home/ada/photos",
        "C:" + r"\Users\ada",
        "--index-" + "url https://example.org",
        "https://pypi" + ".org/simple",
        '"resolved": "https://files.pythonhosted' + '.org/x"',
    ],
)
def test_what_is_true_on_one_machine_only_is_seen(text: str, tmp_path: Path):
    (tmp_path / "file.txt").write_text(text)
    assert text_faults(tmp_path / "file.txt")


def test_relative_paths_and_binary_files_pass(tmp_path: Path):
    (tmp_path / "file.txt").write_text("book/root/x, ./work/y, a homework/")
    (tmp_path / "file.bin").write_bytes(b"\xff\xfe\x00/" + b"root/")
    assert text_faults(tmp_path / "file.txt") == text_faults(tmp_path / "file.bin") == []


def test_the_licences_are_there():
    assert "BSD 3-Clause" in (ROOT / "LICENSE").read_text()
    assert "Attribution 4.0 International" in (ROOT / "LICENSE-TEXT").read_text()


def test_the_book_can_be_cited(tmp_path: Path):
    assert citation_faults(ROOT / "CITATION.cff") == []
    bad = tmp_path / "CITATION.cff"
    bad.write_text("cff-version: 1.2.0\ntitle: A book\n")
    assert citation_faults(bad) == ["lacks message", "lacks authors", "lacks license"]
    bad.write_text("title: [")
    assert "no YAML" in citation_faults(bad)[0]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_is_sound(path: Path):
    assert workflow_faults(path) == []


JOB = "on: push\npermissions: {}\njobs:\n  test:\n    runs-on: ubuntu-latest\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("jobs: [", "no YAML"),
        ("on: push", "no jobs"),
        ("permissions: {}\njobs: {a: {runs-on: x, steps: [{run: x}]}}", "never runs"),
        ("on: push\njobs: {a: {runs-on: x, steps: [{run: x}]}}", "permissions"),
        (JOB, "runs-on and steps"),
        (JOB + "    steps: [{name: nothing}]", "neither or both"),
        (JOB + "    steps: [{uses: actions/checkout@main}]", "no version"),
    ],
)
def test_bad_workflows_are_caught(text: str, complaint: str, tmp_path: Path):
    (tmp_path / "bad.yml").write_text(text)
    assert any(complaint in fault for fault in workflow_faults(tmp_path / "bad.yml"))


def test_ci_only_prepares_the_machine():
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[-1] == "exec make test"
    assert (ROOT / ".ci/run").stat().st_mode & 0o100
