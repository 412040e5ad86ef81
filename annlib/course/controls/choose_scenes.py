"""Scores over chosen scenes: one matrix, or the mean of many?"""

from collections.abc import Mapping, Sequence

import ipywidgets
from IPython.display import display
from torch import Tensor

from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.confusion import chosen_scenes, of_scenes, say_chosen
from annlib.course.lines import say


class ChooseScenes(Explorer):
    """A menu of networks, and two sliders that choose scenes.

    Keyboard: Tab to a control, then the arrow keys. The state is told in words, too.
    """

    def __init__(self, counts: Mapping[str, tuple[str, Tensor]], names: Sequence[str]) -> None:
        """counts: network -> (block, for its colour, and matrices of its scenes (T, K, K))"""
        self.counts, self.names = counts, names
        num_scenes = min(len(one) for _, one in counts.values())
        controls = {
            "network": ipywidgets.Dropdown(
                options=list(counts), description="network", layout=LONG
            ),
            "first": slider("first scene", 0, 0, num_scenes - 1),
            "number": slider("how many", num_scenes, 1, num_scenes),
        }
        super().__init__(controls, self.draw)

    def draw(self, network: str, first: int, number: int) -> None:
        """The picture and the sentence for one state of the controls; the last scene ends it."""
        block, counts = self.counts[network]
        number = min(number, len(counts) - first)
        display(chosen_scenes(counts, first, number, self.names, block, network))
        say(say_chosen(*of_scenes(counts, first, number), first))


def slider(name: str, value: int, low: int, high: int) -> ipywidgets.IntSlider:
    """Redraws when it is let go."""
    return ipywidgets.IntSlider(
        value, low, high, description=name, continuous_update=False, layout=LONG
    )


def choose_scenes(counts: Mapping[str, tuple[str, Tensor]], names: Sequence[str]) -> ChooseScenes:
    """Scores of each network over the scenes that the sliders choose."""
    return ChooseScenes(counts, names)
