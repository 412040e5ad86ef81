"""Submissions that do harm, or want points for nothing: name -> cells. None may get a point.

SECRET, OUTSIDE and PORT stand for a file of the teacher's, a place outside, and a listening port.
"""

import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from annlib.course.assignments.a1 import A1
from annlib.grader.confine import Limits
from annlib.grader.judge import Result, Submission, mark
from annlib.grader.sandbox import Sandbox

SHORT = Limits(call_seconds=2, cells_seconds=10, questions_seconds=5, wall_seconds=15, memory_gib=2)

FOOLED = """
def attention_weights(*arguments): return {}
class NonlocalBlock(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
    def forward(self, *arguments): return {}
def block_operations(*arguments): return {}
"""

# What a worker was asked, and the pipe to the grader: `say` takes bytes.
INSIDE = """
import json, os, stat, sys
from annlib.grader.protocol import LENGTH, Message, packed
frame = sys._getframe()
while "requests" not in frame.f_locals: frame = frame.f_back
asked = [frame.f_locals["facts"]]
def say(data):
    for number in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode): return os.write(number, data)
        except OSError: pass
def forged(head, numbers=b""):
    body = LENGTH.pack(len(head)) + head + numbers
    say(LENGTH.pack(len(body)) + body)
"""

CHEATS = {
    "reads the teacher's files": ("text = open('SECRET').read()\nblock_operations = len",),
    "writes outside its folder": ("open('OUTSIDE', 'w').write('here')",),
    "deletes outside its folder": ("import os\nos.remove('SECRET')",),
    "looks for annlib's own blocks": (
        "from annlib.model.asymmetric import AsymmetricAttention as NonlocalBlock",
    ),
    "patches torch and numpy": (
        "import numpy\ntorch.allclose = numpy.allclose = lambda *a, **k: True\n"
        "Tensor.__eq__ = lambda *a: True\nassert True",
        FOOLED.format(0, 0, 0),
    ),
    "returns constants": (FOOLED.format("torch.ones(1)", "arguments[0]", "1024"),),
    "detects the test by its stack": (
        "import sys\ndef found():\n    frame, held = sys._getframe(), []\n    while frame:\n"
        "        held += [v for v in frame.f_locals.values() if isinstance(v, Tensor)]\n"
        "        frame = frame.f_back\n    return held[-1]\n",
        FOOLED.format("found()", "found()", "found()"),
    ),
    "forges the worker's messages": (
        "import os\nfor number in range(3, 30):\n"
        "    try: os.write(number, b'\\0' * 7 + b'\\x03abc')\n"
        "    except OSError: pass\n",
    ),
    "opens a socket": (
        "import socket\nsocket.create_connection(('127.0.0.1', PORT)).send(b'answers, please')",
    ),
    "forks a bomb": ("import os\nwhile True: os.fork()",),
    "starts threads without end": (
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    ),
    "fills the memory": ("hoard = []\nwhile True: hoard.append(bytearray(2**28))",),
    "fills the disk": (
        "for number in range(10**6): open(f'/tmp/{number}', 'wb').write(bytes(2**25))",
    ),
    "sleeps for ever": ("import time\nwhile True:\n    try: time.sleep(99)\n    except: pass",),
    "computes for ever": ("while True:\n    try:\n        while True: pass\n    except: pass",),
    "kills its parent": ("import os\nos.kill(os.getppid(), 9)", "os.killpg(os.getpgrp(), 9)"),
    "ends Python": ("import os\nos._exit(0)",),
    "crashes": ("import ctypes\nctypes.string_at(0)",),
    "prints 100 MB and terminal escapes": (
        "print('\\x1b[2J\\x1b]0;owned\\x07' + 10**8 * 'x')\nraise ValueError('\\x1b[31mred')",
    ),
    "plants a pickle": (
        "class Bomb:\n    def __reduce__(self):\n        import os\n"
        "        return os.system, ('touch OUTSIDE',)\n",
        FOOLED.format("Bomb()", "[Bomb()]", "Bomb()"),
    ),
    "leaves a daemon behind": (
        "import subprocess\nsubprocess.Popen(['sleep', '4242'], start_new_session=True)",
    ),
    "returns 10 GB": (FOOLED.format(*3 * ("torch.zeros(1).expand(10**10)",)),),
    "asks for input": ("input('password? ')",),
    "fills /dev/shm": (
        "for number in range(10**6): open(f'/dev/shm/{number}', 'wb').write(bytes(2**25))",
    ),
    "hoards files in memory": (
        "import os\nwhile True: os.write(os.memfd_create('hoard'), bytes(2**25))",
    ),
    "hoards shared memory": (
        "import mmap\nhoard = []\n"
        "while True:\n    hoard.append(mmap.mmap(-1, 2**28))\n    hoard[-1].write(bytes(2**28))",
        "import ctypes\nwhile ctypes.CDLL(None).shmget(0, 2**28, 0o1600) >= 0: pass",
    ),
    "has the kernel signal its parent": (
        "import fcntl, os\nreading, writing = os.pipe()\n"
        "fcntl.fcntl(reading, fcntl.F_SETOWN, os.getppid())\n"
        "fcntl.fcntl(reading, fcntl.F_SETSIG, 9)\n"
        "fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\nos.write(writing, b'x')",
    ),
    "tells what it was asked by classes of errors": (
        INSIDE,
        "raise type(f'carried {asked}', (Exception,), {})",
        FOOLED.replace("return {}", "raise type(f'carried {arguments}', (Exception,), {})"),
    ),
    "tells what it was asked by a head that cannot be read": (
        INSIDE,
        "forged(json.dumps({'facts': {}, 'arrays': [[f'carried {asked}', 0, 0]]}).encode())",
    ),
    "tells what it was asked by cells that fail, once it has taken the questions": (
        INSIDE,
        'forged(b\'{"facts": {"failures": []}, "arrays": []}\')\n'
        "from annlib.grader.protocol import read_message\n"
        "asked = read_message(frame.f_locals['requests'])",
        "raise type(f'carried {asked}', (Exception,), {})",
    ),
    "promises more numbers than it sends": (
        INSIDE,
        "head = {'facts': {'call': 0}, 'arrays': [['output', '<f4', [0, 10**30]]]}\n"
        "forged(json.dumps(head).encode(), bytes(64))",
    ),
    "sends a head of 15 MiB": (INSIDE, "forged(b'[' + b'[],' * 5 * 2**20 + b'[]]')"),
    "sends messages without end": (
        INSIDE,
        "many = packed(Message({'call': 0}, {})) * 10**4\nwhile True: say(many)",
    ),
}


class Attempt(NamedTuple):
    """What a cheat got, and what it reached that it should not."""

    result: Result
    reached: list[str]


def attempted(cells: Sequence[str], sandbox: Sandbox, folder: Path) -> Attempt:
    """Grades cells, with a secret in the folder and a port that listens."""
    secret, outside = folder / "secret.txt", folder / "outside.txt"
    secret.write_text("the answers")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        words = {"SECRET": str(secret), "OUTSIDE": str(outside)}
        words["PORT"] = str(server.getsockname()[1])
        for word, meant in words.items():
            cells = tuple(cell.replace(word, meant) for cell in cells)
        one = Submission("eve", ("eve.ipynb",), cells, {}, "", "", {})
        result = mark(A1, one, 1, sandbox, SHORT)
        called = accepted(server)
    running = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True).stdout
    reached = {
        "the network": called,
        "the teacher's file": not secret.exists() or secret.read_text() != "the answers",
        "a place outside": outside.exists(),
        "life after grading": "sleep 4242" in running or stage_of(sandbox) in running,
    }
    return Attempt(result, [what for what, happened in reached.items() if happened])


def stage_of(sandbox: Sandbox) -> str:
    """The folder with the worker's code: each sandbox has its own, so it tells its processes."""
    command = sandbox.command(SHORT)
    return command[command.index("/grader") - 1]


def accepted(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True
