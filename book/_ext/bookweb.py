"""What pages need beyond Jupyter Book: MathJax from here, previews, no dead button, no waste."""

from __future__ import annotations

import html
import re
import shutil
from importlib.metadata import files
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
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


def pictures_wait_their_turn(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """A picture is fetched when the reader comes near it, into a place kept for it."""
    builder: Any = app.builder
    if "body" not in context or builder.name != "html":
        return
    sources = {name: Path(app.srcdir, source) for source, name in builder.images.items()}

    def sized(tag: re.Match[str]) -> str:
        source = sources.get(Path(tag[1]).name)
        if source is None or source.suffix == ".svg" or re.search(r" (width|loading)=", tag[0]):
            return tag[0]
        with Image.open(source) as picture:
            width, height = picture.size
        return f'<img loading="lazy" width="{width}" height="{height}"{tag[0][4:]}'

    context["body"] = re.sub(r'<img [^>]*?src="([^"]*)"[^>]*>', sized, context["body"])


def preview_needs_an_address(app: Sphinx, config: Config) -> None:
    """The address of the pages, html.baseurl, is the start of those in the tags for previews."""
    if config.html_baseurl:
        config.ogp_site_url = config.html_baseurl.rstrip("/") + "/"
        config.ogp_custom_meta_tags = [
            '<meta property="og:image:width" content="1200" />',
            '<meta property="og:image:height" content="630" />',
            '<meta name="twitter:card" content="summary_large_image" />',
        ]


def description(document: nodes.document, longest: int = 200) -> str:
    """The first sentences that say what a page is about, as many as fit, or the first one cut."""
    for paragraph in document.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        slanted = [type(child) for child in paragraph.children] == [nodes.emphasis]
        frame = slanted or re.match("The worlds? of this chapter", text)
        formulas = list(paragraph.findall(nodes.math))
        if isinstance(paragraph.parent, nodes.section) and text and not (frame or formulas):
            break
    else:
        return ""
    if len(text) <= longest:
        return text
    sentences = re.match(rf".{{1,{longest - 1}}}[.?!](?= )", text)
    if sentences:
        return sentences[0]
    return text[: longest - 1].rsplit(" ", 1)[0].rstrip(",;:") + "\u2026"


def describe_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    if doctree is not None and app.builder.name == "html" and (text := description(doctree)):
        context["meta"] = {**(context["meta"] or {}), "og:description": text}
        context["metatags"] += f'<meta name="description" content="{html.escape(text)}" />\n'


def leave_half_addresses_out(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Tags with an address say nothing without the part that names the machine."""
    if not app.config.html_baseurl and "metatags" in context:
        context["metatags"] = re.sub(
            r'<meta property="og:(url|image|image:alt)" [^>]*>\n?', "", context["metatags"]
        )


def leave_widget_state_out(app: Sphinx, document: nodes.document) -> None:
    """What a kernel's widgets held when the page was made, pictures too: nothing could show it."""
    env: Any = app.env
    env.nb_metadata.get(env.docname, {}).get("js_files", {}).pop("ipywidgets_state", None)


def leave_icon_script_out(app: Sphinx, exception: Exception | None) -> None:
    """Half a megabyte that draws again, as SVG, the icons that the theme's fonts have drawn."""
    script = Path(app.outdir, "_static/scripts/fontawesome.js")
    if exception is None and script.exists():
        script.write_text("// The theme's icons come from its fonts.\n")


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.name != "html":
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
    app.connect("config-inited", preview_needs_an_address)
    app.connect("html-page-context", describe_page, priority=400)  # before sphinxext.opengraph
    app.connect("html-page-context", leave_half_addresses_out, priority=600)  # after it
    app.connect("doctree-read", leave_widget_state_out)
    app.connect("html-page-context", bibliography_is_a_list)
    app.connect("html-page-context", pictures_wait_their_turn)
    app.connect("build-finished", leave_icon_script_out)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
