"""Controls above a picture that follows them: what most widgets of the lessons are."""

from collections.abc import Callable, Mapping

import ipywidgets
import traitlets

from annlib.course.controls.keys import guarded

LONG = {"width": "40em", "max_width": "100%"}  # in a narrow window the read-out stays in sight


class Explorer(ipywidgets.VBox):
    """Draws anew whenever a control changes; Tab leads to the controls, arrow keys move them."""

    controls: Mapping[str, ipywidgets.Widget] = {}  # of one that could not be built, and is closed

    def __init__(
        self, controls: Mapping[str, ipywidgets.Widget], draw: Callable[..., None]
    ) -> None:
        """draw: gets the value of each control under its name, and displays picture and words"""
        super().__init__()
        self.controls = dict(controls)
        # interactive_output shows errors of `draw` in the widget, where the widget gate finds them
        self.output = ipywidgets.interactive_output(draw, self.controls)
        box = ipywidgets.VBox(list(self.controls.values()))
        self.children = [box, self.output, guarded(self)]

    def close(self) -> None:
        """Removes the widget and everything that listens to its controls."""
        for control in self.controls.values():
            control.unobserve_all()
            control.close()
        self.controls = {}
        for child in self.children:
            child.close()
        super().close()


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
        for box in boxes:
            box.observe(self.take, "value")
        self.take()

    def take(self, change: object = None) -> None:
        ticked = zip(self.levels, self.boxes, strict=True)
        self.value = tuple(level for level, box in ticked if box.value)
