"""A picture, a version of the network, a block and a pixel: what is looked at, in light and words.

No maths: attention is found by the functions that are handed in, pictures are made by plots.
"""

from collections.abc import Callable, Mapping

import ipywidgets
import numpy as np
from IPython.display import display

from annlib.course import plots
from annlib.course.attention import Attention
from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.controls.query_sliders import slider
from annlib.course.lines import say
from annlib.course.matching import query_on
from annlib.course.wording import say_choice
from annlib.data.scenes import Scene

Look = Callable[[np.ndarray], Mapping[str, Attention]]  # picture -> what each block does with it


class AttentionExplorer(Explorer):
    """Menus for picture, network and block; sliders place the pixel that asks.

    Keyboard: Tab to a menu or slider, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(
        self, scenes: Mapping[str, Scene], networks: Mapping[str, Look], blocks: Mapping[str, str]
    ) -> None:
        """blocks: name in the menu -> path of the block, "afnb.attention" for example."""
        self.scenes, self.networks, self.blocks = scenes, networks, blocks
        self.found: dict[tuple[str, str], Mapping[str, Attention]] = {}
        first = next(iter(scenes.values()))
        height, width = first.labels.shape
        y, x = query_on(first, first.houses[0])
        controls = {
            "picture": menu("picture", scenes),
            "network": menu("network", networks),
            "block": menu("block", blocks),
            "y": slider("row", y, height - 1),
            "x": slider("column", x, width - 1),
        }
        super().__init__(controls, self.draw)

    def draw(self, picture: str, network: str, block: str, y: int, x: int) -> None:
        """The picture and the sentence for one state of the controls."""
        scene, path = self.scenes[picture], self.blocks[block]
        if (picture, network) not in self.found:
            self.found[picture, network] = self.networks[network](scene.image)
        attention = self.found[picture, network][path]
        title = f"{block}, {network}"
        display(plots.attention(scene.image, attention, y, x, title, path.partition(".")[0]))
        say(say_choice(attention, scene.labels, y, x))


def menu(name: str, choices: Mapping[str, object]) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(options=list(choices), description=name, layout=LONG)
