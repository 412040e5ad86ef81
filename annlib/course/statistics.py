"""Confidence intervals, paired differences, registered claims and the decision about them."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from math import isfinite, sqrt
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit  # what scipy.stats.t.ppf calls; scipy.stats imports for a second


class Interval(NamedTuple):
    """mean ± half, which holds the true mean in the promised share of repeated experiments."""

    mean: float
    half: float
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half:.3f} ({self.n} runs)"


def t_quantile(share: float, df: int) -> float:
    """The number below which a share of Student's t lies.  df: degrees of freedom, n - 1"""
    if not 0 < share < 1 or df < 1:
        raise ValueError(f"t_quantile({share}, {df}): a share between 0 and 1, df of 1 or more.")
    return float(stdtrit(df, share))


def half_width(sd: float, n: int, level: float = 0.95) -> float:
    """Half the width of the interval from n runs with standard deviation sd."""
    return t_quantile((1 + level) / 2, n - 1) * sd / sqrt(n)


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Of the mean of a sample: t times the standard error."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} run says nothing about spread: an interval needs two.")
    if broken := [value for value in values if not isfinite(value)]:
        raise ValueError(f"A value is {broken[0]}: that run has no result: leave it out.")
    return Interval(mean(values), half_width(stdev(values), len(values), level), len(values))


def paired_interval(
    ours: dict[int, float | None], theirs: dict[int, float | None], level: float = 0.95
) -> Interval:
    """Of the mean difference ours - theirs over the seeds that both have.  None: that run failed"""
    both = [seed for seed in ours if ours[seed] is not None and theirs.get(seed) is not None]
    return interval([ours[seed] - theirs[seed] for seed in both], level)


SUPPORTED, REFUTED, OPEN = VERDICTS = ("supported", "refuted", "cannot tell")
DIRECTIONS = ("higher", "lower")
# What can be measured here -> the largest effect that could be meant.
METRICS = dict.fromkeys(("house accuracy", "mIoU", "attention on its balloon"), 1.0)
METRICS |= {"seconds": 3600.0, "MiB": 100_000.0}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A claim, and the result that would refute it: fixed before the first run."""

    claim: str  # one sentence
    source: str  # where it stands: the paper, a lesson
    treatment: str
    control: str  # differs from the treatment in the claimed cause alone
    metric: str  # one of METRICS
    direction: str  # the treatment is "higher" or "lower" than the control
    smallest_effect: float  # that counts; negative: so much loss still is "no worse"
    seeds: tuple[int, ...]
    budget_minutes: float

    @property
    def fingerprint(self) -> str:
        """Eight letters that change with any word or number of it."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:8]

    @property
    def refuted_if(self) -> str:
        """The result that contradicts it, in words."""
        return (
            f"the 95 % interval of {self.treatment} minus {self.control}, {self.direction} "
            f"{self.metric} counted as positive, lies below {self.smallest_effect:g}"
        )

    def differences(self, treatment: dict[int, float], control: dict[int, float]) -> list[float]:
        """Positive ones support the claim; of each seed that both have.  seed -> metric"""
        sign = 1 if self.direction == "higher" else -1
        both = [seed for seed in self.seeds if seed in treatment and seed in control]
        return [sign * (treatment[seed] - control[seed]) for seed in both]

    def markdown(self) -> str:
        """As a table, for the notebook and for the report."""
        rows = [(name.replace("_", " "), value) for name, value in asdict(self).items()]
        rows += [("refuted if", self.refuted_if), ("fingerprint", f"`{self.fingerprint}`")]
        return "| registered | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows)


def verdict(differences: Sequence[float], smallest_effect: float) -> str:
    """Whether the interval of the mean difference lies above, below, or across the effect."""
    if len(differences) < 2:
        return OPEN
    found = interval(differences)
    won, lost = found.low >= smallest_effect, found.high < smallest_effect
    return SUPPORTED if won else REFUTED if lost else OPEN


class Studies(NamedTuple):
    """Many simulated studies of one true effect: the result of each, and its decision."""

    means: np.ndarray  # (studies,)
    halves: np.ndarray  # of their intervals
    smallest_effect: float

    @property
    def verdicts(self) -> list[str]:
        above = self.means - self.halves >= self.smallest_effect
        below = self.means + self.halves < self.smallest_effect
        return np.where(above, SUPPORTED, np.where(below, REFUTED, OPEN)).tolist()

    def share(self, decision: str) -> float:
        return self.verdicts.count(decision) / len(self.means)


def pretend(
    num_seeds: int, effect: float, spread: float, smallest_effect: float, studies: int = 1000
) -> Studies:
    """Studies of `num_seeds` seeds each, whose differences scatter by `spread` around `effect`."""
    draws = np.random.default_rng(0).normal(effect, spread, (studies, num_seeds))
    factor = t_quantile(0.975, num_seeds - 1) / num_seeds**0.5
    return Studies(draws.mean(1), factor * draws.std(1, ddof=1), smallest_effect)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a reader needs in order to believe the result, or to repeat it."""

    registered: str  # the fingerprint of the registration
    prediction: str
    result: str  # mean, interval, number of seeds
    decision: str  # one of VERDICTS
    control: str  # what it rules out
    cost: str  # minutes, machine
    honesty: str  # what it does not show, what was tried besides, what went wrong
    command: str  # one papermill command that remakes it

    def missing(self, registration: Registration) -> list[str]:
        """What is not there yet, as sentences; none if the report is complete."""
        prose = ("prediction", "result", "control", "cost", "honesty")
        lengths = [(name, len(getattr(self, name))) for name in prose]
        gaps = [f"{a}: say more; {n} letters tell no reader much." for a, n in lengths if n < 20]
        if self.registered != registration.fingerprint:
            gaps.append(
                f"registered: {self.registered!r} is not the fingerprint of this registration, "
                f"{registration.fingerprint!r}. Was it changed after the run? Then say so: it is "
                "another claim, and needs other seeds."
            )
        if self.decision not in VERDICTS:
            gaps.append(f"decision: one of {VERDICTS}.")
        if not (self.command.startswith("papermill ") and " -p seed" in self.command):
            gaps.append("command: one line `papermill IN.ipynb OUT.ipynb -p mode learn -p seed 0`.")
        return gaps

    def markdown(self, registration: Registration) -> str:
        _, *told = asdict(self).items()  # what is registered has a table of its own
        lines = "\n".join(f"- **{name.capitalize()}:** {text}" for name, text in told)
        return f"### {registration.claim}\n\n{registration.markdown()}\n\n{lines}"
