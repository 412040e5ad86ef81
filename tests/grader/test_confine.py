"""What a worker can no longer do, with and without bubblewrap, and what it still can."""

import os
import platform
import re
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from in_process import AS_USER, ROOT

from annlib.grader import sandbox
from annlib.grader.confine import (
    ALLOW,
    AUDIT,
    CLONE_THREAD,
    KILL,
    Limits,
    linux_version,
    numbers,
    program,
)
from annlib.grader.sandbox import PROBE, bubblewrap, environment, stage_worker, why_not

missing = why_not(AS_USER)
needs_sandbox = pytest.mark.skipif(bool(missing), reason=f"no sandbox here: {missing}")
REFUSED, REFUSED_AS_UNKNOWN = 0x50001, 0x50026  # EPERM, ENOSYS
linux = pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
CONFINED = """
import ctypes, errno, fcntl, mmap, os, signal, socket, threading
from annlib.grader.confine import Limits, limit_resources
from annlib.grader.confine import filter_system_calls
limit_resources(Limits(memory_gib=1), alone=False)
assert filter_system_calls()
libc = ctypes.CDLL(None, use_errno=True)
def refused(action):
    try:
        return action() == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)
    except MemoryError:
        return True
    except OSError as error:
        return error.errno in (errno.EPERM, errno.ENOSYS, errno.ENOMEM)
"""
EARLIER_THREAD = """
import threading
gate, found = threading.Event(), []
earlier = threading.Thread(target=lambda: (gate.wait(), found.append(refused(socket.socket))))
earlier.start()
"""
GATE_OPENED = """
gate.set()
earlier.join()
print(found)
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
assert refused(lambda: libc.syscall(KNOWN['tgkill'], os.getppid(), os.getppid(), 0))
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
for number in set(range(500)) - {*KNOWN.values(), 335, 336}:  # the kernel's own: SIGILL
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
RIGHTS = """
import shutil
shutil.copyfile("/bin/true", "copy")
os.mkdir("folder")
os.rename("folder", "other")
for action in (
    lambda: os.chmod("copy", 0o777),
    lambda: os.fchmod(os.open("copy", os.O_RDONLY), 0o777),
    lambda: os.chown("copy", -1, -1),
    lambda: os.utime("copy"),
    lambda: os.link("copy", "link"),
    lambda: os.symlink("copy", "link"),
    lambda: os.mkfifo("pipe"),
    lambda: os.setxattr("copy", "user.hoard", b"x"),
    lambda: socket.sethostname("eve"),
    lambda: libc.mount(b"none", b"other", b"tmpfs", 0, None),
    lambda: libc.umount2(b"/proc", 2),
    lambda: libc.ptrace(0, 0, 0, 0),
    lambda: libc.process_vm_writev(os.getppid(), None, 0, None, 0, 0),
    lambda: libc.unshare(0x10000000),
    lambda: libc.personality(0x40000),
    lambda: os.setpgid(0, 0),
    lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    lambda: fcntl.fcntl(os.pipe()[0], 1031, 2**20),
    lambda: libc.prctl(4, 0, 0, 0, 0),
):
    assert refused(action), action.__code__.co_names
print("confined")
"""
COMPUTES = """
import json, tempfile, time
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
model.append(nn.LazyLinear(5))
images = torch.rand(4, 3, 16, 16)
model(images)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for threads in (1, 2):
    torch.set_num_threads(threads)
    model(images).square().sum().backward()
    optimizer.step()
    torch.linalg.svd(torch.rand(50, 50))
    torch.randperm(10**5).sort()
    model.bfloat16()(images.bfloat16())
    model.float()
    threading.Thread(target=torch.rand, args=(9,)).start()
list(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), 2, shuffle=True))
torch.save(model.state_dict(), "weights.pt")
torch.load("weights.pt")
np.savez("arrays.npz", x=np.ones(9))
np.load("arrays.npz")["x"].sum()
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.savefig("plot.png")
with tempfile.TemporaryDirectory() as name:
    open(name + "/x.json", "w").write(json.dumps(os.listdir(name)))
time.sleep(0.01)
print("computed")
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
GRASP = """
for path in /proc/1/mem /proc/sys/kernel/core_pattern /proc/sys/vm/overcommit_memory; do
    (exec 3<>$path) 2>/dev/null && echo $path
done
echo $XDG_RUNTIME_DIR
id -u
"""


def confined(
    script: str, folder: Path | None = None, before: str = ""
) -> subprocess.CompletedProcess:
    names = "from annlib.grader.confine import numbers\n"
    names += "KNOWN = numbers(os.uname().machine)\n"
    command = (sys.executable, "-c", before + CONFINED + names + script)
    known = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    return subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True)


@linux
def test_a_confined_process_starts_nothing_and_signals_nobody() -> None:
    done = confined(STARTS_AND_SIGNALS)
    assert done.stdout == "thread\nconfined\n", done.stderr
    assert done.returncode == -6, "it may still end itself"


@linux
def test_the_filter_holds_for_threads_that_were_there_before() -> None:
    done = confined(GATE_OPENED, before=EARLIER_THREAD)
    assert done.stdout == "[True]\n", done.stderr


@linux
def test_a_confined_process_gets_no_memory_that_no_limit_counts() -> None:
    done = confined(HOARDS)
    assert done.stdout == "confined\n", done.stderr


@linux
def test_a_confined_process_changes_no_rights_mounts_or_settings(tmp_path: Path) -> None:
    done = confined(RIGHTS, tmp_path)
    assert done.stdout == "confined\n", done.stderr


@linux
@pytest.mark.slow
def test_a_confined_process_computes_plots_and_saves(tmp_path: Path) -> None:
    imports = "import numpy as np\nimport torch\nfrom torch import nn\n"  # as a worker does
    done = confined(COMPUTES, tmp_path, imports)
    assert done.stdout == "computed\n", done.stderr


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None) -> int:
    """What the filter for process 42 returns: its steps followed here, as the kernel would."""
    loaded = {0: number, 4: AUDIT[machine] if audit is None else audit}
    loaded |= {16 + 8 * place: value for place, value in enumerate(arguments)}
    steps, place, value = list(struct.iter_unpack("HBBI", program(machine, own=42))), 0, 0
    while True:
        kind, if_true, if_false, operand = steps[place]
        place += 1
        if kind == 0x06:
            return operand
        if kind == 0x20:
            value = loaded[operand]
        else:
            true = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}
            place += if_true if true[kind] else if_false


@pytest.mark.parametrize("machine", AUDIT)
def test_filter_allows_what_is_listed_and_nothing_else(machine: str) -> None:
    known = numbers(machine)
    checked = {"clone", "tgkill", "prlimit64", "mmap", "fcntl", "ioctl", "prctl"}
    free = {number for name, number in known.items() if name not in checked}
    for number in set(range(1200)) - {known[name] for name in checked}:
        refused = REFUSED_AS_UNKNOWN if number >= 424 else REFUSED
        assert verdict(machine, number) == (ALLOW if number in free else refused)
    for name, allowed, forbidden in (
        ("clone", (CLONE_THREAD | 0x100,), (0x11,)),
        ("tgkill", (42,), (1,)),
        ("prlimit64", (0,), (42,)),
        ("mmap", (0, 0, 0, 0x22), (0, 0, 0, 0x21)),
        ("fcntl", (9, 1030), (9, 8)),
        ("ioctl", (9, 0x5401), (9, 0x5412)),
        ("prctl", (15,), (1,)),
    ):
        assert verdict(machine, known[name], *allowed) == ALLOW, name
        assert verdict(machine, known[name], *forbidden) == REFUSED, name
    assert verdict(machine, known["read"], audit=0x40000003) == KILL, "i386 has other numbers"
    assert verdict("x86_64", 0x40000000) == KILL


@pytest.mark.parametrize("machine", AUDIT)
def test_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    """aarch64 takes the general list; where one call has two forms, its name there is another."""
    headers = {"x86_64": "x86_64-linux-gnu/asm/unistd_64.h", "aarch64": "asm-generic/unistd.h"}
    path = Path("/usr/include") / headers[machine]
    if not path.exists():
        pytest.skip(f"no {path} here (Debian: linux-libc-dev)")
    rows = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())
    given = {name: int(number) for name, number in rows}
    given["newfstatat"] = given.get("newfstatat", given.get("fstatat"))
    newer = {"futex_waitv", "faccessat2"}  # headers may be older
    assert {n: given[n] for n in numbers(machine) if n not in newer or n in given} == {
        n: number for n, number in numbers(machine).items() if n not in newer or n in given
    }


@needs_sandbox
def test_the_home_is_the_one_place_to_write_to(tmp_path: Path) -> None:
    command = (*bubblewrap(stage_worker(tmp_path), AS_USER), sys.executable, "-c", WRITABLE)
    done = subprocess.run(
        command, env=environment(Path("/tmp")), capture_output=True, text=True, check=True
    )
    assert done.stdout == "/tmp\n"


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder for the worker's files that every user of this machine can read."""
    with TemporaryDirectory() as name:
        yield stage_worker(Path(name) / "stage")


def inside(stage: Path, before: tuple[str, ...] = (), user: int | None = None) -> list[str]:
    """What GRASP says in the sandbox: what it may write to, then its user's number."""
    command = (*before, *bubblewrap(stage, user), "/bin/sh", "-c", GRASP)
    known = environment(Path("/tmp")) | {"XDG_RUNTIME_DIR": "/run/user/1"}
    done = subprocess.run(command, env=known, capture_output=True, text=True, check=True)
    return done.stdout.split()


@needs_sandbox
@pytest.mark.skipif(AS_USER is None, reason="only root can become another user")
def test_a_worker_that_root_starts_is_the_user_that_was_given(readable: Path) -> None:
    assert inside(readable, user=12345) == ["12345"]


@needs_sandbox
def test_proc_is_closed_even_to_root(readable: Path) -> None:
    """As if root's workers stayed root: nothing but the mount then protects the machine."""
    assert inside(readable) == [str(os.geteuid())]


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_proc_is_closed_to_an_ordinary_user(
    monkeypatch: pytest.MonkeyPatch, readable: Path
) -> None:
    """Without Python's own folder, which this user may not be allowed to read."""
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    readable.parent.chmod(0o755)
    become = (shutil.which("setpriv"), "--reuid=12345", "--regid=12345", "--clear-groups")
    trial = (*become, shutil.which("bwrap"), "--unshare-all", "--ro-bind", "/", "/", "/bin/true")
    if subprocess.run(trial, capture_output=True).returncode:
        pytest.skip("only root may make namespaces here")
    assert inside(readable, become) == ["12345"]


@pytest.mark.parametrize("works", [True, False])
def test_systemd_bounds_memory_and_tasks_where_it_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, works: bool
) -> None:
    """A systemd-run that notes its words, then starts the command, as the real one does."""
    fake = tmp_path / "systemd-run"
    start = 'while [ "$1" != true -a "$1" != -- ]; do shift; done; [ "$1" = true ] || shift'
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/words\n{start}\nexec "$@"\n')
    if not works:
        fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox.scope.cache_clear()
    try:
        words = sandbox.control_group(Limits(memory_gib=1, threads=10))
        done = subprocess.run((*words, "/bin/echo", "started"), capture_output=True, text=True)
    finally:
        sandbox.scope.cache_clear()
    assert done.stdout == "started\n"
    assert bool(words) == works
    if works:
        noted = (tmp_path / "words").read_text().splitlines()[-1]
        assert "--scope" in noted and ("--user" in noted) == (os.geteuid() != 0)
        assert f"MemoryMax={3 * 2**30} " in noted and "TasksMax=18 " in noted


def test_root_without_setpriv_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "started_by_root", lambda: True)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: {"bwrap": "/bin/bwrap"}.get(name))
    assert "setpriv (util-linux), which gives up the rights of root, is not installed" in why_not(
        12345
    )


def test_root_that_cannot_become_another_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox, "started_by_root", lambda: True)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sandbox, "bubblewrap", lambda stage, user: ("/bin/false",))
    with pytest.raises(ValueError, match="Start the grader as an ordinary user"):
        sandbox.open_sandbox(tmp_path, unsafe=False, user=12345)


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
        "import resource; from annlib.grader.confine import Limits, limit_resources\n"
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
