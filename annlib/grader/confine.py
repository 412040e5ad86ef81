"""What a worker can no longer do: resource limits, and a seccomp filter of system calls.

The calls that are allowed were listed by tracing workers, and by what Python, torch and the C
library may take elsewhere. All others are refused: processes, programs, sockets, signals to others,
memory that no limit counts, rights and dates of files, links, mounts, settings. The filter cannot
be taken off again, and works inside and outside of bubblewrap.
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
ALLOWED = """
read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68, preadv 295 69,
pwritev 296 70, preadv2 327 286, pwritev2 328 287, lseek 8 62, sendfile 40 71, open 2 -,
openat 257 56, creat 85 -, close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24,
pipe 22 -, pipe2 293 59, fcntl 72 25, ioctl 16 29, flock 73 32, fsync 74 82, fdatasync 75 83,
ftruncate 77 46, truncate 76 45, fallocate 285 47, fadvise64 221 223, stat 4 -, fstat 5 80,
lstat 6 -, newfstatat 262 79, statx 332 291, access 21 -, faccessat 269 48, faccessat2 439 439,
readlink 89 -, readlinkat 267 78, statfs 137 43, fstatfs 138 44, getdents 78 -,
getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50, mkdir 83 -, mkdirat 258 34,
rmdir 84 -, unlink 87 -, unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276,
umask 95 166, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create 213 -,
epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22, eventfd 284 -,
eventfd2 290 19, mmap 9 222, mprotect 10 226, munmap 11 215, mremap 25 216, brk 12 214,
madvise 28 233, msync 26 227, mincore 27 232, membarrier 324 283, get_mempolicy 239 236,
clone 56 220, set_tid_address 218 96, set_robust_list 273 99, get_robust_list 274 100,
futex 202 98, futex_waitv 449 449, rseq 334 293, arch_prctl 158 -, prctl 157 167, exit 60 93,
exit_group 231 94, restart_syscall 219 128, rt_sigaction 13 134, rt_sigprocmask 14 135,
rt_sigreturn 15 139, rt_sigpending 127 136, rt_sigtimedwait 128 137, rt_sigsuspend 130 133,
sigaltstack 131 132, tgkill 234 131, pause 34 -, alarm 37 -, setitimer 38 103, getitimer 36 102,
nanosleep 35 101, clock_nanosleep 230 115, clock_gettime 228 113, clock_getres 229 114,
gettimeofday 96 169, time 201 -, times 100 153, sched_yield 24 124, sched_getaffinity 204 123,
sched_getparam 143 121, sched_getscheduler 145 120, sched_get_priority_max 146 125,
sched_get_priority_min 147 126, getpriority 140 141, getcpu 309 168, getpid 39 172,
getppid 110 173, gettid 186 178, getpgrp 111 -, getpgid 121 155, getsid 124 156, getuid 102 174,
geteuid 107 175, getgid 104 176, getegid 108 177, getresuid 118 148, getresgid 120 150,
getgroups 115 158, capget 125 90, getrlimit 97 163, setrlimit 160 164, prlimit64 302 261,
getrusage 98 165, uname 63 160, sysinfo 99 179, getrandom 318 278
"""


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
    threads of all that this user runs; nor does it count those of root. Then only memory bounds
    them.
    """
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

    False where this processor's numbers are not known; raises OSError where the kernel refuses.
    """
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
