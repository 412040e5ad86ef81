"""A progress bar that is right in JupyterLab, in a static page, and for a screen reader.

tqdm's own bar is a widget: in a page of an executed notebook it stands at 0 % for ever.
"""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from IPython.display import display

PROGRESS = "application/vnd.annlib.progress+json"
EVERY_SECONDS = 0.5
Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Hands on items and shows how many of `total` are done, and for how long it will go on.

    what: the work in a word or two ("steps", "pictures").
    """
    started = shown = time.perf_counter()
    done, handle = 0, display(bundle(0, total, what, 0.0), raw=True, display_id=True)
    for item in items:
        yield item
        done, now = done + 1, time.perf_counter()
        if handle and now - shown > EVERY_SECONDS:
            handle.update(bundle(done, total, what, now - started), raw=True)
            shown = now
    if handle:
        handle.update(bundle(done, total, what, time.perf_counter() - started), raw=True)


def bundle(done: int, total: int, what: str, seconds: float) -> dict[str, object]:
    """One state of the bar, as HTML with a native element and as text."""
    text = f"{done} of {total} {what}, {seconds:.0f} s"
    if 0 < done < total:
        text += f", about {seconds / done * (total - done):.0f} s to go"
    element = f'<progress value="{done}" max="{total}" aria-label="{what}"></progress> {text}'
    return {PROGRESS: {"done": done, "total": total}, "text/html": element, "text/plain": text}
