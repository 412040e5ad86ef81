"""Calls in a process of their own, forked from this one, which may be killed or limited."""

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from annlib import __main__

Call = Callable[[], object]


class Child:
    """A forked process that makes a call, in a group of its own."""

    def __init__(self, call: Call):
        sys.stdout.flush()
        handle, self.log = tempfile.mkstemp()
        self.started, self.pid = time.perf_counter(), os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setpgrp()  # so that its own processes are killed with it
                for number in (1, 2):
                    os.dup2(handle, number)
                sys.stdout = sys.stderr = open(handle, "w")  # noqa: SIM115, until its end
                call()
                code = 0
            except SystemExit as stop:
                code = 0 if stop.code is None else 1
                print(stop.code)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        os.close(handle)

    def wait(self, seconds: float | None = None) -> int | None:
        """The status with which it ended; None if it lives longer than that."""
        deadline = None if seconds is None else self.started + seconds
        while deadline is not None and time.perf_counter() < deadline:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return status
            time.sleep(0.002)
        return None if seconds is not None else os.waitpid(self.pid, 0)[1]

    def kill(self, group: bool = True) -> None:
        (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def output(self) -> str:
        return Path(self.log).read_text()


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
