# %% [markdown] tags=["header"]
# # 7. Attention maps: what they show and what they do not
#
# *An attention map suggests an explanation. How would you notice that the explanation is false?*
#
# - **Before:** lessons 2, 4 and 5: attention weights, anchors, AFNB and APNB
# - **Time:** 105 min: reading 40, exercises 60, running 5
# - **Runs in:** 40 s (quick), 40 s (learn), 110 s (full), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. compute how the attention of a position is distributed over classes ([Exercise 7.1](exercise:mass))
# 2. ablate the strongest attention weights and compare with a control ([Exercise 7.2](exercise:switch))
# 3. find a large attention weight that is not needed ([Exercise 7.3](exercise:bright))
# 4. write a claim about an attention map that a test can refute ([Exercise 7.4](exercise:claim))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from IPython.display import display

from annlib.course import checks, plots, widgets
from annlib.course.attention import (
    attention_of,
    capture_attention,
    class_masses,
    entropy,
    match,
    model_input,
    query_on,
    sample_photo,
)
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson, progress
from annlib.data.balloon_town.dataset import make_scene, repaint
from annlib.data.balloon_town.layout import CLASS_NAMES
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.build import shipped_model

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()
ann = shipped_model("balloon_ann").to(lesson.device)

# %% [markdown]
# ## Two maps, two explanations
#
# ANN, the whole network of the paper, has two attention blocks: first the AFNB, then the APNB. Here are the attention
# maps of both, for the three houses of our scene. Each arrow leads from a house to the anchor with its largest weight;
# further cells are framed if their weight is at least a quarter of the largest.

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
AFNB, APNB = "afnb.attention", "apnb.attention"
attention = attention_of(ann, scene.image)
N, S = attention[AFNB].weights.shape
assert (N, S) == (16 * 24, 110)
plots.house_attention(
    scene, {"AFNB of ANN": ("afnb", attention[AFNB]), "APNB of ANN": ("apnb", attention[APNB])}
)

# %% [markdown]
# Two explanations suggest themselves:
#
# - **Explanation A.** *In the AFNB, each house attends to the balloon of its paint, and the network needs that.*
# - **Explanation B.** *In the APNB, each house attends to more of the scene, and the network needs that, too.*
#
# Both agree with the maps, but one of them is false. In this lesson you will test both, and you will see that the
# attention maps alone could not have decided between them. (In lesson 5 you zeroed the attention of each block, so you
# may already suspect which one it is.) Before you go on: which explanation do you believe, and what would you measure
# to convince somebody who believes the other one?

# %% [markdown] tags=["instructor"]
# Five minutes. Take a vote by hands for A, B, both, neither; write the numbers down and come back to them after the
# ablations. Do not correct anybody. Usual mistake here: to take a thick arrow for a strong effect. The arrow only shows
# where the largest weight is.

# %% [markdown]
# ## From a map to numbers
#
# Attention maps are easy to over-interpret, because every map shows something. So we start with a number: which part of
# the attention of one query goes to each class? Let $p_{yx}$ be the attention map of one query on $h \times w$ positions,
# with $\sum_{yx} p_{yx} = 1$. (The weight of an anchor is divided equally among the positions of its cell.) Let
# $a_{cyx}$ be the share of class $c$ among the pixels of position $(y, x)$. Then the **class mass** of class $c$ is
#
# $$m_c = \sum_{y=1}^{h} \sum_{x=1}^{w} p_{yx} \, a_{cyx}, \qquad \sum_c m_c = 1$$
#
# In our network a position covers 8 x 8 pixels. Many positions are mixed, for example half sky and half balloon. They
# count for both classes, in proportion.
#
# **A tiny example.** A map of 1 x 2 positions, each of 2 x 2 pixels:
#
# ```text
# weights p    0.7          0.3
# labels       sky sky      road road        shares a: 3/4 sky, 1/4 balloon | all road
#              sky balloon  road road
# class mass   sky 0.7 * 3/4 = 0.525, balloon 0.7 * 1/4 = 0.175, road 0.3 * 1 = 0.3; the sum is 1
# ```

# %% [markdown] tags=["exercise:mass"]
# ### Exercise 7.1: Class mass
#
# *Difficulty 3/5, importance 4/5, about 10 min, objective 1*
#
# Compute $m_c$ for all classes. Height and width of the image are multiples of those of the map. The result has one
# number for each class, 0 for classes that do not occur, and the numbers sum to 1. For the tiny example, with the
# classes sky, balloon and road, it is `[0.525, 0.175, 0.3]`.
#
# *Extension (optional):* write it for many queries together, maps of shape (N, h, w), without a loop.


# %% tags=["answer:mass"]
def class_mass(heat: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """heat p (h, w), labels int64 (H, W) of 0 .. num_classes - 1 -> masses m (num_classes,)"""
    # solution
    is_class = torch.nn.functional.one_hot(labels, num_classes).permute(2, 0, 1).float()
    area = torch.nn.functional.adaptive_avg_pool2d(is_class, heat.shape)  # a, (K, h, w)
    return (heat * area).sum(dim=(1, 2))


# %% [markdown] tags=["hint:mass:1"]
# For each class there is a mask of zeros and ones: does this pixel have class c? The share of the class in a position is
# the mean of this mask over the pixels of the position. Means over cells are what the anchors are, too.

# %% [markdown] tags=["hint:mass:2"]
# `one_hot(labels, num_classes)` is (H, W, K); `permute(2, 0, 1)` moves the classes to the front;
# `adaptive_avg_pool2d(..., heat.shape)` averages over cells, so the result is (K, h, w). Multiply it by the map, and sum
# over height and width.

# %% [markdown] tags=["hint:mass:3"]
# `is_class = torch.nn.functional.one_hot(labels, num_classes).permute(2, 0, 1).float()`

# %% tags=["check:mass"]
checks.class_mass(class_mass)

# %% [markdown]
# <details>
# <summary>Answer to the extension of Exercise 7.1</summary>
#
# Flatten height and width of the maps, (N, h w), and of the shares, (K, h w). The matrix product of the first with the
# transposed second is (N, K): one row of class masses for each query.
#
# </details>
#
# The next cell applies your function to the attention of the first house (and checks it with annlib's), with borders as
# an eleventh class. It also prints the entropy of the weights in bits (lesson 2):

# %%
house = scene.houses[0]
query = query_on(scene, house)
labels = torch.from_numpy(np.where(scene.labels == 255, 10, scene.labels)).long()
for block in (AFNB, APNB):
    heat = attention[block].map_at(*query)
    masses = checks.attempt(partial(class_mass, num_classes=11), heat, labels)
    assert abs(float(masses.sum()) - 1) < 1e-4
    names = [*CLASS_NAMES, "border"]
    assert abs(float(masses[0]) - class_masses(heat, scene.labels)["sky"]) < 1e-4
    first = sorted(zip(masses.tolist(), names, strict=True), reverse=True)[:3]
    said = ", ".join(f"{name} {mass:.0%}" for mass, name in first)
    bits = float(entropy(attention[block].row(*query)))
    print(f"{block[:4].upper()}: {said}; {bits:.1f} bits, as if evenly to {2**bits:.0f} of {S}")

# %% [markdown]
# Look at the AFNB again. The house gives most of its weight to *one* anchor, and yet about a fifth of the mass is on the
# sky. The house did not select the sky. The anchor is the mean of a cell, and part of that cell is sky. **An attention
# map cannot be finer than its keys**, however sharply it is drawn on the image.
#
# And what should a mass be compared with? Not with zero. A block that attends to everything equally gives each class
# its area:

# %%
even = torch.full((16, 24), 1 / N)
area = class_masses(even, scene.labels)
print("Uniform attention:", ", ".join(f"{name} {mass:.0%}" for name, mass in area.items()))
assert abs(sum(area.values()) - 1) < 1e-4

# %% [markdown] tags=["instructor"]
# Ten minutes. Usual mistakes in 7.1: the class in the middle of the cell (works for large objects, fails for balloons),
# upsampling the map without dividing by the 64 pixels of a cell, means instead of sums. When late, give 7.1 as
# homework; nothing below depends on the learner's function.

# %% [markdown]
# ## Controls: what would the map show if the explanation were false?
#
# A control is a condition in which the explanation is false *by construction*. If the control gives the same map, then
# the map is not evidence for the explanation.
#
# | control condition | what it destroys | if the map stays the same, it shows only |
# |---|---|---|
# | random weights | everything learned | the image and the architecture |
# | shuffled keys | which anchor has which key | that *some* weight is large |
# | constant image | all content | the borders of the image, or a preference for a location |
# | counterfactual image | one thing, nothing else | something other than that thing |
#
# We start with random weights. The trained network matches paint with paint. Does an untrained network do something
# else?

# %% [markdown]
# ### Prediction 7.1: Never trained
#
# A scene has three or four balloons. For which share of the houses does the balloon *of its own paint* get more
# attention than each other balloon, in the AFNB of an **untrained** network? (A number between 0 and 1. In the trained
# network it is so for [100.00](result:attention.md) of 100 houses.)

# %% tags=["predict:untrained"]
guess_untrained = 0.29  # solution

# %%
from annlib.course.interventions import untrained

num_scenes = lesson.pick(quick=40, learn=40, full=200)
FORTY = ("quick", "learn")  # the text gives results over 40 scenes
scenes = [make_scene(FIRST_VAL_SEED + index) for index in range(num_scenes)]


def matched(model: torch.nn.Module, block: str) -> float:
    """The share of houses whose own balloon gets more attention than any other."""
    found = [
        match(one, a_scene, a_house).is_matched
        for a_scene in scenes
        for one in [attention_of(model, a_scene.image)[block]]
        for a_house in a_scene.houses
    ]
    return sum(found) / len(found)


shares = [matched(untrained(ann, seed + other), AFNB) for other in range(3)]
mean_share = sum(shares) / len(shares)
predictions.compare("7.1", guess_untrained, mean_share, tolerance=0.35, between=(0, 1))
print("Three untrained networks:", ", ".join(f"{share:.2f}" for share in shares))
print(f"Trained: {matched(ann, AFNB):.2f}; its APNB: {matched(ann, APNB):.2f}")
lesson.claim("untrained-matched", 100 * mean_share, within=6, unit="%", modes=FORTY)

# %% [markdown]
# <details>
# <summary>After you have run the cell: what came out, and what it means</summary>
#
# About [29 %](claim:untrained-matched), which is chance with three or four balloons. So the explanation survives this
# control: the match in the AFNB is learned, and is not a property of the architecture. (This is not always so. J. Adebayo
# and others found saliency methods whose maps hardly changed when the weights were replaced by random ones.)
#
# </details>

# %% [markdown]
# ## Explore the controls
#
# Now try all controls yourself. The menus choose **image**, **network** and **block**. Click a pixel to make it the
# query, drag it, or move it with the arrow keys. The sentence below the panels states the entropy and which classes get
# the mass. **beside it** shows a second network next to the first. You can also choose a photo of your own.
#
# Try this, and write one sentence for each: what changes, and why?
#
# 1. Keep the query on the house, network "trained", block AFNB, and set **beside it** to each of the other networks.
#    With "shuffled keys" the largest weight and the entropy are the same as with "trained". What is lost? Could you have
#    seen it without knowing the rule of the town?
# 2. Set **image** to "constant grey". How many bits? What is left of the map comes from the borders, where convolutions
#    read zeros.
# 3. Set **image** to "one balloon repainted". The class of the first house is now different. Does its attention in the
#    AFNB change, too?
# 4. Choose "scene", "trained", block APNB, and try a house, the sky and the road as the query. Describe what you see in
#    the terms of explanation B. Keep your sentence; you will need it.

# %%
from annlib.course.interventions import shuffled_projections

shown_images = {
    "scene": scene,
    "one balloon repainted": repaint(scene, house.decided_by, (house.pattern + 1) % 3),
    "another scene": scenes[3],
    "constant grey": replace(scene, image=np.full_like(scene.image, 128)),
}
networks = {
    "trained": ann,
    "random weights": untrained(ann, seed),
    "shuffled keys": partial(shuffled_projections, ann, seed=seed),
    "lesson 2's, every position": shipped_model("balloon_nonlocal"),
}
widgets.attention_explorer(networks, shown_images)

# %% [markdown]
# Task 1 has a simple reason. A score compares one query with one key. So shuffling the keys shuffles whole columns of
# the weights: every row keeps its numbers, but at other places. The largest weight, the entropy and the visual contrast
# stay the same. Only the *location* supports the explanation.

# %% [markdown] tags=["instructor"]
# Fifteen minutes for controls and explorer, in pairs: one moves, one writes. Discussion prompt for task 1: *what in the
# image showed you that the shuffled map is incorrect? Would you see it in a street scene?* People who know the rule see
# it immediately; nobody has such a rule for photos. When late: tasks 1 and 3 only.

# %% [markdown]
# ## Ablation: remove the strongest weights
#
# An attention map is an observation. An ablation is an experiment: we remove something and measure the effect. If the
# predicted class of a house *depends* on the anchor with the largest weight, then the accuracy must fall without this
# anchor, and it must fall more than without some other anchor.

# %% [markdown] tags=["exercise:switch"]
# ### Exercise 7.2: Without the strongest weights
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 2*
#
# In each row, set the $k$ largest weights to zero and renormalise: the other weights keep their ratios, and the row sums
# to 1 again. Do not change the input tensor. *Example with $k = 1$:* the row `[0.5, 0.3, 0.2]` becomes first
# `[0, 0.3, 0.2]`, whose sum is `0.5`, and then `[0, 0.6, 0.4]`.
#
# *Extension (optional):* the control below removes the same *number* of weights at random. Design one that removes
# random weights until the same *mass* is gone. Which control is fairer?


# %% tags=["answer:switch"]
def switch_off(weights: torch.Tensor, k: int) -> torch.Tensor:
    """weights (B, N, S), rows sum to 1 -> (B, N, S) without the k strongest of each row"""
    # solution
    strongest = weights.topk(k, dim=-1).indices
    kept = weights.scatter(-1, strongest, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


# %% [markdown] tags=["hint:switch:1"]
# Three steps: find the indices of the largest weights of each row, put zeros there, divide each row by its sum.

# %% [markdown] tags=["hint:switch:2"]
# `weights.topk(k, dim=-1).indices` is (B, N, k). `weights.scatter(-1, indices, 0.0)` returns a copy with zeros there.
# `sum(dim=-1, keepdim=True)` keeps the axis for the division.

# %% [markdown] tags=["hint:switch:3"]
# `strongest = weights.topk(k, dim=-1).indices`

# %% tags=["check:switch"]
checks.switch_off(switch_off)

# %% [markdown]
# <details>
# <summary>Answer to the extension of Exercise 7.2</summary>
#
# Draw a random order of the keys for each row, and remove keys in this order until the removed sum reaches that of the
# $k$ strongest. Which one is fairer depends on the claim. "The strongest are needed more than any $k$ anchors" calls for
# the same number. "It matters *where* the mass is, not how much is removed" calls for the same mass. The second control
# is stricter, because it removes nearly everything when the strongest hold nearly all mass.
#
# </details>
#
# How does your function get into a trained network? Its softmax is a module of its own, so a forward hook can replace
# the weights. `changed_attention` sets the hook, and removes it again whatever happens in between, because a network
# that stayed changed would falsify all later results.

# %%
from annlib.course.interventions import changed_attention, score_scenes, with_shuffled_keys
from annlib.data.balloon_town.layout import HOUSES


def one_less(weights: torch.Tensor) -> torch.Tensor:
    """Your function, with k = 1; says so if there is none yet."""
    return checks.attempt(partial(switch_off, k=1), weights)


images = model_input(scene.image).to(lesson.device)
with changed_attention(ann, one_less, AFNB), capture_attention(ann) as maps, torch.inference_mode():
    ann(images)
assert maps[AFNB].shape == (1, N, S)
assert bool((maps[AFNB] == 0).any(-1).all())  # each row has lost a weight
untouched = attention_of(ann, scene.image)[AFNB].weights
assert torch.equal(untouched, attention[AFNB].weights)  # and afterwards all is as before

# %% [markdown]
# ### Prediction 7.2: One anchor less
#
# In the AFNB, a position in the middle of a house gives nearly all of its attention to one anchor. We remove the
# strongest anchor of *every* position. The house accuracy was 1. What is it then? (A number between 0 and 1: 1/3 is
# guessing, about [0.61](given:voting) is the majority vote of lesson 2.)

# %% tags=["predict:one"]
guess_one = 0.96  # solution

# %%
from annlib.course.interventions import measure_damage, without_strongest

KS = (1, 2, 4, 8, 32, 100)
damages = {}
for block in (AFNB, APNB):
    measured = measure_damage(ann, block, KS, scenes)
    damages |= dict(progress(measured, 2 * len(KS), f"scores of the {block[:4].upper()}"))
whole = score_scenes(ann, scenes)
first = {way: damages[AFNB, way, 1].houses for way in ("the strongest", "as many at random")}
predictions.compare("7.2", guess_one, first["the strongest"], tolerance=0.1, between=(0, 1))
print(f"All anchors: {whole.accuracy_among(HOUSES):.3f}")
print(f"One less at random: {first['as many at random']:.3f}")
lesson.claim("without-one", first["the strongest"], within=0.02, modes=FORTY)
four = {way: damages[AFNB, way, 4].houses for way in first}
lesson.claim("without-four", four["the strongest"], within=0.05, modes=FORTY)
lesson.claim("random-four", four["as many at random"], within=0.02, modes=FORTY)

# %% [markdown]
# <details>
# <summary>After you have run the cell: what came out, and why</summary>
#
# It falls only to [0.96](claim:without-one). The strongest anchor is nearly always dispensable, because the second
# strongest usually contains part of the same balloon: it is a neighbour in the 8 x 8 grid, or an overlapping cell of the
# 6 x 6 grid. So removing *one* large weight shows little. Without the four strongest the accuracy is
# [0.60](claim:without-four); without four random ones it is [1.00](claim:random-four).
#
# </details>
#
# Now the same for the APNB, up to 100 of its 110 anchors, and once with shuffled keys. Which curve does explanation B
# predict?

# %%
left = damages[APNB, "the strongest", 100]
with changed_attention(ann, partial(with_shuffled_keys, seed=seed), APNB):
    shuffled = score_scenes(ann, scenes).accuracy_among(HOUSES)
print(f"APNB without its 100 strongest: {left.houses:.3f}; with shuffled keys: {shuffled:.3f}")
lesson.claim("apnb-shuffled", shuffled, within=0.01, modes=FORTY)
lesson.claim("apnb-without-hundred", left.houses, within=0.01, modes=FORTY)
plots.damage_curves(damages, {AFNB: "AFNB of ANN", APNB: "APNB of ANN"})

# %% [markdown]
# Explanation A survives: the strongest anchors of the AFNB are needed, while up to 32 random ones are not. Explanation B
# is **false**, although it fitted the map as well as A did. Without its 100 strongest anchors of the APNB, the house accuracy is
# [1.00](claim:apnb-without-hundred); with shuffled keys it is [1.00](claim:apnb-shuffled). The map shows correctly where
# the weights of the APNB are, but the houses of this network do not depend on them.
#
# This is the negative result of this lesson, and we report it. We had hoped to show two blocks that match.
#
# Three cautions about the left panel, too:
#
# - The curve does not end at 1/3 but near the accuracy of a majority vote. An ablated block does not mean an uninformed
#   network.
# - It is not monotonic: with more weights removed, the accuracy rises again in places. The network never met such rows
#   in training, so its reaction to them can be strange.
# - The control is weak: four random weights hold far less mass than the four strongest.

# %% [markdown]
# ## Ablate both blocks: redundancy
#
# One block is needed, the other is not. Does it follow that the second block does nothing?

# %% [markdown]
# ### Prediction 7.3: Both blocks together
#
# Without the 100 strongest anchors of the AFNB, the house accuracy is near that of a majority vote (the end of the solid
# curve on the left). Now we change the APNB as well: it attends to all anchors equally. On its own, this change does no harm.
# What does the house accuracy do, compared with the ablated AFNB alone: "falls", "stays" (at most
# [0.05](given:threshold) apart) or "rises"?

# %% tags=["predict:both"]
guess_both = "falls"  # solution


# %%
def attend_evenly(weights: torch.Tensor) -> torch.Tensor:
    """(B, N, S) -> (B, N, S): every anchor gets the same weight."""
    return torch.full_like(weights, 1 / weights.shape[-1])


with changed_attention(ann, attend_evenly, APNB):
    even_apnb = score_scenes(ann, scenes).accuracy_among(HOUSES)
    with changed_attention(ann, partial(without_strongest, k=100), AFNB):
        both = score_scenes(ann, scenes).accuracy_among(HOUSES)
no_afnb = damages[AFNB, "the strongest", 100].houses
change = both - no_afnb
outcome = "stays" if abs(change) <= 0.05 else "rises" if change > 0 else "falls"
predictions.compare("7.3", guess_both, outcome, options=("falls", "stays", "rises"))
print(f"Uniform APNB: {even_apnb:.3f}; ablated AFNB: {no_afnb:.3f}; both: {both:.3f}")
lesson.claim("afnb-off", no_afnb, within=0.03, modes=FORTY)
lesson.claim("both-off", both, within=0.03, modes=FORTY)
assert lesson.mode == "full" or even_apnb > 0.99 > no_afnb > both

# %% [markdown]
# <details>
# <summary>After you have run the cell: what came out, and why</summary>
#
# With the ablated AFNB the accuracy is [0.62](claim:afnb-off); with the uniform APNB as well it is
# [0.42](claim:both-off). So the APNB is **redundant**: it supplies part of what the ablated network still knows, but you
# see that only when the AFNB fails. "Not needed" is true of this network as it is, not of the block by itself. If you ablate one part at a
# time, you never see which parts can replace each other.
#
# </details>
#
# Does the network with the ablated AFNB vote? Its accuracy suggests it. A vote predicts the most frequent pattern of the
# scene for every house, so let us count, in scenes where one pattern is most frequent:

# %%
from collections import Counter

from annlib.course.attention import house_answers


def voted(one) -> int | None:
    """The class of the most frequent pattern among the balloons; None for a tie."""
    (pattern, most), *others = Counter(balloon.pattern for balloon in one.balloons).most_common()
    return None if others and others[0][1] == most else HOUSES[pattern]


decided = [one for one in scenes if voted(one) is not None]
with changed_attention(ann, partial(without_strongest, k=100), AFNB):
    by_vote = [c == voted(one) for one in decided for c in house_answers(ann, one)]
by_label = [house.label == voted(one) for one in decided for house in one.houses]
print(f"{sum(by_vote)} of {len(by_vote)} predictions are the class of a vote.")
lesson.claim("voted", 100 * sum(by_vote) / len(by_vote), within=6, unit="%", modes=FORTY)
lesson.claim("voted-labels", 100 * sum(by_label) / len(by_label), within=2, unit="%", modes=FORTY)

# %% [markdown]
# Only [69 %](claim:voted) of its predictions are the class that a vote would give. Of the correct labels, it is
# [70 %](claim:voted-labels). So the ablated network does not vote, although its accuracy is that of a vote. A number that
# fits an explanation does not yet show that the explained mechanism is at work. What the network does instead, we have
# not found out.
#
# ### Ablate by hand
#
# Left: the attention that is left to the query. Right: the prediction of the network after the ablation. Try this:
#
# 1. **block** AFNB, **k** = 1, 2, 4, each of the three houses as **query**. Where does the attention go, and which
#    predictions change first? Why that one?
# 2. Go on to **k** = 100. What does the query still attend to? Can this explain why more than one in three houses stay
#    correct, or does something else?
# 3. **block** APNB, any **k**. Read your sentence of task 4 of the explorer again. What is incorrect in it?

# %%
widgets.ablation(ann, scene, {"AFNB": AFNB, "APNB": APNB}, damages)

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for both ablation sections. Usual mistakes in 7.2: rows not renormalised (then the whole output shrinks, another intervention),
# topk along N, a second softmax. Collect predictions 7.2 and 7.3 on the board before the cells run: most
# say 1/3 or 0.6 for 7.2. Then go back to the vote of the first section. Discussion: *both blocks were trained with the same loss. Why is
# one not needed?* A hypothesis that nobody here has tested: the AFNB solves the task early, and then no gradient asks
# for more. Task 2 of the widget: hardly any attention is left on balloons; the APNB supplies a part. When
# late: skip the widget, not the curves.

# %% [markdown]
# ## Large weight, no need
#
# Now the other direction: is there a position with a large weight *in the AFNB* that does not need it?

# %% [markdown] tags=["exercise:bright"]
# ### Exercise 7.3: A large weight that is not needed
#
# *Difficulty 2/5, importance 4/5, about 5 min, objective 3*
#
# Find a pixel outside the houses that meets two conditions: (a) it gives at least half of its AFNB attention to one
# anchor; (b) its predicted class stays the same without its 1, 2, 4, 8 and 16 strongest weights. Write its row and
# column.
#
# *Example of the procedure.* Take the pixel `(100, 20)`. Click it in the explorer above (block AFNB). The sentence below
# the panels states its row, its column and the largest weight: that is condition (a). The check tests condition (b). If
# it says that (a) or (b) fails, try a pixel of another object. (Houses are excluded, because without its balloon a house
# may still be correct by chance.)
#
# *Extension (optional):* count for each class how many pixels are of this kind.

# %% tags=["answer:bright"]
bright_pixel = (12, 34)  # solution

# %% [markdown] tags=["hint:bright:1"]
# Which classes can be recognised from nearby pixels? Such a pixel needs no context. But its weights sum to 1, so it must
# attend somewhere.

# %% [markdown] tags=["hint:bright:2"]
# Most pixels of sky, road and green attend evenly. One more kind of object in the image can be classified without
# context. Try such objects in the explorer.

# %% [markdown] tags=["hint:bright:3"]
# The balloons are in rows 2 to 30. Not every balloon will do, so try one after the other. Start with
# `bright_pixel = (12, ...)`.

# %% tags=["check:bright"]
checks.bright_without_need(bright_pixel, ann, scene)

# %% [markdown]
# <details>
# <summary>After you have run the cell: why, and the answer to the extension of Exercise 7.3</summary>
#
# A balloon attends strongly to itself, because its paint matches its own paint. It gets no information that it did not
# have. No loss asked for this: **the weights of a softmax sum to 1, so every position must attend somewhere**. (One
# balloon of this scene attends to itself far less. Which one, and how does it differ from the others? You will find an
# explanation; how would you test it?)
#
# *Extension.* In our run, 1133 of the 2207 balloon pixels are of this kind: nearly all balloon pixels with a large
# weight, and none of the third balloon class. There are also a few hundred pixels of road, green and sky. Many house
# pixels meet the definition, too, which shows why houses were excluded.
#
# </details>

# %% [markdown]
# ## What decides the class? A counterfactual
#
# The strongest control is the counterfactual image of lesson 0: repaint one balloon and leave all other pixels as they
# are. Now we also compare the attention: if the predicted class of the house changes, does its *attention* change, too?

# %%
moved, flipped, total = [], 0, 0
for one in scenes[:15]:
    before, answers = attention_of(ann, one.image)[AFNB], house_answers(ann, one)
    for index, a_house in enumerate(one.houses):
        other = repaint(one, a_house.decided_by, (a_house.pattern + 1) % 3)
        place = query_on(one, a_house)
        row, new_row = before.row(*place), attention_of(ann, other.image)[AFNB].row(*place)
        assert row.shape == new_row.shape == (S,)
        moved.append(float((row - new_row).abs().sum() / 2))  # 0: same row; 1: nothing in common
        flipped += house_answers(ann, other)[index] != answers[index]
        total += 1
print(f"{flipped} of {total} houses change their predicted class;")
print(f"of their attention {sum(moved) / total:.1%} moves on average.")
lesson.claim("moved-share", 100 * sum(moved) / total, within=2, unit="%")
lesson.claim("flipped-share", 100 * flipped / total, within=2, unit="%")

# %% [markdown]
# [100 %](claim:flipped-share) of the predictions change, and only [8 %](claim:moved-share) of the attention moves. Two
# nearly identical maps, two different predictions. The weights say **from where** information comes, not **which**
# information: that is in the values, and no map of weights shows them.
#
# Over 500 houses, the shipped ANN follows the balloon of the house's paint in [100.00](result:attention.md) of 100 cases,
# and keeps its prediction if another balloon is repainted in [100.00](result:attention.md). In its APNB, however, the
# house's own balloon gets the most attention of all balloons in [50.80](result:attention.md) of 100 cases only. If you
# looked at that block alone, you would conclude that this network often attends to the wrong balloon.

# %% [markdown]
# ## Two ways to be misled, and a debate
#
# 1. **Large weights that are not needed.** The prediction does not depend on them. Examples: a balloon that attends to
#    itself; the APNB of ANN, as long as its AFNB works; one of two anchors with the same content.
# 2. **The same weights with another meaning.** What decides is in the values, which the map does not show. Example: the
#    repainted balloon. Its weight is large before and after, and the predicted class is different.
#
# Whether attention *explains* a model has been debated in public. S. Jain and B. Wallace ("Attention is not
# Explanation", 2019) found that other weights often give the same prediction, as in our APNB. S. Wiegreffe and Y. Pinter
# ("Attention is not not Explanation", 2019) answered that this depends on the definition of an explanation and on a fair
# comparison: that weights *could* be different does not mean that the present ones have no function, as our AFNB shows.
# Both have a point; our two blocks are one example of each, in one network.
#
# It is more useful to work in three steps than to take a side in this debate: **claim, control, intervention**.

# %% [markdown] tags=["exercise:claim"]
# ### Exercise 7.4: A claim that could be false
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 4, open*
#
# Choose a map of this lesson (any block, any query, any image) and write four lines:
#
# 1. **Claim:** one sentence about what the network needs there, not about which weight is large.
# 2. **Test:** what you change, what you measure, and over how many scenes.
# 3. **Control:** a change that should *not* have this effect.
# 4. **Refuted if:** a number, fixed before you run it.
#
# An example, for explanation A: *Claim: house pixels need the four strongest anchors of the AFNB. Test: set them to zero
# and measure the house accuracy over 40 scenes. Control: four random anchors. Refuted if the accuracy falls by less than
# [0.1](given:example), or as much with the control.* Then run yours with `changed_attention`, and keep the result if it contradicts you.
# An idea: *house pixels need only the anchors of the finest grid* (columns 46 to 109; lesson 4 says why).

# %% [markdown] tags=["instructor"]
# Rubric for 7.4 (0 to 8): the claim is about need or effect, not about the size of weights (0-2); the test changes
# exactly what the claim is about and is measured over several scenes (0-2); the control has the same size and would
# expose an artefact of the intervention (0-2); the number that refutes was fixed before and can be reached (0-2). One
# point off for "the network pays attention to ..." without a block and pixels. Fifteen minutes; let two groups exchange
# claims and try to refute each other's. Prompt: *what result would make you give up your explanation?* If there is
# none, it is not a claim.
#
# Answers: predictions about 0.29, 0.96, "falls"; quiz B, C, A, B. Stop after the curves when 40 minutes are gone;
# counterfactual, photo and debate can be read at home.

# %% [markdown]
# ## The same questions on a photo
#
# In the town we know the rule, so we can say which cell is the correct one. On a photo we cannot. We now ask the same
# questions of a network that was trained on street scenes. The photo is `china.jpg`, which comes with scikit-learn. It
# shows a temple, not a street, but it has sky, trees and a building, as streets have. The explorer shows no classes
# here, because nobody has labelled this photo.

# %%
photo, street_net = sample_photo(), shipped_model("streets_ann")
assert photo.ndim == 3 and photo.dtype == np.uint8  # (H, W, 3)
subjects = [("scene", ann, scene.image), ("photo", street_net, photo)]
subjects += [("photo, random weights", untrained(street_net, seed), photo)]
for name, net, image in subjects:
    for block, one in attention_of(net, image).items():
        clear = float((one.weights.amax(-1) >= 0.5).float().mean())
        bits = float(entropy(one.weights).median())
        print(f"{name}, {block[:4].upper()}: {clear:4.0%} of the queries give at least half of")
        print(f"    their attention to one anchor; median entropy {bits:.1f} bits")

# %% [markdown]
# Do not read the entropy of the photo without its control: a network with random weights can have very concentrated
# attention, too. Now choose a pixel of the sky, of the roof, of a tree and of the lake as the query. Try this, and write
# one sentence for each:
#
# 1. Block AFNB, then APNB: do queries of the same kind of object attend to the same cells? To which?
# 2. Set **beside it** to "random weights", then to "shuffled keys". For which query could you say, without its label,
#    which of the two maps belongs to the trained network?
# 3. Compare the entropy with that of a house in the town. Is there a query whose attention is as concentrated?

# %%
street_networks = {
    "trained on streets": street_net,
    "random weights": untrained(street_net, seed),
    "shuffled keys": partial(shuffled_projections, street_net, seed=seed),
}
display(widgets.attention_explorer(street_networks, {"photo": photo}))

# %% [markdown]
# And the experiment: which share of the pixels changes its predicted class if we ablate the strongest anchors of each
# query, compared with as many at random?

# %%
from annlib.course.attention import predict_labels
from annlib.course.interventions import WAYS

before = predict_labels(street_net, photo)
for block in (AFNB, APNB):
    for way, ablate in WAYS.items():
        with changed_attention(street_net, partial(ablate, k=8), block):
            change = (predict_labels(street_net, photo) != before).mean()
        print(f"{block[:4].upper()} without 8, {way}: {change:.1%} of the pixels change")

# %% [markdown]
# Read these numbers with care. They come from one photo, one network and one seed, and a changed prediction need not be
# a worse one. If only a few pixels change, the network hardly depends on this attention, however interesting its map
# looks. A map as clear as in the town is not to be expected: there, long-range context decides the class by
# construction, while in photos nearby pixels usually suffice. If your numbers show nothing as clear as in the town, this
# is the result. (Users of ANN even report that the AFNB made their results worse on their own data: issues 12 and 16 of
# the authors' repository; see lesson 5.)

# %% [markdown] tags=["instructor"]
# Ten minutes. Prompt: *write down a rule for this photo such as "a house has the
# class of the balloon of its colour". Could you test a map with it?* There is no such rule; that is the point.

# %% [markdown]
# **What this does not show.** The town: one network, trained once from one seed; in another one the APNB may contribute
# more (over five seeds, its houses put between [1.60](result:plateau.md) and [10.10](result:plateau.md) of 100 of their
# attention on their balloon). It is a toy data set in which we know the rule, and a few dozen scenes, so shares of houses
# vary by some percent. If one part is not needed, it may still take over when another part fails: we tried one such pair,
# not all. An ablation is itself an unusual input, so a drop may show damage rather than need; this is why a control
# belongs to it.

# %% [markdown]
# ## Your predictions
#
# Your predictions next to the results.
#
# 1. Tick the box. Which surprise can you not yet explain to somebody else? Go back to its cell.
# 2. Which prediction was correct, but for a wrong reason?

# %%
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:diffuse"]
# ### Quiz 7.1: The attention map of a block is diffuse, and its largest weight is often on an unrelated object. The network is always correct. What follows?
#
# - [ ] The network is correct by luck.
#   Counterfactuals show otherwise: it follows the balloon of the house's paint, and no other.
# - [x] Little, until you have changed this block and measured whether the prediction depends on it.
#   In ANN the AFNB does the work; the map of the APNB is real, but not needed.
# - [ ] The block harms the network.
#   Then shuffling its keys would help. It changed nothing; and when the AFNB fails, the block even helps.

# %% [markdown] tags=["quiz:shuffled"]
# ### Quiz 7.2: The keys are shuffled. What stays the same in each row of weights?
#
# - [ ] The class with the largest mass.
#   The numbers move to other places, so this changes, except by chance.
# - [ ] Nothing: all scores are new.
#   Each score compares a query with one key. The same keys give the same scores, in another order.
# - [x] Its entropy and its largest value.
#   Both ignore the location. So neither a low entropy nor a large weight is evidence for an explanation.

# %% [markdown] tags=["quiz:random"]
# ### Quiz 7.3: Why do we also remove the same number of weights at random?
#
# - [x] Because any damage to a row might lower the accuracy.
#   Only the difference from such damage tells us something about the strongest weights.
# - [ ] To have more data.
#   More data makes a number more precise. A control says what the number means: what does *any* change cost?
# - [ ] Because random weights are the weakest.
#   They are arbitrary. That they usually hold less mass is a weakness of this control, not its purpose.

# %% [markdown] tags=["quiz:row"]
# ### Quiz 7.4: The pattern of a balloon is repainted. The prediction for the house changes, its attention weights hardly change. Why?
#
# - [ ] The network does not use this block.
#   It does: without the four strongest anchors, four in ten houses are lost.
# - [x] Weights say from where; the pattern is in the values.
#   Queries match keys by paint, which was not changed. So the map cannot show *which* class will be predicted.
# - [ ] The map is too coarse to show it.
#   The balloon covers the same pixels before and after. A finer map of weights would show the same location.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You computed class masses from attention maps, compared maps with controls (random weights, shuffled keys, a constant
# image, a counterfactual), ablated weights, and met two ways to be misled: large weights that are not needed, and equal
# weights that transport other values. You also kept a negative result: a block with a rich map that is not needed as
# long as the other block works.
#
# Read more: S. Jain and B. Wallace, *Attention is not Explanation*, NAACL 2019; S. Wiegreffe and Y. Pinter, *Attention is
# not not Explanation*, EMNLP 2019; J. Adebayo and others, *Sanity Checks for Saliency Maps*, NeurIPS 2018.
#
# Next: [many runs, one table](08_comparing_runs.ipynb), where one network becomes many and a number gets its spread.
