"""What a worker can no longer do, with and without bubblewrap, and what it still can."""

import platform
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from annlib.course.grading.confine import Limits, linux_version
from annlib.course.grading.sandbox import PROBE, bubblewrap, environment, stage_worker, why_not
from annlib.course.grading.system_calls import PROCESSORS, program

linux = pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
CONFINED = """
import ctypes, errno, fcntl, mmap, os, signal, socket, threading
from annlib.course.grading.confine import Limits, limit_resources
from annlib.course.grading.system_calls import filter_system_calls
limit_resources(Limits(memory_gib=1), alone=False)
assert filter_system_calls()
libc = ctypes.CDLL(None, use_errno=True)
def refused(action):
    try:
        return action() == -1 and ctypes.get_errno() == errno.EPERM
    except MemoryError:
        return True
    except OSError as error:
        return error.errno in (errno.EPERM, errno.ENOMEM)
"""
STARTS_AND_SIGNALS = """
thread = threading.Thread(target=print, args=("thread",))
thread.start()
thread.join()
assert refused(os.fork)
assert refused(lambda: os.posix_spawn("/bin/true", ["true"], {}))
assert refused(lambda: os.execv("/bin/true", ["true"]))
assert refused(lambda: socket.socket())
assert refused(lambda: socket.socket(socket.AF_UNIX))
assert refused(lambda: os.kill(os.getppid(), 0))
assert refused(lambda: os.pidfd_open(os.getppid()))
assert refused(lambda: __import__("resource").prlimit(os.getppid(), 0))
assert refused(lambda: libc.syscall(PROCESSOR.tgkill, os.getppid(), os.getppid(), 0))
reading, writing = os.pipe()
assert fcntl.fcntl(reading, fcntl.F_GETFD) == 1
assert refused(lambda: fcntl.fcntl(reading, fcntl.F_SETOWN, os.getppid()))
assert refused(lambda: fcntl.fcntl(reading, fcntl.F_SETSIG, signal.SIGKILL))
assert refused(lambda: fcntl.fcntl(reading, 15, bytes(8)))
for request in (0x8901, 0x8902):
    assert refused(lambda: fcntl.ioctl(reading, request, os.getppid()))
assert libc.prctl(3, 0, 0, 0, 0) in (0, 1)
assert refused(lambda: libc.prctl(1, 0, 0, 0, 0)), "it has to die with its parent"
print("confined", flush=True)
os.abort()
"""
HOARDS = """
private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
mmap.mmap(-1, 2**20, private).close()
assert refused(lambda: bytearray(2**31))
assert refused(lambda: os.memfd_create("hoard"))
assert refused(lambda: mmap.mmap(-1, 2**20))
with open("/dev/zero", "rb+") as zero:
    assert refused(lambda: mmap.mmap(zero.fileno(), 2**20))
for number in PROCESSOR.refused + NEWER:
    assert refused(lambda: libc.syscall(number, 0, 0, 0, 0, 0)), number
held = []
def hoard():
    held.append(mmap.mmap(-1, 2**28, private))
    start = ctypes.addressof(ctypes.c_char.from_buffer(held[-1]))
    assert libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(2**28), 1) == 0
while not refused(hoard):
    assert len(held) < 5, "memory that was made read-only counts, too"
print("confined")
"""
WRITABLE = """
from pathlib import Path
mounted = {line.split()[4] for line in open("/proc/self/mountinfo")}
folders = sorted(mounted | {"/", "/dev", "/dev/shm", "/run", "/var/tmp"})
for folder in filter(lambda folder: Path(folder).is_dir(), folders):
    try:
        (Path(folder) / "annlib.probe").touch()
        print(folder)
    except OSError:
        pass
Path("/dev/null").write_bytes(b"gone")
assert Path("/dev/urandom").open("rb").read(1)
"""


def confined(script: str) -> subprocess.CompletedProcess:
    names = "from annlib.course.grading.system_calls import NEWER, PROCESSORS\n"
    names += "PROCESSOR = PROCESSORS[os.uname().machine]\n"
    command = (sys.executable, "-c", CONFINED + names + script)
    return subprocess.run(command, capture_output=True, text=True)


@linux
def test_a_confined_process_starts_nothing_and_signals_nobody() -> None:
    done = confined(STARTS_AND_SIGNALS)
    assert done.stdout == "thread\nconfined\n", done.stderr
    assert done.returncode == -6, "it may still end itself"


@linux
def test_a_confined_process_gets_no_memory_that_no_limit_counts() -> None:
    done = confined(HOARDS)
    assert done.stdout == "confined\n", done.stderr


@pytest.mark.parametrize("name", PROCESSORS)
def test_filters_end_in_a_return_and_jump_inside(name: str) -> None:
    code = program(PROCESSORS[name], own=42)
    steps = [(code[i] | code[i + 1] << 8, code[i + 2], code[i + 3]) for i in range(0, len(code), 8)]
    assert steps[-1][0] == 0x06
    for place, (kind, if_true, if_false) in enumerate(steps):
        if kind & 7 == 5:  # a jump
            assert place + 1 + max(if_true, if_false) < len(steps)


@pytest.mark.skipif(bool(why_not()), reason=f"no sandbox here: {why_not()}")
def test_the_home_is_the_one_place_to_write_to(tmp_path: Path) -> None:
    command = (*bubblewrap(stage_worker(tmp_path)), sys.executable, "-c", WRITABLE)
    done = subprocess.run(
        command, env=environment(Path("/tmp")), capture_output=True, text=True, check=True
    )
    assert done.stdout == "/tmp\n"


def test_a_probe_of_a_sandbox_that_leaks_says_so_and_harms_nothing(tmp_path: Path) -> None:
    """The probe itself, outside of any sandbox: it must see what it is shown, and get to write."""
    secret, folder = tmp_path / "secret.py", tmp_path / "tests"
    secret.write_text("kept")
    command = (sys.executable, "-c", PROBE, str(secret), str(folder))
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert str(secret) in seen
    assert folder.with_name("tests.probe").exists(), "why_not looks for this file"
    assert secret.read_text() == "kept"


def limit_on_threads(alone: bool) -> int:
    """What limit_resources sets, in a process of its own: it cannot be taken back."""
    code = (
        "import resource; from annlib.course.grading.confine import Limits, limit_resources\n"
        f"limit_resources(Limits(), {alone})\nprint(resource.getrlimit(resource.RLIMIT_NPROC)[0])"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_threads_are_bounded_only_where_the_kernel_counts_those_of_the_sandbox() -> None:
    assert limit_on_threads(alone=True) == resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if linux_version(platform.release()) >= (5, 14):
        assert limit_on_threads(alone=False) == Limits().threads


def test_version_of_the_kernel_is_read() -> None:
    assert linux_version("6.1.0-28-amd64") == (6, 1) and linux_version("5.4.0") < (5, 14)
