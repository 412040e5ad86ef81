"""Attacks on the sandbox, as a submission could try them: name, code, and what must happen.

"refused": the code raises an error of the system. All of these run in one worker, which is still
there afterwards. "nothing": the submission, whose further cells FOOLED are, gets no point and
reaches nothing; each has a worker of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cheats import FOOLED, INSIDE
from in_process import ROOT

from annlib.grader.confine import Limits
from annlib.grader.hidden_checks import Call
from annlib.grader.judge import encoded
from annlib.grader.sandbox import Sandbox, run_worker

REFUSED, NOTHING = "refused", "nothing"


class Attack(NamedTuple):
    name: str
    code: str
    must: str


# `call` is a system call of libc by its name, `number` one by its number on this processor, which
# for new ones is the same everywhere.
TOOLS = """
import ctypes, errno, fcntl, mmap, os, resource, signal, socket, struct, sys, threading, time
from pathlib import Path
libc, MACHINE = ctypes.CDLL(None, use_errno=True), os.uname().machine
def failed(result):
    if result == -1: raise OSError(ctypes.get_errno(), "refused")
    return result
def call(name, *arguments): return failed(getattr(libc, name)(*arguments))
def number(which, *arguments): return failed(libc.syscall(which, *arguments))
def write(path): open(path, "r+b" if os.path.exists(path) else "wb").close()
def look(path): return os.listdir(path) if os.path.isdir(path) else open(path).close()
outcomes = []
def attempt(code):
    try:
        exec(code, globals())
        outcomes.append(2)
    except (OSError, MemoryError, ValueError, RuntimeError) as error:
        outcomes.append(1)
    except BaseException:
        outcomes.append(3)
"""
WRITES = (
    "/proc/1/mem",
    "/proc/self/oom_score_adj",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/dev/mem",
    "/dev/shm/x",
    "/etc/ld.so.preload",
    "/usr/bin/python3.new",
    "/grader/annlib/grader/worker.py",
    "/new",
)
READS = ("/etc/passwd", "/etc/shadow", "/etc/hosts", "/boot", "/var/log", "/run")
READS += (str(Path.home() / ".bashrc"), str(ROOT / "annlib/course/assignments/a1.py"))
SYSTEM_CALLS = {
    "makes a user namespace": "call('unshare', 0x10000000)",
    "makes a mount namespace": "call('unshare', 0x00020000)",
    "joins the namespace of process 1": "call('setns', os.open('/proc/1/ns/mnt', os.O_RDONLY), 0)",
    "mounts a file system": "call('mount', b'none', b'/tmp', b'tmpfs', 0, None)",
    "binds a folder": "call('mount', b'/usr', b'/tmp', None, 4096, None)",
    "mounts by the new calls": "number(430, b'tmpfs', 0)",
    "clones a mount": "number(428, -100, b'/', 1)",
    "unmounts /proc": "call('umount2', b'/proc', 2)",
    "changes the root": "call('chroot', b'/tmp')",
    "traces process 1": "call('ptrace', 16, 1, 0, 0)",
    "has itself traced": "call('ptrace', 0, 0, 0, 0)",
    "writes into process 1": "call('process_vm_writev', 1, None, 0, None, 0, 0)",
    "reads out of process 1": "call('process_vm_readv', 1, None, 0, None, 0, 0)",
    "takes a descriptor of process 1": "number(438, os.pidfd_open(1), 0, 0)",
    "opens a handle of a file": "call('open_by_handle_at', 0, b'0' * 99, 0)",
    "makes a file in memory": "os.memfd_create('hoard')",
    "makes secret memory": "number(447, 0)",
    "shares memory": "mmap.mmap(-1, 2**20)",
    "takes System V memory": "call('shmget', 0, 2**20, 0o1600)",
    "makes a message queue": "call('msgget', 0, 0o1600)",
    "opens a socket to the network": "socket.socket()",
    "opens a socket to this machine": "socket.socket(socket.AF_UNIX)",
    "opens a socket to the kernel": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "makes a pair of sockets": "socket.socketpair()",
    "forks": "os._exit(0) if os.fork() == 0 else None",
    "spawns": "os.posix_spawn('/bin/true', ['true'], {})",
    "starts a program in its place": "os.execv('/bin/true', ['true'])",
    "clones by the new call": "number(435, b'\\0' * 88, 88)",
    "opens an io_uring": "number(425, 8, b'\\0' * 120)",
    "loads a program into the kernel": "number({'x86_64': 321, 'aarch64': 280}[MACHINE])",
    "handles page faults": "number({'x86_64': 323, 'aarch64': 282}[MACHINE], 1)",
    "counts events": "number({'x86_64': 298, 'aarch64': 241}[MACHINE])",
    "keeps a key in the kernel": "number({'x86_64': 248, 'aarch64': 217}[MACHINE])",
    "kills its parent": "os.kill(os.getppid(), 9)",
    "kills its group": "os.killpg(os.getpgrp(), 9)",
    "has the kernel signal its parent": "fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())",
    "outlives its parent": "call('prctl', 1, 0, 0, 0, 0)",
    "takes the filter off": "call('prctl', 22, 0, 0, 0, 0)",
    "becomes root": "os.setuid(0) or os.setresuid(1, 1, 1)",
    "takes capabilities": "call('capset', b'\\x22\\x05\\x08\\x20' + bytes(4), b'\\xff' * 24)",
    "changes its personality": "call('personality', 0x40000)",
    "types into the terminal": "fcntl.ioctl(os.pipe()[0], 0x5412, b'x')",
    "renames the machine": "socket.sethostname('eve')",
    "sets the clock": "time.clock_settime(0, 0)",
    "reboots": "call('reboot', 0x89abcdef)",
    "watches files": "call('inotify_init')",
    "locks memory": "call('mlockall', 3)",
    "makes itself more urgent": "os.setpriority(os.PRIO_PROCESS, 0, -5)",
    "takes another processor": "os.sched_setaffinity(0, {0})",
}
FILES = {
    "sets the rights of a file": "write('own'); os.chmod('own', 0o4777)",
    "sets the rights by the new call": "write('own'); number(452, -100, b'own', 0o777, 0)",
    "sets the date of a file": "write('own'); os.utime('own')",
    "makes a symlink": "os.symlink('/etc', 'link')",
    "makes a hard link": "write('own'); os.link('own', 'hard')",
    "makes a pipe with a name": "os.mkfifo('pipe')",
    "makes a device": "os.mknod('disk', 0o60666, os.makedev(8, 0))",
    "hides data in attributes": "write('own'); os.setxattr('own', 'user.x', b'x')",
}
RESOURCES = {
    "writes a huge file": "open('big', 'wb').write(bytes(2**27))",
    "stretches a file": "open('sparse', 'wb').truncate(2**40)",
    "fills its folder": "for n in range(99): open(f'/tmp/f{n}', 'wb').write(bytes(2**24))",
    "opens files without end": "held = []\nwhile True: held.append(open('/dev/null'))",
    "starts threads without end": (
        "gate = threading.Event()\ntry:\n"
        "    for n in range(10**5): threading.Thread(target=gate.wait, daemon=True).start()\n"
        "finally: gate.set()"
    ),
    "takes 8 GiB": "bytearray(2**33)",
    "makes a huge tensor": "torch.empty(2**40)",
    "makes a tensor that overflows": "torch.empty(2**62, 2**62)",
    "maps memory without end": (
        "held = []\nwhile True:\n    held.append(mmap.mmap(-1, 2**28, 0x22))\n"
        "    held[-1].write(bytes(2**20))"
    ),
    "raises its limits": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "raises the limits of process 1": "resource.prlimit(1, resource.RLIMIT_CPU, (1, 1))",
    "recurses for ever": "def deeper(): deeper()\ndeeper()",
    "unpickles a command": (
        "import pickle\nended = pickle.loads(b'cposix\\nsystem\\n(S\"exit 7\"\\ntR.')\n"
        "failed(0 if ended == 7 * 256 else -1)"
    ),
}
SOURCES = {f"writes to {path}": f"write({path!r})" for path in WRITES}
SOURCES |= {f"reads {path}": f"look({path!r})" for path in READS}
SOURCES |= SYSTEM_CALLS | FILES | RESOURCES

ANSWERS = "torch.ones(1)", "arguments[0]", "1024"
FORGED = "Message({'call': %s}, {'output': numpy.ones(1)})"
TAKEN_OVER = {
    "patches what compares": (
        "import numpy\ntorch.equal = torch.allclose = torch.isclose = lambda *a, **k: True\n"
        "numpy.array_equal = lambda *a: True\nTensor.__eq__ = Tensor.__ne__ = lambda *a: True"
    ),
    "patches the public checks": (
        "import a1_checks, sys\nfor name in vars(a1_checks): setattr(a1_checks, name, print)\n"
        "sys.modules['a1_checks'] = sys.modules['not_yet'] = None"
    ),
    "patches Python itself": (
        "import builtins\nbuiltins.isinstance = builtins.any = builtins.all = lambda *a: True\n"
        "builtins.len = lambda *a: 0"
    ),
    "replaces the worker's functions": (
        "import numpy, sys\nworker = sys.modules['__main__'].__dict__\nframe = sys._getframe()\n"
        "while 'put_questions' not in frame.f_globals: frame = frame.f_back\n"
        "frame.f_globals['answer'] = lambda *a: "
        "frame.f_globals['Message']({}, {'output': numpy.ones(1)})"
    ),
    "replaces the protocol": (
        "import annlib.grader.protocol as protocol, sys\nframe = sys._getframe()\n"
        "while 'put_questions' not in frame.f_globals: frame = frame.f_back\n"
        "for module in (vars(protocol), frame.f_globals):\n"
        "    module['packed'] = lambda message: b'\\xff' * 64"
    ),
    "finds inputs among all objects": (
        "import gc\ndef found(*a):\n"
        "    tensors = [o for o in gc.get_objects() if type(o) is Tensor and o.dim() == 3]\n"
        "    return tensors[-1]"
    ),
    "finds inputs by tracing": (
        "import sys, threading\nseen = []\ndef trace(frame, event, given):\n"
        "    seen.extend(v for v in frame.f_locals.values() if type(v) is Tensor)\n"
        "    return trace\n"
        "sys.settrace(trace); sys.setprofile(trace); threading.settrace(trace)"
    ),
    "answers with a tensor of its own kind": (
        "class Same(Tensor):\n    def __torch_function__(self, *a, **k): return True\n"
        "    def __eq__(self, other): return True\n"
        "def found(*a): return torch.zeros(1).as_subclass(Same)"
    ),
    "answers itself, and claims to have finished": (
        f"{INSIDE}\nimport numpy\nsay(packed(Message({{'failures': [], 'twice': False}}, {{}})))\n"
        f"for n in range(200): say(packed({FORGED % 'n'}))\n"
        "say(packed(Message({'finished': True}, {}))); os._exit(0)"
    ),
    "claims that it was ready, again and again": (
        f"{INSIDE}\nfor n in range(9): say(packed(Message({{'ready': True, 'twice': 7}}, {{}})))"
    ),
    "claims huge lengths": f"{INSIDE}\nsay(b'\\xff' * 8)",
    "writes to its output": (
        "import os, sys\nfor n in (0, 1, 2): os.write(n, b'15 of 15\\n' * 10**6)\n"
        "sys.__stdout__.write('x' * 10**7)"
    ),
    "leaves with success, at the exit": (
        "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit(0)"
    ),
    "leaves in a thread": (
        "import os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(.5), os._exit(0)), daemon=True).start()"
    ),
    "closes all descriptors": "import os\nos.closerange(0, 128)",
    "aborts": "import os\nos.abort()",
    "overflows the stack": (
        "import sys\nsys.setrecursionlimit(10**9)\nclass Deep:\n"
        "    def __repr__(self): return repr(self)\nrepr(Deep())"
    ),
    "nests its source": "exec('(' * 10**5 + ')' * 10**5)",
    "swallows the alarm": (
        "import signal\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGALRM, signal.SIG_IGN)\nsignal.setitimer(signal.ITIMER_PROF, 0)\n"
        "while True: pass"
    ),
    "stops itself": "import signal\nsignal.raise_signal(signal.SIGSTOP)",
    "makes empty files without end": "n = 0\nwhile True: n += 1; open(str(n), 'w').close()",
    "makes folders without end": ("import os\nwhile True: os.mkdir('x' * 99); os.chdir('x' * 99)"),
}
ATTACKS = [Attack(name, code, REFUSED) for name, code in SOURCES.items()]
ATTACKS += [Attack(name, code, NOTHING) for name, code in TAKEN_OVER.items()]


def cells_of(attack: Attack) -> tuple[str, ...]:
    """An attack, then answers that have a value but are wrong."""
    answers = 3 * ("found()",) if "def found" in attack.code else ANSWERS
    return (attack.code, FOOLED.format(*answers))


def outcomes(attacks: Sequence[Attack], sandbox: Sandbox) -> list[int]:
    """Runs attacks in one worker, which must be there in the end.  -> for each 1, if refused"""
    cells = [TOOLS, *(f"attempt({one.code!r})" for one in attacks)]
    asked = encoded([Call("outcomes", ())])
    limits = Limits(memory_gib=2)
    found = run_worker(sandbox, limits, "import torch", cells, {}, [], asked, encoded([], 2))
    if (found.ended, found.failures) != ("finished", []):
        raise RuntimeError(f"the worker is gone ({found.ended}), or cells failed: {found.failures}")
    return found.answers[0].arrays["output"].tolist()
