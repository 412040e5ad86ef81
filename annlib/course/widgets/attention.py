"""Switch off what a block looks at, and read what the network then says.

No maths: changes are made by annlib.course.intervening, pictures by figures.
"""

from collections.abc import Mapping
from functools import partial

from torch import nn

from annlib.course.attention import attention_of
from annlib.course.controls.explorer import Explorer, choice, menu
from annlib.course.controls.shown import Piece
from annlib.course.figures.switching_off import Damages, say_answers_now, what_is_left
from annlib.course.intervening import WAYS, changed_attention
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
        measured = sorted({k for _, _, k in damages})
        controls = {
            "block": menu("block", blocks),
            "way": menu("switch off", WAYS),
            "k": choice("k", measured, measured[0]),
            "house": menu("asks", houses),
        }
        super().__init__(controls, self.draw)

    def draw(self, block: str, way: str, k: int, house: str) -> list[Piece]:
        """The picture and the sentences for one state of the controls."""
        path, query = self.blocks[block], query_on(self.scene, self.houses[house])
        with changed_attention(self.model, partial(WAYS[way], k=k), path):
            left = attention_of(self.model, self.scene.image)[path]
            labels = predict_labels(self.model, self.scene.image)
        shown = [
            what_is_left(self.scene, left, query, labels, path.partition(".")[0]),
            f"{block} without {k}, {way}: {say_answers_now(self.scene, labels)}",
        ]
        if (found := self.damages.get((path, way, k))) is not None:
            told = f"house accuracy {found.houses:.3f}, mIoU {found.miou:.3f}"
            shown.append(f"Over many scenes: {told}.")
        return shown
