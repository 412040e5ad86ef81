"""Scores over chosen scenes: one matrix, or the mean of many?"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from annlib.course.controls.explorer import Explorer, menu, slider
from annlib.course.figures.confusion import chosen_scenes, of_scenes, say_chosen
from annlib.course.plots import Picture


class ChooseScenes(Explorer):
    """A menu of networks, and two sliders that choose scenes.

    Keyboard: Tab to a control, then the arrow keys. The state is told in words, too.
    """

    def __init__(self, counts: Mapping[str, tuple[str, Tensor]], names: Sequence[str]) -> None:
        """counts: network -> (block, for its colour, and matrices of its scenes (T, K, K))"""
        self.counts, self.names = counts, names
        num_scenes = min(len(one) for _, one in counts.values())
        controls = {
            "network": menu("network", counts),
            "first": slider("first scene", 0, num_scenes - 1),
            "number": slider("how many", num_scenes, num_scenes, first=1),
        }
        super().__init__(controls, self.draw)

    def draw(self, network: str, first: int, number: int) -> tuple[Picture, str]:
        """The picture and the sentence for one state of the controls; the last scene ends it."""
        block, counts = self.counts[network]
        number = min(number, len(counts) - first)
        picture = chosen_scenes(counts, first, number, self.names, block, network)
        return picture, say_chosen(*of_scenes(counts, first, number), first)


def choose_scenes(counts: Mapping[str, tuple[str, Tensor]], names: Sequence[str]) -> ChooseScenes:
    """Scores of each network over the scenes that the sliders choose."""
    return ChooseScenes(counts, names)
