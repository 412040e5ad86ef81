"""How many runs for how narrow an interval: a menu of heads, a slider for the number of runs."""

from collections.abc import Mapping, Sequence
from statistics import stdev

from annlib.course.controls.explorer import Explorer, menu, slider
from annlib.course.figures.spread import narrowing
from annlib.course.intervals import half_width
from annlib.course.plots import Picture

LEVELS = {"80 %": 0.8, "90 %": 0.9, "95 %": 0.95, "99 %": 0.99}


class IntervalSliders(Explorer):
    """The width of an interval for any number of runs that deviate as those of a head do.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, scores: Mapping[str, Sequence[float]]) -> None:
        """scores: head -> what its runs reached, two or more"""
        self.deviations = {head: stdev(values) for head, values in scores.items()}
        heads = [(f"{head}: s = {s:.3f}", head) for head, s in self.deviations.items()]
        controls = {
            "head": menu("head", heads),
            "n": slider("runs", 5, 40, first=2),
            "level": menu("level", LEVELS.items(), 0.95),
        }
        super().__init__(controls, self.draw)

    def draw(self, head: str, n: int, level: float) -> tuple[Picture, str]:
        """The picture and the sentence for one state of the controls."""
        sd = self.deviations[head]
        return narrowing(sd, n, head, level), (
            f"{n} runs of {head} (s = {sd:.3f}): the mean is known to ± "
            f"{half_width(sd, n, level):.3f} at {level:.0%}."
        )


def interval_sliders(scores: Mapping[str, Sequence[float]]) -> IntervalSliders:
    """Choose a head, a number of runs and a level; see how narrow the interval gets."""
    return IntervalSliders(scores)
