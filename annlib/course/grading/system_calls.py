"""What the kernel refuses to a worker (seccomp): processes, sockets, signals, uncounted memory.

The filter cannot be taken off again, and works inside and outside of bubblewrap.
"""

import ctypes
import errno
import os
import platform
import struct
from typing import NamedTuple

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
SECCOMP_MODE_FILTER = 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # the filter's language
NUMBER, PROCESSOR, FIRST_ARGUMENT = 0, 4, 16  # where struct seccomp_data holds them
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
CLONE_THREAD = 0x00010000
MAP_SHARED = 0x01  # set in MAP_SHARED_VALIDATE, too
SET_OWNER = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: the kernel then sends the signal
SET_OWNER_BY_IOCTL = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP
X32 = 0x40000000  # from here on x86_64 has a second set of numbers, which would pass the filter


class Processor(NamedTuple):
    """Its number in the kernel's audit, and those of the system calls that are looked into."""

    audit: int
    clone: int
    tgkill: int
    prlimit64: int
    mmap: int
    fcntl: int
    ioctl: int
    prctl: int
    refused: tuple[int, ...]


CLONE3 = 435
NEWER = (  # numbers that all processors share
    *(425, 426, 427),  # io_uring: would open files and sockets past the filter
    *(424, 434, 438, 440),  # pidfd_send_signal, pidfd_open, pidfd_getfd, process_madvise
    *(428, 429, 430, 431, 432, 433, 442),  # open_tree, move_mount, fs*, mount_setattr
    447,  # memfd_secret
)
# Rows of each: fork, vfork, execve, execveat, socket, socketpair, kill, tkill, rt_sigqueueinfo,
# rt_tgsigqueueinfo; ptrace, process_vm_readv, process_vm_writev; unshare, setns, mount, umount2,
# bpf, perf_event_open, userfaultfd, keyctl. (arm64 has neither fork nor vfork.)
# Then memory that no limit counts: memfd_create, shmget, shmat, shmctl, msgget, semget, mq_open,
# vmsplice, add_key, request_key; (inotify_init,) inotify_init1, fanotify_init.
PROCESSORS = {
    "x86_64": Processor(
        audit=0xC000003E,
        clone=56,
        tgkill=234,
        prlimit64=302,
        mmap=9,
        fcntl=72,
        ioctl=16,
        prctl=157,
        refused=(57, 58, 59, 322, 41, 53, 62, 200, 129, 297)
        + (101, 310, 311, 272, 308, 165, 166, 321, 298, 323, 250)
        + (319, 29, 30, 31, 68, 64, 240, 278, 248, 249, 253, 294, 300),
    ),
    "aarch64": Processor(
        audit=0xC00000B7,
        clone=220,
        tgkill=131,
        prlimit64=261,
        mmap=222,
        fcntl=25,
        ioctl=29,
        prctl=167,
        refused=(221, 281, 198, 199, 129, 130, 138, 240)
        + (117, 270, 271, 97, 268, 40, 39, 280, 241, 282, 219)
        + (279, 194, 196, 195, 186, 190, 180, 75, 217, 218, 26, 262),
    ),
}


def filter_system_calls() -> bool:
    """From now on: no process, no program, no socket, no signal to others, no shared memory.

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
    code = [step(LOAD, PROCESSOR), step(EQUAL, processor.audit, 1, 0), step(RETURN, KILL)]
    code += [step(LOAD, NUMBER)]
    if processor.audit == PROCESSORS["x86_64"].audit:
        code += [step(AT_LEAST, X32, 0, 1), step(RETURN, KILL)]
    for number in (*processor.refused, *NEWER):
        code += when(number, step(RETURN, REFUSE | errno.EPERM))
    # The library then takes clone, whose arguments a filter can see.
    code += when(CLONE3, step(RETURN, REFUSE | errno.ENOSYS))
    code += when(processor.clone, *only_if(0, ANY_BIT, CLONE_THREAD))
    code += when(processor.tgkill, *only_if(0, EQUAL, own))
    code += when(processor.prlimit64, *only_if(0, EQUAL, 0))
    code += when(processor.mmap, *not_if(3, ANY_BIT, MAP_SHARED))  # RLIMIT_DATA does not count it
    code += when(processor.fcntl, *not_if(1, EQUAL, *SET_OWNER))
    code += when(processor.ioctl, *not_if(1, EQUAL, *SET_OWNER_BY_IOCTL))
    code += when(processor.prctl, *not_if(0, EQUAL, PR_SET_PDEATHSIG))
    return b"".join([*code, step(RETURN, ALLOW)])


def when(number: int, *steps: bytes) -> list[bytes]:
    """The steps, for one system call; they must end the program."""
    return [step(EQUAL, number, 0, len(steps)), *steps]


def only_if(argument: int, test: int, value: int) -> list[bytes]:
    """Allows a call whose argument, counted from 0, passes the test."""
    refuse, allow = step(RETURN, REFUSE | errno.EPERM), step(RETURN, ALLOW)
    return [step(LOAD, FIRST_ARGUMENT + 8 * argument), step(test, value, 0, 1), allow, refuse]


def not_if(argument: int, test: int, *values: int) -> list[bytes]:
    """Refuses a call whose argument passes the test with any of the values."""
    steps = [step(LOAD, FIRST_ARGUMENT + 8 * argument)]
    for value in values:
        steps += [step(test, value, 0, 1), step(RETURN, REFUSE | errno.EPERM)]
    return [*steps, step(RETURN, ALLOW)]


def step(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; the jumps count the instructions to leave out."""
    return struct.pack("HBBI", code, if_true, if_false, operand)


def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
