"""Where nbgrader would run a student's notebook, the judge's marks are put into it."""

from pathlib import Path
from typing import Any

from nbformat import NotebookNode, v4
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Unicode

from course import judge
from course.notebooks import grade_id, key_of


class JudgedMarks(NbGraderPreprocessor):  # type: ignore[misc]
    """Gives the cell of each task the points and the sentence of the judge as its outputs."""

    folder = Unicode("", help="The folder of the judge's marks.").tag(config=True)

    def preprocess(
        self, nb: NotebookNode, resources: dict[str, Any]
    ) -> tuple[NotebookNode, dict[str, Any]]:
        about = resources["nbgrader"]
        path = Path(self.folder) / about["assignment"] / f"{about['student']}.json"
        marks = judge.kept(path)
        for cell in nb.cells:
            identity = grade_id(cell)
            if not identity.startswith("task-"):
                continue
            if marks is None or key_of(identity) not in marks.tasks:
                raise ValueError(f"there are no marks for {identity} in {path}")
            task = marks.tasks[key_of(identity)]
            right = task["points"] > 0
            said = "Right." if right else f"Not yet: {task['said'].rstrip('.')}."
            output: Any = v4.new_output
            points = output("execute_result", {"text/plain": str(task["points"])})
            cell.outputs = [output("stream", name="stdout", text=said + "\n"), points]
        return nb, resources
