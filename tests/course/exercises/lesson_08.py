"""Right and wrong answers to the exercises of lesson 08."""

from math import floor, sqrt
from statistics import mean, pstdev, stdev

from annlib.course import checks
from annlib.course.statistics import t_quantile
from exercises import Gallery, Wrong

HEADS, BINS = ["apnb", "ann"], ["1", "1,3,6,8"]


def grid_of(seeds, heads=HEADS, bins=BINS) -> dict:
    return {"head": heads, "pool_scales": bins, "seed": seeds}


def num_seeds(minutes, cores, budget) -> int:
    return floor(budget / minutes) * cores // 4


def plan(minutes, cores, budget):
    return grid_of(list(range(num_seeds(minutes, cores, budget))))


def plan_by_trying(minutes, cores, budget):
    seeds = []
    while -(-4 * (len(seeds) + 1) // cores) * minutes <= budget:
        seeds.append(100 + len(seeds))
    return grid_of(seeds, HEADS[::-1], BINS[::-1])


def interval(values):
    half = t_quantile(0.975, len(values) - 1) * stdev(values) / sqrt(len(values))
    return mean(values) - half, mean(values) + half


def interval_by_hand(values):
    n = len(values)
    middle = sum(values) / n
    s = (sum((value - middle) ** 2 for value in values) / (n - 1)) ** 0.5
    return [middle + sign * t_quantile(0.975, n - 1) * s * n**-0.5 for sign in (-1, 1)]


def around(half):
    return lambda values: (mean(values) - half(values), mean(values) + half(values))


def differences(ours, theirs):
    seeds = [s for s in ours if ours[s] is not None and theirs.get(s) is not None]
    return [ours[s] - theirs[s] for s in seeds]


def with_half(values):
    return mean(values), t_quantile(0.975, len(values) - 1) * stdev(values) / sqrt(len(values))


def paired(ours, theirs):
    return with_half(differences(ours, theirs))


def paired_by_hand(ours, theirs):
    found = [a - theirs[s] for s, a in ours.items() if None not in (a, theirs[s])]
    low, high = interval(found)
    return (low + high) / 2, (high - low) / 2


def zero_for_failed(ours, theirs):
    return with_half([(ours[s] or 0) - (theirs[s] or 0) for s in ours])


def by_place(ours, theirs):
    pairs = zip(ours.values(), theirs.values(), strict=True)
    return with_half([a - b for a, b in pairs if a is not None and b is not None])


def unpaired(ours, theirs):
    both = [s for s in ours if ours[s] is not None and theirs[s] is not None]
    a, b = [ours[s] for s in both], [theirs[s] for s in both]
    error = sqrt(stdev(a) ** 2 / len(a) + stdev(b) ** 2 / len(b))
    return mean(a) - mean(b), t_quantile(0.975, 2 * len(a) - 2) * error


def difference_of_means(ours, theirs):
    a, b = ([v for v in runs.values() if v is not None] for runs in (ours, theirs))
    return mean(a) - mean(b), paired(ours, theirs)[1]


def changed(factor):
    """The right difference with another half width: factor(differences)"""
    return lambda a, b: (mean(differences(a, b)), factor(differences(a, b)))


GALLERIES = {
    "grid": Gallery(
        checks.run_grid,
        [plan, plan_by_trying],
        {
            "the same seed several times": Wrong(
                lambda m, c, b: grid_of([0] * num_seeds(m, c, b)), "second measurement"
            ),
            "forgets that lists multiply": Wrong(
                lambda m, c, b: grid_of(list(range(4 * num_seeds(m, c, b)))), "multiply"
            ),
            "one seed": Wrong(lambda m, c, b: grid_of([0]), "no spread"),
            "a number instead of a list": Wrong(lambda m, c, b: grid_of(3), "list"),
            "a range": Wrong(lambda m, c, b: grid_of(range(3)), "list(...)"),
            "one seed too few": Wrong(
                lambda m, c, b: grid_of(list(range(max(num_seeds(m, c, b) - 1, 1)))), "seed"
            ),
            "the word of the paper": Wrong(
                lambda m, c, b: {"head": HEADS, "bins": BINS, "seed": [0, 1]}, "called"
            ),
            "one head": Wrong(lambda m, c, b: grid_of([0, 1], ["ann"]), "the question is about"),
        },
    ),
    "interval": Gallery(
        checks.confidence_interval,
        [interval, interval_by_hand],
        {
            "deviation of single runs": Wrong(around(stdev), "single runs"),
            "t times s": Wrong(
                around(lambda v: t_quantile(0.975, len(v) - 1) * stdev(v)), "left out √n"
            ),
            "one standard error": Wrong(around(lambda v: stdev(v) / sqrt(len(v))), "left out t"),
            "normal distribution": Wrong(
                around(lambda v: 1.96 * stdev(v) / sqrt(len(v))), "few: take t_quantile"
            ),
            "deviation of a population": Wrong(
                around(lambda v: t_quantile(0.975, len(v) - 1) * pstdev(v) / sqrt(len(v))),
                "divides by n",
            ),
            "n degrees of freedom": Wrong(
                around(lambda v: t_quantile(0.975, len(v)) * stdev(v) / sqrt(len(v))), "n - 1"
            ),
            "one-sided": Wrong(
                around(lambda v: t_quantile(0.95, len(v) - 1) * stdev(v) / sqrt(len(v))),
                "two sides",
            ),
            "n counts pixels": Wrong(
                around(lambda v: t_quantile(0.975, len(v) - 1) * stdev(v) / sqrt(200 * 128 * 192)),
                "n counts runs",
            ),
            "mean and deviation": Wrong(lambda v: (mean(v), stdev(v)), "two ends"),
            "mean and half width": Wrong(lambda v: (mean(v), interval(v)[1] - mean(v)), "two ends"),
            "smallest and largest": Wrong(lambda v: (min(v), max(v)), ""),
        },
    ),
    "real": Gallery(
        checks.paired_difference,
        [paired, paired_by_hand],
        {
            "failed runs count as zero": Wrong(zero_for_failed, "counts as 0"),
            "pairs by place": Wrong(by_place, "by seed"),
            "spreads added up": Wrong(unpaired, "cancels in the differences"),
            "the two ends": Wrong(lambda a, b: interval(differences(a, b)), "half width"),
            "sign turned": Wrong(lambda a, b: (-paired(a, b)[0], paired(a, b)[1]), "sign"),
            "difference of two means": Wrong(difference_of_means, "seed by seed"),
            "deviation, not error": Wrong(changed(stdev), "varies less"),
            "no t": Wrong(changed(lambda d: stdev(d) / sqrt(len(d))), "t is missing"),
            "normal distribution": Wrong(
                changed(lambda d: 1.96 * stdev(d) / sqrt(len(d))), "many runs"
            ),
        },
    ),
}
