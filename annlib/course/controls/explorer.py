"""Controls above a picture that follows them: what most widgets of the lessons are.

Every control redraws when it is let go, and fits a narrow window.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets
import traitlets

from annlib.course.controls.shown import Piece, Shown, in_this_thread

LONG = {"width": "40em", "max_width": "100%"}  # in a narrow window the read-out stays in sight
STYLE = {"description_width": "8em"}


def menu(name: str, choices: Iterable, value: object = None) -> ipywidgets.Dropdown:
    """A list to choose from: of names, of (name, value), or the names of a mapping.

    value: what is chosen at first, the first one if there is no such.
    """
    options = list(choices)
    named = isinstance(options[0], tuple)
    first = (options[0][1] if named else options[0]) if value is None else value
    return ipywidgets.Dropdown(
        options=options, value=first, description=name, layout=LONG, style=STYLE
    )


def slider(name: str, value: int, last: int, first: int = 0, step: int = 1) -> ipywidgets.IntSlider:
    """Whole numbers from `first` to `last`."""
    return ipywidgets.IntSlider(
        value, first, last, step, description=name, continuous_update=False,
        layout=LONG, style=STYLE,
    )  # fmt: skip


def measure(name: str, value: float, last: float, step: float) -> ipywidgets.FloatSlider:
    """From 0 to `last`, in steps."""
    return ipywidgets.FloatSlider(
        value, min=0.0, max=last, step=step, description=name, continuous_update=False,
        layout=LONG, style=STYLE,
    )  # fmt: skip


def choice(
    name: str, values: Sequence | Mapping[str, object], value: object
) -> ipywidgets.SelectionSlider:
    """A slider over a few values; a mapping has a name for each."""
    options = list(values.items()) if isinstance(values, Mapping) else list(values)
    return ipywidgets.SelectionSlider(
        options=options, value=value, description=name, continuous_update=False,
        layout=LONG, style=STYLE,
    )  # fmt: skip


class LevelBoxes(ipywidgets.HBox):
    """One box to tick for each pyramid level; `value` holds the ticked ones in their order."""

    value = traitlets.Tuple()

    def __init__(self, levels: tuple[int, ...], chosen: tuple[int, ...]) -> None:
        self.levels = levels
        boxes = [
            ipywidgets.Checkbox(
                level in chosen, description=f"{level}", indent=False, layout={"width": "4em"}
            )
            for level in levels
        ]
        super().__init__([ipywidgets.Label("levels"), *boxes], layout={"flex_flow": "row wrap"})
        self.boxes = boxes
        take = in_this_thread(self.take)
        for box in boxes:
            box.observe(take, "value")
        self.take()

    def take(self, change: object = None) -> None:
        ticked = zip(self.levels, self.boxes, strict=True)
        self.value = tuple(level for level, box in ticked if box.value)


class Explorer(Shown):
    """Draws anew whenever a control changes; Tab leads to the controls, arrow keys move them."""

    controls: Mapping[str, ipywidgets.Widget] = {}  # of one that could not be built, and is closed

    def __init__(
        self,
        controls: Mapping[str, ipywidgets.Widget],
        draw: Callable[..., Iterable[Piece]],
        rows: Iterable[ipywidgets.Widget] = (),
    ) -> None:
        """draw: the value of each control, under its name -> the pictures and words to show

        rows: more widgets below the controls, which `draw` gets nothing of
        """
        super().__init__()
        self.controls, self.drawing = dict(controls), draw
        redraw = in_this_thread(self.redraw)
        for control in self.controls.values():
            control.observe(redraw, "value")
        self.place(ipywidgets.VBox(list(self.controls.values())), *rows)
        self.redraw()

    def redraw(self, change: object = None) -> None:
        """Shows the present state of the controls. An error is shown in the widget, too."""
        self.refresh(lambda: self.drawing(**self.values()))

    def values(self) -> dict[str, Any]:
        """The present value of each control, under its name."""
        return {name: control.value for name, control in self.controls.items()}

    def close(self) -> None:
        """Removes the widget and everything that listens to its controls."""
        super().close()
        self.controls = {}
