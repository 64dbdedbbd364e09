"""The teacher's commands: `python -m course release|collect|grade|feedback|marks`."""

import argparse
import sys
import warnings
from pathlib import Path

from course import flow

HERE = Path(__file__).resolve().parents[1]


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="course", description=__doc__)
    found.add_argument("command", choices=("release", "collect", "grade", "feedback", "marks"))
    found.add_argument("--course", type=Path, default=HERE / "course-data", help="its folder")
    found.add_argument("--set", action="append", help=f"of {', '.join(flow.ASSIGNMENTS)}; or all")
    found.add_argument("--from", dest="given", type=Path, help="what the platform handed out")
    found.add_argument("--jobs", type=int, help="submissions graded at once")
    found.add_argument("--due", help="of a released set, such as '2027-03-01 23:59:00 UTC'")
    found.add_argument("--quick", action="store_true", help="networks hardly trained, to try out")
    return found


def main() -> None:
    options = parser().parse_args()
    warnings.filterwarnings("ignore", module="nbgrader")  # its own, about SQLAlchemy
    names = [name for name in options.set or () if name] or list(flow.ASSIGNMENTS)
    if unknown := set(names) - set(flow.ASSIGNMENTS):
        sys.exit(f"There is no set {', '.join(unknown)}; there are {', '.join(flow.ASSIGNMENTS)}.")
    course = flow.Course(options.course)
    try:
        if options.command == "release":
            course.release(names, options.due, options.quick)
        elif options.command == "collect":
            if options.given is None or len(names) != 1:
                sys.exit("Say which set, and from where: SET=set1_where FROM=downloads.zip")
            course.collect(names[0], options.given)
        elif options.command == "grade":
            course.grade(names, options.jobs)
        elif options.command == "feedback":
            course.feedback(names)
        else:
            course.marks(names)
    except (RuntimeError, ValueError) as error:
        sys.exit(f"course {options.command}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"course {options.command}: stopped. What was done is kept; start it again")


if __name__ == "__main__":
    main()
