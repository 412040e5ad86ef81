"""How many runs for how narrow an interval: a menu of heads, a slider for the number of runs."""

from collections.abc import Mapping, Sequence
from statistics import stdev

import ipywidgets
from IPython.display import display

from annlib.course.controls.keys import guarded
from annlib.course.figures.spread import narrowing
from annlib.course.intervals import half_width

LONG = {"width": "36em"}
LEVELS = {"80 %": 0.8, "90 %": 0.9, "95 %": 0.95, "99 %": 0.99}


class IntervalSliders(ipywidgets.VBox):
    """The width of an interval for any number of runs that deviate as those of a head do.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, scores: Mapping[str, Sequence[float]]) -> None:
        """scores: head -> what its runs reached, two or more"""
        super().__init__()
        self.deviations = {head: stdev(values) for head, values in scores.items()}
        heads = [(f"{head}: s = {s:.3f}", head) for head, s in self.deviations.items()]
        self.controls = {
            "head": ipywidgets.Dropdown(options=heads, description="head", layout=LONG),
            "n": ipywidgets.IntSlider(
                5, 2, 40, description="runs", continuous_update=False, layout=LONG
            ),
            "level": ipywidgets.Dropdown(
                options=list(LEVELS.items()), value=0.95, description="level", layout=LONG
            ),
        }
        # interactive_output shows errors of `draw` in the widget, where the widget gate finds them
        self.output = ipywidgets.interactive_output(self.draw, self.controls)
        self.children = [ipywidgets.VBox(list(self.controls.values())), self.output, guarded(self)]

    def draw(self, head: str, n: int, level: float) -> None:
        """The picture and the sentence for one state of the controls."""
        sd = self.deviations[head]
        display(narrowing(sd, n, head, level))
        print(
            f"{n} runs of {head} (s = {sd:.3f}): the mean is known to ± "
            f"{half_width(sd, n, level):.3f} at {level:.0%}."
        )

    def close(self) -> None:
        """Removes the widget and everything that listens to its controls."""
        for control in self.controls.values():
            control.unobserve_all()
            control.close()
        for child in self.children:
            child.close()
        super().close()


def interval_sliders(scores: Mapping[str, Sequence[float]]) -> IntervalSliders:
    """Choose a head, a number of runs and a level; see how narrow the interval gets."""
    return IntervalSliders(scores)
