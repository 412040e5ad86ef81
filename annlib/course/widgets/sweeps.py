"""Widgets about many runs: intervals, results table, dashboard, seeds.

No maths: decisions are made by annlib.course.capstone, pictures by figures.

No maths: studies are pretended by annlib.course.capstone, pictures are made by figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from statistics import stdev

import ipywidgets
from IPython.display import HTML

from annlib.course.plots.scenes import Picture
from annlib.course.plots.statistics import dots, narrowing, paired, studies_picture
from annlib.course.statistics import OPEN, REFUTED, SUPPORTED, half_width, pretend, verdict
from annlib.course.sweeping.grid import SEED, Combination, Grid, show
from annlib.course.sweeping.run import Outcome
from annlib.course.training import Trial
from annlib.course.widgets.base import Explorer, Piece, Shown, choice, in_this_thread, menu, slider

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


ALL = "all"


class ResultsTable(Shown):
    """Every run of a grid: waiting, finished or failed; menus for one parameter each.

    Keyboard: Tab to a menu, then the arrow keys. The same is told as a table and as a picture.
    """

    def __init__(self, grid: Grid, number: str) -> None:
        super().__init__()
        self.grid, self.number = grid, number
        self.outcomes: dict[int, Outcome] = {}
        self.menus = {name: self.menu(name) for name in grid.varied}
        redraw = in_this_thread(self.redraw)
        for one in self.menus.values():
            one.observe(redraw, "value")
        self.place(*self.menus.values())
        self.redraw()

    def menu(self, name: str) -> ipywidgets.Dropdown:
        """All values of one parameter, and `all`."""
        values = [show(one.parameters[name]) for one in self.grid.combinations]
        return menu(name, [ALL, *dict.fromkeys(values)])

    def add(self, outcome: Outcome) -> None:
        """A run has ended: the table shows it."""
        self.outcomes[outcome.number] = outcome
        self.redraw()

    def redraw(self, change: object = None) -> None:
        self.refresh(self.draw)

    def is_chosen(self, one: Combination) -> bool:
        """Whether every menu says `all`, or the value of this run."""
        return all(
            chosen.value in (ALL, show(one.parameters[name])) for name, chosen in self.menus.items()
        )

    def draw(self) -> list[Piece]:
        """The part of the table that the menus choose."""
        rows = [one for one in self.grid.combinations if self.is_chosen(one)]
        if not rows:
            return ["No run of the grid has all of these values: set a menu back to `all`."]
        shown: list[Piece] = [HTML(self.html(rows))]
        groups = self.groups(rows)
        if groups:
            heads = [name.partition(" ")[0] for name in groups]
            shown.append(dots(groups, self.number.replace("_", " "), heads))
        ended_here = sum(one.number in self.outcomes for one in rows)
        num_runs = len(self.grid.combinations)
        return [*shown, f"{ended_here} of {len(rows)} runs have ended; {num_runs} in all."]

    def html(self, rows: list[Combination]) -> str:
        """One line a run."""
        head = "".join(
            f'<th scope="col">{escape(name)}</th>'
            for name in (*self.grid.varied, self.number, "seconds", "state")
        )
        lines = "".join(f"<tr>{self.cells(one)}</tr>" for one in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"

    def cells(self, one: Combination) -> str:
        outcome = self.outcomes.get(one.number)
        told = ["", "", "waiting"]
        if outcome:
            found = outcome.result.get(self.number)
            state = f"✗ failed: {outcome.reason}" if outcome.failed else "✓ finished"
            told = ["" if found is None else f"{found:.3f}", f"{outcome.seconds:.0f}", state]
        values = [show(one.parameters[name]) for name in self.grid.varied]
        return "".join(f"<td>{escape(text)}</td>" for text in (*values, *told))

    def groups(self, rows: list[Combination]) -> dict[str, list[float | None]]:
        """The number of the ended runs, by all that they have in common but the seed."""
        found: dict[str, list[float | None]] = {}
        for one in rows:
            if outcome := self.outcomes.get(one.number):
                names = [name for name in self.grid.varied if name != SEED]
                group = "  ".join(show(one.parameters[name]) for name in names) or "all"
                found.setdefault(group, []).append(outcome.result.get(self.number))
        return found


def results_table(grid: Grid, number: str) -> ResultsTable:
    """An empty table of a grid's runs; `add` an outcome when a run has ended.

    number: which of the results is shown ("house_accuracy").
    """
    return ResultsTable(grid, number)


class RunsDashboard(Explorer):
    """Menus for metric, control and treatment; a slider for the smallest effect that counts.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials = trials
        arms = {trial.arm: None for trial in trials}
        metrics = {name: None for trial in trials for name in trial.found}
        if len(arms) < 2:
            raise ValueError(f"{len(arms)} arm: a comparison needs a treatment and a control.")
        controls = {
            "metric": menu("metric", metrics),
            "control": menu("control", arms),
            "treatment": menu("treatment", arms, list(arms)[1]),
            "smallest": choice("effect", (-0.05, -0.02, 0.0, 0.01, 0.02, 0.05, 0.1), 0.02),
        }
        super().__init__(controls, self.draw)

    def found(self, arm: str, metric: str) -> Mapping[int, float]:
        """seed -> value, of the runs of one arm"""
        return {t.seed: t.found[metric] for t in self.trials if t.arm == arm and metric in t.found}

    def draw(self, metric: str, control: str, treatment: str, smallest: float) -> Iterable[Piece]:
        """The picture and the sentence for one state of the controls."""
        before, after = self.found(control, metric), self.found(treatment, metric)
        if control == treatment:
            return ("Treatment and control are the same arm: choose two.",)
        both = [seed for seed in before if seed in after]
        ahead = sum(after[seed] > before[seed] for seed in both)
        decided = verdict([after[seed] - before[seed] for seed in both], smallest)
        return paired((control, before), (treatment, after), metric, smallest), (
            f"{metric}: {treatment} is higher than {control} in {ahead} of {len(both)} seeds. "
            f"Higher by at least {smallest:g}: {decided}."
        )


class SeedsExplorer(Explorer):
    """Four sliders; below, what a thousand studies of this kind would decide.

    Keyboard: Tab to a slider, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self) -> None:
        controls = {
            "num_seeds": choice("seeds", (2, 3, 4, 5, 7, 10, 20, 40), 3),
            "effect": choice("true effect", (-0.1, -0.05, 0.0, 0.02, 0.05, 0.1, 0.2, 0.3), 0.1),
            "spread": choice("spread", (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3), 0.1),
            "smallest": choice("smallest effect", (-0.05, 0.0, 0.01, 0.02, 0.05, 0.1), 0.05),
        }
        super().__init__(controls, self.draw)

    def draw(
        self, num_seeds: int, effect: float, spread: float, smallest: float
    ) -> tuple[Picture, str]:
        """The picture and the sentences for one state of the controls."""
        studies = pretend(num_seeds, effect, spread, smallest)
        right, wrong = (SUPPORTED, REFUTED) if effect >= smallest else (REFUTED, SUPPORTED)
        return studies_picture(studies, effect), (
            f"{num_seeds} seeds, true effect {effect:g}, spread {spread:g}, smallest effect "
            f"{smallest:g}. Right would be: {right}. Of 100 such studies "
            f"{100 * studies.share(right):.0f} say so, {100 * studies.share(OPEN):.0f} cannot "
            f"tell, {100 * studies.share(wrong):.0f} say the opposite."
        )
