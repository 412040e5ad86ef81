# %% [markdown] tags=["header"]
# # 5. Asymmetric fusion: queries from one feature map, keys from another
#
# *A backbone offers two feature maps. Which should supply the queries, and which the keys and values?*
#
# - **Before:** lesson 4
# - **Time:** 120 min: reading 40, exercises 75, running 5; two sittings,
#   80 and 40 min
# - **Runs in:** 35 s (quick), 35 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# (1 to 4 belong to sitting 1, 5 belongs to sitting 2.)
#
# 1. calculate the shapes in an asymmetric fusion block ([Exercise 5.1](exercise:shapes))
# 2. build the Asymmetric Fusion Non-local Block, AFNB ([Exercise 5.2](exercise:afnb))
# 3. test by intervention what each map contributes to edges ([Exercise 5.3](exercise:intervention))
# 4. build a baseline with the same number of parameters ([Exercise 5.4](exercise:concatenation))
# 5. trace the shape of an image through the whole network ([Exercise 5.5](exercise:trace))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import inspect

import torch
from torch import nn

from annlib.config import ModelConfig
from annlib.course import checks, plots, widgets
from annlib.course.attention import attention_of, house_answers, predict_labels, sample_photo
from annlib.course.costs import say_stages, walk
from annlib.course.guesses import Predictions
from annlib.course.interventions import (
    changed_attention,
    changed_levels,
    coarse,
    low_and_high,
    score,
)
from annlib.course.lesson import open_lesson
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.ann import ANN
from annlib.model.asymmetric import AFNB, PyramidPool
from annlib.model.build import shipped_model
from annlib.model.layers import conv_bn, conv_bn_relu

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()

# %% [markdown]
# ## Sitting 1 of 2: the fusion block
#
# In this sitting you build the AFNB, the second block of the paper, and compare it with a simpler fusion. In sitting 2
# you follow an image through the whole network.
#
# ### Two feature maps of one image
#
# The **backbone** is the part of the network that turns the image into feature maps. It works in stages, and each
# stage outputs a feature map. ANN uses the last two: the **low-level map**, called c4, and the **high-level map**,
# called c5. One more stage computes c5 from c4. So c5 has a larger receptive field, and its features are closer to the
# classes. The features of c4 are closer to colour and texture. "Low" and "high" say how many layers came before. They
# do not say how large the maps are.
#
# The next cell prints both shapes for the scene that we follow, as (batch, channels, height, width). Which map do you
# expect to be larger, and by which factor? Decide before you run it.

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
ann = shipped_model("balloon_ann").to(lesson.device)
low, high = low_and_high(ann, scene.image)
print("low ", tuple(low.shape), " high", tuple(high.shape))
assert low.shape == high.shape == (1, 64, 16, 24)

# %% [markdown]
# Both have the same size here. In lesson 4, queries and keys came from the same map. With two maps there is a choice:
# a position on a house needs the pattern of a balloon far away. Should its query be compared with keys of the
# high-level map, or with keys of the low-level map? And which of the two maps should supply the queries?
#
# **Fusion** means to combine features of two levels in one map. The paper's fusion is the **Asymmetric Fusion
# Non-local Block**, AFNB. Its **queries come from the high-level map, its keys and values from the low-level map**. So
# each position of the high-level map gets a weighted sum of low-level features from the whole image.
#
# Let $X_h$ be the high-level map and $X_l$ the low-level map. A bar stands for the pyramid pooling of lesson 4. The
# formulas are
#
# $$\phi = W_\phi X_h, \quad \bar\theta = \overline{W_\theta X_l}, \quad \bar\gamma = \overline{W_\gamma X_l},
# \qquad W = \mathrm{softmax}\left(\frac{\phi^{\top} \bar\theta}{\sqrt{C}}\right), \quad O = W \bar\gamma^{\top}$$
#
# (The formulas leave out biases, and the batch norm and ReLU after $W_\phi$ and $W_\theta$.) Queries and keys now need
# separate projections, because they come from two maps, in general with different numbers of channels. As in the APNB,
# $W_O$ projects the output $O$ to as many channels as the high-level map has: this is the context. Then the context
# and the high-level map are concatenated, and `fuse` combines them.
#
# *Example.* A high-level map of 1 x 2 positions has the queries 1 and $-1$ (one channel). A low-level map of 1 x 4
# positions has the keys 4, 0, 0, 0 and the values 10, 0, 0, 0. Two cells of two positions give the anchors with the keys
# 2, 0 and the values 5, 0. The first position of the high-level map has the scores 2 and 0, the weights
# [0.88](given:example) and [0.12](given:example), and the output [4.4](given:example). The second has the scores $-2$
# and 0, the weights [0.12](given:example) and [0.88](given:example), and the output [0.6](given:example). So there is
# one output for each position of the *high-level* map: two, not four.

# %% [markdown]
# ### Prediction 5.1: A larger low-level map
#
# Suppose that the low-level map had twice as many rows and twice as many columns, and that the high-level map
# stayed as it is. By which factor would the number of attention weights of the AFNB grow? (Write 1 if it would not
# grow.)

# %% tags=["predict:size"]
guess_size = 1  # solution

# %% [markdown] tags=["exercise:shapes"]
# ### Exercise 5.1: Which map determines which shape?
#
# *Difficulty 1/5, importance 5/5, about 5 min, objective 1*
#
# Write down the shapes, without the batch: query, key and value as (channels, number of positions or anchors),
# the weights as (number of queries, number of keys), the output as (channels, height, width). Keys and values
# have the same number of channels here. An example for the format: if the query had 4 channels and 384
# positions, you would write `"query": (4, 384)`.
#
# *Extension (optional):* which of the five change if the two maps exchange their roles?


# %% tags=["answer:shapes"]
def afnb_shapes(
    low: tuple[int, int, int], high: tuple[int, int, int], key_channels: int, num_anchors: int
) -> dict[str, tuple[int, ...]]:
    """low (Cl, h, w) and high (Ch, H, W) -> shapes of query, key, value, weights, output"""
    # solution
    positions = high[1] * high[2]  # N: of the map that supplies the queries
    return {
        "query": (key_channels, positions),
        "key": (key_channels, num_anchors),
        "value": (key_channels, num_anchors),
        "weights": (positions, num_anchors),
        "output": high,
    }


# %% [markdown] tags=["hint:shapes:1"]
# The positions of which map become the rows of the weights? After pooling, what remains of the size of the
# other map?

# %% [markdown] tags=["hint:shapes:2"]
# $N = H W$ counts positions of the map of the queries. The map of the keys leaves $S$ anchors, whatever its size.
# The block replaces the high-level map, so its output has the same shape as that map.

# %% [markdown] tags=["hint:shapes:3"]
# `positions = high[1] * high[2]`

# %% tags=["check:shapes"]
checks.afnb_shapes(afnb_shapes)

# %%
block = AFNB(8, 16, 4, 4, (1, 3, 6, 8)).eval()
weight_shapes = []
block.attention.softmax.register_forward_hook(lambda m, scores, w: weight_shapes.append(w.shape))
for size in [(16, 24), (32, 48)]:
    out = block(torch.randn(1, 8, *size), torch.randn(1, 16, 16, 24))
    assert out.shape == (1, 16, 16, 24)
small, large = weight_shapes
assert small == (1, 16 * 24, 110)  # W: batch, N, S
predictions.compare("5.1", guess_size, large.numel() / small.numel())

# %% [markdown]
# <details>
# <summary>After you have run the cell: why, and the answer to the extension of Exercise 5.1</summary>
#
# There are $N \times S$ weights. $N$ is the number of positions of the high-level map, which did not change, and $S$
# depends on the levels only. A larger low-level map costs more in its 1 x 1 convolutions and in the pooling, but not
# in the attention weights.
#
# *Extension.* The query, the weights and the output change: with exchanged roles $N = h w$ counts positions of the
# low-level map, and the output has its shape. Key and value keep their shape, (channels, S).
#
# </details>

# %% [markdown] tags=["instructor"]
# Fifteen minutes to here. Usual mistakes: taking "low-level" for "smaller" (at output stride 8 both maps have one
# size); queries from the low-level map, because "it has to learn from the high-level one"; an output as large as the
# low-level map. Prompt: *which map decides how many outputs there are?* The one that supplies the queries.

# %% [markdown]
# ## Look at the weights
#
# The widget shows the AFNB of our trained network. Left: the map of the queries, brighter where its feature vectors
# are longer. Right: the cells of the other map to which the query attends. With the menu **block** you can exchange the
# roles of the two maps; the projections stay the same. Click a pixel to make it the query. Try this, and explain each
# result:
#
# 1. With **high attends to low (AFNB)**, choose each of the three houses as the query. Which cells do they
#    attend to? Compare the largest weight with that of lesson 4, where one map supplied queries and keys.
# 2. Choose a balloon, then the sky. Does a balloon attend to anything in particular?
# 3. Choose **low attends to high (swapped)**. What changes in the weights of a house? Why does it still work in
#    part? (In this small backbone, c4 and c5 have the same number of channels and a shortcut between them. In a
#    ResNet they have 1024 and 2048 channels: could you exchange the roles there?)
# 4. Open *One key, step by step*. Which of its numbers come from the high-level map, and which from the low-level map?

# %%
widgets.two_maps(ann, scene)

# %% [markdown]
# ## Build the AFNB
#
# ![AFNB: queries from the high-level map, keys and values from 110 anchors of the low-level map](diagrams/afnb.svg)
#
# The next exercise names the layers, but not their channels. Read in the diagram which map each layer projects, and
# decide to how many channels: this is half of the exercise.
#
# **A tiny example.** Low-level map (3, 4, 4), high-level map (5, 2, 2), two key channels, levels 1 and 2:
#
# ```text
# to_query   (5, 2, 2) -> (2, 2, 2)     flattened: query (2, 4)         N = 4
# to_key     (3, 4, 4) -> (2, 4, 4)     pooled:    key   (2, 5)         S = 1 + 4 = 5
# to_value   (3, 4, 4) -> (2, 4, 4)     pooled:    value (2, 5)
# weights    (4, 5), each row sums to 1
# to_output  (2, 2, 2) -> (5, 2, 2)     the context, with as many channels as the high-level map
# fuse       (5 + 5, 2, 2) -> (5, 2, 2)
# ```
#
# **A detail of the released models.** The fusing convolution of the AFNB ends with batch norm and **without a
# ReLU**; the one of the APNB has a ReLU. `conv_bn` and `conv_bn_relu` make the two kinds.

# %% [markdown] tags=["exercise:afnb"]
# ### Exercise 5.2: The fusion block
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 2*
#
# Make the layers in `__init__`, then write `forward`. `self.pool` is annlib's pyramid pooling. `to_query` and
# `to_key` are `conv_bn_relu`, `to_value` and `to_output` are plain `nn.Conv2d`, `fuse` is `conv_bn`; all kernels are
# 1 x 1. In the concatenation, the context comes first and the high-level map second. The result has the shape of the
# high-level map, (5, 2, 2) in the tiny example, and some of its numbers are negative, because there is no ReLU at the
# end.
#
# *Extension (optional):* suppose that several low-level maps supply keys and values. How do you combine their anchors?


# %% tags=["answer:afnb"]
class FusionBlock(nn.Module):
    """Positions of the high-level map attend to anchors of the low-level map."""

    def __init__(
        self, low_channels: int, high_channels: int, key_channels: int, pool_scales: tuple[int, ...]
    ):
        super().__init__()
        self.pool = PyramidPool(pool_scales)  # (B, C, h, w) -> (B, C, S)
        # Five layers: to_query (phi), to_key (theta), to_value (gamma), to_output (W_O), fuse
        # solution
        self.to_query = conv_bn_relu(high_channels, key_channels, 1)
        self.to_key = conv_bn_relu(low_channels, key_channels, 1)
        self.to_value = nn.Conv2d(low_channels, key_channels, 1)
        self.to_output = nn.Conv2d(key_channels, high_channels, 1)
        self.fuse = conv_bn(2 * high_channels, high_channels, 1)

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """(B, Cl, h, w), (B, Ch, H, W) -> (B, Ch, H, W)"""
        # solution
        query = self.to_query(high).flatten(2)  # (B, C, N)
        key, value = self.pool(self.to_key(low)), self.pool(self.to_value(low))  # (B, C, S)
        weights = (query.mT @ key * key.shape[1] ** -0.5).softmax(dim=-1)  # (B, N, S)
        output = (weights @ value.mT).mT.unflatten(2, high.shape[2:])  # (B, C, H, W)
        context = self.to_output(output)  # (B, Ch, H, W)
        return self.fuse(torch.cat([context, high], dim=1))


# %% [markdown] tags=["hint:afnb:1"]
# For each layer, write down which map goes in and how many channels come out; the tiny example shows it for 3, 5
# and 2 channels. Three of the five layers project one of the maps. Which two work with the weighted sum of the
# values?

# %% [markdown] tags=["hint:afnb:2"]
# | layer | input channels | output channels | kind |
# |---|---|---|---|
# | `to_query` | high | key | `conv_bn_relu` |
# | `to_key`, `to_value` | low | key | `conv_bn_relu`, `nn.Conv2d` |
# | `to_output` | key | high | `nn.Conv2d` |
# | `fuse` | 2 x high | high | `conv_bn` |
#
# In `forward`, take your pyramid block of Exercise 4.3. Only the inputs of the projections change.

# %% [markdown] tags=["hint:afnb:3"]
# `self.to_query = conv_bn_relu(high_channels, key_channels, 1)` is the first line of `__init__`, and
# `query = self.to_query(high).flatten(2)` the first line of `forward`. Key and value are `self.pool(...)` of a
# projection of `low`. `(weights @ value.mT).mT.unflatten(2, high.shape[2:])` has height and width again.

# %% tags=["check:afnb"]
checks.fusion_block(FusionBlock)

# %% [markdown]
# <details>
# <summary>Answer to the extension of Exercise 5.2</summary>
#
# Each low-level map gets its own `to_key` and `to_value`. Their anchors are concatenated along $S$, and one softmax
# runs over all of them. Their order does not matter. (The reference code has an option for several maps that works
# differently: one attention for each map, and the outputs are added.)
#
# </details>
#
# The same in annlib. Both blocks of the paper use one attention class; they differ in the maps that they give to it:

# %%
print(inspect.getsource(AFNB.forward))

# %% [markdown] tags=["instructor"]
# Twenty minutes for this section. Usual mistakes in 5.2: query from the low-level map, a ReLU after fusing,
# `to_output` with the channels of the low-level map, high-level map before context. When late: give `__init__`, let
# them write `forward` only. Discussion: *why did the authors pool the low-level map and not the high-level one, if the
# high-level one is closer to the classes?* Answers, two maps: (1) to the balloon of their colour, with a larger
# weight than in lesson 4; (2) read it off the sentence; (3) no: 1024 channels do not fit layers made for 2048.

# %% [markdown]
# ## Which map determines the edges?
#
# It is often said that one should fuse low-level features because they sharpen the edges of a prediction. Is that so
# in the AFNB? We test it on our trained ANN by an **intervention**: we change one thing in the network, and measure what
# changes in the prediction. Here we make one of the two maps coarse before it enters the AFNB. We divide the map into
# 8 x 12 cells, and all positions of a cell get the mean of the cell. (In one dimension, with cells of two positions,
# 1 3 5 7 becomes 2 2 6 6.) The other map stays as it is. Then we measure three accuracies: at edges, which means at
# most three pixels away from another class; elsewhere; and on houses.

# %% [markdown]
# ### Prediction 5.2: Edges
#
# Making which map coarse does more harm to the accuracy at edges: "low" or "high"?

# %% tags=["predict:edges"]
guess_edges = "high"  # solution

# %%
scenes = [make_scene(FIRST_VAL_SEED + number) for number in range(20)]
interventions = {"neither": {}, "low": {"low": lambda x: coarse(x, (8, 12))}}
interventions["high"] = {"high": lambda x: coarse(x, (8, 12))}
scored = {}
for name, changes in interventions.items():
    with changed_levels(ann, **changes):
        scored[name] = score(ann, scenes)
    edges, inside, houses = scored[name]
    print(f"coarse: {name:7}  at edges {edges:.1%}, elsewhere {inside:.1%}, houses {houses:.0%}")
suffers = "high" if scored["high"].edges < scored["low"].edges else "low"
predictions.compare("5.2", guess_edges, suffers, options=("low", "high"))
lesson.claim("edges", 100 * scored["neither"].edges, within=1, unit="%")
lesson.claim("edges-low", 100 * scored["low"].edges, within=1, unit="%")
lesson.claim("edges-high", 100 * scored["high"].edges, within=2, unit="%")

# %% [markdown]
# <details>
# <summary>After you have run the cell: what came out, and why</summary>
#
# At edges [94.3%](claim:edges) of the pixels are correct. With a coarse low-level map it is
# [94.3%](claim:edges-low): no change. With a coarse high-level map it is [80.4%](claim:edges-high). The structure of
# the block explains this. The low-level map enters only as anchors. An anchor is the mean of a cell, and a mean does
# not show where in the cell an edge was. The high-level map, however, supplies a query at *every* position and is
# concatenated, too. So the location of every edge must come from the high-level map. **In an AFNB, the low-level
# map adds content; location comes from the high-level map.**
#
# A fusion that keeps the edges of the low-level map has to combine the two maps position by position. The next section
# builds such a fusion.
#
# </details>

# %% [markdown] tags=["exercise:intervention"]
# ### Exercise 5.3: Your own intervention
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 3, open*
#
# Choose another intervention than above: a shift by one position (`lambda x: x.roll(1, dims=-1)`), noise, another grid
# for `coarse`, or zeros. **First** write down which of the three accuracies should change for each map, and which result
# would contradict your explanation. **Then** run it on both maps, in an empty cell. Report three lines: "neither", "low"
# and "high".
#
# *Example.* *Prediction: with 4 x 6 cells on the low-level
# map, edges stay the same and houses fall, because a cell then holds balloon and sky. It is refuted if edges fall by
# more than one point.* The code for it:
#
# ```python
# with changed_levels(ann, low=lambda x: coarse(x, (4, 6))):
#     print(score(ann, scenes))
# ```

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Rubric for 5.3 (0 to 4): prediction for both maps before the run (1); a result that would
# contradict it (1); the same intervention on both maps, and the unchanged network as a control (1); a conclusion that
# follows from the numbers, "no difference" included (1). An answer: a shift of the low-level map moves every anchor a
# little and hardly changes the edges; a shift of the high-level map moves every edge by eight pixels.
# Prompt: *which statement in a paper that you read lately would this little test contradict?*

# %% [markdown]
# ## Concatenation: a baseline with the same number of parameters
#
# The simplest fusion has no attention: project the low-level map to $M$ channels, resize it to the size of the
# high-level map, concatenate both, and combine them with a 1 x 1 convolution. It is our **baseline**, the method with
# which we compare the AFNB. For a fair comparison both should have the same number of parameters. You can choose $M$
# freely, so choose it to meet this budget.
#
# **A tiny example.** 2 channels low, 3 channels high, a budget of 40 parameters:
#
# ```text
# fuse reads the high-level map:   3 * 3 weights + 2 * 3 of its batch norm             = 15, whatever M is
# each of the M channels:          2 weights from low + 2 of its batch norm
#                                  + 3 weights to the output                           = 7
# M = (40 - 15) / 7 = 3.6, so M = 4, and the block has 15 + 4 * 7 = 43 parameters
# ```

# %% [markdown] tags=["exercise:concatenation"]
# ### Exercise 5.4: Fusion by concatenation
#
# *Difficulty 3/5, importance 4/5, about 15 min, objective 4*
#
# Write the baseline. Its number of parameters should be as close to `budget` as a whole number of channels allows. It
# has two layers, `conv_bn_relu(low, M, 1)` and `conv_bn(M + high, high, 1)`; their convolutions have no bias. Resize
# the projected map to the height and width of `high` with bilinear interpolation. In the tiny example,
# `ConcatFusion(2, 3, budget=40)` has 43 parameters.
#
# *Extension (optional):* what is $M$ for the 1024 and 2048 channels of a ResNet and the 9,968,896 parameters of its
# AFNB?


# %% tags=["answer:concatenation"]
class ConcatFusion(nn.Module):
    """Combines low-level and high-level features position by position, without attention."""

    def __init__(self, low_channels: int, high_channels: int, budget: int):
        super().__init__()
        # solution
        for_high = high_channels * high_channels + 2 * high_channels  # of fuse, and its batch norm
        per_channel = low_channels + 2 + high_channels  # into one channel, its norm, out of it
        middle = round((budget - for_high) / per_channel)
        self.reduce = conv_bn_relu(low_channels, middle, 1)
        self.fuse = conv_bn(middle + high_channels, high_channels, 1)

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """(B, Cl, h, w), (B, Ch, H, W) -> (B, Ch, H, W)"""
        # solution
        projected = self.reduce(low)
        projected = nn.functional.interpolate(projected, high.shape[2:], mode="bilinear")
        return self.fuse(torch.cat([projected, high], dim=1))


# %% [markdown] tags=["hint:concatenation:1"]
# How many parameters does one more channel in the middle add? It is computed from `low`, it has a batch norm, and it
# is one more input of `fuse`. And how many parameters has `fuse` if the middle has no channels?

# %% [markdown] tags=["hint:concatenation:2"]
# A 1 x 1 convolution from a to b channels without bias has a times b weights; its batch norm has 2 b parameters. So
# the two layers have $C_l M + 2 M$ and $(M + C_h) C_h + 2 C_h$ parameters. Set the sum equal to the budget, and solve
# for $M$. In `forward`: `nn.functional.interpolate(maps, size, mode="bilinear")`, then `torch.cat(..., dim=1)`.

# %% [markdown] tags=["hint:concatenation:3"]
# `per_channel = low_channels + 2 + high_channels` is what $M$ is multiplied by; `high_channels**2 + 2 * high_channels`
# does not depend on $M$. Round the quotient to a whole number. The layers are
# `self.reduce = conv_bn_relu(low_channels, middle, 1)` and a `conv_bn` from `middle + high_channels` channels.

# %% tags=["check:concatenation"]
checks.concat_fusion(ConcatFusion)

# %% [markdown]
# The check changed the low-level map at *one* position. In your concatenation, only that position of the output
# changed. At how many positions does the output of an AFNB change? Decide, then run the cell.


# %%
def share_that_changes(block: nn.Module) -> float:
    """Share of the output's positions that change if the low-level map changes at one position."""
    low, high = torch.randn(1, 8, 16, 24), torch.randn(1, 16, 16, 24)
    other = low.clone()
    other[:, :, 3, 5] += 10
    with torch.no_grad():
        change = (block(other, high) - block(low, high)).abs().amax(1)
    return float((change > 1e-6).float().mean())


nn.init.normal_(block.attention.to_output.weight)  # it starts at zero: no context would pass
changed = share_that_changes(block)
baseline = ConcatFusion(8, 16, budget=sum(value.numel() for value in block.parameters())).eval()
num_parameters = [sum(p.numel() for p in fusion.parameters()) for fusion in (block, baseline)]
print(f"AFNB: {num_parameters[0]} parameters, {changed:.0%} of the positions change")
if num_parameters[1]:
    near = checks.attempt(baseline, torch.randn(1, 8, 16, 24), torch.randn(1, 16, 16, 24))
    changed = share_that_changes(baseline)
    print(f"concatenation: {num_parameters[1]} parameters, {changed:.1%} of the positions change")

# %% [markdown]
# <details>
# <summary>After you have run the cell: what this shows, and the answer to the extension of Exercise 5.4</summary>
#
# Concatenation gives each position the low-level features of **the same position**, edges included, and nothing from
# elsewhere. The AFNB gives each position a weighted sum of low-level features **from anywhere**, but averaged over
# cells. So neither can do what the other does. (The AFNB contains a concatenation, too, but of the context and the
# high-level map, not of the two maps.)
#
# *Extension.* `fuse` and its norm take $2048^2 + 2 \cdot 2048 = 4{,}198{,}400$ parameters for the high-level map, and each
# channel takes $1024 + 2 + 2048 = 3074$. So $M = (9{,}968{,}896 - 4{,}198{,}400) / 3074$, which is 1877 after rounding.
#
# </details>

# %% [markdown] tags=["instructor"]
# Twenty-five minutes. Usual mistakes in 5.4: forgetting the parameters of `fuse` for the high-level map (then M is far
# too large), resizing the high-level map to the low-level one, a mean over the low-level map. When late, skip 5.4 and
# show the last cell.
#
# This is the end of the first sitting.

# %% [markdown]
# **This is the end of sitting 1.** You can say where queries, keys and values of an AFNB come from, you have built it,
# and you know which map determines the edges. You can stop here.
#
# ## Sitting 2 of 2: the whole network
#
# In this sitting you follow the shapes through the whole network, and see what its AFNB contributes. **After a break**
# start here: run the first two code cells of the notebook (parameters and set-up), then the cells from here on. The
# cells of sitting 1 are not needed.
#
# ![The whole network: backbone, AFNB, reduce, APNB, classifier, with the shapes for an image of 512 x 1024](diagrams/ann.svg)
#
# You know all parts of the network now. In the order of the data:
#
# 1. The backbone computes c4 and c5 from the image.
# 2. The AFNB fuses c4 and c5 to a map of 2048 channels.
# 3. `reduce`, a 3 x 3 convolution with batch norm and ReLU, goes from 2048 to 512 channels.
# 4. The APNB adds context from this map itself.
# 5. `classifier`, a 1 x 1 convolution, gives the **logits**, one score for each class. They are upsampled to the size
#    of the image.
#
# The next cells go through ANN with a ResNet-50 as published, for an image of 512 x 1024. The network is built without
# memory: its tensors have shapes but no content.

# %% [markdown]
# ### Prediction 5.3: Where are the parameters?
#
# After the backbone come the AFNB, `reduce`, and the APNB. Which of the three has most parameters: "afnb", "reduce" or
# "apnb"?

# %% tags=["predict:parameters"]
guess_parameters = "afnb"  # solution

# %%
scene, ann = make_scene(FIRST_VAL_SEED + 21), shipped_model("balloon_ann").to(lesson.device)
scenes = [make_scene(FIRST_VAL_SEED + number) for number in range(20)]
stages = walk(ModelConfig(depth=50, num_classes=19), image_size=(512, 1024))
shape_of = {stage.name: stage.shapes[-1] for stage in stages}
assert stages[0].shapes == ((1024, 64, 128), (2048, 64, 128))  # low, high: the same size
assert shape_of["afnb"] == (2048, 64, 128) and shape_of["classifier"] == (19, 64, 128)
compared = [stage for stage in stages if stage.name in ("afnb", "reduce", "apnb")]
largest = max(compared, key=lambda stage: stage.parameters).name
predictions.compare("5.3", guess_parameters, largest, options=("afnb", "reduce", "apnb"))
print(say_stages(stages))

# %%
print(inspect.getsource(ANN.forward))

# %% [markdown]
# Read the table next to the code:
#
# - **Output stride 8.** Both maps have an eighth of the image's rows and columns. The last two stages do not downsample;
#   they use *dilated* convolutions instead, which have gaps between the positions that they combine. So
#   $N = 64 \cdot 128 = 8192$, and the low-level map is *not* larger than the high-level map.
# - **Dropout** occurs twice, after the AFNB and before the classifier. During training it sets some of the channels to
#   zero, at random.
# - **The auxiliary head** is a second classifier that gets c4 alone. It is used during training only: its loss, with the
#   weight [0.4](cited:mmseg-code), gives the middle of the backbone a shorter path for its gradient.
#
# <details>
# <summary>After you have run the cell: which part has most parameters, and why</summary>
#
# The AFNB, because its 1 x 1 convolutions work on 2048 channels. Five sixths of its parameters are in `fuse`. Pooling
# makes the attention cheap, but not these convolutions.
#
# </details>

# %% [markdown] tags=["exercise:trace"]
# ### Exercise 5.5: Trace another image
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 5, open*
#
# Take an image of 769 x 769 and a ResNet-101 (its channels are those of the ResNet-50). Write down on paper, before you
# run anything:
#
# - the shapes (channels, height, width) of c4 and c5, and of the results of the AFNB, of `reduce`, of the APNB and of
#   the classifier for 19 classes;
# - the number of queries $N$, and the shape of the attention weights of both blocks.
#
# *Example:* for 512 x 1024 the line of the AFNB is "(2048, 64, 128), weights 8192 x 110". With odd sides, each halving
# rounds up: 9 becomes 5, then 3, then 2. Check your list in an empty cell with
# `print(say_stages(walk(ModelConfig(depth=101, num_classes=19), image_size=(769, 769))))`.

# %% [markdown] tags=["instructor"]
# Twenty minutes for this section. If only one thing is remembered: the two maps of the backbone have the same size,
# and "low-level" does not mean "high resolution" here. Rubric for 5.5 (0 to 3): side 97 for all maps (1); channels 1024,
# 2048, 2048, 512, 512, 19 (1); N = 9409 and weights 9409 x 110 in both blocks (1). Advanced groups compute the parameters
# of `fuse` by hand (2 x 2048 x 2048, and two for each channel in its norm).

# %% [markdown]
# ## What the AFNB contributes in Balloon Town
#
# What does the AFNB contribute to the predictions of our network? We **ablate** it: in the trained network we multiply
# its attention weights by 0. Then the weighted sum is 0 at every position, and the context is the same at every
# position (the bias of $W_O$). The APNB after it still works. We count the houses.

# %% [markdown]
# ### Prediction 5.4: An ablation
#
# As trained, all 60 houses of our 20 scenes are correct. How many are correct if the attention of the AFNB is zeroed?
# (A number from 0 to 60; guessing gives 20.)

# %% tags=["predict:silence"]
guess_zeroed = 35  # solution

# %%
zeroed = {}
for name in ("afnb", "apnb"):
    with changed_attention(ann, lambda weights: 0 * weights, f"{name}.attention"):
        zeroed[name] = score(ann, scenes)
num_houses = {name: 60 * one.houses for name, one in zeroed.items()}
predictions.compare("5.4", guess_zeroed, num_houses["afnb"], tolerance=0.1, between=(0, 60))
for name, one in zeroed.items():
    print(f"{name} zeroed: at edges {one.edges:.1%}, houses {num_houses[name]:.0f} of 60")
with changed_attention(ann, lambda weights: 0 * weights, "afnb.attention"):
    predicted = [label for one in scenes for label in house_answers(ann, one)]
labels = [house.label for one in scenes for house in one.houses]
for label in HOUSES:
    found = [p == label for p, own in zip(predicted, labels, strict=True) if own == label]
    print(f"afnb zeroed: {sum(found):2d} of {len(found)} {CLASS_NAMES[label]} houses correct")
lesson.claim("zeroed-afnb", num_houses["afnb"], within=2)
lesson.claim("zeroed-apnb", num_houses["apnb"], within=1)

# %% [markdown]
# <details>
# <summary>After you have run the cell: what came out, and why</summary>
#
# Without the attention of the AFNB, [35](claim:zeroed-afnb) of 60 houses are correct. Without that of the APNB, all
# [60](claim:zeroed-apnb) stay correct. So in this network the AFNB matches houses with balloons.
#
# A majority vote over the balloons of a scene would also be correct for about 35 of 60. Does the ablated network vote,
# then? Look at the classes: nearly all homes are lost, and the shops stay correct. A vote would not prefer a class. So
# the ablated network does not vote; it has a bias towards two of the three classes.
#
# An ablation shows what a *trained* network depends on. It does not show what a network trained without the block could
# have learned; for that, it must be trained without the block.
#
# </details>
#
# ### Scale the context
#
# The slider multiplies the context of one block. Try this, and explain each result:
#
# 1. Block AFNB: move **context x** from 1 down to 0. Which house changes first, and to which class? Three of the four
#    balloons here have a belt. Which class would a majority vote give to all houses, and is it what you see at 0?
# 2. Block AFNB: move it up to 2. Why do the houses hardly change?
# 3. Block APNB: move it from 1 to 0. The houses stay. What else in the prediction changes? Look at the edges.

# %%
widgets.context_scale(ann, scenes[8])

# %%
attention = attention_of(ann, scene.image)["afnb.attention"]
plots.house_attention(scene, {"AFNB of the trained ANN": ("afnb", attention)})

# %% [markdown]
# Retraining each network is the fairer test. `python -m benchmarks.compare_heads` has done it, with five seeds each
# (`data/results/balloon_town.md`):
#
# | network | seeds that reach nine tenths of the houses | house accuracy, mean of 5 seeds | worst seed |
# |---|---|---|---|
# | FCN (no context) | 0 of 5 | [0.326](result:balloon_town.md) | [0.320](result:balloon_town.md) |
# | non-local | 3 of 5 | [0.786](result:balloon_town.md) | [0.424](result:balloon_town.md) |
# | APNB alone | 3 of 5 | [0.877](result:balloon_town.md) | [0.583](result:balloon_town.md) |
# | ANN: AFNB, then APNB | 5 of 5 | [1.000](result:balloon_town.md) | [0.999](result:balloon_town.md) |
#
# How sure is this? A run either succeeds or stays far below, so compare *how many runs succeed*. ANN against FCN is 5 of
# 5 against 0 of 5. ANN against APNB alone is 5 of 5 against 3 of 5. If two networks were equally good, how often would
# chance alone give a difference at least this large? This probability is called the $p$-value (Fisher's exact test;
# lesson 8 explains it). It is [0.008](given:fisher) against FCN, so chance is an unlikely explanation there. It is
# [0.44](given:fisher) against APNB alone, so chance gives such a difference in almost half of the comparisons. **Five
# seeds do not decide whether the AFNB helps.** Lesson 8 shows how many would.
#
# <details>
# <summary>To read on: why might the AFNB help? A hypothesis that nobody has tested</summary>
#
# A *linear probe* is a linear classifier that is trained on the features of a network, to find out what they contain.
# Here it classifies the *paint* of a balloon (`data/results/plateau.md`). From the keys of the AFNB, which are computed
# from c4, it succeeds almost perfectly in all five runs of ANN. The keys of the other two networks are computed some
# layers later. In their failed runs, the probe succeeds in only about half of the cases. A reason could be that the
# label of a balloon depends on its pattern only, so the loss of balloon pixels does not keep their paint in later
# layers; and without the paint, houses cannot be matched.
#
# </details>

# %% [markdown] tags=["instructor"]
# Twenty minutes. Discussion: *is "35 of 60" a proof that the AFNB is needed?* No: this network has learned to depend on
# it. Retrained networks are better evidence, but five seeds of one toy data set do not decide either. Let students say
# which third experiment they want (ANN without its APNB, retrained; or twenty seeds).
#
# Answers, context slider: (1) a home becomes a shop at 0.25, and at 0 all three houses are shops, although a vote would
# make all of them homes. (2) The correct class already has the largest logit; more context keeps it so, and makes edges
# slightly worse. (3) Some pixels at edges.

# %% [markdown]
# ## Does it transfer? A photo, other data, other implementations
#
# **A photo.** In Balloon Town the class of a house depends on long-range context by construction. On photos it need
# not. The next cell ablates one block after the other in the network that was trained on streets, and applies it to
# the photo of lesson 0. Which share of its pixels changes the predicted class? Write down an estimate for both blocks.

# %%
street_net, photo = shipped_model("streets_ann"), sample_photo()
as_trained = predict_labels(street_net, photo)
assert as_trained.shape == photo.shape[:2]
for name in ("afnb", "apnb"):
    with changed_attention(street_net, lambda weights: 0 * weights, f"{name}.attention"):
        different = (predict_labels(street_net, photo) != as_trained).mean()
    print(f"{name} zeroed: {different:.0%} of the pixels of the photo get another class")
    lesson.claim(f"photo-{name}", 100 * different, within=3, unit="%")

# %% [markdown]
# <details>
# <summary>After you have run the cell: how to read the two numbers</summary>
#
# Without the attention of the AFNB [22%](claim:photo-afnb) of the pixels change, without that of the APNB
# [9%](claim:photo-apnb). Most pixels keep their class, because nearby pixels are enough for them. A changed class is not
# always a worse one, and this is one photo without labels. So the numbers say how much *this* network depends on its
# blocks, not whether the blocks make it better. For that you need labelled images, and networks trained with and without
# the block, each with several seeds.
#
# </details>
#
# **Other data.** The paper's abstract says that the AFNB "considerably improves the performance". Some users report the
# opposite on their own data. In issue 12 of the authors' repository, AFNB and APNB together were much worse than the
# APNB alone. An author pointed to the paper's Appendix C, on how the environment affects results, and asked for details.
# In issue 16 a reader got worse results with the AFNB and without the APNB. An author answered that the AFNB alone may
# work better with a batch norm after $W_O$, which did not help together with the APNB. Our own study on street photos
# (CamVid, `docs/streets.md`) agrees: with a small backbone and random first weights, ANN was behind FCN in every seed.
# The gap became smaller with longer training, but it did not close. So do not generalise from the town: measure on your
# data, with several seeds.
#
# **Other implementations.** annlib follows MMSegmentation, whose weights are released in several sizes. The mathematics
# of both blocks is the same in the authors' code.
#
# <details>
# <summary>To look up: details that differ</summary>
#
# | | authors | MMSegmentation, annlib |
# |---|---|---|
# | dropout | [0.05](cited:authors-code) at the end of both blocks | [0.1](cited:mmseg-code) after AFNB and before the classifier |
# | convolutions before batch norm | with bias | without |
# | auxiliary head | 512 channels | 256 |
# | `align_corners` | always | in the four 769 x 769 rows only |
# | main loss | hardest pixels only (OHEM), class weights | cross-entropy, mean over all pixels |
# | query and key of APNB | one projection | one projection |
#
# (`align_corners` says how a map is placed when it is resized. OHEM means that only the pixels with the largest losses
# count.)
#
# </details>
#
# **Is the result reproducible?** mIoU on the validation split of Cityscapes, single scale, all at output stride 8:
#
# | who trained it | recipe | mIoU (in percent) |
# |---|---|---|
# | authors | ResNet-101 | [79.9](cited:authors-readme) |
# | MMSegmentation | crop 512 x 1024, 80,000 iterations | [R-50 77.34, R-101 77.14](cited:mmseg-cityscapes) |
# | MMSegmentation | crop 769 x 769, 80,000 iterations | [R-50 78.88, R-101 78.80](cited:mmseg-cityscapes) |
# | PaddleSeg, first release | crop 512 x 1024, 160,000 iterations | [R-50 78.13, R-101 80.25](cited:paddleseg) |
# | PaddleSeg, later release | crop 512 x 1024, 80,000 iterations | [R-50 79.09, R-101 80.61](cited:paddleseg) |
#
# So others reach about the published value. But for one network, R-101 at the crop size 512 x 1024, the results spread
# over more than three points, with one run each. Differences between recipes are as large as the differences between
# methods that papers report.
#
# **What this does not show.** In our small backbone c4 and c5 are similar, so "low-level" is not very low. That the
# low-level map does not determine edges follows from the pooling and should hold elsewhere; the measured sizes will
# differ. And zeroing a block is a harsh intervention on one network with one seed.

# %% [markdown] tags=["instructor"]
# Ten minutes. For the photo: *is a pixel that changes its class a pixel that becomes wrong?* Prompt: *a colleague says "ANN has 79.9 mIoU". Which three questions do you ask?* (Which data split and
# scales, which recipe, how many runs.)

# %% [markdown]
# ## Your predictions
#
# Your predictions next to the results.
#
# 1. Tick the box. Which surprise can you not yet explain to somebody else? Go back to its cell.
# 2. Which prediction was correct, but for a wrong reason?
#
# (After a break, only the predictions of sitting 2 are listed.)

# %%
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:roles"]
# ### Quiz 5.1: The low-level map of an AFNB is replaced by one of another size. What changes its shape?
#
# - [ ] The output, which is as large as the low-level map.
#   The output has one vector for each query, and the queries come from the high-level map.
# - [ ] The weights, N x S.
#   N counts positions of the high-level map; S depends on the levels only.
# - [x] Key and value before pooling, and nothing after it.
#   Pooling makes S anchors from a map of any size.

# %% [markdown] tags=["quiz:concat"]
# ### Quiz 5.2: "An AFNB concatenates the low-level and the high-level map, with some extra work." True?
#
# - [ ] Yes: `torch.cat` is in its code.
#   It concatenates the *context* and the high-level map. The low-level map itself is not concatenated.
# - [x] No: the low-level map supplies keys and values only; their weighted sum is concatenated.
#   So a change of the low-level map at one position may change the whole output, and its edges are averaged away.
# - [ ] Yes, because at equal parameters they compute the same function.
#   Equal numbers of parameters make a comparison fair. They do not make the functions equal.

# %% [markdown] tags=["quiz:sharp"]
# ### Quiz 5.3: The edges of a prediction are blurred. Which change could help?
#
# - [ ] More channels for keys and values of the low-level map.
#   The anchors still average cells. More channels describe a cell better, not the positions inside it.
# - [ ] Doubling the context of the AFNB.
#   The context contains no edges; in our network it makes edges slightly worse.
# - [x] A high-level map with finer detail, or fusing the low-level map position by position.
#   Location must be in the map of the queries, or it must arrive without averaging.

# %% [markdown] tags=["quiz:network"]
# ### Quiz 5.4: ANN with a ResNet-50, an image of 512 x 1024: how many queries has the AFNB?
#
# - [x] 8192
#   64 x 128, an eighth of each side: output stride 8.
# - [ ] 2048
#   That would be output stride 16; it is also the number of channels of the high-level map.
# - [ ] 110
#   That is the number of keys.

# %% [markdown] tags=["quiz:relu"]
# ### Quiz 5.5: You load released weights into your AFNB, but yours ends with a ReLU. What happens?
#
# - [ ] Loading fails.
#   A ReLU has no weights, so every name and shape fits. That is why such a mistake can stay for years.
# - [x] It loads and runs, but its output differs: all negative numbers become 0.
#   Only a comparison with the numbers of the reference finds it.
# - [ ] Nothing: the next layer has a ReLU anyway.
#   That ReLU comes after another convolution, which would have used the negative numbers.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You calculated the shapes of the AFNB (queries from the high-level map, keys and values from the low-level map), built
# it, built a concatenation baseline with the same number of parameters, and showed by intervention that location comes
# from the high-level map while the low-level map adds content. You traced an image through the whole ANN, measured what
# its AFNB does in one network, and saw that five seeds do not decide whether it is needed.
#
# Read more: Z. Zhu and others, *Asymmetric Non-local Neural Networks for Semantic Segmentation*, ICCV 2019, and the
# issues of the repository MendelXu/ANN; O. Ronneberger and others, *U-Net*, MICCAI 2015, and T.-Y. Lin and others,
# *Feature Pyramid Networks for Object Detection*, CVPR 2017, for fusion position by position.
#
# Next: the network is complete. In [Training](06_training.ipynb) you make it learn.
