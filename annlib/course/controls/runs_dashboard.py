"""All runs on one page: choose two arms and a metric, read differences and the decision.

No maths: decisions are made by annlib.course.capstone, pictures by figures.
"""

from collections.abc import Iterable, Mapping, Sequence

from annlib.course.capstone import verdict
from annlib.course.controls.explorer import Explorer, choice, menu
from annlib.course.controls.shown import Piece
from annlib.course.figures.seeds import paired
from annlib.course.trials import Trial


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
