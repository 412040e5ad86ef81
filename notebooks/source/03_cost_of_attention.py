# %% [markdown] tags=["header"]
# # 3. The bill
#
# *What does it cost that every pixel asks every pixel, and who pays?*
#
# - **Before:** lesson 2; logarithmic axes
# - **Reading:** 40 min
# - **Runs in:** 25 s (quick), 220 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. derive the operations of attention from N, S and the channels ([Exercise 3.1](exercise:operations))
# 2. compute the largest map whose weights fit into a given memory ([Exercise 3.2](exercise:largest))
# 3. measure two calls so that their ratio means something ([Exercise 3.3](exercise:turns))
# 4. predict what a faster part does for the whole ([Exercise 3.4](exercise:amdahl))
# 5. name what a published claim about cost leaves open ([Quiz 3.4](quiz:claim))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import time
from functools import partial
from statistics import median

import torch

from annlib.course import checks, plots, widgets
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson
from annlib.course.profiler import available_bytes
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.ann import map_size

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()
free = available_bytes(lesson.device)

# %% [markdown]
# ## From a toy to a street
#
# In our scene every one of 384 positions had a row of 384 weights. That cost nothing worth mentioning.
# But nobody drives a car through Balloon Town: a picture of a real street has some 1024 x 2048 pixels.
# The map has an eighth of that on each side.

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
for name, size in {"our scene": scene.labels.shape, "a street": (1024, 2048)}.items():
    H, W = map_size(size)
    N = H * W
    print(f"{name}: {size[0]} x {size[1]} pixels, map {H} x {W}, N = {N:,} positions")
assert (H, W, N) == (128, 256, 32768)
plots.scene(scene)

# %% [markdown]
# The sides of the street are eight and eleven times as long as those of the scene. How much longer is the
# bill?

# %% [markdown]
# ### Prediction 3.1: One matrix
#
# The weights of one non-local block on the map of the street: $N \times N$ numbers of float32, four bytes
# each. How many GiB (one GiB is $2^{30}$ bytes) is that?

# %% tags=["predict:matrix"]
guess_matrix = 4.0  # solution

# %%
gib = 4 * N * N / 2**30
predictions.compare("3.1", guess_matrix, gib, tolerance=0.1)
lesson.claim("matrix", gib, within=0.01, unit="GiB")
print(f"The scene's matrix: {4 * 384 * 384 / 2**20:.2f} MiB. Free on this machine: ", end="")
print(f"{free / 2**30:.1f} GiB." if free < float("inf") else "not known.")

# %% [markdown]
# [4 GiB](claim:matrix) for one intermediate result of one block for one picture; to train, it must be
# kept for the way back. Twice the sides of a picture are four times the positions, and sixteen times the
# matrix. This is the bill that the paper sets out to lower. We go through it line by line: operations,
# memory, time. And we will find that they are three different bills.

# %% [markdown] tags=["instructor"]
# Ten minutes. Ask for 3.1 without a calculator: 32 thousand squared is about a billion, times four bytes.
# A good first question: *the picture has 85 times as many pixels as the scene; why is the matrix more
# than 7000 times as large?* Those who say "because N is larger" have not yet said "squared".

# %% [markdown]
# ## Operations: five steps
#
# A product of a $(P \times Q)$ and a $(Q \times R)$ matrix takes $P \cdot Q \cdot R$ multiply-adds: that
# is $2PQR$ operations, one product and one sum each. A 1 x 1 convolution is such a product, too, with a
# row for each position.
#
# Let the map have $C_X$ channels, and queries, keys and values $C$ each. $N$ positions ask, $S$ answer.
# In the released models query and key share one projection, which runs once. Attention has five steps:
#
# | step | sizes |
# |---|---|
# | query and key $\phi = \theta$: 1 x 1 convolution | $N \times C_X$ times $C_X \times C$ |
# | value $\gamma$: 1 x 1 convolution | $N \times C_X$ times $C_X \times C$ |
# | scores $\phi^{\top} \theta$ | $N \times C$ times $C \times S$ |
# | weights times values, $W \gamma^{\top}$ | $N \times S$ times $S \times C$ |
# | output $W_O$: 1 x 1 convolution | $N \times C$ times $C \times C_X$ |
#
# With $S = N$ this is the non-local block. With $S = 110$ it is the paper's APNB, whose anchors you build
# in the next lesson. All you need to know today: an **anchor** is the mean over one cell of the map, and
# the means of all cells of four grids stand in for the positions, whatever the size of the map.

# %% [markdown] tags=["exercise:operations"]
# ### Exercise 3.1: Operations
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 1*
#
# Write the operations of one forward pass. (Softmax, batch norm and means are left out, as torch's counter
# leaves them out. Remember that; it will matter.) *For the fast:* bring it into the form
# $2NC(\ldots)$, and read off when the two products weigh as much as the three convolutions.


# %% tags=["answer:operations"]
def attention_operations(N: int, S: int, C_X: int, C: int) -> int:
    """N positions ask, S answer; the map has C_X channels, queries, keys and values C."""
    # solution
    convolutions = 3 * 2 * N * C_X * C  # query and key, value, output
    products = 2 * 2 * N * C * S  # scores, weights times values
    return convolutions + products


# %% [markdown] tags=["hint:operations:1"]
# One term for each row of the table. Which of them know $S$?

# %% [markdown] tags=["hint:operations:2"]
# $2PQR$ for each row: three rows give the same number, and the other two as well.

# %% [markdown] tags=["hint:operations:3"]
# `convolutions = 3 * 2 * N * C_X * C`

# %% tags=["check:operations"]
checks.attention_operations(attention_operations)

# %% [markdown]
# ### Prediction 3.2: The saving
#
# On the map of the street 110 anchors answer instead of 32,768 positions. With $C_X = 2048$ and $C = 256$,
# as the paper's authors measured: how many times fewer operations does APNB need than the non-local block?

# %% tags=["predict:saving"]
guess_saving = 298  # solution

# %%
from annlib.course.implementations import Shape, asymmetric_flops, nonlocal_flops

shape = Shape(2048, 2048, 256, 256, (H, W))
S = shape.anchors
assert (shape.positions, S) == (N, 110)
saving = nonlocal_flops(shape) / asymmetric_flops(shape)
predictions.compare("3.2", guess_saving, saving, tolerance=0.15)
lesson.claim("n-over-s", N / S, within=0.5)
lesson.claim("saving", saving, within=0.05)
print(f"non-local {nonlocal_flops(shape) / 1e9:7,.1f} GFLOPs")
print(f"APNB      {asymmetric_flops(shape) / 1e9:7,.1f} GFLOPs")
convolutions = 6 * N * 2048 * 256 / 1e9
print(f"          {convolutions:7,.1f} of them in 1 x 1 convolutions, in either")

# %% [markdown]
# $N / S$ is [298](claim:n-over-s), but the operations fall only [11.3](claim:saving) times. In one line:
#
# $$\frac{2NC\,(3 C_X + 2N)}{2NC\,(3 C_X + 2S)} = \frac{3 C_X + 2N}{3 C_X + 2S}$$
#
# The products have all but vanished; the convolutions are still there. What an anchor saves, it saves in
# the $N \times N$ part alone, and no number of anchors, not even one, lifts the ratio above
# $1 + 2N / 3C_X$. The formula is a prediction. Here is the counter, at half the width, on tensors that
# have a shape and no numbers:

# %%
from annlib.course.profiler import operation_counter
from annlib.model.baselines import NonLocalAttention

with torch.device("meta"), operation_counter() as counter, torch.no_grad():
    NonLocalAttention(1024, 128, 128)(torch.empty(1, 1024, H, W))
assert counter.get_total_flops() == nonlocal_flops(Shape(1024, 1024, 128, 128, (H, W)))
C_X = 2048  # as predicted above
assert abs(saving - (3 * C_X + 2 * N) / (3 * C_X + 2 * S)) < 1e-9
print(f"{counter.get_total_flops():,} operations counted, as the formula says.")

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Usual mistakes in 3.1: the factor 2 (say "MACs or FLOPs?" each time somebody quotes a
# number; papers mix them), N x N where S answer, only the products ("attention is the expensive part").
# 3.2 is the heart of the lesson: nearly everybody says 298, and the solution edition leaves that guess
# standing, so that the surprise can be seen. Let the group find the bound for S = 1 before they read it.

# %% [markdown]
# ## Memory: what must be held at once
#
# Operations can be done one after the other. Memory is what stands there **at the same time**. In the
# non-local block, written out as you wrote it, the worst moment is the softmax: it reads the scores and
# writes the weights, so both $N \times N$ matrices are there, and keys and values wait:
#
# $$M = 4\,N\,(2N + 2C) \ \text{bytes}$$
#
# (On small maps the output, $N \times C_X$ numbers, weighs more; then this is not the worst moment.)

# %% [markdown] tags=["exercise:largest"]
# ### Exercise 3.2: The largest map
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 2*
#
# A street map has $H$ rows and $2H$ columns, so $N = 2H^2$. Find the largest $H$ for which $M$ is not more than
# `num_bytes`; 0 if there is none. *For the fast:* the whole formula solved for $H$, without a loop.


# %% tags=["answer:largest"]
def largest_height(num_bytes: int, C: int) -> int:
    """H of the largest map H x 2H on which a non-local block fits"""
    # solution
    height = 0
    while True:
        N = 2 * (height + 1) ** 2
        needed = 4 * N * (2 * N + 2 * C)
        if needed > num_bytes:
            return height
        height += 1


# %% [markdown] tags=["hint:largest:1"]
# $M$ only grows with $H$. Try maps from the smallest up, and stop before the first that is too large.

# %% [markdown] tags=["hint:largest:2"]
# A `while` loop over the height; in it $N = H \cdot 2H$, then $M$, then one comparison with `num_bytes`.

# %% [markdown] tags=["hint:largest:3"]
# `height = 0`, and in the loop look at the map with `height + 1` rows.

# %% tags=["check:largest"]
checks.largest_height(largest_height)

# %%
for memory in (1, 8, 24, 80):
    rows = checks.attempt_number(largest_height, memory * 2**30, 256)
    print(f"{memory:3d} GiB: map {rows} x {2 * rows}, a picture of {8 * rows} x {16 * rows}")

# %% [markdown]
# Eighty times the memory gives about three times the sides: the fourth root. Nobody gets out of a square
# of a square by buying hardware.
#
# ### The matrix that is never stored
#
# But must it stand there at all? A row of weights is needed once, to fetch its values, and then never
# again. **Fused attention** (in PyTorch: `scaled_dot_product_attention`) computes a few rows, uses them,
# and forgets them, all within the processor's own small memory. It computes the same function, to
# rounding.

# %% [markdown]
# ### Prediction 3.3: What is left of the square?
#
# With fused attention, what still grows with $N^2$: "time", "memory", "both" or "neither"? (The cell below
# decides about time by the operations; the clock follows in the curves.)

# %% tags=["predict:fused"]
guess_fused = "time"  # solution

# %%
from annlib.course.costs import curves_of, growing, slopes_table
from annlib.course.implementations import FUSED, NONLOCAL, PLAIN_APNB, Channels
from annlib.course.profiler import Conditions

channels = lesson.pick(quick=Channels().divided(16), learn=Channels(), full=Channels())
sizes = lesson.pick(
    quick=[(8, 16), (16, 16), (16, 32)],
    learn=[(16, 32), (32, 32), (32, 64), (64, 64), (64, 128)],
    full=[(32, 64), (64, 64), (64, 128), (128, 128), (128, 256)],
)
conditions = Conditions(lesson.device, repeat=3, limit_bytes=free / 2)

# %%
from annlib.course.lesson import progress

measured = list(progress(growing(sizes, channels, conditions), len(sizes), "maps"))
before, last = (each.measured[FUSED] for each in measured[-2:])
more = {"time": last.flops / before.flops, "memory": last.peak_bytes / before.peak_bytes}
square = [name for name, times in more.items() if times > 2.5]
outcome = square[0] if len(square) == 1 else ("both" if square else "neither")
options = ("time", "memory", "both", "neither")
predictions.compare("3.3", guess_fused, outcome, options=options)
for name, times in more.items():
    what = "operations" if name == "time" else "bytes held"
    print(f"N doubled at the end: {times:.2f} times the {what}")

# %% [markdown]
# The memory is gone, the work is not: all $N^2$ scores are still computed. When the paper was written
# (2019), the matrix stood in memory wherever attention was used on maps, and memory was half of its
# argument. Today that half is no
# longer an argument against a non-local block, and whoever quotes it should say so. Time still is. Here
# are your measurements as curves (both axes logarithmic: a slope of 1 is a straight bill, 2 a square one):

# %%
curves = curves_of(measured)
print(slopes_table(curves))
plots.growth_chart(curves)

# %% [markdown]
# Look at the last two points of each curve. While the convolutions have the larger say, time grows little
# faster than N; the larger the map, the more the square takes over. (In a quick run the maps are so small
# that the number of calls costs more than their arithmetic; those slopes of time say little.) On larger maps than we take time for here, fused attention's time rises with a slope of
# [2.01](result:benchmark/growth_amd-epyc.md) and its memory with [1.00](result:benchmark/growth_amd-epyc.md);
# APNB (folded, a form you meet in lesson 11) with [1.13](result:benchmark/growth_amd-epyc.md) and
# [1.00](result:benchmark/growth_amd-epyc.md).

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Usual mistakes in 3.2: one matrix instead of two, N for H, the first map that does *not*
# fit. Discussion: *why could the authors not use fused attention?* (It became common years later.) *Does
# that make the paper wrong?* (No: a claim about cost is a claim about a time, a machine and a library.)
# When late, skip the exercise and run the loop with annlib's formula at the board.

# %% [markdown]
# ## Explore the bill
#
# All curves below come from the formulas. The line in the middle is the memory that is free on this
# machine now; $C_X$ is $8C$. Fused attention and APNB nearly cover each other there. Formulas know no
# seconds. So the button "Measure here" takes one speed, operations a second of the non-local block on the
# map of our scene, and predicts the time of all other maps by it; then it measures the map that is set,
# and draws points beside the predicted lines. Try this, and explain each answer:
#
# 1. Set the map to 16 x 24 (our scene). Which of the three is worth its trouble there, and why?
# 2. From there raise W, then H, one stop at a time: when does the dotted line leave the others on the
#    left, and when in the middle? What has $C$ to do with it?
# 3. On 128 x 256 set $S$ to 1, then to 1390. What changes, what does not, and which term is that?
# 4. Find the smallest of these maps that does not fit on this machine, written out. Compare with your
#    `largest_height`.
# 5. Set $C$ to 32 and press "Measure here" on 16 x 24, 32 x 48 and 48 x 96. Which form takes how many
#    times its prediction, on which map most? Then press at $C = 256$: what do operations not count, and
#    why does it weigh less there?

# %%

widgets.CostExplorer(free, lesson.device)

# %% [markdown]
# ## Time: measure, but how?
#
# Formulas do not take time, machines do. And a machine is a difficult witness: the first call is slow
# (memory is fetched, kernels are chosen), sometimes something else runs, and it gets slower while it warms
# up. Three rules answer to that. **Warm up**: the first calls do not count. **Take turns**: a slow minute
# hits both. **Median and spread**: one stumble does not move it, and readers see how much to believe.

# %% [markdown] tags=["exercise:turns"]
# ### Exercise 3.3: How many times faster?
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 3*
#
# Call both twice without looking at the clock. Then `repeat` rounds: in each, one timed call of `slow`,
# one of `fast`. Return the median of the slow times over the median of the fast. (`clock()` tells seconds;
# the check brings a clock of its own, on a machine that plays all the tricks above.) *For the fast:* return
# the lowest and highest ratio of a round in a second function.


# %% tags=["answer:turns"]
def times_faster(slow, fast, repeat: int, clock=time.perf_counter) -> float:
    """slow, fast: functions without arguments -> how many times faster `fast` is"""
    # solution
    for _ in range(2):
        slow()
        fast()
    slow_times, fast_times = [], []
    for _ in range(repeat):
        for call, times in ((slow, slow_times), (fast, fast_times)):
            started = clock()
            call()
            times.append(clock() - started)
    return median(slow_times) / median(fast_times)


# %% [markdown] tags=["hint:turns:1"]
# Two loops: one for nothing, one with the clock. In the second both have a turn in every round.

# %% [markdown] tags=["hint:turns:2"]
# Read `clock()` before and after each single call and append the difference to a list of its own;
# `statistics.median` of each list comes at the end.

# %% [markdown] tags=["hint:turns:3"]
# `for _ in range(2):`, and in it `slow()` and `fast()`.

# %% tags=["check:turns"]
checks.times_faster(times_faster)

# %% [markdown]
# Use it on the two networks that come with the course: the non-local block and the APNB of Balloon Town,
# once on the map of our scene, once on one with longer sides.

# %%
from annlib.course.profiler import synchronise
from annlib.model.build import shipped_model

blocks = {head: shipped_model(f"balloon_{head}").context for head in ("nonlocal", "apnb")}
for scale in (1, lesson.pick(quick=2, learn=4, full=8)):
    features = torch.randn(1, 64, 16 * scale, 24 * scale, device=lesson.device)

    def call(head: str, features: torch.Tensor = features) -> None:
        with torch.inference_mode():
            blocks[head].to(lesson.device)(features)
        synchronise(lesson.device)  # a GPU returns before it is done

    ratio = checks.attempt_number(
        times_faster, lambda: call("nonlocal"), lambda: call("apnb"), 5, time.perf_counter
    )
    N = features[0, 0].numel()
    print(f"N = {N:6,}: APNB is {ratio:5.2f} times as fast; N / S = {N / S:.1f}")

# %% [markdown]
# Run the cell again: on the map of the scene both blocks are done in a moment, and the ratio moves from run
# to run. Beside the rest of the network the saving there is small: training for the town took
# [87 s](result:balloon_town.md) with the non-local block and [83 s](result:balloon_town.md) with APNB.
# That is why no training time in this course is an argument for APNB.

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Usual mistakes in 3.3: one clock around all calls of one function, then the other (ask
# what happens if somebody opens a browser in between); mean instead of median; fast over slow. On a GPU:
# no number without synchronisation, since a call only puts work into a queue. Have two pairs compare their
# ratios on different laptops: which of them agree, and what does not travel?
#
# Task 5 of the explorer: softmax, and writing and reading N x N numbers, take time that no operation is
# counted for, and the few operations of each score ($4C$) hide less of it when C is small. A point
# below its line is no wonder either: the small map that gave the speed uses a processor less well. A busy
# machine adds to every point: press again before you believe one.

# %% [markdown]
# ## The paper's claim, measured again
#
# The abstract of the paper says that for a 256 x 128 input APNB is around
# [6 times](cited:paper-abstract) faster than a non-local block on a GPU, and
# [28 times](cited:paper-abstract) smaller in GPU memory. Read this like a lawyer. *Input* of what: a
# picture, or a map? Which GPU, which library? Which part of the block? (In their repository the authors
# say: a map of 2048 channels, and the attention alone, with its three projections but without the
# convolution that fuses.) The paper has a table with more sizes; we could not open it, so we do not quote
# it. What we can do is measure the same comparison here.
#
# ### Prediction 3.4: More or less than the formula?
#
# By operations APNB is [11.3](claim:saving) times cheaper at the size of the abstract. Will the *measured* time ratio to
# the written-out non-local block be "larger", "smaller" or "alike" (within a fifth)?

# %% tags=["predict:measured"]
guess_measured = "larger"  # solution

# %% [markdown]
# We take the map of the abstract, if five calls of each form should take less than two minutes here,
# and if the matrices fit into half of the free memory; else the largest map that does.

# %%
from annlib.course.costs import MEASURED, largest_affordable, paper_table
from annlib.course.implementations import attention_implementations
from annlib.course.profiler import compare

repeat = 3
candidates = lesson.pick(
    quick=[(32, 64)], learn=[(64, 128), (128, 128), (256, 128)], full=[(256, 128)]
)
size = largest_affordable(candidates, measured[-1], repeat + 2, 120, free)
chosen = [
    each
    for each in attention_implementations(channels, size, Conditions(lesson.device))
    if each.name in MEASURED
]
watch = partial(progress, total=len(chosen) * (1 + repeat), what="calls")
compared = compare("", size, chosen, Conditions(lesson.device, repeat), watch)
print(paper_table(compared))

# %%
found = compared.measured
by_operations = found[NONLOCAL].flops / found[PLAIN_APNB].flops
ratios = {name: found[name].timing.median / found[PLAIN_APNB].timing.median for name in found}
against = ratios[NONLOCAL] / by_operations
outcome = "larger" if against > 1.2 else "smaller" if against < 0.8 else "alike"
predictions.compare("3.4", guess_measured, outcome, options=("larger", "smaller", "alike"))
for name, what in ((NONLOCAL, "written-out"), (FUSED, "fused")):
    timing = found[name].timing
    spread = (timing.slowest - timing.fastest) / timing.median * ratios[name]
    lesson.claim(f"faster-than-{what}", ratios[name], within=spread, unit="times", modes=())
print(f"By operations on this map: {by_operations:.1f} times.")
plots.measured_points(found, size)

# %% [markdown]
# On the machine of our record (two CPU cores, map of 256 x 128) APNB was
# [27.07](result:benchmark/blocks_64x128_amd-epyc.md) times faster than the block written out, with
# [23.61](result:benchmark/blocks_64x128_amd-epyc.md) times less memory; than fused attention
# [11.74](result:benchmark/blocks_64x128_amd-epyc.md) times faster, with the same memory. So the claim holds
# there in kind, not in number, and it falls apart into two:
#
# - **Against fused attention** the time ratio is what the operations say, and the memory ratio is 1.
# - **Against the written-out block** it is more. The counter does not count the softmax, nor that a matrix
#   of gigabytes must be written and read again, several times. That is not arithmetic but traffic, and on
#   this machine traffic is the larger half.
#
# Neither number is the paper's, and there is no reason why it should be: a GPU has another balance of
# arithmetic and traffic. All forms, with spread, operations and a second implementation, stand in
# `data/results/benchmark`; `python -m benchmarks.implementations` measures them on your machine.

# %% [markdown] tags=["instructor"]
# Ten minutes. Discussion prompt: *which sentence about cost would still be true in five years?* (That one
# grows with N, the other with its square.) Let the group list what a claim about speed must state: sizes,
# what is included, device, library and version, precision, median and spread. On a slow machine the lesson
# takes a smaller map by itself; say so when numbers are compared.

# %% [markdown]
# ## Who pays in the whole network?
#
# A block does not work alone. ANN with ResNet-50, at the size of a training crop of a street, has a
# backbone, an AFNB, a 3 x 3 convolution that reduces 2048 channels to 512, and an APNB.

# %% [markdown]
# ### Prediction 3.5: The most expensive network
#
# One picture of 512 x 1024. Which whole network needs the most operations: the one with the ordinary
# "non-local" block, the one with "APNB" in its place, or "ANN", which has both an AFNB and an APNB?

# %% tags=["predict:network"]
guess_network = "non-local"  # solution

# %%
from annlib.course.costs import HEADS, network_bill

totals = {head: sum(network_bill(head, (512, 1024)).values()) for head in HEADS}
most = max(totals, key=totals.get).split()[0]
predictions.compare("3.5", guess_network, most, options=("non-local", "APNB", "ANN"))
for head, total in totals.items():
    print(f"{head:20} {total:6.1f} GFLOPs")
ordinary, ann = (network_bill(head, (512, 1024)) for head in ("non-local", "ANN (AFNB and APNB)"))
lesson.claim("ann-more", sum(ann.values()) / sum(ordinary.values()), within=0.01)
lesson.claim("afnb-share", 100 * ann["afnb"] / sum(ann.values()), within=0.5, unit="%")
lesson.claim("apnb-share", 100 * ann["apnb"] / sum(ann.values()), within=0.5, unit="%")

# %% [markdown]
# A result that no abstract mentions: at this size the *efficient* network needs [1.15](claim:ann-more)
# times the operations of the one with a non-local block. Its APNB takes [2 %](claim:apnb-share) of them.
# But its AFNB, an additional block, takes [22 %](claim:afnb-share), because it works at 2048 channels:
# not its attention, its convolutions. Try this, and explain each answer:
#
# 1. With "non-local", go through the pictures from small to large. What happens to the share of the
#    hatched bar, and from which size on is it the largest of all?
# 2. Take "APNB alone" at 1024 x 2048, then "ANN". Which bar is the price of fusing two levels?
# 3. Which single bar would you attack first to make ANN faster at 512 x 1024? (Lesson 11 attacks two.)

# %%
widgets.network_cost()

# %% [markdown] tags=["exercise:amdahl"]
# ### Exercise 3.4: A part and the whole
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 4*
#
# A part takes `share` of the time of the whole, and is now `times` as fast as before. How many times faster
# is the whole? *For the fast:* how fast can it become at most?


# %% tags=["answer:amdahl"]
def whole_speed_up(share: float, times: float) -> float:
    """share from 0 to 1, times above 1 -> how many times faster the whole becomes"""
    # solution
    left = (1 - share) + share / times
    return 1 / left


# %% [markdown] tags=["hint:amdahl:1"]
# Let the whole take one second. How long does it take afterwards: the rest, and the part?

# %% [markdown] tags=["hint:amdahl:2"]
# The rest still takes `1 - share`. The part took `share`, and is now `times` as fast.

# %% [markdown] tags=["hint:amdahl:3"]
# `left = (1 - share) + share / times`

# %% tags=["check:amdahl"]
checks.whole_speed_up(whole_speed_up)

# %%
for size in ((512, 1024), (1024, 2048)):
    values = network_bill("non-local", size)
    share, times = values["context"] / sum(values.values()), values["context"]
    times /= network_bill("APNB alone", size)["context"]
    whole = checks.attempt_number(whole_speed_up, share, times)
    print(f"{size[0]} x {size[1]}: the block takes {share:.0%}; {times:.1f} times fewer operations")
    print(f"in it are {whole:.2f} times fewer in the whole network.")

# %% [markdown]
# **What this does not show.** Operations are not seconds: a network's time was measured elsewhere
# (`python -m benchmarks.network image`), and the ratio of two networks' operations is only a first guess at it. All
# times here are of one machine with two cores, one picture at a time, float32, without gradients; three
# calls give a spread, not a distribution. Fused attention on a GPU is a much better kernel than on a CPU,
# so that the ratio there may be far smaller; no GPU is in our record. And cost says nothing about
# *quality*: what 110 means lose against 32,768 positions is the question of the next lesson.

# %% [markdown] tags=["instructor"]
# Fifteen minutes. 3.5 is the second surprise; do not soften it: the paper's claim is about a block, and a
# reader takes it for one about a network. Usual mistakes in 3.4: averaging the speed-ups; the time that is
# left instead of its inverse. When late, do 3.4 at the board and leave the widget for home.
#
# Answers: (1) its share grows from 13 % at 512 x 1024 to 34 % at 1024 x 2048, where it is first the
# largest. (2) "afnb". (3) layer4 is the largest; AFNB can be had cheaper without another network. For the
# cost explorer: (1) none: 1.09 times fewer operations. (2) On the left once 2N is no longer small beside
# three times the channels of the map; on the right earlier. (3) 11.7 and 8.0 times. Stop after the
# explorer if 50 minutes are gone; the clock can be another lesson.

# %% [markdown]
# ## Your predictions
#
# What you guessed, beside what came out.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which guess was right, but for a wrong reason?

# %%
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:ratio"]
# ### Quiz 3.1: N is 8140, S is 110. Is APNB faster than a non-local block by a factor of N / S, 74?
#
# - [ ] Yes: so many times fewer positions answer.
#   The weights shrink by that much. The three 1 x 1 convolutions at all N positions do not shrink at all.
# - [x] No: only the two products shrink, and the convolutions remain.
#   With 2048 and 256 channels three quarters of the operations were products; the rest bounds the gain.
# - [ ] No: pooling costs what the products save.
#   The means read the map once for each grid. That is far less than a product with $N$ columns.

# %% [markdown] tags=["quiz:fused"]
# ### Quiz 3.2: Fused attention never stores the weights. What is left of the argument for anchors?
#
# - [ ] Nothing: it is the same function.
#   It computes the same, with the same $N^2$ scores. Nobody has taken the work away.
# - [x] Time: it still computes $N^2$ scores, and anchors only $N \cdot S$.
#   Memory is now linear in N in both; time is not.
# - [ ] Memory: the scores of a row still have to stand somewhere.
#   A few rows at a time stand in the processor's own memory; that does not grow with N squared.

# %% [markdown] tags=["quiz:pixels"]
# ### Quiz 3.3: With S = 110, how much of the map takes part in the answer to one query?
#
# - [ ] 110 positions.
#   An anchor is no position. It is the mean of a whole cell.
# - [x] All of it: each anchor is the mean of a cell, and the cells of a grid cover the map.
#   What is lost is not area but detail: within a cell nobody can be asked alone.
# - [ ] None, until the network is trained.
#   Means need no training; what is trained is who asks and how.

# %% [markdown] tags=["quiz:claim"]
# ### Quiz 3.4: "Our block is 20 times faster." Which question matters most?
#
# - [ ] Was it measured in FLOPs or in MACs?
#   That is a factor of two, in both numbers alike: a ratio does not notice.
# - [x] Than what, at which size, on which device and library?
#   Each changes the number. Against another form of the same rival ours fell by more than half.
# - [ ] How many parameters has it?
#   Parameters are held once; they say little about time. A non-local block and APNB have the same number.

# %% [markdown] tags=["quiz:median"]
# ### Quiz 3.5: Why do the two calls take turns, instead of one after the other?
#
# - [ ] So that the second profits from what the first has fetched.
#   That would be unfair. Warming up both before the clock runs takes this effect away.
# - [x] A slow minute of the machine then hits both, and the ratio stays.
#   One after the other, the one in the slow minute is blamed for it.
# - [ ] Because a median needs an even number of calls.
#   It needs none in particular.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You derived the operations, $2NC(3C_X + 2S)$, and saw that the ratio $N/S$ is not the saving; computed the
# largest map that fits, and saw that fused attention takes the memory argument away and leaves time;
# measured with warm-up, turns and medians; read a published claim beside your own numbers; and found who
# pays in the whole network.
#
# Read more: Z. Zhu and others, *Asymmetric Non-local Neural Networks for Semantic Segmentation*, ICCV 2019;
# T. Dao and others, *FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness*, NeurIPS
# 2022; M. N. Rabe and C. Staats, *Self-attention Does Not Need O(n²) Memory*, 2021; G. Amdahl, *Validity of
# the single processor approach to achieving large scale computing capabilities*, 1967.
#
# Next: [what an anchor is, and what it loses](04_pyramid_sampling.ipynb).
