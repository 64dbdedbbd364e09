"""`{quiz}` shows the questions that lie beside a chapter, in NN_topic.quiz.yml.

On a web page every choice is a fold that opens without a script; elsewhere (the ePub) the answers
follow after the questions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

LETTERS = "ABCD"
QUESTIONS = range(3, 6)
CHOICES = range(3, len(LETTERS) + 1)
VERDICTS = {True: "Right.", False: "Not this one."}

logger = logging.getLogger(__name__)


class TextLoader(yaml.BaseLoader):
    """Every value is text, so that a choice may read 0.50 or No; a key given twice is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        keys = [key.value for key, _ in node.value]
        for number, (key, _) in enumerate(node.value):
            if key.value in keys[:number]:
                message = f"the key {key.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
        return super().construct_mapping(node, deep)


def read_quiz(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The questions in the text of a quiz file, and what is wrong with them, in sentences.

    A question is {"question": text, "choices": [{"text", "why", and "right": "true" for one}]}.
    """
    try:
        questions = yaml.load(text, TextLoader)
    except yaml.YAMLError as error:
        return [], [f"is no YAML: {' '.join(str(error).split())}"]
    if not isinstance(questions, list):
        return [], ["is no list of questions"]
    faults = []
    if len(questions) not in QUESTIONS:
        faults.append(f"has {len(questions)} questions: give three to five")
    for number, question in enumerate(questions, 1):
        faults += [f"question {number} {fault}" for fault in question_faults(question)]
    return questions, faults


def question_faults(question: object) -> list[str]:
    if not isinstance(question, dict):
        return ["is no mapping with the keys question and choices"]
    faults = key_faults(question, ("question",), ("choices",))
    choices = question.get("choices")
    if not isinstance(choices, list):
        return [*faults, "has no list of choices"]
    if len(choices) not in CHOICES:
        faults.append(f"has {len(choices)} choices: give three or four")
    for letter, choice in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", choices, strict=False):
        if not isinstance(choice, dict):
            faults.append(f"has a choice ({letter}) that is no mapping with the keys text and why")
            continue
        found = key_faults(choice, ("text", "why"), ("right",))
        if choice.get("right", "true") != "true":
            found.append(f"says right: {choice['right']}; say right: true, or leave it out")
        faults += [f"choice {letter} {fault}" for fault in found]
    sound = [choice for choice in choices if isinstance(choice, dict)]
    right = sum(choice.get("right") == "true" for choice in sound)
    if right != 1:
        faults.append(f"has {right} right choices: mark exactly one with right: true")
    for key in ("text", "why"):
        texts = [" ".join(choice[key].split()) for choice in sound if is_text(choice.get(key))]
        if len(set(texts)) < len(texts):
            faults.append(f"has two choices with the same {key}")
    return faults


def key_faults(
    mapping: dict[str, Any], texts: tuple[str, ...], others: tuple[str, ...]
) -> list[str]:
    return [f"has no {key}, or not as text" for key in texts if not is_text(mapping.get(key))] + [
        f"has an unknown key {key!r}" for key in mapping if key not in (*texts, *others)
    ]


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


class Part(nodes.General, nodes.Element):
    """A part of a quiz, named by its attribute `part`, with the element that a web page uses."""

    ELEMENTS: ClassVar = {
        "quiz": "div",
        "question": "div",  # a prompt, then choices
        "prompt": "div",
        "choice": "details",  # a said, then a why
        "said": "summary",
        "why": "div",
    }

    def only(self, part: str) -> list[Part]:
        return [one for one in self.findall(Part) if one["part"] == part]


def part_of_quiz(part: str, *children: nodes.Node, **attributes: Any) -> Part:
    return Part("", *children, part=part, **attributes)


def visit_part(self: Any, node: Part) -> None:
    name = f"quiz-{node['part']}" if node["part"] != "quiz" else "quiz"
    self.body.append(
        self.starttag(node, Part.ELEMENTS[node["part"]], CLASS=name, **node.get("html", {}))
    )


def depart_part(self: Any, node: Part) -> None:
    self.body.append(f"</{Part.ELEMENTS[node['part']]}>\n")


class QuizDirective(SphinxDirective):
    has_content = False

    def run(self) -> list[nodes.Node]:
        self.path = Path(self.env.doc2path(self.env.docname)).with_suffix(".quiz.yml")
        self.env.note_dependency(str(self.path))
        if not self.path.is_file():
            self.complain(f"is missing; it holds the questions of {self.env.docname}")
            return []
        questions, faults = read_quiz(self.path.read_text(encoding="utf-8"))
        for fault in faults:
            self.complain(fault)
        if faults:
            return []
        asked = [self.question(one, n, len(questions)) for n, one in enumerate(questions, 1)]
        return [part_of_quiz("quiz", *asked)]

    def complain(self, fault: str) -> None:
        logger.warning("%s: %s", self.path.name, fault, location=self.get_location(), type="quiz")

    def question(self, question: dict[str, Any], number: int, total: int) -> Part:
        label = nodes.paragraph("", f"Question {number} of {total}", classes=["quiz-number"])
        name = f"quiz-question-{number}"
        prompt = part_of_quiz("prompt", label, *self.parsed(question["question"]), ids=[name])
        choices = []
        for letter, choice in zip(LETTERS, question["choices"], strict=False):
            content = self.parsed(choice["text"])
            if [type(one) for one in content] != [nodes.paragraph]:
                self.complain(f"question {number} choice {letter} is not one paragraph of text")
            words = content[0].children if content else []
            said = nodes.inline("", "", *words, classes=["quiz-text"])
            right = "right" in choice
            choices.append(
                part_of_quiz(
                    "choice",
                    part_of_quiz("said", nodes.inline("", letter, classes=["quiz-letter"]), said),
                    part_of_quiz("why", *begun(self.parsed(choice["why"]), VERDICTS[right])),
                    classes=["quiz-right" if right else "quiz-wrong"],
                )
            )
        html = {"role": "group", "aria-labelledby": name}
        return part_of_quiz("question", prompt, *choices, html=html)

    def parsed(self, text: str) -> list[nodes.Node]:
        """The text as MyST; what is wrong in it is reported with the name of the quiz file."""
        holder = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines(), str(self.path)), 0, holder)
        for node in holder.findall(nodes.Element):
            node.source, node.line = str(self.path), None
        return holder.children


def begun(content: list[nodes.Node], word: str) -> list[nodes.Node]:
    """The paragraphs with a word in front, in the first of them if the content begins with one."""
    if not (content and isinstance(content[0], nodes.paragraph)):
        content = [nodes.paragraph(), *content]
    content[0][:0] = [nodes.strong("", word, classes=["quiz-verdict"]), nodes.Text(" ")]
    return content


class AnswersAfterQuestions(SphinxPostTransform):
    """Where there are no web pages to fold: questions with lists of choices, then the answers."""

    default_priority = 200

    def run(self, **kwargs: Any) -> None:
        builder = self.app.builder
        if builder.format == "html" and builder.name != "epub":
            return
        for quiz in list(
            self.document.findall(lambda n: isinstance(n, Part) and n["part"] == "quiz")
        ):
            quiz.replace_self(plain(quiz))


def plain(quiz: Part) -> list[nodes.Node]:
    questions: list[nodes.Node] = []
    answers: list[nodes.Node] = [nodes.rubric("", "Answers")]
    for question in quiz.only("question"):
        [prompt] = question.only("prompt")
        said = [nodes.paragraph("", "", one[1]) for one in question.only("said")]
        questions += [*prompt.children, lettered([[one] for one in said])]
        why = [one.children for one in question.only("why")]
        answers += [prompt[0].deepcopy(), lettered(why)]
    return questions + answers


def lettered(items: list[list[nodes.Node]]) -> nodes.enumerated_list:
    listed = [nodes.list_item("", *item) for item in items]
    return nodes.enumerated_list("", *listed, enumtype="upperalpha", prefix="", suffix=".")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_node(Part, html=(visit_part, depart_part))
    app.add_directive("quiz", QuizDirective)
    app.add_post_transform(AnswersAfterQuestions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
