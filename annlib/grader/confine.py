"""Resource limits that a worker sets on itself before it runs a submission.

Which system calls the kernel allows to it stands in system_calls.py.
"""

import os
import platform
import re
import resource
import signal
from pathlib import Path
from typing import NamedTuple

from annlib.grader.system_calls import PR_SET_PDEATHSIG, libc


class Limits(NamedTuple):
    """What a submission may use."""

    call_seconds: int = 10  # of the processor, for one cell or one question
    cpu_seconds: int = 60  # of the processor, all in all
    wall_seconds: int = 120  # by the clock, all in all
    memory_gib: float = 4
    file_mib: int = 64  # of a single file in its own temporary folder
    open_files: int = 128
    threads: int = 256
    answer_mib: int = 64  # of everything that it returns


def limit_resources(limits: Limits, alone: bool) -> None:
    """For this process for good: not even the owner of the machine may lift hard limits.

    alone: outside of a sandbox. There, and before Linux 5.14 anywhere, the kernel would count the
    threads of all that this user runs; nor does it count those of root. Then only memory bounds
    them.
    """
    data = int(limits.memory_gib * 2**30)
    wanted = {
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_DATA: data,
        # Memory that was written to, then made read-only, is not in RLIMIT_DATA any more.
        resource.RLIMIT_AS: mapped_bytes() + data,
        resource.RLIMIT_FSIZE: limits.file_mib * 2**20,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
    }
    if not alone and linux_version(platform.release()) >= (5, 14):
        wanted[resource.RLIMIT_NPROC] = limits.threads
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def linux_version(release: str) -> tuple[int, ...]:
    """6.1.0-28-amd64 -> (6, 1)"""
    return tuple(map(int, re.findall(r"\d+", release)[:2]))


def mapped_bytes() -> int:
    """What is mapped by now: Python, torch and its libraries, most of which is never read."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def die_with_parent() -> None:
    """A grader that is killed leaves no worker behind."""
    parent = os.getppid()
    libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
