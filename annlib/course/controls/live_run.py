"""A training that goes on while the notebook stays alive, with a Stop button.

One thread does everything. Between two steps the kernel's event loop gets its turn, so messages of
the browser arrive; a cell that needs the outcome takes the steps that are left itself.
"""

import asyncio
from collections.abc import Callable, Generator, Iterator, Sequence

import ipywidgets

from annlib.course.controls.keys import guarded
from annlib.course.figures.training import Look
from annlib.course.lines import say
from annlib.course.plots import Picture
from annlib.course.progress import progress
from annlib.engine.train import Step

History = Sequence[tuple[int, float]]
Drawing = Callable[[History, Sequence[Look]], Picture]
BREATH = 0.005  # seconds for the browser's messages between two steps


class LiveRun(ipywidgets.VBox):
    """Steps are taken in the background until Stop; the weights stay as the last step left them.

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
        self.stopped = False
        self.task: asyncio.Task | None = None
        self.make_controls()
        self.show()

    def make_controls(self) -> None:
        """Two buttons, a bar, a line of words, and room for the picture."""
        self.stop_button = ipywidgets.Button(description="Stop", button_style="danger")
        self.go_button = ipywidgets.Button(description="Go on", disabled=True)
        self.stop_button.on_click(self.stop)
        self.go_button.on_click(self.go_on)
        self.bar = ipywidgets.IntProgress(0, 0, self.total, layout={"width": "20em"})
        self.words = ipywidgets.HTML()
        self.output = ipywidgets.Output()
        buttons = ipywidgets.HBox([self.stop_button, self.go_button, self.bar])
        self.children = [buttons, self.words, self.output, guarded(self)]

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
            if step.number % self.every == 0 or step.number == self.total:
                self.looks.append(self.look(step.number))
                self.show()
        except Exception as error:
            self.failed(error)
            raise
        return step.number < self.total

    def show(self) -> None:
        """Puts the present state into the widget: set, not displayed, so any cell may run."""
        data, metadata = self.draw(self.history, self.looks)._repr_mimebundle_()
        shown = {"output_type": "display_data", "data": data, "metadata": metadata}
        self.output.outputs = (shown,)
        self.words.value = self.say(self.history, self.looks)

    def failed(self, error: Exception) -> None:
        """Shows an error where learners, and the widget gate, find it."""
        name, text = type(error).__name__, str(error)
        shown = {"output_type": "error", "ename": name, "evalue": text, "traceback": [text]}
        self.output.outputs = (shown,)
        self.stopped = True

    def stop(self, button: ipywidgets.Button | None = None) -> None:
        """After the step under way; the weights stay."""
        self.stopped = True
        self.stop_button.disabled, self.go_button.disabled = True, self.done >= self.total
        self.words.value = f"Stopped after step {self.done}: the weights stay as they are."

    def go_on(self, button: ipywidgets.Button | None = None) -> None:
        """From where it was stopped, as if it had not been."""
        self.stopped = False
        self.stop_button.disabled, self.go_button.disabled = False, True
        self.start()

    def finish(self) -> None:
        """Takes the steps that are left, unless the run was stopped. Interrupting it stops it."""
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
        self.stopped = True
        for button in (self.stop_button, self.go_button):
            button.unobserve_all()
        for child in self.children:
            child.close()
        super().close()
