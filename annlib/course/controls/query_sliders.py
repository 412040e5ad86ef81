"""Sliders that place a query, and what it attends to. No maths: state -> picture is in plots."""

from collections.abc import Mapping

import ipywidgets
from IPython.display import display
from torch import nn

from annlib.course import plots
from annlib.course.attention import Attention, attention_of
from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.lines import say
from annlib.course.matching import query_on
from annlib.course.wording import say_choice
from annlib.data.scenes import Scene


class QuerySliders(Explorer):
    """Two sliders place the query; a third multiplies all scores; a menu chooses the block.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, scene: Scene, choices: Mapping[str, tuple[str, Attention]]) -> None:
        """choices: name in the menu -> (block, for its colour, and what it did with the scene)"""
        self.scene, self.choices = scene, choices
        height, width = scene.labels.shape
        y, x = query_on(scene, scene.houses[0])
        controls = {
            "name": ipywidgets.Dropdown(options=list(choices), description="block", layout=LONG),
            "y": slider("row", y, height - 1),
            "x": slider("column", x, width - 1),
            "factor": ipywidgets.SelectionSlider(
                options=[0.0, 0.25, 0.5, 1.0, 2.0, 4.0],
                value=1.0,
                description="scores x",
                continuous_update=False,
                layout=LONG,
            ),
        }
        super().__init__(controls, self.draw)

    def draw(self, name: str, y: int, x: int, factor: float) -> None:
        """The picture and the sentence for one state of the controls."""
        block, attention = self.choices[name]
        if factor != 1.0:
            attention = attention.rescaled(factor)
        display(plots.attention(self.scene.image, attention, y, x, name, block))
        say(say_choice(attention, self.scene.labels, y, x))


def slider(name: str, value: int, last: int) -> ipywidgets.IntSlider:
    """From 0 to `last`; redraws when it is let go."""
    return ipywidgets.IntSlider(
        value, 0, last, description=name, continuous_update=False, layout=LONG
    )


def query_sliders(models: Mapping[str, nn.Module], scene: Scene) -> QuerySliders:
    """Choose a pixel of a scene and see what it attends to, in every block of every model.

    models: name in the menu -> a model with attention.
    """
    choices = {}
    for name, model in models.items():
        found = attention_of(model, scene.image)
        for path, attention in found.items():
            entry = f"{name}, {path.partition('.')[0].upper()}" if len(found) > 1 else name
            choices[entry] = (block_of(model, path), attention)
    return QuerySliders(scene, choices)


def block_of(model: nn.Module, path: str) -> str:
    """The block, by its name in `drawing.BLOCK_COLOURS`, of an attention module.

    path: "afnb.attention" and "apnb.attention" in ANN, "context.attention" in a baseline.
    """
    part = path.partition(".")[0]
    return model.config.head if part == "context" else part
