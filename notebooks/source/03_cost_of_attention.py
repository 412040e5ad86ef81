# %% [markdown] tags=["header"]
# # 3. The cost of attention: operations, memory and time
#
# *What does it cost that every position attends to every position?*
#
# - **Before:** lesson 2; logarithmic axes
# - **Time:** 70 min: reading 25, exercises 40, running 5; optional second sitting, 35 min more
# - **Runs in:** 25 s (quick), 220 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. derive the operations of attention from N, S and the channels ([Exercise 3.1](exercise:operations))
# 2. compute the largest feature map whose weights fit into a given memory ([Exercise 3.2](exercise:largest))
# 3. predict how much faster a network becomes if one part becomes faster ([Exercise 3.3](exercise:amdahl))
# 4. say what a ratio of costs is for: attention, block or network ([Prediction 3.2](predict:saving), [3.4](predict:network))
# 5. (optional) measure a ratio of two running times fairly ([Exercise 3.4](exercise:turns))

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
from annlib.course.attention import sample_photo
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
# ## From a small scene to a street
#
# In our scene there are 384 positions, and each has a row of 384 weights. That costs almost nothing. But the photo of
# lesson 0 has more pixels, and an image of the street data set Cityscapes has 1024 x 2048 pixels. A feature map has an
# eighth of the rows and an eighth of the columns. How many positions does that make? The next cell prints $N$ for all
# three, and the size of the matrix of weights, $N \times N$ numbers of four bytes, for the first two.

# %%
scene, photo = make_scene(FIRST_VAL_SEED + 21), sample_photo()
sizes = {"our scene": scene.labels.shape, "the photo": photo.shape[:2], "a street": (1024, 2048)}
for name, size in sizes.items():
    H, W = map_size(size)
    N = H * W
    matrix = f", matrix {4 * N * N / 2**20:.2f} MiB" if name != "a street" else ""
    print(f"{name}: {size[0]} x {size[1]} pixels, map {H} x {W}, N = {N:,} positions{matrix}")
assert (H, W, N) == (128, 256, 32768)

# %% [markdown]
# ### Prediction 3.1: One matrix of weights
#
# The sides of the street image are 8 and almost [11 times](given:2048-over-192) as long as those of the scene. The weights of one non-local
# block on its feature map are $N \times N$ numbers of float32, four bytes each. How many GiB is that? (One GiB is
# $2^{30}$ bytes. You need no calculator: $32{,}768 = 2^{15}$.)

# %% tags=["predict:matrix"]
guess_matrix = 4.0  # solution

# %%
gib = 4 * N * N / 2**30
predictions.compare("3.1", guess_matrix, gib, tolerance=0.1)
lesson.claim("matrix", gib, within=0.01, unit="GiB")
print("Free on this machine: ", end="")
print(f"{free / 2**30:.1f} GiB." if free < float("inf") else "not known.")

# %% [markdown]
# <details>
# <summary>After you have run the cell: what this means</summary>
#
# It is [4 GiB](claim:matrix) for one intermediate result of one block for one image. In training it must also be
# stored for the backward pass. With twice the side lengths an image has four times as many positions and sixteen
# times as many weights.
#
# </details>
#
# The paper wants to reduce this cost. We look at three kinds of cost, one after the other: operations, memory and
# time. You will see that they grow in different ways.

# %% [markdown] tags=["instructor"]
# Ten minutes. Ask for 3.1 without a calculator: 32 thousand squared is about a billion, times four bytes. A good
# first question: *the image has 85 times as many pixels as the scene; why is the matrix more than 7000 times as
# large?* The answer "because N is larger" is incomplete: the size is N squared.

# %% [markdown]
# ## Operations: five steps
#
# The product of a $(P \times Q)$ and a $(Q \times R)$ matrix takes $P \cdot Q \cdot R$ multiply-adds. We count two
# **operations** (FLOPs) for each, one product and one sum, so $2PQR$. A 1 x 1 convolution is such a product, too,
# with one row for each position.
#
# Let the feature map have $C_X$ channels, and queries, keys and values $C$ channels each. There are $N$ query
# positions and $S$ keys. Query and key share one projection, which runs once, as in the released ANN models.
# **Attention** then has five steps:
#
# | step | sizes |
# |---|---|
# | query and key $\phi = \theta$: 1 x 1 convolution | $N \times C_X$ times $C_X \times C$ |
# | value $\gamma$: 1 x 1 convolution | $N \times C_X$ times $C_X \times C$ |
# | scores $\phi^{\top} \theta$ | $N \times C$ times $C \times S$ |
# | weighted sum of the values, $W \gamma^{\top}$ | $N \times S$ times $S \times C$ |
# | output $W_O$: 1 x 1 convolution | $N \times C$ times $C \times C_X$ |
#
# With $S = N$ this is the attention of the non-local block. With $S = 110$ it is the attention of the paper's APNB.
# You build APNB in the next lesson. Today you only need this: its keys and values are 110 **anchors**, means over
# the cells of four grids, whatever the size of the feature map.
#
# *Example.* $N = 4$, $S = 2$, $C_X = 3$, $C = 2$. Each convolution takes 2 · 4 · 3 · 2 = 48 operations, the three
# together take 144. The scores take 2 · 4 · 2 · 2 = 32, and so does the weighted sum. In all: 144 + 64 = 208.

# %% [markdown] tags=["exercise:operations"]
# ### Exercise 3.1: Operations
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 1*
#
# Write the operations of one forward pass. (Softmax, batch norm and pooling are left out, because torch's counter
# leaves them out. Remember that; it matters later.) For the example, your function returns 208.


# %% tags=["answer:operations"]
def attention_operations(N: int, S: int, C_X: int, C: int) -> int:
    """N query positions, S keys; the map has C_X channels, queries, keys and values have C."""
    # solution
    convolutions = 3 * 2 * N * C_X * C  # query and key, value, output
    products = 2 * 2 * N * C * S  # scores, weighted sum
    return convolutions + products


# %% [markdown] tags=["hint:operations:1"]
# Write one term for each row of the table. Which of them depend on $S$?

# %% [markdown] tags=["hint:operations:2"]
# $2PQR$ for each row: three rows give the same number, and so do the other two.

# %% [markdown] tags=["hint:operations:3"]
# `convolutions = 3 * 2 * N * C_X * C`

# %% tags=["check:operations"]
checks.attention_operations(attention_operations)

# %% [markdown]
# *Extension (optional).* Write the result as $2NC(\ldots)$. For which $S$ do the two products take as many
# operations as the three convolutions?
#
# <details><summary>Answer</summary>
#
# $2NC\,(3 C_X + 2S)$. They are equal for $2S = 3 C_X$: with $C_X = 2048$, for $S = 3072$ keys. For 110 anchors the
# convolutions dominate; for $N$ = 32,768 keys the products do.
#
# </details>
#
# ### Prediction 3.2: How much does attention with anchors save?
#
# On the feature map of the street there are 110 anchors instead of 32,768 keys, [298 times](claim:n-over-s) fewer. Take $C_X = 2048$
# and $C = 256$, as the authors of the paper did. How many times fewer operations does the attention of APNB need
# than non-local attention, all five steps included?

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
convolutions = 6 * N * 2048 * 256 / 1e9
fuse = 2 * N * (2 * 2048) * 2048  # the 1 x 1 convolution of the block: 2 C_X -> C_X channels
for name, flops in (("non-local", nonlocal_flops(shape)), ("APNB", asymmetric_flops(shape))):
    print(
        f"{name:9} attention {flops / 1e9:7,.1f} GFLOPs, {convolutions:,.1f} in convolutions;",
        end=" ",
    )
    print(f"block, with fuse: {(flops + fuse) / 1e9:7,.1f} GFLOPs")
block_saving = (nonlocal_flops(shape) + fuse) / (asymmetric_flops(shape) + fuse)
lesson.claim("fuse", fuse / 1e9, within=1, unit="GFLOPs")
lesson.claim("block-saving", block_saving, within=0.01)

# %% [markdown]
# <details>
# <summary>After you have run the cell: attention and block</summary>
#
# $N / S$ is [298](claim:n-over-s), but the operations of attention fall only [11.3](claim:saving) times:
#
# $$\frac{2NC\,(3 C_X + 2N)}{2NC\,(3 C_X + 2S)} = \frac{3 C_X + 2N}{3 C_X + 2S}$$
#
# The two products nearly disappear, but the three convolutions stay. Anchors reduce only the $N \times N$ part.
# Whatever the number of anchors, even with one, the ratio stays below $1 + 2N / 3C_X$.
#
# And this is the ratio for **attention** alone. The whole **block**, as you saw it in annlib's code in lesson 2,
# also concatenates the output with its input and applies the 1 x 1 convolution `fuse`, from $2 C_X$ to $C_X$
# channels. At this size `fuse` takes [550 GFLOPs](claim:fuse) in both blocks, so the ratio of the blocks is only
# [2.67](claim:block-saving). When you read a ratio, ask which of the two it is for.
#
# </details>
#
# The formula is a prediction, too. The next cell compares it with torch's counter, at half the width, on tensors
# that have a shape but no data:

# %%
from annlib.course.profiler import operation_counter
from annlib.model.baselines import NonLocalAttention

with torch.device("meta"), operation_counter() as counter, torch.no_grad():
    NonLocalAttention(1024, 128, 128)(torch.empty(1, 1024, H, W))
assert counter.get_total_flops() == nonlocal_flops(Shape(1024, 1024, 128, 128, (H, W)))
C_X = 2048  # as in the prediction above
assert abs(saving - (3 * C_X + 2 * N) / (3 * C_X + 2 * S)) < 1e-9
print(f"{counter.get_total_flops():,} operations counted, as the formula predicts.")

# %% [markdown] tags=["instructor"]
# Twenty minutes. Usual mistakes in 3.1: the factor 2 (ask "MACs or FLOPs?" whenever somebody quotes a number; papers
# mix them), N x N when there are S keys, only the products ("attention is the expensive part"). 3.2 is the heart of
# the lesson: nearly everybody says 298, and the solution edition keeps that prediction, so that the surprise can be
# seen. Let the group find the bound for S = 1 before they open the text, and let them explain why the ratio of
# the blocks is smaller again.

# %% [markdown]
# ## Memory: what is stored at the same time
#
# Operations can be done one after the other. Peak memory counts what is stored **at the same time**. In the
# non-local block as you wrote it, the peak is reached in the softmax: it reads the scores and writes the weights,
# so both $N \times N$ matrices exist, together with keys and values:
#
# $$M = 4\,N\,(2N + 2C) \ \text{bytes}$$
#
# (On small feature maps the output, $N \times C_X$ numbers, is larger; then the peak is reached later.)
#
# *Example with $C = 1$.* A feature map of 1 x 2 has $N = 2$ and needs 4 · 2 · (4 + 2) = 48 bytes. A map of 2 x 4
# has $N = 8$ and needs 4 · 8 · (16 + 2) = 576 bytes. So the largest map for 500 bytes is 1 x 2.

# %% [markdown] tags=["exercise:largest"]
# ### Exercise 3.2: The largest feature map
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 2*
#
# The feature map of a street has $H$ rows and $2H$ columns, so $N = 2H^2$. Find the largest $H$ for which $M$ is at
# most `num_bytes`, or 0 if there is none. For the example: `largest_height(500, 1)` returns 1 and
# `largest_height(576, 1)` returns 2.


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
# $M$ grows with $H$. Try feature maps from the smallest on, and stop before the first one that is too large.

# %% [markdown] tags=["hint:largest:2"]
# A `while` loop over the height. In it: $N = H \cdot 2H$, then $M$, then one comparison with `num_bytes`. The height
# must grow in every round, or the loop never ends.

# %% [markdown] tags=["hint:largest:3"]
# `height = 0`, and in the loop test the map with `height + 1` rows.

# %% tags=["check:largest"]
checks.largest_height(largest_height)

# %%
for memory in (1, 8, 24, 80):
    rows = checks.attempt_number(largest_height, memory * 2**30, 256)
    print(f"{memory:3d} GiB: map {rows} x {2 * rows}, an image of {8 * rows} x {16 * rows}")

# %% [markdown]
# *Extension (optional).* Solve the formula for $H$, without a loop.
#
# <details><summary>Answer</summary>
#
# $8N^2 + 8NC \le b$ holds up to $N = \frac{1}{2}\left(\sqrt{C^2 + b/2} - C\right)$, and
# $H = \lfloor\sqrt{N/2}\rfloor$. For large $b$, $N$ grows with $\sqrt{b}$ and $H$ with the fourth root of $b$.
#
# </details>
#
# Memory grows with the fourth power of the side length, so more hardware hardly helps: eighty times the memory gives
# only about three times the side length.
#
# ### The matrix that is never stored
#
# Do we have to store the matrix at all? Each row of weights is needed once, for one weighted sum. **Fused attention**
# (in PyTorch: `scaled_dot_product_attention`) computes the weights of a few rows, uses them and discards them, within
# the fast memory of the processor. The result is the same, up to rounding.

# %% [markdown]
# ### Prediction 3.3: What is still quadratic?
#
# With fused attention, what still grows with $N^2$: "time", "memory", "both" or "neither"? (The next cell decides
# about time by the operations; the measured time follows in the curves.)

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
    what = "operations" if name == "time" else "bytes of peak memory"
    print(f"N doubled at the end: {times:.2f} times the {what}")

# %% [markdown]
# <details>
# <summary>After you have run the cell: what fused attention changes</summary>
#
# Memory is no longer quadratic, but the work is: all $N^2$ scores are still computed. When the paper was written
# (2019), the usual implementation of a non-local block stored the matrix, and memory was half of the paper's
# argument. (A²-Nets, CCNet and Efficient Attention, first published in 2018, avoided the matrix, but compute another
# function.) Today fused attention computes the same function without the matrix. So memory is no longer an argument
# against a non-local block, but time still is.
#
# </details>
#
# Here are your measurements as curves. Both axes are logarithmic: a slope of 1 is linear growth, a slope of 2 is
# quadratic growth.

# %%
curves = curves_of(measured)
print(slopes_table(curves))
plots.growth_chart(curves)

# %% [markdown]
# Compare the last two points of each curve. On small maps most of the time goes into the convolutions, so it grows
# little faster than $N$. The larger the map, the more of the time goes into the quadratic part. (In a quick run the
# maps are too small to show this.) On larger maps than we can measure here, the time of fused attention grows with a
# slope of [2.01](result:benchmark/growth_amd-epyc.md) and its memory with
# [1.00](result:benchmark/growth_amd-epyc.md). For APNB (folded, a form that lesson 11 explains) the slopes are
# [1.13](result:benchmark/growth_amd-epyc.md) and [1.00](result:benchmark/growth_amd-epyc.md).

# %% [markdown] tags=["instructor"]
# Twenty minutes. Usual mistakes in 3.2: one matrix instead of two, N instead of H, the first map that does *not* fit,
# a loop that never ends (the check stops it after some seconds). Discussion: *why did the authors not use fused
# attention?* (It became common years later.) *Is the paper incorrect, then?* (No: a claim about cost holds for a
# time, a machine and a library.) When late, skip the exercise and show the loop with annlib's formula.

# %% [markdown]
# ## The whole network
#
# A block is only a part of a network. ANN with a ResNet-50, at the size of a training crop of a street, has a
# backbone, an AFNB, a 3 x 3 convolution that reduces 2048 channels to 512, and an APNB.

# %% [markdown]
# ### Prediction 3.4: The most expensive network
#
# Take one image of 512 x 1024 pixels. Which whole network needs the most operations: the one with the ordinary
# "non-local" block, the one with "APNB" in its place, or "ANN", which has both an AFNB and an APNB?

# %% tags=["predict:network"]
guess_network = "non-local"  # solution

# %%
from annlib.course.costs import HEADS, network_bill

totals = {head: sum(network_bill(head, (512, 1024)).values()) for head in HEADS}
most = max(totals, key=totals.get).split()[0]
predictions.compare("3.4", guess_network, most, options=("non-local", "APNB", "ANN"))
for head, total in totals.items():
    print(f"{head:20} {total:6.1f} GFLOPs")
ordinary, ann = (network_bill(head, (512, 1024)) for head in ("non-local", "ANN (AFNB and APNB)"))
lesson.claim("ann-more", sum(ann.values()) / sum(ordinary.values()), within=0.01)
lesson.claim("afnb-share", 100 * ann["afnb"] / sum(ann.values()), within=0.5, unit="%")
lesson.claim("apnb-share", 100 * ann["apnb"] / sum(ann.values()), within=0.5, unit="%")

# %% [markdown]
# <details>
# <summary>After you have run the cell: a result that the abstract does not mention</summary>
#
# At this size ANN needs [1.15](claim:ann-more) times the operations of the network with a non-local block. Its APNB
# takes only [2 %](claim:apnb-share) of them. But its AFNB, an additional block, takes [22 %](claim:afnb-share),
# because it works on 2048 channels. The cost is in its convolutions, not in its attention.
#
# </details>
#
# The widget shows the operations of each part. Try this, and explain each answer:
#
# 1. With "non-local", go through the images from small to large. How does the fraction of the hatched bar change,
#    and from which size on is it the largest bar?
# 2. Choose "APNB alone" at 1024 x 2048, then "ANN". Which bar is the cost of fusing two levels?
# 3. Which single bar would you reduce first to make ANN faster at 512 x 1024? (Lesson 11 reduces two.)

# %%
widgets.network_cost()

# %% [markdown] tags=["exercise:amdahl"]
# ### Exercise 3.3: A faster part and the whole
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 3*
#
# A part takes `share` of the running time of the whole, and now becomes `times` as fast as before. How many times
# faster does the whole become? Example: a part takes half of 10 s, so 5 s, and becomes [5 times](given:example) as fast. Then the
# whole takes 5 + 1 = 6 s, and is 10 / 6 = [1.67](given:example) times as fast.


# %% tags=["answer:amdahl"]
def whole_speed_up(share: float, times: float) -> float:
    """share from 0 to 1, times above 1 -> how many times faster the whole becomes"""
    # solution
    left = (1 - share) + share / times
    return 1 / left


# %% [markdown] tags=["hint:amdahl:1"]
# Let the whole take one second. How long do the rest and the part take afterwards?

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
    print(
        f"{size[0]} x {size[1]}: the block takes {share:.0%} of the operations. With {times:.1f} times"
    )
    print(f"fewer operations in it, the whole network needs {whole:.2f} times fewer.")

# %% [markdown]
# *Extension (optional).* How many times faster can the whole become at most?
#
# <details><summary>Answer</summary>
#
# $1 / (1 - \text{share})$: even if the part took no time, the rest would remain. For a part of [13 %](given:share), at most
# [1.15](given:one-over-one-minus-share) times. This is Amdahl's law.
#
# </details>
#
# **What this does not show.** Operations are not seconds; the ratio of operations is only a first estimate of the
# ratio of times (`python -m benchmarks.network image` measures it). All times here are from one machine with two
# cores, one image at a time, in float32 and without gradients. Fused attention has much better kernels on a GPU than
# on a CPU, so the ratio there may be far smaller; our records contain no GPU. And cost says nothing about *quality*:
# the next lesson asks what is lost with 110 anchors instead of 32,768 positions.

# %% [markdown] tags=["instructor"]
# Fifteen minutes. 3.4 is the second surprise; do not soften it: the paper's claim is about a block, and readers take
# it for a claim about a network. Usual mistakes in 3.3: averaging the speed-ups; the remaining time instead of its
# inverse. When late, do 3.3 at the board and leave the widget for home.
#
# Answers: (1) Its fraction grows from 13 % at 512 x 1024 to 34 % at 1024 x 2048, where it is first the largest. (2)
# "afnb". (3) layer4 is the largest; AFNB can be made cheaper without another network (folding, lesson 11). The
# required part of the lesson ends here; go to the quiz.

# %% [markdown]
# **The required part ends here.** Go on with "Your predictions" and the quiz. The three sections before them are an
# optional second sitting: explore the formulas, learn to measure a ratio of times, and repeat the measurement of the
# paper. (After a restart, run all cells above first.)
#
# ## Optional: explore the formulas
#
# The curves come from the formulas of this lesson, for attention without `fuse`, with $C_X = 8C$. The vertical line
# in the middle is the memory that is free on this machine now. Fused attention and APNB nearly coincide there. A
# formula does not know seconds. So the button "Measure here" takes one speed, the operations per second of the
# non-local block on the map of our scene, and predicts the time of all other maps from it. Then it measures the
# current map, and draws points next to the predicted lines. Try this, and explain each answer:
#
# 1. Set the map to 16 x 24 (our scene). Does one of the three save much there? Why?
# 2. From there increase W, then H, one step at a time. When does the dotted line separate from the others on the
#    left, and when in the middle? What is the role of $C$?
# 3. On 128 x 256 set $S$ to 1, then to 1390. What changes, what does not, and which term is that?
# 4. Find the smallest of these maps that does not fit on this machine without fused attention. Compare with your
#    `largest_height`.
# 5. Set $C$ to 32 and press "Measure here" on 16 x 24, 32 x 48 and 48 x 96. Which form takes longer than predicted,
#    and on which map most? Then press it with $C = 256$. What do operations not count, and why does it matter less
#    there?

# %%

widgets.CostExplorer(free, lesson.device)

# %% [markdown]
# ## Optional: measure time fairly
#
# Timings are noisy: the first call is slow (memory is allocated, kernels are chosen), other programs run at the same
# time, and the processor gets slower when it gets warm. Three rules help:
#
# - **Warm up:** the first calls do not count.
# - **Take turns:** call the two functions alternately, so that a slow minute affects both.
# - **Median and spread:** one slow call does not change the median, and the spread tells readers how much to trust it.
#
# *Example.* After the warm-up, the slow function takes 4, 4 and 40 milliseconds (one call was interrupted), and the fast one
# takes 1, 2 and 1 milliseconds. The medians are 4 and 1, so the ratio is 4. The means are 16 and [1.33](given:example), and
# their ratio, 12, is mostly an effect of the interruption.

# %% [markdown] tags=["exercise:turns"]
# ### Exercise 3.4: How many times faster?
#
# *Difficulty 3/5, importance 3/5, about 15 min, objective 5*
#
# Call both functions twice without reading the clock. Then do `repeat` rounds: in each, one timed call of `slow` and
# one of `fast`. Return the median of the slow times divided by the median of the fast times. (`clock()` returns
# seconds. The check brings a clock of its own, on a simulated machine with all the problems above.)


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
# You need two loops: one without the clock, one with it. In the second loop, call both functions in every round.

# %% [markdown] tags=["hint:turns:2"]
# Read `clock()` before and after each single call, and append the difference to the list of that function. At the
# end take `statistics.median` of each list.

# %% [markdown] tags=["hint:turns:3"]
# `for _ in range(2):`, and in it `slow()` and `fast()`.

# %% tags=["check:turns"]
checks.times_faster(times_faster)

# %% [markdown]
# *Extension (optional).* Return the lowest and the highest ratio of a round in a second function.
#
# <details><summary>Answer</summary>
#
# Collect the times in the same way, then `ratios = [s / f for s, f in zip(slow_times, fast_times)]`, and return
# `min(ratios), max(ratios)`. This works only because the two calls of a round run directly after each other.
#
# </details>
#
# Apply it to two networks of the course, to the non-local block and the APNB of Balloon Town, once on the feature map
# of our scene and once on a larger one. These are whole **blocks** with `fuse`, so compare with the ratio of the
# operations of the blocks, not with N / S:

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

    both = lambda: call("nonlocal"), lambda: call("apnb")
    three = [checks.attempt_number(times_faster, *both, 5, time.perf_counter) for _ in range(3)]
    here = Shape(64, 64, 32, 32, (16 * scale, 24 * scale))
    fuse = 2 * here.positions * 128 * 64
    flops = (nonlocal_flops(here) + fuse) / (asymmetric_flops(here) + fuse)
    print(f"N = {here.positions:6,}: APNB is {median(three):.2f} times as fast ", end="")
    print(f"({min(three):.2f} to {max(three):.2f} in three measurements), ", end="")
    print(f"with {flops:.2f} times fewer operations; N / S = {here.positions / S:.1f}")

# %% [markdown]
# On the map of the scene both blocks need very little time, and the ratio varies from measurement to measurement.
# Compared with the rest of the network the saving is small there: training for the town took
# [87 s](result:balloon_town.md) with the non-local block and [83 s](result:balloon_town.md) with APNB. For this
# reason no training time in this course supports APNB.

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Usual mistakes in 3.4: one clock around all calls of one function, then around all calls of the
# other (ask what happens if somebody opens a browser in between); mean instead of median; fast divided by slow. On a
# GPU: no timing without synchronisation, because a call only puts work into a queue. Let two pairs compare their
# ratios on different laptops: which of them agree?
#
# Cost explorer: (1) No: 1.09 times fewer operations. (2) On the left when 2N is no longer small compared with three
# times the channels of the map; in the middle earlier. (3) 11.7 and 8.0 times. (5) Softmax, and writing and reading
# N x N numbers, take time but count as no operation, and the few operations of each score ($4C$) hide less of it
# when C is small. A point below its line is possible, too: the small map that gave the speed uses a processor less
# well. A busy machine adds to every point: press again before you believe one.

# %% [markdown]
# ## Optional: the paper's claim, measured again
#
# The abstract of the paper says that for a 256 x 128 input APNB is around [6 times](cited:paper-abstract) faster than a
# non-local block on a GPU, and [28 times](cited:paper-abstract) smaller in GPU memory. Read this sentence carefully.
# Is the *input* an image or a feature map? Which GPU, which library? Which part of the block? The authors answered
# some of this in their repository (issue 4): a feature map with 2048 channels; the attention alone, with its
# projections but without the convolution that fuses; the mean time of 20 forward passes.
#
# We quote only what we could verify: the abstract and this issue. The paper is open access and also has a table with
# more sizes: open it, find the table, and write its rows next to your own.
#
# ### Prediction 3.5: Larger or smaller than the formula?
#
# At the size of the abstract, attention with anchors needs [11.3](claim:saving) times fewer operations. Is the
# *measured* ratio of times to non-local attention that stores the matrix "larger", "smaller" or "similar" (within a
# fifth)?

# %% tags=["predict:measured"]
guess_measured = "larger"  # solution

# %% [markdown]
# We use the map of the abstract if seven calls of each form should take less than two minutes here and if the
# matrices fit into half of the free memory; otherwise the largest map that does.

# %%
from annlib.course.costs import MEASURED, largest_affordable, paper_table
from annlib.course.implementations import attention_implementations
from annlib.course.profiler import compare

repeat = 5
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
timings = {name: one.timing for name, one in found.items()}
ratios = {name: one.median / timings[PLAIN_APNB].median for name, one in timings.items()}
against = ratios[NONLOCAL] / by_operations
outcome = "larger" if against > 1.2 else "smaller" if against < 0.8 else "similar"
predictions.compare("3.5", guess_measured, outcome, options=("larger", "smaller", "similar"))
spreads = {name: (one.slowest - one.fastest) / one.median for name, one in timings.items()}
for name, what in ((NONLOCAL, "written-out"), (FUSED, "fused")):
    spread = spreads[name] * ratios[name]
    lesson.claim(f"faster-than-{what}", ratios[name], within=spread, unit="times", modes=())
print(
    f"By operations on this map: {by_operations:.1f} times; measured: {ratios[NONLOCAL]:.1f} times."
)
if max(spreads.values()) > 0.5:
    print(
        "The calls of one form differ by more than half of their median: this machine is busy, so"
    )
    print("the result may be incorrect. Close other programs and run the last two cells again.")
elif outcome != "larger":
    print(
        "This differs from our record below. Small maps, where little memory is read and written,"
    )
    print("are one reason; another processor is another.")
plots.measured_points(found, size)

# %% [markdown]
# <details>
# <summary>After you have run the cells: our record, and how to explain it</summary>
#
# On the machine of our record (two CPU cores, map of 256 x 128) APNB was
# [27.07](result:benchmark/blocks_64x128_amd-epyc.md) times faster than attention that stores the matrix, with
# [23.61](result:benchmark/blocks_64x128_amd-epyc.md) times less memory; it was
# [11.74](result:benchmark/blocks_64x128_amd-epyc.md) times faster than fused attention, with the same memory. So the
# claim holds there in its direction, not in its numbers, and it has two parts:
#
# - **Compared with fused attention**, the ratio of times is about the ratio of operations, and that of memory is 1.
# - **Compared with attention that stores the matrix**, the ratio of times is larger. The counter counts neither the
#   softmax nor that a matrix of several gigabytes is written to memory and read again, several times. This memory
#   traffic takes more than half of the time on that machine.
#
# Our numbers are not the paper's, and they need not be: a GPU has another ratio of arithmetic to memory traffic. All
# forms, with spread, operations and a second implementation, are in `data/results/benchmark`;
# `python -m benchmarks.implementations` measures them on your machine.
#
# </details>

# %% [markdown] tags=["instructor"]
# Ten minutes. Discussion prompt: *which statement about cost will still be true in five years?* (That one form grows
# with N, the other with N squared.) Let the group list what a claim about speed must state: sizes, what is included,
# device, library and version, precision, median and spread. On a slow machine the lesson takes a smaller map by
# itself; say so when numbers are compared. If the notebook prints that the machine is busy, do not discuss the
# numbers.

# %% [markdown]
# ## Your predictions
#
# The table compares your predictions with the results.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which prediction was correct, but for a wrong reason?

# %%
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:ratio"]
# ### Quiz 3.1: N is 8140, S is 110. Does APNB need N / S = 74 times fewer operations than non-local attention?
#
# - [ ] Yes, because there are that many times fewer keys.
#   The matrix of weights is that much smaller. But the three 1 x 1 convolutions run at all N positions in both.
# - [x] No: only the two products become smaller, and the convolutions remain.
#   With 2048 and 256 channels about three quarters of the operations were products; the rest limits the saving.
# - [ ] No: pooling costs what the products save.
#   Pooling reads the map once for each grid. That is far less than a product with $N$ columns.

# %% [markdown] tags=["quiz:fused"]
# ### Quiz 3.2: Fused attention never stores the weights. Which argument for anchors remains?
#
# - [ ] None, because it computes the same function.
#   It computes the same function with the same $N^2$ scores, so the work remains.
# - [x] Time: it still computes $N^2$ scores, and attention with anchors computes only $N \cdot S$.
#   Memory is linear in N for both; time is not.
# - [ ] Memory: the scores of a row must still be stored.
#   Only a few rows at a time, in the processor's own memory; that does not grow with N squared.

# %% [markdown] tags=["quiz:pixels"]
# ### Quiz 3.3: With S = 110, how much of the feature map contributes to the output at one query position?
#
# - [ ] 110 positions.
#   An anchor is not a position. It is the mean over a whole cell.
# - [x] All of it: each anchor is the mean over a cell, and the cells of a grid cover the map.
#   What is lost is detail, not area: positions of one cell cannot get different weights.
# - [ ] Nothing, until the network is trained.
#   Means need no training. Training changes the projections, and so the weights of the anchors.

# %% [markdown] tags=["quiz:claim"]
# ### Quiz 3.4: "Our block is 20 times faster." Which question matters most?
#
# - [ ] Was it measured in FLOPs or in MACs?
#   That is a factor of two in both numbers, so a ratio does not change.
# - [x] Than what, at which size, which part of it, on which device and library?
#   Each of these changes the number: attention alone or with `fuse` changed ours from [11.3](claim:saving) to
#   [2.67](claim:block-saving).
# - [ ] How many parameters does it have?
#   Parameters are stored once and say little about time. A non-local block and APNB have the same number.

# %% [markdown] tags=["quiz:median"]
# ### Quiz 3.5 (optional section): Why do the two calls take turns, instead of one after the other?
#
# - [ ] So that the second one profits from data that the first one has loaded.
#   That would be unfair. Warming up both before the measurement removes this effect.
# - [x] Then a slow minute of the machine affects both, and the ratio stays about the same.
#   One after the other, only the function that runs in the slow minute looks slow.
# - [ ] Because a median needs an even number of calls.
#   It does not.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You derived the operations of attention, $2NC(3C_X + 2S)$, and saw that the ratio $N/S$ is not the saving, neither of
# attention nor of the block; computed the largest feature map that fits into memory; saw that fused attention removes
# the memory argument and leaves time; and found which parts of the whole network are expensive. In the optional
# sections you measured a ratio with warm-up, turns and medians, and compared a published claim with your own numbers.
#
# Read more: Z. Zhu and others, *Asymmetric Non-local Neural Networks for Semantic Segmentation*, ICCV 2019;
# T. Dao and others, *FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness*, NeurIPS
# 2022; M. N. Rabe and C. Staats, *Self-attention Does Not Need O(n²) Memory*, 2021; G. Amdahl, *Validity of
# the single processor approach to achieving large scale computing capabilities*, 1967.
#
# Next: [pyramid sampling: what an anchor is, and what is lost](04_pyramid_sampling.ipynb).
