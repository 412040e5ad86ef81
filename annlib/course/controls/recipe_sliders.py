"""Sliders of a recipe, and the learning rates that follow from it."""

from annlib.config import TrainConfig
from annlib.course.controls.explorer import Explorer, choice, measure, slider
from annlib.course.figures.training import rates, say_rates
from annlib.course.plots import Picture

BASE_RATES = (1e-3, 3e-3, 6e-3, 1e-2, 2e-2)
FLOORS = (0.0, 1e-4, 1e-3)


class RecipeSliders(Explorer):
    """Base rate, power, floor and warm-up of a run of 1000 steps.

    Keyboard: Tab to a control, then the arrow keys. The state is told in words, too.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        controls = {
            "base_lr": choice("base rate", named(BASE_RATES), config.base_lr),
            "power": measure("power", config.power, last=4.0, step=0.1),
            "min_lr": choice("floor", named(FLOORS), config.min_lr),
            "warmup": slider("warm-up steps", config.warmup, 500, step=10),
        }
        super().__init__(controls, self.draw)

    def draw(self, base_lr: float, power: float, min_lr: float, warmup: int) -> tuple[Picture, str]:
        """The curve and the sentence for one state of the controls."""
        config = TrainConfig(
            self.config.iterations, base_lr, min(min_lr, base_lr), power, warmup=warmup
        )
        return rates(config), say_rates(config)


def named(values: tuple[float, ...]) -> dict[str, float]:
    return {f"{one:g}": one for one in values}


def recipe_sliders(config: TrainConfig) -> RecipeSliders:
    """Change a recipe and see the learning rate of each of its steps."""
    return RecipeSliders(config)
