"""Sliders for the features of one of six positions. No maths: that is in figures."""

from collections.abc import Sequence

from torch import Tensor, tensor

from annlib.course.controls.explorer import Explorer, choice, measure, menu
from annlib.course.figures.six_positions import say_position, six_positions
from annlib.course.plots import Picture

BOTH, ASKS, ANSWERS = "asks and answers", "asks only", "answers only"


class SixPositions(Explorer):
    """Three sliders are the features of the last position; two more controls say how they count.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, features: Tensor, channels: Sequence[str], names: Sequence[str]) -> None:
        """features: (C, N), those of all positions. channels: C names. names: N names."""
        self.features, self.names = features, list(names)
        own = features[:, -1].tolist()
        sliders = [
            measure(name, start, last=8.0, step=0.5)
            for name, start in zip(channels, own, strict=True)
        ]
        controls = {f"feature_{at}": one for at, one in enumerate(sliders)} | {
            "role": menu("sliders", (BOTH, ASKS, ANSWERS)),
            "factor": choice("scores x", (0.0, 0.25, 0.5, 1.0, 2.0, 4.0), 1.0),
        }
        super().__init__(controls, self.draw)

    def draw(
        self, feature_0: float, feature_1: float, feature_2: float, role: str, factor: float
    ) -> tuple[Picture, str]:
        """The matrix and the sentence for one state of the controls."""
        query, key = self.features.clone(), self.features.clone()
        chosen = tensor([feature_0, feature_1, feature_2])
        if role != ANSWERS:
            query[:, -1] = chosen
        if role != ASKS:
            key[:, -1] = chosen
        said = say_position(query, key, self.names, factor, at=len(self.names) - 1)
        return six_positions(query, key, self.names, factor), said
