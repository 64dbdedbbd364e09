"""The pages about camlib, from its docstrings (sphinx.ext.autodoc and napoleon), and its commands.

A docstring is plain text in Google's style: its single backticks hold code, its stars, bars and
underscores are what they are, and what is indented in it stays as it is written. Here it becomes
reStructuredText, and a name of camlib in backticks a link; one that does not exist stops the build.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import inspect
import io
import os
import pkgutil
import re
import textwrap
from itertools import takewhile
from typing import Any, ClassVar
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import camlib
from camlib import cli, fullscale_cli

MODULES = frozenset(module.name for module in pkgutil.iter_modules(camlib.__path__))
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\(.*\))?", re.DOTALL)
CODE = re.compile(r"""(`[^`]+`|"[\w.+-]+"|(?<![\w-])--[a-z][\w-]*)""")
COLON = "\ue000"  # in place of one that napoleon would read as the end of a type


def target(text: str, module: str) -> str | None:
    """The full name of the entry that code in a docstring of this module of camlib refers to.

    None where it refers to nothing that has an entry. A name that begins with one of camlib's
    modules, or with a class of this one, and does not exist is returned too, for a broken link.
    """
    found = NAME.fullmatch(text)
    if found is None or re.search(r"(^|\.)_", found[1]):
        return None
    name = found[1].removeprefix("camlib.")
    first, *rest = name.split(".")
    one: Any
    if first in MODULES and (rest or name != found[1]):
        one = importlib.import_module(f"camlib.{first}")
    else:
        one = getattr(importlib.import_module(module), first, None)
        if not getattr(one, "__module__", "").startswith("camlib"):
            return f"camlib.{name}" if name != found[1] else None
    for part in rest:
        if not hasattr(one, part) and part not in getattr(one, "__annotations__", {}):
            return f"camlib.{name}"
        one = getattr(one, part, None)
    if inspect.ismodule(one):
        return one.__name__
    has_entry = (inspect.isroutine(one) or inspect.isclass(one)) and one.__doc__
    if not has_entry or not one.__module__.startswith("camlib."):
        return None
    return f"{one.__module__}.{one.__qualname__}"


def inline(text: str, module: str) -> str:
    """Paragraphs as reStructuredText. A string of one word and an option are code as well."""

    def code(piece: str) -> str:
        quoted = piece.strip("`")
        name = target(" ".join(quoted.split()), module) if quoted != piece else None
        return f":py:obj:`{quoted} <{name}>`" if name else f"``{quoted}``"

    pieces = ["", *CODE.split(text), ""]
    for i in range(1, len(pieces) - 1):
        if i % 2:
            pieces[i] = re.sub(r"[\\*|`]|(?<=\w)_(?!\w)", r"\\\g<0>", pieces[i])
            # A letter and a full stop would begin a list.
            pieces[i] = re.sub(r"(?m)(^\s*(?:\w+: )?)([A-Za-z]\.)(?!\S)", r"\1\\\2", pieces[i])
    for i in range(2, len(pieces) - 1, 2):
        before, after = pieces[i - 1][-1:].strip(), pieces[i + 1][:1].strip()
        # What stands close to code is held off by a space that does not show.
        pieces[i] = r"\ " * bool(before) + code(pieces[i]) + r"\ " * bool(after)
    return "".join(pieces)


def restructured(lines: list[str], module: str) -> list[str]:
    """A docstring's lines as reStructuredText, with the sections still as napoleon reads them."""
    written: list[str] = []
    plain: list[str] = []  # lines that wait for the end of their run, as code may span them

    def flush() -> None:
        written.extend(inline("\n".join(plain), module).split("\n") if plain else [])
        plain.clear()

    if "Attributes:" in lines:
        start = lines.index("Attributes:") + 1
        end = next((i for i in range(start, len(lines)) if re.match(r"\S", lines[i])), len(lines))
        lines = [*lines[:start], *one_by_one(lines[start:end]), *lines[end:]]
    section, i = "", 0
    while i < len(lines):
        line = lines[i]
        if line and not line.startswith(" "):
            section = line.rstrip(":") if SECTION.match(line) else ""
        after_blank = i == 0 or not lines[i - 1].strip()
        if line.startswith(" ") and after_blank and not section:
            flush()
            rest = lines[i:]
            block = list(takewhile(lambda one: not one or one.startswith(" "), rest))
            i += len(block)
            written += verbatim(block)
            continue
        if section == "Returns" and SECTION.match(lines[i - 1]):
            line = line.replace(":", COLON)
        plain.append(line)
        i += 1
    flush()
    return written


def one_by_one(lines: list[str]) -> list[str]:
    """Attributes that share a description, as an item each, which napoleon does for Args alone."""
    items: list[list[str]] = []
    for line in lines:
        if not items or re.match(r"    \S|\S", line):
            items.append([])
        items[-1].append(line)
    alone: list[str] = []
    for first, *rest in items:
        names, _, text = first.partition(": ")
        several = re.fullmatch(r"    \w+(, \w+)+", names)
        for name in names.split(", ") if several else ():
            alone += [f"    {name.strip()}: {text}", *rest]
        if not several:
            alone += [first, *rest]
    return alone


def verbatim(block: list[str]) -> list[str]:
    text = textwrap.dedent("\n".join(block))
    try:
        ast.parse(text)
        language = "python"
    except SyntaxError:
        language = "text"
    return [f".. code-block:: {language}", "", *textwrap.indent(text, "    ").split("\n"), ""]


def before_napoleon(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = restructured(lines, ".".join(name.split(".")[:2]))


def after_napoleon(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = [line.replace(COLON, ":") for line in lines]


def leave_fields_out(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """A named tuple's fields are in its docstring; autodoc would add "Alias for field number 0"."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def parser_of(arguments: list[str]) -> argparse.ArgumentParser:
    """The parser that answers `camlib ARGUMENTS --help`.

    Raises:
        ValueError: if there is no such command.
    """
    caught: list[argparse.ArgumentParser] = []

    def print_help(parser: argparse.ArgumentParser) -> None:
        caught.append(parser)

    with (
        patch.object(argparse.ArgumentParser, "print_help", print_help),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(SystemExit),
    ):
        cli.main([*arguments, "--help"])
    command = " ".join(["camlib", *arguments])
    if [parser.prog for parser in caught] != [command]:
        raise ValueError(f"there is no command {command}")
    return caught[0]


def spoken(text: str) -> nodes.paragraph:
    """A sentence, its options as code."""
    pieces = CODE.split(text)
    return nodes.paragraph(
        "",
        "",
        *(nodes.literal("", one) if i % 2 else nodes.Text(one) for i, one in enumerate(pieces)),
    )


def command_help(parser: argparse.ArgumentParser) -> list[nodes.Node]:
    """What `--help` prints, as nodes, so that lines are as long as the reader's window allows."""
    usage = nodes.literal_block(classes=["command-usage"])
    for part in re.findall(r"\[.*?\]+|\S+", " ".join(parser.format_usage().split())):
        usage += [nodes.inline("", part), nodes.Text(" ")]
    shown: list[nodes.Node] = [usage]
    if parser.description:
        shown.append(spoken(parser.description))
    formatter = parser._get_formatter()
    for group in parser._action_groups:
        items = nodes.definition_list()
        # A group of commands holds one action, which has theirs.
        actions = [
            one
            for action in group._group_actions
            for one in (action, *getattr(action, "_choices_actions", ()))
        ]
        for action in actions:
            if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
                continue
            name = formatter._format_action_invocation(action)
            items += nodes.definition_list_item(
                "",
                nodes.term("", "", nodes.literal(name, name)),
                nodes.definition("", spoken(formatter._expand_help(action))),
            )
        if len(items):
            shown += [nodes.rubric("", (group.title or "").capitalize()), items]
    return shown


class CommandHelp(SphinxDirective):
    """`{command-help} data check` shows the help of `camlib data check`."""

    optional_arguments: ClassVar = 1
    final_argument_whitespace: ClassVar = True

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(cli.__file__)
        self.env.note_dependency(fullscale_cli.__file__)
        with patch.dict(os.environ, COLUMNS="72", NO_COLOR="1"):
            try:
                return command_help(parser_of(" ".join(self.arguments).split()))
            except ValueError as error:
                raise self.error(str(error)) from error


def parameters_are_lines(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Sphinx writes a long signature as a list of descriptions that describe nothing."""

    def lined(signature: re.Match[str]) -> str:
        text = re.sub(r"<(/?)(?:dl|dd)>", r"<\1span>", signature[0])
        return re.sub(r"<span>(?=\s*<em)", '<span class="sig-line">', text)

    if "body" in context:
        context["body"] = re.sub(
            r'<dt class="sig .*?</dt>', lined, context["body"], flags=re.DOTALL
        )


def folds_have_names(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """The button beside a page with pages below it is only an arrow."""
    generate = context.get("generate_toctree_html")

    def named(*arguments: Any, **options: Any) -> Any:
        made = generate(*arguments, **options)
        for button in made.select("summary") if hasattr(made, "select") else ():
            button["aria-label"] = "The pages below this one"
        return made

    if generate is not None:
        context["generate_toctree_html"] = named


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", after_napoleon, priority=600)
    app.connect("autodoc-skip-member", leave_fields_out)
    app.connect("html-page-context", parameters_are_lines)
    app.connect("html-page-context", folds_have_names, priority=900)  # after the theme
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
