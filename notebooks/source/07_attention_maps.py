# %% [markdown] tags=["header"]
# # 7. Looking inside, carefully
#
# *A picture of attention tells a good story. How would you notice that the story is false?*
#
# - **Before:** lessons 2, 4 and 5: weights, anchors, AFNB and APNB
# - **Reading:** 50 min
# - **Runs in:** 35 s (quick), 35 s (learn), 100 s (full), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. compute how a position shares its attention among classes ([Exercise 7.1](exercise:mass))
# 2. predict what a map shows that was never trained ([Prediction 7.1](predict:untrained))
# 3. switch off the strongest weights and compare with a control ([Exercise 7.2](exercise:switch))
# 4. name two ways in which a map misleads ([Exercise 7.3](exercise:bright), [Quiz 7.1](quiz:diffuse))
# 5. write a claim about a map that could turn out false ([Exercise 7.4](exercise:claim))

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

from annlib.course import checks, plots, widgets
from annlib.course.attention import (
    attention_of,
    capture_attention,
    class_masses,
    entropy,
    match,
    model_input,
    query_on,
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
# ## Two maps, two stories
#
# ANN, the whole network of the paper, attends twice: first its AFNB, then its APNB. Here are both, for
# the three houses of our scene. Each arrow leads from a house to the anchor that gets most of its
# attention; further cells are framed if they get at least a quarter of that.

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
AFNB, APNB = "afnb.attention", "apnb.attention"
attention = attention_of(ann, scene.image)
N, S = attention[AFNB].weights.shape
assert (N, S) == (16 * 24, 110)
plots.house_attention(
    scene,
    {"AFNB of ANN": ("afnb", attention[AFNB]), "APNB of ANN": ("apnb", attention[APNB])},
)

# %% [markdown]
# Two stories offer themselves:
#
# - **Story A.** *In the AFNB, each house looks up the balloon of its paint, and needs it.*
# - **Story B.** *In the APNB, each house looks once more, more widely, and needs that second look.*
#
# Both fit the pictures. One of them is false: at the end of this lesson you will have seen which, and
# that no picture of attention could have told you. Before you go on: which would you bet on, and what
# would you measure to win the bet?

# %% [markdown] tags=["instructor"]
# Five minutes. Take a vote by hands for A, B, both, neither; write the numbers down and come back to
# them after the section on switching off. Do not correct anybody. Usual mistakes here: to take a thick
# arrow for a strong effect. The arrow only says where the largest weight lies.

# %% [markdown]
# ## Numbers instead of light
#
# A map of attention is a picture, and pictures flatter. So first a number: how much of the attention of
# one position lands on each class? Let $p_{yx}$ be the map of one row, spread over $h \times w$
# positions, $\sum_{yx} p_{yx} = 1$, and $a_{cyx}$ the share of class $c$ among the pixels under
# position $(y, x)$. Then the **class mass** is
#
# $$m_c = \sum_{y=1}^{h} \sum_{x=1}^{w} p_{yx} \, a_{cyx}, \qquad \sum_c m_c = 1$$
#
# Here a position stands for 8 x 8 pixels. Many of these cells straddle: half sky, half balloon. They
# count by share, half for each.

# %% [markdown] tags=["exercise:mass"]
# ### Exercise 7.1: Class mass
#
# *Difficulty 3/5, importance 4/5, about 10 min, objective 1*
#
# Write $m_c$. The picture's height and width are multiples of the map's. *For the fast:* write it for
# many rows at once, heat `(N, h, w)`, without a loop.


# %% tags=["answer:mass"]
def class_mass(heat: torch.Tensor, labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """heat p (h, w), labels int64 (H, W) of 0 .. num_classes - 1 -> masses m (num_classes,)"""
    # solution
    is_class = torch.nn.functional.one_hot(labels, num_classes).permute(2, 0, 1).float()
    area = torch.nn.functional.adaptive_avg_pool2d(is_class, heat.shape)  # a, (K, h, w)
    return (heat * area).sum(dim=(1, 2))


# %% [markdown] tags=["hint:mass:1"]
# For each class there is a picture of zeros and ones: is this pixel of class c? The share of a cell is
# the mean of that picture over the cell. You have met means over cells: they make the anchors.

# %% [markdown] tags=["hint:mass:2"]
# `one_hot(labels, num_classes)` is (H, W, K); `permute(2, 0, 1)` brings the classes to the front;
# `adaptive_avg_pool2d(..., heat.shape)` takes means over cells.

# %% [markdown] tags=["hint:mass:3"]
# `is_class = torch.nn.functional.one_hot(labels, num_classes).permute(2, 0, 1).float()`

# %% tags=["check:mass"]
checks.class_mass(class_mass)

# %% [markdown]
# Your function (and below, as a cross-check, annlib's) on the row of the first house, with borders as
# an eleventh class. Beside the masses stands the entropy of the row, in bits (lesson 2):

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
    print(f"{block[:4].upper()}: {said}; {bits:.1f} bits, as if evenly at {2**bits:.0f} of {S}")

# %% [markdown]
# Look at the AFNB once more: the house chose *one* anchor, and yet a fifth of its mass is called sky.
# The house never chose sky. The anchor is the mean of a cell, and a part of that cell is sky. **A map
# is as coarse as what answers**, however sharply it is drawn on the picture.
#
# And against what should a mass be compared? Not with zero: a block that looks nowhere in particular
# gives each class its area.

# %%
even = torch.full((16, 24), 1 / N)
area = class_masses(even, scene.labels)
print("Under an even map:", ", ".join(f"{name} {mass:.0%}" for name, mass in area.items()))
assert abs(sum(area.values()) - 1) < 1e-4

# %% [markdown] tags=["instructor"]
# Ten minutes. Usual mistakes in 7.1: the class in the middle of the cell (works for large things, fails
# for balloons), enlarging the heat without dividing by the 64 pixels of a cell, means instead of sums.
# When late, give 7.1 as homework; nothing below depends on the learner's function.

# %% [markdown]
# ## Controls: what would the map show if the story were false?
#
# A control is a case in which the story is false *by construction*. If it gives the same picture, the
# picture is no evidence.
#
# | Control | What is destroyed | If the map stays the same, it showed only |
# |---|---|---|
# | random weights | all that was learned | the picture and the wiring |
# | shuffled keys | which anchor has which key | that *something* is bright |
# | constant picture | all that is to be seen | the edges of the picture, or a habit of place |
# | counterfactual | one thing, nothing else | not that thing |
#
# Random weights are the first to try. Our network has matched paint with paint; will one that never was
# trained look elsewhere?

# %% [markdown]
# ### Prediction 7.1: Never trained
#
# A scene has three or four balloons. In which share of the houses does the one balloon *of its own
# paint* get more attention than each other balloon, in the AFNB of an **untrained** network? (In the
# trained one, it is so in [100.00](result:attention.md) of 100 houses.)

# %% tags=["predict:untrained"]
guess_untrained = 0.29  # solution

# %%
from annlib.course.interventions import untrained

num_scenes = lesson.pick(quick=40, learn=40, full=200)
FORTY = ("quick", "learn")  # the text tells what came out over 40 scenes
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
predictions.compare("7.1", guess_untrained, mean_share, tolerance=0.35)
print("Three untrained networks:", ", ".join(f"{share:.2f}" for share in shares))
print(f"Trained: {matched(ann, AFNB):.2f}; its APNB: {matched(ann, APNB):.2f}")
lesson.claim("untrained-matched", 100 * mean_share, within=6, unit="%", modes=FORTY)

# %% [markdown]
# About [29 %](claim:untrained-matched), which is what chance gives with three or four balloons. So this
# control is passed: the match in the AFNB is learned, it does not lie in the wiring. (It need not be so.
# J. Adebayo and others found methods whose pictures hardly changed when weights were made random.)

# %% [markdown]
# ## Explore
#
# Now all controls by hand. Menus choose the picture, the network and the block; click the pixel that asks,
# drag it, or move it by the arrow keys. Below the pictures stand the entropy and where the mass lies. "beside
# it" puts a second network next to the first. A photo of your own can be looked at, too.
#
# Try this, and write one sentence for each: *what changes, and why?*
#
# 1. Stay on the house, network "trained", block AFNB, and put the others beside it. "Shuffled keys" is
#    as bright as "trained", and its entropy is the same. What is lost, and could you have seen it without knowing the
#    rule of the town?
# 2. Set the picture to "constant grey". How many bits? What is left of the map is made by the
#    edges: convolutions there see zeros.
# 3. Set it to "one balloon repainted". The first house is now something else. Does its row in the AFNB
#    follow?
# 4. Choose "trained", block APNB, and ask from a house, the sky, the road. Tell story B about what you
#    see. Keep your sentence; you will need it.

# %%
from annlib.course.interventions import shuffled_projections

pictures = {
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
widgets.attention_explorer(networks, pictures)

# %% [markdown]
# Task 1 has a simple reason. A score compares one query with one key, so shuffled keys shuffle whole
# columns of the weights: every row keeps its numbers, and hands them to other places. Brightness, entropy, "how
# sure it looks": all the same. Only the *place* carries the story.

# %% [markdown] tags=["instructor"]
# Fifteen minutes for controls and explorer, in pairs: one moves, one writes. Discussion prompt for
# task 1: *what in the picture told you that the shuffled map is wrong? Would it, in a street scene?*
# People who know the rule see it at once; nobody has such a rule for photographs. When late: tasks 1
# and 3 only.

# %% [markdown]
# ## Switch it off
#
# To look is to observe; to switch off is to experiment. If a house *needs* its brightest anchor, then
# without it the answer must suffer, and more than without some other anchor.

# %% [markdown] tags=["exercise:switch"]
# ### Exercise 7.2: Without the strongest
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 3*
#
# Each row loses its own $k$ strongest weights; the others keep their ratios, and the row sums to 1
# again. Leave the input as it is. *For the fast:* the control below removes as *many* weights at
# random. Write one that removes at random until as much *mass* is gone. Which is fairer?


# %% tags=["answer:switch"]
def switch_off(weights: torch.Tensor, k: int) -> torch.Tensor:
    """weights (B, N, S), rows sum to 1 -> (B, N, S) without the k strongest of each row"""
    # solution
    strongest = weights.topk(k, dim=-1).indices
    kept = weights.scatter(-1, strongest, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


# %% [markdown] tags=["hint:switch:1"]
# Three steps: who are the strongest of each row, put zeros there, divide each row by what is left.

# %% [markdown] tags=["hint:switch:2"]
# `weights.topk(k, dim=-1).indices` is (B, N, k); `weights.scatter(-1, indices, 0.0)` makes a copy with
# zeros there; `sum(dim=-1, keepdim=True)` keeps the axis for the division.

# %% [markdown] tags=["hint:switch:3"]
# `strongest = weights.topk(k, dim=-1).indices`

# %% tags=["check:switch"]
checks.switch_off(switch_off)

# %% [markdown]
# How does it get into a network that is already trained? Its softmax is a module of its own, so a hook
# can replace what comes out. `changed_attention` sets the hook, and takes it away again whatever happens
# in between: a network that stayed changed would falsify all that follows.

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
# In the AFNB, a position in the middle of a house gives nearly all of its attention to one anchor. We
# take the strongest anchor of *every* position away. The house accuracy was 1. What will it be? (1/3 is
# guessing; about [0.61](given:voting) is voting, lesson 2.)

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
predictions.compare("7.2", guess_one, first["the strongest"], tolerance=0.1)
print(f"All anchors: {whole.accuracy_among(HOUSES):.3f}")
print(f"One less at random: {first['as many at random']:.3f}")
lesson.claim("without-one", first["the strongest"], within=0.02, modes=FORTY)
four = {way: damages[AFNB, way, 4].houses for way in first}
lesson.claim("without-four", four["the strongest"], within=0.05, modes=FORTY)
lesson.claim("random-four", four["as many at random"], within=0.02, modes=FORTY)

# %% [markdown]
# Only down to [0.96](claim:without-one)! The brightest anchor can nearly always be spared, because the
# next brightest mostly holds a part of the same balloon: it is a neighbour in the 8 x 8 grid, or a cell of
# the 6 x 6 grid that overlaps. *One* bright spot removed proves little. With four gone it is
# [0.60](claim:without-four); with any four gone, drawn at random, [1.00](claim:random-four).

# %% [markdown]
# ### Prediction 7.3: And the second block?
#
# In the APNB of the same network we take away the 100 strongest anchors of 110 from every position.
# What becomes of the house accuracy: "a third", "a vote" (about six in ten) or "stays"?

# %% tags=["predict:apnb"]
guess_apnb = "stays"  # solution

# %%
left = damages[APNB, "the strongest", 100]
outcome = "stays" if left.houses > 0.95 else "a vote" if left.houses > 0.45 else "a third"
predictions.compare("7.3", guess_apnb, outcome, options=("a third", "a vote", "stays"))
with changed_attention(ann, partial(with_shuffled_keys, seed=seed), APNB):
    shuffled = score_scenes(ann, scenes).accuracy_among(HOUSES)
print(f"APNB without its 100 strongest: {left.houses:.3f}; with shuffled keys: {shuffled:.3f}")
lesson.claim("apnb-shuffled", shuffled, within=0.01, modes=FORTY)
lesson.claim("apnb-without-hundred", left.houses, within=0.01, modes=FORTY)
plots.damage_curves(damages, {AFNB: "AFNB of ANN", APNB: "APNB of ANN"})

# %% [markdown]
# Story A stands: the strongest anchors of the AFNB are needed, others are not. Story B is **false**, and
# it was as good a story. Without its 100 strongest anchors the APNB leaves the houses at
# [1.00](claim:apnb-without-hundred), with shuffled keys at [1.00](claim:apnb-shuffled). Its map shows
# something real, where weight goes; but the answer of this network does not depend on it.
#
# This is the negative result of this lesson, and we keep it. We had hoped to show two blocks that match.
#
# Three warnings about the left panel, too:
#
# - The curve does not end at 1/3 but near the vote. "Off" is not "nothing": something else steps in.
# - It is not monotonic: with more switched off, the score goes up again in places. A network that never
#   met such rows in training does odd things with them.
# - The control is generous: four weights at random hold far less mass than the four strongest.
#
# What steps in? Now we change *both* blocks: the AFNB loses its 100 strongest, and the APNB looks evenly
# at everything. The control is the even APNB alone. Say first what you expect.


# %%
def look_evenly(weights: torch.Tensor) -> torch.Tensor:
    """(B, N, S) -> (B, N, S): each anchor gets the same, so nothing is chosen."""
    return torch.full_like(weights, 1 / weights.shape[-1])


with changed_attention(ann, look_evenly, APNB):
    even_apnb = score_scenes(ann, scenes).accuracy_among(HOUSES)
    with changed_attention(ann, partial(without_strongest, k=100), AFNB):
        neither = score_scenes(ann, scenes).accuracy_among(HOUSES)
no_afnb = damages[AFNB, "the strongest", 100].houses
print(f"APNB even: {even_apnb:.3f}; AFNB off: {no_afnb:.3f}; both: {neither:.3f}")
lesson.claim("afnb-off", no_afnb, within=0.03, modes=FORTY)
lesson.claim("both-off", neither, within=0.03, modes=FORTY)
assert lesson.mode == "full" or even_apnb > 0.99 > no_afnb > neither

# %% [markdown]
# With the AFNB off, [0.62](claim:afnb-off); with the APNB even as well, [0.42](claim:both-off). So the
# APNB is a **reserve**: part of the vote is its work, and it shows only when the AFNB fails. "Not needed"
# is true of this network as it stands, not of the block by itself. Who switches off one part at a time
# never sees what the others can replace.
#
# ### Switch off by hand
#
# Left: what the house still looks at. Right: what the network then says. Try this:
#
# 1. Block AFNB, k = 1, 2, 4, each of the three houses. Where does the light go, and which answers change
#    first? Why that one?
# 2. Go on to k = 100. What is left in the light? Can it be what keeps the answers right more often than
#    one in three, or does something else?
# 3. Block APNB, any k. Read your sentence of task 4 above again. What is wrong with it?

# %%
widgets.ablation(ann, scene, {"AFNB": AFNB, "APNB": APNB}, damages)

# %% [markdown] tags=["instructor"]
# Twenty minutes. Usual mistakes in 7.2: rows not brought back to sum 1 (then less is fetched in total,
# another intervention), topk along N, a second softmax. Collect predictions 7.2 and 7.3 on the board:
# most say 1/3 or 0.6 for 7.2, and "a vote" for 7.3. Then go back to the vote of the first section.
# Discussion: *both blocks were trained by the same loss. Why is one not needed?* A guess that nobody
# here has measured: the AFNB solves the task early, and no gradient asks for more. Task 2 of the widget: hardly
# any light is left on balloons; the reserve in the APNB answers. When late: skip the widget, not the curves.

# %% [markdown]
# ## Bright without need
#
# The other way round: is there a place that is bright, *in the AFNB*, and not needed?

# %% [markdown] tags=["exercise:bright"]
# ### Exercise 7.3: Bright, but not because
#
# *Difficulty 2/5, importance 4/5, about 5 min, objective 4*
#
# Find a pixel outside the houses that gives at least half of its AFNB attention to one anchor, and whose
# class stays what it is without its 1, 2, 4, 8 and 16 strongest. Write its row and column (the explorer
# shows both). Why not a house? Without its balloon it may still be right, by the vote.
# *For the fast:* count for each class of pixels how many are of this kind.

# %% tags=["answer:bright"]
bright_pixel = (12, 34)  # solution

# %% [markdown] tags=["hint:bright:1"]
# Whose class can be told from close by? These have no need to look anywhere. Yet rows sum to 1: they
# must look somewhere.

# %% [markdown] tags=["hint:bright:2"]
# Most of sky, road and green spreads its attention evenly. There is one more kind of thing in the picture whose
# class stands on itself. Go through it with the explorer.

# %% [markdown] tags=["hint:bright:3"]
# Balloons hang in rows 2 to 30; not every one will do, so try them in turn. Begin with
# `bright_pixel = (12, ...)`.

# %% tags=["check:bright"]
checks.bright_without_need(bright_pixel, ann, scene)

# %% [markdown]
# A balloon looks hard at itself: its paint fits its paint. It gets nothing it did not know. Nobody asked
# it to look, but **a softmax cannot look nowhere**. (One balloon of this scene does so far less. Which,
# and what have the others that it has not? A story; how would you test it?)

# %% [markdown]
# ## Who decides? Repaint it
#
# The strongest control is the counterfactual of lesson 0: repaint one balloon, leave all other pixels
# alone. Now with the map beside it: does the *attention* of the house change when the answer does?

# %%
from annlib.course.attention import house_answers

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
print(f"{flipped} of {total} houses change their answer;")
print(f"of their attention {sum(moved) / total:.1%} moves on average.")
lesson.claim("moved-share", 100 * sum(moved) / total, within=2, unit="%")
lesson.claim("flipped-share", 100 * flipped / total, within=2, unit="%")

# %% [markdown]
# [100 %](claim:flipped-share) of the answers change, and only [8 %](claim:moved-share) of the attention
# moves. Two maps that look alike, two different answers: the map says **where from**, not **what**. What
# is fetched are the values, and no map of weights shows them.
#
# Over 500 houses the shipped ANN follows the balloon of its paint in [100.00](result:attention.md) of 100
# cases, and stays when another is repainted in [100.00](result:attention.md). In its APNB, meanwhile,
# the house's own balloon comes first in [50.80](result:attention.md) of 100 only. Whoever looked at that
# block alone would conclude that this network often looks at the wrong balloon.

# %% [markdown]
# ## Two ways to be misled, and a debate
#
# 1. **Bright, but not needed.** Weight goes there, yet the answer does not depend on it: a balloon that
#    looks at itself; the APNB of ANN, as long as its AFNB works; one anchor of two that hold the same.
# 2. **Needed, but not bright.** What decides does not show: the pattern that was repainted changes the
#    answer and not the map; and in the map of the wrong block, the right balloon is pale.
#
# Whether attention *explains* has been debated in the open. S. Jain and B. Wallace ("Attention is not
# Explanation", 2019) found that other weights often give the same answer, as our APNB does. S. Wiegreffe
# and Y. Pinter ("Attention is not not Explanation", 2019) answered that this depends on what one calls
# an explanation and on a fair comparison: weights that *could* have been otherwise need not be idle in
# the model at hand, as our AFNB shows. Both are right about something; our two blocks are one example of
# each, in one network.
#
# What helps is not a side in the debate but a habit: **claim, control, intervention**, in this order.

# %% [markdown] tags=["exercise:claim"]
# ### Exercise 7.4: A claim that could be false
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 5, open*
#
# Choose a map of this lesson (any block, any pixel, any picture) and write four lines:
#
# 1. **Claim:** one sentence about what the network needs there, not about what is bright.
# 2. **Test:** what you change, and what you measure over how many scenes.
# 3. **Control:** a change that should *not* have this effect.
# 4. **Refuted if:** a number, fixed before you run it.
#
# Then run it with `changed_attention`, and keep the result if it is against you. An idea: *house pixels
# need only the anchors of the finest grid* (columns 46 to 109; lesson 4 tells why).

# %% [markdown] tags=["instructor"]
# Rubric for 7.4 (0 to 8): claim is about need or effect, not brightness (0-2); the test changes exactly
# what the claim names and is measured over several scenes (0-2); the control has the same size and
# would expose an artefact of the intervention (0-2); the number that refutes was fixed before and can be
# reached (0-2). One point off for "the network pays attention to ..." without a block and pixels.
# Fifteen minutes; let two groups exchange claims and try to refute each other's. Prompt: *what result
# would make you give up your story?* If there is none, it is no claim.
#
# Answers: predictions about 0.29, 0.96, "stays"; quiz B, C, A, B. Whole lesson 50 to 70 minutes. Stop
# after the curves when 40 are gone; repainting and debate can be read at home.

# %% [markdown]
# **What this does not show.** One network, trained once from one seed: in another the APNB may be busy
# (over five seeds its houses put between [1.60](result:plateau.md) and [10.10](result:plateau.md) of 100
# on their balloon). One toy town, in which we know the rule; a few dozen scenes, so shares of houses
# wobble by some percent. What one part does not need to do, it may do when another fails: we tried one
# such pair, not all. Switching off is itself a strange input: a drop may be damage rather than need,
# which is why the control belongs to it.

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

# %% [markdown] tags=["quiz:diffuse"]
# ### Quiz 7.1: A block's map is diffuse and often brightest on a wrong thing. The network is always right. What follows?
#
# - [ ] The network is right by luck.
#   Counterfactuals say otherwise: it follows the balloon of its paint, and no other.
# - [x] Little, until you have changed this block and seen whether the answer depends on it.
#   In ANN the work is done in the AFNB; the APNB's map is real, and not needed.
# - [ ] The block harms the network.
#   Then shuffling its keys would help. It changed nothing; and when the AFNB fails, the block even helps.

# %% [markdown] tags=["quiz:shuffled"]
# ### Quiz 7.2: With shuffled keys, what of a row of weights stays the same?
#
# - [ ] The class it looks at most.
#   The numbers are handed to other places, so this changes unless chance wills otherwise.
# - [ ] Nothing: the scores are all new.
#   Each score compares a query with one key. The same keys give the same scores, in another order.
# - [x] Its entropy and its largest value.
#   Both do not ask where. So neither "it looks sure" nor "it looks sharply" is evidence for a story.

# %% [markdown] tags=["quiz:random"]
# ### Quiz 7.3: Why switch off as many at random, too?
#
# - [x] Because any damage to a row might lower the score.
#   Only the difference to that damage speaks about the strongest.
# - [ ] To have more data.
#   More data makes a number steadier; a control says what the number means: what does *any* change cost?
# - [ ] Because random ones are the weakest.
#   They are any. That they mostly hold less mass is a weakness of this control, not its purpose.

# %% [markdown] tags=["quiz:row"]
# ### Quiz 7.4: A balloon's pattern is repainted. The house's answer flips, its row of weights hardly moves. Why?
#
# - [ ] The network does not use this block.
#   It does: without the four strongest anchors the houses fall to a vote.
# - [x] Weights say where from; the pattern arrives in the values.
#   Queries match keys by paint, which was not touched. So the map cannot say *which* class will come out.
# - [ ] The map is too coarse to show it.
#   The balloon covers the same pixels before and after. A finer map of weights would show the same place.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You turned light into class masses, held maps against controls (random weights, shuffled keys, a
# constant picture, a counterfactual), switched weights off, and met both ways to be misled: bright but
# not needed, needed but not bright. And you kept a negative result: a block whose map is rich,
# and not needed as long as the other works.
#
# Read more: S. Jain and B. Wallace, *Attention is not Explanation*, NAACL 2019; S. Wiegreffe and
# Y. Pinter, *Attention is not not Explanation*, EMNLP 2019; J. Adebayo and others, *Sanity Checks for
# Saliency Maps*, NeurIPS 2018.
#
# Next: [many runs, one table](08_comparing_runs.ipynb), where one network becomes many and a number gets its
# spread
