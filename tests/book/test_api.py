"""The pages about camlib show all that it defines and all that its commands take."""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from api import inline, one_by_one, parser_of, restructured, target
from bs4 import BeautifulSoup, Tag
from building import ROOT, toc_pages
from page_rules import parsed, search_results
from playwright.sync_api import BrowserContext

import camlib

MODULES = [one.name for one in pkgutil.iter_modules(camlib.__path__) if one.name != "__main__"]
PAGES = [page for page in toc_pages() if page.startswith("book/api/")]


def defined(module: ModuleType) -> dict[str, object]:
    """The public functions and classes that a module defines, by their full names."""
    return {
        f"{module.__name__}.{name}": one
        for name, one in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(one) or inspect.isclass(one))
        and one.__module__ == module.__name__
    }


def entries(page: BeautifulSoup) -> dict[str, Tag]:
    """The entries of a page, by full name: the definition after a signature."""
    return {dt["id"]: dt.parent for dt in page.select("dl.py > dt.sig[id]")}


@pytest.fixture(scope="session")
def shown(book: Path) -> dict[str, Tag]:
    return {k: v for page in PAGES for k, v in entries(parsed(book / f"{page}.html")).items()}


def missing(shown: dict[str, Tag], modules: list[ModuleType]) -> list[str]:
    return [name for module in modules for name in defined(module) if name not in shown]


def all_defined() -> dict[str, object]:
    modules = [importlib.import_module(f"camlib.{name}") for name in MODULES]
    return {name: one for module in modules for name, one in defined(module).items()}


def test_every_public_function_and_class_has_an_entry(shown: dict[str, Tag]):
    assert missing(shown, [importlib.import_module(f"camlib.{name}") for name in MODULES]) == []
    assert len(all_defined()) > 150


def test_what_has_no_entry_is_found():
    page = '<dl class="py"><dt class="sig" id="new.old">old</dt><dd>Text.</dd></dl>'
    module = ModuleType("new")
    exec(
        "def old(): pass\ndef added(): pass\nclass Added: pass\n_hidden = old\nN = 1", vars(module)
    )
    assert missing(entries(BeautifulSoup(page, "html.parser")), [module]) == [
        "new.added",
        "new.Added",
    ]


def test_every_module_stands_on_the_first_page(book: Path):
    links = {a["href"] for a in parsed(book / "book/api/index.html").select("article a[href]")}
    modules = {link.partition("#module-camlib.")[2] for link in links} - {""}
    assert modules == set(MODULES)


def spoken(text: str) -> str:
    """Words alone: marks, quotes, dashes and addresses are set otherwise on the page."""
    return " ".join(re.findall(r"[a-zA-Z]{2,}", re.sub(r"https?://[^\s),]+", "", text)))


def test_an_entry_says_what_its_docstring_says(shown: dict[str, Tag]):
    for name, one in all_defined().items():
        for address in shown[name].select("a.external"):
            address.extract()
        first = (inspect.getdoc(one) or "").partition("\n\n")[0]
        assert spoken(first) in spoken(shown[name].get_text(" ")), name


def fields(entry: Tag) -> dict[str, Tag]:
    """Parameters, Returns, Raises, ... of an entry; not of its methods."""
    own = entry.select_one("dd").find_all("dl", class_="field-list", recursive=False)
    names = [dt for fields in own for dt in fields.find_all("dt", recursive=False)]
    return {dt.get_text().split(":")[0]: dt.find_next_sibling("dd") for dt in names}


def items(docstring: str, section: str) -> list[str]:
    """The names that a section of a docstring explains."""
    text = re.search(rf"^{section}:\n((?:    .*\n|\n)+)", docstring + "\n", re.MULTILINE)
    found = re.findall(r"^    ([\w*]+(?:, \w+)*)(?: \(.*\))?: ", text[1] if text else "", re.M)
    return [name.lstrip("*") for names in found for name in names.split(", ")]


def test_parameters_and_errors_are_listed(shown: dict[str, Tag]):
    for name, one in all_defined().items():
        found, docstring = fields(shown[name]), inspect.getdoc(one) or ""
        for section, heading in (
            ("Args", "Parameters"),
            ("Attributes", "Variables"),
            ("Raises", "Raises"),
        ):
            strong = found[heading].select("strong") if heading in found else []
            told = [text for text in (tag.get_text() for tag in strong) if text.strip(", ")]
            assert told == items(docstring, section), (name, section)
        assert ("Returns" in found) == ("\nReturns:\n" in docstring), name


def test_nothing_is_left_as_it_stands_in_the_source(book: Path):
    for name in PAGES:
        page = parsed(book / f"{name}.html").select_one("article")
        for code in page.select("pre"):
            code.extract()
        left = re.search(r"`|\ue000|\\|Args:|Alias for field|system-message", str(page.get_text()))
        assert left is None, (name, left)


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of the commands below it, which do something."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below or parser.prog == "camlib":
        yield parser
    for one in below:
        for command in one.choices.values():
            yield from commands(command)


def test_every_command_shows_its_help(book: Path):
    page = parsed(book / "book/api/command_line.html")
    sections = {one.h2.get_text().rstrip("#"): one for one in page.select("section:has(> h2)")}
    parsers = list(commands(parser_of([])))
    assert len(parsers) > 5
    for parser in parsers:
        text = sections[parser.prog].get_text(" ")
        explained = {code.get_text() for code in sections[parser.prog].select("dt code")}
        for action in parser._actions:
            if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
                continue
            names = set(action.option_strings) or {action.metavar or action.dest}
            assert any(names <= set(re.split(r",? ", term)) for term in explained), names
            help_ = (action.help or "").replace("%%", "%")
            assert spoken(help_) in spoken(text), (parser.prog, action.dest)


def test_an_unknown_command_is_refused():
    with pytest.raises(ValueError, match="there is no command camlib paint"):
        parser_of(["paint"])


@pytest.mark.parametrize("word", ["grad_cam", "box_from_map", "StickerWorld", "iou"])
def test_search_finds_a_function(context: BrowserContext, site: str, word: str):
    page = context.new_page()
    assert search_results(page, site, word) > 0
    links = page.locator("#search-results ul.search li a").evaluate_all("a => a.map(x => x.href)")
    page.close()
    assert any(re.search(rf"/api/\w+\.html.*#camlib\.\w+\.{word}$", link) for link in links), links


GOOD = "{py:func}`camlib.cli.main` of a {py:class}`torch.Tensor`\n\n```{command-help} cam\n```"
BAD = "{py:func}`camlib.cli.mane`\n\n```{command-help} paint\n```"


def built(folder: Path, prose: str) -> tuple[int, str]:
    """A page about the command, with the book's settings for Python, built strictly by Sphinx."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["sphinx"]["config"]
    needed = {k: v for k, v in settings.items() if re.match("autodoc|napoleon|nitpick|maximum", k)}
    lines = [f"{name} = {value!r}" for name, value in needed.items()]
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book/_ext')!r})\n"
        "extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'api']\n"
        + "\n".join(lines)
    )
    modules = "\n".join(f".. automodule:: camlib.{name}" for name in ("cli", "fullscale_cli"))
    (folder / "index.md").write_text(f"# A page\n\n{prose}\n\n```{{eval-rst}}\n{modules}\n```\n")
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-b", "dummy"]
    done = subprocess.run(
        [*command, str(folder), str(folder / "built")], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("prose", "complaints"),
    [(GOOD, ()), (BAD, ("camlib.cli.mane", "there is no command camlib paint"))],
)
def test_a_dead_name_stops_the_build(tmp_path: Path, prose: str, complaints: tuple[str, ...]):
    code, told = built(tmp_path, prose)
    assert (code != 0) == bool(complaints), told
    assert [one for one in complaints if one not in told] == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("upsample", "camlib.cam.upsample"),
        ("boxes.iou", "camlib.boxes.iou"),
        ("camlib.boxes", "camlib.boxes"),
        ("boxes.iou(a, b)", "camlib.boxes.iou"),
        ("CamResult", "camlib.cam.CamResult"),
        ("boxes.union", "camlib.boxes.union"),  # there is none: a broken link
        ("camlib.union", "camlib.union"),
        ("boxes", None),  # a variable, for all that is known
        ("top", None),
        ("nn.Module", None),
        ("networks.NAMES", None),  # a constant has no entry
        ("check._tensor", None),
        ("(N, K)", None),
    ],
)
def test_names_in_backticks(code: str, found: str | None):
    assert target(code, "camlib.cam") == found


def test_a_docstring_is_plain_text():
    assert inline("|a| * b_ of `x`, `y`s", "camlib.cam") == (r"\|a\| \* b\_ of ``x``\ , ``y``\ s")
    assert inline('pool: "max" or `boxes.iou`', "camlib.cam") == (
        'pool: ``"max"`` or :py:obj:`boxes.iou <camlib.boxes.iou>`'
    )
    assert inline("    unit: k.", "camlib.cam") == r"    unit: \k."
    lines = ["As in", "", "    x = 1", "    y_ = 2", "", "Returns:", "    A pair: a, b_."]
    assert restructured(lines, "camlib.cam") == [
        *["As in", "", ".. code-block:: python", "", "    x = 1", "    y_ = 2", "", ""],
        *["Returns:", "    A pair\ue000 a, b\\_."],
    ]
    assert one_by_one(["    a, b: both", "      of them.", "    c: one."]) == [
        *["    a: both", "      of them.", "    b: both", "      of them.", "    c: one."]
    ]


def test_the_pages_are_in_the_table_of_contents():
    written = {f"book/api/{path.stem}" for path in (ROOT / "book/api").glob("*.md")}
    assert set(PAGES) == written
