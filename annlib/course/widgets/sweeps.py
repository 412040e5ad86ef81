"""Widgets about many runs: intervals, results of a sweep, paired runs, power of a study."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import stdev

from annlib.course.plots.statistics import dots, interval_widths, paired, study_intervals
from annlib.course.plots.style import FigureWithAlt
from annlib.course.statistics import OPEN, REFUTED, SUPPORTED, half_width, pretend, verdict
from annlib.course.sweeping.grid import SEED, Grid, show
from annlib.course.sweeping.run import Outcome
from annlib.course.training import Trial
from annlib.course.widgets.base import Explorer, Piece, choice, html_table, menu, slider

LEVELS = {"80 %": 0.8, "90 %": 0.9, "95 %": 0.95, "99 %": 0.99}


def interval_sliders(scores: Mapping[str, Sequence[float]]) -> Explorer:
    """Choose a head with two or more scores, runs and level; see how narrow the interval gets."""
    deviations = {head: stdev(values) for head, values in scores.items()}

    def draw(head: str, n: int, level: float) -> tuple[FigureWithAlt, str]:
        sd = deviations[head]
        return interval_widths(sd, n, head, level), (
            f"{n} runs of {head} (s = {sd:.3f}): the mean is known to ± "
            f"{half_width(sd, n, level):.3f} at {level:.0%}."
        )

    controls = {
        "head": menu("head", [(f"{head}: s = {s:.3f}", head) for head, s in deviations.items()]),
        "n": slider("runs", 5, 40, first=2),
        "level": menu("level", LEVELS.items(), 0.95),
    }
    return Explorer(controls, draw)


ALL = "all"


class ResultsTable(Explorer):
    """Every run of a grid, with a menu for each parameter; `add` the outcome of one that ended."""

    def __init__(self, grid: Grid, number: str) -> None:
        """number: which of the results is shown ("house_accuracy")"""
        self.grid, self.number = grid, number
        self.outcomes: dict[int, Outcome] = {}
        controls = {}
        for name in grid.varied:
            values = [show(one.parameters[name]) for one in grid.combinations]
            controls[name] = menu(name, [ALL, *dict.fromkeys(values)])
        super().__init__(controls, self.draw)

    def add(self, outcome: Outcome) -> None:
        self.outcomes[outcome.number] = outcome
        self.redraw()

    def draw(self, **chosen: str) -> list[Piece]:
        rows = [
            one
            for one in self.grid.combinations
            if all(v in (ALL, show(one.parameters[name])) for name, v in chosen.items())
        ]
        if not rows:
            return ["No run of the grid has all of these values: set a menu back to `all`."]
        lines, groups = [], {}  # groups: of the ended runs that differ in their seed alone
        for one in rows:
            values = {name: show(one.parameters[name]) for name in self.grid.varied}
            told = ["", "", "waiting"]
            if outcome := self.outcomes.get(one.number):
                found = outcome.result.get(self.number)
                state = f"✗ failed: {outcome.reason}" if outcome.failed else "✓ finished"
                told = ["" if found is None else f"{found:.3f}", f"{outcome.seconds:.0f}", state]
                group = "  ".join(text for name, text in values.items() if name != SEED) or "all"
                groups.setdefault(group, []).append(found)
            lines.append([*values.values(), *told])
        head = (*self.grid.varied, self.number, "seconds", "state")
        shown: list[Piece] = [html_table(head, lines)]
        if groups:
            heads = [name.partition(" ")[0] for name in groups]
            shown.append(dots(groups, self.number.replace("_", " "), heads))
        ended = sum(one.number in self.outcomes for one in rows)
        num_runs = len(self.grid.combinations)
        return [*shown, f"{ended} of {len(rows)} runs have ended; {num_runs} in all."]


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
        return paired((control, before), (treatment, after), metric, smallest), (
            f"{metric}: {treatment} is higher than {control} in {ahead} of {len(both)} seeds. "
            f"Higher by at least {smallest:g}: {decided}."
        )

    controls = {
        "metric": menu("metric", {name: None for trial in trials for name in trial.found}),
        "control": menu("control", arms),
        "treatment": menu("treatment", arms, arms[1]),
        "smallest": choice("effect", (-0.05, -0.02, 0.0, 0.01, 0.02, 0.05, 0.1), 0.02),
    }
    return Explorer(controls, draw)


def study_power() -> Explorer:
    """Four sliders, and what a thousand studies of this kind would decide."""

    def draw(num_seeds: int, effect: float, spread: float, smallest: float) -> Iterable[Piece]:
        studies = pretend(num_seeds, effect, spread, smallest)
        right, wrong = (SUPPORTED, REFUTED) if effect >= smallest else (REFUTED, SUPPORTED)
        return study_intervals(studies, effect), (
            f"{num_seeds} seeds, true effect {effect:g}, spread {spread:g}, smallest effect "
            f"{smallest:g}. The correct decision is: {right}. Of 100 such studies "
            f"{100 * studies.share(right):.0f} reach it, {100 * studies.share(OPEN):.0f} cannot "
            f"tell, {100 * studies.share(wrong):.0f} decide the opposite."
        )

    controls = {
        "num_seeds": choice("seeds", (2, 3, 4, 5, 7, 10, 20, 40), 3),
        "effect": choice("true effect", (-0.1, -0.05, 0.0, 0.02, 0.05, 0.1, 0.2, 0.3), 0.1),
        "spread": choice("spread", (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3), 0.1),
        "smallest": choice("smallest effect", (-0.05, 0.0, 0.01, 0.02, 0.05, 0.1), 0.05),
    }
    return Explorer(controls, draw)
