"""Latency of each widget, from the event to the frame, and a table of the results."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as Overdue

from annlib.cli.common import at_least_one
from annlib.engine.metrics import table
from annlib.engine.results import write_results
from benchmarks.common import main, remake
from tests.browser.gallery import LARGE, Entry, chosen
from tests.browser.page import Lab, opened_gallery

MOVES = 60  # of a drag across the image
OVERDUE = 20_000  # milliseconds

# From the event's own time to the first animation frame that paints another image. Images of the
# kernel have addresses; of a canvas the pixels are added up at a small size, because making an
# address of it takes milliseconds.
STOPWATCH = """
const small = new OffscreenCanvas(96, 48).getContext('2d', {willReadFrequently: true});
window.annlibState = area => {
    const images = [...area.querySelectorAll('img')].filter(image => image.offsetParent);
    if (images.some(image => !image.complete || !image.naturalWidth)) return null;
    const canvases = [...area.querySelectorAll('canvas')].filter(canvas => canvas.offsetParent);
    if (images.length + canvases.length === 0) return area.innerText;
    if (images.length) return images.map(image => image.src).join();  // drawn by the kernel, later
    return canvases.map(canvas => {
        small.drawImage(canvas, 0, 0, 96, 48);
        const {data} = small.getImageData(0, 0, 96, 48);
        let sum = 0;
        for (const word of new Uint32Array(data.buffer)) sum = (Math.imul(sum, 31) + word) | 0;
        return sum;
    }).join();
};
window.annlibTime = (area, types) => {
    const found = window.annlibFound = [];
    let before = window.annlibState(area), started = null;
    const painted = () => {
        if (started === null) return;
        const now = performance.now(), state = window.annlibState(area);
        if (state === null || state === before) return requestAnimationFrame(painted);
        before = state;
        found.push(now - started);
        started = null;
    };
    const begin = event => {
        if (started !== null || !area.contains(event.target)) return;
        if (area.querySelector('img')) before = window.annlibState(area) ?? before;
        started = event.timeStamp;
        requestAnimationFrame(painted);
    };
    window.annlibStop?.();
    for (const type of types) document.addEventListener(type, begin, true);
    window.annlibStop = () => types.forEach(
        type => document.removeEventListener(type, begin, true));
};
"""
START = "([area, types]) => window.annlibTime(area, types)"
ENOUGH = "count => window.annlibFound.length >= count"


class Latency(NamedTuple):
    """Milliseconds from an event to the frame that shows another image."""

    name: str
    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.milliseconds)

    @property
    def p95(self) -> float:
        """What 19 of 20 changes do not exceed."""
        return float(np.percentile(self.milliseconds, 95))

    @property
    def goal(self) -> tuple[float, float]:
        """The most that median and p95 may be: one frame where all is done in the browser."""
        return (16, 33) if self.name.endswith(DRAGGED) else (300, 300)


DRAGGED = ", dragged"


def start_stopwatch(widget: Locator, types: tuple[str, ...]) -> None:
    page = widget.page
    page.evaluate(f"() => {{ {STOPWATCH} }}")
    page.evaluate(START, [widget.element_handle(), types])


def stop_stopwatch(page: Page, count: int, name: str) -> tuple[float, ...]:
    """Waits for so many changes.  -> milliseconds of each. Raises TimeoutError."""
    try:
        page.wait_for_function(ENOUGH, arg=count, timeout=OVERDUE)
    except Overdue as error:
        raise TimeoutError(
            f"{name} showed no other image within {OVERDUE / 1000:.0f} s after its control was "
            "moved, so there is nothing to time. See what it shows: build/screenshots."
        ) from error
    return tuple(page.evaluate("() => { window.annlibStop(); return window.annlibFound; }"))


def latency(gallery: Lab, entry: Entry, count: int) -> Latency:
    """Of so many uses of a widget, by pointer and by keyboard in turns."""
    found: list[float] = []
    for index in range(count):
        if entry.once:
            gallery.run_again(entry.name)
        widget, by_key = gallery.widget(entry.name), index % 2 == 1
        start_stopwatch(widget, ("keydown",) if by_key else ("pointerdown", "input"))
        (entry.keys.by_key if by_key else entry.pointer.by_pointer)(widget)
        found += stop_stopwatch(gallery.page, 1, entry.name)
    return Latency(entry.name, tuple(found))


def drag_latency(gallery: Lab, name: str, canvas: Locator, moves: int = MOVES) -> Latency:
    """Of each move of a drag across a canvas. Raises TimeoutError if a move is not drawn."""
    widget, page = gallery.widget(name), gallery.page
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    start_stopwatch(widget, ("pointermove",))
    for move in range(1, moves + 1):
        share = move / moves
        x = box["x"] + (0.1 + 0.8 * share) * box["width"]
        page.mouse.move(x, box["y"] + (0.2 + 0.6 * share) * box["height"])
        page.wait_for_function(ENOUGH, arg=move, timeout=OVERDUE)
    page.mouse.up()
    return Latency(f"{name}{DRAGGED}", stop_stopwatch(page, moves, name))


INTERACTIONS = 200
LARGEST = 60_000  # bytes of an image
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


def memory_growth(gallery: Lab, names: str | None, interactions: int) -> float:
    """What the kernel holds more after so many further changes, in MB."""
    entries = [entry for entry in chosen(names) if not entry.once]
    before = gallery.kernel_bytes()
    for index in range(interactions):
        entry = entries[index // 2 % len(entries)]
        gallery.use(entry, by_key=index % 2 == 1)
    return (gallery.kernel_bytes() - before) / 1e6


def write_images(gallery: Lab, entries: Iterable[Entry], out: Path) -> None:
    """One small image a widget, as it starts."""
    out.mkdir(parents=True, exist_ok=True)
    for entry in entries:
        (out / f"{entry.name}.png").write_bytes(small_png(gallery.widget(entry.name).screenshot()))


def measure_widgets(out: Path, only: str | None, repeat: int, command: str) -> str:
    """Opens the gallery, measures, and writes README.md and the images.  -> the text

    Raises ValueError for an unknown name, FileNotFoundError without a browser.
    """
    entries = chosen(only)
    with opened_gallery(entries) as gallery:
        write_images(gallery, entries, out)
        found = [latency(gallery, entry, repeat) for entry in entries]
        if LARGE in [entry.name for entry in entries]:
            canvas = chosen(LARGE)[0].pointer.focused(gallery.widget(LARGE))
            found.append(drag_latency(gallery, LARGE, canvas))
        growth = memory_growth(gallery, only, INTERACTIONS)
    text = (
        f"{latency_table(found)}\n\n"
        "Milliseconds in the page, from the event to the animation frame with another image; "
        "changes by pointer and by keyboard in turns. Images of all but the explorers and the "
        "picker are drawn by the kernel.\n\n"
        f"{INTERACTIONS} further changes: the kernel's memory grew by {growth:.1f} MB (goal: "
        "below 20)."
    )
    return write_results(text, out / "README.md", command)


@dataclass(frozen=True)
class Latencies:
    """Measure the latency of widgets in JupyterLab and a Chromium on this machine."""

    out: Path = Path("data/results/widgets")
    """Folder of the table, README.md, and of one small image a widget."""
    only: str | None = None
    """One widget, by its name in the table; all if none is named."""
    repeat: int = 10
    """Changes that count for each widget."""
    images: bool = False
    """Only make the images; the table stays."""

    def run(self) -> None:
        at_least_one("--repeat", self.repeat)
        if self.images:
            with opened_gallery(chosen(self.only)) as gallery:
                return write_images(gallery, chosen(self.only), self.out)
        print(measure_widgets(self.out, self.only, self.repeat, remake()))


if __name__ == "__main__":
    main("tests.browser.latency", Latencies, __doc__, "--only NetworkBill --repeat 12")
