"""What holds for every test."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def repeatable() -> None:
    """The same random numbers whenever and in whatever order a test runs."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where the browser is. Without one a test is skipped; on a CI machine that is a failure."""
    from tests.browser.lab import chromium  # only the course needs Jupyter's packages

    try:
        return chromium()
    except FileNotFoundError as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(str(error))


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
