"""The worker: what it refuses by itself, also where there is no bubblewrap, and how cells run."""

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from annlib.course.grading import sandbox
from annlib.course.grading.cells import plain_python, run_cells
from annlib.course.grading.confine import PROCESSORS, Limits, program
from annlib.course.grading.frames import Message
from annlib.course.grading.running import run_worker
from annlib.course.grading.sandbox import open_sandbox, stage_worker
from annlib.course.grading.worker import described, encoded

CONFINED = """
from annlib.course.grading.confine import Limits, filter_system_calls, limit_resources
import ctypes, os, signal, socket, threading
limit_resources(Limits(memory_gib=1))
assert filter_system_calls()
def refused(action):
    try:
        action()
    except (OSError, MemoryError):
        return True
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
assert refused(lambda: bytearray(2**31))
assert ctypes.CDLL(None).syscall(234, os.getppid(), os.getppid(), 0) == -1  # tgkill
print("confined", flush=True)
os.abort()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
def test_a_confined_process_starts_nothing_and_signals_nobody() -> None:
    done = subprocess.run((sys.executable, "-c", CONFINED), capture_output=True, text=True)
    assert done.stdout == "thread\nconfined\n", done.stderr
    assert done.returncode == -6, "it may still end itself"


@pytest.mark.parametrize("name", PROCESSORS)
def test_filters_end_in_a_return_and_jump_inside(name: str) -> None:
    code = program(PROCESSORS[name], own=42)
    steps = [(code[i] | code[i + 1] << 8, code[i + 2], code[i + 3]) for i in range(0, len(code), 8)]
    assert steps[-1][0] == 0x06
    for place, (kind, if_true, if_false) in enumerate(steps):
        if kind & 7 == 5:  # a jump
            assert place + 1 + max(if_true, if_false) < len(steps)


def test_without_bubblewrap_grading_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    stage = stage_worker(tmp_path)
    with pytest.raises(ValueError, match="apt install bubblewrap.*--unsafe"):
        open_sandbox(stage, unsafe=False)
    assert not open_sandbox(stage, unsafe=True).isolated


@pytest.mark.slow
def test_unsafe_worker_answers_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    opened = open_sandbox(stage_worker(tmp_path), unsafe=True)
    call = {"name": "twice", "sizes": None, "weights": {}, "upstream": None}
    call["arguments"] = [{"array": "a0"}]
    request = Message({"calls": [call, call | {"name": "Twice"}]}, {"a0": np.ones(3, np.float32)})
    cells = ["def twice(x): return 2 * x"]
    found = run_worker(opened, Limits(), "import torch", cells, {}, request)
    assert found.ended == "finished"
    assert found.answers[0].arrays["output"].tolist() == [2, 2, 2]
    assert found.answers[1].facts["error"]["type"] == "NameNotFound"


def test_stage_holds_no_hidden_tests(tmp_path: Path) -> None:
    files = {path.name for path in stage_worker(tmp_path).rglob("*.py")}
    assert files == {"__init__.py", "frames.py", "confine.py", "cells.py", "worker.py"}


@pytest.mark.parametrize(
    ("cell", "python"),
    [
        ("x = 1 % 2", "x = 1 % 2"),
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("if x:\n    !ls\ny = 2", "if x:\n    pass\ny = 2"),
        ("files = !ls\nx = 1", "files = None\nx = 1"),
        ("torch.nn?\nx = 1", "pass\nx = 1"),
        ("%%time\nx = 1", "x = 1"),
        ("%%bash\nrm -rf /", ""),
        ('x = """\n%d\n"""', 'x = """\n%d\n"""'),
    ],
)
def test_magics_do_nothing(cell: str, python: str) -> None:
    assert plain_python(cell) == python


def run(*cells: str) -> tuple[dict, list[dict]]:
    names: dict[str, object] = {}
    return names, run_cells("import math", list(cells), names, nullcontext, described)


def test_cells_that_were_moved_run_in_the_end() -> None:
    names, failures = run("c = b + 1", "b = a + 1", "a = math.floor(1.5)")
    assert (names["c"], failures) == (3, [])


def test_a_cell_that_fails_stops_no_other() -> None:
    names, failures = run("1 / 0", "raise SystemExit", "def f(:", "missing", "x = 1")
    assert names["x"] == 1
    kinds = {failure["cell"]: failure["type"] for failure in failures}
    assert kinds == {1: "ZeroDivisionError", 2: "SystemExit", 3: "SyntaxError", 4: "NameError"}


def test_an_error_that_cannot_be_shown_is_described() -> None:
    class Nasty(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert described(Nasty())["message"] == "(an error that cannot be shown)"


def test_results_become_plain_arrays() -> None:
    assert encoded(torch.ones(2, dtype=torch.bfloat16), 99)[0]["dtype"] == "bfloat16"
    assert encoded((1, 2), 99)[1].tolist() == [1, 2]
    assert encoded(3, 99)[1].shape == ()
    with pytest.raises(TypeError, match="a tensor or a number"):
        encoded({"a": 1}, 99)
    with pytest.raises(ValueError, match="MiB"):
        encoded(torch.ones(100), 99)


def test_a_probe_of_a_sandbox_that_leaks_says_so_and_harms_nothing(tmp_path: Path) -> None:
    """The probe itself, outside of any sandbox: it must see what it is shown, and get to write."""
    secret, folder = tmp_path / "secret.py", tmp_path / "tests"
    secret.write_text("kept")
    command = (sys.executable, "-c", sandbox.PROBE, str(secret), str(folder))
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert str(secret) in seen
    assert folder.with_name("tests.probe").exists(), "why_not looks for this file"
    assert secret.read_text() == "kept"
