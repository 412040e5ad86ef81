"""Controls of a widget as hands use them: by pointer, and by keyboard alone.

Each use changes something, whatever was set before: sliders go where they are not, menus go round.
"""

import re
from typing import NamedTuple, Protocol

from playwright.sync_api import Locator


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
