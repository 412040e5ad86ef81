"""What a worker can no longer do: resource limits, and a seccomp filter of system calls.

The calls that are allowed were listed by tracing workers, and by what Python, torch and the C
library may take elsewhere. All others are refused, such as processes, sockets, signals to others,
links and mounts. The filter cannot be taken off, and works inside and outside of bubblewrap.
"""

import ctypes
import errno
import os
import platform
import re
import resource
import signal
import struct
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SECCOMP = {"x86_64": 317, "aarch64": 277}  # the system call that sets a filter
SET_FILTER, ALL_THREADS = 1, 1
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # the filter's language
NUMBER, PROCESSOR, FIRST_ARGUMENT = 0, 4, 16  # where struct seccomp_data holds them
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000  # REFUSE: plus the number of an error
X32 = 0x40000000  # from here on x86_64 has a second set of numbers, which would pass the filter
# From here on all processors share the numbers. Libraries try such calls, and take older ones
# where the kernel does not know them; clone3 is one: a filter cannot see its arguments.
NEWER = 424
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # the processor's number in the kernel
CLONE_THREAD = 0x00010000
MAP_SHARED = 0x01  # set in MAP_SHARED_VALIDATE, too; RLIMIT_DATA does not count such memory
# All about descriptors but who gets a signal (F_SETOWN, F_SETSIG), leases and larger pipes.
FCNTL = (*range(8), *(36, 37, 38), *(1030, 1032))
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
PRCTL = (3, 15, 16)  # PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME
# Name, number on x86_64, number on aarch64, which lacks the older ones.
ALLOWED = Path(__file__).with_name("system_calls.txt").read_text("utf-8")


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class Limits(NamedTuple):
    """What a submission may use."""

    call_seconds: int = 15  # of the processor, for one cell or one question
    cells_seconds: int = 90  # of the processor, for all cells; twice as long by the clock
    questions_seconds: int = 60  # of the processor, for all questions; cells cannot use them up
    wall_seconds: int = 300  # by the clock, all in all
    memory_gib: float = 4
    file_mib: int = 64  # of a single file in its own temporary folder
    open_files: int = 128
    threads: int = 256
    answer_mib: int = 64  # of everything that it returns


def limit_resources(limits: Limits, alone: bool) -> None:
    """For this process for good: not even the owner of the machine may lift hard limits.
    alone: outside of a sandbox. There, and before Linux 5.14 anywhere, the kernel would count the
    threads of all that this user runs, and none of root's. Then only memory bounds them."""
    data = int(limits.memory_gib * 2**30)
    # What is mapped by now: Python, torch and its libraries, most of which is never read.
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    wanted = {
        resource.RLIMIT_CPU: limits.cells_seconds + limits.questions_seconds,
        resource.RLIMIT_DATA: data,
        # Memory that was written to, then made read-only, is not in RLIMIT_DATA any more.
        resource.RLIMIT_AS: mapped + data,
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


def die_with_parent() -> None:
    """A grader that is killed leaves no worker behind."""
    parent = os.getppid()
    libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def numbers(machine: str) -> dict[str, int]:
    """{"read": 0, ...}: the calls that are allowed on this processor."""
    rows = (row.split() for row in ALLOWED.split(","))
    column = list(AUDIT).index(machine) + 1
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


class FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def filter_system_calls() -> bool:
    """From now on this process computes, and no more, in all of its threads.
    False where this processor's numbers are not known; raises OSError where the kernel refuses."""
    if platform.machine() not in AUDIT:
        return False
    code = program(platform.machine(), os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    header = FilterProgram(len(code) // 8, ctypes.addressof(buffer))
    kernel, seccomp = libc(), SECCOMP[platform.machine()]
    if kernel.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or kernel.syscall(
        seccomp, SET_FILTER, ALL_THREADS, ctypes.byref(header)
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"the kernel takes no filter: {os.strerror(number)}")
    return True


def when(value: int, *steps: bytes) -> list[bytes]:
    """The steps, for one system call or one value of an argument; they must end the program."""
    return [step(EQUAL, value, 0, len(steps)), *steps]


def load(argument: int) -> bytes:
    """Takes an argument of the call: its lower half, which is all that the kernel looks at here."""
    return step(LOAD, FIRST_ARGUMENT + 8 * argument)


def step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; the jumps count the instructions to leave out."""
    return struct.pack("HBBI", code, if_true, if_false, operand)


def program(machine: str, own: int) -> bytes:
    """The filter. `own` is the process it is for: it may signal itself, to abort, and no other."""
    known, refuse = numbers(machine), step(RETURN, REFUSE | errno.EPERM)
    looked_into = {  # argument, counted from 0, that must be one of these values
        "tgkill": (0, own),
        "prlimit64": (0, 0),
        "fcntl": (1, *FCNTL),
        "ioctl": (1, *IOCTL),
        "prctl": (0, *PRCTL),
    }
    code = [step(LOAD, PROCESSOR), step(EQUAL, AUDIT[machine], 1, 0), step(RETURN, KILL)]
    code += [step(LOAD, NUMBER)]
    if machine == "x86_64":
        code += [step(AT_LEAST, X32, 0, 1), step(RETURN, KILL)]
    for name, number in known.items():
        if name not in (*looked_into, "clone", "mmap"):
            code += when(number, step(RETURN, ALLOW))
    for name, (argument, *values) in looked_into.items():
        tests = [part for one in values for part in when(one, step(RETURN, ALLOW))]
        code += when(known[name], load(argument), *tests, refuse)
    thread = (step(ANY_BIT, CLONE_THREAD, 1, 0), refuse, step(RETURN, ALLOW))
    code += when(known["clone"], load(0), *thread)
    shared = (step(ANY_BIT, MAP_SHARED, 0, 1), refuse, step(RETURN, ALLOW))
    code += when(known["mmap"], load(3), *shared)
    code += [step(AT_LEAST, NEWER, 0, 1), step(RETURN, REFUSE | errno.ENOSYS), refuse]
    return b"".join(code)
