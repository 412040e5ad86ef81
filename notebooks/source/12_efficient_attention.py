# %% [markdown] tags=["header"]
# # 12. Efficient attention after ANN (optional)
#
# *Many methods have made attention cheaper since 2019. Which of them still find the distant balloon?*
#
# - **Before:** lessons 2, 3 and 4; matrix products. No later lesson needs this one.
# - **Time:** 90 min: reading 30, exercises 55, running 5; optional sections, 10 min more
# - **Runs in:** 25 s (quick), 90 s (learn), 300 s (full), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. sort methods of efficient attention by what they reduce ([Exercise 12.1](exercise:kinds))
# 2. compute which positions reach each other in one pass or two ([Exercise 12.2](exercise:crosses))
# 3. write attention whose cost grows linearly with N, by changing the order of products ([Exercise 12.3](exercise:linear))
# 4. compare a cheap method with exact attention: error, cost, accuracy ([Prediction 12.3](predict:best))
# 5. judge a claim of speed by what was measured, where, and against what ([Exercise 12.4](exercise:abstract))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import inspect
from functools import partial

import torch
from IPython.display import Markdown

from annlib.course import checks, efficient, plots, widgets
from annlib.course.attention import entropy, match, query_on
from annlib.course.efficient import FAMILIES, exact, method_of, share_of_work, weights_of
from annlib.course.guesses import Predictions
from annlib.course.interventions import attention_by, capture_qkv, score_method
from annlib.course.lesson import ROOT, open_lesson, progress
from annlib.course.profiler import peak_bytes, time_calls
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.build import shipped_model

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()
bound = ("learn", "full")  # the modes that measure on enough scenes
scenes = [make_scene(FIRST_VAL_SEED + i) for i in range(lesson.pick(quick=5, learn=60, full=200))]

# %% [markdown]
# ## One query position, 384 keys
#
# The query position is on a house. The key that it needs is on the balloon of the same colour, far above. Which keys
# could a cheaper method leave out? Look at the attention map before you read on.

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
house = scene.houses[0]
network = shipped_model("balloon_nonlocal")  # small: it stays on the CPU
one = capture_qkv(network, scene.image)  # queries, keys and values of its block
exactly = attention_by(exact, one)
plots.attention_map(
    scene.image, exactly, *query_on(scene, house), "Attends to all N keys", "nonlocal"
)

# %% [markdown]
# We took the queries $\phi$, keys $\theta$ and values $\gamma$ of the trained non-local network of lesson 2
# (its queries and keys share one projection, so $\phi = \theta$). In the rest of this lesson they stay fixed,
# and we change only how the output is computed from them. Exact attention computes
#
# $$O = \mathrm{softmax}\left(\frac{\phi^{\top} \theta}{\sqrt{C}}\right) \gamma^{\top},
# \qquad \text{operations: } 2 N S C + 2 N S C = 4 N S C, \qquad \text{weights: } N S$$
#
# with $S = N$ for the non-local block. (A multiply-add counts as two operations, as in lesson 3.)

# %%
print(inspect.getsource(exact))
(B, C, N), size = one.key.shape, one.size
assert (B, N) == (1, 16 * 24) and one.value.shape == (1, C, N)
assert exact(one.query, one.key, one.value).shape == (B, N, C)
own = match(exactly, scene, house).on_its_balloon
lesson.claim("own-exact", 100 * own, within=1.5, unit="%")

# %% [markdown]
# ## Four quantities that can be reduced
#
# The cost is a product of few factors, so there are few ways to reduce it. Each method since 2019 uses one of these
# four, or combines them:
#
# | kind | what is reduced | examples |
# |---|---|---|
# | **fewer keys** | $S$, the number of keys and values | ANN's anchors; Linformer; Nyströmformer; PVT, SegFormer; OCRNet |
# | **fewer pairs** | most entries of the weight matrix are never computed | CCNet's criss-cross; Swin's windows |
# | **other order** | without a softmax over the query-key scores, $\theta \gamma^{\top}$ can be computed first | linear transformers; Performer; Efficient Attention |
# | **never stored** | only the memory: the weight matrix is computed in tiles, one after the other | FlashAttention, `scaled_dot_product_attention` |
#
# (The number of **queries** can be reduced as well if not every pixel needs an output of its own, as in Perceiver and
# Mask2Former.)
#
# annlib contains small versions of methods of each kind. They show the ideas. They are not the published networks,
# which are trained with their approximation.

# %% [markdown] tags=["exercise:kinds"]
# ### Exercise 12.1: What is reduced?
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 1*
#
# Give each method its kind: `"fewer keys"`, `"fewer pairs"`, `"other order"` or `"never stored"`. The check
# runs each method on random numbers and tells you what contradicts your choice.
#
# | method | what it does |
# |---|---|
# | `"anchors"` | the keys are means over the cells of four grids (ANN) |
# | `"reduced"` | the keys are means over the cells of one grid |
# | `"projected"` | each key is a mixture of all positions, with fixed coefficients |
# | `"landmarks"` | a few landmark keys; the whole matrix is rebuilt from the weights to, among and from them |
# | `"centres"` | similar keys form groups; each group has one key, its mean |
# | `"windows"` | the map is divided into squares; a query attends to the keys of its own square |
# | `"criss-cross"` | a query attends to the keys in its own row and column |
# | `"kernel"` | products of positive features instead of a softmax |
# | `"random features"` | the same, with random features that imitate the exponential function |
# | `"fused"` | exact attention, computed in tiles |
#
# *Extension (optional):* which of the methods work on a map of another size without retraining? Which ones do not
# depend on the position of a key?

# %% tags=["answer:kinds"]
kinds = {
    # "anchors": "...", and so on for all ten
}
# solution
few = ("anchors", "reduced", "projected", "landmarks", "centres")
kinds = dict.fromkeys(few, "fewer keys") | dict.fromkeys(("windows", "criss-cross"), "fewer pairs")
kinds |= {"kernel": "other order", "random features": "other order", "fused": "never stored"}

# %% [markdown] tags=["hint:kinds:1"]
# Ask of each method: how many keys can a query attend to? Is every pair computed? Is there a softmax over
# query-key scores? Does the result differ from exact attention at all?

# %% [markdown] tags=["hint:kinds:2"]
# A row of weights with exact zeros leaves pairs out. A row that is a mixture of a few rows has fewer
# keys. `method_of(name, option, size)` returns a method, and `weights_of` its weights.

# %% [markdown] tags=["hint:kinds:3"]
# `kinds = {"fused": "never stored", "anchors": "fewer keys", ...}`

# %% tags=["check:kinds"]
checks.kinds_of_attention(kinds)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# Only "projected" does not work: its mixing matrix has N rows, so it fits one map size. All others compute
# their keys from whatever map they get. Independent of positions are exact and fused attention, "centres" (keys are
# grouped by similarity), "kernel" and "random features": if you permute the keys and values, their outputs
# stay the same.
#
# </details>

# %% [markdown] tags=["instructor"]
# Fifteen minutes to here. Let somebody say the three factors of the cost aloud before the table is shown:
# what could be reduced? Usual first idea: fewer *queries*; ask what that does to the output (not every position
# gets one, so the outputs must be upsampled). Usual mistake in 12.1: "landmarks" as fewer pairs.

# %% [markdown]
# ## Fewer keys
#
# The methods differ in how they make their $S$ keys: means over cells (ANN), a learned layer that reduces the map (PVT,
# SegFormer), learned mixtures of all positions (Linformer), landmarks (Nyströmformer), or mean features of a class
# (OCRNet). The cost is $4 N S C$, plus the cost of making the keys. What is lost is detail within a cell or a mixture.
# The next cell measures how much of the house's attention stays on its balloon.

# %%
print(inspect.getsource(efficient.anchors))
shares = {}
for name, option in {"anchors": 110, "reduced": 2, "projected": 96, "landmarks": 2}.items():
    found = match(attention_by(method_of(name, option, size), one), scene, house)
    shares[name] = 100 * found.on_its_balloon
    work, label = share_of_work(name, option, size, C), plots.label_of(name, option)
    print(f"{label:14} {work:5.0%} of the operations, {shares[name]:3.0f} % on its balloon")
lesson.claim("own-anchors", shares["anchors"], within=1.5, unit="%")
lesson.claim("own-landmarks", shares["landmarks"], within=1.5, unit="%")
rebuilt = weights_of(method_of("landmarks", 2, size), one.query, one.key)
assert rebuilt.shape == (B, N, N)

# %% [markdown]
# With exact attention [83 %](claim:own-exact) of the house's attention is on its balloon. With anchors it is
# [10 %](claim:own-anchors). The reason: the mean over balloon *and sky* is a weaker key, so its score is closer to the
# other scores, and a softmax over similar scores spreads its weights. A network that is *trained* with anchors can
# compensate for that; ours was not. Landmarks lose almost nothing ([82 %](claim:own-landmarks)), because the rebuilt
# matrix still has one column for *every* position.

# %% [markdown]
# ## Fewer pairs
#
# **Windows** (Swin, ICCV 2021): the map is divided into squares, and a position attends only to its own square. The
# next layer shifts the squares. With $w \times w$ windows the cost is $4 N w^2 C$. **Criss-cross** (CCNet, ICCV 2019): a
# position attends to its row and its column, and a second pass repeats that. The cost is about $4 N (H + W) C$ for one
# pass. (Our version reuses queries and keys in the second pass; CCNet computes new ones.) What is lost is everything
# outside of the window or cross, for one layer or pass.
#
# **Example.** On a map of 2 x 3, flattened row by row, position 4 is in row `4 // 3 = 1` and column `4 % 3 = 1`. It
# reaches its row (3, 4, 5) and its column (1, 4): four positions, H + W - 1.

# %% [markdown] tags=["exercise:crosses"]
# ### Exercise 12.2: Which positions are reached?
#
# *Difficulty 3/5, importance 4/5, about 15 min, objective 2*
#
# To which positions does criss-cross attention attend in one pass? Write the $(N, N)$ matrix of True and False,
# $N = H \cdot W$, for maps that are flattened row by row. For 2 x 3, row 4 of the matrix is
# `[False, True, False, True, True, True]`.
#
# *Extension (optional):* write it for windows. How many *layers* of shifted windows does a house need?


# %% tags=["answer:crosses"]
def reach_in_one(height: int, width: int) -> torch.Tensor:
    """-> bool (N, N): entry (n, s) says whether position n attends to position s"""
    # solution
    position = torch.arange(height * width)
    rows, columns = position // width, position % width
    return (rows[:, None] == rows) | (columns[:, None] == columns)


# %% [markdown] tags=["hint:crosses:1"]
# A pair counts if the two positions share their row or their column. So first compute the row and the column of
# position $n$.

# %% [markdown] tags=["hint:crosses:2"]
# `//` and `%` by the width give row and column. `rows[:, None] == rows` compares all pairs with broadcasting; `|`
# is "or" between tensors of True and False.

# %% [markdown] tags=["hint:crosses:3"]
# ```
# position = torch.arange(height * width)
# rows, columns = position // width, ...
# return (rows[:, None] == rows) | ...
# ```

# %% tags=["check:crosses"]
checks.criss_cross_reach(reach_in_one)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# For windows of side w, compare `rows // w` and `columns // w`, and join them with `&`. With shifted windows, each
# further layer extends the reach by about half a window or more, so a balloon that is 10 positions away needs two or
# three layers with windows of 8, depending on where the house is in its window.
#
# </details>

# %% [markdown]
# ### Prediction 12.1: Two passes
#
# In two passes features can go from every position to every other one: in the first pass along a row, to the corner
# where the row meets the column of the query, and in the second pass along this column. We put two passes into our
# trained network without retraining. How many houses does it classify correctly: "nearly all", "about half" or "none"?

# %% tags=["predict:crosses"]
guess_crosses = "about half"  # solution

# %%
reached = {}
for passes in (1, 2):
    method = partial(efficient.criss_cross, size=size, passes=passes)
    reached[passes] = float((weights_of(method, one.query, one.key) > 0).float().mean())
    print(f"{passes} pass(es): {reached[passes]:.0%} of all pairs are connected")
assert reached[2] == 1.0
score = score_method(network, method_of("criss-cross", 2, size), scenes)
print(f"Two passes: {score.right:.0%} of the houses are correct.")
outcomes = ("none", "about half", "nearly all")
crossed = outcomes[int(100 * score.right > 15) + int(100 * score.right > 85)]
predictions.compare("12.1", guess_crosses, crossed, options=outcomes)
lesson.claim("pairs-once", 100 * reached[1], within=0.2, unit="%")
lesson.claim("right-criss-cross", 100 * score.right, within=8, unit="%", modes=bound)

# %% [markdown] tags=["reveal:crosses"]
# One pass connects [10 %](claim:pairs-once) of the pairs, and two passes connect all of them. Still only
# [42 %](claim:right-criss-cross) of the houses are correct. A connection is not a *selection*. In the first pass, the
# position at the corner would have to attend to the balloon that the house needs. But this position is sky or road, and
# attends to other things. CCNet learns that in training; our network did not.

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for these two sections. Usual mistakes in 12.2: `% height` for `% width` (the check
# uses maps that are not square), rows only, the diagonal left out. Draw the corner on the board: house,
# balloon, and the two positions where their rows and columns cross. When late, skip the landmarks.

# %% [markdown]
# ## Another order of products
#
# Suppose that the weights are not a softmax, but products of positive features $f(\phi)$ and $f(\theta)$, divided by the
# sum of the row. Then the order of the products can be changed:
#
# $$O = \frac{\left( f(\phi)^{\top} f(\theta) \right) \gamma^{\top}}{\text{row sums}}
#     = \frac{ f(\phi)^{\top} \left( f(\theta) \gamma^{\top} \right)}
#            { f(\phi)^{\top} \sum_s f(\theta)_s }$$
#
# The bracket on the left is $N \times S$, the bracket on the right only $C \times C$. The cost is $4 N C^2$, without
# $N^2$. This is **linear attention**. Linear transformers (ICML 2020) use $f(x) = \mathrm{elu}(x) + 1$. Performer (ICLR
# 2021) uses random features that *estimate* the exponential of the scores. (Efficient Attention, WACV 2021, applies one
# softmax to the queries and one to the keys instead.) What is lost: only a softmax over query-key scores can put nearly
# all weight on one key.
#
# **Example.** One channel, the query feature 2, the key features 1 and 3, the values 10 and 20. From the left: the
# products are 2 and 6, their sum is 8, and the output is (2 · 10 + 6 · 20) / 8 = [17.5](given:example). From the right:
# first 1 · 10 + 3 · 20 = 70 and 1 + 3 = 4, which every query can use; then 2 · 70 / (2 · 4) = [17.5](given:example).
# The cost for N = 384 and C = 32: from the right it is [12 times](given:n-over-c) less.

# %% [markdown] tags=["exercise:linear"]
# ### Exercise 12.3: The order of products
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 3*
#
# Query and key are positive features already. Compute the output, without making an $N \times S$ matrix at any point.
# Each row must be divided by its own sum of weights, so if all values are 1, the output is 1. For the example above the
# output is [17.5](given:example). The check counts your operations.
#
# *Extension (optional):* the sum of each row can be computed as one more channel of the values. How?


# %% tags=["answer:linear"]
def linear_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """query (B, C, N), key (B, C, S), value (B, Cv, S) -> (B, N, Cv)"""
    # solution
    memory = key @ value.mT  # (B, C, Cv)
    totals = query.mT @ key.sum(dim=2, keepdim=True)  # (B, N, 1)
    return query.mT @ memory / totals


# %% [markdown] tags=["hint:linear:1"]
# A product of three matrices can be computed in two orders. Which one never makes a matrix with both N and
# S? The sum of row $n$ is a product of query $n$ with something that is the same for all rows.

# %% [markdown] tags=["hint:linear:2"]
# `key @ value.mT` is (B, C, Cv). `key.sum(dim=2, keepdim=True)` is (B, C, 1), so the query times it is
# (B, N, 1): one sum for each row.

# %% [markdown] tags=["hint:linear:3"]
# ```
# memory = key @ value.mT
# totals = query.mT @ ...
# return query.mT @ memory / ...
# ```

# %% tags=["check:linear"]
checks.linear_attention(linear_attention)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# Append a channel of ones to the values: (B, Cv + 1, S). The last channel of the result is then the sum of each row,
# and the other channels are divided by it.
#
# </details>

# %%
features = efficient.elu_plus_one
ours = checks.attempt(linear_attention, features(one.query), features(one.key), one.value)
assert torch.allclose(ours, efficient.linear(one.query, one.key, one.value), atol=1e-4)
bits = {
    name: float(entropy(attention_by(method, one).row(*query_on(scene, house))))
    for name, method in {"non-local": exact, "kernel": efficient.linear}.items()
}
for name, value in bits.items():
    print(f"{name:10} {value:.1f} bits: like equal weights on {2**value:.0f} of {N} keys")
lesson.claim("bits-exact", bits["non-local"], within=0.1, unit="bits")
lesson.claim("bits-kernel", bits["kernel"], within=0.1, unit="bits")

# %% [markdown]
# The entropy of the house's attention weights rises from [2.9](claim:bits-exact) to [8.55](claim:bits-kernel) bits;
# equal weights on all 384 keys have [8.58](given:log2-384) bits. So with this kernel the weights are almost uniform.
# The reason: a product of features grows linearly with the match of query and key, but the exponential of a softmax
# grows much faster. So no row can concentrate on one key.

# %% [markdown]
# ## Optional: the whole matrix, never stored
#
# **FlashAttention** (NeurIPS 2022) does not change the formula. It computes one *tile* (a block of rows and columns) of
# scores at a time, adds its part to the output, and discards the tile. PyTorch offers such fused kernels as
# `scaled_dot_product_attention`, for CPUs as well (lesson 3).

# %% [markdown]
# ### Prediction 12.2: What does that do to the time?
#
# The fused kernel computes the same products as our block, and needs some further operations for each tile. Measured on
# your machine, does it take "more" time than our block, "less", or the "same"?

# %% tags=["predict:fused"]
guess_fused = "less"  # solution

# %%
large = lesson.pick(quick=(32, 48), learn=(64, 96), full=(64, 96))
drawn = torch.randn(3, 1, C, large[0] * large[1], device=lesson.device)
mib, milliseconds = {}, {}
chosen = {"non-local": 1, "fused": 1, "anchors": 110, "windows": 8, "kernel": 1}
with torch.inference_mode():
    for name, option in progress(chosen.items(), len(chosen), "methods"):
        call = partial(method_of(name, option, large), *drawn)
        milliseconds[name] = time_calls(call, lesson.device, repeat=3).median
        mib[name] = peak_bytes(call, lesson.device) / 2**20
        work = FAMILIES[name].operations(option, large, C)
        print(f"{name:10} {work:16,} operations {mib[name]:7.1f} MiB {milliseconds[name]:7.1f} ms")

# %%
work = [FAMILIES[name].operations(1, large, C) for name in ("non-local", "fused")]
assert work[0] == work[1], "the same products"
faster = milliseconds["non-local"] / milliseconds["fused"]
took = "less" if faster > 1.2 else "more" if faster < 1 / 1.2 else "same"
predictions.compare("12.2", guess_fused, took, options=("less", "more", "same"))
difference = efficient.fused(one.query, one.key, one.value) - exact(one.query, one.key, one.value)
assert difference.abs().max() < 1e-4, "fused is exact up to rounding"
lesson.claim("mib-exact", mib["non-local"], within=15, unit="MiB", modes=bound)
lesson.claim("mib-fused", mib["fused"], within=2, unit="MiB", modes=bound)
lesson.claim("mib-anchors", mib["anchors"], within=2, unit="MiB", modes=bound)
lesson.claim("fused-faster", faster, within=1.9, unit="times", modes=("learn",))

# %% [markdown] tags=["reveal:fused"]
# On a map of 64 x 96 our block needs [289 MiB](claim:mib-exact) at its peak, the fused kernel
# [4 MiB](claim:mib-fused), anchors [6 MiB](claim:mib-anchors). So one of the two reasons for ANN, *memory*, has
# another solution today that costs no accuracy. On our CPU the fused kernel was also about [3](claim:fused-faster)
# times as fast, because writing and reading a large matrix takes time. The other reason for ANN remains: the number of
# *operations* of the fused kernel still grows with $N^2$, and anchors need only a fraction of them.

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for these two sections. Usual mistakes in 12.3: no row sums, or one sum for all rows; the
# expensive order (correct numbers, refused for their cost). Prompt: *your GPU has fused kernels and your maps are
# small; give one remaining reason for anchors, and one against.* Stop after prediction 12.2 when an hour is
# gone; the comparison below is homework.

# %% [markdown]
# ## All methods in the same network
#
# Each method now replaces the block of the trained network, without retraining. Methods of the kind "fewer keys" get
# about a hundred keys. We measure three things: the relative error of the output, the number of operations, and **how
# many houses are classified correctly**.

# %% [markdown]
# ### Prediction 12.3: Which one keeps the houses?
#
# Which of these three keeps most houses correct: "anchors" (110, as in ANN), "windows" (squares of 8 x 8
# positions, each on its own) or "kernel" (linear attention)?

# %% tags=["predict:best"]
guess_best = "anchors"  # solution

# %%
sizes = {"projected": 96, "centres": 64, "criss-cross": 2, "random features": 256}
tried = {name: sizes.get(name, family.options[-1]) for name, family in FAMILIES.items()}
rows = {}
for name, option in progress(tried.items(), len(tried), "methods"):
    score = score_method(network, method_of(name, option, size), scenes)
    work = share_of_work(name, option, size, C)
    rows[name] = plots.Row(plots.label_of(name, option), FAMILIES[name].shrinks, work, score)
plots.comparison(list(rows.values()))

# %%
right = {name: 100 * row.score.right for name, row in rows.items()}
best = max(("anchors", "windows", "kernel"), key=right.get)
predictions.compare("12.3", guess_best, best, options=("anchors", "windows", "kernel"))
for name in ("anchors", "reduced", "landmarks", "windows", "kernel"):
    lesson.claim(f"right-{name}", right[name], within=8, unit="%", modes=bound)
for name in ("anchors", "windows", "criss-cross"):
    error = 100 * rows[name].score.error
    lesson.claim(f"error-{name}", error, within=2.5, unit="%", modes=bound)
for name in ("centres", "random features"):
    lesson.claim(f"work-{name.split()[0]}", 100 * rows[name].work, within=1, unit="%")

# %% [markdown] tags=["reveal:best"]
# | method | relative error of the output | houses correct |
# |---|---|---|
# | windows | [70 %](claim:error-windows) | [28 %](claim:right-windows), which is chance |
# | anchors | [67 %](claim:error-anchors) | [89 %](claim:right-anchors) |
# | criss-cross | [62 %](claim:error-criss-cross) | fewer than with anchors |
# | kernel | | [64 %](claim:right-kernel) |
# | one grid of 96 cells | | [96 %](claim:right-reduced) |
# | landmarks | | [100 %](claim:right-landmarks) |
#
# **Windows lose the balloon**, but the error of the output does not show that: it is hardly larger than that of anchors.
# The error is a mean over all positions, and most of them are sky and road, which need no balloon. So measure the result
# that matters. Two methods are more expensive than the block that they replace: centres ([108 %](claim:work-centres) of
# its operations) and 256 random features ([134 %](claim:work-random)). With only 384 positions there is little to save.

# %% [markdown]
# Now look at single houses. Say each time *what changes, and why*:
#
# 1. "windows", from the cheapest to the most expensive: does any size reach the balloon? Which size would?
# 2. "anchors", then "landmarks", both at their most expensive: where does the attention map become blurred, and
#    what restores it?
# 3. "criss-cross" with 1, 2 and 3 passes (the three sizes), for each of the houses: which house reaches its
#    balloon in one pass, and where is that balloon?

# %%
widgets.method_chooser(network, scene)

# %%
nine = ("non-local", "anchors", "reduced", "landmarks", "projected", "centres")
nine += ("windows", "criss-cross", "kernel")
found = {rows[name].name: attention_by(method_of(name, tried[name], size), one) for name in nine}
plots.attention_of_methods(scene, 0, found)

# %% [markdown]
# **What this does not show.** One network, from one seed, was trained with the *exact* block and then got a
# method that it had never seen: this measures imitation. The published networks were trained with their own
# approximation, and most stack many such layers, so windows and criss-cross do reach far in the end.

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Prompt: *why does a small error not mean a correct answer?* When late, skip the widget and read
# the nine maps. Answers: (1) none; 16, the height of the map, would. (2) Averaged with sky in the cell;
# the inverse sharpens it again. (3) The pink one: its balloon is in the same column. Another house is correct
# after one pass without attention on its balloon: one prediction of three is, by chance. Usual mistake: to call that
# a success.
#
# There are some 180 houses in 60 scenes: near one half their share varies by about 7 points, so 96 %
# against 89 % is a hint only. The two random methods had one draw each.

# %% [markdown]
# ## Optional: which method is cheapest, and when?
#
# The widget computes operations from the formulas, so the maps may be large. Say *what changes, and why*:
#
# 1. At a height of 64, raise C from 16 to 512. Where does "kernel" cross "anchors"? Write down both costs
#    and divide one by the other.
# 2. Which curves are parallel, which are steeper? Read the power of $N$ off each formula.

# %%
widgets.method_costs()

# %%
at = {name: FAMILIES[name].operations(110, (64, 128), 64) for name in ("anchors", "kernel")}
assert at["kernel"] / at["anchors"] < 1 < 256 / 110  # 4 N C C against 4 N S C: C against S
print(f"C = 64: the kernel takes {at['kernel'] / at['anchors']:.0%} of the cost of 110 anchors.")

# %% [markdown]
# $4 N C^2$ against $4 N S C$: with one head, linear attention is cheaper as long as $C < S$ (row sums aside). The
# published ANN has $C = 256$, $S = 110$ and one head: there, *anchors* are cheaper.
#
# **Multi-head attention** changes this. With $h$ heads of $C / h$ channels each, anchors still cost $4 N S C$, because
# every head has its own $N \times S$ weights with $C / h$ channels. Linear attention needs only $C / h \times C / h$
# for each head, so it costs $4 N C^2 / h$. With $C = 256$ and eight heads, compare 32 with 110: now linear attention
# is cheaper.

# %% [markdown] tags=["instructor"]
# Ten minutes. Answers: (1) the quotient is $C / S$, so they cross at $C = 110$. (2) Anchors, windows and
# kernel are parallel, they grow with $N$; criss-cross with $N^{1.5}$, as $H + W$ grows with $\sqrt{N}$; landmarks
# on squares of fixed size with $N^2$, as the block does. Usual mistake: to read "linear" as "cheapest at every N". When
# late, do (1) only.

# %% [markdown]
# ## Where ANN stands
#
# Published results only; **none of them was measured again here.** One recipe: the same backbone, crop, number of steps
# and machine (MMSegmentation's tables; Cityscapes validation, one scale).

# %%
Markdown((ROOT / "data/results/later_methods_cityscapes.md").read_text())

# %% [markdown]
# Under this recipe ANN has [77.40](cited:mmseg-cityscapes) mIoU, the non-local block it replaces
# [78.24](cited:mmseg-cityscapes): **less memory and more images per second, and a slightly lower score.**
# DeepLabV3+, which is a year older and has no attention, has the highest score of the four. There is one run each,
# so we do not know how much of these differences is due to the seed (lesson 8). The paper's own
# [81.3](cited:paper-abstract) mIoU is on the Cityscapes *test* set, with a larger backbone and several scales, and
# cannot be compared with these numbers.

# %% [markdown]
# Networks of later years have clearly higher scores (`data/results/later_methods_ade20k.md`), but almost everything
# differs: backbone, pre-training, optimiser, augmentation, head. For a new project there are better networks today than
# ANN. But its *question* is still that of the later methods: which positions must be queries, and which keys? Three
# examples: *deformable attention* (2021) lets each query attend to few points whose offsets it learns;
# *FlashAttention-2* and *-3* (2023, 2024) compute exact attention faster on newer GPUs; *state-space models* (Mamba,
# 2023; VMamba, 2024) replace attention by a scan along the positions, at a cost that is linear in $N$.

# %% [markdown] tags=["exercise:abstract"]
# ### Exercise 12.4: Read a claim
#
# *Difficulty 3/5, importance 4/5, about 15 min, objective 5, open*
#
# Take **one** of these and write six sentences: what exactly was measured; against which baseline; at which size and
# on which machine; what the sentence leaves out; what you would measure; which outcome would change your mind.
#
# *Example (three of the six sentences, for the abstract of ANN).* "Measured were the time and the memory of the APNB on
# a GPU. The baseline is a non-local block that stores its matrix; a fused kernel is not mentioned. The input is 256 x 128,
# but the abstract does not say on which GPU."
#
# - CCNet's abstract: compared with a non-local block, [11](cited:ccnet-abstract) times less GPU memory and
#   about [85 %](cited:ccnet-abstract) fewer operations. (In an issue of the authors' repository a user
#   reports that training was *slower* than with a non-local block, and an author answers that the
#   implementation is inefficient.)
# - FlashAttention's abstract says that approximate methods often do not achieve a wall-clock speedup. (Compare
#   your own table of operations and milliseconds.)

# %% [markdown] tags=["instructor"]
# Rubric for 12.4 (0 to 5): states quantity and baseline (1); asks for size, machine and batch, or finds that
# they are not stated (1); distinguishes operations, memory and time (1); states what is left out: accuracy,
# training, implementation, seeds (1); proposes a measurement with an outcome that would count against the
# writer's own view (1). No points for "marketing" without a measurement. Fifteen minutes, or homework.

# %% [markdown]
# ## Your predictions
#
# Your predictions beside the results.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which prediction was correct, but for a wrong reason?

# %%
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:kernel"]
# ### Quiz 12.1: One head, C = 256 channels, S = 110 anchors. Which is cheaper, linear attention or anchors?
#
# - [ ] Linear attention: its cost has no $N^2$.
#   Neither has the other: $4 N S C$ is linear in N as well.
# - [x] Anchors: $S < C$.
#   $4 N S C$ against $4 N C^2$. With eight heads it would be the other way round: $C / h$ = 32 is below 110.
# - [ ] They cost the same, because both are linear.
#   Both are linear in N, but with different factors: S and C.

# %% [markdown] tags=["quiz:fused"]
# ### Quiz 12.2: A fused kernel replaces our block. What changes?
#
# - [x] Memory and time. The operations stay the same, and so do the results, up to rounding.
#   The weights are computed and used tile by tile.
# - [ ] The results: it is an approximation.
#   It is exact. That distinguishes it from all other methods here.
# - [ ] The operations: it skips small weights.
#   It computes every score. It saves the storing of them.

# %% [markdown] tags=["quiz:error"]
# ### Quiz 12.3: Windows and anchors have nearly the same mean error, but only anchors keep the houses correct. Why?
#
# - [ ] The error was measured incorrectly.
#   It is what it says: a mean over all positions and channels.
# - [x] Most positions need no distant key; windows fail completely at the few that do.
#   A mean over sky and road hides what happens at houses. So measure the result that matters.
# - [ ] Windows have fewer weights, so they must be worse.
#   Anchors have more, but not many more: it matters which keys they are.

# %% [markdown] tags=["quiz:untrained"]
# ### Quiz 12.4: Criss-cross attention keeps fewer than half of the houses in our test. What follows for CCNet?
#
# - [ ] CCNet cannot segment houses.
#   CCNet was trained with criss-cross attention, and computes new queries in the second pass. We did neither.
# - [ ] Nothing; the test is worthless.
#   It shows that two passes do not *imitate* the block: a connection is not a selection.
# - [x] That it must be trained with criss-cross attention; how good it is then, this test does not show.
#   A test of imitation says how much a method changes a trained network, and no more.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You sorted efficient attention by what it reduces (keys, pairs, the order of products, storage), wrote linear
# attention and the reach of criss-cross attention, put ten methods in the place of one trained block, and saw that a
# small mean error does not mean correct results. You know what is published about ANN and its successors, and what these
# tables cannot say.
#
# Read more. ANN (Z. Zhu and others, ICCV 2019). Fewer keys: Linformer (S. Wang and others, arXiv 2006.04768, 2020);
# Nyströmformer (Y. Xiong and others, AAAI 2021); PVT (W. Wang and others, ICCV 2021); SegFormer (E. Xie and others,
# NeurIPS 2021); OCRNet (Y. Yuan and others, ECCV 2020). Fewer pairs: CCNet (Z. Huang and others, ICCV 2019; issue 93 of
# its repository); Swin (Z. Liu and others, ICCV 2021); Deformable DETR (X. Zhu and others, ICLR 2021). Other order:
# *Transformers are RNNs* (A. Katharopoulos and others, ICML 2020); Performer (K. Choromanski and others, ICLR 2021);
# *Efficient Attention* (Z. Shen and others, WACV 2021). Never stored: FlashAttention (T. Dao and others, NeurIPS 2022;
# version 2, 2023; version 3, J. Shah and others, 2024). Fewer queries: Perceiver (A. Jaegle and others, ICML 2021);
# Mask2Former (B. Cheng and others, CVPR 2022). Others: Mamba (A. Gu and T. Dao, 2023); VMamba (Y. Liu and others, 2024);
# DeepLabV3+ (L.-C. Chen and others, ECCV 2018). Years and venues were checked in public repositories and indexes, not
# in the proceedings; figures are quoted from abstracts and MMSegmentation's tables only.
#
# Next: check one claim of your own in [the capstone](10_capstone.ipynb), or go back to
# [the beginning](00_start_here.ipynb) and classify the methods that you have met since
