"""A bar that shows how much of a file has come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """Inside, the function takes bytes so far and in all; without a download no bar appears."""
    from tqdm import tqdm

    bars: list[tqdm] = []

    def show(done: int, total: int | None) -> None:
        if not bars:
            bars.append(tqdm(desc=name, unit="B", unit_scale=True, unit_divisor=1024))
        bars[0].total = total
        bars[0].update(done - bars[0].n)

    try:
        yield show
    finally:
        for bar in bars:
            bar.close()
