# %% [markdown] tags=["header"]
# # A3. An ablation study in twenty minutes
#
# - **Before:** lesson 8
# - **Needs:** torch, JupyterLab and papermill; no network, no GPU, not annlib
# - **Points:** 20. The points of each task are below its heading.
# - **Late:** 10 % less for each day begun; no points after three days.
# - **Hand in:** this notebook and `a3_table.csv`, together in a folder or a zip.
# - **Help:** the check below each task runs at home. Grading tests more, and repeats some runs of your table.
#
# Keep the names of functions, of `rows`, and the tag of the cell with parameters: grading finds your work by them.
# Their place in the notebook does not matter. You may add cells. A mistake costs the points of its own task; its
# consequences in later tasks cost nothing. Grading stops a cell after 60 s of processor time, and all cells together
# after 200 s. Work alone, and list in the last cell the people you talked to.

# %% tags=["setup"]
import math
import time
from math import sqrt

import a3_checks as checks
import a3_tables as tables
import a3_world as world
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %% tags=["parameters"]
student = 0  # your number (only its digits)
steps = 20  # of each run, at most 600
most_seeds = 3
budget = 20  # seconds of all runs together; the table may have 1200
table_file = "a3_rehearsal.csv"  # the one to hand in is a3_table.csv

# %% [markdown]
# ## The data and the network
#
# `a3_world.py` makes feature maps of 12 x 16 positions. At the top are four balloons, each with a colour and one of three
# patterns; below them are four houses. The class of a house is the pattern of the balloon *of its colour*, wherever that
# balloon is. `Network` processes each position on its own, except for the block in its middle: `PyramidBlock`, an APNB
# with levels 1, 3, 6, 8. `score` is the mean probability of the correct pattern on maps that were not used in training; 1/3
# is chance.
#
# With the values above, this notebook is a rehearsal: it runs in seconds, and its table has no meaning. In the end you make
# the real table, with your own number and with steps and seeds that you have chosen with care. Use at least 50 steps, and
# so many that the mean score of the baseline is at least 0.35. A change cannot destroy what was not learned.
#
# ```sh
# papermill A3.ipynb done.ipynb -p student 123456 -p steps 300 -p most_seeds 40 -p budget 1000 -p table_file a3_table.csv
# ```
#
# `done.ipynb` contains the outputs of that run, for you to look at; you hand in `A3.ipynb` and the table. A plan is
# an estimate, so a budget of 1000 s leaves room below the 1200 s that all runs may take together. One run may take 30 s.
#
# All numbers have double precision, so a run gives the same score on your machine and on any other one.

# %% [markdown] tags=["exercise:plan"]
# ## Task 1: Which runs a budget pays
# *2 points, about 20 min*
#
# A run of variant $v$ takes `seconds[v]`. Take the seeds in their order, and run *all* variants with one seed before the
# next seed. Plan as many seeds as the budget allows; do not begin a seed that not all variants can complete.


# %% tags=["answer:plan"]
def plan_runs(seconds, budget: float, seeds) -> list[tuple[int, int]]:
    """seconds: of a run, by variant. seeds: at most these, in order.  -> (variant, seed) of each run"""
    # solution
    count = min(int(budget // sum(seconds)), len(seeds))
    return [(variant, seed) for seed in seeds[:count] for variant in range(len(seconds))]


# %% tags=["check:plan"]
checks.plan_runs(plan_runs)

# %% [markdown] tags=["exercise:interval"]
# ## Task 2: What two variants differ by
# *3 points, about 30 min*
#
# Both variants ran with the same seeds. Return the mean of the differences, changed minus baseline, and the two ends
# of its confidence interval, with Student's t (`world.t_quantile`; lesson 8, paired differences). A run that failed has the
# score nan; leave its pair out.


# %% tags=["answer:interval"]
def paired_interval(baseline: Tensor, changed: Tensor, confidence: float) -> Tensor:
    """Scores (n,), (n,) of the same seeds, nan where a run failed -> (3,) mean, low, high

    Three times nan if fewer than two pairs are complete.
    """
    # solution
    differences = (changed - baseline)[(changed - baseline).isfinite()]
    n = len(differences)
    if n < 2:
        return torch.full((3,), math.nan, dtype=baseline.dtype)
    half = world.t_quantile((1 + confidence) / 2, n - 1) * differences.std() / sqrt(n)
    return torch.stack([differences.mean(), differences.mean() - half, differences.mean() + half])


# %% tags=["check:interval"]
checks.paired_interval(paired_interval)

# %% [markdown] tags=["exercise:verdicts"]
# ## Task 3: What several changes did
# *2 points, about 20 min*
#
# Row 0 has the scores of the baseline, each further row those of one change. Say for each change whether it is better,
# worse, or not shown to be either. *Together* all verdicts must be correct with the given confidence. So use Bonferroni's
# correction (lesson 8, many comparisons): with $k$ changes and the confidence $1 - \alpha$, each interval gets the
# confidence $1 - \alpha / k$.


# %% tags=["answer:verdicts"]
def verdicts(scores: Tensor, confidence: float) -> list[int]:
    """(variants, n) -> for each change 1 better, -1 worse, 0 not shown"""
    # solution
    each = 1 - (1 - confidence) / (len(scores) - 1)
    intervals = [paired_interval(scores[0], changed, each) for changed in scores[1:]]
    return [int(low > 0) - int(high < 0) for _, low, high in intervals]


# %% tags=["check:verdicts"]
checks.verdicts(verdicts)

# %% [markdown] tags=["exercise:run"]
# ## Task 4: One run
# *3 points, about 40 min*
#
# `build` returns the block of a variant: 0 is `world.PyramidBlock()` as it is, 1 has your change, 2 and more are
# possible. Change one thing at a time: levels, the largest value of a cell instead of the mean, fewer key channels, a
# block of your own (with `dtype=torch.float64`). Build only the block of the given variant: another block that is built
# before it would use up random numbers of the seed.
#
# `run` trains and scores. The recipe, for all variants: `torch.manual_seed(seed)`, then
# `world.Network(build, variant)`; Adam with `world.LEARNING_RATE`; step $0, 1, 2, \dots$ uses
# `world.training_maps(seed, step)` and cross-entropy that ignores `world.IGNORE`; at the end `world.score`.


# %% tags=["answer:run"]
def build(variant: int) -> nn.Module:
    """The block of a variant; 0 is the baseline."""
    # solution
    if variant == 1:
        return world.PyramidBlock(levels=(1, 3))
    return world.PyramidBlock(key_channels=4) if variant == 2 else world.PyramidBlock()


def run(variant: int, seed: int, steps: int) -> float:
    """Trains a network for this number of steps -> its score"""
    # solution
    torch.manual_seed(seed)
    network = world.Network(build, variant)
    optimizer = torch.optim.Adam(network.parameters(), world.LEARNING_RATE)
    for step in range(steps):
        features, labels = world.training_maps(seed, step)
        optimizer.zero_grad()
        F.cross_entropy(network(features), labels, ignore_index=world.IGNORE).backward()
        optimizer.step()
    return world.score(network)


# %% tags=["check:run"]
checks.build(build)
checks.run(run)

# %% [markdown] tags=["exercise:ablation"]
# ## Task 5: The table and its conclusion
# *5 points, about 40 min and twenty minutes of computing*
#
# Write `ablation`: estimate the seconds of each variant (`world.seconds_of`), plan, run, and return a row for each run.
# The seeds are your own, `tables.seeds_of(student, most_seeds)`. Write the table after each run, so an interruption
# loses one run only. A run whose score is not finite has failed, and stays in the table.
#
# Then let papermill make the real table. `checks.table("a3_table.csv")` says whether it is complete, and
# `verdicts(tables.read_scores("a3_table.csv"), 0.95)` returns its verdicts; type them into `conclusion`.


# %% tags=["answer:ablation"]
def ablation(
    student: int, steps: int, most_seeds: int, budget: float, table_file: str
) -> list[tuple]:
    """-> rows (student, variant, seed, steps, seconds, score), in table_file after each run"""
    # solution
    seconds = [world.seconds_of(run, variant, steps) for variant in range(3)]
    rows = []
    for variant, seed in plan_runs(seconds, budget, tables.seeds_of(student, most_seeds)):
        began = time.perf_counter()
        score = run(variant, seed, steps)
        rows.append((student, variant, seed, steps, time.perf_counter() - began, score))
        tables.write_table(table_file, rows)
    return rows


def conclusion() -> list[int]:
    """Typed in from your table: for each change 1 better, -1 worse, 0 not shown"""
    # solution
    return [-1, 0]


rows = ablation(student, steps, most_seeds, budget, table_file)

# %% tags=["check:ablation"]
checks.ablation(ablation)

# %% [markdown] tags=["exercise:report"]
# ## Task 6: The report
# *5 points, about 40 min, open*
#
# Half a page, in the next cell. What did you change, and what did you predict before the table was made: better or
# worse, by how much, and why? What was the result: intervals, seeds, steps, failed runs? How far does the conclusion go?
# What else could have caused this result? With which command can the table be made again?

# %% [markdown] tags=["open:report"]
# *Your answer*

# %% [markdown] tags=["instructor"]
# Rubric, one line each: a prediction with a size and a reason (1); result with intervals, seeds, steps, failures (1);
# a conclusion for these data and steps only (1); another explanation: learning rate, steps, number of
# parameters, time of a run (1); the command (1). Usual mistakes: several changes at the same time; a prediction written
# afterwards; "no difference" where nothing was shown; so few steps that no variant has begun to learn.
#
# Results of the two changes in the solution, 16 seeds of 300 steps (248 s of runs on one core, student 123456):
# levels 1 and 3 alone -0.26 (-0.35 to -0.18), four key channels -0.20 (-0.30 to -0.10). With 10 seeds of 70 steps
# (tests/grader/a3_table.csv, to which `conclusion` in the solution belongs) the second is not shown.
