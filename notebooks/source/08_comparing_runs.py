# %% [markdown] tags=["header"]
# # 8. Many runs, one table
#
# *Your network is three points better than mine. Is it?*
#
# - **Before:** lesson 6 (a training run); mean and standard deviation
# - **Reading:** 45 min
# - **Runs in:** 60 s (quick), 15 min (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. plan a grid of runs that fits into a budget of time ([Exercise 8.1](exercise:grid))
# 2. run one notebook with many parameters, and read a table that keeps its failures ([Prediction 8.2](predict:bins))
# 3. compute the confidence interval of a mean from a handful of runs ([Exercise 8.2](exercise:interval))
# 4. decide with numbers whether a difference is real, or say that you cannot tell ([Exercise 8.3](exercise:real))

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
from pathlib import Path
from statistics import mean

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
# Suppose two people train the same network with the non-local block: same code, same 400 scenes, same
# thousand steps. They differ in the **seed**, which decides the first weights and the order of the scenes.
# They compare how many houses their networks name rightly, and the numbers differ. One of them is proud,
# the other starts to look for a bug. How large a difference would you put down to the seed alone?
#
# `python -m benchmarks.compare_heads` has trained each of our five heads with five seeds. Its results lie in
# `data/results`, so we can look before we train.

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
# House accuracy lies between 0 and 1. Five seeds make ten pairs of people, each with one run of the
# non-local network. In how many of the ten pairs do the two differ by more than `0.1`?

# %% tags=["predict:range"]
guess_pairs = 7  # solution

# %%
spreads = {head: max(s.values()) - min(s.values()) for head, s in houses.items()}
pairs = combinations(houses["nonlocal"].values(), 2)
apart = sum(abs(one - other) > 0.1 for one, other in pairs)
predictions.compare("8.1", guess_pairs, apart, tolerance=0.15, between=(0, 10))
lesson.claim("range-nonlocal", spreads["nonlocal"], within=0.006)
lesson.claim("range-ann", spreads["ann"], within=0.0005)
plots.dots({h: list(s.values()) for h, s in houses.items()}, "house accuracy", list(houses))

# %% [markdown]
# Same code, and the seeds lie [0.58](claim:range-nonlocal) apart: neither of our two people made a mistake,
# and neither has a result. With other heads it is quite different; the five seeds of ANN differ by
# [0.001](claim:range-ann). So nobody can tell *beforehand* how many seeds are enough. One runs several, and
# reports how far they lie apart.
#
# That needs many runs, and many runs need a way to start them that does not involve copying a notebook
# and editing it twelve times.

# %% [markdown] tags=["instructor"]
# Ten minutes to here. Let people guess 8.1 aloud; many say one or two. The usual first explanation for a bad run
# is "a bug", the second "bad luck". Ask: *what would you have done if you had seen seed 2 (the worst) first?*
# (Probably changed something, run again, and believed the change had helped.)

# %% [markdown]
# ## A notebook with parameters
#
# `notebooks/jobs/train_town.ipynb` trains and scores one network of Balloon Town. It is an ordinary
# notebook with one cell tagged `parameters`. The tool **papermill** writes a copy of it in which a new cell,
# with other values, stands right below that one, and runs the copy:

# %%
job = ROOT / "notebooks/jobs/train_town.ipynb"
for name, value in known_parameters(job).items():
    print(f"{name} = {value!r}")

# %% [markdown]
# Two details decide whether that is safe.
#
# - papermill accepts *any* name. Write `sed` for `seed` and it adds a variable that nobody reads: three runs
#   with three "seeds", all the same. `annlib` therefore compares names with the list above before
#   anything starts.
# - The executed copy is kept, with its parameters, its curve and its pictures. A number in a table that
#   surprises you can be looked up.
#
# Try it: this grid has a slip in it.

# %%
try:
    make_grid(job, {"head": ["ann"], "sed": [0, 1, 2]})
except ValueError as error:
    print(error)

# %% [markdown]
# ## A grid, and what it costs
#
# Our question: *do the anchors need all four levels of the pyramid?* We compare 110 anchors
# (`"1,3,6,8"`) with a single one (`"1"`), the mean of the whole map. In APNB alone and in ANN; each with
# several seeds. Every list multiplies:
#
# $$\text{runs} = \text{heads} \times \text{pyramids} \times \text{seeds}, \qquad
# \text{minutes} = \left\lceil \frac{\text{runs}}{\text{cores}} \right\rceil \cdot \text{minutes a run}$$
#
# The brackets round up: runs go in rounds of as many as there are cores, and a round that is not full
# takes as long as a full one.

# %% [markdown] tags=["exercise:grid"]
# ### Exercise 8.1: The grid that fits
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 1*
#
# Write the grid for our question with as many seeds as the budget pays. Values are lists, because the
# grid goes into a JSON file. *For the fast:* your budget allows either 2 more seeds or a third pyramid
# `"1,3"`. Which would you buy, and for which question?


# %% tags=["answer:grid"]
def plan(minutes_a_run: float, cores: int, budget: float) -> dict[str, list]:
    """The lists of `head`, `pool_scales` and `seed`; budget: minutes for all"""
    # solution
    rounds = int(budget // minutes_a_run)
    num_seeds = rounds * cores // (2 * 2)
    return {
        "head": ["apnb", "ann"],
        "pool_scales": ["1", "1,3,6,8"],
        "seed": list(range(num_seeds)),
    }


# %% [markdown] tags=["hint:grid:1"]
# Think of a time table: one column for each core, one row for each round. How many rows fit into the
# budget? How many places does the table have then?

# %% [markdown] tags=["hint:grid:2"]
# `budget // minutes_a_run` counts whole rounds. Places divided by cells (heads x pyramids), without the
# rest, gives the seeds. `list(range(3))` is `[0, 1, 2]`.

# %% [markdown] tags=["hint:grid:3"]
# `rounds = int(budget // minutes_a_run)`

# %% tags=["check:grid"]
checks.run_grid(plan)

# %% [markdown] tags=["instructor"]
# Fifteen minutes for both sections. Usual mistakes in 8.1: adding the lists instead of multiplying; the
# same seed several times ("to be sure"); 13 runs on 2 cores counted as 6.5 rounds. Discussion: *why the
# same seeds in every cell?* (So that runs form pairs; Exercise 8.3 lives on it.) When late, give out 8.1
# and start the grid: it needs some minutes, and Exercise 8.2 can be done on paper meanwhile.

# %% [markdown]
# ## Run it
#
# With a single anchor the softmax runs over one number: every weight is 1, and every position fetches the
# same thing, the mean of all values.

# %% [markdown]
# ### Prediction 8.2: One anchor
#
# What will APNB with one anchor reach on the houses: "guess" (about a third), "vote" (about [0.6](given:vote), naming
# every house after the most frequent pattern), or "solved" (above [0.8](given:bound))?

# %% tags=["predict:bins"]
guess_bins = "vote"  # solution

# %% [markdown]
# Now the grid. One more run is planned that cannot succeed: `"1,3,6;8"`, a slip of the finger. Names can be
# checked beforehand, values often only by the run itself. Finished runs are kept in a folder: interrupt
# this cell (the square ■ in the toolbar) and run it again, and it goes on where it was. The table fills as
# runs end. Try this when all have ended, and say each time *what changes, and why?*
#
# 1. Set `pool_scales` to `1`: how far apart are the seeds now? Then `1,3,6,8`.
# 2. Choose one seed, then another. Would you have told the same story with that seed alone?
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
assert set(failed) <= {"1,3,6;8"}, f"only the slip of the finger may fail; these did: {failed}"

# %% [markdown]
# (In `quick` mode nothing is learned in two steps, and a 0 above stands for "not measured"; the numbers in this text
# are those of a `learn` run.)
# One anchor reaches [0.61](claim:apnb-one) in APNB and [0.61](claim:ann-one) in ANN: a vote. The mean of a
# map can say *how many* balloons show a stripe, but not *whose paint* they have. With all 110 anchors APNB
# reaches [0.77](claim:apnb-all) on average and ANN [0.99](claim:ann-all). Each of these four numbers is a mean of
# three seeds; do not quote one without the interval in the table above. What three seeds can say is the next section.
#
# Look at how the table treats the failed run. It counts in no mean, but it has its line, with the reason.
# A table from which failures vanish flatters: a method that crashes on hard seeds would be judged by its
# easy ones.

# %% [markdown] tags=["instructor"]
# The grid takes ten to fifteen minutes in `learn` mode: use them for Exercise 8.2. In a room, let each
# group run other seeds (`seed` lists 0-2, 3-5, ...) and put the tables together. Discussion: *which of our cells
# would you drop, if the budget were halved, and what could you then no longer say?* When late: stop the cell;
# what is finished stays, and the rest of the lesson works on the five seeds of `data/results`. A good place to stop
# for the day is here: what follows begins with those five seeds.

# %% [markdown]
# ## What few runs can say
#
# The mean $\bar{x}$ of $n$ runs is itself a matter of luck: other seeds, another mean. How far does it
# stray? Single runs deviate by $s$; the mean of $n$ of them by the **standard error** $s/\sqrt{n}$. And as
# $s$ comes from the same few runs, it is uncertain as well. Student's $t$ makes up for that:
#
# $$s = \sqrt{\frac{1}{n-1}\sum_{i=1}^{n} (x_i - \bar{x})^2}, \qquad
# \bar{x} \pm t_{n-1} \cdot \frac{s}{\sqrt{n}}$$
#
# This is the [95 %](given:level) confidence interval, with $t_{n-1}$ the number that leaves [2.5 %](given:half-of-5) of Student's
# distribution above it. With many runs it approaches the famous [1.96](given:normal-quantile); with few it is
# much larger:

# %%
for n in (2, 3, 5, 10, 30):
    print(f"n = {n:2d}: t = {t_quantile(0.975, n - 1):.2f}")

# %% [markdown] tags=["exercise:interval"]
# ### Exercise 8.2: The interval of a mean
#
# *Difficulty 2/5, importance 5/5, about 5 min, objective 3*
#
# Write the interval of the formula above: its two ends. `mean`, `stdev` (from `statistics`) and `t_quantile` do the
# work; what remains is to know which $n$ is meant: runs, pixels, or scenes? *For the fast:* what does the interval do if you pass the same
# list twice over, `scores + scores`, and why is that no cheap way to certainty?


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
# Three factors make the half width: how much runs deviate, how much of that averages out, and a number
# for how sure you want to be.

# %% [markdown] tags=["hint:interval:2"]
# `stdev` already divides by n - 1. `t_quantile(share, df)` takes the share *below*: with [2.5 %](given:half-of-5) above, `0.975`.

# %% [markdown] tags=["hint:interval:3"]
# `half = t_quantile(0.975, n - 1) * ...`

# %% tags=["check:interval"]
checks.confidence_interval(confidence_interval)

# %%
for head, scores in houses.items():
    print(f"{head:9} {interval(list(scores.values()))}")
lesson.claim("half-nonlocal", interval(list(houses["nonlocal"].values())).half, within=0.006)
lesson.claim("half-fcn", interval(list(houses["fcn"].values())).half, within=0.0006)

# %% [markdown]
# Five seeds pin FCN down to ± [0.007](claim:half-fcn), but the non-local network only to
# ± [0.33](claim:half-nonlocal): with five runs of it we know almost nothing about its mean. How many would
# be needed? The explorer computes the half width for any number of runs that deviate as those of a head
# did. On the right it pretends: 40 experiments whose true mean is known, and which of their intervals
# hold it. Try this:
#
# 1. Choose `nonlocal`, 5 runs. How many runs until the half width is below `0.1`? And below `0.05`? (The
#    slider ends too early for that: reckon what halving costs.)
# 2. Go down to 2 and 3 runs. How far apart are the two curves there, and which one would you rather
#    believe?
# 3. Set the level to `80 %`, then `99 %`. What happens to the bars, and to the number of misses? Why not
#    always `99 %`?

# %%
unsteady_first = ("nonlocal", "apnb", "ppm", "fcn", "ann")
widgets.interval_sliders({head: list(houses[head].values()) for head in unsteady_first})

# %% [markdown]
# ## Is it real?
#
# APNB has a higher mean than the non-local block. Same seeds mean same first weights of the backbone
# and the same order of scenes, so runs form **pairs**: what a seed does to both falls out of the
# difference $d_i = x_i - y_i$. The interval of the mean difference answers the question: if it contains
# 0, these runs do not show that there is a difference.

# %% [markdown]
# ### Prediction 8.3: APNB against non-local
#
# Five pairs. Does the [95 %](given:level) interval of the mean difference contain zero: "yes" or "no"?

# %% tags=["predict:zero"]
guess_zero = "yes"  # solution

# %%
found = paired_interval(houses["apnb"], houses["nonlocal"])
outcome = "yes" if found.holds(0.0) else "no"
predictions.compare("8.3", guess_zero, outcome, options=("yes", "no"))
print(f"APNB - non-local: {found}")
lesson.claim("apnb-nonlocal", found.mean, within=0.006)
lesson.claim("apnb-nonlocal-half", found.half, within=0.006)

# %% [markdown]
# The difference of [0.09](claim:apnb-nonlocal) comes with ± [0.25](claim:apnb-nonlocal-half). "No
# difference was shown" is the honest sentence; "there is no difference" would be as wrong as "APNB is
# better". Nine points that look like a finding are within the luck of five seeds.

# %% [markdown] tags=["exercise:real"]
# ### Exercise 8.3: Decide with numbers
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 4*
#
# Write the comparison. Runs come by seed, in any order; `None` stands for a failed run. *For the fast:* how
# would you report a method that fails with three seeds of ten and is better with the other seven?


# %% tags=["answer:real"]
def compare(ours: dict, theirs: dict) -> tuple[float, float]:
    """{seed: score or None} twice -> (mean of ours - theirs, half width of its 95 % interval)"""
    # solution
    both = [seed for seed in ours if ours[seed] is not None and theirs.get(seed) is not None]
    low, high = confidence_interval([ours[seed] - theirs[seed] for seed in both])
    return (low + high) / 2, (high - low) / 2


# %% [markdown] tags=["hint:real:1"]
# First make one list of differences; from there on it is Exercise 8.2. Which seeds may be in the list?

# %% [markdown] tags=["hint:real:2"]
# Loop over the seeds of one dict and look each up in the other; skip a seed if either value `is None`. Your
# `confidence_interval` gives both ends: half their difference is the half width.

# %% [markdown] tags=["hint:real:3"]
# `both = [seed for seed in ours if ours[seed] is not None and ...]`

# %% tags=["check:real"]
checks.paired_difference(compare)

# %%
for ours, theirs in (("ppm", "fcn"), ("apnb", "ppm"), ("ann", "apnb"), ("ann", "nonlocal")):
    one = paired_interval(houses[ours], houses[theirs])
    verdict = "cannot tell" if one.holds(0.0) else "real" if one.mean > 0 else "worse"
    print(f"{ours:4} - {theirs:8}  {one}: {verdict}")
found = paired_interval(houses["ann"], houses["apnb"])
lesson.claim("ann-apnb", found.mean, within=0.006)
lesson.claim("ann-apnb-half", found.half, within=0.006)

# %% [markdown]
# A negative result, and one that hurts: the whole network ANN is [0.12](claim:ann-apnb) above APNB alone,
# five of its five seeds solve the town, and still the interval is ± [0.21](claim:ann-apnb-half) and contains
# zero. Five pairs are too few for so unsteady a rival.
#
# **What this does not show.** Student's $t$ supposes that runs scatter roughly like a bell. Ours do not:
# house accuracy ends at 1, and runs tend to either stay with the vote or solve the town. With so few runs
# an interval may even reach above 1, where no score can be. It is a guard against rash claims here, not an
# exact probability. Seeds are one source of luck only: other scenes, another learning rate, another
# machine are further ones. And who compares twenty heads finds one that is "real" at [95 %](given:level) by luck alone.

# %% [markdown] tags=["exercise:sentence"]
# ### Exercise 8.4: One honest sentence
#
# *Difficulty 2/5, importance 5/5, about 5 min, objective 4, open*
#
# Write the caption of the table of your grid: what was compared, how many runs stand behind each number,
# what happened to failed ones, what is shown and what cannot be told.

# %% [markdown] tags=["instructor"]
# Rubric for 8.4 (0 to 4): names number of seeds and what ± means (1); says that one run failed and why it
# counts in no mean (1); claims nothing whose interval contains zero (1); names something not varied, such
# as data or learning rate (1).
#
# Twenty minutes for the last two sections. Usual mistakes in 8.3: zip over values (order!), a failed run
# as 0, adding the spreads of both heads. Prompt: *the paper's table has one number a row. What would you
# have to know to compare two rows?*
#
# Answers, intervals: (1) 30 runs; about 109. (2) At two runs the factor is 12.7 against 1.96. (3) A
# higher level: longer bars, fewer misses, and soon nothing is decided.

# %% [markdown]
# ## Beyond this machine
#
# The loop above is also a command. It keeps each executed notebook and writes `table.md`, `results.csv`
# and a page with the curves of all runs:
#
# ```
# annlib sweep notebooks/jobs/bins.json --jobs 2
# ```
#
# On a cluster each combination becomes one task of an array (`--only 7`), and `--table` collects what is
# there, failures included. `data/cluster/README.md` has the script for SLURM, and how Airflow runs the same
# notebook with its operator for papermill.

# %% [markdown]
# ## Your predictions
#
# What you guessed, beside what came out.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which guess was right, but for a wrong reason?

# %%
rehearsal.cleanup()
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:more"]
# ### Quiz 8.1: You have ten runs and want an interval half as wide. How many runs do you need in all?
#
# - [ ] 20
#   The width falls with the root of n: twice the runs make it narrower by a third only.
# - [x] About 40
#   Four times the runs, half the width. (t shrinks a little as well.)
# - [ ] 11; each run counts.
#   It does, but ever less.

# %% [markdown] tags=["quiz:pixels"]
# ### Quiz 8.2: A run is scored on five million pixels. Which n belongs into the interval of a head's mean?
#
# - [ ] Five million: each pixel is a measurement.
#   Of this network. All of them share its seed, so together they are one witness of how training goes.
# - [ ] The number of scenes.
#   It says how well one network's score is known, not how training goes with other seeds.
# - [x] The number of runs.
#   The question is what another training would give.

# %% [markdown] tags=["quiz:zero"]
# ### Quiz 8.3: The interval of a difference contains zero. What may you write?
#
# - [ ] The two methods are equally good.
#   The interval holds zero, and many other differences, too. Absence of proof is no proof of absence.
# - [x] These runs do not show a difference; it lies between the ends of the interval, most likely.
#   And the ends tell the reader what is still possible.
# - [ ] The better mean wins, with less confidence.
#   With other seeds the other one may win. That is what zero inside means.

# %% [markdown] tags=["quiz:failed"]
# ### Quiz 8.4: One of ten runs ended with nan. What goes into the table?
#
# - [ ] Nine runs; the tenth was broken.
#   Then nobody learns that the method breaks, and its mean is that of the lucky ones.
# - [ ] Ten runs, the tenth with a score of 0.
#   No score of 0 was measured. One invented number can move the mean more than all seeds do.
# - [x] The mean of nine, and beside it: one failed, and why.
#   Both facts, unmixed.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You planned a grid that fits a budget, ran one notebook with many parameters and kept its failure in the
# table, computed what few runs can say ($\bar{x} \pm t_{n-1}\, s/\sqrt{n}$, with n counting runs), and
# decided by paired differences, also where the honest answer was "cannot tell".
#
# Read more: Student, *The Probable Error of a Mean*, Biometrika 1908; X. Bouthillier and others, *Accounting
# for Variance in Machine Learning Benchmarks*, MLSys 2021; the documentation of papermill.
#
# Next: [real streets, real GPU](09_real_images.ipynb), where a single run costs days, and one plans
# before one starts
