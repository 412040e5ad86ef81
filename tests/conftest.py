"""What holds for every test."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share a fixture of their file stay in one process of `pytest -n 2`."""
    for item in items:
        fixtures = [found[-1] for found in item._fixtureinfo.name2fixturedefs.values()]
        shared = any(one.baseid.endswith(".py") and one.scope != "function" for one in fixtures)
        if shared and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(autouse=True)
def repeatable() -> None:
    """The same random numbers whenever and in whatever order a test runs."""
    torch.manual_seed(0)


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
