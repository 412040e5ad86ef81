"""Runs a worker under bubblewrap and collects its messages until it ends or is stopped.

Root may only grade if it gives a user for the workers. Without bubblewrap only the limits that a
worker sets itself hold: it could read every file.
"""

import os
import pwd
import selectors
import shutil
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from annlib.grader.confine import Limits
from annlib.grader.protocol import LENGTH, Malformed, Message, packed, readable, unpacked

WORKER_FILES = ("__init__.py", "protocol.py", "confine.py", "system_calls.txt", "worker.py")
STAGE = Path("/grader")  # where the worker's own code stands in the sandbox
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
DEVICES = ("/dev/null", "/dev/random", "/dev/urandom")
HOME_MIB = 256  # a folder in memory that vanishes with the worker
TORCH_GIB = 2  # of torch's libraries, Python and the home, beside what a submission may use
SESSION = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # where systemd-run finds the user's own
NO_GROUP = 65534  # the group of a worker that root starts: it owns nothing
ROOT_NAMESPACES = ("ipc", "pid", "net", "uts", "cgroup-try")  # all but that of users
ROOT_CAPABILITIES = ("SETUID", "SETGID", "SETPCAP")  # what setpriv needs, and gives up
CHUNK = 2**20

PROBE = Path(__file__).with_name("probe.txt").read_text("utf-8")  # what it can see and write


class Sandbox(NamedTuple):
    """command(limits): what stands before a worker's own words. environment: all of it."""

    command: Callable[[Limits], tuple[str, ...]]
    environment: dict[str, str]
    folder: Path
    isolated: bool


def stage_worker(folder: Path) -> Path:
    """Copies the few files that a worker needs, and nothing else of annlib, into the folder."""
    package = folder / "annlib/grader"
    package.mkdir(parents=True)
    (folder / "annlib/__init__.py").touch()
    for name in WORKER_FILES:
        shutil.copyfile(Path(__file__).with_name(name), package / name)
    for path in (folder, *folder.rglob("*")):  # a worker that root starts is another user
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def started_by_root() -> bool:
    """Whether this is the machine's root, not a container's that is mapped to an ordinary user."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    rows = Path("/proc/self/uid_map").read_text().splitlines()
    return any(row.split()[:2] == ["0", "0"] for row in rows)


def user_number(name: str) -> int:
    """The number of a user, by name or number; raises ValueError for root and unknown names."""
    try:
        number = int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except KeyError:
        number = 0
    if not 0 < number < 2**32 - 1:
        raise ValueError(
            f"--as-user {name}: workers run as a user that this machine knows, or a number above "
            "0, never as root. Take one who owns nothing, such as nobody."
        )
    return number


def environment(home: Path) -> dict[str, str]:
    """All that a submission learns of this machine's settings; one thread, no compiler."""
    names = {"HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    names |= {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    return names | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


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


def control_group(limits: Limits) -> tuple[str, ...]:
    """Has systemd, if it runs, bound a worker's tasks and memory, files in the home included."""
    memory = int((limits.memory_gib + TORCH_GIB) * 2**30)
    bounds = (f"MemoryMax={memory}", "MemorySwapMax=0", f"TasksMax={limits.threads + 8}")
    return (*scope(), *(f"--property={bound}" for bound in bounds), "--") if scope() else ()


def bubblewrap(stage: Path, user: int | None = None) -> tuple[str, ...]:
    """The sandbox: Python, its packages without annlib, and a home in memory for what it writes.
    user: that root becomes; None: who grades. The size of the home is bounded, but not how many
    files it holds, which bubblewrap cannot set: empty ones cost the kernel about 1 KiB each."""
    words = [shutil.which("bwrap"), "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    become = []
    if user is None:
        words += ["--unshare-all"]
    else:
        words += [f"--unshare-{name}" for name in ROOT_NAMESPACES]
        words += [word for name in ROOT_CAPABILITIES for word in ("--cap-add", f"CAP_{name}")]
        become = ["setpriv", f"--reuid={user}", f"--regid={NO_GROUP}", "--clear-groups"]
        become += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    # Its process 1 waits outside of the limits, and belongs to the same user; root's /proc/sys has
    # settings of the whole machine. Both could be written to in /proc.
    words += [word for name in SESSION for word in ("--unsetenv", name)]
    words += ["--hostname", "grader", "--proc", "/proc", "--remount-ro", "/proc"]

    def parents(path: str) -> list[str]:
        """Makes the folders above; bubblewrap would make them for their owner alone."""
        above = reversed(Path(path).parents[:-1])
        return [word for one in above for word in ("--perms", "0755", "--dir", str(one))]

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


def why_not(user: int | None = None) -> str:
    """Why submissions cannot be isolated here; empty if they can.  user: that root has to give"""
    if not shutil.which("bwrap"):
        return "bubblewrap (bwrap) is not installed; apt install bubblewrap."
    if started_by_root() and user is None:
        return (
            "root started this, and a fault of the sandbox would then give away the machine. Start "
            "it as an ordinary user, or run the workers as one who owns nothing: --as-user nobody."
        )
    if user is not None and not started_by_root():
        return "only root can run workers as another user: leave --as-user out."
    if user is not None and not shutil.which("setpriv"):
        return "setpriv (util-linux), which gives up the rights of root, is not installed."
    here = Path(__file__).resolve()
    secret = here.parents[2] / "tests"
    # The same path below /tmp may be in the sandbox's own memory: what counts is a file out here.
    written = secret.with_name("tests.probe")
    command = (*bubblewrap(here.parent, user), sys.executable, "-c", PROBE, str(here), str(secret))
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


def open_sandbox(stage: Path, unsafe: bool, user: int | None = None) -> Sandbox:
    """The sandbox for workers; raises ValueError where there is none, unless `unsafe`.
    stage: from stage_worker; it must live as long as the sandbox."""
    missing = why_not(user)
    if missing and not unsafe:
        raise ValueError(
            f"Submissions would not be isolated, and could read and delete your files: {missing} "
            "Only where nothing is to be lost, such as in a fresh container, go on with --unsafe."
        )
    if missing:
        home = stage / "home"
        home.mkdir(exist_ok=True)
        return Sandbox(lambda limits: (sys.executable,), environment(home), stage, isolated=False)

    def command(limits: Limits) -> tuple[str, ...]:
        return (*control_group(limits), *bubblewrap(stage, user), sys.executable)

    session = {name: os.environ[name] for name in SESSION if name in os.environ and scope()}
    return Sandbox(command, environment(Path("/tmp")) | session, Path("/"), isolated=True)


class WorkerFault(RuntimeError):
    """The worker did not get as far as the submission: nobody's points depend on it."""


class Transcript(NamedTuple):
    """What a worker sent. failures: of cells. answers: number of the question -> message.
    ended: "finished", or what stopped it: one of our own sentences, as students get to read it.
    twice: whether the questions were put to first definitions, too."""

    failures: list[dict]
    answers: dict[int, Message]
    ended: str
    twice: bool


def run_worker(
    sandbox: Sandbox,
    limits: Limits,
    prelude: str,
    cells: Sequence[str],
    modules: Mapping[str, str],
    names: Sequence[str],
    calls: Message,
    own: Message,
) -> Transcript:
    """Runs the cells, then puts the calls, in a process of its own; raises WorkerFault.
    names: that the questions are about. own: questions for the code that comes with them"""
    facts = {"limits": limits._asdict(), "prelude": prelude, "cells": list(cells)}
    facts |= {"modules": dict(modules), "alone": not sandbox.isolated, "names": list(names)}
    command = (*sandbox.command(limits), "-E", "-s", "-m", "annlib.grader.worker")
    options = {"cwd": sandbox.folder, "env": sandbox.environment, "start_new_session": True}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, **options, **pipes)
    deadline = time.monotonic() + limits.wall_seconds
    try:
        requests = [packed(one) for one in (Message(facts, {}), calls, own)]
        counts, most = [len(one.facts["calls"]) for one in (calls, own)], limits.answer_mib * 2**20
        data, complaint, ended = exchange(process, requests, counts[0], deadline, most)
    finally:  # the worker and all that it may have started; under bubblewrap all in its sandbox
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with suppress(BrokenPipeError):
                stream.close()
    if not ended:
        code = process.returncode
        number = -code if code < 0 else code - 128  # bubblewrap hands on 128 + n
        ended = "finished" if code == 0 else "it broke off"
        if number in (signal.SIGXCPU, signal.SIGKILL):
            ended = "out of time or memory"
    return read_transcript(data, complaint, ended, len(cells), *counts)


def asked_twice(data: bytes | bytearray) -> bool:
    """What the second message says: whether all questions are put to first definitions, too."""
    with suppress(Malformed, IndexError):
        return unpacked(memoryview(bytes(data[split(data, 2)[1]]))).facts.get("twice") is True
    return False


def exchange(
    process: subprocess.Popen, later: list[bytes], num_calls: int, deadline: float, most_bytes: int
) -> tuple[bytes, bytes, str]:
    """Sends cells, questions and own code, each in its time.  -> results, errors, why it was cut
    later: these three. Cells that knew the questions could tell them to the student by which of
    them fail, and how; answers that knew the code could be made by it."""
    found = {process.stdout: bytearray(), process.stderr: bytearray()}
    unsent, reading, due = memoryview(later.pop(0)), set(found), 2
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        for stream in found:
            ready.register(stream, selectors.EVENT_READ)
        os.set_blocking(process.stdin.fileno(), False)
        while reading:
            events = ready.select(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                return bytes(found[process.stdout]), b"", "out of time"
            for stream in (key.fileobj for key, _ in events):
                if stream is process.stdin:
                    try:
                        unsent = unsent[os.write(stream.fileno(), unsent[:CHUNK]) :]
                    except BrokenPipeError:  # a worker that is gone
                        unsent = unsent[:0]
                    if not unsent:
                        ready.unregister(stream)
                elif chunk := os.read(stream.fileno(), CHUNK):
                    found[stream] += chunk
                else:
                    ready.unregister(stream)
                    reading.remove(stream)
            if later and len(split(found[process.stdout], due)) == due:  # ready, failures, answers
                if not unsent:
                    ready.register(process.stdin, selectors.EVENT_WRITE)
                unsent = memoryview(bytes(unsent) + later.pop(0))
                due += num_calls * (1 + asked_twice(found[process.stdout]))
            if sum(map(len, found.values())) > 2 * most_bytes:
                return bytes(found[process.stdout]), b"", "it returned too much"
    try:  # streams may be closed by a process that lives on: it gets no more than its time
        process.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
    return bytes(found[process.stdout]), bytes(found[process.stderr]), ""


def split(data: bytes | bytearray, most: int) -> list[slice]:
    """Where the first messages stand in what was sent; one that was cut off is left out."""
    start, parts = 0, []
    while len(parts) < most and start + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, start)
        start += LENGTH.size
        if length > len(data) - start:
            break
        parts.append(slice(start, start + length))
        start += length
    return parts


def plain(error: object) -> dict[str, str]:
    """Class and message of an error, whatever was sent."""
    given = error if isinstance(error, dict) else {}
    return {name: readable(given.get(name), 300) for name in ("type", "message")}


def read_transcript(
    data: bytes, complaint: bytes, ended: str, num_cells: int, num_calls: int, num_own: int = 0
) -> Transcript:
    """What was sent, up to the first thing that is not a message: ready, failures, then answers.
    Failures that come later are left out: the questions were known by then. So are late answers,
    once the own code was known. Its questions are numbered from twice `num_calls` on."""
    failures, answers, finished, started = {}, {}, False, False
    twice = asked_twice(data)
    put = num_calls * (1 + twice)
    own = range(2 * num_calls, 2 * num_calls + num_own)
    most = put + num_own + 3  # ready, failures and finished
    try:
        for number, part in enumerate(split(data, most + 1)):
            if number == most:
                raise Malformed("there are more messages than questions")
            message = unpacked(memoryview(data)[part])
            facts, call = message.facts, message.facts.get("call")
            if number == 0:
                started = bool(facts.get("ready"))
            elif number == 1 and isinstance(facts.get("failures"), list):
                for one in facts["failures"]:
                    cell = one.get("cell") if isinstance(one, dict) else None
                    if type(cell) is int and 1 <= cell <= num_cells:
                        failures[cell] = {"cell": cell} | plain(one)
            elif type(call) is int and call in (range(put) if number < 2 + put else own):
                error = facts.get("error")  # other facts are dropped: nobody asked for them
                kept = {} if error is None else {"error": plain(error)}
                answers.setdefault(call, message._replace(facts=kept))
            finished = finished or "finished" in facts
    except Malformed as error:
        ended = f"what it returned cannot be read: {error}"
    if not started:
        raise WorkerFault(
            f"The worker did not start ({ended}): {complaint.decode(errors='replace')[-500:]}"
        )
    broke_off = ended == "finished" and not finished
    ended = "it broke off" if broke_off else ended
    return Transcript([*failures.values()], answers, ended, twice)
