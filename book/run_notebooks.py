"""Runs the book's notebooks, two at a time: `python book/run_notebooks.py`, before the build.

The build takes the outputs from _build/.jupyter_cache. Two notebooks with a thread each are done
sooner than one after the other with two threads, of which the second mostly waits.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution

TOGETHER = 2


def notebooks_of(root: Path) -> list[Path]:
    """The notebooks of the table of contents, in its order."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    parts = toc.get("parts", [toc])
    paths = [root / f"{page['file']}.ipynb" for part in parts for page in part["chapters"]]
    return [path for path in paths if path.is_file()]


def run(root: Path) -> list[str]:
    """Runs the notebooks and keeps their outputs; returns what those say that fail."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["execute"]
    cache, failures = get_cache(root / "_build" / ".jupyter_cache"), []

    def executed(path: Path) -> ExecutionResult:
        notebook = nbformat.read(path, as_version=4)
        return single_nb_execution(
            notebook, cwd=str(path.parent), timeout=config["timeout"], allow_errors=False
        )

    paths = notebooks_of(root)
    with ThreadPoolExecutor(TOGETHER) as pool:
        for path, result in zip(paths, pool.map(executed, paths), strict=True):
            name = path.relative_to(root)
            print(f"{name}: {'fails' if result.err else f'{result.time:.0f} s'}", flush=True)
            if result.err:
                failures.append(f"{name} fails:\n{result.exc_string}")
                continue
            bundle = CacheBundleIn(result.nb, str(path), data={"execution_seconds": result.time})
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return failures


if __name__ == "__main__":
    # More threads than cores, which wait by spinning, would slow each other down many times.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // TOGETHER)))
    if failures := run(Path(__file__).resolve().parents[1]):
        sys.exit("\n".join(failures))
