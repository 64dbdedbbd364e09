"""A closed room for a student's code: bubblewrap, an unprivileged user, limits, a watchdog.

The room has Python and the book's packages but for those that are the answer, the files handed out,
and the worker. It has no network, no process, user or other file of the machine, and nothing of it
stays. What it may take is bounded: time, memory, processes, disk.
"""

import functools
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import psutil

from course import seccomp
from course.transport import BadMessage, receive, send

MIB = 2**20
HERE = Path(__file__).parent
INSIDE = ("worker.py", "transport.py", "plain.py")
PROGRAMS = ("bin", "include", "lib", "lib32", "lib64", "libexec", "sbin", "share")
# Packages that are the answer to a task, or that grade.
WITHOUT = ("camlib", "torchcam", "pytorch_grad_cam", "captum", "nbgrader", "course")
UNSAFE = "run student code without a sandbox"
FIRST_USER = 64_000
SHARED = 64  # MiB of memory that processes share
FEW = 12  # threads, the room's own included, whose shared memory is counted once
STRAYS = 100  # replies that nobody asked for, until no more is read


class NoSandbox(RuntimeError):  # noqa: N818  (the name says what it is)
    """Student code cannot be closed in here."""


class Ended(RuntimeError):  # noqa: N818
    """The worker is gone: why, in words for the student."""


@dataclass(frozen=True)
class Limits:
    """What one submission may take.

    Args:
        memory: MiB, of all its processes together.
        disk: MiB, which count as memory too.
        processes: threads included.
        start: seconds until the worker is ready.
        cell: seconds for one of the student's cells.
        total: seconds for a submission, from its first cell to the last answer.
    """

    memory: int = 3000
    disk: int = 256
    processes: int = 64
    start: float = 120.0
    cell: float = 30.0
    total: float = 300.0


def how() -> str:
    """How student code is closed in: "bubblewrap", or "nothing" where the teacher has said so.

    Raises:
        NoSandbox: if there is no bubblewrap that works, and the teacher has not said so.
    """
    if os.environ.get("COURSE_SANDBOX") == UNSAFE:
        return "nothing"
    if trouble := _trouble(os.environ.get("PATH", os.defpath)):
        raise NoSandbox(
            f"{trouble}. Student code is not run without a sandbox. Install bubblewrap (Debian and "
            "Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap) and grade on Linux; a "
            "virtual machine or a container with the right to make namespaces will do. If every "
            f'submission is trusted, set COURSE_SANDBOX="{UNSAFE}".'
        )
    return "bubblewrap"


@functools.lru_cache(maxsize=8)
def _trouble(path: str) -> str:
    """What is wrong with the bubblewrap found on a path, or nothing."""
    if shutil.which("bwrap", path=path) is None:
        return "There is no bubblewrap (bwrap) here"
    words = _room(Path("/nonexistent"), Limits())
    test = ["-c", "open('/worker/worker.py').close()"]
    try:
        process = _enter(words, [*_user(0), *_python(), *test], stderr=subprocess.PIPE)
        said = process.communicate(timeout=60)[1].decode(errors="replace").strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not work here: {error}"
    return f"bubblewrap does not work here: {said[-300:]}" if process.returncode else ""


def _python() -> tuple[str, ...]:
    return (f"/python/bin/python{sys.version_info[0]}.{sys.version_info[1]}",)


def _room(files: Path, limits: Limits) -> list[str]:
    """What bubblewrap is told about the room."""
    words = ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "room"]
    words += [f"--unshare-{what}" for what in ("ipc", "pid", "net", "uts", "cgroup-try")]
    if os.getuid():
        words += ["--unshare-user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL"]
    else:
        # Root can close the room without a user namespace, and then becomes another user.
        for name in ("SETUID", "SETGID", "SETPCAP"):
            words += ["--cap-add", f"CAP_{name}"]
    # Of /usr and of Python what programs need. Not /usr/local: nbgrader keeps an exchange there.
    packages = Path(sysconfig.get_path("purelib"))
    seen = {f"/usr/{name}": Path("/usr", name) for name in PROGRAMS}
    seen |= {f"/python/{name}": Path(sys.base_prefix, name) for name in ("bin", "lib", "lib64")}
    seen["/packages"] = packages
    for place in ("/usr", "/python", "/worker"):
        words += ["--perms", "0755", "--dir", place]
    for place, source in seen.items():
        words += ["--ro-bind-try", str(source), place]
    # What must not be seen is covered wherever it lies in that.
    for secret in (HERE.parent, *(packages / name for name in WITHOUT)):
        for place, source in seen.items():
            if secret.is_dir() and secret.resolve().is_relative_to(source.resolve()):
                inside = secret.resolve().relative_to(source.resolve())
                words += ["--size", str(MIB), "--tmpfs", str(Path(place, inside))]
                words += ["--remount-ro", str(Path(place, inside))]
    for name in ("bin", "lib", "lib64", "sbin"):
        words += ["--symlink", f"usr/{name}", f"/{name}"]
    for name in INSIDE:
        words += ["--ro-bind", str(HERE / name), f"/worker/{name}"]
    words += ["--ro-bind-try", str(files), "/handed", "--proc", "/proc", "--dev", "/dev"]
    words += ["--perms", "1777", "--size", str(SHARED * MIB), "--tmpfs", "/dev/shm"]
    words += ["--perms", "1777", "--size", str(limits.disk * MIB), "--tmpfs", "/tmp"]
    words += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    settings = {
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "LD_LIBRARY_PATH": "/python/lib",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": "/tmp/.matplotlib",
        "PATH": "/python/bin:/usr/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHOME": "/python",
        "PYTHONPATH": "/packages",
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/.inductor",
        "USER": "student",
    }
    for name in ("OMP", "OPENBLAS", "MKL"):
        settings[f"{name}_NUM_THREADS"] = "1"
    for name, value in settings.items():
        words += ["--setenv", name, value]
    return words


def _user(slot: int) -> list[str]:
    """The words by which root becomes, in the room, a user whom nobody knows."""
    if os.getuid():
        return []
    user = str(FIRST_USER + slot)
    words = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs"]
    return [*words, "--bounding-set", "-all"]


def _enter(words: list[str], program: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
    """Starts a program in a room. The words are handed over where the program cannot read them."""
    handed = []
    if calls := seccomp.program():
        handed.append(_readable(calls))
        words = [*words, "--seccomp", str(handed[0])]
    handed.append(_readable("\0".join(words).encode()))
    try:
        return subprocess.Popen(
            ["bwrap", "--args", str(handed[-1]), *program],
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath)},
            pass_fds=handed,
            start_new_session=True,
            **pipes,
        )
    finally:
        for descriptor in handed:
            os.close(descriptor)


def _enter_nothing(
    folder: Path, files: Path, program: list[str], **pipes: Any
) -> subprocess.Popen[bytes]:
    """Starts a program without a room: in a folder, without the teacher's settings."""
    for path in files.iterdir() if files.is_dir() else ():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    kept |= {"HOME": str(folder), "TMPDIR": str(folder), "MPLBACKEND": "agg"}
    return subprocess.Popen(program, cwd=folder, env=kept, start_new_session=True, **pipes)


def _readable(content: bytes) -> int:
    """A file descriptor from which the content can be read once."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(content)  # less than a pipe holds
    return reading


class Sandbox:
    """One worker in its room.

    Args:
        files: a folder whose files the student's code finds, as a copy, in its working directory;
            others than its owner must be able to read it.
        limits: what it may take.
        slot: a number that no other sandbox has at the same time: each is another user.

    Raises:
        NoSandbox: see `how`.
        Ended: if the worker does not start.
    """

    def __init__(self, files: Path, limits: Limits, slot: int = 0):
        self.limits = limits
        self.ended_by = ""
        self._lock, self._closed = threading.RLock(), threading.Event()
        self._folder: Path | None = None
        bounds = {
            "CORE": 0,
            "CPU": int(limits.total + limits.start),
            "FSIZE": limits.disk * MIB,
            "NOFILE": 256,
        }
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        pipes["stderr"] = subprocess.DEVNULL
        if how() == "nothing":
            self._folder = Path(tempfile.mkdtemp(prefix="course-"))
            program = [sys.executable, str(HERE / "worker.py"), _settings(bounds)]
            try:
                self._process = _enter_nothing(self._folder, files, program, **pipes)
            except BaseException:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise
        else:
            # Of each process: what it asks for, and what it maps (torch maps more than it uses).
            # What all of them take, the watchdog counts.
            bounds |= {"DATA": limits.memory * MIB, "AS": 16 * 1024 * MIB}
            bounds["NPROC"] = limits.processes
            program = [*_user(slot), *_python(), "/worker/worker.py", _settings(bounds)]
            self._process = _enter(_room(files, limits), program, **pipes)
        try:
            threading.Thread(target=self._watch, daemon=True).start()
            with self._within(limits.start, "Python did not start in time"):
                self._reply(None)
        except BaseException:
            self.close()
            raise

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The worker's reply; {"error": text} if the request is more than can be handed over.

        Raises:
            Ended: if the worker died, ran out of time, took too much, or sent what is no reply. It
                is gone then.
        """
        # Nobody can guess the number: a reply that has it was made after the question.
        number = secrets.token_hex(8)
        if self._closed.is_set():
            raise self._ended()
        with self._within(seconds, f"it ran for more than {seconds:.0f} seconds"):
            try:
                send(cast(BinaryIO, self._process.stdin), request | {"number": number})
            except BadMessage as error:
                return {"error": f"it cannot be handed over: {error}"}
            except OSError as error:
                raise self._ended() from error
            return self._reply(number)

    @contextmanager
    def _within(self, seconds: float, why: str) -> Iterator[None]:
        """Ends the worker if a block is not done in time."""
        timer = threading.Timer(seconds, self._kill, (why,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _reply(self, number: str | None) -> dict[str, Any]:
        try:
            for _ in range(STRAYS):
                reply = receive(cast(BinaryIO, self._process.stdout))
                if not isinstance(reply, dict):
                    raise BadMessage("it is no reply")
                if reply.pop("number", None) == number:
                    return reply
            raise BadMessage("these are replies that nobody asked for")
        except (EOFError, OSError) as error:
            raise self._ended() from error
        except BadMessage as error:
            raise self._ended(f"what it sent back cannot be read: {error}") from error

    def _ended(self, why: str = "the Python process ended") -> Ended:
        self.close()
        return Ended(self.ended_by or why)

    def _watch(self) -> None:
        """Ends the worker if it takes too much, looking ten times a second or, if that costs more
        than a twentieth of the time, less often."""
        pause = 0.1
        while not self._closed.wait(pause):
            start = time.monotonic()
            most = (self.limits.memory + self.limits.disk) * MIB
            taken, count = _taken(self._process.pid)
            if count > 2 * self.limits.processes:
                return self._kill(f"it started more than {self.limits.processes} processes")
            if taken > most and count <= FEW:
                taken, _ = _taken(self._process.pid, exactly=True)
            if taken > most:
                return self._kill(f"it took more than {self.limits.memory} MiB of memory")
            pause = min(max(0.1, 20 * (time.monotonic() - start)), 1.0)

    def _kill(self, why: str) -> None:
        with self._lock:
            # Until `close` has waited for it, the process keeps its number, even if it has ended.
            if self._closed.is_set():
                return
            self.ended_by = self.ended_by or why
            family = _family(self._process.pid)
            # bubblewrap itself ends when what it started has, and then nothing is left of it.
            for process in family[1:] if self._folder is None and len(family) > 1 else family:
                with suppress(psutil.Error):
                    process.kill()
            if self._folder is not None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends the worker and everything it started."""
        with self._lock:
            self._kill("")
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._closed.set()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _settings(bounds: dict[str, int]) -> str:
    return json.dumps({"limits": bounds, "without": WITHOUT})


def _family(pid: int) -> list[psutil.Process]:
    """A process and all that came from it; in a room, they all end with the second of them."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _taken(pid: int, exactly: bool = False) -> tuple[int, int]:
    """Memory in bytes and threads of a process and all that came from it.

    What processes share is counted for each of them, unless it is to be known exactly, which takes
    longer.
    """
    memory = threads = 0
    for process in _family(pid):
        with suppress(psutil.Error):
            about = process.memory_full_info() if exactly else process.memory_info()
            memory += getattr(about, "pss", about.rss)
            threads += process.num_threads()
    return memory, threads
