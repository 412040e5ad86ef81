"""Widgets about training: a live run with pause and stop, and sliders of the schedule.

One thread does everything, including what the buttons ask for (`in_this_thread`). Between two steps
the kernel's event loop gets its turn, so messages of the browser arrive. A cell that needs the
outcome takes the steps that are left itself.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

import ipywidgets

from annlib.config import TrainConfig
from annlib.course.lesson import progress, say
from annlib.course.plots.style import FigureWithAlt
from annlib.course.plots.training import Validation, live, rates, say_live
from annlib.course.widgets.base import Explorer, choice, slider
from annlib.data.balloon_town.layout import Scene
from annlib.engine.optimization import Step


class LiveRun(Explorer):
    """Takes steps in the background until Pause; Stop and keep ends it for good."""

    def __init__(
        self,
        steps: Iterator[Step],
        total: int,
        every: int,
        validate: Callable[[int], Validation],
        scene: Scene,
        block: str,
    ) -> None:
        """every: steps between validations. validate: step -> scores, and labels of the scene."""
        self.steps, self.total, self.every, self.validate = steps, total, every, validate
        self.scene, self.block = scene, block
        self.history: list[tuple[int, float]] = []
        self.validations: list[Validation] = [validate(0)]
        self.stopped = self.ended = False
        self.task: asyncio.Task | None = None
        self.stop_button = ipywidgets.Button(description="Pause")
        self.go_button = ipywidgets.Button(description="Go on", disabled=True)
        self.keep_button = ipywidgets.Button(description="Stop and keep", button_style="danger")
        self.bar = ipywidgets.IntProgress(0, 0, total, layout={"width": "20em"})
        self.line = ipywidgets.HTML()
        buttons = [self.stop_button, self.go_button, self.keep_button, self.bar]
        row = ipywidgets.HBox(buttons, layout={"flex_flow": "row wrap"})
        super().__init__({}, self.draw, row, self.line)
        self.on_click(self.stop_button, self.stop)
        self.on_click(self.go_button, self.go_on)
        self.on_click(self.keep_button, self.keep)
        self.on_close.append(self.stop)

    @property
    def done(self) -> int:
        return self.history[-1][0] if self.history else 0

    def draw(self) -> list[FigureWithAlt]:
        """The present state as a figure; in words it stands once, on the line above it."""
        self.line.value = self.now()
        return [live(self.history, self.validations, self.total, self.scene, self.block)]

    def now(self) -> str:
        return say_live(self.history, self.validations, self.total)

    def start(self) -> "LiveRun":
        """Begins in the background; without an event loop `finish` does all of it."""
        if self.task is None or self.task.done():
            try:
                self.task = asyncio.get_running_loop().create_task(self.in_the_background())
            except RuntimeError:
                return self
        return self

    async def in_the_background(self) -> None:
        while not self.stopped and self.one_step():
            await asyncio.sleep(0.005)  # seconds for the browser's messages

    def one_step(self) -> bool:
        """Takes a step and shows it. False when there is none left, or it failed."""
        try:
            step = next(self.steps, None)
            if step is None:
                return False
            self.history.append((step.number, float(step.loss)))
            self.bar.value, self.line.value = step.number, self.now()
            if step.number % self.every == 0 or step.number == self.total:
                self.validations.append(self.validate(step.number))
                self.redraw()
        except Exception as error:
            self.show_error(error)
            self.stopped = True
            raise
        return step.number < self.total

    def stop(self) -> None:
        """After the step under way; the weights stay."""
        self.stopped = True
        self.stop_button.disabled, self.go_button.disabled = True, self.done >= self.total
        self.line.value = f"Paused after step {self.done}: the weights stay as they are."

    def go_on(self) -> None:
        """From where it was paused, as if it had not been."""
        if not self.ended:
            self.stopped = False
            self.stop_button.disabled, self.go_button.disabled = False, True
            self.start()

    def keep(self) -> None:
        """For good; the network keeps what it has learned."""
        self.stop()
        self.ended = self.go_button.disabled = self.keep_button.disabled = True
        self.steps = iter(())  # lets go of batches and optimizer
        self.line.value = (
            f"Stopped for good after step {self.done}. The network of this notebook keeps the "
            "weights of that step, in memory; nothing was written to the disk."
        )

    def finish(self) -> None:
        """Takes the steps that are left, unless it was paused or stopped; ■ pauses it."""
        try:
            left = self.total - self.done
            if not self.stopped and left:
                for _ in progress(self.remaining(), left, "steps"):
                    pass
        except KeyboardInterrupt:
            self.stop()
        say(self.now())

    def remaining(self) -> Generator[int, None, None]:
        going_on = True
        while going_on and not self.stopped and self.done < self.total:
            going_on = self.one_step()
            yield self.done


def recipe_sliders(config: TrainConfig) -> Explorer:
    """Change a recipe and see the learning rate of each of its steps."""

    def draw(base_lr: float, power: float, min_lr: float, warmup: int) -> FigureWithAlt:
        floor = min(min_lr, base_lr)
        return rates(replace(config, base_lr=base_lr, min_lr=floor, power=power, warmup=warmup))

    def named(*values: float) -> dict[str, float]:
        return {f"{one:g}": one for one in values}

    controls = {
        "base_lr": choice("base rate", named(1e-3, 3e-3, 6e-3, 1e-2, 2e-2), config.base_lr),
        "power": slider("power", config.power, last=4.0, step=0.1),
        "min_lr": choice("floor", named(0.0, 1e-4, 1e-3), config.min_lr),
        "warmup": slider("warm-up steps", config.warmup, 500, step=10),
    }
    return Explorer(controls, draw)
