"""Controls of a widget by pointer and keyboard, what it shows, and accessibility checks.

Each use changes something, whatever was set before: sliders go where they are not, menus go round.
"""

import base64
import io
import json
import re
from typing import NamedTuple, Protocol

import numpy as np
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as Overdue


class Control(Protocol):
    """A control of a widget; `widget` is the output area of its cell."""

    def by_pointer(self, widget: Locator) -> None:
        """Another value, with the mouse alone."""

    def by_key(self, widget: Locator) -> None:
        """Another value, with the keyboard alone."""

    def focused(self, widget: Locator) -> Locator:
        """The element that has the focus while keys are pressed, and has to show that."""


def labelled(widget: Locator, kind: str, label: str) -> Locator:
    """The first control of a kind, a CSS class, with exactly this label."""
    name = widget.page.locator(".widget-label", has_text=re.compile(rf"^{re.escape(label)}$"))
    return widget.locator(kind, has=name).first


def turn(widget: Locator) -> int:
    """How often a control that takes turns was used: counted on the page, where it lives."""
    return int(widget.get_attribute("data-annlib-turn") or 0)


def take_turn(widget: Locator) -> None:
    widget.evaluate("(area, turn) => area.dataset.annlibTurn = turn", turn(widget) + 1)


class Slider(NamedTuple):
    """A click on the far end of its line; one step of an arrow key, back from the last value."""

    label: str

    def focused(self, widget: Locator) -> Locator:
        return labelled(widget, ".widget-slider", self.label).locator(".noUi-handle")

    def place(self, widget: Locator) -> float:
        """Where the handle stands: 0 at the left end, 1 at the right."""
        handle = self.focused(widget)
        low, now, high = (
            float(handle.get_attribute(f"aria-value{name}")) for name in ("min", "now", "max")
        )
        return (now - low) / (high - low)

    def by_pointer(self, widget: Locator) -> None:
        line = labelled(widget, ".widget-slider", self.label).locator(".noUi-base")
        box = line.bounding_box()
        share = 0.1 if self.place(widget) > 0.5 else 0.9
        line.click(position={"x": share * box["width"], "y": box["height"] / 2}, force=True)

    def by_key(self, widget: Locator) -> None:
        key = "ArrowLeft" if self.place(widget) > 0.99 else "ArrowRight"
        self.focused(widget).press(key)


class Menu(NamedTuple):
    """The next entry, the first after the last.

    Browsers draw an open menu outside the page, so the pointer's choice is handed in.
    """

    label: str

    def focused(self, widget: Locator) -> Locator:
        return labelled(widget, ".widget-dropdown", self.label).locator("select")

    def by_pointer(self, widget: Locator) -> None:
        menu = self.focused(widget)
        at, count = menu.evaluate("menu => [menu.selectedIndex, menu.options.length]")
        menu.select_option(index=(at + 1) % count)

    def by_key(self, widget: Locator) -> None:
        menu = self.focused(widget)
        at, count = menu.evaluate("menu => [menu.selectedIndex, menu.options.length]")
        menu.press("ArrowDown" if at + 1 < count else "Home")


class Buttons(NamedTuple):
    """Buttons that take turns, by the beginning of their names."""

    names: tuple[str, ...]

    def focused(self, widget: Locator) -> Locator:
        name = self.names[turn(widget) % len(self.names)]
        return widget.get_by_role("button", name=name).first

    def by_pointer(self, widget: Locator) -> None:
        self.focused(widget).click()
        take_turn(widget)

    def by_key(self, widget: Locator) -> None:
        self.focused(widget).press("Space")
        take_turn(widget)


class Box(NamedTuple):
    """A box to tick, by its label."""

    label: str

    def focused(self, widget: Locator) -> Locator:
        return widget.get_by_label(self.label, exact=True).first

    def by_pointer(self, widget: Locator) -> None:
        self.focused(widget).click()

    def by_key(self, widget: Locator) -> None:
        self.focused(widget).press("Space")


class Canvas(NamedTuple):
    """A picture to point at: a click in one of two places, an arrow key to and fro."""

    selector: str

    def focused(self, widget: Locator) -> Locator:
        return widget.locator(self.selector).first

    def by_pointer(self, widget: Locator) -> None:
        canvas = self.focused(widget)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        x, y = ((0.7, 0.7), (0.3, 0.4))[turn(widget) % 2]
        canvas.click(position={"x": x * box["width"], "y": y * box["height"]})
        take_turn(widget)

    def by_key(self, widget: Locator) -> None:
        self.focused(widget).press(("Shift+ArrowLeft", "Shift+ArrowRight")[turn(widget) % 2])
        take_turn(widget)


class Grid(NamedTuple):
    """Pixels to paint: a click with one brush or another; the letter of one class or another."""

    brushes: tuple[str, ...]  # names of their buttons
    letters: tuple[str, ...]

    def focused(self, widget: Locator) -> Locator:
        return widget.get_by_role("grid")

    def by_pointer(self, widget: Locator) -> None:
        brush = self.brushes[turn(widget) % len(self.brushes)]
        widget.get_by_role("button", name=brush).first.click()
        self.focused(widget).get_by_role("gridcell", name="row 3, column 5").click()
        take_turn(widget)

    def by_key(self, widget: Locator) -> None:
        grid = self.focused(widget)
        grid.press("ArrowRight")
        grid.press(self.letters[turn(widget) % len(self.letters)])
        take_turn(widget)


PATIENCE = 20_000  # milliseconds for a change; the goal is 300, but a loaded machine is no defect

# The pictures of an area as addresses that hold their bytes, or null while one is being drawn.
SHOWING = """
window.annlibPictures = area => {
    const images = [...area.querySelectorAll('img')].filter(image => image.offsetParent);
    if (images.some(image => !image.complete || !image.naturalWidth)) return null;
    const canvases = [...area.querySelectorAll('canvas')].filter(canvas => canvas.offsetParent);
    return [...images.map(image => image.src), ...canvases.map(canvas => canvas.toDataURL())];
};
window.annlibWords = area => area.innerText.replace(/\\s+/g, ' ');
"""
CHANGED = """([area, before, words]) => {
    const pictures = window.annlibPictures(area);
    if (window.annlibWords(area) === words) return false;
    return before.length === 0 || pictures !== null && pictures.length > 0
        && pictures.some((picture, at) => picture !== before[at]);
}"""


class Shown:
    """Images and words of a widget, as they were when this was made."""

    def __init__(self, widget: Locator) -> None:
        self.area = widget.element_handle()
        self.addresses: list[str] = widget.page.wait_for_function(
            "area => window.annlibPictures(area)", arg=self.area
        ).json_value()
        self.words: str = self.area.evaluate("area => window.annlibWords(area)")

    def wait_for_change(self, page: Page) -> None:
        """Until there are other words and, if the widget shows images, another image.

        Raises TimeoutError.
        """
        try:
            page.wait_for_function(
                CHANGED, arg=[self.area, self.addresses, self.words], timeout=PATIENCE
            )
        except Overdue as error:
            raise TimeoutError(
                f"Nothing that the widget shows has changed within {PATIENCE / 1000:.0f} s after "
                f"its control was moved. Its words still are: {self.words[:300]!r}"
            ) from error

    def pixels(self) -> list[np.ndarray]:
        """Its pictures.  uint8 (H, W, 3) each"""
        files = [base64.b64decode(one.partition(",")[2]) for one in self.addresses]
        return [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in files]


def differs(one: Shown, other: Shown) -> bool:
    """Whether pixels differ; of a widget without pictures, whether words do."""
    before, after = one.pixels(), other.pixels()
    if not before and not after:
        return one.words != other.words
    return len(before) != len(after) or any(
        a.shape != b.shape or bool((a != b).any()) for a, b in zip(before, after, strict=True)
    )


SERIOUS = ("serious", "critical")
FOCUS_STYLES = ("outline", "boxShadow", "borderColor", "backgroundColor")

# What is in a box that scrolls can be reached. ipywidgets' controls have a margin of 2 px on top
# of their width: no more may stick out.
WIDER = """areas => areas.flatMap(area => {
    const edge = area.getBoundingClientRect().right + 2;
    const scrolls = one => one !== area && one !== null && (
        ['auto', 'scroll'].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
    const out = [...area.querySelectorAll('*')].filter(one => one.offsetParent
        && !scrolls(one.parentElement)
        && one.getBoundingClientRect().width > 0 && one.getBoundingClientRect().right > edge);
    return out.map(one => `${area.closest('[data-annlib]').dataset.annlib}: `
        + `${one.tagName.toLowerCase()}.${[...one.classList].join('.')} ends `
        + `${Math.round(one.getBoundingClientRect().right - edge)} px outside`);
})"""
STYLE = """(element, names) => {
    const found = [];
    for (let one = element, depth = 0; one && depth < 3; one = one.parentElement, depth += 1)
        found.push(...names.map(name => getComputedStyle(one)[name]));
    return found;
}"""


def violations(page: Page, selector: str) -> list[str]:
    """What axe-core finds serious or critical in some areas: rule, element, what to do."""
    options = {"resultTypes": ["violations"]}
    page.evaluate(Axe().axe_script + ";0")
    context = {"include": [[selector]]}
    found = page.evaluate(f"() => axe.run({json.dumps(context)}, {json.dumps(options)})")
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:150]} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def focus_is_seen(control: Control, widget: Locator) -> bool:
    """Whether a control, or a box close around it, looks different while it has the focus."""
    element = control.focused(widget)
    widget.page.mouse.move(0, 0)  # what is under the pointer may look as if it had the focus
    element.evaluate("element => element.blur()")
    before = element.evaluate(STYLE, list(FOCUS_STYLES))
    element.focus()
    return element.evaluate(STYLE, list(FOCUS_STYLES)) != before
