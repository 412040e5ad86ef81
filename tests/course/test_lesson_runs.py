"""Lessons run offline and apart from each other, and say what stopped them."""

import asyncio
import json
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty

import nbformat
import pytest

from annlib.course.authoring import build, build_all
from annlib.course.lesson import check_parameters, known_parameters
from annlib.course.running import execute, offline
from annlib.course.running.execute import PollingChannel, finished_seconds, run, run_all
from annlib.course.running.gates import widget_errors
from annlib.course.running.release import release

FIXTURE = Path(__file__).parents[1] / "lessons/90_fixture.py"
QUICK = {"mode": "quick", "device": "cpu", "seed": 3}


@pytest.fixture
def lesson(tmp_path):
    """The solution edition of the fixture lesson."""
    build(FIXTURE, {tmp_path / "learner.ipynb": "learner", tmp_path / "solution.ipynb": "solution"})
    return tmp_path / "solution.ipynb"


def write_lesson(path: Path, *codes: str) -> Path:
    """A notebook with the standard parameters and these code cells."""
    cells = [nbformat.v4.new_code_cell(code) for code in ("mode = 'learn'\nseed = 0", *codes)]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_known_parameters_are_read_from_their_cell(lesson):
    assert known_parameters(lesson) == {
        "mode": "learn",
        "device": "auto",
        "seed": 0,
        "data_root": "",
        "experiment": "",
    }


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sead": 1}, "no parameter 'sead'.*mean 'seed'.*Known: mode, device"),
        ({"mode": "fast"}, "mode is 'fast'"),
        ({"device": "gpu"}, "device is 'gpu'"),
    ],
)
def test_parameters_without_effect_are_refused(lesson, parameters, message):
    with pytest.raises(ValueError, match=message):
        check_parameters(lesson, parameters)


def test_notebook_without_parameters_cell_is_refused(tmp_path):
    path = tmp_path / "plain.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    with pytest.raises(ValueError, match="plain.ipynb has 0 cells tagged 'parameters'"):
        run_all(dict.fromkeys([path], tmp_path / "out"), {})


def test_run_does_not_overwrite_its_own_notebook(lesson):
    with pytest.raises(ValueError, match="name another folder"):
        run(lesson, lesson, QUICK)


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_job_at_all_is_refused(lesson, tmp_path, jobs):
    with pytest.raises(ValueError, match="use 1 or more jobs"):
        run_all(dict.fromkeys([lesson], tmp_path / "out"), QUICK, jobs)


@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError])
def test_no_lesson_is_begun_after_an_interrupt(tmp_path, monkeypatch, reason):
    begun, end = [], threading.Event()

    def slow_after_the_first(notebook, *arguments):
        begun.append(notebook)
        assert len(begun) == 1 or end.wait(20)

    def stop(finished):
        raise reason

    monkeypatch.setattr(execute, "run", slow_after_the_first)
    monkeypatch.setattr(execute, "ProcessPoolExecutor", lambda jobs, *_: ThreadPoolExecutor(jobs))
    notebooks = [write_lesson(tmp_path / f"{name}.ipynb") for name in "abcde"]
    with pytest.raises(reason):
        run_all(
            dict.fromkeys(notebooks, tmp_path / "out"), {"mode": "quick"}, jobs=1, progress=stop
        )
    end.set()
    assert len(begun) <= 2


def test_guard_lets_this_machine_through_and_nothing_else(monkeypatch):
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, getattr(socket.socket, name))
    monkeypatch.setattr(socket, "getaddrinfo", socket.getaddrinfo)
    offline.refuse_network()
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=2).close()
    for address in (("192.0.2.1", 80), ("example.org", 80)):
        with pytest.raises(offline.NetworkOff, match="lessons run offline"):
            socket.create_connection(address, timeout=2)


@pytest.mark.notebooks
def test_release_of_the_fixture_is_green_and_has_pages(tmp_path, without_new_processes):
    (tmp_path / "notebooks/source").mkdir(parents=True)
    (tmp_path / "notebooks/source/90_fixture.py").write_text(FIXTURE.read_text())
    build_all(tmp_path)
    said = []
    assert release(tmp_path, tmp_path / "build", QUICK, said.append) == []
    for edition in ("solutions", "learner"):  # side by side, so in any order
        assert sum(f"{edition}/90_fixture.ipynb ran in" in line for line in said) == 1
    assert 'href="90_fixture.html"' in (tmp_path / "build/index.html").read_text()
    page = (tmp_path / "build/90_fixture.html").read_text()
    assert (
        page.count('alt="Bar chart of 6 values') == 2 and "Skipped in this run: tagged slow" in page
    )


@pytest.mark.notebooks
def test_failed_lessons_are_kept_and_named_and_do_not_stop_others(tmp_path):
    reach = "import urllib.request\nurllib.request.urlopen('http://192.0.2.1')"
    notebooks = [
        write_lesson(tmp_path / "network.ipynb", reach, "print('not reached')"),
        write_lesson(tmp_path / "died.ipynb", "print('before')", "import os\nos._exit(1)", "1 + 1"),
        write_lesson(tmp_path / "sound.ipynb", "print(mode, seed)"),
    ]
    network, died, sound = run_all(
        dict.fromkeys(notebooks, tmp_path / "out"), {"mode": "quick", "seed": 3}
    )
    assert "network.ipynb stopped in code cell 2 (import urllib" in network.error
    assert "lessons run offline" in network.error and network.output.exists()
    assert "died.ipynb stopped in code cell 3" in died.error and "DeadKernel" in died.error
    assert "before" in died.output.read_text(), "the notebook is kept up to there"
    assert sound.error is None and "quick 3" in sound.output.read_text()


@pytest.mark.notebooks
def test_kernel_is_this_interpreter_plots_inline_and_crashed_widgets_are_found(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    facts = "import os, sys\nprint(sys.executable, os.environ['MPLBACKEND'])"
    crash = "import ipywidgets\nfrom IPython.display import display\n"
    crash += "display(ipywidgets.interactive(lambda x: 1 / 0, x=1))"
    path = write_lesson(tmp_path / "name.ipynb", facts, crash)
    found = run(path, tmp_path / "out/name.ipynb", {"mode": "quick"})
    notebook = nbformat.read(found.output, as_version=4)
    expected = f"{sys.executable} module://matplotlib_inline.backend_inline\n"
    assert notebook.cells[2].outputs[0].text == expected
    assert found.error is None and "ZeroDivisionError" in next(widget_errors(notebook))


@pytest.mark.notebooks
def test_cell_that_never_ends_is_stopped(tmp_path):
    path = write_lesson(tmp_path / "endless.ipynb", "while True:\n    pass")
    found = run(path, tmp_path / "out/endless.ipynb", {"mode": "quick"}, timeout=2)
    assert "CellTimeoutError" in found.error and found.seconds < 30 and found.output.exists()


def test_reply_is_found_although_its_wake_up_was_lost():
    class SleepySocket:
        looks = 0

        async def poll(self, milliseconds: int) -> bool:
            assert milliseconds <= 500
            self.looks += 1
            return self.looks > 1

    async def reply() -> dict:
        return {"found": True}

    channel = PollingChannel.__new__(PollingChannel)
    channel.socket, channel._recv = SleepySocket(), reply
    assert asyncio.run(channel.get_msg(timeout=600)) == {"found": True}
    channel.socket.looks = -10
    with pytest.raises(Empty):
        asyncio.run(channel.get_msg(timeout=0.1))


# Resuming


@pytest.mark.notebooks
def test_what_ended_well_is_not_run_again_and_what_failed_or_changed_is(
    tmp_path, without_new_processes
):
    good = write_lesson(tmp_path / "good.ipynb", "import time\nprint(time.time_ns())")
    bad = write_lesson(tmp_path / "bad.ipynb", "1 / 0")

    def outputs(parameters: dict) -> list[str]:
        runs_ = run_all(dict.fromkeys([good, bad], tmp_path / "out"), parameters, resume=True)
        assert runs_[0].error is None and "ZeroDivisionError" in runs_[1].error
        return [one.output.read_text() for one in runs_]

    first, again = outputs({"mode": "quick"}), outputs({"mode": "quick"})
    assert again[0] == first[0] and again[1] != first[1]
    assert outputs({"mode": "learn"})[0] != first[0]


def test_run_that_was_cut_off_is_not_taken_for_finished(tmp_path):
    notebook, output = tmp_path / "a.ipynb", tmp_path / "out.ipynb"
    notebook.write_text("{}")
    output.write_text("{}")

    def note(**changes) -> None:
        told = execute.describe_run(notebook, {"seed": 1}) | {"seconds": 12.0, "error": None}
        output.with_suffix(".run.json").write_text(json.dumps(told | changes))

    assert finished_seconds(notebook, output, {}) is None
    note()
    assert finished_seconds(notebook, output, {"seed": 1}) == 12.0
    assert finished_seconds(notebook, output, {"seed": 2}) is None
    notebook.write_text("{} ")
    assert finished_seconds(notebook, output, {"seed": 1}) is None
    note(error="stopped")
    assert finished_seconds(notebook, output, {"seed": 1}) is None
    for text in ("", "[]", "[" * 100_000, '{"seconds": "12", "error": null}'):
        output.with_suffix(".run.json").write_text(text)
        assert finished_seconds(notebook, output, {"seed": 1}) is None
