"""What holds for every test."""

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import hypothesis
import pytest
import torch
from selection import MARKS, can_match, cost, kept_together

# nbformat imports jsonschema, and that a grammar of internet addresses: more than a second in each
# process, for a check that no notebook needs.
sys.modules.setdefault("rfc3987_syntax", None)
# Also in the background of a shell, where a program ignores Ctrl-C from its start.
signal.signal(signal.SIGINT, signal.default_int_handler)
hypothesis.settings.register_profile("any machine", deadline=None)  # also a busy one
hypothesis.settings.load_profile("any machine")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files and folders without a chosen test are not imported, which takes seconds for some."""
    expression = config.getoption("markexpr")
    words = set(re.findall(r"\w+", expression))
    is_file = collection_path.match("test_*.py")
    paths = [collection_path] if is_file else [*collection_path.rglob("test_*.py")]
    if not paths or not words or not words <= {*MARKS, "and", "or", "not"}:
        return None
    chosen = any(can_match(expression, path.read_text(encoding="utf-8")) for path in paths)
    return None if chosen else True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Which process of `pytest -n 2 --dist loadfile` runs a test: see selection.py."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return kept_together(nodeid)

        def _assign_work_unit(self, node: object) -> None:
            """The most expensive first: nobody waits for a long one that was begun last."""
            longest = max(self.workqueue, key=lambda name: cost(name, len(self.workqueue[name])))
            self.workqueue.move_to_end(longest, last=False)
            super()._assign_work_unit(node)

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def repeatable() -> None:
    """The same random numbers whenever and in whatever order a test runs."""
    torch.manual_seed(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Notes the kind of fault that a test is about, for the table below."""
    outcome = yield
    if mark := item.get_closest_marker("fault"):
        outcome.get_result().user_properties.append(("fault", mark.args[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With `-m fault` (make faults): a table fault x tries x survived x lost."""
    if "fault" not in terminalreporter.config.getoption("markexpr"):
        return
    rows: dict[str, list[int]] = {}
    for state in ("passed", "failed", "error"):
        for report in terminalreporter.getreports(state):
            known = dict(report.user_properties)
            if "fault" in known and (report.when == "call" or state == "error"):
                tries, counts = known.get("tries", 1), rows.setdefault(known["fault"], [0, 0])
                counts[0] += tries
                counts[1] += tries if state == "passed" else 0
    terminalreporter.write_line("\n| fault | tries | survived | lost |\n|---|---:|---:|---:|")
    for kind, (tries, survived) in sorted(rows.items()):
        terminalreporter.write_line(f"| {kind} | {tries} | {survived} | {tries - survived} |")
    seed = os.environ.get("FAULT_SEED", "0")
    terminalreporter.write_line(
        f"\nSeed of the moments: {seed} (another: FAULT_SEED=1 make faults)"
    )


@pytest.fixture
def annlib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """Runs a command line in an empty folder.  -> what it printed"""
    from annlib.__main__ import main

    monkeypatch.delenv("ANNLIB_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["annlib", *map(str, words)])
        main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def without_new_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notebooks run one after the other in this process, which has imported papermill already."""
    from annlib.course.running import execute

    class Here:
        def __init__(self, *_: object) -> None: ...

        def submit(self, function: Callable, *arguments: object) -> Future:
            done: Future = Future()
            done.set_result(function(*arguments))
            return done

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(execute, "ProcessPoolExecutor", Here)


@pytest.fixture
def in_subshell() -> Iterator[Callable[[Callable[[], object]], object]]:
    """Calls a function as a kernel subshell does: in a thread with an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def called(call: Callable[[], object]) -> object:
        return call()

    yield lambda call: asyncio.run_coroutine_threadsafe(called(call), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """A fork is safe where no thread works."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
