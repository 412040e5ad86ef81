# %% [markdown] tags=["header"]
# # 11. Half the work, same numbers
#
# *How can a block do half of the work and still give the same numbers?*
#
# - **Before:** lessons 3, 4 and 5; what a linear map is
# - **Reading:** 50 min
# - **Runs in:** 25 s (quick), 60 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. test which layers may change places with a mean ([Exercise 11.1](exercise:commutes))
# 2. write the value and output projections on 110 anchors instead of N positions ([Exercise 11.2](exercise:folded))
# 3. move a batch norm into the convolution before it ([Exercise 11.3](exercise:norm))
# 4. explain why a training step gains less than a block ([Exercise 11.4](exercise:training))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, linear

from annlib.course import checks, widgets
from annlib.course.attention import capture_attention, model_input
from annlib.course.guesses import Predictions
from annlib.course.implementations import exchange, key_features, layers
from annlib.course.lesson import open_lesson
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.build import shipped_model

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()
first = FIRST_VAL_SEED + 21
scene = make_scene(first)

# %% [markdown]
# ## A detour of 384 steps
#
# In lesson 5 the values of AFNB were made like this: a 1 x 1 convolution at all $N$ positions, then the
# means of $S = 110$ cells. Our scene has 384 positions, so 384 values were computed, to be averaged at
# once, and never looked at again. Could one not take the means first, and convolve 110 of them? That would
# be cheaper by $N / S$. It would also be wrong, for most layers. For which is it right?

# %%
model = shipped_model("balloon_ann")
features = key_features(model, range(first, first + 4))  # AFNB's keys just before their ReLU
B, C, H, W = features.shape
N = H * W
assert (C, H, W, N) == (32, 16, 24, 384)
print(f"{B} scenes, {C} channels, {N} positions; {(features < 0).float().mean():.0%} are negative.")

# %% [markdown]
# ### Prediction 11.1: Who may change places?
#
# Six layers: a 1 x 1 convolution with bias, a 3 x 3 convolution, a batch norm in training, a batch norm in
# inference, ReLU, a softmax over the channels. How many of the six give the same in both orders: layer,
# then cell means; cell means, then layer?

# %% tags=["predict:six"]
guess_six = 2  # solution

# %% [markdown] tags=["exercise:commutes"]
# ### Exercise 11.1: A test for changing places
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 1*
#
# Do not argue, measure: write a function that tries both orders on given features and says whether they
# agree, to rounding. Rounding is a *share* of the numbers (for float32 some $10^{-7}$), so the tolerance
# must be one, too. *For the fast:* find features for which your test lets ReLU pass. What do they have in
# common?


# %% tags=["answer:commutes"]
def commutes(layer, features: Tensor, pool_scale: int) -> bool:
    """features (B, C, H, W) -> whether layer and means of pool_scale x pool_scale cells commute"""
    # solution
    layer_first = adaptive_avg_pool2d(layer(features), pool_scale)
    means_first = layer(adaptive_avg_pool2d(features, pool_scale))
    apart = (layer_first - means_first).abs().max()
    return bool(apart <= 1e-5 * layer_first.abs().max())


# %% [markdown] tags=["hint:commutes:1"]
# Two results of the same shape, one for each order. What is the largest difference between them, and
# what do you compare it with?

# %% [markdown] tags=["hint:commutes:2"]
# `adaptive_avg_pool2d(maps, pool_scale)` takes the means of the cells; `.abs().max()` the largest number.

# %% [markdown] tags=["hint:commutes:3"]
# `layer_first = adaptive_avg_pool2d(layer(features), pool_scale)`

# %% tags=["check:commutes"]
checks.commutes(commutes)

# %%
six = layers(C)
apart = {name: exchange(layer, features, 8).difference for name, layer in six.items()}
predictions.compare("11.1", guess_six, sum(share < 1e-5 for share in apart.values()))
for name, share in apart.items():
    print(f"{name:22} {share:8.1e} of the largest number apart")
lesson.claim("relu-apart", 100 * exchange(nn.ReLU(), features, 8).difference, within=1, unit="%")

# %% [markdown]
# A gap of six powers of ten, and nothing in between: either a layer commutes, or it does not. ReLU is
# off by [31 %](claim:relu-apart) of the largest number. Try this, and explain each answer:
#
# 1. Set ReLU and go through the channels at 8 x 8 cells. Where on the map do the two orders differ? What
#    must a cell hold for that?
# 2. Stay with ReLU and set n x n to 16. The cells are two positions now. Is the difference gone? When would
#    it be, at the latest?
# 3. Compare the two batch norms. They have the same weights: what is it that the means change?
# 4. The 3 x 3 convolution is linear. Why may it not pass? (Which neighbours has a mean?)

# %%

widgets.layer_order(six, features)

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Usual mistakes in 11.1: equality bit by bit (good moment to say what rounding is); a
# fixed tolerance of 1e-4, which passes everything that is small; max instead of mean. Prediction 11.1: the
# favourite wrong answer is 4, "everything but ReLU and softmax". Discussion: *is linear enough?* No: linear
# **at each position alone**. Stop here when 20 minutes are gone.
#
# Answers: (1) where a cell holds both signs. (2) No; at the latest when each cell is one position. (3)
# Its statistics: means vary less than positions, so the norm divides by less. (4) Its neighbours are then
# other cells.

# %% [markdown]
# ## Why it is exact
#
# Let $x_p$ be the channels at position $p$, and a cell of $P$ positions. For a 1 x 1 convolution:
#
# $$\frac{1}{P}\sum_{p} (W x_p + b) = W \Big(\frac{1}{P}\sum_{p} x_p\Big) + b$$
#
# (From here on $W$ is a projection, with bias $b$; the weights of attention are called $a_{ns}$.)
# $W$ comes out of the sum since it is linear and the same everywhere; $b$ stays $b$ since the shares
# $1/P$ sum to 1. For ReLU no such line exists: of $-1$ and $1$ the mean is $0$, but the mean of
# $\mathrm{ReLU}(-1) = 0$ and $\mathrm{ReLU}(1) = 1$ is not.
#
# So **values** may be projected at the anchors; they are a bare 1 x 1 convolution. **Keys** may not: theirs
# is followed by batch norm and ReLU. Their projection stays at all $N$ positions, and only then they are
# averaged. (In the released networks, that is. A block whose keys had no ReLU could fold them, too.)
#
# ### The other mean
#
# Averaging over a cell is one place where shares sum to 1. Attention itself is another: a row of weights
# $a_{ns}$ sums to 1 over the $S$ anchors. What comes after the weights is a sum
# $\sum_s a_{ns} v_s$, and $W_O$ acts on it at all $N$ positions. Again the order is ours:
#
# $$W_O \Big(\sum_{s} a_{ns} v_s\Big) + b_O = \sum_{s} a_{ns}\,(W_O v_s + b_O)$$

# %% [markdown]
# ### Prediction 11.2: What about the bias?
#
# On the right hand side $b_O$ is added to each of the 110 anchors. How often does it arrive at a position:
# `"once"`, `"110 times"` or `"not at all"`?

# %% tags=["predict:bias"]
guess_bias = "once"  # solution

# %%
weights = torch.randn(1, N, 110).softmax(-1)  # any rows that sum to 1
anchors = torch.zeros(1, 110, 1) + 5.0  # nothing but a bias of 5
arrived = weights @ anchors  # (1, N, 1)
assert arrived.shape == (1, N, 1)
share = float(arrived.mean()) / 5
outcome = "once" if abs(share - 1) < 1e-3 else "not at all" if share < 1e-3 else "110 times"
predictions.compare("11.2", guess_bias, outcome, options=("once", "110 times", "not at all"))

# %% [markdown] tags=["exercise:folded"]
# ### Exercise 11.2: Two projections on the anchors
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 2*
#
# Here is the plain way. Write the folded one: the same numbers (to $10^{-5}$ in float32, to $10^{-11}$ in
# float64) and the same gradients, but no projection at $N$ positions. `pyramid_means` gives anchors in
# rows. *For the fast:* the gradient of `weights` itself is *not* the same in both ways, only that of
# the scores is. What do the two differ by, and why does the softmax not care?

# %%
from annlib.model.asymmetric import PyramidPool
from annlib.model.fused import pyramid_means


def plain_context(weights, features, to_value, to_output, pool_scales) -> Tensor:
    """weights (B, N, S), features (B, C, H, W) -> (B, N, output channels), as in lesson 5"""
    value = PyramidPool(pool_scales)(to_value(features))  # (B, Cv, S), projected at all positions
    context = weights @ value.mT  # (B, N, Cv)
    return linear(context, to_output.weight.flatten(1), to_output.bias)  # at all positions


# %% tags=["answer:folded"]
def folded_context(weights, features, to_value, to_output, pool_scales) -> Tensor:
    """weights (B, N, S), features (B, C, H, W) -> (B, N, output channels)"""
    # solution
    anchors = pyramid_means(features, pool_scales)  # (B, S, C)
    anchors = linear(anchors, to_value.weight.flatten(1), to_value.bias)  # (B, S, Cv)
    anchors = linear(anchors, to_output.weight.flatten(1), to_output.bias)  # (B, S, output)
    return weights @ anchors


# %% [markdown] tags=["hint:folded:1"]
# Everything moves to the right of the weights: first the means of the features, then one projection, then
# the other. The product with the weights comes last.

# %% [markdown] tags=["hint:folded:2"]
# `linear(rows, conv.weight.flatten(1), conv.bias)` applies a 1 x 1 convolution to rows (B, S, C).

# %% [markdown] tags=["hint:folded:3"]
# `anchors = pyramid_means(features, pool_scales)`

# %% tags=["check:folded"]
checks.folded_context(folded_context)

# %% [markdown]
# On the weights that the network of the course gives our scene:

# %%
images = model_input(scene.image)
with capture_attention(model) as maps, torch.inference_mode():
    model(images)
attention, scales = model.afnb.attention, model.config.pool_scales
with torch.inference_mode():
    low, high = model.backbone(images)
weights = maps["afnb.attention"]
others = attention.to_value, attention.to_output, scales
assert weights.shape == (1, N, 110)


def folded_on_anchors(weights: Tensor, features: Tensor) -> Tensor:
    return folded_context(weights, features, *others)


with torch.no_grad():
    long_way = plain_context(weights, low, *others)
    short_way = checks.attempt(folded_on_anchors, weights, low)
print(
    f"{float((short_way - long_way).abs().max() / long_way.abs().max()):.1e} of the largest apart"
)

# %% [markdown]
# ### All grids from one pass
#
# One more saving, of traffic rather than of arithmetic. The readable `PyramidPool` reads the whole map four
# times, once for each grid. But a mean over a cell is a mean along its rows, then one down its columns.
# So `pyramid_means` multiplies every row of the map with a small matrix that holds the cells of *all*
# grids, and reads the map once:

# %%
from annlib.model.fused import cell_means

across = cell_means(W, scales, low)  # (1 + 3 + 6 + 8, W), rows sum to 1
assert across.shape == (18, W)
assert torch.allclose(across.sum(-1), torch.ones(18))
one_pass, four_passes = pyramid_means(low, scales), PyramidPool(scales)(low).mT
print(f"{float((one_pass - four_passes).abs().max() / four_passes.abs().max()):.1e} apart")

# %% [markdown] tags=["instructor"]
# Twenty-five minutes with 11.2. Usual mistakes: biases dropped ("a mean loses constants"), the output
# projection left outside (the check counts operations and says so), anchors in another order than the
# weights. The question for the fast is a good one for the board: the bias adds the same number to the
# gradient of every weight of a row, and a softmax is blind to that. When late, skip "All grids".

# %% [markdown]
# ## Laid side by side, never built
#
# After attention both blocks *concatenate*: context and input side by side, $2C$ channels, and a 1 x 1
# convolution $[W_1\ W_2]$ that mixes them. Cut its weights in the middle:
#
# $$[W_1\ W_2] \begin{bmatrix} \text{context} \\ x \end{bmatrix} = W_1\,\text{context} + W_2\,x$$
#
# Nothing need be laid side by side. And $W_1$ is one more linear map of what the weights fetched: it moves
# to the anchors like $W_O$. In AFNB that is a product of 2048 by 2048 channels, at 110 anchors instead of
# at 8192 positions.

# %%
conv = nn.Conv2d(2 * 6, 6, 1, bias=False).double()
context, x = torch.randn(2, 1, 6, 5, 7, dtype=torch.float64)
side_by_side = conv(torch.cat([context, x], dim=1)).detach()
W_1, W_2 = conv.weight.detach().chunk(2, dim=1)
in_two = conv2d(context, W_1) + conv2d(x, W_2)
assert side_by_side.shape == in_two.shape == (1, 6, 5, 7)
print(f"Apart by {float((side_by_side - in_two).abs().max()):.1e}")

# %% [markdown]
# ### Prediction 11.3: How much is that in all?
#
# AFNB of the published networks (2048 channels above, 1024 below, keys and values 256) on a map of
# 64 x 128. With everything folded that may be folded: how many times fewer operations? (What remains at
# all positions: the projections of query and key, two products with 110, and $W_2$.)

# %% tags=["predict:afnb"]
guess_afnb = 2.0  # solution

# %%
from annlib.course.costs import block_shape, step_gflops

for name, channels in (("AFNB", 2048), ("APNB", 512)):
    shape = block_shape(name, (64, 128), channels)
    before, after = (sum(step_gflops(shape, folded).values()) for folded in (False, True))
    print(f"{name}: {before:.2f} GFLOPs as written, {after:.2f} folded")
    lesson.claim(f"{name.lower()}-fewer", before / after, within=0.01)
    if name == "AFNB":
        predictions.compare("11.3", guess_afnb, before / after, tolerance=0.1)

# %% [markdown]
# [1.88](claim:afnb-fewer) times fewer in AFNB, [1.95](claim:apnb-fewer) in APNB: half of the work, nearly.
# The title of this lesson is a rounded number. Here is the bill, step by step. Try this, and explain each
# answer:
#
# 1. Which two bars nearly vanish, and which one *grows*? Why does folding make that one dearer?
# 2. With AFNB, 2048 channels, make the map smaller stop by stop, H and W. When does folding no longer pay,
#    and what has $S$ to do with it?
# 3. Change to APNB with 512 channels. Which bar holds what is left, and what would have to change in the
#    network to fold it, too?

# %%
widgets.folding_cost()

# %% [markdown]
# Operations are a prediction. Now the clock, the memory, and the numbers themselves, forward and in a step
# of training (output *and* all gradients are compared; the last column is the largest difference, as a
# share of the largest number in that layer). We take half the width and a smaller map than the published
# network has, so that it takes seconds:

# %%
from annlib.course.implementations import (
    FOLDED_BLOCK,
    PLAIN_BLOCK,
    Channels,
    compare_blocks,
    comparison_table,
)
from annlib.course.lesson import progress
from annlib.course.profiler import Conditions

channels = lesson.pick(quick=Channels().divided(16), learn=Channels().divided(2), full=Channels())
size = lesson.pick(quick=(16, 32), learn=(32, 64), full=(64, 128))
conditions = Conditions(lesson.device, repeat=5)
blocks = list(progress(compare_blocks([size], channels, conditions), 4, "comparisons"))
print(comparison_table("block", blocks, [PLAIN_BLOCK]))
for each in blocks:
    assert each.measured[FOLDED_BLOCK].difference < 1e-4

# %%
for each in blocks:
    plain, folded = (each.measured[name].timing for name in (PLAIN_BLOCK, FOLDED_BLOCK))
    spread = (plain.slowest - plain.fastest) / folded.median
    name = each.title.split()[0].lower() + ("-step" if "step" in each.title else "-forward")
    lesson.claim(f"{name}-faster", plain.median / folded.median, spread, "times", modes=())

# %% [markdown]
# On the machine of our record, at 64 x 128 and full width, AFNB was
# [1.99](result:benchmark/blocks_64x128_amd-epyc.md) times faster forward and
# [1.85](result:benchmark/blocks_64x128_amd-epyc.md) times in a step of training; APNB
# [1.79](result:benchmark/blocks_64x128_amd-epyc.md) and
# [2.07](result:benchmark/blocks_64x128_amd-epyc.md) times. On small maps and few channels the gain can
# be much less, or turn into a loss, as in a quick run: then what costs is the number of calls, not the
# operations.
#
# Why does the same function not give the same bits? A sum in another order is rounded at other places.
# That is the whole difference, and in float64 it shrinks by as much as float64 is finer.

# %% [markdown] tags=["instructor"]
# Twenty minutes. Guesses for 11.3 are usually far too high ("110 instead of 8192!"): the same mistake as
# N / S in lesson 3, and worth naming as such. In task 1 of the widget the growing bar is *weights x
# anchors*: the weights now carry 2048 channels, not 256. Discussion: *when would you not fold?* (Where
# people read the code; annlib keeps both forms, and tests that they agree.)
#
# Answers: (2) between 8 x 8 (0.72 times) and 8 x 16 (1.05 times): when N comes near S = 110. (3) "fuse,
# features", then query and key; the input would have to come from means, too.

# %% [markdown]
# ## Only for answering: norms and neighbours
#
# Once a network is trained and only answers, two more things become linear. A **batch norm** in inference
# is a scale and a shift with fixed numbers: at position $p$
#
# $$y_p = g\,\frac{(W x_p + b) - \mu}{\sqrt{v + \epsilon}} + h$$
#
# with its weight $g$, bias $h$, running mean $\mu$ and variance $v$. That is one convolution with other
# numbers. In training it is not: mean and variance then come from the batch at hand.

# %% [markdown] tags=["exercise:norm"]
# ### Exercise 11.3: A norm disappears
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 3*
#
# Return one convolution that does what convolution and batch norm do in inference. Leave those that come in
# as they are. *For the fast:* what if the norm came *before* a 3 x 3 convolution with zero padding?


# %% tags=["answer:norm"]
def fold_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution, the same as norm(conv(x)) in inference"""
    # solution
    both = copy.deepcopy(conv)
    factor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    old = 0 if conv.bias is None else conv.bias.detach()
    both.weight = nn.Parameter(conv.weight.detach() * factor[:, None, None, None])
    both.bias = nn.Parameter(factor * (old - norm.running_mean) + norm.bias.detach())
    return both


# %% [markdown] tags=["hint:norm:1"]
# Write $y_p$ as $W' x_p + b'$. What multiplies each output channel of $W$? What is left without $x_p$?

# %% [markdown] tags=["hint:norm:2"]
# `copy.deepcopy(conv)` keeps stride and padding; `nn.Parameter(...)` replaces its weight and bias;
# `factor[:, None, None, None]` scales output channels. A convolution may have no bias (`None`).

# %% [markdown] tags=["hint:norm:3"]
# `factor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()`

# %% tags=["check:norm"]
checks.fold_norm(fold_norm)

# %% [markdown]
# And then something falls into one's lap. Between the fusing 1 x 1 convolution of AFNB and the 3 x 3 that
# reduces 2048 channels to 512 there now stands nothing: the norm has gone into the convolution, AFNB has no
# ReLU there (APNB has one), and dropout is off. Two convolutions in a row are one. The map of 2048 channels
# between them is never computed. `fuse_for_inference` does all of this to a copy of a trained network:

# %%
from annlib.model.fused import fuse_for_inference, fuse_for_training

answering = fuse_for_inference(model)
with torch.inference_mode():
    as_trained, as_frozen = model.eval()(images).main, answering(images).main
assert as_trained.shape == as_frozen.shape == (1, 10, *scene.labels.shape)
apart = float((as_trained - as_frozen).abs().max() / as_trained.abs().max())
same = float((as_trained.argmax(1) == as_frozen.argmax(1)).float().mean())
print(f"Logits {apart:.1e} of the largest apart; {same:.2%} of the pixels get the same class.")

# %%
from annlib.course.costs import network
from annlib.course.profiler import operation_counter
from annlib.model.build import build_model


def count(network: nn.Module, size: tuple[int, int] = (512, 1024)) -> tuple[float, int]:
    """GFLOPs of one picture, and parameters; on tensors that have a shape only"""
    with torch.device("meta"), operation_counter() as counter, torch.no_grad():
        network.eval()(torch.empty(1, 3, *size))
    return counter.get_total_flops() / 1e9, sum(p.numel() for p in network.parameters())


with torch.device("meta"):
    street = build_model(network("ANN (AFNB and APNB)"))
    forms = {
        "as written": street,
        "folded": fuse_for_training(street),
        "frozen": fuse_for_inference(street),
    }
counted = {name: count(form) for name, form in forms.items()}
for name, (gflops, parameters) in counted.items():
    print(f"{name:10} {gflops:6.1f} GFLOPs {parameters:12,} parameters")
lesson.claim("frozen-fewer", counted["as written"][0] / counted["frozen"][0], within=0.01)

# %% [markdown]
# The frozen network does [1.25](claim:frozen-fewer) times less than the network as it is written. On the
# machine of our record a picture of 512 x 1024 takes
# [1.60](result:benchmark/model_ann_r50-d8_512x1024_40k_cityscapes_512x1024_amd-epyc.md) times less time than
# with the reference implementation. It has forgotten how to learn: that is the price.

# %% [markdown] tags=["instructor"]
# Twenty minutes. Usual mistakes in 11.3: eps forgotten (invisible with usual numbers; the check draws a
# large one), the old bias not scaled, the layers that came in changed. Answer for the fast: the padding is
# zero *after* the norm, so a shift can no longer pass at the border; only the scale can. Discussion: *the
# parameters fall by a quarter; has the network become simpler?* (No function was lost that it could
# compute; ways to be trained were.)

# %% [markdown]
# ## Why training gains so little
#
# The blocks got almost twice as fast, forward and backward. And a whole step of training, on two crops of
# 256 x 256? On the machine of our record
# [1.06](result:benchmark/train_ann_r50-d8_512x1024_40k_cityscapes_2x256x256_amd-epyc.md) times faster than
# the reference, in a second run [1.09](result:benchmark/train_ann_r50-d8_512x1024_40k_cityscapes_compiled_2x256x256_amd-epyc.md).
# A disappointment worth keeping. You have the tool for it from lesson 3: what a faster part does for the
# whole.

# %%
from annlib.course.costs import network_bill


def whole_speed_up(share: float, times: float) -> float:
    """A part that took `share` of the whole is `times` as fast: how many times faster is the whole?"""
    return 1 / (1 - share + share / times)


values = network_bill("ANN (AFNB and APNB)", (256, 256))
share = (values["afnb"] + values["apnb"]) / sum(values.values())
print(f"By operations the blocks take {share:.0%} of the network, the auxiliary head aside.")
for what, times in (("1.9 times faster", 1.9), ("for nothing", float("inf"))):
    print(f"Blocks {what}: the whole {whole_speed_up(share, times):.2f} times faster.")

# %% [markdown] tags=["exercise:training"]
# ### Exercise 11.4: Where the rest goes
#
# *Difficulty 4/5, importance 4/5, about 20 min, objective 4, open*
#
# Freezing made an answer much faster; folding made a step of training hardly faster at all. Explain it in
# writing, with numbers: (a) From the measured gains of block and step, compute which share of a
# step's *time* the blocks had. Compare like with like: folded with plain ("as written"), in both tables.
# Then compare with their share of the operations. (b) Which savings of this lesson
# are not available in training, and why not? (c) Somebody wants steps that take half of the time. Say what
# is left to attack, and one thing in `annlib.model` that you would measure first. The tables are in
# `data/results/benchmark` (`train_...md`, `model_...md`, `blocks_...md`).

# %% [markdown] tags=["instructor"]
# Twenty minutes, or homework. Rubric for 11.4 (0 to 4): (a) share computed by turning the formula around,
# share = (1 - 1/whole) / (1 - 1/part), about 0.16 with part 1.9 and whole 3699 / 3435 = 1.08 (folded
# against "as written"; who takes 1.06, against the reference, mixes two baselines), and compared with the
# share of operations, about a quarter (1); names that operations of a 3 x 3 or of 1 x 1 convolutions and
# of the blocks do not run at the same speed, or the auxiliary head, optimiser and batch norms, which the
# counter leaves out (1); (b) norms (statistics of the batch) and the composed 1 x 1 and 3 x 3 (norm and
# dropout stand between them) (1); (c) a target with its share: backbone and reduction are three quarters of
# the operations, so even blocks for nothing give at most a third (1). No point for "GPUs are better at it" without a
# measurement.

# %% [markdown]
# **What this does not show.** That folding pays everywhere: times were measured on one machine with two
# cores, in float32; no GPU is in our record, and there, where calls cost more and products less, the order
# of the forms may be another. That exact means identical: in half precision the two orders round much more
# coarsely, and a network trained in one form and run in the other must be checked. And the saving says
# nothing about accuracy, because there is nothing to say: it is the same function. If your mIoU changes,
# something is broken.

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

# %% [markdown] tags=["quiz:key"]
# ### Quiz 11.1: Why does the projection of the *keys* stay at all positions?
#
# - [ ] Because keys are compared, and values are only added up.
#   What happens to them later does not matter. What matters is what happens to them before the mean.
# - [x] Because a ReLU stands between projection and means, and ReLU does not commute with a mean.
#   Without it, keys could be projected at the anchors just like values.
# - [ ] Because batch norm needs all positions for its statistics.
#   In training it does, which is a second reason; but in inference the norm would pass, and ReLU still not.

# %% [markdown] tags=["quiz:bias"]
# ### Quiz 11.2: Why may the bias of the output projection be added to the anchors?
#
# - [ ] Because a bias is small.
#   It may be as large as it likes: it passes exactly.
# - [x] Because each row of the weights sums to 1, so each position gets it once.
#   Had somebody left out the softmax, the bias would arrive as often as the row sums to.
# - [ ] Because the next batch norm takes it out again.
#   That is true in training, and makes this bias useless there; but the equality needs no norm.

# %% [markdown] tags=["quiz:three"]
# ### Quiz 11.3: May a 3 x 3 convolution change places with the cell means?
#
# - [ ] Yes, it is linear.
#   Linear in the map as a whole, but it mixes positions; after the means its neighbours are other cells.
# - [ ] Yes, if its padding is zero.
#   The border is the smaller trouble. In the middle of the map the neighbours have changed, too.
# - [x] No: it must act on each position alone, and it does not.
#   But it may be composed with a 1 x 1 convolution before it, if nothing stands between the two.

# %% [markdown] tags=["quiz:same"]
# ### Quiz 11.4: Folded and plain logits differ by a few parts in ten million. What does that say?
#
# - [ ] Folding is a very good approximation.
#   It is none. In exact arithmetic the difference would be zero.
# - [x] Sums in another order are rounded at other places.
#   In float64 the difference falls by the same factor by which float64 is finer: a test for this claim.
# - [ ] One of the two has a small bug.
#   A bug does not shrink with the precision. That is how the two are told apart.

# %% [markdown] tags=["quiz:cheap"]
# ### Quiz 11.5: Blocks that take a fifth of the time become free. What is gained?
#
# - [ ] Almost nothing.
#   "The rest is what costs" is right, and still a fifth of the time is gone for good.
# - [x] At most a quarter: the other four fifths remain, and 1 / (4/5) is 5/4.
#   So look at the share before you look at the speed-up.
# - [ ] It is five times faster.
#   That would be so if the blocks had taken four fifths.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You tested which layers may change places with a mean (linear at each position alone), moved the value and
# output projections and half of the fusing convolution to the anchors, folded a norm into a convolution, saw
# two convolutions become one, and explained why a whole training step hardly notices.
#
# Read more: Z. Zhu and others, *Asymmetric Non-local Neural Networks for Semantic Segmentation*, ICCV 2019,
# for the blocks; S. Ioffe and C. Szegedy, *Batch Normalization*, ICML 2015, for the two modes of a norm;
# G. Amdahl, *Validity of the single processor approach to achieving large scale computing capabilities*,
# 1967; `annlib/model/fused.py`, with its tests.
#
# Next: [what came after](12_efficient_attention.ipynb).
