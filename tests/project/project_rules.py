"""What the project's own files must keep. A rule returns its complaints as sentences."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from itertools import product
from pathlib import Path

import nbformat
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 1_000_000  # bytes

SYSTEMS = {
    "Linux": {"sys_platform": "linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macOS": {"sys_platform": "darwin", "os_name": "posix", "platform_machine": "arm64"},
    "Windows": {"sys_platform": "win32", "os_name": "nt", "platform_machine": "AMD64"},
}
PYTHONS = ("3.11.0", "3.11.14", "3.12.12", "3.13.9")


def project_files(root: Path = ROOT) -> list[Path]:
    """Everything git keeps, or would keep: not what it ignores."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return [root / name for name in listed.split("\0") if (root / name).is_file()]


def environments() -> dict[str, dict[str, str]]:
    """The systems and Pythons the book is for, in the words of markers."""
    return {
        f"{system} {python}": {
            **words,
            "python_full_version": python,
            "python_version": ".".join(python.split(".")[:2]),
            "platform_system": {"macOS": "Darwin"}.get(system, system),
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
        }
        for (system, words), python in product(SYSTEMS.items(), PYTHONS)
    }


def read_pins(text: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def pin_faults(pins: list[Requirement]) -> list[str]:
    """Every package has one exact version wherever it is needed."""
    faults = [f"{pin} is no exact pin" for pin in pins if not exact_version(pin)]
    by_name: dict[str, list[Requirement]] = {}
    for pin in pins:
        by_name.setdefault(canonicalize_name(pin.name), []).append(pin)
    for name, same in by_name.items():
        for where, words in environments().items():
            fitting = [pin for pin in same if pin.marker is None or pin.marker.evaluate(words)]
            if len(fitting) > 1:
                faults.append(f"{where}: {len(fitting)} pins of {name} apply")
            if not fitting and len(same) > 1:
                faults.append(f"{where}: none of the pins of {name} applies")
            if fitting and name.startswith(("nvidia-", "cuda-")) and "Linux" not in where:
                faults.append(f"{where}: {name} applies, but exists on Linux only")
    return faults


def exact_version(pin: Requirement) -> str | None:
    only = list(pin.specifier)
    if len(only) == 1 and only[0].operator == "==" and "*" not in only[0].version:
        return only[0].version
    return None


def direct_faults(wanted: list[Requirement], pins: list[Requirement]) -> list[str]:
    """What is asked for is pinned everywhere, at a version that was asked for."""
    faults = []
    for want in wanted:
        same = [p for p in pins if canonicalize_name(p.name) == canonicalize_name(want.name)]
        for where, words in environments().items():
            if not any(pin.marker is None or pin.marker.evaluate(words) for pin in same):
                faults.append(f"{where}: {want.name} is not pinned")
        for pin in same:
            if not want.specifier.contains(exact_version(pin) or "0", prereleases=True):
                faults.append(f"{pin} is pinned, but {want} is asked for")
    return faults


def conda_pins(environment: dict) -> list[str]:
    """The pip lines of environment.yml but the one that installs camlib itself."""
    pip = next(part["pip"] for part in environment["dependencies"] if isinstance(part, dict))
    return [line for line in pip if line != "-e ."]


PLOTS = re.compile(
    r"\bplots\.(?!use_)|\bplt\.(?!rcParams|style|close)|\bimshow\(|\.show\(|\bwidgets\.\w+\("
)


def notebook_faults(path: Path) -> list[str]:
    """A chapter's source as it must be stored."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        # Before nbformat reads it, which would give doubled ids new names.
        ids = [cell.get("id") for cell in stored["cells"]]
        if doubled := sorted({one for one in ids if one and ids.count(one) > 1}):
            return [f"has several cells with the id {one}" for one in doubled]
        notebook = nbformat.reads(json.dumps(stored), as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
    except (KeyError, ValueError, nbformat.ValidationError) as error:
        return [f"is no valid notebook: {error!r:.200}"]
    faults = []
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        return ["has no cell ids: save it in notebook format 4.5"]
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        faults.append("asks for another kernel than python3")
    if "version" in notebook.metadata.get("language_info", {}):
        faults.append("names the Python version of one machine (metadata.language_info.version)")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            faults += [f"cell {cell.id} {fault}" for fault in code_cell_faults(cell)]
    return faults


def code_cell_faults(cell: nbformat.NotebookNode) -> list[str]:
    faults = []
    tags = cell.metadata.get("tags", [])
    lines = sum(bool(line.strip()) for line in cell.source.splitlines())
    if lines > 25:
        faults.append(f"has {lines} lines; 25 is the most a reader follows")
    if ("keep_output" in tags) != ("nbval-check-output" in tags):
        faults.append("needs both tags, keep_output and nbval-check-output, or neither")
    if "keep_output" in tags:
        faults += kept_output_faults(cell)
    elif cell.outputs or cell.execution_count is not None:
        faults.append("keeps an output or execution count: run nbstripout")
    if PLOTS.search(run_at_once(cell.source)):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt) < 30:
            faults.append("draws, but has no alt text of 30 letters in metadata.mystnb.image.alt")
        elif len(alt.split()) < 5 or re.search(r"\.(png|jpe?g|svg)$", alt):
            faults.append(f"has an alt text that is no sentence: {alt!r}")
    return faults


def run_at_once(source: str) -> str:
    """The code of a cell without comments and without what it only defines for later."""
    try:
        body = ast.parse(source).body
    except SyntaxError:  # a line for IPython, such as %timeit
        return source
    return "\n".join(ast.unparse(one) for one in body if not isinstance(one, ast.FunctionDef))


def kept_output_faults(cell: nbformat.NotebookNode) -> list[str]:
    if not cell.outputs:
        return ["is tagged keep_output, but keeps none: run it and save"]
    for output in cell.outputs:
        if output.output_type == "error":
            return ["keeps a traceback"]
        if output.output_type != "stream" and set(output.data) != {"text/plain"}:
            return ["keeps an output that is not plain text"]
    return []


def chapters_missing_from_toc(root: Path) -> list[str]:
    toc = (root / "_toc.yml").read_text()
    names = (path.relative_to(root).with_suffix("").as_posix() for path in notebooks(root))
    return [name for name in names if not re.search(rf"file: {re.escape(name)}$", toc, re.M)]


def notebooks(root: Path = ROOT) -> list[Path]:
    return sorted(root.glob("notebooks/*.ipynb"))


# Put together here, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(
    "|".join((r"(?<![\w.])/" + "(work|root)/", "/" + r"home/\w+/", r"\b[A-Z]:\\" + r"Users\\"))
)
REGISTRY = re.compile(
    "|".join(
        (
            r"pypi\.org/" + "simple",
            "python" + r"hosted\.org",
            "--(extra-)?index-" + "url|--find-" + "links",
        )
    )
)


def text_faults(path: Path) -> list[str]:
    """Addresses and paths that hold on one machine only."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    faults = [f"holds a path of one machine: {found[0]}" for found in MACHINE_PATH.finditer(text)]
    if path.suffix != ".md":  # prose may explain how to get another build of torch
        faults += [f"names a registry: {found[0]}" for found in REGISTRY.finditer(text)]
    return faults


def workflow_faults(path: Path) -> list[str]:
    try:
        workflow = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        return [f"is no YAML: {error}"]
    if not isinstance(workflow, dict) or not workflow.get("jobs"):
        return ["has no jobs"]
    faults = []
    if True not in workflow:  # YAML 1.1 reads the key `on` as true
        faults.append("never runs: there is no `on`")
    if "permissions" not in workflow:
        faults.append("does not limit what it may do: there are no `permissions`")
    for name, job in workflow["jobs"].items():
        if "runs-on" not in job or not job.get("steps"):
            faults.append(f"job {name} needs runs-on and steps")
        for step in job.get("steps", []):
            if not ("uses" in step) ^ ("run" in step):
                faults.append(f"job {name} has a step with neither or both of uses and run")
            elif "uses" in step and not re.fullmatch(r"[\w-]+/[\w/-]+@v\d+", step["uses"]):
                faults.append(f"job {name} uses {step['uses']}, which names no version")
    return faults


def citation_faults(path: Path) -> list[str]:
    try:
        citation = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        return [f"is no YAML: {error}"]
    needed = ("cff-version", "message", "title", "authors", "license")
    return [f"lacks {key}" for key in needed if not citation.get(key)]
