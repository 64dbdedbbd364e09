"""How long a class takes to grade, and whether its marks are the expected ones.

    python bench/course_class.py            # 100 submissions of set 1, 10 of each other set
    python bench/course_class.py 20 2       # a smaller class

Students are made from the answers of tests/course: right and wrong ones, drawn at random. Each set
goes the whole way: collected, judged in the sandbox, handed to nbgrader, feedback, marks.
"""

import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "course")]

from classroom import students, write_class  # noqa: E402

from course import sets  # noqa: E402
from course.flow import Course  # noqa: E402


def graded(course: Course, name: str, count: int) -> None:
    people = students(name, count)
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(io.StringIO()):
        released = course.root / "release" / name / f"{name}.ipynb"
        write_class(Path(made), released, name, people)
        start = time.monotonic()
        course.collect(name, Path(made))
        course.grade([name])
        middle = time.monotonic()
        course.feedback([name])
        course.marks([name])
        end = time.monotonic()
    equal = 0
    for student in people:
        marks = course.mark_of(name, student.name)
        points, _ = course.result(name, student.name)
        if marks is not None and marks.points == student.points == points:
            equal += 1
        else:
            print(f"  {student.name}: expected {student.points}, {marks}, {points}")
    print(
        f"{name}: {count} submissions, graded in {middle - start:.0f} s, feedback and marks in "
        f"{end - middle:.0f} s; {equal} of {count} marks as expected",
        flush=True,
    )


def main() -> None:
    first, others = (int(word) for word in (sys.argv[1:] or (100, 10)))
    with tempfile.TemporaryDirectory() as root:
        course = Course(Path(root))
        course.release(list(sets.NAMES), quick=True)
        for i, name in enumerate(sets.NAMES):
            graded(course, name, others if i else first)


if __name__ == "__main__":
    main()
