"""Hidden checks of assignment A3, third task: which changes are shown to be better or worse.

V variants, the first of which is the baseline; n seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from math import nan

import torch
from torch import Generator, Tensor

from annlib.course.assignments import a3_slips as slips
from annlib.course.assignments.a3_interval import Interval, draw_scores, unpaired
from annlib.course.assignments.a3_interval import reference as paired_interval
from annlib.course.grading.assignment import integer
from annlib.course.grading.questions import Answer, Call, Check, Misconception, as_numbers, compared

NAME = "verdicts"


def signs(low: Tensor | float, high: Tensor | float) -> int:
    return int(low > 0) - int(high < 0)


def judged(scores: Tensor, share: float, interval: Interval = paired_interval) -> list[int]:
    """A verdict for each change.  share: of misses that one interval may have"""
    found = [interval(scores[0], changed, 1 - share) for changed in scores[1:]]
    return [signs(low, high) for _, low, high in found]


def verdicts(scores: Tensor, confidence: float) -> list[int]:
    """(V, n) -> for each change 1 better, -1 worse, 0 not shown; all right at this confidence"""
    return judged(scores, (1 - confidence) / (len(scores) - 1))


def by_neighbours(scores: Tensor, confidence: float) -> list[int]:
    share = (1 - confidence) / (len(scores) - 1)
    return [judged(scores[v : v + 2], share)[0] for v in range(len(scores) - 1)]


def by_overlap(scores: Tensor, confidence: float) -> list[int]:
    share = (1 - confidence) / (len(scores) - 1)
    alone = [paired_interval(torch.zeros_like(row), row, 1 - share) for row in scores]
    return [signs(low - alone[0][2], high - alone[0][1]) for _, low, high in alone[1:]]


def of_means(scores: Tensor, confidence: float) -> list[int]:
    means = (scores[1:] - scores[0]).nanmean(1)
    return [signs(mean, mean) for mean in means]


Verdicts = Callable[[Tensor, float], list[int]]
WRONG_VERDICTS: Mapping[Misconception, Verdicts] = {
    slips.NOT_CORRECTED: lambda scores, c: judged(scores, 1 - c),
    slips.BY_ALL_VARIANTS: lambda scores, c: judged(scores, (1 - c) / len(scores)),
    slips.CORRECTED_WRONGLY: lambda scores, c: judged(scores, 1 - c / (len(scores) - 1)),
    slips.MEAN_ONLY: of_means,
    slips.SIGN_TURNED: lambda scores, c: [-one for one in verdicts(scores, c)],
    slips.NEXT_ONES: by_neighbours,
    slips.OVERLAP: by_overlap,
    slips.UNPAIRED: lambda scores, c: judged(scores, (1 - c) / (len(scores) - 1), unpaired),
}


def check(name: str, asked: Sequence[tuple[Tensor, float]]) -> Check:
    def judge(answers: Sequence[Answer]) -> Misconception | None:
        def numbers(made: Verdicts) -> list[Tensor]:
            return [torch.tensor(made(*one), dtype=torch.float64) for one in asked]

        others = {slip: numbers(made) for slip, made in WRONG_VERDICTS.items()}
        return compared(as_numbers(answers), numbers(verdicts), others)

    return Check(name, 1, [Call(NAME, one) for one in asked], judge)


def telling(
    generator: Generator,
    variants: int,
    slip: Misconception,
    other: Verdicts = verdicts,
    effects: tuple[int, int] = (8, 30),  # thousandths
) -> tuple[Tensor, float]:
    """Scores for which a mistake gives other verdicts than the right ones, or another mistake."""
    for _ in range(5000):
        effect = (integer(generator, 0, 1) * 2 - 1) * integer(generator, *effects) / 1000
        scores = draw_scores(generator, variants, integer(generator, 4, 7), effect)
        if WRONG_VERDICTS[slip](scores, 0.95) != other(scores, 0.95):
            return scores, 0.95
    raise ValueError(f"no scores were found that tell {slip.name!r} from what is right")


def draw(generator: Generator) -> list[Check]:
    alone = (slips.BY_ALL_VARIANTS, slips.MEAN_ONLY, slips.SIGN_TURNED)
    alone += (slips.OVERLAP, slips.UNPAIRED)
    overlap = WRONG_VERDICTS[slips.OVERLAP]
    apart = [telling(generator, v, slips.UNPAIRED, overlap, (100, 300)) for v in (2, 4)]
    nothing = draw_scores(generator, 2, 4, 0.5)
    nothing[0, 1:] = nan
    one_change = [telling(generator, 2, slip) for slip in alone]
    several = [telling(generator, 4, slip) for slip in WRONG_VERDICTS]
    return [
        check("one change", [*one_change, apart[0], (nothing, 0.95)]),
        check("several changes", [*several, apart[1]]),
    ]
