"""Widgets about training, and about many runs: their results, intervals, pairs, and power."""

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from statistics import stdev

import ipywidgets

from annlib.config import TrainConfig
from annlib.course.lesson import progress, say
from annlib.course.plots import training as plots
from annlib.course.plots.style import FigureWithAlt
from annlib.course.statistics import OPEN, REFUTED, SUPPORTED, half_width, pretend, verdict
from annlib.course.sweeping import SEED, Grid, Outcome, show
from annlib.course.training import Trial
from annlib.course.widgets.base import Explorer, Piece, choice, html_table, menu, slider
from annlib.data.balloon_town.layout import Scene


class LiveRun(Explorer):
    """Takes steps in the background until Pause; Stop and keep ends it for good."""

    def __init__(
        self, steps: Iterator, total: int, every: int, validate: Callable, scene: Scene, block: str
    ) -> None:
        """every: steps between validations. validate: number of a step -> its Validation."""
        self.steps, self.total, self.every, self.validate = steps, total, every, validate
        self.scene, self.block = scene, block
        self.history: list[tuple[int, float]] = []
        self.validations: list[plots.Validation] = [validate(0)]
        self.stopped = self.ended = False
        self.task: asyncio.Task | None = None
        self.stop_button = ipywidgets.Button(description="Pause")
        self.go_button = ipywidgets.Button(description="Go on", disabled=True)
        self.keep_button = ipywidgets.Button(description="Stop and keep", button_style="danger")
        self.bar = ipywidgets.IntProgress(0, 0, total, layout={"width": "20em"})
        self.line = ipywidgets.HTML()
        buttons = [self.stop_button, self.go_button, self.keep_button, self.bar]
        row = ipywidgets.HBox(buttons, layout={"flex_flow": "row wrap"})
        super().__init__(self.draw, rows=[row, self.line])
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
        return [plots.live(self.history, self.validations, self.total, self.scene, self.block)]

    def now(self) -> str:
        return plots.say_live(self.history, self.validations, self.total)

    def start(self) -> "LiveRun":
        """Begins in the background; without an event loop `finish` does all of it."""
        if self.task is None or self.task.done():
            with suppress(RuntimeError):
                self.task = asyncio.get_running_loop().create_task(self.in_the_background())
        return self

    async def in_the_background(self) -> None:
        while not self.stopped and self.one_step():
            await asyncio.sleep(0.005)  # seconds for the browser's messages

    def one_step(self) -> bool:
        """Takes a step and shows it. False when there is none left, or it failed."""
        try:
            if (step := next(self.steps, None)) is None:
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
            if not self.stopped and (left := self.total - self.done):
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
        rate = {"base_lr": base_lr, "min_lr": min(min_lr, base_lr), "power": power}
        return plots.rates(replace(config, **rate, warmup=warmup))

    base = choice("base rate", (1e-3, 3e-3, 6e-3, 1e-2, 2e-2), config.base_lr)
    floor = choice("floor", {"0": 0.0, "0.0001": 1e-4, "0.001": 1e-3}, config.min_lr)
    power = slider("power", config.power, last=4.0, step=0.1)
    return Explorer(draw, base, power, floor, slider("warm-up steps", config.warmup, 500, step=10))


LEVELS = {"80 %": 0.8, "90 %": 0.9, "95 %": 0.95, "99 %": 0.99}


def interval_sliders(scores: Mapping[str, Sequence[float]]) -> Explorer:
    """Choose a head with two or more scores, runs and level; see how narrow the interval gets."""
    deviations = {head: stdev(values) for head, values in scores.items()}

    def draw(head: str, n: int, level: float) -> tuple[FigureWithAlt, str]:
        sd = deviations[head]
        return plots.interval_widths(sd, n, head, level), (
            f"{n} runs of {head} (s = {sd:.3f}): the mean is known to ± "
            f"{half_width(sd, n, level):.3f} at {level:.0%}."
        )

    head = menu("head", [(f"{head}: s = {s:.3f}", head) for head, s in deviations.items()])
    return Explorer(draw, head, slider("runs", 5, 40, first=2), menu("level", LEVELS.items(), 0.95))


ALL = "all"


class ResultsTable(Explorer):
    """Every run of a grid, with a menu for each parameter; `add` the outcome of one that ended."""

    def __init__(self, grid: Grid, number: str) -> None:
        """number: which of the results is shown ("house_accuracy")"""
        self.grid, self.number = grid, number
        self.outcomes: dict[int, Outcome] = {}
        values = {n: [show(one.parameters[n]) for one in grid.combinations] for n in grid.varied}
        menus = [menu(name, [ALL, *dict.fromkeys(found)]) for name, found in values.items()]
        super().__init__(self.draw, *menus)

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.number] = outcome
        self.redraw()

    def draw(self, *chosen: str) -> list[Piece]:
        lines, groups = [], {}  # groups: of the ended runs that differ in their seed alone
        for one in self.grid.combinations:
            values = {name: show(one.parameters[name]) for name in self.grid.varied}
            if any(v not in (ALL, own) for v, own in zip(chosen, values.values(), strict=True)):
                continue
            told = ["", "", "waiting"]
            if outcome := self.outcomes.get(one.number):
                found = outcome.result.get(self.number)
                state = f"✗ failed: {outcome.reason}" if outcome.failed else "✓ finished"
                told = ["" if found is None else f"{found:.3f}", f"{outcome.seconds:.0f}", state]
                group = "  ".join(text for name, text in values.items() if name != SEED) or "all"
                groups.setdefault(group, []).append(found)
            lines.append([*values.values(), *told])
        if not lines:
            return ["No run of the grid has all of these values: set a menu back to `all`."]
        head = (*self.grid.varied, self.number, "seconds", "state")
        shown: list[Piece] = [html_table(head, lines)]
        if groups:
            heads = [name.partition(" ")[0] for name in groups]
            shown.append(plots.dots(groups, self.number.replace("_", " "), heads))
        ended, num_runs = sum(map(len, groups.values())), len(self.grid.combinations)
        return [*shown, f"{ended} of {len(lines)} runs have ended; {num_runs} in all."]


def paired_runs(trials: Sequence[Trial]) -> Explorer:
    """Choose metric, control, treatment and the smallest effect that counts."""
    arms = list({trial.arm: None for trial in trials})
    if len(arms) < 2:
        raise ValueError(f"{len(arms)} kind of runs: a comparison needs a treatment and a control.")

    def found(arm: str, metric: str) -> Mapping[int, float]:
        """seed -> value"""
        return {t.seed: t.found[metric] for t in trials if t.arm == arm and metric in t.found}

    def draw(metric: str, control: str, treatment: str, smallest: float) -> Iterable[Piece]:
        if control == treatment:
            return ("Treatment and control are the same: choose two.",)
        before, after = found(control, metric), found(treatment, metric)
        both = [seed for seed in before if seed in after]
        ahead = sum(after[seed] > before[seed] for seed in both)
        decided = verdict([after[seed] - before[seed] for seed in both], smallest)
        return plots.paired((control, before), (treatment, after), metric, smallest), (
            f"{metric}: {treatment} is higher than {control} in {ahead} of {len(both)} seeds. "
            f"Higher by at least {smallest:g}: {decided}."
        )

    metric = menu("metric", {name: None for trial in trials for name in trial.found})
    smallest = choice("effect", (-0.05, -0.02, 0.0, 0.01, 0.02, 0.05, 0.1), 0.02)
    return Explorer(draw, metric, menu("control", arms), menu("treatment", arms, arms[1]), smallest)


def study_power() -> Explorer:
    """Four sliders, and what a thousand studies of this kind would decide."""

    def draw(num_seeds: int, effect: float, spread: float, smallest: float) -> Iterable[Piece]:
        studies = pretend(num_seeds, effect, spread, smallest)
        right, wrong = (SUPPORTED, REFUTED) if effect >= smallest else (REFUTED, SUPPORTED)
        return plots.study_intervals(studies, effect), (
            f"{num_seeds} seeds, true effect {effect:g}, spread {spread:g}, smallest effect "
            f"{smallest:g}. The correct decision is: {right}. Of 100 such studies "
            f"{100 * studies.share(right):.0f} reach it, {100 * studies.share(OPEN):.0f} cannot "
            f"tell, {100 * studies.share(wrong):.0f} decide the opposite."
        )

    seeds = choice("seeds", (2, 3, 4, 5, 7, 10, 20, 40), 3)
    effect = choice("true effect", (-0.1, -0.05, 0.0, 0.02, 0.05, 0.1, 0.2, 0.3), 0.1)
    spread = choice("spread", (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3), 0.1)
    smallest = choice("smallest effect", (-0.05, 0.0, 0.01, 0.02, 0.05, 0.1), 0.05)
    return Explorer(draw, seeds, effect, spread, smallest)
