"""What the pages need beyond Jupyter Book: MathJax from here, and no button that leads nowhere."""

from __future__ import annotations

import shutil
from importlib.metadata import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

# Of the package's 24 MB: the program, its fonts, what TeX commands load on demand, and what its
# menu's accessibility settings load, in the book's language.
MATHJAX = (
    "tex-chtml.js",
    "output/chtml/fonts/*/*",
    "input/tex/extensions/*",
    "a11y/*",
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
    "sre/mathmaps/nemeth.json",
)


def buttons_need_an_address(app: Sphinx, config: Config) -> None:
    """Links to the repository, issues, editing and Colab: all with an address, none without."""
    options = config.html_theme_options
    published = bool(options.get("repository_url"))
    for name in ("use_repository_button", "use_issues_button", "use_edit_page_button"):
        options[name] = published
    if not published:
        options["launch_buttons"] = {}


def leave_thebe_out(app: Sphinx) -> None:
    """Jupyter Book gives every page the script that runs cells on a server, asked for or not."""
    unwanted = {"init_thebe_core", "update_thebe_context"}
    for listeners in app.events.listeners.values():
        listeners[:] = [
            one for one in listeners if getattr(one.handler, "__name__", "") not in unwanted
        ]


def bibliography_is_a_list(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """docutils calls a bibliography a list, but its entries no items of one."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    for file in files("sphinx-mathjax-offline") or []:
        if "mathjax" not in file.parts:
            continue
        relative = Path(*file.parts[file.parts.index("mathjax") + 1 :])
        if any(relative.match(pattern) for pattern in MATHJAX):
            target = Path(app.outdir, "_static", "mathjax", relative)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)


def setup(app: Sphinx) -> dict[str, bool]:
    app.config.mathjax_path = "mathjax/tex-chtml.js"
    leave_thebe_out(app)
    app.connect("config-inited", buttons_need_an_address)
    app.connect("html-page-context", bibliography_is_a_list)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
