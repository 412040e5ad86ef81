"""What holds for every test."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def repeatable() -> None:
    """The same random numbers whenever and in whatever order a test runs."""
    torch.manual_seed(0)


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
