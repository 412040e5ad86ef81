# %% [markdown] tags=["header"]
# # 12. What came after
#
# *Since 2019 attention was made cheap in many ways. Which of them still find the far balloon?*
#
# - **Before:** lessons 2, 3 and 4; matrix products
# - **Reading:** 60 min
# - **Runs in:** 25 s (quick), 90 s (learn), 300 s (full), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. sort the families of cheap attention by what they shrink ([Exercise 12.1](exercise:kinds))
# 2. say which positions can reach which, and in how many steps ([Exercise 12.2](exercise:crosses))
# 3. write attention whose work grows with N, by another order of products ([Exercise 12.3](exercise:linear))
# 4. measure a cheap method against the exact one: error, work, answers ([Prediction 12.1](predict:best))
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

# %% [markdown]
# ## One house, one question
#
# Here is our scene again, with the question of the whole course: the house asks, the balloon of its paint,
# far up, has the answer. Which parts of this picture may a cheap method leave out?

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
house = scene.houses[0]
network = shipped_model("balloon_nonlocal")  # small: it stays on the CPU
one = capture_qkv(network, scene.image)  # what its block asks with
exactly = attention_by(exact, one)
plots.attention_map(scene.image, exactly, *query_on(scene, house), "All N answer", "nonlocal")

# %% [markdown]
# We took queries $\phi$, keys $\theta$ and values $\gamma$ out of the trained non-local network of lesson
# 2, once and for all (one projection makes both queries and keys there, so $\phi = \theta$). From here on
# they stay the same. Only *what is done with them* changes:
#
# $$O = \mathrm{softmax}\left(\frac{\phi^{\top} \theta}{\sqrt{C}}\right) \gamma^{\top},
# \qquad \text{work: } 2 N S C + 2 N S C = 4 N S C, \qquad \text{weights: } N S$$
#
# with $S = N$ for the block itself. (Work counts two operations for each multiply-add, as in lesson 3.)

# %%
print(inspect.getsource(exact))
(B, C, N), size = one.key.shape, one.size
assert (B, N) == (1, 16 * 24) and one.value.shape == (1, C, N)
assert exact(one.query, one.key, one.value).shape == (B, N, C)
own = match(exactly, scene, house).on_its_balloon
lesson.claim("own-exact", 100 * own, within=1.5, unit="%")

# %% [markdown]
# The formula has few handles, so there are few ways to make it cheap. Nearly all that was proposed turns
# one of these:
#
# | kind | what is shrunk | examples |
# |---|---|---|
# | **fewer keys** | $S$: less answer than ask | ANN's anchors; Linformer; Nyströmformer; Perceiver; PVT, SegFormer; EMANet, ACFNet, OCRNet |
# | **fewer pairs** | most entries of $W$ are never computed | CCNet's crosses; Swin's windows; neighbourhood attention |
# | **other order** | no softmax over $s$, so $\theta \gamma^{\top}$ comes first | Efficient Attention; linear transformers; Performer |
# | **never stored** | nothing of the formula: tiles of $W$, one after the other | FlashAttention, `scaled_dot_product_attention` |
#
# We built a small version of each kind. They are models of the ideas, not the published networks: those
# learn what we average or draw by lot, and are trained with their shortcut in place.

# %% [markdown]
# ### Prediction 12.1: Put in without training
#
# We will put each method into the trained network in place of its block, and train nothing. Which of these
# three keeps the most houses right: "anchors" (110, as in ANN), "windows" (the map cut into squares of 8 x 8
# positions; each square keeps to itself) or "kernel" (other order)? The answer comes near the end, when all
# are compared.

# %% tags=["predict:best"]
guess_best = "anchors"  # solution

# %% [markdown] tags=["instructor"]
# Ten minutes to here. Let somebody say the three factors of the work aloud before the table is shown:
# what could be dropped? Usual first idea: fewer *queries*; ask what that does to the answer (no position
# without an answer may remain, so they would have to be enlarged again). Collect guesses for 12.1.

# %% [markdown]
# ## Fewer keys
#
# All of these let every position ask, as ANN does, and differ in *what answers*:
#
# - **Anchors** (ANN, ICCV 2019): means over the cells of four grids, $S = 110$. Fixed places, several sizes.
# - **Spatial reduction** (PVT, ICCV 2021; SegFormer, NeurIPS 2021): one grid, reduced by a learned layer.
# - **Mixtures** (Linformer, 2020): each of $S$ keys is a learned mixture of *all* positions. Fits one $N$ only.
# - **Landmarks** (Nyströmformer, AAAI 2021): $S$ landmarks rebuild the whole $N \times N$ matrix; see below.
# - **Class centres** (EMANet and ACFNet, ICCV 2019; OCRNet, ECCV 2020): keys are grouped by what they *are*,
#   not by where.
# - **Latents** (Perceiver, ICML 2021): a small learned array asks, and then works on its own.
#
# The work is $4 N S C$ plus what it takes to make the keys. What is lost: detail within a cell, or a mixture.

# %%
print(inspect.getsource(efficient.anchors))
shares = {}
for name, option in {"anchors": 110, "reduced": 2, "projected": 96, "landmarks": 2}.items():
    found = match(attention_by(method_of(name, option, size), one), scene, house)
    shares[name] = 100 * found.on_its_balloon
    work = share_of_work(name, option, size, C)
    print(
        f"{plots.label_of(name, option):14} {work:5.0%} of the work, {shares[name]:3.0f} % on its balloon"
    )
lesson.claim("own-anchors", shares["anchors"], within=1.5, unit="%")
lesson.claim("own-landmarks", shares["landmarks"], within=1.5, unit="%")

# %% [markdown]
# The house gives its balloon [83 %](claim:own-exact) of its attention. With anchors that falls to
# [10 %](claim:own-anchors): a mean over balloon *and sky* has a weaker key, its score is nearer to the
# others, and a softmax over scores that lie close chooses less sharply. A network *trained* with anchors
# can make up for that; ours never had to.
#
# Landmarks lose almost nothing ([82 %](claim:own-landmarks)). Their trick: weights to landmarks, weights
# from landmarks, and in between the *inverse* of what landmarks think of each other,
#
# $$W \approx W_{N \to S}\; W_{S \to S}^{+}\; W_{S \to N},$$
#
# which takes the blur out again as far as it can. The last factor still holds one column for *every*
# position, so no detail is averaged away before the values. The price is twice the products, an inverse of
# $S \times S$, and weights that may be negative. The three factors, and what they rebuild:

# %%
print(inspect.getsource(efficient.nystrom))
rebuilt = weights_of(method_of("landmarks", 2, size), one.query, one.key)
assert rebuilt.shape == (B, N, N)
assert torch.allclose(rebuilt.sum(-1), torch.ones(B, N), atol=0.05)
print(f"{float((rebuilt < 0).float().mean()):.0%} of the weights are below 0.")

# %% [markdown] tags=["exercise:kinds"]
# ### Exercise 12.1: What is shrunk?
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 1*
#
# Give each method its kind: `"fewer keys"`, `"fewer pairs"`, `"other order"` or `"never stored"`. The check
# runs each method on numbers drawn anew and says what speaks against your kind. *For the fast:* which of
# them would work on a map of another size without training anew, and which are blind to where a key stands?

# %% tags=["answer:kinds"]
kinds = {
    # "fused": tiles of the whole matrix; "anchors": grid means; "reduced": one grid;
    # "projected": mixtures of all; "landmarks": to, among and from some; "centres": groups of keys;
    # "windows": near ones only; "criss-cross": own row and column;
    # "kernel", "random features": products of features instead of a softmax.
}
# solution
few = ("anchors", "reduced", "projected", "landmarks", "centres")
kinds = dict.fromkeys(few, "fewer keys") | dict.fromkeys(("windows", "criss-cross"), "fewer pairs")
kinds |= {"kernel": "other order", "random features": "other order", "fused": "never stored"}

# %% [markdown] tags=["hint:kinds:1"]
# Ask of each: how many can answer one question? Does every pair meet? Is there a softmax over those that
# answer? Is the result another one at all?

# %% [markdown] tags=["hint:kinds:2"]
# A row of weights that holds exact zeros leaves pairs out. A row that is a mixture of few rows has fewer
# keys. `method_of(name, option, size)` gives you a method, `weights_of` its weights.

# %% [markdown] tags=["hint:kinds:3"]
# `kinds = {"fused": "never stored", "anchors": "fewer keys", ...}`

# %% tags=["check:kinds"]
checks.kinds_of_attention(kinds)

# %% [markdown]
# ## Fewer pairs
#
# **Windows** (Swin, ICCV 2021): the map is cut into squares, and only the own square answers; the next
# layer shifts the squares. **Neighbourhood attention** (CVPR 2023) gives each position a square of its
# own. **Crosses** (CCNet, ICCV 2019): the own row and column answer; a second pass does the same once more.
# With $w \times w$ windows the work is $4 N w^2 C$, with crosses and $R$ passes about
# $2 N (H + W) C (1 + R)$. What is lost: everything outside, for one layer or one pass.

# %% [markdown] tags=["exercise:crosses"]
# ### Exercise 12.2: Who reaches whom?
#
# *Difficulty 3/5, importance 4/5, about 15 min, objective 2*
#
# Which positions answer in one pass of crosses? Write the $(N, N)$ matrix of True and False, $N = H \cdot W$,
# for maps that are flattened row by row. *For the fast:* write it for windows, and count how many *layers*
# of shifted windows a house needs.


# %% tags=["answer:crosses"]
def reach_in_one(height: int, width: int) -> torch.Tensor:
    """-> bool (N, N): entry (n, s) says whether position s answers position n."""
    # solution
    position = torch.arange(height * width)
    rows, columns = position // width, position % width
    return (rows[:, None] == rows) | (columns[:, None] == columns)


# %% [markdown] tags=["hint:crosses:1"]
# Two positions meet if they share their row or their column. So first: in which row and column is
# position $n$?

# %% [markdown] tags=["hint:crosses:2"]
# `//` and `%` by the width give row and column. `rows[:, None] == rows` compares all pairs at once; `|`
# is "or" between tensors of True and False.

# %% [markdown] tags=["hint:crosses:3"]
# `rows, columns = position // width, position % width` with `position = torch.arange(height * width)`

# %% tags=["check:crosses"]
checks.criss_cross_reach(reach_in_one)

# %% [markdown]
# ### Prediction 12.2: Two passes
#
# After two passes every position has heard of every other: first along the row, then along the column.
# Put into our network without training, will two passes name the houses "nearly all right", "about half
# right" or "none right"? (The answer comes with the comparison, too.)

# %% tags=["predict:crosses"]
guess_crosses = "about half right"  # solution

# %%
weights = {
    passes: weights_of(partial(efficient.criss_cross, size=size, passes=passes), one.query, one.key)
    for passes in (1, 2)
}
reached = {passes: float((found > 0).float().mean()) for passes, found in weights.items()}
assert weights[2].shape == (B, N, N) and reached[2] == 1.0
for passes, share in reached.items():
    own = match(attention_by(method_of("criss-cross", passes, size), one), scene, house)
    print(
        f"{passes} pass(es): {share:.0%} of all pairs meet; {own.on_its_balloon:.0%} on its balloon"
    )
lesson.claim("pairs-once", 100 * reached[1], within=0.2, unit="%")

# %% [markdown]
# In one pass [10 %](claim:pairs-once) of the pairs meet, in two all of them. But to *meet over a corner* is
# not to *choose*: in the first pass the corner must want what the house will want, although it is a piece
# of sky or road. CCNet learns to; our queries were never asked to.

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for these two sections. Usual mistakes in 12.2: `% height` for `% width` (the check
# uses maps that are not square), rows only, the diagonal left out. Draw the corner on the board: house,
# balloon, and the two places where their rows and columns cross. When late, skip the landmarks.

# %% [markdown]
# ## Another order of products
#
# If the weights were not a softmax but plain products of positive features $f$, then
#
# $$O = \frac{\left( f(\phi)^{\top} f(\theta) \right) \gamma^{\top}}{\text{row sums}}
#     = \frac{ f(\phi)^{\top} \left( f(\theta) \gamma^{\top} \right)}
#            { f(\phi)^{\top} \sum_s f(\theta)_s }$$
#
# and the right-hand bracket is only $C \times C$: all positions are poured into one small memory, and
# everybody reads from it. The work is $4 N C^2$, with no $N^2$ at all. **Linear transformers** (ICML 2020)
# take $f(x) = \mathrm{elu}(x) + 1$, **Efficient Attention** (WACV 2021) a softmax over channels for queries
# and over positions for keys, and **Performer** (ICLR 2021) random features whose products *estimate* the
# exponential of the scores. What is lost: the sharp choice.

# %% [markdown] tags=["exercise:linear"]
# ### Exercise 12.3: The right order
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 3*
#
# Query and key are features already, all above 0. Write what is fetched, without ever making an
# $N \times S$ matrix. The check counts your operations. *For the fast:* the total of each row can ride
# along as one more channel of the values.


# %% tags=["answer:linear"]
def linear_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """query (B, C, N), key (B, C, S), value (B, Cv, S) -> (B, N, Cv)"""
    # solution
    memory = key @ value.mT  # (B, C, Cv)
    totals = query.mT @ key.sum(dim=2, keepdim=True)  # (B, N, 1)
    return query.mT @ memory / totals


# %% [markdown] tags=["hint:linear:1"]
# A product of three matrices may be bracketed in two ways. Which one never makes a matrix with both N and
# S? The total of row $n$ is a product of query $n$ with something that is the same for all rows.

# %% [markdown] tags=["hint:linear:2"]
# `key @ value.mT` is (B, C, Cv). `key.sum(dim=2, keepdim=True)` is (B, C, 1), so the query times it is
# (B, N, 1): one total for each row.

# %% [markdown] tags=["hint:linear:3"]
# `memory = key @ value.mT`

# %% tags=["check:linear"]
checks.linear_attention(linear_attention)

# %%
features = efficient.elu_plus_one
ours = checks.attempt(linear_attention, features(one.query), features(one.key), one.value)
assert torch.allclose(ours, efficient.linear(one.query, one.key, one.value), atol=1e-4)
bits = {
    name: float(entropy(attention_by(method, one).row(*query_on(scene, house))))
    for name, method in {"non-local": exact, "kernel": efficient.linear}.items()
}
for name, value in bits.items():
    print(f"{name:10} {value:.1f} bits: as if looking evenly at {2**value:.0f} of {N}")
lesson.claim("bits-exact", bits["non-local"], within=0.1, unit="bits")
lesson.claim("bits-kernel", bits["kernel"], within=0.1, unit="bits")

# %% [markdown]
# The entropy of the house's row rises from [2.9](claim:bits-exact) to [8.55](claim:bits-kernel) bits; to look
# at all 384 evenly would be [8.58](given:log2-384). With a kernel the network looks at nearly everything: it
# **blurs**. No row can put all its weight on one position, for a product of features grows slowly where an
# exponential would jump.

# %% [markdown]
# ## All of it, never stored
#
# **FlashAttention** (NeurIPS 2022) changes nothing in the formula. It computes a *tile* of scores at a time,
# keeps a running maximum and a running sum for the softmax, and throws the tile away. PyTorch has such
# kernels behind `scaled_dot_product_attention`, for CPUs too.

# %% [markdown]
# ### Prediction 12.3: What does that do to the time?
#
# The fused kernel makes the same products as the block that we wrote, and some bookkeeping for each tile.
# Measured by the clock, on your machine, does it take "more" time than our block, "less", or the "same"?

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
predictions.compare("12.3", guess_fused, took, options=("less", "more", "same"))
difference = efficient.fused(one.query, one.key, one.value) - exact(one.query, one.key, one.value)
assert difference.abs().max() < 1e-4, "fused is exact but for rounding"
bound = ("learn", "full")
lesson.claim("mib-exact", mib["non-local"], within=15, unit="MiB", modes=bound)
lesson.claim("mib-fused", mib["fused"], within=2, unit="MiB", modes=bound)
lesson.claim("mib-anchors", mib["anchors"], within=2, unit="MiB", modes=bound)
lesson.claim("fused-faster", faster, within=1.9, unit="times", modes=("learn",))

# %% [markdown]
# At a map of 64 x 96 the written-out block holds [289 MiB](claim:mib-exact) at once, the fused kernel
# [4 MiB](claim:mib-fused), anchors [6 MiB](claim:mib-anchors). So one of the two reasons for ANN, *memory*, has
# a second answer today that costs no accuracy at all. On our CPU the fused kernel was also about
# [3](claim:fused-faster) times as fast, with the same products: writing and reading a large matrix
# takes time, too. The other reason stands: the *work* still grows with $N^2$, and anchors do a small part
# of it.

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for these two sections. Usual mistakes in 12.3: no total, or one total for all rows; the
# dear order (right numbers, refused for its work). Prompt: *your GPU has fused kernels and your maps are
# small; give one reason left for anchors, and one against.* Stop after prediction 12.3 when an hour is
# gone; the comparison below is the homework.

# %% [markdown]
# ## All of them in the same network
#
# Now the test that counts. Each method takes the block's place in the trained network, at about a hundred
# keys where it has keys. We ask for three things: how far is what it fetches from what the block would
# have fetched; how much work; and **how many houses are named rightly**.

# %%
scenes = [make_scene(FIRST_VAL_SEED + i) for i in range(lesson.pick(quick=5, learn=60, full=200))]
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
predictions.compare("12.1", guess_best, best, options=("anchors", "windows", "kernel"))
outcomes = ("none right", "about half right", "nearly all right")
crossed = outcomes[int(right["criss-cross"] > 15) + int(right["criss-cross"] > 85)]
predictions.compare("12.2", guess_crosses, crossed, options=outcomes)
for name in ("anchors", "reduced", "landmarks", "windows", "criss-cross", "kernel"):
    lesson.claim(f"right-{name}", right[name], within=8, unit="%", modes=bound)
for name in ("anchors", "windows", "criss-cross"):
    error = 100 * rows[name].score.error
    lesson.claim(f"error-{name}", error, within=2.5, unit="%", modes=bound)
for name in ("centres", "random features"):
    lesson.claim(f"work-{name.split()[0]}", 100 * rows[name].work, within=1, unit="%")

# %% [markdown]
# - **Windows lose the balloon.** [28 %](claim:right-windows) of the houses are right: guessing. The error
#   of what is fetched ([70 %](claim:error-windows)) would not have told you: it is hardly larger than that of
#   anchors ([67 %](claim:error-anchors)), which keep [89 %](claim:right-anchors). An average error asks *how
#   far off*, not *off in what matters*.
# - **Crosses** have the smaller error ([62 %](claim:error-criss-cross)) and keep only
#   [42 %](claim:right-criss-cross).
# - **The kernel** blurs and still keeps [64 %](claim:right-kernel). A weak trace of the right pattern seems
#   to be enough for many houses; how one would test that, lesson 7 says.
# - **One grid** of 96 cells keeps [96 %](claim:right-reduced): more than ANN's pyramid of 110, perhaps since
#   this network has never learned to use the coarse levels. **Landmarks** keep [100 %](claim:right-landmarks).
# - **Two are dearer than the block** they are to make cheap: centres, found in five rounds
#   ([108 %](claim:work-centres) of its work), and 256 random features ([134 %](claim:work-random)). At 384
#   positions there is too little to save.
#
# Now look at single houses. Say each time *what changes, and why*:
#
# 1. "windows", from cheapest to most expensive: does any size reach the balloon? Which size would?
# 2. "anchors", then "landmarks", both at their most expensive: where has the sharp point of light gone, and what
#    brings it back?
# 3. "projected": why is every row of the picture speckled, and why does a *trained* Linformer not look so?
# 4. "criss-cross" with 1, 2 and 3 passes (the three sizes), for each of the houses: which house finds its
#    balloon in one pass already, and where does that balloon hang? Which is named rightly without a look at
#    its balloon, and how often would chance do that?

# %%
widgets.method_chooser(network, scene)

# %%
nine = ("non-local", "anchors", "reduced", "landmarks", "projected", "centres")
nine += ("windows", "criss-cross", "kernel")
found = {rows[name].name: attention_by(method_of(name, tried[name], size), one) for name in nine}
plots.attention_of_methods(scene, 0, found)

# %% [markdown]
# **What this does not show.** One network, from one seed, trained with the *exact* block, and then given a
# method it has never seen. That is a test of how well a method imitates, and the hardest one: each of the
# published networks was trained with its own shortcut, and most stack many such layers, so that windows
# and crosses do reach far in the end. Our town needs one far hint and rewards one sharp choice; photographs
# mostly do not. And 384 positions are few: the work saved here is small, the order of the methods at a
# large map is another. That is the next picture.

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Prompt: *why is a small error not a good answer?* (The error is a mean over all
# positions; sky and road are most of them, and they need nothing.) When late, skip the widget and read the
# nine pictures. Answers: (1) none; 16, the height of the map, would. (2) Averaged with sky in the cell;
# the inverse sharpens it again. (3) Mixtures drawn by lot have no place; trained ones learn what to mix.
# (4) The pink one: its balloon hangs in the same column. The orange one is right after one pass with none
# of its attention on its balloon: one of three guesses is. Usual mistake: to call that a success.
#
# The houses are some 180 of 60 scenes: near one half their share wobbles by about 7 points, so 96 %
# against 89 % is a hint. The two methods drawn by lot had one draw each.

# %% [markdown]
# ## Which is cheapest, and when?
#
# Formulas instead of a stopwatch now, so that maps may grow. Landmarks stand for squares of 8 x 8
# positions; crosses take two passes. Say *what changes, and why*:
#
# 1. At a height of 64, raise C from 16 to 512. Where does "kernel" cross "anchors"? Write both works down
#    and divide one by the other.
# 2. Which curves are parallel to each other, which are steeper? Read the power of $N$ off each formula.
# 3. Set the anchors to 10, the windows to 16. Which is cheaper now, and which of the two would you expect to
#    name more houses rightly? Check it with the widget above (10 is its cheapest; windows end at 8 there).

# %%
widgets.method_costs()

# %%
at = {name: FAMILIES[name].operations(110, (64, 128), 64) for name in ("anchors", "kernel")}
assert at["kernel"] / at["anchors"] < 1 < 256 / 110  # 4 N C C against 4 N S C: C against S
print(f"C = 64: the kernel takes {at['kernel'] / at['anchors']:.0%} of the work of 110 anchors.")

# %% [markdown]
# $4 N C^2$ against $4 N S C$: the kernel is cheaper as long as $C < S$ (the totals aside). The published
# ANN has $C = 256$ and $S = 110$: there, *anchors* are cheaper than linear attention.

# %% [markdown] tags=["instructor"]
# Ten minutes. Answers: (1) the quotient is $C / S$, so they cross at $C = 110$. (2) Anchors, windows and
# kernel are parallel, they grow with $N$; crosses with $N^{1.5}$, as $H + W$ grows with $\sqrt{N}$; landmarks
# on squares of fixed size with $N^2$, as the block. (3) Anchors: 10 keys against 256. But ten keys are blunt,
# and so the cheaper is not the better. Usual mistake: to read "linear" as "cheapest at every N". When late,
# do (1) only.

# %% [markdown]
# ## Without any, and with masks
#
# Two developments do not make attention cheap; they ask whether it is needed, and for what.
#
# - **No attention over pixels.** DeepLabV3+ (ECCV 2018) reaches far by convolutions with gaps of several
#   widths. SegNeXt (NeurIPS 2022) builds its encoder from cheap convolutions, and says in its abstract that
#   these encode context better than self-attention; one small head with a global matrix
#   factorisation remains.
# - **Masks that ask.** MaskFormer (NeurIPS 2021) and Mask2Former (CVPR 2022) do not ask what each *pixel*
#   is. A fixed number of learned queries, far fewer than pixels, ask the map; each answers with one class
#   and one mask. Here the **queries** are few, and keys are many: ANN turned round. Mask2Former also lets
#   each query look only inside the mask that it has found so far.
#
# ## Where ANN stands
#
# Public results only; **none of what follows was measured again here.** First under one recipe: the same
# backbone, crop, number of steps and machine (MMSegmentation's tables; Cityscapes validation, one scale).

# %%
Markdown((ROOT / "data/results/later_methods_cityscapes.md").read_text())

# %% [markdown]
# Read it soberly. Under this recipe ANN has [77.40](cited:mmseg-cityscapes), the non-local block it replaces
# [78.24](cited:mmseg-cityscapes): **less memory and more pictures a second, and a slightly lower score.**
# DeepLabV3+, which is a year older and has no attention, scores highest of the four. One run each; how far
# runs of one network lie apart, these tables do not say. The paper itself reports
# [81.3](cited:paper-abstract) mIoU on the Cityscapes *test* set, with a larger backbone and several scales:
# another measurement, not to be put beside these.
#
# Second, years later and under other recipes (ADE20K validation, one scale):

# %%
Markdown((ROOT / "data/results/later_methods_ade20k.md").read_text())

# %% [markdown]
# The later networks are clearly ahead. But between the first row and the last almost everything has changed:
# backbone, pre-training, optimiser, augmentation, head. What part of the gain is due to how context travels
# these tables cannot tell; that would take one recipe and one backbone for all. MMSegmentation itself notes
# that results of SegNeXt, MaskFormer and Mask2Former vary from run to run.
#
# So: is ANN still worth reading? Its **question** is (who must ask, who must answer?), and the answer that PVT
# and SegFormer give, *few keys from one reduced grid*, is its own without the pyramid. As a network to use
# today there are better ones.

# %% [markdown] tags=["exercise:abstract"]
# ### Exercise 12.4: Read a claim
#
# *Difficulty 3/5, importance 4/5, about 15 min, objective 5, open*
#
# Take **one** of these and write six sentences: what exactly was measured; against what; at which size and
# on what machine; what the sentence leaves out; what you would measure, and which outcome would change
# your mind.
#
# - CCNet's abstract: compared with a non-local block, [11](cited:ccnet-abstract) times less GPU memory and
#   about [85 %](cited:ccnet-abstract) fewer operations. (In an issue of the authors' repository a user
#   reports that training was *slower* than with a non-local block, and an author answers that the
#   implementation is inefficient.)
# - Efficient Attention's abstract calls its mechanism *equivalent* to dot-product attention. (Compare the
#   formula above.)
# - FlashAttention's abstract says that approximate methods often bring no speed-up by the clock. (Compare
#   your own table of operations and milliseconds.)

# %% [markdown] tags=["instructor"]
# Rubric for 12.4 (0 to 5): names quantity and baseline (1); asks for size, machine and batch, or finds that
# they are not stated (1); tells operations, memory and time apart (1); names what is left out: accuracy,
# training, implementation, seeds (1); proposes a measurement with an outcome that would count against the
# writer's own view (1). No points for "marketing" without a measurement. Fifteen minutes, or homework.

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

# %% [markdown] tags=["quiz:kernel"]
# ### Quiz 12.1: C = 256 channels, S = 110 anchors. Which is cheaper, linear attention or anchors?
#
# - [ ] Linear attention: its work has no $N^2$.
#   Neither has the other: $4 N S C$ is linear in N as well.
# - [x] Anchors: $S < C$.
#   $4 N S C$ against $4 N C^2$. The memory of linear attention is C x C, and here that is the larger one.
# - [ ] They cost the same, both are linear.
#   Linear in N, but with different factors: S and C.

# %% [markdown] tags=["quiz:fused"]
# ### Quiz 12.2: A fused kernel replaces the written-out block. What changes?
#
# - [x] Memory and time; neither operations nor, but for rounding, results.
#   The weights are made and used tile by tile.
# - [ ] The results: it is an approximation.
#   That is what distinguishes it from all the others here: it is exact.
# - [ ] The operations: it skips small weights.
#   It computes every score. What it saves is writing them down.

# %% [markdown] tags=["quiz:error"]
# ### Quiz 12.3: Windows and anchors fetch with nearly the same mean error, but only anchors keep the houses right. How can that be?
#
# - [ ] The error was measured wrongly.
#   It is what it says: a mean over all positions and channels.
# - [x] Most positions need nothing from afar; the few that do are lost by windows altogether.
#   A mean over sky and road hides what happens to houses. So measure the answer that matters.
# - [ ] Windows have fewer weights, so they must be worse.
#   Anchors have more, but not many more: what counts is where they stand.

# %% [markdown] tags=["quiz:untrained"]
# ### Quiz 12.4: Crosses keep fewer than half of the houses in our test. What follows for CCNet?
#
# - [ ] CCNet cannot segment houses.
#   CCNet was trained with its crosses, and asks anew in the second pass. We did neither.
# - [ ] Nothing; the test is worthless.
#   It shows that two passes do not *imitate* the block: reaching is not choosing. That is worth knowing.
# - [x] That its crosses must be trained; how good they are then, this test does not show.
#   A test of imitation says how much a method changes a trained network, no more.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You sorted cheap attention by what it shrinks (keys, pairs, order, storage), wrote linear attention and the
# reach of crosses, put ten methods in the place of one trained block, and saw that a small mean error is not a
# right answer. You know what is published about ANN and its successors, and what these tables cannot say.
#
# Read more, in the order of the table: Z. Zhu and others, *Asymmetric Non-local Neural Networks for Semantic
# Segmentation*, ICCV 2019; S. Wang and others, *Linformer: Self-Attention with Linear Complexity*,
# arXiv 2006.04768, 2020; Y. Xiong and others, *Nyströmformer*, AAAI 2021; A. Jaegle and others, *Perceiver:
# General Perception with Iterative Attention*, ICML 2021; W. Wang and others, *Pyramid Vision Transformer*,
# ICCV 2021; E. Xie and others, *SegFormer*, NeurIPS 2021; X. Li and others, *Expectation-Maximization Attention
# Networks for Semantic Segmentation*, ICCV 2019; F. Zhang and others, *ACFNet: Attentional Class Feature
# Network for Semantic Segmentation*, ICCV 2019; Y. Yuan and others, *Object-Contextual Representations for
# Semantic Segmentation*, ECCV 2020; Z. Huang and others, *CCNet: Criss-Cross Attention for Semantic
# Segmentation*, ICCV 2019, and issue 93 of its repository; Z. Liu and others, *Swin Transformer*, ICCV 2021;
# A. Hassani and others, *Neighborhood Attention Transformer*, CVPR 2023; Z. Shen and others, *Efficient
# Attention: Attention with Linear Complexities*, WACV 2021; A. Katharopoulos and others, *Transformers are
# RNNs*, ICML 2020; K. Choromanski and others, *Rethinking Attention with Performers*, ICLR 2021; T. Dao and
# others, *FlashAttention*, NeurIPS 2022; L.-C. Chen and others, *Encoder-Decoder with Atrous Separable
# Convolution for Semantic Image Segmentation*, ECCV 2018; M.-H. Guo and others, *SegNeXt*, NeurIPS 2022;
# B. Cheng and others, *Per-Pixel Classification is Not All You Need for Semantic Segmentation*, NeurIPS 2021,
# and *Masked-attention Mask Transformer for Universal Image Segmentation*, CVPR 2022. Names, years and venues
# were checked in public repositories and indexes, not in the proceedings; figures are quoted from abstracts
# and from MMSegmentation's tables only.
#
# Next: check one claim of your own in [the capstone](10_capstone.ipynb), or go back to
# [the beginning](00_start_here.ipynb) and look at its three arrows again: which kind is each?
