"""What a worker takes from itself before it runs a submission: resources, and system calls.

The filter is the kernel's own (seccomp): no new process, no socket, no signal to another process.
It cannot be taken off again, and works inside and outside of bubblewrap.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
from typing import NamedTuple

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
SECCOMP_MODE_FILTER = 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # the filter's language
NUMBER, PROCESSOR, FIRST_ARGUMENT = 0, 4, 16  # where struct seccomp_data holds them
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
CLONE_THREAD = 0x00010000
X32 = 0x40000000  # from here on x86_64 has a second set of numbers, which would pass the filter


class Limits(NamedTuple):
    """What a submission may use."""

    call_seconds: int = 10  # of the processor, for one cell or one question
    cpu_seconds: int = 60  # of the processor, all in all
    wall_seconds: int = 120  # by the clock, all in all
    memory_gib: float = 4
    file_mib: int = 64  # of a single file in its own temporary folder
    open_files: int = 128
    answer_mib: int = 64  # of everything that it returns


class Processor(NamedTuple):
    """Its number in the kernel's audit, and those of the system calls that are looked into."""

    audit: int
    clone: int
    tgkill: int
    prlimit64: int
    refused: tuple[int, ...]


CLONE3 = 435
NEWER = (  # numbers that all processors share
    *(425, 426, 427),  # io_uring: would open files and sockets past the filter
    *(424, 434, 438, 440),  # pidfd_send_signal, pidfd_open, pidfd_getfd, process_madvise
    *(428, 429, 430, 431, 432, 433, 442),  # open_tree, move_mount, fs*, mount_setattr
)
# Each row below: fork, vfork, execve, execveat, socket, socketpair, kill, tkill, rt_sigqueueinfo,
# rt_tgsigqueueinfo; ptrace, process_vm_readv, process_vm_writev; unshare, setns, mount, umount2,
# bpf, perf_event_open, userfaultfd, keyctl. (arm64 has neither fork nor vfork.)
PROCESSORS = {
    "x86_64": Processor(
        audit=0xC000003E,
        clone=56,
        tgkill=234,
        prlimit64=302,
        refused=(57, 58, 59, 322, 41, 53, 62, 200, 129, 297)
        + (101, 310, 311, 272, 308, 165, 166, 321, 298, 323, 250),
    ),
    "aarch64": Processor(
        audit=0xC00000B7,
        clone=220,
        tgkill=131,
        prlimit64=261,
        refused=(221, 281, 198, 199, 129, 130, 138, 240)
        + (117, 270, 271, 97, 268, 40, 39, 280, 241, 282, 219),
    ),
}


def limit_resources(limits: Limits) -> None:
    """For this process for good: not even the owner of the machine may lift hard limits."""
    data = int(limits.memory_gib * 2**30)
    wanted = {
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_DATA: data,
        resource.RLIMIT_AS: data + 16 * 2**30,  # libraries are mapped, too; shared memory counts
        resource.RLIMIT_FSIZE: limits.file_mib * 2**20,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def die_with_parent() -> None:
    """A grader that is killed leaves no worker behind."""
    parent = os.getppid()
    libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def filter_system_calls() -> bool:
    """From now on: no process, no program, no socket, no signal to others.

    False where this processor's numbers are not known; raises OSError where the kernel refuses.
    """
    processor = PROCESSORS.get(platform.machine())
    if processor is None:
        return False
    code = program(processor, os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    header = FilterProgram(len(code) // 8, ctypes.addressof(buffer))
    for request in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(header), 0, 0),
    ):
        if libc().prctl(*request):
            number = ctypes.get_errno()
            raise OSError(number, f"the kernel takes no filter: {os.strerror(number)}")
    return True


class FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def program(processor: Processor, own: int) -> bytes:
    """The filter. `own` is the process it is for: it may signal itself, to abort, and no other."""
    refuse, allow = step(RETURN, REFUSE | errno.EPERM), step(RETURN, ALLOW)
    argument = step(LOAD, FIRST_ARGUMENT)
    code = [step(LOAD, PROCESSOR), step(EQUAL, processor.audit, 1, 0), step(RETURN, KILL)]
    code += [step(LOAD, NUMBER)]
    if processor.audit == PROCESSORS["x86_64"].audit:
        code += [step(AT_LEAST, X32, 0, 1), step(RETURN, KILL)]
    for number in (*processor.refused, *NEWER):
        code += when(number, refuse)
    # The library then takes clone, whose arguments a filter can see.
    code += when(CLONE3, step(RETURN, REFUSE | errno.ENOSYS))
    code += when(processor.clone, argument, step(ANY_BIT, CLONE_THREAD, 0, 1), allow, refuse)
    code += when(processor.tgkill, argument, step(EQUAL, own, 0, 1), allow, refuse)
    code += when(processor.prlimit64, argument, step(EQUAL, 0, 0, 1), allow, refuse)
    return b"".join([*code, allow])


def when(number: int, *steps: bytes) -> list[bytes]:
    """The steps, for one system call; they must end the program."""
    return [step(EQUAL, number, 0, len(steps)), *steps]


def step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; the jumps count the instructions to leave out."""
    return struct.pack("HBBI", code, if_true, if_false, operand)


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
