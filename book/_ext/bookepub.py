"""The book as an EPUB 3: formulas as MathML, folds open, and nothing that needs a script."""

from __future__ import annotations

import html
import posixpath
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import latex2mathml.converter
from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from PIL import Image
from sphinx.application import Sphinx
from sphinx.builders.epub3 import Epub3Builder
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

HERE = Path(__file__).parent
COVER = "_static/epub-cover.png"  # drawn by book/social.py
MATHML = "http://www.w3.org/1998/Math/MathML"
OPF = "http://www.idpf.org/2007/opf"
CHILDREN = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2}
CHILDREN |= {"msubsup": 3, "munderover": 3}

# What a reader who cannot see the pages, or shops and libraries for them, want to know beforehand.
ACCESSIBILITY = (
    ("accessMode", "textual"),
    ("accessMode", "visual"),
    ("accessModeSufficient", "textual"),
    ("accessibilityFeature", "alternativeText"),
    ("accessibilityFeature", "MathML"),
    ("accessibilityFeature", "tableOfContents"),
    ("accessibilityFeature", "structuralNavigation"),
    ("accessibilityHazard", "none"),
    (
        "accessibilitySummary",
        "Every picture has an alternative text, every formula is MathML with its TeX source.",
    ),
)

logger = logging.getLogger(__name__)


def mathml(tex: str, display: bool) -> str:
    """A formula as a `math` element, with its TeX as the text for readers without MathML.

    Raises:
        ValueError: if the formula has a command, an environment or braces that latex2mathml does
            not know or read as meant. It would set them as letters or leave them out.
    """
    # aligned is split by another name, and a single roman letter is a word, not a variable.
    known = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{split}", tex.strip())
    known = re.sub(r"\\mathrm\b", r"\\text", known)
    wrong = ValueError(f"latex2mathml cannot set {tex.strip()!r}: write it in other commands")
    names = set(re.findall(r"\\begin\{(.*?)\}", known))
    if not names <= {"split", "cases", "matrix", "pmatrix", "bmatrix", "array"}:
        raise wrong
    try:
        written = latex2mathml.converter.convert(known, display="block" if display else "inline")
        tree = ElementTree.fromstring(written)
    except Exception as error:  # its errors have no common class; a bare & is an XML error
        raise wrong from error
    for element in tree.iter():
        name = element.tag.split("}")[-1]
        if "\\" in (element.text or "") or len(element) != CHILDREN.get(name, len(element)):
            raise wrong
        if name == "mspace" and element.get("linebreak"):  # \\ outside of an environment
            raise wrong
        if element.attrib.pop("mathvariant", "") == "monospace":  # browsers no longer know it
            element.set("style", "font-family: monospace")
    tree.set("alttext", " ".join(tex.split()))
    ElementTree.register_namespace("", MATHML)
    return ElementTree.tostring(tree, encoding="unicode")


def mathml_or_warning(node: nodes.Element, tex: str, display: bool) -> str:
    try:
        return mathml(tex, display)
    except ValueError as error:
        logger.warning(str(error), location=node)
        return html.escape(tex)


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml_or_warning(node, node.astext(), display=False))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})</span>')
    self.body.append(mathml_or_warning(node, node.astext(), display=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


class OpenPages(SphinxPostTransform):
    """What folds on the web is open, what is written as HTML or runs as a script is left out."""

    default_priority = 900  # after the folds are made

    def run(self, **kwargs: Any) -> None:
        if self.app.builder.name != "epub":
            return
        for fold in list(self.document.findall(HideCodeCellNode)):
            fold.replace_self(fold.children)
        for raw in list(self.document.findall(nodes.raw)):
            raw.parent.remove(raw)
        # sphinx-exercise gives the bodies of all exercises of a page one id.
        taken: set[str] = set()
        for element in self.document.findall(nodes.Element):
            element["ids"] = [one for one in element["ids"] if one not in taken]
            taken.update(element["ids"])


class BookEpub(Epub3Builder):
    """Sphinx's builder with one style sheet, MathML, and all pages in its table of contents."""

    html_tag = Epub3Builder.html_tag.replace(">", ' lang="en" xml:lang="en">')
    math_renderer_name = "mathml"

    def init_css_files(self) -> None:
        self._css_files = []
        super().add_css_file("pygments.css")
        super().add_css_file("bookepub.css")

    def add_css_file(self, filename: str, **kwargs: Any) -> None:
        """Extensions offer theirs, for the web."""

    def init_js_files(self) -> None:
        self._js_files = []

    def copy_static_files(self) -> None:
        static = Path(self.outdir, "_static")
        static.mkdir(parents=True, exist_ok=True)
        self.create_pygments_style_file()
        shutil.copy(HERE / "epub" / "bookepub.css", static)
        shutil.copy(Path(self.srcdir, "book", COVER), static)

    def copy_image_files(self) -> None:
        """matplotlib draws with a channel for transparency, which costs an eighth and is full."""
        super().copy_image_files()
        for name in self.images.values():
            path = Path(self.outdir, self.imagedir, name)
            if path.suffix != ".png":
                continue
            with Image.open(path) as picture:
                picture.load()
            if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
                picture.convert("RGB").save(path)

    def get_toc(self) -> None:
        """Sphinx writes the paths from a root page in a folder as folder/../page."""
        super().get_toc()
        for node in self.refnodes:
            path, mark, place = node["refuri"].partition("#")
            node["refuri"] = posixpath.normpath(path) + mark + place

    def toc_metadata(self, level: int, navpoints: list[Any]) -> dict[str, Any]:
        """The table for old reading systems names the book by its identifier, not by its id."""
        return super().toc_metadata(level, navpoints) | {"uid": self.config.epub_identifier}

    def build_content(self) -> None:
        super().build_content()
        path = Path(self.outdir, "content.opf")
        ElementTree.register_namespace("", OPF)
        ElementTree.register_namespace("dc", "http://purl.org/dc/elements/1.1/")
        package = ElementTree.parse(path)
        for item in package.iter(f"{{{OPF}}}item"):
            if "properties" in item.attrib:  # the table of contents, not yet written
                continue
            file = Path(self.outdir, item.attrib["href"])
            if item.attrib["href"] == COVER:
                item.set("properties", "cover-image")
            elif file.suffix == ".xhtml" and "<math" in file.read_text(encoding="utf-8"):
                item.set("properties", "mathml")
        metadata = package.find(f"{{{OPF}}}metadata")
        assert metadata is not None
        for name, text in ACCESSIBILITY:
            meta = ElementTree.SubElement(metadata, f"{{{OPF}}}meta", property=f"schema:{name}")
            meta.text = text
        package.write(path, encoding="utf-8", xml_declaration=True)


def set_up_epub(app: Sphinx, config: Config) -> None:
    config.version = version("camlib")
    config.epub_title = config.html_title
    config.epub_cover = (COVER, "book-cover.html")
    config.templates_path = [*config.templates_path, str(HERE / "epub")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_builder(BookEpub, override=True)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_post_transform(OpenPages)
    app.connect("config-inited", set_up_epub, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
