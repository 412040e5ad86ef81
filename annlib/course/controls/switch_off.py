"""Switch off what a block looks at, and read what the network then says.

No maths: changes are made by annlib.course.intervening, pictures by figures.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import ipywidgets
from IPython.display import display
from torch import nn

from annlib.course.attention import attention_of
from annlib.course.controls.attention_explorer import menu
from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.switching_off import Damages, say_answers_now, what_is_left
from annlib.course.intervening import WAYS, changed_attention
from annlib.course.lines import say
from annlib.course.matching import query_on
from annlib.course.predicting import predict_labels
from annlib.data.scenes import Scene


class SwitchOff(Explorer):
    """A slider switches off k weights of each row; menus choose the block, the way, the house.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as sentences.
    """

    def __init__(
        self, model: nn.Module, scene: Scene, blocks: Mapping[str, str], damages: Damages
    ) -> None:
        """blocks: name in the menu -> path. damages: what was measured over many scenes."""
        self.model, self.scene, self.blocks, self.damages = model, scene, blocks, damages
        houses = {f"{house.paint} house": house for house in scene.houses}
        self.houses = houses
        controls = {
            "block": menu("block", blocks),
            "way": menu("switch off", WAYS),
            "k": steps("k", sorted({k for _, _, k in damages})),
            "house": menu("asks", houses),
        }
        super().__init__(controls, self.draw)

    def draw(self, block: str, way: str, k: int, house: str) -> None:
        """The picture and the sentences for one state of the controls."""
        path, query = self.blocks[block], query_on(self.scene, self.houses[house])
        with changed_attention(self.model, partial(WAYS[way], k=k), path):
            left = attention_of(self.model, self.scene.image)[path]
            labels = predict_labels(self.model, self.scene.image)
        display(what_is_left(self.scene, left, query, labels, path.partition(".")[0]))
        say(f"{block} without {k}, {way}: {say_answers_now(self.scene, labels)}")
        if (found := self.damages.get((path, way, k))) is not None:
            say(f"Over many scenes: house accuracy {found.houses:.3f}, mIoU {found.miou:.3f}.")


def steps(name: str, values: Sequence[int]) -> ipywidgets.SelectionSlider:
    """Only values that were measured; redraws when it is let go."""
    return ipywidgets.SelectionSlider(
        options=list(values), description=name, continuous_update=False, layout=LONG
    )
