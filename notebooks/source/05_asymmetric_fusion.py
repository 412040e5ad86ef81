# %% [markdown] tags=["header"]
# # 5. Across levels
#
# *One map knows what, the other knows how it looks. Who should ask, and who should answer?*
#
# - **Before:** lesson 4
# - **Reading:** 50 min
# - **Runs in:** 30 s (quick), 30 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. state who asks, who answers, and the shapes that follow ([Exercise 5.1](exercise:shapes))
# 2. build the Asymmetric Fusion Non-local Block ([Exercise 5.2](exercise:afnb))
# 3. tell fusion by attention from concatenation, at equal parameters ([Exercise 5.3](exercise:concatenation))
# 4. measure which level places the edges ([Prediction 5.2](predict:edges))
# 5. trace a picture through the whole network ([Quiz 5.4](quiz:network))

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
from annlib.course.attention import attention_of
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
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.ann import ANN
from annlib.model.asymmetric import AFNB, PyramidPool
from annlib.model.build import shipped_model
from annlib.model.layers import conv_bn, conv_bn_relu

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()

# %% [markdown]
# ## Two maps of one picture
#
# A backbone works in stages, and each hands on a map. ANN takes the last two: the **low-level** map, c4, and the
# **high-level** map, c5. High is computed from low by one more stage, so it has seen further and is nearer to
# classes; low is nearer to paint and pattern. The names say how much was computed, not how large the maps are. Here
# is what our trained ANN makes of the scene that we follow. Which of the two do you expect to be larger, and how
# often? Say it before you run.

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
ann = shipped_model("balloon_ann").to(lesson.device)
low, high = low_and_high(ann, scene.image)
print("low ", tuple(low.shape), " high", tuple(high.shape))
assert low.shape == high.shape == (1, 64, 16, 24)

# %% [markdown]
# In lesson 4 a map asked itself. Now one map may ask the other. A house on the high-level map wants to know which
# pattern hangs above: should it ask the high-level map, or the low one? Or should the low-level map do the asking?
#
# The paper's answer is the **Asymmetric Fusion Non-local Block**, AFNB: **high asks, low answers**. With $X_h$ the
# high-level and $X_l$ the low-level map, $\bar{\ }$ for the sampling of lesson 4:
#
# $$\phi = W_\phi X_h, \quad \bar\theta = \overline{W_\theta X_l}, \quad \bar\gamma = \overline{W_\gamma X_l},
# \qquad W = \mathrm{softmax}\left(\frac{\phi^{\top} \bar\theta}{\sqrt{C}}\right), \quad O = W \bar\gamma^{\top}$$
#
# Query and key now need projections of their own, since they come from maps with different channels. $O$ goes
# through $W_O$ to as many channels as high has; then context and high lie beside each other and are fused.

# %% [markdown]
# ### Prediction 5.1: A larger low-level map
#
# Suppose the low-level map had twice as many rows and twice as many columns, and high stayed as it is. How many
# times as many weights would the AFNB compute?

# %% tags=["predict:size"]
guess_size = 1  # solution

# %% [markdown] tags=["exercise:shapes"]
# ### Exercise 5.1: Who decides which shape?
#
# *Difficulty 1/5, importance 5/5, about 5 min, objective 1*
#
# Write down the shapes, without the batch. Query, key and value as C x positions (or anchors), the weights as
# who asks x who answers, the output as a map. Key and value channels are equal here. *For the fast:* which of
# the five change if low and high exchange their roles?


# %% tags=["answer:shapes"]
def afnb_shapes(
    low: tuple[int, int, int], high: tuple[int, int, int], key_channels: int, num_anchors: int
) -> dict[str, tuple[int, ...]]:
    """low (Cl, h, w) and high (Ch, H, W) -> shapes of query, key, value, weights, output"""
    # solution
    positions = high[1] * high[2]  # N: those of the map that asks
    return {
        "query": (key_channels, positions),
        "key": (key_channels, num_anchors),
        "value": (key_channels, num_anchors),
        "weights": (positions, num_anchors),
        "output": high,
    }


# %% [markdown] tags=["hint:shapes:1"]
# Positions of which map become rows of the weights? What is left of the size of the other map after sampling?

# %% [markdown] tags=["hint:shapes:2"]
# $N = H W$ of the map that asks. The map that answers leaves $S$ anchors, whatever its size. The block must fit
# where high was: its output looks like high.

# %% [markdown] tags=["hint:shapes:3"]
# `positions = high[1] * high[2]`

# %% tags=["check:shapes"]
checks.afnb_shapes(afnb_shapes)

# %%
block = AFNB(8, 16, 4, 4, (1, 3, 6, 8)).eval()
counted = []
block.attention.softmax.register_forward_hook(lambda part, scores, w: counted.append(w[0].numel()))
for size in [(16, 24), (32, 48)]:
    out = block(torch.randn(1, 8, *size), torch.randn(1, 16, 16, 24))
    assert out.shape == (1, 16, 16, 24)
predictions.compare("5.1", guess_size, counted[1] / counted[0])

# %% [markdown] tags=["instructor"]
# Fifteen minutes to here. Usual mistakes: taking "low" for "smaller" (at output stride 8 both maps have one size);
# letting low ask, because "low has to learn from high"; an output as large as low. Let two students act a house and a
# balloon: who says "who has my colour?" is the query.

# %% [markdown]
# ## See them ask
#
# On the left the map that asks, as strength of its responses; on the right the cells of the other map that answer.
# The menu exchanges the roles: the same projections, fed with the other map. Click a pixel. Try this, and explain each answer:
#
# 1. With **high attends to low**, put the ring on each of the three houses. Where do the answers come from? Compare the
#    largest share with lesson 4, where a map asked itself.
# 2. Put it on a balloon, then on the sky. Does a balloon have a question, too?
# 3. **Swap** the roles. What changes in the shares of a house, and why does it still work half-way? (In this small
#    backbone c4 and c5 have equal channels and a shortcut between them. In a ResNet low has 1024 and high 2048: could
#    you swap there?)

# %%
widgets.two_maps(ann, scene)

# %% [markdown]
# ## Build it
#
# Now the block. The skeleton names the parts, but not their channels: who is projected by what is your decision, and
# half of the exercise.
#
# **Where the models differ.** In the released models the fusing convolution of the AFNB ends with batch norm and **no
# ReLU**, while the APNB has one there. `conv_bn` and `conv_bn_relu` make the two.

# %% [markdown] tags=["exercise:afnb"]
# ### Exercise 5.2: The fusion block
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 2*
#
# Make the parts in `__init__`, then write `forward`. `self.sample` is lesson 4's sampling, by annlib. Projections of query and key
# are `conv_bn_relu`, the others plain `nn.Conv2d`, all 1 x 1. Context first, then high, in the concatenation.
# *For the fast:* let several low-level maps answer together. Where do their anchors go?


# %% tags=["answer:afnb"]
class FusionBlock(nn.Module):
    """Positions of the high-level map ask, anchors of the low-level map answer."""

    def __init__(
        self, low_channels: int, high_channels: int, key_channels: int, pool_scales: tuple[int, ...]
    ):
        super().__init__()
        self.sample = PyramidPool(pool_scales)  # (B, C, h, w) -> (B, C, S)
        # Five parts: to_query (phi), to_key (theta), to_value (gamma), to_output (W_O), fuse
        # solution
        self.to_query = conv_bn_relu(high_channels, key_channels, 1)
        self.to_key = conv_bn_relu(low_channels, key_channels, 1)
        self.to_value = nn.Conv2d(low_channels, key_channels, 1)
        self.to_output = nn.Conv2d(key_channels, high_channels, 1)
        self.fuse = conv_bn(2 * high_channels, high_channels, 1)

    def forward(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """(B, Cl, h, w), (B, Ch, H, W) -> (B, Ch, H, W)"""
        # solution
        query = self.to_query(high).flatten(2)
        key, value = self.sample(self.to_key(low)), self.sample(self.to_value(low))
        shares = (query.mT @ key * key.shape[1] ** -0.5).softmax(dim=-1)
        fetched = self.to_output((shares @ value.mT).mT.unflatten(2, high.shape[2:]))
        return self.fuse(torch.cat([fetched, high], dim=1))


# %% [markdown] tags=["hint:afnb:1"]
# Say for each part which map goes in and which channels come out. Three of the five touch only one map; which two
# work with what was fetched?

# %% [markdown] tags=["hint:afnb:2"]
# `to_query` eats high; `to_key` and `to_value` eat low; `to_output` leads to the channels of high, so that context and
# high can be laid side by side: `fuse` eats twice the channels of high.

# %% [markdown] tags=["hint:afnb:3"]
# `self.to_query = conv_bn_relu(high_channels, key_channels, 1)`

# %% tags=["check:afnb"]
checks.fusion_block(FusionBlock)

# %% [markdown]
# The same in annlib. Both blocks of the paper share one attention; only who is handed in differs:

# %%
print(inspect.getsource(AFNB.forward))

# %% [markdown] tags=["instructor"]
# Twenty minutes for this section. Usual mistakes in 5.2: query from low, a ReLU after fusing, `to_output` with the
# channels of low, high before context. When late: give `__init__`, let them write `forward` only. Discussion: *why
# did the authors sample low and not high, if high is where the classes are?*

# %% [markdown]
# ## Which level places the edges?
#
# One often hears: low-level features sharpen edges, so fuse them in. Let us test that on our trained ANN. We make one of
# the two maps coarse before it enters the AFNB (every cell of a grid of 8 x 12 becomes its mean), leave the other as it
# is, and count the right pixels near edges: those at most three pixels from another class (the seam itself has no label).

# %% [markdown]
# ### Prediction 5.2: Edges
#
# Which map must keep its detail, or else the edges suffer more: "low" or "high"?

# %% tags=["predict:edges"]
guess_edges = "high"  # solution

# %%
scenes = [make_scene(FIRST_VAL_SEED + number) for number in range(20)]
blurred = {"neither": {}, "low": {"low": lambda x: coarse(x, (8, 12))}}
blurred["high"] = {"high": lambda x: coarse(x, (8, 12))}
scored = {}
for name, changes in blurred.items():
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
# Near edges [94.3%](claim:edges) of the pixels are right. With low made coarse it is [94.3%](claim:edges-low): no
# change. With high made coarse it falls to [80.4%](claim:edges-high). The build says why: low is heard through
# anchors only, each the mean of a cell, and the mean does not know where in its cell an edge was. **In an AFNB low
# brings what and which, high keeps where.** The high-level map is the one that asks *at every position*, so every
# border in the answer must already be in it.
#
# To carry edges from low one needs another kind of fusion: lay the maps upon each other, place by place.
#
# ## Concatenation, at equal cost
#
# The plainest fusion: project low, bring it to the size of high, lay it beside high, fuse with a 1 x 1 convolution. To be
# fair it should have as many parameters as the AFNB that it is compared with. The width $M$ of the projected low is
# free: choose it so that the count fits.

# %% [markdown] tags=["exercise:concatenation"]
# ### Exercise 5.3: The rival
#
# *Difficulty 3/5, importance 4/5, about 15 min, objective 3*
#
# Write the fusion by concatenation with a `budget` of parameters, as near as whole channels allow. Two layers do:
# `conv_bn_relu(low, M, 1)` and `conv_bn(M + high, high, 1)`. Count their parameters, batch norm included, and solve
# for $M$. *For the fast:* what is $M$ for ResNet's 1024 and 2048 channels and the AFNB's 9,968,896 parameters?


# %% tags=["answer:concatenation"]
class ConcatFusion(nn.Module):
    """Low and high laid upon each other, place by place. Nobody is asked."""

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
# What does one more channel in the middle cost? It has to be made from low, and it is one more input of `fuse`. And
# what does `fuse` cost if the middle has no channels at all?

# %% [markdown] tags=["hint:concatenation:2"]
# A 1 x 1 convolution from a to b channels, without bias, has a times b weights; its batch norm 2 b.
# `nn.functional.interpolate(maps, size, mode="bilinear")` brings a map to a size.

# %% [markdown] tags=["hint:concatenation:3"]
# `per_channel = low_channels + 2 + high_channels`, then subtract from the budget what does not depend on $M$.

# %% tags=["check:concatenation"]
checks.concat_fusion(ConcatFusion)

# %% [markdown]
# The check has changed low at *one* place. In your concatenation only that place of the output moves. And in an AFNB?


# %%
def places_that_move(block: nn.Module) -> float:
    """Share of the output's positions that move if low changes at one place."""
    low, high = torch.randn(1, 8, 16, 24), torch.randn(1, 16, 16, 24)
    other = low.clone()
    other[:, :, 3, 5] += 10
    with torch.no_grad():
        moved = (block(other, high) - block(low, high)).abs().amax(1)
    return float((moved > 1e-6).float().mean())


nn.init.normal_(block.attention.to_output.weight)  # at its start, zero, nothing would come through
moved = places_that_move(block)
rival = ConcatFusion(8, 16, budget=sum(value.numel() for value in block.parameters())).eval()
num_parameters = [sum(p.numel() for p in fusion.parameters()) for fusion in (block, rival)]
print(f"AFNB: {num_parameters[0]} parameters, {moved:.0%} of the places move")
if num_parameters[1]:
    near = checks.attempt(rival, torch.randn(1, 8, 16, 24), torch.randn(1, 16, 16, 24))
    print(f"concatenation: {num_parameters[1]} parameters, {places_that_move(rival):.1%} move")

# %% [markdown]
# That is the difference. Concatenation hands each position what low has **at its own place**, edges included, and
# nothing from elsewhere. An AFNB hands each position what it **asked for**, from anywhere, but averaged over cells.
# Neither replaces the other: ANN concatenates, too, but context and high, not low and high.

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for both sections. Usual mistakes in 5.3: forgetting the part of `fuse` that high needs (then
# M is far too large), bringing high to the size of low, a mean over low. Prompt after the edges: *which sentence in a
# paper you read lately would this little test contradict?* When late, skip 5.3 and show the last cell.
#
# A good place to stop for the day: what follows begins with the block inside the network.

# %% [markdown]
# ## What the AFNB does for the town
#
# Now the block inside the network. What if low were not heard at all? We multiply what the AFNB fetches by 0 in the
# trained network, and count houses.

# %% [markdown]
# ### Prediction 5.3: Silence
#
# As trained, all 60 houses of our 20 scenes are right. How many are right if the context of the AFNB is silenced? (The
# APNB behind it still asks its own map. 20 would be guessing.)

# %% tags=["predict:silence"]
guess_silence = 35  # solution

# %%
silenced = {}
for name in ("afnb", "apnb"):
    with changed_attention(ann, lambda weights: 0 * weights, f"{name}.attention"):
        silenced[name] = score(ann, scenes)
    edges, inside, houses = silenced[name]
    print(f"without the {name}'s context: at edges {edges:.1%}, houses {60 * houses:.0f} of 60")
predictions.compare("5.3", guess_silence, 60 * silenced["afnb"].houses, tolerance=0.1)
lesson.claim("silent-afnb", 60 * silenced["afnb"].houses, within=2)
lesson.claim("silent-apnb", 60 * silenced["apnb"].houses, within=1)

# %% [markdown]
# Without the AFNB's context [35](claim:silent-afnb) of 60 houses are right, about what a vote for the
# commonest balloon would give; without the
# APNB's all [60](claim:silent-apnb) stay right. In this network it is the AFNB that matches houses with balloons.
# (Silencing shows what a *trained* network leans on. It does not show what a network trained without the block could
# have learned; for that it must be trained without.)
#
# ### Turn the volume
#
# The slider multiplies what one block fetches. Try this, and explain each answer:
#
# 1. AFNB: go from 1 down to 0. Which houses change first, and what do they turn into? Is it a vote?
# 2. AFNB: go up to 2. Why does so little happen to the houses?
# 3. APNB: from 1 to 0. Houses stay; what else in the picture changes? Look at the edges.

# %%
widgets.context_scale(ann, scene)

# %%
attention = attention_of(ann, scene.image)["afnb.attention"]
plots.house_attention(scene, {"AFNB of the trained ANN": ("afnb", attention)})

# %% [markdown]
# Training each network anew is the fairer test. `python -m benchmarks.compare_heads` has done so with five seeds each
# (`data/results/balloon_town.md`):
#
# | network | house accuracy, mean of 5 seeds | worst seed |
# |---|---|---|
# | non-local | [0.786](result:balloon_town.md) | [0.424](result:balloon_town.md) |
# | APNB alone | [0.877](result:balloon_town.md) | [0.583](result:balloon_town.md) |
# | ANN: AFNB, then APNB | [1.000](result:balloon_town.md) | [0.999](result:balloon_town.md) |
#
# The gain lies less in how good a good run is than in how many runs are good: with the AFNB all five seeds solve the
# town, without it three of five get to nine tenths. A probe suggests why (`data/results/plateau.md`). In all five runs of
# ANN the *paint* of a balloon can be read from the AFNB's keys, which are made from c4. In those runs of the other two
# that failed, it can hardly be read from their keys, made some layers later: labels ask a balloon for its pattern only,
# so its paint may be thrown away, and then there is nothing left to match by.

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Discussion: *is "35 of 60" a proof that the AFNB is needed?* No: the network has learned to rely on
# it. The table of trained networks is the better evidence, and it has five seeds of one toy world. Let students say
# which third experiment they would want (ANN without its APNB, trained anew).

# %% [markdown]
# ## The whole network
#
# Now all parts are known. Here is ANN with a ResNet-50 as published, for a picture of 512 x 1024, built without memory
# (its tensors have shapes, but no content).

# %% [markdown]
# ### Prediction 5.4: Where are the parameters?
#
# Behind the backbone come the AFNB, a 3 x 3 convolution from 2048 to 512 channels (`reduce`), and the APNB. Which of
# the three has most parameters: "afnb", "reduce" or "apnb"?

# %% tags=["predict:parameters"]
guess_parameters = "afnb"  # solution

# %%
stages = walk(ModelConfig(depth=50, num_classes=19), image_size=(512, 1024))
shape_of = {stage.name: stage.shapes[-1] for stage in stages}
assert stages[0].shapes == ((1024, 64, 128), (2048, 64, 128))  # low, high: the same size
assert shape_of["afnb"] == (2048, 64, 128) and shape_of["classifier"] == (19, 64, 128)
print(say_stages(stages))
rivals = [stage for stage in stages if stage.name in ("afnb", "reduce", "apnb")]
largest = max(rivals, key=lambda stage: stage.parameters).name
predictions.compare("5.4", guess_parameters, largest, options=("afnb", "reduce", "apnb"))

# %%
print(inspect.getsource(ANN.forward))

# %% [markdown]
# Read the table with the code beside it:
#
# - **Output stride 8.** Both maps have an eighth of the picture's rows and columns: the last two stages widen their
#   kernels (dilation) instead of shrinking the map. So $N = 64 \cdot 128 = 8192$, and low is *not* larger than high. The
#   scores are enlarged to the picture at the very end.
# - **Two dropouts**, one after the AFNB and one before the classifier, drop whole channels while training. It is one
#   module used twice, as in the reference.
# - **The auxiliary head** classifies c4 on its own, while training only: a short way for the gradient to the middle of
#   the backbone. Its loss counts [0.4](cited:mmseg-code) of the main one. It is thrown away at inference.
# - **The AFNB is the largest part behind the backbone**, for its 1 x 1 convolutions work on 2048 channels: five
#   sixths of it are `fuse`. Sampling made attention cheap, not convolutions.
#
# ### Which ANN?
#
# There are two: the authors' code and MMSegmentation, whose weights are released in several sizes. The mathematics of
# both blocks agree; details do not. annlib follows the second.
#
# | | authors | MMSegmentation, annlib |
# |---|---|---|
# | dropout | [0.05](cited:authors-code) at the end of both blocks | [0.1](cited:mmseg-code) after AFNB and before the classifier |
# | convolutions before batch norm | with bias | without |
# | auxiliary head | 512 channels | 256 |
# | `align_corners` | always | in the four 769 x 769 rows only |
# | main loss | hardest pixels only (OHEM), class weights | cross-entropy, mean over all pixels |
# | query and key of APNB | one projection | one projection (the paper draws two) |
#
# **What this does not show.** The town needs a far hint by design; on streets the AFNB's share of the gain is another
# question, and we have not trained it there. In our backbone c4 and c5 are close relatives, so "low" is not very low.
# That low does not place edges follows from the anchors and should hold elsewhere; the measured sizes will not. And
# silencing a block is a harsh test of one network with one seed.

# %% [markdown] tags=["instructor"]
# Ten minutes. If only one thing is kept: the two shapes of the backbone's output are equal, and "low-level" is not
# "high resolution" here. Advanced groups compute the parameters of `fuse` by hand (2 x 2048 x 2048 and a norm).

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

# %% [markdown] tags=["quiz:roles"]
# ### Quiz 5.1: In an AFNB, low is replaced by a map of another size. What changes its shape?
#
# - [ ] The output, which is as large as low.
#   The output belongs to the one who asked, and high asks.
# - [ ] The weights, N x S.
#   N counts positions of high; S depends on the levels only.
# - [x] Key and value before sampling, and nothing after.
#   Sampling makes S anchors of any size.

# %% [markdown] tags=["quiz:concat"]
# ### Quiz 5.2: An AFNB is a concatenation of low and high with some extra work. True?
#
# - [ ] Yes: `torch.cat` stands in its code.
#   It concatenates *context* and high. Low itself is never laid beside high.
# - [x] No: low only answers questions; what is concatenated is what was fetched.
#   So a change of low at one place may move the whole output, and no edge of low arrives as an edge.
# - [ ] Yes, since at equal parameters they compute the same.
#   Equal counts make a comparison fair, not the functions equal.

# %% [markdown] tags=["quiz:sharp"]
# ### Quiz 5.3: Edges in the answer are blurred. Which change has a chance to help?
#
# - [ ] More channels for keys and values of low.
#   The anchors still average cells; more channels say more about a cell, not about places inside it.
# - [ ] Letting the AFNB's context count twice.
#   It carries no borders; in our network edges became slightly worse.
# - [x] A high-level map with finer detail, or low laid upon high place by place.
#   Where things are must be in the map that asks, or arrive without averaging.

# %% [markdown] tags=["quiz:network"]
# ### Quiz 5.4: ANN with a ResNet-50 and a picture of 512 x 1024: how many positions ask in the AFNB?
#
# - [x] 8192
#   64 x 128, an eighth of each side: output stride 8.
# - [ ] 2048
#   That is a stride of 16, or the number of high's channels.
# - [ ] 110
#   That many answer.

# %% [markdown] tags=["quiz:relu"]
# ### Quiz 5.5: You load released weights into your AFNB, but yours ends with a ReLU. What happens?
#
# - [ ] Loading fails.
#   A ReLU has no weights; every name and shape fits. That is why such a slip can live for years.
# - [x] It loads, runs, and gives other numbers: all negative ones are cut off.
#   Only a comparison with the reference's numbers finds it.
# - [ ] Nothing: the next layer has a ReLU anyway.
#   That one comes after another convolution, which would have used the negative numbers.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You stated who asks (high) and who answers (low), built the AFNB, built its rival by concatenation at equal cost, and
# measured that high places the edges while low brings what is asked for. You walked through the whole ANN and saw
# what its AFNB does for the town, in one network and over five seeds.
#
# Read more: Z. Zhu and others, *Asymmetric Non-local Neural Networks for Semantic Segmentation*, ICCV
# 2019; O. Ronneberger and others, *U-Net*, MICCAI 2015, and T.-Y. Lin and others, *Feature Pyramid Networks for Object
# Detection*, CVPR 2017, for fusion place by place.
#
# Next: the network is complete. In [Train it](06_training.ipynb) you make it learn.
