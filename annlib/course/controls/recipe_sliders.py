"""Sliders of a recipe, and the learning rates that follow from it."""

import ipywidgets
from IPython.display import display

from annlib.config import TrainConfig
from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.training import rates, say_rates
from annlib.course.lines import say

BASE_RATES = (1e-3, 3e-3, 6e-3, 1e-2, 2e-2)
FLOORS = (0.0, 1e-4, 1e-3)


class RecipeSliders(Explorer):
    """Base rate, power, floor and warm-up of a run of 1000 steps.

    Keyboard: Tab to a control, then the arrow keys. The state is told in words, too.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        controls = {
            "base_lr": choice("base rate", BASE_RATES, config.base_lr),
            "power": ipywidgets.FloatSlider(
                config.power, min=0, max=4, step=0.1, description="power", layout=LONG
            ),
            "min_lr": choice("floor", FLOORS, config.min_lr),
            "warmup": ipywidgets.IntSlider(
                config.warmup, 0, 500, 10, description="warm-up steps", layout=LONG
            ),
        }
        for control in controls.values():
            control.continuous_update = False
            control.style.description_width = "7em"
        super().__init__(controls, self.draw)

    def draw(self, base_lr: float, power: float, min_lr: float, warmup: int) -> None:
        """The curve and the sentence for one state of the controls."""
        config = TrainConfig(
            self.config.iterations, base_lr, min(min_lr, base_lr), power, warmup=warmup
        )
        display(rates(config))
        say(say_rates(config))


def choice(name: str, values: tuple[float, ...], value: float) -> ipywidgets.SelectionSlider:
    options = [(f"{one:g}", one) for one in values]
    return ipywidgets.SelectionSlider(options=options, value=value, description=name, layout=LONG)


def recipe_sliders(config: TrainConfig) -> RecipeSliders:
    """Change a recipe and see the learning rate of each of its steps."""
    return RecipeSliders(config)
