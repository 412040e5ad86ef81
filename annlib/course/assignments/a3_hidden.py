"""Hidden checks of assignment A3: plan of runs, paired interval, verdicts, one run.

V variants, the first of which is the baseline; n seeds; nan: that run failed.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from inspect import getsource
from itertools import accumulate, pairwise
from math import ceil, floor, isfinite, isnan, nan, sqrt
from pathlib import Path
from statistics import NormalDist
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from annlib.course.assignments import a3_world as world
from annlib.course.statistics import t_quantile
from annlib.grader import hidden_checks
from annlib.grader.hidden_checks import Answer, Call, Check, integer, normal, numbers, values
from annlib.grader.judge import Files

PLAN, INTERVAL, VERDICTS, RUN = "plan_runs", "paired_interval", "verdicts", "run"
AGAIN = "run_again"  # a run of any variant by the worker itself
Runs = list[tuple[int, int]]  # variant, seed
Seconds, Seeds = tuple[float, ...], tuple[int, ...]  # of a run of each variant; in their order


def plan(
    seconds: Seconds,
    budget: float,
    seeds: Seeds,
    a_seed: float | None = None,
    rounded: Callable[[float], int] = floor,
) -> Runs:
    """All variants of one seed, then of the next, as far as the budget pays.
    a_seed: other seconds for one seed in all variants"""
    count = min(rounded(budget / (a_seed or sum(seconds))), len(seeds))
    return [(variant, seed) for seed in seeds[:count] for variant in range(len(seconds))]


def torn(seconds: Seconds, budget: float, seeds: Seeds) -> Runs:
    """Runs until the budget ends, wherever that is."""
    runs = [(variant, seed) for seed in seeds for variant in range(len(seconds))]
    spent = accumulate(seconds[variant] for variant, _ in runs)
    return [run for run, total in zip(runs, spent, strict=True) if total <= budget]


PLAN_MISTAKES: dict[str, Callable[[Seconds, float, Seeds], Runs]] = {
    "a budget for each variant": lambda s, b, seeds: plan(s, b, seeds, max(s)),
    "over the budget": partial(plan, rounded=ceil),
    "a seed that would fit": partial(plan, rounded=lambda seeds: floor(seeds) - 1),
    "a seed without its pair": torn,
    "variant by variant": lambda *one: sorted(plan(*one), key=lambda run: run[0]),
    "baseline left out": lambda *one: [run for run in plan(*one) if run[0]],
    "pair reversed": lambda *one: [run[::-1] for run in plan(*one)],
    "slowest for all": lambda s, b, seeds: plan(s, b, seeds, len(s) * max(s)),
    "fastest for all": lambda s, b, seeds: plan(s, b, seeds, len(s) * min(s)),
    "seeds numbered": lambda s, b, seeds: [(v, seeds.index(n)) for v, n in plan(s, b, seeds)],
    "own seeds for each variant": lambda s, b, seeds: [
        (run[0], seed) for run, seed in zip(plan(s, b, seeds), seeds, strict=False)
    ],
}


def draw_plan_task(generator: Generator, _: Files) -> list[Check]:
    def call(variants: int, rest: float, budget: float | None = None) -> Call:
        """A budget of whole seeds; a share `rest` of another one, 0 to 1, is left over."""
        first, num_seeds = integer(generator, 8, 12) / 4, integer(generator, 6, 9)
        seconds = tuple(first * (1 + 2 * v) for v in range(variants))  # quarters: no rounding
        seeds = tuple(100 * n + integer(generator, 0, 99) for n in range(1, 8 * num_seeds + 9))
        paid = num_seeds * sum(seconds) + rest * sum(seconds) // 0.25 * 0.25
        return Call(PLAN, (seconds, paid if budget is None else budget, seeds))

    any_budget = [call(4, 0.8), call(3, 0.0), call(2, 0, budget=0.5), call(2, 0, budget=1e6)]
    return [
        values("two variants", 1, [call(2, 0.6)], plan, PLAN_MISTAKES, any_type=True),
        values("any budget", 1, any_budget, plan, PLAN_MISTAKES, any_type=True),
    ]


EMPTY = torch.full((3,), nan, dtype=torch.float64)


def around(mean: Tensor, half: Tensor | float) -> Tensor:
    return torch.stack([mean, mean - half, mean + half])


def quantile(confidence: float, df: int) -> float:
    return t_quantile((1 + confidence) / 2, df)


def paired_interval(
    baseline: Tensor,
    changed: Tensor,
    confidence: float,
    root: Callable[[float], float] = sqrt,
    correction: int = 1,
    value: Callable[[float, int], float] = quantile,
) -> Tensor:
    """-> (3,) mean, low, high of changed - baseline; nan with fewer than two whole pairs"""
    differences = (changed - baseline)[(changed - baseline).isfinite()]
    n = len(differences)
    if n < 2:
        return EMPTY
    spread = differences.std(correction=correction) / root(n)
    return around(differences.mean(), value(confidence, n - 1) * spread)


def unpaired(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    whole = (baseline - changed).isfinite()
    a, b, n = baseline[whole], changed[whole], int(whole.sum())
    if n < 2:
        return EMPTY
    return around(b.mean() - a.mean(), quantile(confidence, n - 1) * sqrt((a.var() + b.var()) / n))


def pairs_moved(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    a, b = (scores[scores.isfinite()] for scores in (baseline, changed))
    shorter = min(len(a), len(b))
    return paired_interval(a[:shorter], b[:shorter], confidence)


def failed_counted(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    mean, low, _ = paired_interval(baseline, changed, confidence)
    n, whole = len(baseline), int((changed - baseline).isfinite().sum())
    if whole < 2:
        return EMPTY
    shrunk = quantile(confidence, n - 1) / quantile(confidence, whole - 1) * sqrt(whole / n)
    return around(mean, (mean - low) * shrunk)


def half_width(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    mean, low, _ = paired_interval(baseline, changed, confidence)
    return EMPTY if mean.isnan() else torch.stack([mean, mean - low])


INTERVAL_MISTAKES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "sign reversed": lambda baseline, changed, c: paired_interval(changed, baseline, c),
    "not paired": unpaired,
    "normal for few runs": partial(
        paired_interval, value=lambda c, df: NormalDist().inv_cdf((1 + c) / 2)
    ),
    "always 1.96": partial(paired_interval, value=lambda c, df: 1.96),
    "quantile of one side": partial(paired_interval, value=t_quantile),
    "√n missing": partial(paired_interval, root=lambda n: 1),
    "divided by n": partial(paired_interval, correction=0),
    "half width given": half_width,
    "failed run counts as 0": lambda a, b, c: paired_interval(a.nan_to_num(), b.nan_to_num(), c),
    "failed runs counted": failed_counted,
    "pairs moved": pairs_moved,
}


def draw_scores(generator: Generator, variants: int, n: int, effect: float) -> Tensor:
    """(variants, n): the effect of a seed on all, then of each variant, then chance."""
    shared, own = normal(generator, 1, n), normal(generator, variants, n)
    effects = effect * torch.arange(variants)[:, None]
    return (0.6 + 0.1 * shared + 0.02 * own + effects).double()


def draw_interval_task(generator: Generator, _: Files) -> list[Check]:
    def call(n: int, *failed: tuple[int, slice | int]) -> Call:
        percent = integer(generator, 90, 96)
        confidence = (percent + (percent >= 95)) / 100  # not 95: there the normal one is 1.96
        scores = draw_scores(generator, 2, n, 0.03)
        for variant, runs in failed:
            scores[variant, runs] = nan
        return Call(INTERVAL, (*scores, confidence))

    some = (0, integer(generator, 1, 3)), (1, integer(generator, 5, 6))
    drawn = {
        "whole pairs": [call(integer(generator, 4, 8))],
        "failed runs": [call(9, *some)],
        "too few pairs": [call(4, (0, slice(2)), (1, slice(1, 3))), call(2)],
    }
    return [
        values(name, 1, calls, paired_interval, INTERVAL_MISTAKES, 1e-5, any_type=True)
        for name, calls in drawn.items()
    ]


def signs(low: Tensor, high: Tensor) -> int:
    return int(low > 0) - int(high < 0)


def each(scores: Tensor, share: float, interval: Callable = paired_interval) -> list[int]:
    """A verdict for each change.  share: of misses that one interval may have"""
    found = [interval(scores[0], changed, 1 - share) for changed in scores[1:]]
    return [signs(low, high) for _, low, high in found]


def verdicts(scores: Tensor, confidence: float, interval: Callable = paired_interval) -> list[int]:
    """(V, n) -> 1 better, -1 worse, 0 not shown; all of them correct at this confidence"""
    return each(scores, (1 - confidence) / (len(scores) - 1), interval)


def by_overlap(scores: Tensor, confidence: float) -> list[int]:
    share = (1 - confidence) / (len(scores) - 1)
    alone = [paired_interval(torch.zeros_like(row), row, 1 - share) for row in scores]
    return [signs(low - alone[0][2], high - alone[0][1]) for _, low, high in alone[1:]]


VERDICT_MISTAKES: dict[str, Callable[[Tensor, float], list[int]]] = {
    "each by itself": lambda scores, c: each(scores, 1 - c),
    "corrected by one too many": lambda scores, c: each(scores, (1 - c) / len(scores)),
    "confidence divided": lambda scores, c: each(scores, 1 - c / (len(scores) - 1)),
    "sign of the mean": lambda scores, c: (
        (scores[1:] - scores[0]).nanmean(1).nan_to_num().sign().tolist()
    ),
    "sign reversed": lambda scores, c: [-one for one in verdicts(scores, c)],
    "compared with the one before": lambda scores, c: [
        each(torch.stack(two), (1 - c) / (len(scores) - 1))[0] for two in pairwise(scores)
    ],
    "intervals that overlap": by_overlap,
    "not paired": partial(verdicts, interval=unpaired),
}


AFTER_INTERVAL = {  # what follows from the intervals of an earlier task
    slip: partial(verdicts, interval=made)
    for slip, made in INTERVAL_MISTAKES.items()
    if slip != "half width given"  # has no two ends
}


def draw_verdicts_task(generator: Generator, _: Files) -> list[Check]:
    def showing(slip: str, variants: int, other: Callable = verdicts, effects=(8, 30)) -> Call:
        """Scores for which a mistake gives other verdicts than the reference, or another mistake.
        effects: in thousandths"""
        for _ in range(5000):
            effect = (integer(generator, 0, 1) * 2 - 1) * integer(generator, *effects) / 1000
            scores = draw_scores(generator, variants, integer(generator, 4, 7), effect)
            if VERDICT_MISTAKES[slip](scores, 0.95) != other(scores, 0.95):
                return Call(VERDICTS, (scores, 0.95))
        raise ValueError(f"no scores were found that show {slip!r}")

    def check(name: str, calls: list[Call]) -> Check:
        def make(right: Callable) -> Check:
            return values(name, 1, calls, right, VERDICT_MISTAKES, any_type=True)

        return hidden_checks.followed_up(make, verdicts, earlier, AFTER_INTERVAL)

    whole, some_failed, _ = draw_interval_task(generator, {})
    pairs = [*whole.calls, *some_failed.calls]
    earlier = values("", 0, pairs, paired_interval, INTERVAL_MISTAKES, 1e-5, any_type=True)
    alone = ("corrected by one too many", "sign of the mean", "sign reversed")
    alone += ("intervals that overlap", "not paired")
    two, four = (showing("not paired", v, by_overlap, (100, 300)) for v in (2, 4))
    nothing = draw_scores(generator, 2, 4, 0.5)
    nothing[0, 1:] = nan
    one_change = [*(showing(slip, 2) for slip in alone), two, Call(VERDICTS, (nothing, 0.95))]
    several = [*(showing(slip, 4) for slip in VERDICT_MISTAKES), four]
    return [check("one change", one_change), check("several changes", several)]


ADAM = partial(torch.optim.Adam, lr=world.LEARNING_RATE)
TOLERANCE = 1e-7  # in double precision a run repeats itself far better
BUILDING = Lock()  # weights are drawn from torch's one generator, and grading has threads


def trained(
    network: nn.Module,
    seed: int,
    steps: int,
    batch: Callable[[int, int], world.Maps] = world.training_maps,
    optimizer_of: Callable[..., torch.optim.Optimizer] = ADAM,
    forgets: bool = True,
    moves: bool = True,
    score: Callable[[nn.Module], float] = world.score,
) -> float:
    """Trains the network -> its score.  Everything after `steps` is how a mistake differs."""
    optimizer = optimizer_of(network.parameters())
    for step in range(steps):
        features, labels = batch(seed, step)
        if forgets:
            optimizer.zero_grad()
        F.cross_entropy(network(features), labels, ignore_index=world.IGNORE).backward()
        if moves:
            optimizer.step()
    return score(network)


def reference_run(seed: int, steps: int, weights_seed: int | None = None, **mistake) -> float:
    """The score of a run of the baseline."""
    with BUILDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed if weights_seed is None else weights_seed)
        network = world.Network(lambda variant: world.PyramidBlock(), 0)
    return trained(network, seed, steps, **mistake)


# The worker trains any variant by a loop that no cell can have replaced.  -> scores as the network
# is left, and in eval mode, for blocks in which that makes a difference
OWN_RUN = Path(__file__).with_name("own_run.txt").read_text("utf-8")
OWN_RUN = OWN_RUN.replace("TRAINED", getsource(trained))
OWN_RUN = OWN_RUN.replace("WORLD", repr(Path(world.__file__).read_text("utf-8")))
SGD, maps_of = partial(torch.optim.SGD, lr=world.LEARNING_RATE), world.training_maps
RUN_MISTAKES: dict[str, Callable[[int, int], float]] = {
    "same weights for all": partial(reference_run, weights_seed=0),
    "same maps for all": partial(reference_run, batch=lambda s, step: maps_of(0, step)),
    "one batch again and again": partial(reference_run, batch=lambda s, step: maps_of(s, 0)),
    "steps from 1": partial(reference_run, batch=lambda s, step: maps_of(s, step + 1)),
    "a step too many": lambda seed, steps: reference_run(seed, steps + 1),
    "gradients add up": partial(reference_run, forgets=False),
    "no step": partial(reference_run, moves=False),
    "other learning rate": partial(reference_run, optimizer_of=torch.optim.Adam),
    "other optimizer": partial(reference_run, optimizer_of=SGD),
    "scored on training maps": lambda seed, steps: reference_run(
        seed, steps, score=lambda net: world.probability(net, *maps_of(seed, steps - 1))
    ),
}


RUNS = {"": reference_run} | RUN_MISTAKES
again = lru_cache(maxsize=256)(lambda slip, seed, steps: RUNS[slip](seed, steps))


def repeated(score: float, again: Sequence[float], tolerance: float) -> bool:
    """Whether a run gives this score, in one mode of the network; a failed run fails again."""
    return any(abs(one - score) <= tolerance or isnan(one) and isnan(score) for one in again)


def recipe(score: float, seed: int, steps: int) -> str:
    """What the score of a run shows: the recipe, "", or a mistake in it."""
    shown = (slip for slip in RUNS if repeated(score, [again(slip, seed, steps)], TOLERANCE))
    return next(shown, hidden_checks.OTHER)


def check_recipe(points: float, seed: int, steps: int) -> Check:
    """The score of the baseline, asked for twice."""

    def judge(answers: Sequence[Answer]) -> str:
        found = numbers(answers)
        if isinstance(found, str):
            return found
        if not all(isfinite(one) for (one,) in found):
            return hidden_checks.NOT_FINITE
        if found[0] != found[1]:
            return "not repeatable"
        return recipe(found[0][0], seed, steps)

    return Check("the recipe", points, [Call(RUN, (0, seed, steps))] * 2, judge)


def check_change(points: float, seeds: tuple[int, int], steps: int) -> Check:
    """Variant 1 is trained, too; a run of the baseline in between may not matter.
    Where the baseline follows the recipe, so has the change."""

    def judge(answers: Sequence[Answer]) -> str:
        found, again = numbers(answers[:4]), numbers(answers[4:], 2)
        if isinstance(found, str) or isinstance(again, str):
            return found if isinstance(found, str) else again
        first, baseline, second, other = (score for (score,) in found)
        right = repeated(baseline, [reference_run(seeds[0], steps)], TOLERANCE)
        claims = (
            (not all(map(isfinite, (first, baseline, second, other))), hidden_checks.NOT_FINITE),
            (first != second, "not repeatable"),
            (first == baseline, "change without effect"),
            (first == other, "seed without effect"),
            (right and not repeated(first, again[0], TOLERANCE), "another recipe for a change"),
        )
        return next((slip for holds, slip in claims if holds), "")

    asked = [(1, seeds[0]), (0, seeds[0]), (1, seeds[0]), (1, seeds[1])]
    calls = [Call(RUN, (variant, seed, steps)) for variant, seed in asked]
    return Check("a change", points, [*calls, Call(AGAIN, (1, seeds[0], steps), own=True)], judge)


def draw_run_task(generator: Generator, _: Files) -> list[Check]:
    def seed() -> int:
        return integer(generator, 10**6, 10**7)

    return [
        check_recipe(2, seed(), integer(generator, 3, 6)),
        check_change(1, (seed(), seed()), integer(generator, 3, 5)),
    ]
