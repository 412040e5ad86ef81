"""The worker: how cells run, and what it answers, also where there is no bubblewrap."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from annlib.grader import sandbox, worker
from annlib.grader.confine import Limits
from annlib.grader.protocol import Message
from annlib.grader.sandbox import open_sandbox, run_worker, stage_worker
from annlib.grader.worker import changed, described, encoded, run_cells


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
    facts = {"calls": [call, call | {"name": "Twice"}], "number": 0, "own": ""}
    request = Message(facts, {"a0": np.ones(3, np.float32)})
    code = "def last(x): return names['twice'](x) + 1"
    own = Message({"calls": [call | {"name": "last"}], "number": 4, "own": code}, request.arrays)
    cells = ["def twice(x): return 2 * x", "def twice(x): return 3 * x"]
    found = run_worker(opened, Limits(), "import torch", cells, {}, ["twice"], request, own)
    assert (found.ended, found.twice) == ("finished", True)
    given = {n: found.answers[n].arrays["output"].tolist() for n in (0, 2, 4)}
    assert given == {0: [3, 3, 3], 2: [2, 2, 2], 4: [4, 4, 4]}
    assert found.answers[1].facts["error"]["type"] == "NameNotFound"


def test_stage_holds_no_hidden_tests(tmp_path: Path) -> None:
    files = {path.name for path in stage_worker(tmp_path).rglob("*") if path.is_file()}
    assert files == {*sandbox.WORKER_FILES}
    assert "protocol.py" in files and not files & {"judge.py", "sandbox.py", "intake.py"}


def run(*cells: str) -> tuple[dict, list[dict]]:
    names, loop = {}, asyncio.new_event_loop()
    try:
        return names, run_cells("import math", list(cells), names, Limits(), loop, {})
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("cell", "defined"),
    [
        ("x = 7 % 4", {"x": 3}),
        ("%matplotlib inline\nx = 1", {"x": 1}),
        ("if True:\n    !ls\ny = 2", {"y": 2}),
        ("files = !ls\nx = len(files)", {"files": [], "x": 0}),
        ("d = {}\nd['t'] = !ls\nd['t'].count?\nx = 1", {"d": {"t": []}, "x": 1}),
        ("%%time\r\nx = 1\r\ny = 2", {"x": 1, "y": 2}),
        ("%%bash\nrm -rf /", {}),
        ("%%timeit -n 3 -r 2\nx = 1", {"x": 1}),
        ("!pip install -q \\\n    einops\nx = 1", {"x": 1}),
        ("!ls\nx = (9\n    != 3)\ny = (9\n    % 5)", {"x": True, "y": 4}),
        ('!ls\nx = """\n%d\n!\n"""', {"x": "\n%d\n!\n"}),
        ("x = %time max(3, 4)\ny = %timeit -n 1 -o -x + 1", {"x": 4, "y": -3}),
        (">>> x = 1\n>>> y = 2", {"x": 1, "y": 2}),
        ("from IPython import get_ipython\nx = %time 5", {"x": 5}),
        ("get_ipython().run_cell_magic('capture', '', 'x = 1')", {"x": 1}),
        ("get_ipython().system('ls')\nx = get_ipython().getoutput('ls')", {"x": []}),
        ("x = get_ipython().magic('cd')\ny = display(3)", {"x": None, "y": None}),
    ],
)
def test_magics_around_python_run_and_others_do_nothing(cell: str, defined: dict) -> None:
    before, _ = run("pass")
    names, failures = run(cell)
    found = {n: value for n, value in names.items() if n not in {*before, "get_ipython", "_"}}
    assert (found, failures) == (defined, [])


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
    assert encoded(torch.ones(2, dtype=torch.bfloat16), 99).dtype == np.float32
    assert encoded((1, 2), 99).tolist() == [1, 2]
    assert encoded(3, 99).shape == ()
    with pytest.raises(TypeError, match="a tensor or a number"):
        encoded({"a": 1}, 99)
    with pytest.raises(TypeError, match="a tensor or a number"):
        encoded(np.ones(2, np.longdouble), 99)
    with pytest.raises(ValueError, match="MiB"):
        encoded(torch.ones(100), 99)


@pytest.mark.parametrize(
    "cells",
    [
        ("    def f(x):\n        return 2 * x",),
        ("\n\n  x = 1\n  def f(x): return 2 * x",),
        ("import asyncio\nawait asyncio.sleep(0.001)\ndef f(x): return 2 * x",),
        ("%time f = lambda x: 2 * x",),
        ("%%time\n%matplotlib inline\nf = lambda x: 2 * x",),
        ("from __future__ import annotations\ndef f(x: no_such_type): return 2 * x",),
        ("from __future__ import annotations", "def f(x: no_such_type): return 2 * x"),
        ("1 + 1", "two = _", "def f(x): return two * x"),
        ("two = 2", "ip = get_ipython()\ndef f(x): return ip.user_ns['two'] * x"),
        ("x = 3", "2 - 1", "def f(x): return (Out[2] + len(In) - 3) * x"),
        ("2", "import os\nhere = os.listdir(_dh[0])\ndef f(x): return _oh[1] * x"),
        (
            "import asyncio\nasync def two(): return 2\ntask = asyncio.create_task(two())",
            "%%time\nf = lambda x: task.result() * x\nawait task",
        ),
        (
            "1 / 1",
            "import inspect\ndef f(x):\n    return 2 * x",
            "lines = inspect.getsource(f)\nassert lines == 'def f(x):\\n    return 2 * x\\n'",
        ),
    ],
)
def test_what_ipython_runs_the_grader_runs(cells: tuple[str, ...]) -> None:
    names, failures = run(*cells)
    assert names["f"](4) == 8 and failures == []


def test_an_import_or_a_check_that_fails_does_not_stop_its_cell() -> None:
    cell = "from google.colab import drive\nimport math as m\n1 / 0\ndef f(x): return m.floor(x)"
    names, failures = run(cell)
    assert names["f"](2.5) == 2
    assert [failure["type"] for failure in failures] == ["ModuleNotFoundError"]
    names, failures = run("assert math.pi < 3, 'choose a GPU'\ny = 2")
    assert (names["y"], failures[0]["type"]) == (2, "AssertionError")
    names, failures = run("x = 1 / 0\ny = 2\ndef f(): return 3\nclass C: pass\nimport re\nf()")
    assert "y" not in names, "what may depend on it does not run"
    assert names["f"]() == 3 and {"C", "re"} < names.keys(), "definitions do not"
    assert [failure["type"] for failure in failures] == ["ZeroDivisionError"]


@pytest.mark.parametrize(
    ("asked", "first", "last", "expected"),
    [
        (["f"], {"f": len, "x": 1}, {"f": max, "x": 2}, {"f": len}),
        (["f"], {"f": len, "g": run, "C": Path}, {"f": max, "g": 1, "C": 1}, {"f": len}),
        (["f"], {"f": len, "g": run, "C": Path}, {"f": len, "g": 1}, {"g": run, "C": Path}),
        (["f"], {"f": len, "np": np}, {"f": max, "np": 1}, {"f": len, "np": np}),
        (["f"], {"f": len, "sum": 3}, {"f": len, "sum": 4, "__name__": "x"}, {"sum": sum}),
        (["f"], {"f": len, "display": run}, {"f": len, "display": 1}, {}),
        (["f"], {}, {"f": len}, {}),
    ],
)
def test_earlier_definitions_are_of_tasks_or_else_of_what_they_may_use(
    asked: list[str], first: dict, last: dict, expected: dict
) -> None:
    assert changed(asked, first, last) == expected


RUNS = ("other.py", "-i other.py", "./other.py 3 -v", "'other.py'", "other")


def test_files_that_cells_write_can_be_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    cells = ["%%writefile mine.py\ndef f(x): return x", "%%writefile -a mine.py\ny = f(2) + 1"]
    names, failures = run(*cells, "%run mine.py", "z = y")
    assert (names["z"], failures) == (3, [])
    cells = ["%%file other.py\nx = 5", *(f"%run {how}\nassert x == 5\ndel x" for how in RUNS)]
    assert run(*cells)[1] == []
    _, failures = run("%run nowhere.py")
    assert [one["type"] for one in failures] == ["FileNotFoundError"]


@pytest.mark.slow
def test_what_jupyter_imports_pickles_and_compiles_a_worker_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of files beside the notebook and those that cells write; torch.compile leaves all as it is"""
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    opened = open_sandbox(stage_worker(tmp_path), unsafe=True)
    cells = [
        "from helper import twice",
        "%%writefile mine.py\nthree = 3",
        "from mine import three",
        "import pickle\nclass Plain: pass\ncopy = pickle.loads(pickle.dumps(Plain()))",
        "import typing\nclass Node:\n    other: 'Node'\nhints = typing.get_type_hints(Node)",
        "six = torch.compile(lambda x: three * twice(x))\nsix(torch.ones(2))",
        "import os\ntry:\n    os._exit(0)\nexcept SystemExit: pass",  # restarts Colab
    ]
    call = {"name": "six", "sizes": None, "weights": {}, "upstream": None}
    request = {"calls": [call | {"arguments": [{"array": "a0"}]}], "number": 0, "own": ""}
    asked = Message(request, {"a0": np.ones(3, np.float32)})
    nothing, modules = (
        Message(request | {"calls": []}, {}),
        {"helper.py": "def twice(x): return 2 * x"},
    )
    found = run_worker(opened, Limits(), "import torch", cells, modules, [], asked, nothing)
    assert (found.ended, found.failures) == ("finished", [])
    assert found.answers[0].arrays["output"].tolist() == [6, 6, 6]


def test_once_the_time_of_all_cells_is_over_the_others_still_have_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = []

    @contextmanager
    def at_most(seconds: float) -> Iterator[None]:
        given.append(seconds)
        yield

    monkeypatch.setattr(worker, "at_most", at_most)
    monkeypatch.setattr(worker.time, "process_time", iter((0, 0, 9, 85, 200)).__next__)
    loop = asyncio.new_event_loop()
    limits = Limits(call_seconds=15, cells_seconds=90)
    assert worker.run_cells("", ["x = 1"] * 4, {}, limits, loop, {}) == []
    loop.close()
    assert given == [15, 15, 5, 1]
