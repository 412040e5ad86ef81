"""Calls in a process of their own, forked from this one, which may be killed or limited.

A fork has imported torch already: it costs milliseconds where a new process takes seconds.
"""

import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from file_server import closed_port
from tqdm import tqdm

from annlib import __main__

Call = Callable[[], object]


def delete(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


class Child:
    """A forked process that makes a call, in a group of its own."""

    def __init__(self, call: Call):
        sys.stdout.flush()
        files = [tempfile.mkstemp() for _ in range(2)]
        self.logs = [Path(name) for _, name in files]  # what it prints, and its errors
        weakref.finalize(self, delete, self.logs)
        self.started, self.pid = time.perf_counter(), os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setpgrp()  # so that its own processes are killed with it
                tqdm.set_lock(threading.RLock())  # not the one that a killed process may hold
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for number, (handle, _) in enumerate(files, 1):
                    os.dup2(handle, number)
                sys.stdout, sys.stderr = (open(handle, "w") for handle, _ in files)  # noqa: SIM115
                call()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
                if isinstance(stop.code, str):
                    print(stop.code, file=sys.stderr)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        with suppress(OSError):  # whichever of the two is first; it may have ended already
            os.setpgid(self.pid, self.pid)
        for handle, _ in files:
            os.close(handle)

    def wait(self, seconds: float | None = None) -> int | None:
        """The status with which it ended; None if it lives longer than that."""
        while seconds is not None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return status
            if time.perf_counter() >= self.started + seconds:
                return None
            time.sleep(0.002)
        return os.waitpid(self.pid, 0)[1]

    def code(self) -> int:
        """Its exit code, once it has ended; -9 for one that was killed."""
        return os.waitstatus_to_exitcode(self.wait())

    def kill(self, group: bool = True) -> None:
        (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        deadline = time.perf_counter() + 60  # one that was being started holds files for a moment
        while group and is_alive(self.pid):
            assert time.perf_counter() < deadline, f"the group of {self.pid} lives on"
            time.sleep(0.002)

    def printed(self) -> str:
        return self.logs[0].read_text()

    def errors(self) -> str:
        return self.logs[1].read_text()

    def output(self) -> str:
        """All of it."""
        return self.printed() + self.errors()


def is_alive(group: int) -> bool:
    """Whether a process of the group is left that is more than an entry in a list (a zombie)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, number = path.read_text().rpartition(")")[2].split()[:3]
            if int(number) == group and state not in "ZX":
                return True
    return False


def started_by(process: int) -> list[int]:
    listing = Path(f"/proc/{process}/task/{process}/children")
    return [int(number) for number in listing.read_text().split()]


def forked(call: Call, seconds: float | None = None, group: bool = True) -> tuple[bool, float]:
    """Makes the call in a process of its own, and kills it after so many seconds.

    group: with the processes that it started; they must end by themselves otherwise.
    -> whether it came to its end, and how long it ran. Raises AssertionError when it failed.
    """
    child = Child(call)
    status = child.wait(seconds)
    if status is None:
        others = [] if group else started_by(child.pid)
        child.kill(group)
        deadline = time.perf_counter() + 120  # those that are starting look for it later
        while any(Path(f"/proc/{one}").exists() for one in others):
            assert time.perf_counter() < deadline, f"{others} live on"
            time.sleep(0.1)
    assert status in (None, 0, signal.SIGKILL), child.output()
    return status == 0, time.perf_counter() - child.started


def annlib(*words: object) -> Callable[[], None]:
    """A command line, to be called in a forked process."""

    def call() -> None:
        sys.argv = ["annlib", *map(str, words)]
        __main__.main()

    return call


def ranks(count: int, call: Call) -> list[Child]:
    """The call in processes that work together, as torchrun would start them on this machine."""
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": closed_port()}

    def one(number: int) -> Call:
        told = shared | {"RANK": number, "LOCAL_RANK": number}

        def called() -> None:
            warnings.simplefilter("ignore")  # of torch, on its own collectives
            os.environ |= {name: str(value) for name, value in told.items()}
            call()

        return called

    return [Child(one(number)) for number in range(count)]
