# %% [markdown] tags=["header"]
# # 11. Folding layers: the same output with fewer operations (optional)
#
# *How can a block compute the same numbers with fewer operations, and how many fewer?*
#
# - **Before:** lessons 3, 4 and 5; what a linear map is. No later lesson needs this one.
# - **Time:** 105 min: reading 30, exercises 70, running 5
# - **Runs in:** 25 s (quick), 60 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. test which layers commute with average pooling ([Exercise 11.1](exercise:commutes))
# 2. write the value and output projections on 110 anchors instead of N positions ([Exercise 11.2](exercise:folded))
# 3. fold a batch norm into the convolution before it ([Exercise 11.3](exercise:norm))
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
from annlib.course.attention import capture_attention, model_input, predict_labels, sample_photo
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
# ## Values that are computed and averaged
#
# In lesson 5 the values of AFNB were computed in two steps: a 1 x 1 convolution at all $N$ positions, then the
# means of $S = 110$ cells. Our scene has 384 positions, so 384 values are computed only to be averaged.
# Could we average first, and apply the convolution to 110 means? That would be cheaper by a factor of $N / S$. For most
# layers it would also change the result. For which layers does it not?

# %%
model = shipped_model("balloon_ann")
features = key_features(model, range(first, first + 4))  # AFNB's keys before their ReLU
B, C, H, W = features.shape
N = H * W
assert (C, H, W, N) == (32, 16, 24, 384)
print(f"{B} scenes, {C} channels, {N} positions; {(features < 0).float().mean():.0%} are negative.")

# %% [markdown]
# **Example.** A cell holds the two values -2 and 4, and the layer multiplies by 3 and adds 1. Layer first: -5 and 13, mean
# 4. Mean first: 1, then 4. The same result. With ReLU instead: layer first, 0 and 4, mean 2; mean first, 1. Different.
#
# ### Prediction 11.1: Which layers commute?
#
# Six layers: a 1 x 1 convolution with bias, a 3 x 3 convolution, a batch norm in training, a batch norm in
# inference, ReLU, a softmax over the channels. How many of the six **commute** with average pooling, that is, give the
# same result in both orders? (A number from 0 to 6.)

# %% tags=["predict:six"]
guess_six = 2  # solution

# %% [markdown] tags=["exercise:commutes"]
# ### Exercise 11.1: A test for commuting layers
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 1*
#
# Write a function that applies both orders to given features and says whether the results agree, up to
# rounding. Rounding errors are *relative* (for float32 about $10^{-7}$ of the numbers), so the tolerance
# must be relative as well.
#
# *Extension (optional):* find features for which your test says that ReLU commutes. What do they have in common?


# %% tags=["answer:commutes"]
def commutes(layer, features: Tensor, pool_scale: int) -> bool:
    """features (B, C, H, W) -> whether layer and means of pool_scale x pool_scale cells commute"""
    # solution
    layer_first = adaptive_avg_pool2d(layer(features), pool_scale)
    means_first = layer(adaptive_avg_pool2d(features, pool_scale))
    apart = (layer_first - means_first).abs().max()
    return bool(apart <= 1e-5 * layer_first.abs().max())


# %% [markdown] tags=["hint:commutes:1"]
# Compute two results of the same shape, one for each order. What is the largest difference between them, and
# to what do you compare it?

# %% [markdown] tags=["hint:commutes:2"]
# `adaptive_avg_pool2d(features, pool_scale)` computes the means of the cells; `.abs().max()` the largest absolute value.

# %% [markdown] tags=["hint:commutes:3"]
# ```
# layer_first = adaptive_avg_pool2d(layer(features), pool_scale)
# means_first = ...
# apart = (layer_first - means_first).abs().max()
# return bool(apart <= ...)
# ```

# %% tags=["check:commutes"]
checks.commutes(commutes)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# Features that have one sign within each cell: all positive, or all negative. Then ReLU is linear on each cell.
#
# </details>

# %%
six = layers(C)
apart = {name: exchange(layer, features, 8).difference for name, layer in six.items()}
count = sum(share < 1e-5 for share in apart.values())
predictions.compare("11.1", guess_six, count, between=(0, 6))
for name, share in apart.items():
    print(f"{name:22} largest difference {share:8.1e} of the largest value")
lesson.claim("relu-apart", 100 * exchange(nn.ReLU(), features, 8).difference, within=1, unit="%")

# %% [markdown] tags=["reveal:six"]
# Two of them: the 1 x 1 convolution and the batch norm in inference. There is a gap of six powers of ten between these
# and the others, so the test is clear. ReLU changes the result by [31 %](claim:relu-apart) of the largest value.

# %% [markdown]
# Try this, and explain each result:
#
# 1. Choose ReLU and go through the channels at 8 x 8 cells. Where on the map do the two orders differ? Which values
#    must a cell contain for that?
# 2. Stay with ReLU and set n x n to 16. The cells now have two positions. Is the difference gone? When would
#    it disappear?
# 3. Compare the two batch norms. They have the same weights: what do the means change?
# 4. The 3 x 3 convolution is linear. Why does it not commute? (What are the neighbours of a mean?)

# %%
widgets.layer_order(six, features)

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Usual mistakes in 11.1: exact equality (a good moment to explain rounding); a
# fixed tolerance of 1e-4, which accepts everything that is small; max instead of mean. Prediction 11.1: the
# most frequent incorrect answer is 4, "everything except ReLU and softmax". Discussion: *is linear enough?* No: linear
# **at each position alone**. Stop here when 20 minutes are over.
#
# Answers: (1) where a cell contains both signs. (2) No; at the latest when each cell is one position. (3)
# Its statistics: means vary less than positions, so the norm divides by less. (4) Its neighbours are then
# other cells.

# %% [markdown]
# ## Why it is exact
#
# Let $x_p$ be the channels at position $p$, and a cell of $P$ positions. For a 1 x 1 convolution:
#
# $$\frac{1}{P}\sum_{p} (W x_p + b) = W \Big(\frac{1}{P}\sum_{p} x_p\Big) + b$$
#
# (In this lesson $W$ is a projection with bias $b$; the attention weights are called $a_{ns}$.)
# $W$ can be moved out of the sum because it is linear and the same everywhere; $b$ stays $b$ because the factors
# $1/P$ sum to 1. For ReLU there is no such equation: the mean of $-1$ and $1$ is $0$, but the mean of
# $\mathrm{ReLU}(-1) = 0$ and $\mathrm{ReLU}(1) = 1$ is not.
#
# So **values** can be projected at the anchors, because their projection is a plain 1 x 1 convolution. **Keys** cannot:
# their projection is followed by batch norm and ReLU. It stays at all $N$ positions, and its results are averaged
# afterwards. (This holds for the released networks. A block whose keys have no ReLU could fold them, too.)
#
# ### The weighted mean of attention
#
# Pooling is a mean. Attention is a weighted mean: its output at position $n$ is $\sum_s a_{ns} \gamma_s$ with the values
# $\gamma_s$, and the weights $a_{ns}$ of a query sum to 1 over the $S$ anchors. Afterwards a 1 x 1 convolution with
# weight $W_O$ and bias $b_O$ is applied to the output at all $N$ positions. Suppose that we apply this convolution to the
# values of the 110 anchors instead, before the weighted sum.

# %% [markdown]
# ### Prediction 11.2: What happens to the bias?
#
# Then $b_O$ is added to each of the 110 anchors. How often is it contained in the output at one
# position: `"once"`, `"110 times"` or `"not at all"`?

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

# %% [markdown] tags=["reveal:bias"]
# Once. Each position gets the bias from all 110 anchors, each time multiplied by an attention weight, and the weights of
# a row sum to 1. So the two orders agree. *Example:* two anchors with the weights 1/4 and 3/4 and the values 2 and 6,
# $W_O = 3$, $b_O = 1$. Weighted sum first: 5, then $3 \cdot 5 + 1 = 16$. Projection first: 7 and 19, then
# $7/4 + 3 \cdot 19/4 = 16$. In general:
#
# $$W_O \Big(\sum_{s} a_{ns} \gamma_s\Big) + b_O = \sum_{s} a_{ns}\,(W_O \gamma_s + b_O)$$

# %% [markdown] tags=["exercise:folded"]
# ### Exercise 11.2: Two projections on the anchors
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 2*
#
# The next cell contains the plain version. Write the folded one: the same numbers (up to $10^{-5}$ in float32, up to
# $10^{-11}$ in float64) and the same gradients, but no projection at $N$ positions. `pyramid_means` returns the anchors
# as rows. Shapes in the correct order: features (B, C, H, W) → means (B, S, C) → values (B, S, Cv) → projected values
# (B, S, output channels) → output (B, N, output channels).
#
# *Extension (optional):* the gradient of `weights` itself is *not* the same in both versions, only that of
# the scores is. By what do the two differ, and why does the softmax remove that difference?

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
# Everything moves before the product with the weights: first the means of the features, then one projection, then
# the other. The product with the weights is the last step.

# %% [markdown] tags=["hint:folded:2"]
# `linear(rows, conv.weight.flatten(1), conv.bias)` applies a 1 x 1 convolution to rows (B, S, C).

# %% [markdown] tags=["hint:folded:3"]
# ```
# anchors = pyramid_means(features, pool_scales)
# anchors = linear(anchors, to_value.weight.flatten(1), ...)
# ...
# return weights @ anchors
# ```

# %% tags=["check:folded"]
checks.folded_context(folded_context)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# They differ by a number that is the same for all weights of a row: the product of the bias with the gradient of the
# output at that position. The softmax's gradient subtracts the weighted mean of a row, and so removes any constant.
#
# </details>

# %% [markdown]
# Now with the attention weights of our trained network for our scene:

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
print(f"largest difference {float((short_way - long_way).abs().max() / long_way.abs().max()):.1e}")

# %% [markdown]
# ### All grids from one pass
#
# The next saving concerns memory traffic rather than operations. The readable `PyramidPool` reads the whole map four
# times, once for each grid. But the mean of a cell can be computed in two steps, along the rows and then down the
# columns. So `pyramid_means` multiplies every row of the map by a small matrix that contains the cells of *all*
# grids, and reads the map once:

# %%
from annlib.model.fused import cell_means

across = cell_means(W, scales, low)  # (1 + 3 + 6 + 8, W), rows sum to 1
assert across.shape == (18, W)
assert torch.allclose(across.sum(-1), torch.ones(18))
one_pass, four_passes = pyramid_means(low, scales), PyramidPool(scales)(low).mT
print(f"difference {float((one_pass - four_passes).abs().max() / four_passes.abs().max()):.1e}")

# %% [markdown] tags=["instructor"]
# Twenty-five minutes with 11.2. Usual mistakes: biases forgotten ("a mean removes constants"), the output
# projection left outside (the check counts operations and says so), anchors in another order than the
# weights. The extension is a good question for the board. When late, skip "All grids".

# %% [markdown]
# ## Concatenation without concatenating
#
# After attention both blocks *concatenate* the context and the input to $2C$ channels, and a 1 x 1
# convolution $[W_1\ W_2]$ projects them. Split its weights into two halves:
#
# $$[W_1\ W_2] \begin{bmatrix} \text{context} \\ x \end{bmatrix} = W_1\,\text{context} + W_2\,x$$
#
# So the concatenated map never has to be built. And $W_1$ is one more linear map of the attention's output: it can be
# applied to the anchors, like $W_O$. In AFNB that is a product of 2048 by 2048 channels, at 110 anchors instead of
# at 8192 positions.

# %%
conv = nn.Conv2d(2 * 6, 6, 1, bias=False).double()
context, x = torch.randn(2, 1, 6, 5, 7, dtype=torch.float64)
concatenated = conv(torch.cat([context, x], dim=1)).detach()
W_1, W_2 = conv.weight.detach().chunk(2, dim=1)
in_two = conv2d(context, W_1) + conv2d(x, W_2)
assert concatenated.shape == in_two.shape == (1, 6, 5, 7)
print(f"Largest difference {float((concatenated - in_two).abs().max()):.1e}")

# %% [markdown]
# ### Prediction 11.3: How much is saved in all?
#
# AFNB of the published networks (2048 high-level channels, 1024 low-level channels, keys and values 256) on a map of
# 64 x 128. If everything is folded that can be folded: how many times fewer operations? (A number from 1 to 75. What
# remains at all positions: the projections of query and key, two products with 110 anchors, and $W_2$.)

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
        predictions.compare("11.3", guess_afnb, before / after, tolerance=0.1, between=(1, 75))

# %% [markdown] tags=["reveal:afnb"]
# [1.88](claim:afnb-fewer) times fewer in AFNB, [1.95](claim:apnb-fewer) in APNB: nearly half of the operations. The
# factor is much smaller than $N / S$, because the layers that stay at all positions dominate, as in lesson 3.

# %% [markdown]
# The widget shows the operations of each step. Try this, and explain each result:
#
# 1. Which two bars nearly vanish, and which one *grows*? Why does folding make that step more expensive?
# 2. With AFNB, 2048 channels, make the map smaller step by step, H and W. When does folding no longer pay,
#    and how does that depend on $S$?
# 3. Change to APNB with 512 channels. Which bar contains most of what is left, and what would have to change in the
#    network to fold it, too?

# %%
widgets.folding_cost()

# %% [markdown]
# Counted operations are only a prediction. Now we measure time, memory, and the numbers themselves, in the forward pass
# and in a training step (output *and* all gradients are compared; the last column is the largest relative difference).
# We take half the width and a smaller map than the published network has, so that it takes seconds:

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
# [1.85](result:benchmark/blocks_64x128_amd-epyc.md) times in a training step; APNB
# [1.79](result:benchmark/blocks_64x128_amd-epyc.md) and
# [2.07](result:benchmark/blocks_64x128_amd-epyc.md) times. On small maps with few channels the gain can
# be much smaller, or become a loss, as in a quick run: there the number of calls matters more than the
# operations.
#
# Why are the results not identical in every bit? A sum in another order is rounded at other places.
# That is the only difference, and in float64 it is smaller by the ratio of the two precisions.

# %% [markdown] tags=["instructor"]
# Twenty minutes. Predictions for 11.3 are usually far too high ("110 instead of 8192!"): the same mistake as
# N / S in lesson 3. In task 1 of the widget the growing bar is *weights x
# anchors*: the product now has 2048 channels, not 256. Discussion: *when would you not fold?* (Where
# people read the code; annlib keeps both forms, and tests that they agree.)
#
# Answers: (2) between 8 x 8 (0.72 times) and 8 x 16 (1.05 times): when N comes near S = 110. (3) "fuse,
# features", then query and key; the input would have to come from means, too.

# %% [markdown]
# ## Folding for inference: batch norm and consecutive convolutions
#
# ![Folding the AFNB step by step: which operations move from N positions to S anchors, and what they cost](diagrams/folding.svg)
#
# In inference two more operations become linear. A **batch norm** then is a scale and a shift with fixed numbers. At
# position $p$, with its weight $g$, bias $h$, running mean $\mu$ and running variance $v$:
#
# $$y_p = g\,\frac{(W x_p + b) - \mu}{\sqrt{v + \epsilon}} + h$$
#
# This is one convolution with other numbers. In training it is not, because mean and variance come from the batch.
#
# **Example** with one channel: $W$ = 2, $b$ = 1, $\mu$ = 3, $\sqrt{v + \epsilon}$ = 4, $g$ = 8, $h$ = 5. Then
# $y = 8\,(2x + 1 - 3)/4 + 5 = 4x + 1$: the new weight is 4, the new bias 1.

# %% [markdown] tags=["exercise:norm"]
# ### Exercise 11.3: A norm disappears
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 3*
#
# Return one convolution that computes what convolution and batch norm compute in inference. Do not change the two
# layers that you get.
#
# *Extension (optional):* what if the norm came *before* a 3 x 3 convolution with zero padding?


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
# Write $y_p$ as $W' x_p + b'$. What multiplies each output channel of $W$? Which terms do not contain $x_p$?

# %% [markdown] tags=["hint:norm:2"]
# `copy.deepcopy(conv)` keeps stride and padding; `nn.Parameter(...)` replaces its weight and bias;
# `factor[:, None, None, None]` scales output channels. A convolution may have no bias (`None`).

# %% [markdown] tags=["hint:norm:3"]
# ```
# both = copy.deepcopy(conv)
# factor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
# both.weight = nn.Parameter(...)
# both.bias = nn.Parameter(...)
# return both
# ```

# %% tags=["check:norm"]
checks.fold_norm(fold_norm)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# Zero padding adds zeros *after* the norm. Folded into the convolution, the norm's shift would also be added
# at the padded positions, so the result differs at the border. Only the scale can be folded exactly.
#
# </details>

# %% [markdown]
# A second simplification follows. The AFNB ends with a 1 x 1 convolution, and the next layer is the 3 x 3 convolution
# that reduces 2048 channels to 512. In inference there is nothing between the two any more: the norm is folded, the AFNB
# has no ReLU there (the APNB has one), and dropout is off. Two convolutions with nothing in between can be replaced by
# one, so the map of 2048 channels between them is never computed.
#
# There is one condition, the same as in the extension. The 3 x 3 convolution pads its input with zeros, so at the border
# a *bias* of the first convolution may not simply be moved into the second one. `fuse_for_inference` therefore adds this
# bias to the anchors. The attention weights sum to 1 at every position of the map, but padded positions have no weights,
# so the bias counts exactly where it should.
#
# `fuse_for_inference` applies all of this to a copy of a trained network. We expect the same logits, up to rounding, for
# our scene, and the same classes for the photo of lesson 0 with the street network:

# %%
from annlib.model.fused import fuse_for_inference, fuse_for_training

inference_model = fuse_for_inference(model)
with torch.inference_mode():
    as_trained, for_inference = model.eval()(images).main, inference_model(images).main
assert as_trained.shape == for_inference.shape == (1, 10, *scene.labels.shape)
apart = float((as_trained - for_inference).abs().max() / as_trained.abs().max())
same = float((as_trained.argmax(1) == for_inference.argmax(1)).float().mean())
print(f"Logits differ by {apart:.1e} of the largest; {same:.2%} of the pixels: same class.")
photo, street_net = sample_photo(), shipped_model("streets_ann")
plain, folded = (predict_labels(net, photo) for net in (street_net, fuse_for_inference(street_net)))
print(f"Photo: {(plain == folded).mean():.2%} of the pixels get the same class.")

# %%
from annlib.course.costs import network
from annlib.course.profiler import operation_counter
from annlib.model.build import build_model


def count(network: nn.Module, size: tuple[int, int] = (512, 1024)) -> tuple[float, int]:
    """GFLOPs of one image, and parameters; on tensors that have a shape only"""
    with torch.device("meta"), operation_counter() as counter, torch.no_grad():
        network.eval()(torch.empty(1, 3, *size))
    return counter.get_total_flops() / 1e9, sum(p.numel() for p in network.parameters())


with torch.device("meta"):
    street = build_model(network("ANN (AFNB and APNB)"))
    forms = {
        "as written": street,
        "folded": fuse_for_training(street),
        "inference": fuse_for_inference(street),
    }
counted = {name: count(form) for name, form in forms.items()}
for name, (gflops, parameters) in counted.items():
    print(f"{name:10} {gflops:6.1f} GFLOPs {parameters:12,} parameters")
lesson.claim("frozen-fewer", counted["as written"][0] / counted["inference"][0], within=0.01)

# %% [markdown]
# The network folded for inference needs [1.25](claim:frozen-fewer) times fewer operations than the network as it is
# written. On the machine of our record an image of 512 x 1024 takes
# [1.60](result:benchmark/model_ann_r50-d8_512x1024_40k_cityscapes_512x1024_amd-epyc.md) times less time than
# with the reference implementation. The price: it can no longer be trained.

# %% [markdown] tags=["instructor"]
# Twenty minutes. Usual mistakes in 11.3: eps forgotten (invisible with usual numbers; the check draws a
# large one), the old bias not scaled, the original layers changed. Discussion: *the
# parameters decrease by a quarter; has the network become simpler?* (It computes the same function; it has lost
# ways of being trained.)

# %% [markdown]
# ## Why training gains so little
#
# The blocks became almost twice as fast, forward and backward. And a whole training step, on two crops of
# 256 x 256? On the machine of our record
# [1.06](result:benchmark/train_ann_r50-d8_512x1024_40k_cityscapes_2x256x256_amd-epyc.md) times faster than
# the reference, in a second run [1.09](result:benchmark/train_ann_r50-d8_512x1024_40k_cityscapes_compiled_2x256x256_amd-epyc.md).
# We keep this negative result. Lesson 3 has the tool to explain it: how much a faster part speeds up the whole.

# %%
from annlib.course.costs import network_bill


def whole_speed_up(share: float, times: float) -> float:
    """Speed-up of the whole if a part with this share of the time becomes `times` faster (Amdahl)"""
    return 1 / (1 - share + share / times)


values = network_bill("ANN (AFNB and APNB)", (256, 256))
share = (values["afnb"] + values["apnb"]) / sum(values.values())
print(f"The blocks have {share:.0%} of the operations, without the auxiliary head.")
for what, times in (("1.9 times faster", 1.9), ("at no cost", float("inf"))):
    print(f"Blocks {what}: the whole {whole_speed_up(share, times):.2f} times faster.")

# %% [markdown] tags=["exercise:training"]
# ### Exercise 11.4: Where the rest goes
#
# *Difficulty 4/5, importance 4/5, about 20 min, objective 4, open*
#
# Folding made inference much faster, but a training step hardly faster at all. Explain that in writing, with numbers:
#
# - (a) From the measured gains of block and step, compute which share of a step's *time* the blocks had. Compare
#   folded with plain ("as written") in both tables. Then compare this share with their share of the operations.
# - (b) Which savings of this lesson are not available in training, and why not?
# - (c) Somebody wants steps that take half of the time. Say what could still be reduced, and one thing in
#   `annlib.model` that you would measure first.
#
# The tables are in `data/results/benchmark` (`train_...md`, `model_...md`, `blocks_...md`).
#
# *Example for (a), with other numbers.* A part became twice as fast, and the whole [1.25](given:example) times as fast.
# Before, the whole took 1; now it takes 1/[1.25](given:example) = [0.8](given:example). The saved [0.2](given:example) is
# half of the part's time, so the part's share was [0.4](given:example).

# %% [markdown] tags=["instructor"]
# Twenty minutes, or homework. Rubric for 11.4 (0 to 4): (a) share computed by solving the formula,
# share = (1 - 1/whole) / (1 - 1/part), about 0.16 with part 1.9 and whole 3699 / 3435 = 1.08 (folded
# against "as written"; 1.06, against the reference, would mix two baselines), and compared with the
# share of operations, about a quarter (1); says that operations of a 3 x 3 or of 1 x 1 convolutions and
# of the blocks do not run at the same speed, or mentions the auxiliary head, optimiser and batch norms, which the
# counter leaves out (1); (b) norms (statistics of the batch) and the composed 1 x 1 and 3 x 3 (norm and
# dropout between them) (1); (c) a target with its share: backbone and reduction are three quarters of
# the operations, so even blocks at no cost give at most a third (1). No point for "GPUs are better at it" without a
# measurement.

# %% [markdown]
# **What this does not show.** It does not show that folding pays everywhere: times were measured on one machine with two
# cores, in float32. No GPU is in our record, and there calls cost more and products less, so the order
# of the versions may be another. "Exact" does not mean identical bits: in half precision the two orders round much more
# coarsely, and a network that is trained in one form and run in the other must be checked. The saving does not change
# the accuracy, because the function is the same. If your mIoU changes, there is a bug.

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

# %% [markdown] tags=["quiz:key"]
# ### Quiz 11.1: Why does the projection of the *keys* stay at all positions?
#
# - [ ] Because keys are compared, and values are only added up.
#   What happens to them later does not matter. What matters is what happens to them before the mean.
# - [x] Because there is a ReLU between projection and means, and ReLU does not commute with a mean.
#   Without it, keys could be projected at the anchors just like values.
# - [ ] Because batch norm needs all positions for its statistics.
#   In training it does, which is a second reason; but in inference the norm commutes, and ReLU still does not.

# %% [markdown] tags=["quiz:bias"]
# ### Quiz 11.2: Why may the bias of the output projection be added to the anchors?
#
# - [ ] Because a bias is small.
#   Its size does not matter: the equality is exact.
# - [x] Because each row of the weights sums to 1, so each position gets it once.
#   Without the softmax, the bias would be multiplied by the sum of the row.
# - [ ] Because the next batch norm subtracts it again.
#   That is true in training, and makes this bias useless there; but the equality does not need a norm.

# %% [markdown] tags=["quiz:three"]
# ### Quiz 11.3: Does a 3 x 3 convolution commute with the cell means?
#
# - [ ] Yes, it is linear.
#   It is linear in the map as a whole, but it mixes positions; after the means its neighbours are other cells.
# - [ ] Yes, if its padding is zero.
#   The border is the smaller problem. In the middle of the map the neighbours have changed, too.
# - [x] No: it would have to act on each position alone, and it does not.
#   But it can be composed with a 1 x 1 convolution before it, if there is nothing between the two.

# %% [markdown] tags=["quiz:same"]
# ### Quiz 11.4: Folded and plain logits differ by a few parts in ten million. What does that mean?
#
# - [ ] Folding is a very good approximation.
#   It is not an approximation. In exact arithmetic the difference would be zero.
# - [x] Sums in another order are rounded at other places.
#   In float64 the difference is smaller by the ratio of the precisions: that tests this explanation.
# - [ ] One of the two has a small bug.
#   The effect of a bug does not shrink with the precision. So the two can be distinguished.

# %% [markdown] tags=["quiz:cheap"]
# ### Quiz 11.5: Blocks that take a fifth of the time become free. What is gained?
#
# - [ ] Almost nothing.
#   The rest takes most of the time, but a fifth of it is saved.
# - [x] At most a quarter: the other four fifths remain, and 1 / (4/5) is 5/4.
#   So look at the share before you look at the speed-up.
# - [ ] It is five times faster.
#   That would be so if the blocks had taken four fifths.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You tested which layers commute with a mean (those that are linear at each position alone), moved the value and
# output projections and half of the last 1 x 1 convolution to the anchors, folded a norm into a convolution, saw
# two convolutions become one, and explained why a whole training step hardly becomes faster.
#
# Read more: Z. Zhu and others, *Asymmetric Non-local Neural Networks for Semantic Segmentation*, ICCV 2019,
# for the blocks; S. Ioffe and C. Szegedy, *Batch Normalization*, ICML 2015, for the two modes of a norm;
# G. Amdahl, *Validity of the single processor approach to achieving large scale computing capabilities*,
# 1967; `annlib/model/fused.py`, with its tests.
#
# Next: [efficient attention after ANN](12_efficient_attention.ipynb) (optional).
