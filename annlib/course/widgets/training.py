"""Widgets about training: a live run with pause and stop, and sliders of the schedule.

One thread does everything, what the buttons ask for included (`in_this_thread`). Between two steps
the kernel's event loop gets its turn, so messages of the browser arrive; a cell that needs the
outcome takes the steps that are left itself.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence

import ipywidgets

from annlib.config import TrainConfig
from annlib.course.lesson import progress, say
from annlib.course.plots.scenes import Picture
from annlib.course.plots.training import Look, rates, say_rates
from annlib.course.widgets.base import Explorer, Shown, choice, measure, slider
from annlib.engine.train import Step

History = Sequence[tuple[int, float]]
Drawing = Callable[[History, Sequence[Look]], Picture]
BREATH = 0.005  # seconds for the browser's messages between two steps


class LiveRun(Shown):
    """Steps are taken in the background until Pause; the weights stay as the last step left them.

    Stop and keep ends it for good.

    Keyboard: Tab to the buttons, then Space. The state is told in words, too.
    """

    def __init__(
        self,
        steps: Iterator[Step],
        total: int,
        every: int,
        look: Callable[[int], Look],
        draw: Drawing,
        say: Callable[[History, Sequence[Look]], str],
    ) -> None:
        """every: steps between two looks. look: step -> scores. draw and say: what is shown."""
        super().__init__()
        self.steps, self.total, self.every = steps, total, every
        self.look, self.draw, self.say = look, draw, say
        self.history: list[tuple[int, float]] = []
        self.looks: list[Look] = [look(0)]
        self.stopped = self.ended = False
        self.task: asyncio.Task | None = None
        self.make_controls()
        self.show_now()

    def make_controls(self) -> None:
        """Three buttons, a bar, a line of words, and room for the picture."""
        self.stop_button = ipywidgets.Button(description="Pause")
        self.go_button = ipywidgets.Button(description="Go on", disabled=True)
        self.keep_button = ipywidgets.Button(description="Stop and keep", button_style="danger")
        self.on_click(self.stop_button, self.stop)
        self.on_click(self.go_button, self.go_on)
        self.on_click(self.keep_button, self.keep)
        self.bar = ipywidgets.IntProgress(0, 0, self.total, layout={"width": "20em"})
        self.line = ipywidgets.HTML()
        buttons = [self.stop_button, self.go_button, self.keep_button, self.bar]
        self.place(ipywidgets.HBox(buttons, layout={"flex_flow": "row wrap"}), self.line)

    @property
    def done(self) -> int:
        return self.history[-1][0] if self.history else 0

    def start(self) -> "LiveRun":
        """Begins in the background; without an event loop `finish` does all of it."""
        if self.task is not None and not self.task.done():
            return self
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return self
        self.task = loop.create_task(self.in_the_background())
        return self

    async def in_the_background(self) -> None:
        while not self.stopped and self.one_step():
            await asyncio.sleep(BREATH)

    def one_step(self) -> bool:
        """Takes a step and shows it. False when there is none left, or it failed."""
        try:
            step = next(self.steps, None)
            if step is None:
                return False
            self.history.append((step.number, float(step.loss)))
            self.bar.value = step.number
            self.line.value = self.say(self.history, self.looks)
            if step.number % self.every == 0 or step.number == self.total:
                self.looks.append(self.look(step.number))
                self.show_now()
        except Exception as error:
            self.failed(error)
            raise
        return step.number < self.total

    def show_now(self) -> None:
        """The present state: as a picture, and once in words, on the line above it."""
        self.show([self.draw(self.history, self.looks)])
        self.line.value = self.say(self.history, self.looks)

    def failed(self, error: Exception) -> None:
        """Shows an error where learners, and the widget gate, find it."""
        self.show_error(error)
        self.stopped = True

    def stop(self, button: ipywidgets.Button | None = None) -> None:
        """After the step under way; the weights stay."""
        self.stopped = True
        self.stop_button.disabled, self.go_button.disabled = True, self.done >= self.total
        self.line.value = f"Paused after step {self.done}: the weights stay as they are."

    def go_on(self, button: ipywidgets.Button | None = None) -> None:
        """From where it was paused, as if it had not been."""
        if self.ended:
            return
        self.stopped = False
        self.stop_button.disabled, self.go_button.disabled = False, True
        self.start()

    def keep(self, button: ipywidgets.Button | None = None) -> None:
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
        say(self.say(self.history, self.looks))

    def remaining(self) -> Generator[int, None, None]:
        going_on = True
        while going_on and not self.stopped and self.done < self.total:
            going_on = self.one_step()
            yield self.done

    def close(self) -> None:
        """Removes the widget; the run ends with it."""
        self.stopped = self.ended = True
        super().close()


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
