"""What student code finds in its room, what it may take, and what is left of it: nothing."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import psutil
import pytest

from course import sandbox, seccomp
from course.sandbox import Ended, Limits, NoSandbox, Sandbox

BOOK = Path(sandbox.__file__).resolve().parents[1]
LIMITS = Limits(memory=1500, disk=64, processes=32, start=120.0)
NOWHERE = Path("/nonexistent")
SLOT = 900  # of these tests


def asked(room: Sandbox, text: str, seconds: float = 30.0) -> Any:
    """What a function with this body returns in the room, or the error as text."""
    body = f"def f():\n{indent(dedent(text), '    ')}\n"
    assert room.ask({"cell": "one", "source": body}, seconds) == {"ok": True}
    reply = room.ask({"function": "f", "adapter": None, "arguments": []}, seconds)
    return reply["answer"] if "answer" in reply else reply["error"]


def own_processes() -> set[int]:
    """Those that came from these tests, and those of the users of their rooms."""
    users = range(sandbox.FIRST_USER + SLOT, sandbox.FIRST_USER + SLOT + 10)
    found = {process.pid for process in psutil.Process().children(recursive=True)}
    for process in psutil.process_iter(["uids"]):
        if process.info["uids"] and process.info["uids"].real in users:
            found.add(process.pid)
    return found


def own_folders() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("course-*"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handed")
    folder.chmod(0o755)
    (folder / "data.txt").write_text("as handed out")
    (folder / "helper.py").write_text("VALUE = 7\n")
    return folder


@pytest.fixture(scope="module")
def room(files: Path) -> Iterator[Sandbox]:
    assert sandbox.how() == "bubblewrap"
    with Sandbox(files, LIMITS, SLOT) as found:
        yield found


# What there is


def test_there_are_few_places_and_none_of_the_machine(room: Sandbox):
    top = asked(room, "import os\nreturn sorted(os.listdir('/'))")
    places = {"bin", "dev", "handed", "lib", "lib64", "packages", "proc", "python", "sbin"}
    assert set(top) == places | {"tmp", "usr", "worker"}
    hidden = [BOOK, Path.home(), Path.cwd(), Path(tempfile.gettempdir(), "pytest-of-root")]
    hidden += [Path(place) for place in ("/etc/passwd", "/root", "/var", "/sys", "/usr/local")]
    assert (
        asked(room, f"import os\nreturn [p for p in {list(map(str, hidden))} if os.path.exists(p)]")
        == []
    )
    assert asked(room, "import os\nreturn os.listdir('/worker')") != []
    assert asked(room, "import os\nreturn os.listdir('/usr')") != []


def test_only_two_small_places_can_be_written(room: Sandbox):
    text = """
    import os
    found = set()
    for place, folders, names in os.walk("/"):
        folders[:] = [f for f in folders if place != "/" or f not in ("proc", "packages", "usr")]
        found |= {place} if os.access(place, os.W_OK) else set()
        for name in names:
            path = os.path.join(place, name)
            if os.access(path, os.W_OK) and os.path.isfile(path):
                found.add(path)
    for place in ("/", "/packages", "/worker", "/handed", "/usr", "/usr/lib", "/python", "/dev"):
        try:
            open(place + "/new", "w")
            found.add(place)
        except OSError:
            pass
    return sorted(path for path in found if not path.startswith("/tmp/"))
    """
    assert asked(room, text) == ["/dev/shm", "/tmp"]


def test_the_user_is_another_and_may_nothing(room: Sandbox):
    status = asked(room, "return open('/proc/self/status').read()")
    about = dict(line.split(":", 1) for line in status.splitlines())
    assert set(about["Uid"].split()) <= {str(sandbox.FIRST_USER + SLOT), "1000"}
    assert about["Groups"].split() in ([], ["65534"])
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(about[kind], 16) == 0
    assert about["NoNewPrivs"].strip() == "1"
    assert about["Seccomp"].strip() == "2"
    for place in ("/usr/bin", "/packages", "/python/bin", "/tmp", "/dev/shm"):
        flags = asked(room, f"import os\nreturn os.statvfs({place!r}).f_flag")
        assert flags & os.ST_NOSUID


def test_no_process_of_the_machine_is_seen(room: Sandbox):
    numbers = asked(room, "import os\nreturn [n for n in os.listdir('/proc') if n.isdigit()]")
    assert 1 <= len(numbers) <= 3
    assert max(map(int, numbers)) < 1000
    text = asked(room, "return open('/proc/1/cmdline').read() + open('/proc/self/cmdline').read()")
    assert str(BOOK) not in text
    assert os.uname().nodename != asked(room, "import os\nreturn os.uname().nodename")


def test_the_environment_is_the_rooms_own(room: Sandbox, monkeypatch: pytest.MonkeyPatch):
    found = asked(room, "import os\nreturn dict(os.environ)")
    assert found["HOME"] == "/tmp"
    assert found["USER"] == "student"
    assert not any(str(BOOK) in value or "/root" in value for value in found.values())
    assert "COURSE_PRIVATE" not in found


def test_no_file_of_the_judge_is_open(room: Sandbox):
    text = """
    import os
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink("/proc/self/fd/" + number))
        except OSError:
            pass
    return found
    """
    found = asked(room, text)
    assert found.count("/dev/null") == 3
    assert len([one for one in found if one.startswith("pipe:")]) == 2
    assert len(found) <= 6


def test_there_is_no_network(room: Sandbox):
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = f"""
        import socket
        found = [name for _, name in socket.if_nameindex() if name != "lo"]
        for place in ("127.0.0.1", "::1", "10.0.2.2", "1.1.1.1", "example.org"):
            try:
                socket.create_connection((place, {server.getsockname()[1]}), timeout=1)
                found.append(place)
            except OSError:
                pass
        return found
        """
        assert asked(room, text) == []


@pytest.mark.skipif(not seccomp.program(), reason="no list of calls for this kind of machine")
def test_the_kernel_refuses_what_nobody_needs(room: Sandbox):
    which = list(seccomp.MACHINES).index(os.uname().machine)
    numbers = {name: pair[which] for name, pair in seccomp.REFUSED.items()}
    text = f"""
    import ctypes
    c = ctypes.CDLL(None, use_errno=True)
    def called(number, *more):
        ctypes.set_errno(0)
        c.syscall(ctypes.c_long(number), *map(ctypes.c_long, (*more, 0, 0, 0, 0)[:5]))
        return ctypes.get_errno()
    found = {{name: called(number) for name, number in {numbers}.items()}}
    found["clone"] = called({seccomp.CLONE[which]}, 0x10000000 | 17)
    found["clone3"] = called({seccomp.CLONE3[which]})
    found["the second table"] = called(0x40000000 + 39)
    return found
    """
    found = asked(room, text)
    assert found.pop("clone3") == errno.ENOSYS
    assert found.pop("the second table") in (errno.EPERM, errno.ENOSYS)
    assert found == dict.fromkeys(found, errno.EPERM)


def test_packages_that_are_the_answer_are_not_there(room: Sandbox):
    for name in ("torchcam", "captum", "pytorch_grad_cam", "camlib", "course", "nbgrader"):
        said = asked(room, f"import {name}")
        assert f"{name} is not there in grading: write it yourself" in said
    text = """
    import importlib, os, sys
    kept, sys.meta_path[:] = list(sys.meta_path), sys.meta_path[1:]
    found = []
    for name in ("torchcam.methods", "captum.attr", "pytorch_grad_cam.grad_cam", "camlib.cam"):
        try:
            importlib.import_module(name)
            found.append(name)
        except ImportError:
            pass
    sys.meta_path[:] = kept
    return found
    """
    assert asked(room, text) == []


def test_what_a_notebook_needs_works(room: Sandbox):
    text = """
    import multiprocessing, subprocess, tempfile, threading
    import cv2, matplotlib.pyplot as plt, scipy.ndimage, skimage.measure, torch, torchvision
    import helper
    from torch.utils.data import DataLoader
    plt.plot([1, 2])
    plt.savefig("a.png")
    with tempfile.TemporaryFile() as file:
        file.write(b"abc")
    found = []
    thread = threading.Thread(target=found.append, args=(helper.VALUE,))
    thread.start()
    thread.join()
    loader = DataLoader(torch.ones(8, 3), batch_size=4, num_workers=2)
    found += [float(batch.sum()) for batch in loader]
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=queue.put, args=(5,))
    process.start()
    found.append(queue.get(timeout=10))
    process.join()
    found.append(subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout)
    return found
    """
    assert asked(room, text) == [7, 12.0, 12.0, 5, "hi\n"]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("%matplotlib inline\n!pip install torch\n?print\nvalue = 1", 1),
        ("%%time\nvalue = 2", 2),
        ("\n%%capture out\n%config a.b = 1\nvalue = 3\n", 3),
        ("%time value = 4", 4),
        ("    value = 5\n    value", 5),
        ("get_ipython().run_line_magic('load_ext', 'x')\ndisplay(1)\nvalue = 6", 6),
    ],
)
def test_cells_for_ipython_run(room: Sandbox, cell: str, value: int):
    assert room.ask({"cell": "magic", "source": cell}, 30) == {"ok": True}
    assert asked(room, "return value") == value


def test_handed_files_are_a_copy(room: Sandbox, files: Path):
    text = "kept = open('data.txt').read()\nopen('data.txt', 'w').write('changed')\nreturn kept"
    assert asked(room, text) == "as handed out"
    assert (files / "data.txt").read_text() == "as handed out"
    assert asked(room, "return open('/handed/data.txt').read()") == "as handed out"


def test_errors_name_the_students_own_lines(room: Sandbox):
    assert asked(room, "x = 1\nreturn x / 0") == (
        "ZeroDivisionError: division by zero (line 3 of one: return x / 0)"
    )
    reply = room.ask({"cell": "two", "source": "def f(:\n    pass"}, 30)
    assert reply["error"].startswith("SyntaxError: invalid syntax (line 1 of two")
    reply = room.ask({"function": "nobody", "adapter": None, "arguments": []}, 30)
    assert reply == {"error": "NameError: there is no function `nobody`"}
    assert asked(room, "raise NotImplementedError") == "NotImplementedError"
    said = asked(room, "raise NotImplementedError('only 4D')")
    assert said.startswith("NotImplementedError: only 4D")
    assert "?" in asked(room, r"raise ValueError('\ud800')")
    assert len(asked(room, "raise ValueError('long' * 10**6)")) < 1000


def test_a_request_that_is_too_large_is_an_error_of_its_own(room: Sandbox):
    reply = room.ask({"cell": "large", "source": "#" * 2**21}, 30)
    assert reply == {"error": "it cannot be handed over: it is too large"}
    assert asked(room, "return 1") == 1


# What it may take


def test_limits_cannot_be_raised_again(room: Sandbox):
    text = """
    import resource
    found = []
    for name in ("AS", "DATA", "CPU", "FSIZE", "NOFILE", "NPROC", "CORE"):
        kind = getattr(resource, "RLIMIT_" + name)
        most = resource.getrlimit(kind)[1]
        try:
            resource.setrlimit(kind, (most, most + 1))
            found.append(name)
        except (ValueError, OSError):
            pass
        if most == resource.RLIM_INFINITY:
            found.append(name)
    return found
    """
    assert asked(room, text) == []


def test_too_much_memory_is_an_error_of_the_cell(room: Sandbox):
    said = asked(room, "import torch\nreturn torch.ones(2**30).sum()")
    assert "can't allocate memory" in said
    said = asked(room, "import numpy\nreturn numpy.ones(2**28).sum()")
    assert "Unable to allocate" in said


def test_memory_that_processes_share_counts_once(room: Sandbox):
    text = """
    import os, time, numpy
    kept = numpy.ones(2**26)
    children = []
    for _ in range(4):
        children.append(os.fork())
        if not children[-1]:
            time.sleep(1)
            os._exit(0)
    return [os.waitpid(child, 0)[1] for child in children]
    """
    assert asked(room, text) == [0, 0, 0, 0]


@pytest.mark.parametrize(("place", "most"), [("/tmp", LIMITS.disk), ("/dev/shm", sandbox.SHARED)])
def test_the_disk_fills_and_can_be_emptied(room: Sandbox, place: str, most: int):
    text = f"""
    import os
    written, names = 0, []
    try:
        for i in range(1000):
            names.append(f"{place}/{{i}}")
            with open(names[-1], "wb") as file:
                written += file.write(b"x" * 2**20)
    except OSError as error:
        return [error.errno, written / 2**20]
    finally:
        for name in names:
            os.remove(name)
    """
    number, written = asked(room, text)
    assert number == errno.ENOSPC
    assert most - 4 <= written <= most


def test_a_gigabyte_of_print_goes_nowhere(room: Sandbox):
    text = """
    import os, sys
    block = "x" * 2**24
    for _ in range(32):
        print(block)
        sys.stderr.write(block)
    os.write(1, b"abc")
    os.write(2, b"abc")
    return "done"
    """
    assert asked(room, text) == "done"


ENDS = {
    "hangs": (
        "while True:\n    pass",
        "it ran for more than 2 seconds",
    ),
    "hangs in C, deaf to signals": (
        "import signal, time\nfor n in range(1, 65):\n    try:\n        "
        "signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\n"
        "time.sleep(1000)",
        "it ran for more than 2 seconds",
    ),
    "forks without an end": (
        "import os\nwhile True:\n    try:\n        os.fork()\n        os.setsid()\n"
        "    except OSError:\n        pass",
        "it ran for more than 2 seconds|it took more than 1500 MiB of memory",
    ),
    "takes memory in many processes": (
        "import os, time\nfor _ in range(6):\n    if not os.fork():\n        break\n"
        "kept = bytearray(2**28)\ntime.sleep(1000)",
        "it took more than 1500 MiB of memory",
    ),
    "leaves processes behind and dies": (
        "import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n"
        "        time.sleep(1000)\nos.kill(os.getpid(), 9)",
        "the Python process ended",
    ),
    "sends replies without an end": (
        "import os\nfor n in range(3, 10):\n    try:\n        os.set_blocking(n, False)\n"
        "        for _ in range(1000):\n            "
        'os.write(n, b\'{"body": {"dict": {}}, "sizes": []}\\n\')\n'
        "    except OSError:\n        pass",
        "replies that nobody asked for",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_ends_a_room_costs_only_itself(name: str, room: Sandbox):
    text, says = ENDS[name]
    before, folders = own_processes(), own_folders()
    other = Sandbox(NOWHERE, LIMITS, SLOT + 1)
    assert own_processes() > before
    start = time.monotonic()
    with pytest.raises(Ended, match=says):
        asked(other, text, 2.0 if "seconds" in says else 20.0)
    assert time.monotonic() - start < 20
    for _ in range(2):
        with pytest.raises(Ended):
            other.ask({"cell": "again", "source": ""}, 1)
        other.close()
    assert own_processes() == before
    assert own_folders() == folders
    assert asked(room, "return 'still here'") == "still here"


def test_two_rooms_do_not_see_each_other(room: Sandbox):
    with Sandbox(NOWHERE, LIMITS, SLOT + 1) as other:
        for place in ("/tmp", "/dev/shm"):
            asked(other, f"open('{place}/secret', 'w').write('x')")
            assert asked(room, f"import os\nreturn os.path.exists('{place}/secret')") is False
        asked(other, "import socket\nglobal s\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0a')")
        text = "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0a')"
        assert "ConnectionRefusedError" in asked(room, text)
        numbers = [asked(one, "import os\nreturn os.getuid()") for one in (room, other)]
        assert numbers == [1000, 1000] or numbers[0] != numbers[1]
        spaces = "import os\nreturn [os.readlink('/proc/self/ns/' + n) for n in ('pid', 'net')]"
        assert not set(asked(room, spaces)) & set(asked(other, spaces))
        with pytest.raises(Ended):
            asked(other, "import os\nos.kill(0, 9)")
    assert asked(room, "return 1") == 1


def test_a_room_that_does_not_open_in_time_leaves_nothing():
    before = own_processes()
    with pytest.raises(Ended, match="Python did not start in time"):
        Sandbox(NOWHERE, Limits(start=0.05), SLOT + 2)
    assert own_processes() == before


def test_a_room_that_is_interrupted_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = own_processes()
    monkeypatch.setattr(threading.Thread, "start", stop)
    with pytest.raises(KeyboardInterrupt):
        Sandbox(NOWHERE, LIMITS, SLOT + 3)
    assert own_processes() == before


# Where there is none


def test_without_bubblewrap_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    before = own_processes()
    for attempt in (sandbox.how, lambda: Sandbox(NOWHERE, LIMITS)):
        with pytest.raises(NoSandbox, match="There is no bubblewrap") as told:
            attempt()
        assert "apt install bubblewrap" in str(told.value)
        assert f'COURSE_SANDBOX="{sandbox.UNSAFE}"' in str(told.value)
    assert own_processes() == before


def test_a_bubblewrap_that_does_not_work_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a namespace' >&2\nexit 1\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(NoSandbox, match="does not work here: bwrap: No permissions"):
        sandbox.how()


@pytest.mark.parametrize("said", ["1", "yes", "none", "", sandbox.UNSAFE.upper()])
def test_only_the_whole_sentence_opens_the_room(said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COURSE_SANDBOX", said)
    assert sandbox.how() == "bubblewrap"


def test_with_the_sentence_code_runs_as_it_is(files: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COURSE_SANDBOX", sandbox.UNSAFE)
    monkeypatch.setenv("COURSE_PRIVATE", "/a/secret/place")
    before, folders = own_processes(), own_folders()
    assert sandbox.how() == "nothing"
    with Sandbox(files, LIMITS) as open_room:
        assert asked(open_room, "return open('data.txt').read()") == "as handed out"
        assert asked(open_room, "import os\nreturn 'COURSE_PRIVATE' in os.environ") is False
        assert "write it yourself" in asked(open_room, "import camlib")
        assert own_folders() > folders
        asked(open_room, "import subprocess\nsubprocess.Popen(['sleep', '1000'])")
        with pytest.raises(Ended, match="it ran for more than 1 seconds"):
            asked(open_room, "while True:\n    pass", 1.0)
    assert own_processes() == before
    assert own_folders() == folders


# How bubblewrap is told


@pytest.mark.parametrize("user", [0, 1000])
def test_the_room_is_closed_for_root_and_for_others(user: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "getuid", lambda: user)
    words = sandbox._room(Path("/files"), LIMITS)
    text = " ".join(words)
    for kind in ("ipc", "pid", "net", "uts"):
        assert f"--unshare-{kind}" in words
    assert {"--clearenv", "--new-session", "--die-with-parent"} <= set(words)
    assert not {"--bind", "--dev-bind", "--bind-try", "--share-net"} & set(words)
    becomes = sandbox._user(7)
    if user:
        assert "--unshare-user --uid 1000 --gid 1000 --cap-drop ALL" in text
        assert becomes == []
    else:
        assert "--unshare-user" not in words
        assert {words[i + 1] for i, word in enumerate(words) if word == "--cap-add"} == {
            f"CAP_{name}" for name in ("SETUID", "SETGID", "SETPCAP")
        }
        assert " ".join(becomes[:5]) == "setpriv --reuid 64007 --regid 64007"
        assert {"--clear-groups", "--no-new-privs"} <= set(becomes)
        assert becomes[-2:] == ["--bounding-set", "-all"]


def covered(words: list[str]) -> set[str]:
    return {words[i + 1] for i, word in enumerate(words) if word == "--tmpfs"}


def test_what_must_not_be_seen_is_covered_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As in an environment of conda, whose packages lie among Python's own files."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name in ("torchcam", "captum", "numpy", "book/course"):
        (packages / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(packages))
    monkeypatch.setattr(sandbox, "HERE", packages / "book" / "course")
    inside = "/python/lib/python3.11/site-packages"
    assert covered(sandbox._room(NOWHERE, LIMITS)) == {
        *(f"{place}/{name}" for place in ("/packages", inside) for name in ("torchcam", "captum")),
        *(f"{place}/book" for place in ("/packages", inside)),
        "/dev/shm",
        "/tmp",
    }


AS_NOBODY = """
import json, sys, sysconfig
packages, book = sys.argv[1:]
sys.path[:0] = [book, packages]
sysconfig.get_path = lambda name: packages
from pathlib import Path
from course import sandbox
with sandbox.Sandbox(Path("/nonexistent"), sandbox.Limits()) as room:
    body = '''
def f():
    import os, socket
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    paths = ("/etc", "/root", "/home", "/var", %r, "/packages/torchcam/__init__.py")
    return {
        "user": os.getuid(),
        "can": [status["CapPrm"].strip(), status["CapEff"].strip(), status["CapBnd"].strip()],
        "filter": status["Seccomp"].strip(),
        "sees": [path for path in paths if os.path.exists(path)],
        "net": [name for _, name in socket.if_nameindex()],
        "numbers": sum(name.isdigit() for name in os.listdir("/proc")),
        "writes": [p for p in ("/", "/usr", "/packages", "/worker") if os.access(p, os.W_OK)],
    }
''' % book
    room.ask({"cell": "one", "source": body}, 30)
    print(json.dumps(room.ask({"function": "f", "adapter": None, "arguments": []}, 30)["answer"]))
    try:
        text = "import os\\nos.kill(1, 9)\\nos.kill(os.getpid(), 9)"
        room.ask({"cell": "two", "source": text}, 30)
    except sandbox.Ended as error:
        print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests have run as a user")
def test_a_user_who_is_not_root_can_grade():
    """Python, packages and the course where a user can read them, wherever root keeps them."""
    sources = (Path(sys.base_prefix), Path(sysconfig.get_path("purelib")), BOOK)
    places = Path(tempfile.mkdtemp(prefix="unprivileged-"))
    try:
        places.chmod(0o755)
        steps = []
        for source, name in zip(sources, ("python", "packages", "book"), strict=True):
            (places / name).mkdir()
            steps.append(f"mount --bind '{source}' '{places / name}'")
        python = f"'{places}/python/bin/python{sys.version_info[0]}.{sys.version_info[1]}'"
        user = "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all"
        steps.append(f"exec {user} {python} - '{places}/packages' '{places}/book'")
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", " && ".join(steps)],
            input=AS_NOBODY,
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": f"{places}/python/lib"},
        )
    finally:
        for name in ("python", "packages", "book"):
            (places / name).rmdir()  # empty: the mounts were the other process's own
        places.rmdir()
    assert done.returncode == 0, done.stderr
    found, ended = done.stdout.strip().splitlines()
    assert json.loads(found) == {
        "user": 1000,
        "can": ["0" * 16] * 3,
        "filter": "2",
        "sees": [],
        "net": ["lo"],
        "numbers": 2,
        "writes": [],
    }
    assert ended == "the Python process ended"


def test_the_list_of_calls_is_that_of_this_machine():
    """The filter as the kernel reads it: whole steps, and every jump within it."""
    text = seccomp.program()
    if not text:
        pytest.skip("no list of calls for this kind of machine")
    steps = [text[i : i + 8] for i in range(0, len(text), 8)]
    assert len(text) % 8 == 0
    assert len({pair[0] for pair in seccomp.REFUSED.values()}) == len(seccomp.REFUSED)
    for i, step in enumerate(steps):
        if step[0] & 0x07 == 0x05:  # a jump
            assert max(step[2], step[3]) + i + 1 < len(steps)
    assert steps[-1][0] == seccomp.RETURN
    assert shutil.which("setpriv")
    assert ctypes.sizeof(ctypes.c_long) == 8
