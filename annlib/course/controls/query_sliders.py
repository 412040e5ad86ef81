"""The attention explorer with sliders, for where anywidget is missing."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from annlib.course.controls.explorer import Explorer, LevelBoxes, menu, slider
from annlib.course.figures.views import view_picture
from annlib.course.plots import Picture
from annlib.course.views import Subject, Views


class QuerySliders(Explorer):
    """Menus for picture, network and block; two sliders place the pixel that asks.

    Keyboard: Tab to a control, then the arrow keys. State is also told as a sentence.
    """

    def __init__(
        self,
        subjects: Mapping[str, Subject],
        look: Callable[[np.ndarray], Views],
        xy: tuple[int, int],
        levels: Sequence[int] | None = None,
    ) -> None:
        """As AttentionExplorer takes them."""
        self.subjects = subjects
        self.views = {name: look(one.image) for name, one in subjects.items()}
        found = [
            (network, block, view)
            for networks in self.views.values()
            for network, blocks in networks.items()
            for block, view in blocks.items()
        ]
        height, width = next(iter(subjects.values())).image.shape[:2]
        scales = sorted({s for _, _, view in found for s in view.projections.pool_scales or ()})
        controls = {
            "picture": menu("picture", subjects),
            "network": menu("network", {network: None for network, _, _ in found}),
            "block": menu("block", {block: None for _, block, _ in found}),
            "y": slider("row", xy[1], height - 1),
            "x": slider("column", xy[0], width - 1),
        }
        if scales:
            controls["levels"] = LevelBoxes(tuple(scales), tuple(levels or scales))
        super().__init__(controls, self.draw)

    def draw(
        self,
        picture: str,
        network: str,
        block: str,
        y: int,
        x: int,
        levels: tuple[int, ...] = (),
    ) -> Sequence[Picture | str]:
        """The picture and the sentence for one state of the controls."""
        subject, blocks = self.subjects[picture], self.views[picture][network]
        if block not in blocks:
            return [f"{network} has no {block}; it has {', '.join(blocks)}. Choose that block."]
        title = f"{block}, {network}"
        shown, words = view_picture(subject, blocks[block], y, x, levels, 1.0, title)
        return [words] if shown is None else [shown, words]
