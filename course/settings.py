"""nbgrader's configuration of this course, for the commands and for the grader's pages."""

from pathlib import Path

from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

CONFIG = "nbgrader_config.py"


def settings(root: Path) -> Config:
    """The configuration of a course that lies in a folder.

    nbgrader keeps the gradebook, the released and the graded notebooks. It runs no student's code:
    in the place of its `Execute` stands `course.preprocessor.JudgedMarks`.
    """
    config = Config()
    config.CourseDirectory.root = str(root.resolve())
    config.CourseDirectory.course_id = "cam"
    config.CourseDirectory.db_url = f"sqlite:///{root.resolve() / 'gradebook.db'}"
    config.CourseDirectory.ignore = [
        ".ipynb_checkpoints",
        "*.pyc",
        "__pycache__",
        "*.safetensors*",
        "*.npz",
        "checks.*",
        "compare.py",
        "plain.py",
    ]
    config.ClearSolutions.code_stub = {"python": "raise NotImplementedError"}
    config.ClearSolutions.text_stub = "*Write here.*"
    config.OverwriteCells.add_missing_cells = True
    # Not ClearOutput: figures of a project are read by graders. Of the sets no output is kept.
    config.Autograde.sanitize_preprocessors = [
        "nbgrader.preprocessors.DeduplicateIds",
        "nbgrader.preprocessors.OverwriteKernelspec",
        "nbgrader.preprocessors.OverwriteCells",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]
    config.Autograde.autograde_preprocessors = [
        "course.preprocessor.JudgedMarks",
        "nbgrader.preprocessors.SaveAutoGrades",
        "nbgrader.preprocessors.AssignLatePenalties",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]
    config.JudgedMarks.folder = str(root.resolve() / "marks")
    return config


def read(root: Path) -> Config:
    """The configuration as the course's own file has it, with what a teacher added there."""
    config = settings(root)
    if (root / CONFIG).exists():
        config.merge(PyFileConfigLoader(CONFIG, path=str(root)).load_config())
    return config


def write(root: Path) -> None:
    """Puts the configuration where nbgrader finds it when it is started in the course's folder."""
    here = str(Path(__file__).resolve().parents[1])
    lines = (
        "# Written by `make course-release`; changes here are kept.",
        "import sys",
        "from pathlib import Path",
        "",
        f"sys.path.insert(0, {here!r})",
        "from course.settings import settings",
        "",
        "c = get_config()",
        "c.merge(settings(Path(__file__).parent))",
        "",
    )
    if not (root / CONFIG).exists():
        (root / CONFIG).write_text("\n".join(lines), encoding="utf-8")
