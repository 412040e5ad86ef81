"""The table of latencies and a small picture of every widget, as files."""

import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from annlib.course.browsing.gallery import LARGE, chosen
from annlib.course.browsing.page import Gallery, opened_gallery
from annlib.course.browsing.timing import Latency, drag_latency, latency
from annlib.engine.results import write_results
from annlib.engine.tables import table

INTERACTIONS = 200
LARGEST = 60_000  # bytes of a picture
WIDTHS = (900, 700, 500)  # pixels


def small_png(screenshot: bytes) -> bytes:
    """A screenshot with few colours, at the largest width that makes a small file of it."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    for width in WIDTHS:
        smaller = image.copy()
        smaller.thumbnail((width, 10 * width))
        file = io.BytesIO()
        smaller.quantize(64).save(file, "PNG", optimize=True)
        if file.tell() <= LARGEST:
            break
    return file.getvalue()


def latency_table(latencies: Iterable[Latency]) -> str:
    """Markdown: one row a widget."""
    rows = [
        [
            one.name,
            f"{one.median:.0f}",
            f"{one.p95:.0f}",
            str(len(one.milliseconds)),
            f"{one.goal[0]}, {one.goal[1]}",
        ]
        for one in latencies
    ]
    return table(["widget", "median ms", "p95 ms", "n", "goal"], rows)


def memory_growth(gallery: Gallery, names: str | None, interactions: int) -> float:
    """What the kernel holds more after so many further changes, in MB."""
    entries = [entry for entry in chosen(names) if not entry.once]
    before = gallery.kernel_bytes()
    for index in range(interactions):
        entry = entries[index // 2 % len(entries)]
        gallery.use(entry, by_key=index % 2 == 1)
    return (gallery.kernel_bytes() - before) / 1e6


def measure_widgets(out: Path, only: str | None, repeat: int, command: str) -> str:
    """Opens the gallery, measures, and writes README.md and the pictures.  -> the text

    Raises ValueError for an unknown name, FileNotFoundError without a browser.
    """
    entries = chosen(only)
    out.mkdir(parents=True, exist_ok=True)
    with opened_gallery(entries) as gallery:
        for entry in entries:
            (out / f"{entry.name}.png").write_bytes(
                small_png(gallery.widget(entry.name).screenshot())
            )
        found = [latency(gallery, entry, repeat) for entry in entries]
        if LARGE in [entry.name for entry in entries]:
            canvas = chosen(LARGE)[0].pointer.focused(gallery.widget(LARGE))
            found.append(drag_latency(gallery, LARGE, canvas))
        growth = memory_growth(gallery, only, INTERACTIONS)
    text = (
        f"{latency_table(found)}\n\n"
        "Milliseconds in the page, from the event to the animation frame with another picture; "
        "changes by pointer and by keyboard in turns. Pictures of all but the explorers and the "
        "picker are drawn by the kernel.\n\n"
        f"{INTERACTIONS} further changes: the kernel's memory grew by {growth:.1f} MB (goal: "
        "below 20)."
    )
    return write_results(text, out / "README.md", command)
