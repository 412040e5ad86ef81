# %% [markdown] tags=["header"]
# # 8. Comparing runs: seeds, confidence intervals, multiple comparisons
#
# *Your network scores three points more than mine. Is it better, or was its seed lucky?*
#
# - **Before:** lesson 6 (a training run); mean and standard deviation
# - **Time:** 105 min: reading 30, exercises 60, running 15
# - **Runs in:** 60 s (quick), 15 min (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. plan a grid of runs that fits into a time budget ([Exercise 8.1](exercise:grid))
# 2. run one notebook with many parameters, and describe a table that keeps failed runs ([Exercise 8.4](exercise:sentence))
# 3. compute the confidence interval of a mean, and say what its 95 % mean ([Exercise 8.2](exercise:interval))
# 4. compare two methods by paired differences, or report that the runs do not decide ([Exercise 8.3](exercise:real))
# 5. correct for multiple comparisons ([Prediction 8.5](predict:twenty), [Quiz 8.5](quiz:family))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import json
import tempfile
from itertools import combinations
from math import comb, sqrt
from pathlib import Path
from statistics import mean

import numpy as np
from IPython.display import Markdown, display

from annlib.course import checks, plots, widgets
from annlib.course.guesses import Predictions
from annlib.course.lesson import ROOT, known_parameters, open_lesson, progress
from annlib.course.statistics import interval, paired_interval, t_quantile
from annlib.course.sweeping import make_grid, summary_table, sweep

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()

# %% [markdown]
# ## One run is an anecdote
#
# Suppose that two people train the same network with the non-local block: same code, same 400 scenes, same
# thousand steps. Only the **seed** differs. It decides the initial weights and the order of the scenes.
# They compare their house accuracies, and the numbers differ. One of them is pleased, and the other starts
# to look for a bug. How large a difference can the seed alone cause?
#
# `python -m benchmarks.compare_heads` trained each of our five heads with five seeds. The results are in
# `data/results`, so we can look at them before we train anything.

# %%
records = json.loads((ROOT / "data/results/balloon_town.json").read_text(encoding="utf-8"))
houses = {head: {} for head in ("fcn", "ppm", "nonlocal", "apnb", "ann")}
for record in records:
    houses[record["head"]][record["seed"]] = record["house_accuracy"]
assert all(sorted(scores) == [0, 1, 2, 3, 4] for scores in houses.values())
print(f"{len(records)} runs; seed 1 of the non-local network: {houses['nonlocal'][1]:.3f}")

# %% [markdown]
# ### Prediction 8.1: Two people, two seeds
#
# House accuracy is between 0 and 1. Five seeds give ten pairs of people, each with one run of the
# non-local network. In how many of the ten pairs do the two results differ by more than `0.1`?
# (A number from 0 to 10.)

# %% tags=["predict:range"]
guess_pairs = 7  # solution

# %%
spreads = {head: max(s.values()) - min(s.values()) for head, s in houses.items()}
pairs = combinations(houses["nonlocal"].values(), 2)
apart = sum(abs(one - other) > 0.1 for one, other in pairs)
predictions.compare("8.1", guess_pairs, apart, tolerance=0.15, between=(0, 10))

# %%
lesson.claim("range-nonlocal", spreads["nonlocal"], within=0.006)
lesson.claim("range-ann", spreads["ann"], within=0.0005)
plots.dots({h: list(s.values()) for h, s in houses.items()}, "house accuracy", list(houses))

# %% [markdown] tags=["reveal:range"]
# With the same code, the five seeds of the non-local network span [0.58](claim:range-nonlocal). Neither of
# the two people made a mistake, and neither of them has a result yet. Other heads behave differently: the
# five seeds of ANN span only [0.001](claim:range-ann). So nobody can know in advance how many seeds are
# enough. Run several seeds, and report how much the results vary.
#
# That takes many runs. The next section shows how to start them without copying a notebook and
# editing it twelve times.

# %% [markdown] tags=["instructor"]
# Ten minutes to here. Let people say their prediction 8.1 aloud; many say one or two. The usual first
# explanation for a bad run is "a bug", the second "bad luck". Ask: *what would you have done if you had seen
# seed 2 (the worst) first?* (Probably changed something, run it again, and believed that the change had helped.)

# %% [markdown]
# ## A notebook with parameters
#
# `notebooks/jobs/train_town.ipynb` trains and scores one network of Balloon Town. It is an ordinary
# notebook with one cell tagged `parameters`. The tool **papermill** writes a copy of it, inserts a cell
# with other values right below that one, and runs the copy:

# %%
job = ROOT / "notebooks/jobs/train_town.ipynb"
for name, value in known_parameters(job).items():
    print(f"{name} = {value!r}")

# %% [markdown]
# Two details make this safe.
#
# - papermill accepts *any* name. If you write `sed` instead of `seed`, it adds a variable that no cell
#   reads, and three runs with three "seeds" are identical. `annlib` therefore compares all names with
#   the list above before anything starts.
# - The executed copy is kept, with its parameters, its loss curve and its images. So you can look up the
#   run behind a surprising number.
#
# This grid contains such a typo:

# %%
try:
    make_grid(job, {"head": ["ann"], "sed": [0, 1, 2]})
except ValueError as error:
    print(error)

# %% [markdown]
# ## A grid of runs and its cost
#
# Our question: *do the anchors need all four levels of the pyramid?* We compare 110 anchors
# (`"1,3,6,8"`) with a single one (`"1"`), the mean of the whole feature map. We do so in APNB alone and in
# ANN, each with several seeds. The lengths of the lists multiply:
#
# $$\text{runs} = \text{heads} \times \text{pyramids} \times \text{seeds}, \qquad
# \text{minutes} = \left\lceil \frac{\text{runs}}{\text{cores}} \right\rceil \cdot \text{minutes per run}$$
#
# The brackets round up. Runs go in rounds, with one run on each core, and a round that is not full
# takes as long as a full one.
#
# **Example.** A run takes 3 minutes, there are 2 cores, and the budget is 31 minutes. Ten rounds fit, that
# is 20 runs. Each seed needs 2 heads x 2 pyramids = 4 runs, so 5 seeds fit.

# %% [markdown] tags=["exercise:grid"]
# ### Exercise 8.1: The grid that fits
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 1*
#
# Write the grid for our question with as many seeds as the budget allows. For the example above, the list
# of seeds has five entries. Values are lists, because the grid is saved as a JSON file.
#
# *Extension (optional):* your budget allows either 2 more seeds or a third pyramid `"1,3"`. Which of them
# would you choose, and for which question?


# %% tags=["answer:grid"]
def plan(minutes_a_run: float, cores: int, budget: float) -> dict[str, list]:
    """The lists of `head`, `pool_scales` and `seed`; budget: minutes for all runs"""
    # solution
    rounds = int(budget // minutes_a_run)
    num_seeds = rounds * cores // (2 * 2)
    return {
        "head": ["apnb", "ann"],
        "pool_scales": ["1", "1,3,6,8"],
        "seed": list(range(num_seeds)),
    }


# %% [markdown] tags=["hint:grid:1"]
# Draw a timetable with one column for each core and one row for each round. How many rows fit into the
# budget? How many places does the table have then?

# %% [markdown] tags=["hint:grid:2"]
# `budget // minutes_a_run` counts whole rounds. Divide the number of places by the number of
# combinations (heads x pyramids) and round down: that is the number of seeds. `list(range(3))` is `[0, 1, 2]`.

# %% [markdown] tags=["hint:grid:3"]
# ```
# rounds = int(budget // minutes_a_run)
# num_seeds = rounds * cores // ...
# return {"head": ["apnb", "ann"], "pool_scales": [...], "seed": ...}
# ```

# %% tags=["check:grid"]
checks.run_grid(plan)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# More seeds narrow every interval of the comparison that you planned, so choose them when the question is
# "does the pyramid help?". A third pyramid adds a point between 1 and 110 anchors, so choose it when the
# question is "how many levels are needed?". With few seeds the second question cannot be answered either.
#
# </details>

# %% [markdown] tags=["instructor"]
# Fifteen minutes for both sections. Usual mistakes in 8.1: adding the lengths of the lists instead of multiplying
# them; the same seed several times ("to be sure"); 13 runs on 2 cores counted as 6.5 rounds. Discussion: *why the
# same seeds in every cell of the table?* (So that runs form pairs; Exercise 8.3 uses that.) When late, give out 8.1
# and start the grid: it needs some minutes, and Exercise 8.2 can be done on paper meanwhile.

# %% [markdown]
# ## Running the grid
#
# With a single anchor the softmax runs over one score. Every attention weight is 1, so the output is the
# same at every position: the mean of all values.

# %% [markdown]
# ### Prediction 8.2: One anchor
#
# What house accuracy will APNB reach with one anchor: "guess" (about a third), "vote" (about
# [0.6](given:vote), every house gets the most frequent pattern of its scene), or "solved" (above
# [0.8](given:bound))?

# %% tags=["predict:bins"]
guess_bins = "vote"  # solution

# %% [markdown]
# Now run the grid. One more run is planned that must fail, because its value has a typo: `"1,3,6;8"`.
# Names can be checked before a run, values often only by the run itself. Finished runs are kept in a
# folder: if you interrupt this cell (the square ■ in the toolbar) and run it again, it continues where it
# stopped. The table fills while runs finish. When all of them have finished, try this. Say each time
# *what changes, and why*.
#
# 1. Set `pool_scales` to `1`: how much do the seeds differ now? Then choose `1,3,6,8`.
# 2. Choose one seed, then another one. Would you draw the same conclusion from that seed alone?
# 3. Set `pool_scales` to `1,3,6;8`: what does the table keep of the failed run?

# %%
quick = {"iterations": 2, "num_scenes": 8, "val_scenes": 2}
base = lesson.pick(quick, {"iterations": 600}, {"iterations": 1000, "device": str(lesson.device)})
question = {"head": ["apnb", "ann"], "pool_scales": ["1", "1,3,6,8"]}
lists = lesson.pick(
    quick={"head": ["apnb"], "pool_scales": ["1"], "seed": [0, 1]},
    learn={**question, "seed": [0, 1, 2]},
    full={**question, "seed": [0, 1, 2, 3, 4]},
)
grid = make_grid(job, lists, base, runs=[{"pool_scales": "1,3,6;8"}])
rehearsal = tempfile.TemporaryDirectory()
folder = lesson.pick(Path(rehearsal.name), Path("runs/lesson-08"), Path("runs/lesson-08-full"))
assert len({one.name for one in grid.combinations}) == len(grid.combinations)
print(f"{len(grid.combinations)} runs; they differ in {', '.join(grid.varied)}")

# %%
table = widgets.ResultsTable(grid, "house_accuracy")
display(table)
for outcome in progress(sweep(grid, folder, jobs=2), len(grid.combinations), "runs"):
    table.add(outcome)

# %%
outcomes = sorted(table.outcomes.values(), key=lambda one: one.number)
reached: dict[tuple[str, str], list[float]] = {}
for one in outcomes:
    if not one.failed:
        cell = one.parameters["head"], one.parameters["pool_scales"]
        reached.setdefault(cell, []).append(one.result["house_accuracy"])
one_anchor = mean(reached["apnb", "1"])
outcome = "guess" if one_anchor < 0.45 else "vote" if one_anchor < 0.8 else "solved"
predictions.compare("8.2", guess_bins, outcome, options=("guess", "vote", "solved"))
display(Markdown(summary_table(grid, outcomes)))

# %%
for head in ("apnb", "ann"):
    for name, pyramid in (("one", "1"), ("all", "1,3,6,8")):
        measured = mean(reached.get((head, pyramid), [0.0]))  # 0: not part of a quick run
        lesson.claim(f"{head}-{name}", measured, within=0.03, modes=("learn",))
failed = [one.parameters["pool_scales"] for one in outcomes if one.failed]
assert set(failed) <= {"1,3,6;8"}, f"only the run with the typo may fail; these did: {failed}"

# %% [markdown] tags=["reveal:bins"]
# (In `quick` mode two steps teach nothing, and a 0 above means "not measured". The numbers in this text are
# those of a `learn` run.)
# One anchor reaches [0.61](claim:apnb-one) in APNB and [0.61](claim:ann-one) in ANN: a vote. The mean of a
# feature map can say *how many* balloons are striped, but not *which colour* the striped ones have. With all
# 110 anchors APNB reaches [0.77](claim:apnb-all) on average and ANN [0.99](claim:ann-all). Each of these four
# numbers is a mean of three seeds; do not quote one without the interval in the table above. The next section
# shows what three seeds can tell.
#
# Look at how the table treats the failed run. It counts in no mean, but it has its own row with the reason.
# A table without its failures would be biased: a method that crashes on hard seeds would be judged by its
# easy ones.

# %% [markdown] tags=["instructor"]
# The grid takes ten to fifteen minutes in `learn` mode: use them for Exercise 8.2. In a room, let each
# group run other seeds (`seed` lists 0-2, 3-5, ...) and merge the tables. Discussion: *which of our cells
# would you drop if the budget were halved, and what could you then no longer say?* When late: stop the cell.
# Finished runs stay, and the rest of the lesson works on the five seeds of `data/results`. This is a good place
# to stop for the day, because what follows starts from those five seeds.
#
# Answers, results table: (1) with one anchor all seeds are near the vote; with all anchors they differ much more,
# because some have solved the town and some have not. (2) No: one seed may show either case. (3) Its row, its
# parameters and the error message.

# %% [markdown]
# ## Confidence interval: what few runs can say
#
# The mean $\bar{x}$ of $n$ runs is itself random, because other seeds give another mean. How much does it vary?
# The standard deviation $s$ says how much single runs vary. The mean of $n$ runs varies less: its standard
# deviation is about $s/\sqrt{n}$ and is called the **standard error**. But $s$ is estimated from the same few runs,
# so it is uncertain as well. Student's factor $t$ corrects for that:
#
# $$s = \sqrt{\frac{1}{n-1}\sum_{i=1}^{n} (x_i - \bar{x})^2}, \qquad
# \bar{x} \pm t_{n-1} \cdot \frac{s}{\sqrt{n}}$$
#
# This is the [95 %](given:level) confidence interval. The factor $t_{n-1}$ is the number that Student's
# distribution exceeds with a probability of [2.5 %](given:half-of-5). With many runs it approaches the
# well-known [1.96](given:normal-quantile); with few runs it is much larger:

# %%
for n in (2, 3, 5, 10, 30):
    print(f"n = {n:2d}: t = {t_quantile(0.975, n - 1):.2f}")

# %% [markdown]
# **Example.** Three runs score `0.7`, `0.8` and `0.9`. The next cell computes each letter of the formula.

# %%
x = [0.7, 0.8, 0.9]
n, x_bar = len(x), sum(x) / len(x)
s = sqrt(sum((x_i - x_bar) ** 2 for x_i in x) / (n - 1))
t = t_quantile(0.975, n - 1)
print(f"n = {n}, mean {x_bar:.2f}, s = {s:.2f}, standard error {s / sqrt(n):.3f}, t = {t:.2f}")
print(f"interval {x_bar - t * s / sqrt(n):.2f} to {x_bar + t * s / sqrt(n):.2f}")
assert abs(t * s / sqrt(n) - interval(x).half) < 1e-9

# %% [markdown] tags=["exercise:interval"]
# ### Exercise 8.2: The interval of a mean
#
# *Difficulty 2/5, importance 5/5, about 5 min, objective 3*
#
# Write the interval of the formula above: its two ends. `mean`, `stdev` (from `statistics`) and `t_quantile` do the
# arithmetic. For `[0.7, 0.8, 0.9]` the result is about `(0.55, 1.05)`. What does $n$ count: runs, pixels, or scenes?
#
# *Extension (optional):* what happens to the interval if you pass the same list twice, `scores + scores`? Why is
# that not a cheap way to certainty?


# %% tags=["answer:interval"]
def confidence_interval(scores: list[float]) -> tuple[float, float]:
    """Scores of n runs -> (low, high): the 95 % confidence interval of their mean"""
    from math import sqrt
    from statistics import mean, stdev

    # solution
    n = len(scores)
    half = t_quantile(0.975, n - 1) * stdev(scores) / sqrt(n)
    return mean(scores) - half, mean(scores) + half


# %% [markdown] tags=["hint:interval:1"]
# The half width is a product of three factors: the standard deviation of the runs, $1/\sqrt{n}$, and a
# number that depends on the confidence level.

# %% [markdown] tags=["hint:interval:2"]
# `stdev` already divides by n - 1. `t_quantile(share, df)` takes the share *below* the quantile: with
# [2.5 %](given:half-of-5) above it, `0.975`.

# %% [markdown] tags=["hint:interval:3"]
# ```
# n = len(scores)
# half = t_quantile(0.975, n - 1) * ...
# return mean(scores) - half, ...
# ```

# %% tags=["check:interval"]
checks.confidence_interval(confidence_interval)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# The interval shrinks by more than a factor of √2: n doubles, and t falls. But the copies are not new
# measurements. The formula assumes independent runs, and copies depend on each other completely, so the
# interval no longer covers the true mean in [95 %](given:level) of all experiments.
#
# </details>

# %%
for head, scores in houses.items():
    print(f"{head:9} {interval(list(scores.values()))}")
lesson.claim("half-nonlocal", interval(list(houses["nonlocal"].values())).half, within=0.006)
lesson.claim("half-fcn", interval(list(houses["fcn"].values())).half, within=0.0006)

# %% [markdown]
# Five seeds determine the mean of FCN to ± [0.007](claim:half-fcn), but that of the non-local network only to
# ± [0.33](claim:half-nonlocal): from five runs we know almost nothing about its mean. How many runs would be
# enough? The left figure shows the half width for any number of runs with the standard deviation of a head.
# The right figure simulates 40 experiments whose true mean is known, and marks the intervals that miss it.
#
# 1. Choose `nonlocal`, 5 runs. How many runs do you need for a half width below `0.1`? And below `0.05`? (The
#    slider ends too early for that. Calculate what halving the width costs.)
# 2. Go down to 2 and 3 runs. How far apart are the two curves there, and why?
# 3. Set the level to `80 %`, then `99 %`. What happens to the bars, and to the number of misses? Why not
#    always `99 %`?

# %%
unsteady_first = ("nonlocal", "apnb", "ppm", "fcn", "ann")
widgets.interval_sliders({head: list(houses[head].values()) for head in unsteady_first})

# %% [markdown]
# ## What the 95 % mean
#
# The level is a property of the *procedure*, not of one interval. If you repeat the whole experiment many
# times, each time with new seeds, then [95 %](given:level) of the intervals contain the true mean. This share
# is called **coverage**. One given interval either contains the true mean or does not. So "the true mean lies
# in this interval with a probability of [95 %](given:level)" is a misreading, although a common one.
#
# Coverage can be tested, because in a simulation we know the true mean. The formula assumes that runs are
# normally distributed. Our runs are not: they either end near the vote or solve the town. Their distribution is
# **bimodal**. We simulate both cases, 10,000 experiments of five runs each. In the bimodal case nine runs of
# ten score 1, and one scores [0.6](given:vote).

# %% [markdown]
# ### Prediction 8.3: Coverage
#
# In the normal case, about [95 %](given:level) of the intervals contain the true mean. In the bimodal case, which
# percentage does? (A number from 0 to 100.)

# %% tags=["predict:coverage"]
guess_coverage = 40  # solution

# %%
draw = np.random.default_rng(0)


def coverage(runs: np.ndarray, true_mean: float) -> float:
    """runs (experiments, n) -> percentage of the 95 % intervals that contain the true mean"""
    n = runs.shape[1]
    half = t_quantile(0.975, n - 1) * runs.std(axis=1, ddof=1) / sqrt(n)
    return 100 * float(np.mean(abs(runs.mean(axis=1) - true_mean) <= half))


normal_runs = draw.normal(0.7, 0.1, (10_000, 5))
bimodal_runs = np.where(draw.random((10_000, 5)) < 0.9, 1.0, 0.6)
assert normal_runs.shape == bimodal_runs.shape == (10_000, 5)
covered = {"normal": coverage(normal_runs, 0.7), "bimodal": coverage(bimodal_runs, 0.96)}
predictions.compare("8.3", guess_coverage, covered["bimodal"], tolerance=0.2, between=(0, 100))
same = 100 * float(np.mean(bimodal_runs.std(axis=1) == 0))
print(f"normal: {covered['normal']:.1f} %, bimodal: {covered['bimodal']:.1f} %")
print(f"In {same:.0f} % of the bimodal experiments all five runs scored the same.")
for name, value in covered.items():
    lesson.claim(f"coverage-{name}", value, within=1, unit="%")
lesson.claim("all-the-same", same, within=2, unit="%")

# %% [markdown] tags=["reveal:coverage"]
# With normal runs the coverage is [94.7 %](claim:coverage-normal), as promised. With bimodal runs it is only
# [40 %](claim:coverage-bimodal). The reason: in [60 %](claim:all-the-same) of the experiments all five runs
# succeed. Then $s = 0$, the interval has no width, and it misses the true mean. **The interval of ANN
# above, ± [0.000](given:rounded), is exactly such a case.** It does not show that ANN always succeeds.
#
# For bimodal runs, report the **proportion of successful runs** instead, with an interval for proportions. The next
# cell has one, Wilson's interval, as a function that you can use. *Example:* 5 successes of 10 runs give an interval
# from [0.24](given:wilson-example) to [0.76](given:wilson-example).
#
# <details><summary>To look up: the formula of Wilson's interval</summary>
#
# With $k$ successes of $n$ runs, $p = k / n$ and $z$ = [1.96](given:normal-quantile):
#
# $$\frac{1}{1 + z^2/n}\left(p + \frac{z^2}{2n} \pm z \sqrt{\frac{p(1-p)}{n} + \frac{z^2}{4n^2}}\right)$$
#
# </details>


# %%
def success_interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion: the share of runs that succeed"""
    p = successes / n
    half = z * sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    middle, scale = p + z**2 / (2 * n), 1 + z**2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


solved = {head: sum(score > 0.8 for score in scores.values()) for head, scores in houses.items()}
for head, count in solved.items():
    low, high = success_interval(count, 5)
    print(f"{head:9} {count} of 5 runs above 0.8; interval {low:.2f} to {high:.2f}")
lesson.claim("ann-success-low", success_interval(solved["ann"], 5)[0], within=0.01)
# Two of the ten runs of ANN and non-local failed. How often would chance put both on one side?
failures = 10 - solved["ann"] - solved["nonlocal"]
by_chance = 2 * comb(5, failures) / comb(10, failures)
lesson.claim("split-by-chance", by_chance, within=0.01)

# %% [markdown]
# Five successes of five are compatible with a success rate as low as [0.57](claim:ann-success-low). Is
# ANN with five of five better than the non-local network with three of five? Count: of the ten runs two
# failed, and both belong to the same network. If the two networks were equally good, chance would put both
# failures on one side with a probability of [0.44](claim:split-by-chance). This is **Fisher's exact test**, and
# [0.44](claim:split-by-chance) is its *p-value*: these runs do not show a difference. With twice as many
# seeds and the same rates (ten of ten against six of ten) it would be
# [0.09](given:fisher-10); with 15 seeds each, [0.02](given:fisher-15).

# %% [markdown] tags=["instructor"]
# Twenty minutes. The simulation is the argument: let people explain *why* coverage is lost before they read on.
# Usual mistakes: "95 % of the runs lie in the interval" (that is about s, not about the mean); "the true mean
# lies in there with 95 %". Prompt: *five of five runs succeeded. How often may your customer's sixth run fail?*
# (Up to about four times in ten, says the interval.) When late, skip the formula and use the function.

# %% [markdown]
# ## Paired differences
#
# APNB has a higher mean than the non-local block. Runs with the same seed start from the same backbone weights
# and see the scenes in the same order. So they form **pairs**: effects that a seed has on both networks cancel
# in the difference $d_i = x_i - y_i$. If the interval of the mean difference contains 0, these runs do not
# show a difference.

# %% [markdown]
# ### Prediction 8.4: APNB against non-local
#
# Five pairs. Does the [95 %](given:level) interval of the mean difference contain zero: "yes" or "no"?

# %% tags=["predict:zero"]
guess_zero = "yes"  # solution

# %%
found = paired_interval(houses["apnb"], houses["nonlocal"])
outcome = "yes" if found.holds(0.0) else "no"
predictions.compare("8.4", guess_zero, outcome, options=("yes", "no"))
print(f"APNB - non-local: {found}")
lesson.claim("apnb-nonlocal", found.mean, within=0.006)
lesson.claim("apnb-nonlocal-half", found.half, within=0.006)

# %% [markdown] tags=["reveal:zero"]
# The difference is [0.09](claim:apnb-nonlocal) ± [0.25](claim:apnb-nonlocal-half). The correct sentence is "no
# difference was shown". "There is no difference" would be as wrong as "APNB is better": values from a clear loss
# to a large gain are compatible with these runs.

# %% [markdown] tags=["exercise:real"]
# ### Exercise 8.3: Decide with numbers
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 4*
#
# Write the comparison. Runs come as a dict from seed to score, in any order; `None` stands for a failed run.
# **Example:** `{0: 0.9, 1: 0.8, 2: None}` and `{2: 0.7, 1: 0.6, 0: 0.5}` have two complete pairs with
# the differences `0.4` (seed 0) and `0.2` (seed 1), so the mean difference is `0.3`.
#
# *Extension (optional):* how would you report a method that fails with three seeds of ten and is better with the
# other seven?


# %% tags=["answer:real"]
def compare(ours: dict, theirs: dict) -> tuple[float, float]:
    """{seed: score or None} twice -> (mean of ours - theirs, half width of its 95 % interval)"""
    # solution
    both = [seed for seed in ours if ours[seed] is not None and theirs.get(seed) is not None]
    low, high = confidence_interval([ours[seed] - theirs[seed] for seed in both])
    return (low + high) / 2, (high - low) / 2


# %% [markdown] tags=["hint:real:1"]
# First make a list of differences; the rest is Exercise 8.2. Which seeds belong in the list?

# %% [markdown] tags=["hint:real:2"]
# Loop over the seeds of one dict and look each of them up in the other. Skip a seed if either value `is None`.
# Your `confidence_interval` returns both ends; half their difference is the half width.

# %% [markdown] tags=["hint:real:3"]
# ```
# both = [seed for seed in ours if ours[seed] is not None and ...]
# low, high = confidence_interval([... for seed in both])
# ```

# %% tags=["check:real"]
checks.paired_difference(compare)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# Report two results: the proportion of failed runs (three of ten, interval [0.11](given:wilson) to
# [0.60](given:wilson)) and the paired difference of the seven complete pairs. Say that the second number
# holds only for runs that do not fail. A reader who cannot afford a failed run needs the first number.
#
# </details>

# %% [markdown]
# ## Many comparisons
#
# Each interval with the level [95 %](given:level) excludes the true value in one experiment of twenty. If you
# compare many methods, you will make some such errors. Each of them is a **false positive**: a "difference"
# between methods that are equally good.

# %% [markdown]
# ### Prediction 8.5: Twenty comparisons
#
# You compare twenty methods with a baseline, in twenty independent experiments. None of them is better or
# worse. What is the probability that at least one [95 %](given:level) interval excludes zero? (A number from 0 to 1.)

# %% tags=["predict:twenty"]
guess_twenty = 0.64  # solution

# %%
predictions.compare("8.5", guess_twenty, 1 - 0.95**20, tolerance=0.15, between=(0, 1))
rivals = (("ppm", "fcn"), ("apnb", "ppm"), ("ann", "apnb"), ("ann", "nonlocal"))
for each in (0.95, 1 - 0.05 / len(rivals)):
    print(f"Each interval at {each:.2%}:")
    for ours, theirs in rivals:
        one = paired_interval(houses[ours], houses[theirs], level=each)
        told = "contains 0: cannot tell" if one.holds(0.0) else "excludes 0"
        print(f"  {ours:4} - {theirs:8} {one}  {told}")
lesson.claim("ann-apnb", paired_interval(houses["ann"], houses["apnb"]).mean, within=0.006)
lesson.claim("ann-apnb-half", paired_interval(houses["ann"], houses["apnb"]).half, within=0.006)
single = paired_interval(houses["apnb"], houses["ppm"])
corrected = paired_interval(houses["apnb"], houses["ppm"], level=1 - 0.05 / 4)
lesson.claim("apnb-ppm", single.mean, within=0.006)
lesson.claim("apnb-ppm-half", single.half, within=0.006)
lesson.claim("apnb-ppm-corrected", corrected.half, within=0.006)

# %% [markdown] tags=["reveal:twenty"]
# $1 - 0.95^{20}$ = [0.64](given:product): one "discovery" is more likely than none. **Bonferroni's correction**
# keeps the probability of *any* false positive below [5 %](given:level) for $k$ comparisons: each single interval
# gets the level $1 - 0.05 / k$. For $k = 4$ that is [98.75 %](given:bonferroni), so the quantile is
# `t_quantile(1 - 0.025 / 4, n - 1)`. The correction holds whether or not the comparisons depend on each other. Its
# price is wider intervals.
#
# Our four comparisons show the effect. APNB minus PPM is [0.30](claim:apnb-ppm) ± [0.21](claim:apnb-ppm-half) as
# a single comparison, which excludes zero. As one of four it is ± [0.32](claim:apnb-ppm-corrected), and contains
# zero. Only PPM minus FCN still excludes zero after the correction.
#
# A negative result remains: the whole network ANN is [0.12](claim:ann-apnb) above APNB alone, all of its five
# runs solve the town, and still the interval is ± [0.21](claim:ann-apnb-half) and contains zero.
# Five pairs are too few for a baseline that varies so much.

# %% [markdown]
# **What this does not show.** Student's $t$ assumes normally distributed differences. Ours are bimodal, so the
# level is only approximate, and an interval may even extend above 1, where no score can be. Read these intervals as
# a guard against premature claims, not as exact probabilities, and report the proportion of successful runs beside
# them. Seeds are only one source of variation: other scenes, another learning rate or another machine are further ones.
#
# **And on photos?** The rules are the same. In a first trial on CamVid's street photos, after five minutes of training
# each, a network without attention was about one point of mIoU ahead of ANN, with one seed each. By the rules of this
# lesson that decides nothing, in either direction. A study that can decide takes several seeds of both
# (`python -m benchmarks.compare_heads streets --data camvid`).

# %% [markdown] tags=["exercise:sentence"]
# ### Exercise 8.4: One honest sentence
#
# *Difficulty 2/5, importance 5/5, about 5 min, objective 4, open*
#
# Write the caption of the table of your grid. Say what was compared, how many runs each number comes from, what
# happened to failed runs, how many comparisons you made, what the runs show, and what they do not show.
#
# *Example (invented, for another grid).* "House accuracy of FCN with 100 and with 400 scenes, mean of 4 seeds ± half
# of a [95 %](given:level) interval. No run failed. One comparison, by paired differences: [0.01](given:invented) ±
# [0.03](given:invented). The interval contains 0, so a difference was not shown. The learning rate was not varied."

# %% [markdown] tags=["instructor"]
# Rubric for 8.4 (0 to 4): gives the number of seeds and the meaning of ± (1); says that one run failed and why it
# counts in no mean (1); claims nothing whose interval contains zero, with the level corrected for the number of
# comparisons (1); mentions something that was not varied, such as data or learning rate (1).
#
# Twenty-five minutes for the last two sections. Usual mistakes in 8.3: zip over the values (order!), a failed run
# as 0, adding the spreads of both heads. Prompt: *the paper's table has one number per row. What would you
# have to know to compare two rows?*
#
# Answers, interval widget: (1) 30 runs; about 109. (2) At two runs the factor is 12.7 against 1.96. (3) A
# higher level gives longer bars and fewer misses, and soon nothing is decided.

# %% [markdown]
# ## Larger machines
#
# The loop above is also a command. It keeps each executed notebook and writes `table.md`, `results.csv`
# and a page with the curves of all runs:
#
# ```
# annlib sweep notebooks/jobs/bins.json --jobs 2
# ```
#
# On a cluster each combination becomes one task of an array (`--only 7`), and `--table` collects what is
# finished, failures included. `data/cluster/README.md` has a script for SLURM, and shows how Airflow runs the same
# notebook with its operator for papermill.

# %% [markdown]
# ## Your predictions
#
# Your predictions beside the results.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which prediction was correct, but for a wrong reason?

# %%
rehearsal.cleanup()
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:more"]
# ### Quiz 8.1: You have ten runs and want an interval half as wide. How many runs do you need in all?
#
# - [ ] 20
#   The width falls with the square root of n: twice the runs make it narrower by a third only.
# - [x] About 40
#   Four times the runs give half the width. (t shrinks a little as well.)
# - [ ] 11; each run counts.
#   Each run counts, but less and less.

# %% [markdown] tags=["quiz:pixels"]
# ### Quiz 8.2: A run is scored on five million pixels. Which n belongs in the interval of a head's mean?
#
# - [ ] Five million: each pixel is a measurement.
#   All these pixels are measurements of one network with one seed. They say nothing about other seeds.
# - [ ] The number of scenes.
#   It says how well one network's score is known, not how training goes with other seeds.
# - [x] The number of runs.
#   The question is what another training run would give.

# %% [markdown] tags=["quiz:zero"]
# ### Quiz 8.3: The 95 % interval of a difference contains zero. What may you write?
#
# - [ ] The two methods are equally good.
#   The interval contains zero, and many other differences, too. Absence of evidence is not evidence of absence.
# - [x] These runs do not show a difference; every value between the two ends is compatible with them.
#   Give both ends, so that readers see which differences are still possible.
# - [ ] The true difference lies between the two ends with a probability of [95 %](given:level).
#   The [95 %](given:level) belong to the procedure: so many intervals of repeated experiments contain the true value.
#   One given interval either contains it or not.

# %% [markdown] tags=["quiz:failed"]
# ### Quiz 8.4: One of ten runs ended with NaN. What belongs in the table?
#
# - [ ] Nine runs; the tenth was broken.
#   Then nobody learns that the method can fail, and its mean is that of the successful runs.
# - [ ] Ten runs, the tenth with a score of 0.
#   A score of 0 was not measured. One invented number can change the mean more than all seeds do.
# - [x] The mean of nine, and beside it: one failed, and why.
#   These are two facts, and the table keeps them apart.

# %% [markdown] tags=["quiz:family"]
# ### Quiz 8.5: You test six variants against a baseline and want at most a 5 % chance of any false positive. Which level does each interval get?
#
# - [ ] [95 %](given:level), as always.
#   Then the chance of at least one false positive is up to [26 %](given:level).
# - [ ] [95 %](given:level), but only for the best variant.
#   The best of six was chosen after looking at the results, so all six comparisons count.
# - [x] `1 - 0.05 / 6`, about [99.2 %](given:level).
#   Bonferroni: the six small probabilities of a false positive sum to at most [5 %](given:level).

# %% [markdown] tags=["recap"]
# ## Recap
#
# You planned a grid that fits a budget, ran one notebook with many parameters and kept its failed run in the
# table. You computed what few runs can say ($\bar{x} \pm t_{n-1}\, s/\sqrt{n}$, where n counts runs), tested
# what its level means, and met a case where it fails: bimodal runs, for which the proportion of successes is the
# better number. You compared methods by paired differences, corrected for the number of comparisons, and
# reported "cannot tell" where the runs did not decide.
#
# Read more: Student, *The Probable Error of a Mean*, Biometrika 1908; E. B. Wilson, *Probable Inference, the Law of
# Succession, and Statistical Inference*, Journal of the American Statistical Association 1927; X. Bouthillier and
# others, *Accounting for Variance in Machine Learning Benchmarks*, MLSys 2021; the documentation of papermill.
#
# Next: [real images](09_real_images.ipynb), where a single run can cost days, so it is planned before it starts
