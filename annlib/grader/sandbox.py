"""Runs a worker under bubblewrap and collects its messages until it ends or is stopped.

A grader that root started runs each worker as a user of its own, which owns nothing. Without
bubblewrap only the limits that a worker sets itself hold: it could read every file.
"""

import os
import secrets
import selectors
import shutil
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from annlib.grader.confine import Limits
from annlib.grader.protocol import LENGTH, Malformed, Message, packed, readable, unpacked

WORKER_FILES = (
    "__init__.py",
    "protocol.py",
    "system_calls.py",
    "confine.py",
    "cells.py",
    "worker.py",
)
STAGE = Path("/grader")  # where the worker's own code stands in the sandbox
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
DEVICES = ("/dev/null", "/dev/random", "/dev/urandom")
HOME_MIB = 256  # a folder in memory that vanishes with the worker
TORCH_GIB = 2  # of torch's libraries, Python and the home, beside what a submission may use
SESSION = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # where systemd-run finds the user's own
UNUSED_USERS = 0x70000000, 0x0FFFFFFF  # the first, and how many: no distribution assigns them
ROOT_NAMESPACES = ("ipc", "pid", "net", "uts", "cgroup-try")  # all but that of users
ROOT_CAPABILITIES = ("SETUID", "SETGID", "SETPCAP")  # what setpriv needs, and gives up

PROBE = """
import socket, sys
from pathlib import Path
seen = [path for path in sys.argv[1:] if Path(path).exists()]
try:
    Path("/annlib.probe").touch(exist_ok=False)
    Path("/annlib.probe").unlink()
    seen.append("a root to write to")
except OSError:
    pass
try:
    Path(sys.argv[2] + ".probe").touch()
except OSError:
    pass
if socket.if_nameindex()[1:]:
    seen.append("network")
for path in ("/proc/1/mem", "/proc/sys/kernel/core_pattern"):
    try:
        open(path, "r+b").close()
        seen.append(path + " to write to")
    except OSError:
        pass
print(",".join(seen) or "nothing")
"""


class Sandbox(NamedTuple):
    """command(limits) gives what stands before a worker's own words. environment: all of it."""

    command: Callable[[Limits], tuple[str, ...]]
    environment: dict[str, str]
    folder: Path
    isolated: bool


def stage_worker(folder: Path) -> Path:
    """Copies the few files that a worker needs, and nothing else of annlib, into the folder."""
    package = folder / "annlib/grader"
    package.mkdir(parents=True)
    for name in ("annlib",):
        (folder / name / "__init__.py").touch()
    for name in WORKER_FILES:
        shutil.copyfile(Path(__file__).with_name(name), package / name)
    for path in (folder, *folder.rglob("*")):  # a worker of root's is another user
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def open_sandbox(stage: Path, unsafe: bool) -> Sandbox:
    """The sandbox for workers; raises ValueError where there is none, unless `unsafe`.

    stage: from stage_worker; it must live as long as the sandbox.
    """
    missing = why_not()
    if missing and not unsafe:
        raise ValueError(
            f"Submissions would not be isolated: {missing} They could read and delete your files. "
            "Install bubblewrap (apt install bubblewrap) and try again; or, only where nothing is "
            "to be lost, such as in a fresh container, add --unsafe."
        )
    if missing:
        home = stage / "home"
        home.mkdir(exist_ok=True)
        return Sandbox(lambda limits: (sys.executable,), environment(home), stage, isolated=False)

    def command(limits: Limits) -> tuple[str, ...]:
        return (*control_group(limits), *bubblewrap(stage), sys.executable)

    session = {name: os.environ[name] for name in SESSION if name in os.environ and scope()}
    return Sandbox(command, environment(Path("/tmp")) | session, Path("/"), isolated=True)


def control_group(limits: Limits) -> tuple[str, ...]:
    """Has systemd bound a worker's memory and tasks as a whole; nothing where it does not run.

    This counts the kernel's memory, too, such as that for files in the home.
    """
    memory = int((limits.memory_gib + TORCH_GIB) * 2**30)
    bounds = (f"MemoryMax={memory}", "MemorySwapMax=0", f"TasksMax={limits.threads + 8}")
    return (*scope(), *(f"--property={bound}" for bound in bounds), "--") if scope() else ()


@cache
def scope() -> tuple[str, ...]:
    """The words that start a command in a control group of its own; empty if that fails here."""
    user = () if os.geteuid() == 0 else ("--user",)
    words = ("systemd-run", *user, "--scope", "--quiet", "--collect", "--no-ask-password")
    try:
        trial = subprocess.run((*words, "true"), capture_output=True, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ()
    return () if trial.returncode else words


def started_by_root() -> bool:
    """Whether this is the machine's root, not a container's that is mapped to an ordinary user."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    rows = Path("/proc/self/uid_map").read_text().splitlines()
    return any(row.split()[:2] == ["0", "0"] for row in rows)


def environment(home: Path) -> dict[str, str]:
    """All that a submission learns of this machine's settings; one thread, so results repeat."""
    return {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }


def bubblewrap(stage: Path) -> tuple[str, ...]:
    """The sandbox: Python, its packages without annlib, and a home in memory.

    The home is the one place to write to. Its size is bounded but not how many files it holds,
    which bubblewrap cannot set: empty ones cost the kernel about 1 KiB each. For root each call
    ends in another user, so that the kernel counts the threads of each worker by themselves.
    """
    words = [shutil.which("bwrap"), "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    become = []
    if started_by_root():
        words += [f"--unshare-{name}" for name in ROOT_NAMESPACES]
        words += [word for name in ROOT_CAPABILITIES for word in ("--cap-add", f"CAP_{name}")]
        user = UNUSED_USERS[0] + secrets.randbelow(UNUSED_USERS[1])
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        become += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    else:
        words += ["--unshare-all"]
    # Its process 1 waits outside of the limits, and belongs to the same user; root's /proc/sys has
    # settings of the whole machine. Both could be written to in /proc.
    words += [word for name in SESSION for word in ("--unsetenv", name)]
    words += ["--hostname", "grader", "--proc", "/proc", "--remount-ro", "/proc"]
    for path in DEVICES:  # --dev would add /dev/shm: half of this machine's memory to write to
        words += [*parents(path), "--dev-bind", path, path]
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            words += [*parents(str(path)), "--ro-bind", str(path), str(path)]
    words += ["--perms", "0777", "--size", str(HOME_MIB * 2**20), "--tmpfs", "/tmp"]
    for path in sorted({sys.base_prefix, sys.prefix}):
        if not path.startswith("/usr"):
            words += [*parents(path), "--ro-bind", path, path]
    package = Path(__file__).resolve().parents[1]  # annlib itself
    if any(package.is_relative_to(folder) for folder in site.getsitepackages()):
        words += ["--tmpfs", str(package)]  # it holds the hidden tests
    words += ["--ro-bind", str(stage), str(STAGE), "--remount-ro", "/"]  # but for the home
    return (*words, "--chdir", str(STAGE), "--", *become)


def parents(path: str) -> list[str]:
    """Makes the folders above; bubblewrap would make them for their owner alone."""
    above = reversed(Path(path).parents[:-1])
    return [word for one in above for word in ("--perms", "0755", "--dir", str(one))]


def why_not() -> str:
    """Why bubblewrap cannot be used here, in a sentence; empty if it can."""
    if not shutil.which("bwrap"):
        return "bubblewrap (bwrap) is not installed."
    if started_by_root() and not shutil.which("setpriv"):
        return "root started this, and setpriv (util-linux), which gives up root, is not installed."
    here = Path(__file__).resolve()
    secret = here.parents[2] / "tests"
    # If annlib lies below /tmp, the same path may be written to in the sandbox's own memory: what
    # counts is whether the file is here afterwards.
    written = secret.with_name("tests.probe")
    command = (*bubblewrap(here.parent), sys.executable, "-c", PROBE, str(here), str(secret))
    probe = subprocess.run(
        command, env=environment(Path("/tmp")), capture_output=True, text=True, timeout=60
    )
    if written.exists():
        written.unlink()
        return f"the sandbox is not tight: a probe inside could write to {secret.parent}."
    if probe.returncode:
        remedy = " Start the grader as an ordinary user." if started_by_root() else ""
        return f"bubblewrap does not start here: {probe.stderr.strip()[:300]}{remedy}"
    seen = probe.stdout.strip()
    return "" if seen == "nothing" else f"the sandbox is not tight: a probe inside saw {seen}."


CHUNK = 2**20
FRAMING = 3  # messages besides the answers: ready, failures, finished


class WorkerFault(RuntimeError):
    """The worker did not get as far as the submission: nobody's points depend on it."""


class Transcript(NamedTuple):
    """What a worker said. failures: of cells. answers: number of the question -> message.

    ended: "finished", or what stopped it: one of our own sentences, as students get to read it.
    """

    failures: list[dict]
    answers: dict[int, Message]
    ended: str


def run_worker(
    sandbox: Sandbox,
    limits: Limits,
    prelude: str,
    cells: Sequence[str],
    modules: Mapping[str, str],
    calls: Message,
) -> Transcript:
    """Runs the cells, then puts the calls, in a process of its own; raises WorkerFault."""
    facts = {"limits": limits._asdict(), "prelude": prelude, "cells": list(cells)}
    facts |= {"modules": dict(modules), "alone": not sandbox.isolated}
    process = subprocess.Popen(
        (*sandbox.command(limits), "-E", "-s", "-m", "annlib.grader.worker"),
        cwd=sandbox.folder,
        env=sandbox.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    deadline = time.monotonic() + limits.wall_seconds
    try:
        request = packed(Message(facts | calls.facts, calls.arrays))
        data, complaint, cut = exchange(process, request, deadline, limits.answer_mib * 2**20)
    finally:
        end_group(process)
    ended = cut or left(process.returncode)
    return read_transcript(data, complaint, ended, len(cells), len(calls.facts["calls"]))


def exchange(
    process: subprocess.Popen, request: bytes, deadline: float, most_bytes: int
) -> tuple[bytes, bytes, str]:
    """Feeds the request and reads until both streams end.  -> results, errors, why it was cut"""
    streams = {process.stdout: bytearray(), process.stderr: bytearray()}
    unsent = memoryview(request)
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        for stream in streams:
            ready.register(stream, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        while len(ready.get_map()):
            events = ready.select(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                return bytes(streams[process.stdout]), b"", "out of time"
            for key, _ in events:
                if key.fileobj is process.stdin:
                    unsent = feed(process, unsent)
                    gone = not unsent
                else:
                    chunk = os.read(key.fd, CHUNK)
                    streams[key.fileobj] += chunk
                    gone = not chunk
                if gone:
                    ready.unregister(key.fileobj)
                    key.fileobj.close()
            if sum(map(len, streams.values())) > 2 * most_bytes:
                return bytes(streams[process.stdout]), b"", "it returned too much"
    wait_until(process, deadline)
    return bytes(streams[process.stdout]), bytes(streams[process.stderr]), ""


def feed(process: subprocess.Popen, unsent: memoryview) -> memoryview:
    """Writes what the pipe takes; nothing is left for a worker that is gone."""
    try:
        return unsent[os.write(process.stdin.fileno(), unsent[:CHUNK]) :]
    except BrokenPipeError:
        return unsent[:0]


def wait_until(process: subprocess.Popen, deadline: float) -> None:
    """Streams may be closed by a process that lives on: it gets no more than its time."""
    try:
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()


def end_group(process: subprocess.Popen) -> None:
    """Ends the worker and all that it may have started; under bubblewrap all in its sandbox."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(BrokenPipeError):
            stream.close()


def left(returncode: int) -> str:
    """How a worker that was not cut off has ended."""
    number = -returncode if returncode < 0 else returncode - 128  # bubblewrap hands on 128 + n
    if number in (signal.SIGXCPU, signal.SIGKILL):
        return "out of time or memory"
    return "finished" if returncode == 0 else "it broke off"


def read_transcript(
    data: bytes, complaint: bytes, ended: str, num_cells: int, num_calls: int
) -> Transcript:
    """What was said, up to the first thing that is no message."""
    failures, answers, finished, started = {}, {}, False, False
    try:
        for message in messages(data, num_calls + FRAMING):
            started = started or bool(message.facts.get("ready"))
            if isinstance(message.facts.get("failures"), list):
                failures = failures_in(message.facts["failures"], num_cells)
            number = message.facts.get("call")
            if type(number) is int and 0 <= number < num_calls:
                answers.setdefault(number, only_answer(message))
            finished = finished or "finished" in message.facts
    except Malformed as error:
        ended = f"what it returned cannot be read: {error}"
    if not started:
        raise WorkerFault(
            f"The worker did not start ({ended}): {complaint.decode(errors='replace')[-500:]}"
        )
    broke_off = ended == "finished" and not finished
    return Transcript([*failures.values()], answers, "it broke off" if broke_off else ended)


def failures_in(sent: list, num_cells: int) -> dict[int, dict]:
    """{cell: failure}: of cells that there are, with the fields that a failure has to have."""
    return {
        failure["cell"]: {"cell": failure["cell"]} | plain(failure)
        for failure in sent
        if isinstance(failure, dict)
        and type(failure.get("cell")) is int
        and 1 <= failure["cell"] <= num_cells
    }


def plain(error: object) -> dict[str, str]:
    """Class and message of an error, whatever was sent."""
    given = error if isinstance(error, dict) else {}
    return {name: readable(given.get(name), 300) for name in ("type", "message")}


def only_answer(message: Message) -> Message:
    """Without facts that nobody asked for: answers are kept until all of them have come."""
    error = message.facts.get("error")
    return message._replace(facts={} if error is None else {"error": plain(error)})


def messages(data: bytes, most: int) -> Iterator[Message]:
    """The messages one after the other; a last one that was cut off is left out."""
    start, view = 0, memoryview(data)
    while start + LENGTH.size <= len(data):
        if most == 0:
            raise Malformed("it said more than it was asked for")
        (length,) = LENGTH.unpack_from(data, start)
        start += LENGTH.size
        if length > len(data) - start:
            return
        yield unpacked(view[start : start + length])
        start, most = start + length, most - 1
