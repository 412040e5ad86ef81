# %% [markdown] tags=["header"]
# # 0. Start here
#
# *Can you tell what a house is without looking at the house?*
#
# - **Before:** a little Python; no deep learning yet
# - **Reading:** 15 min
# - **Runs in:** 15 s (quick), 30 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. run a set-up check and say what it has shown ([Exercise 0.1](exercise:click))
# 2. estimate how many houses a network with a short view gets right ([Prediction 0.1](predict:local))
# 3. ask any pixel of a picture where it looks ([Exercise 0.2](exercise:ask))
# 4. tell what an attention picture says from what it does not say ([Quiz 0.2](quiz:bright))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import numpy as np

from annlib.course import checks, plots, widgets
from annlib.course.attention import (
    attention_of,
    count_right,
    hint_offsets,
    house_answer,
    match,
    predict_labels,
)
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson
from annlib.data.balloon_town.dataset import make_scene, repaint
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.build import shipped_model

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()
first_seed = FIRST_VAL_SEED + 1000 * lesson.seed  # of scenes that no network here was trained on

# %% [markdown]
# ## A town that hides something
#
# This is Balloon Town. Every pixel of the left picture has one of ten classes; the right picture
# shows them. White there means: does not count, neither in training nor in scores. These are the
# seams between things, where even you could not say what a pixel is, and the bonnet of the car that
# carries the camera.
#
# Look at the houses: some are **homes**, some **shops**, some **schools**. Before you read on: what in
# the left picture tells you which?

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
plots.scene(scene)

# %% [markdown]
# You will not find it in the houses: the three kinds are painted alike, and their doors and windows
# are drawn by chance. The answer hangs in the sky. Find the balloon that has **the same paint** as
# the house, and read its pattern:
#
# | pattern of the balloon | the house is a |
# |---|---|
# | belt | home |
# | stripe | shop |
# | disc | school |
#
# Check the rule on one house of the picture. Then keep it in mind: no network is told this rule. All
# it gets is pictures and their labels.

# %% [markdown] tags=["instructor"]
# Five minutes. Hide the table at first (scroll down only after a minute of guessing); groups usually
# propose size, roof, position. Let somebody find the rule. Ask: *how far is it from a house to its
# balloon, compared with the size of the house?* That distance is the topic of the course.

# %% [markdown]
# ## Is everything in place?
#
# The course lives from pictures that answer when you move something. So try that way first: from your
# browser to Python and back. (If a cell ever says `NameError`, a cell above it has not been run since
# Python started: choose Run > Run All Above Selected Cell.)

# %%
machine = widgets.set_up()
machine

# %% [markdown] tags=["exercise:click"]
# ### Exercise 0.1: Click
#
# *Difficulty 1/5, importance 5/5, about 2 min, objective 1*
#
# Press the blue button above: with the mouse, or with Tab until it is framed, then Space. The line
# below it must change. Then run the check. (The three dots in the next cell can stay.)

# %% tags=["answer:click"]
# Nothing to write: the click is the answer.
# solution
machine.button.click()  # the same event, sent without a mouse

# %% [markdown] tags=["hint:click:1"]
# A widget lives in two places: what you see is in the browser, what it does is in Python. The button
# works only while Python runs the notebook.

# %% [markdown] tags=["hint:click:2"]
# No button to be seen? Run the cell above it again (Shift + Enter). A button without effect belongs
# to an earlier start of Python: run the cell again, too.

# %% [markdown] tags=["hint:click:3"]
# If the page cannot show widgets at all, you may send the event from Python:
# `machine.button.click()`. The course can be read without widgets; each shows its first picture.

# %% tags=["check:click"]
checks.click_arrived(machine.clicked)

# %% [markdown]
# ## A network that sees only what is near
#
# Our first network (called FCN) works on a map of 16 x 24 positions, an eighth of the picture's height
# and width. Each position sees a square of 63 pixels. The answers are then enlarged to the picture,
# which mixes neighbouring positions; so the answer for one pixel can draw on what lies up to 42 pixels
# away from it to each side, and on nothing else. This is all it has when it decides about one house:

# %%
house = scene.houses[1]
asking = (int(house.bottom) - 10, int(house.left + house.right) // 2)
assert scene.mask(house)[asking], "the pixel that asks should be on the house"
distances = np.hypot(*hint_offsets(FIRST_VAL_SEED, num_scenes=1000).T)
lesson.claim("nearest", distances.min(), within=0.5, unit="pixels")
lesson.claim("middle", float(np.median(distances)), within=0.5, unit="pixels")
lesson.claim("farthest", distances.max(), within=0.5, unit="pixels")
plots.field_of_view(scene, *asking, side=42 + 1 + 42)

# %% [markdown]
# The three lines above the picture were *measured just now, on your machine*: from the middle of a house to the
# middle of the balloon that decides about it there are at least [76](claim:nearest) pixels, in the median
# [95](claim:middle), at most [172](claim:farthest). Wherever a lesson states a number that we measured,
# such a line stands beside it; numbers by others are marked with who stated them.

# %% [markdown]
# ### Prediction 0.1: How many houses will it get right?
#
# It was trained on 400 scenes, exactly as its rival further below. Now it sees new ones. Which share of
# the houses will it name rightly, between 0 and 1? Write your guess **before** you go on; a wrong guess
# is worth more than none, because you will remember the answer.

# %% tags=["predict:local"]
guess_local = 0.33  # solution

# %%
fcn = shipped_model("balloon_fcn").to(lesson.device)
num_scenes = lesson.pick(quick=10, learn=60, full=200)
scenes = [make_scene(first_seed + index) for index in range(num_scenes)]
right, total = count_right(fcn, scenes)
close = lesson.pick(quick=0.5, learn=0.25, full=0.25)  # few houses wobble
predictions.compare("0.1", guess_local, right / total, tolerance=close, between=(0, 1))
print(f"FCN names {right} of {total} houses rightly.")

# %% [markdown]
# Three kinds, all equally frequent, and nothing to be seen that tells them apart: about one in three is
# what guessing gives, and **no** training can change that. (With few houses the share wobbles: by chance
# alone it is off by about [3.5 %](given:binomial-spread) over 180 houses, and by more over fewer.) The
# picture shows how guessing looks. ✓ and ✗ judge what
# most pixels of a house were taken for.

# %%
shown = scenes[1:4]
nonlocal_net = shipped_model("balloon_nonlocal").to(lesson.device)
answers = {
    name: [predict_labels(net, one.image) for one in shown]
    for name, net in {"FCN": fcn, "Non-local": nonlocal_net}.items()
}
plots.predictions(shown, answers)

# %% [markdown]
# ## A network in which every pixel may ask every other
#
# The last column is the same network with one block added: in it, every position of the picture can
# fetch something from every other position. Sky, road, trees were easy before; now the houses are
# right as well, or nearly always. How often?

# %%
right, total = count_right(nonlocal_net, scenes)
print(f"The non-local network names {right} of {total} houses rightly.")
lesson.claim("nonlocal-right", 100 * right / total, within=2, unit="%")
assert total == sum(len(one.houses) for one in scenes)

# %% [markdown]
# All, or nearly all: [100 %](claim:nonlocal-right). Did it really read the balloons? We can ask by
# experiment, not by trust: repaint the pattern of **one**
# balloon, leave every other pixel alone, and look again.

# %% [markdown]
# ### Prediction 0.2: What changes?
#
# We repaint the pattern of the orange balloon, and nothing else. Three houses, two networks: how many of the
# **six** answers change?

# %% tags=["predict:repaint"]
guess_repaint = 1  # solution

# %%
middle = scene.houses[1]
repainted = repaint(scene, middle.decided_by, (middle.pattern + 1) % 3)
before, after = (predict_labels(nonlocal_net, one.image) for one in (scene, repainted))
local = tuple(predict_labels(fcn, one.image) for one in (scene, repainted))
changed = [
    house_answer(first, scene, one) != house_answer(second, scene, one)
    for first, second in (local, (before, after))
    for one in scene.houses
]
predictions.compare("0.2", guess_repaint, sum(changed), between=(0, 6))
answers_twice = {"FCN": local, "Non-local": (before, after)}
plots.predictions([scene, repainted], answers_twice, ["Before", "A balloon repainted"])

# %% [markdown]
# One balloon, one house: the answer follows the balloon of the same paint and no other. For FCN the
# houses of both rows are the same pixels, so its answer cannot move. A repainted picture of this kind is
# called a *counterfactual*. It is the strongest evidence in this course, stronger than any picture of
# attention.

# %% [markdown] tags=["instructor"]
# Eight minutes for both predictions. Collect guesses for 0.1 on the board before the cell is run; 0.5
# and 0.9 are common, 1/3 is rare. Discussion: *would more layers, more data, a longer training help
# FCN?* Only a longer view would. When late, skip the prediction grid, never the counterfactual.

# %% [markdown]
# ## Ask a pixel
#
# Inside the non-local block the picture is a map of 16 x 24 positions, and each of them spreads 100 % of
# attention over all of them:

# %%
attention = attention_of(nonlocal_net, scene.image)["context.attention"]
assert attention.weights.shape == (16 * 24, 16 * 24)  # one row for each that asks
assert np.allclose(attention.weights.sum(-1).cpu(), 1, atol=1e-4)
print(f"{len(attention.weights)} positions ask; each row of shares sums to 1.")

# %% [markdown]
# The ring marks the pixel that asks: click another one, drag it, or press the arrow keys. Left: the picture,
# brighter where it looks. Right: the same as shares. Below: in words.
#
# Try this, and say each time *what changes, and why?*
#
# 1. Put the ring on each of the three houses in turn. Where does the light go?
# 2. Put it on the sky, then on the road. Do these need a balloon?
# 3. Stay on a house and set "scores x" to 0, then to 4. Which of the two is blind, which stubborn?

# %%
widgets.attention_explorer({"Non-local": nonlocal_net}, scene)

# %% [markdown] tags=["exercise:ask"]
# ### Exercise 0.2: Your own question
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 3*
#
# Find a pixel on a house that looks more at one class of balloons (belt, stripe or disc) than at any
# other class, that of its own house included. Write its row and column. The check tests both and adds up
# the shares by class.

# %% tags=["answer:ask"]
house_pixel = (92, 44)  # solution

# %% [markdown] tags=["hint:ask:1"]
# Which pixels have a reason to look far away? Those whose class nothing near them tells.

# %% [markdown] tags=["hint:ask:2"]
# Hover over the picture above: the line below it says the row and the column under the pointer. The row
# comes first, and row 0 is at the top.

# %% [markdown] tags=["hint:ask:3"]
# Houses stand just above the road, around row 95; the middle of a wall is a good place. Begin with
# `house_pixel = (95, ...)`.

# %% tags=["check:ask"]
checks.house_pixel(house_pixel, scene, attention)
plots.attention_map(scene.image, attention, *house_pixel, "Your question", "nonlocal")

# %% [markdown] tags=["instructor"]
# Six minutes for asking. Answers: (1) to the balloon of its paint, and some to the house itself. (2) No:
# the sky spreads over nearly everything, the road looks at cars and road. (3) With 0 all scores are equal,
# and it looks everywhere alike; with 4 it sees its best fit only. Usual mistake in 0.2: column before row,
# or a pixel at the edge of a house. Stop here if 20 minutes are gone: the last section may be read at home.

# %% [markdown]
# ## The blocks of the paper
#
# Asking all 384 positions is thorough and dear. The two blocks of the paper, APNB and AFNB, ask 110
# **anchors** instead: means over the cells of four grids (1 x 1, 3 x 3, 6 x 6 and 8 x 8). Each arrow
# leads from a house to the position, or the anchor, that gets most of its attention; further cells are
# framed if they get at least a quarter of that. If paint is matched with paint, every arrow ends on its
# own colour.

# %%
apnb_net, whole_net = (
    shipped_model(name).to(lesson.device) for name in ("balloon_apnb", "balloon_ann")
)
blocks = {
    "Non-local: 384 positions": ("nonlocal", attention),
    "APNB: 110 anchors": ("apnb", attention_of(apnb_net, scene.image)["context.attention"]),
    "AFNB: 110 anchors": ("afnb", attention_of(whole_net, scene.image)["afnb.attention"]),
}
for title, (_, one) in blocks.items():
    found = sum(match(one, scene, a_house).is_matched for a_house in scene.houses)
    print(f"{title}: {found} of 3 houses look more at their own balloon than at any other.")
plots.house_attention(scene, blocks)

# %% [markdown]
# - **Non-local:** a position is smaller than a balloon, so the choice can be exact; it is paid for with
#   384 scores for each position that asks.
# - **APNB** (here in a network without AFNB): cells are coarse. Sky is fetched along with the balloon, so
#   its share is smaller, and a house may ask itself or another balloon, too: look for such cells.
# - **AFNB** (here in ANN, the paper's whole network, with an APNB behind it): the cells are as coarse, but
#   they are means over an earlier map of the network. Compare its percentages with those of APNB.
#
# **What this does not show.** One picture, and networks trained once each: no statistics. (Those are in
# `data/results/`: scores over five seeds in `balloon_town.md`, where FCN gets
# [0.326](result:balloon_town.md) of the house pixels right; 500 houses that ask in `attention.md`.)
# The town is a toy in which far context is *needed*; in photographs it often merely helps. And bright is
# not *because*: the picture shows what was fetched, the repainted balloon shows what decided.
#
# ## Where things live
#
# | What | Where |
# |---|---|
# | these lessons | `notebooks/`; with answers in `notebooks/solutions/` |
# | the code, meant to be read | `annlib/`; the paper's blocks in `annlib/model/asymmetric.py` |
# | checks of the exercises | `annlib/course/checks/__init__.py`; run as often as you like |
# | your predictions | in this notebook's memory only; the ledger just below lists them |
# | trained networks | `data/weights/`, each trained by us, below [1 MB](given:limit) |
# | measured numbers | `data/results/`, with date and machine |

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

# %% [markdown] tags=["quiz:local"]
# ### Quiz 0.1: Why does FCN fail at the houses?
#
# - [ ] It has too few parameters.
#   More parameters behind the same short view see nothing more. What is missing is not capacity but
#   information.
# - [ ] It was trained too short.
#   No training finds what the input does not hold. One in three is the limit for every local network.
# - [x] The balloon lies outside of what it sees.
#   The middle of the balloon that decides is at least [76](claim:nearest) pixels from that of the house,
#   for half of the houses more than [95](claim:middle); FCN's view ends after 42.

# %% [markdown] tags=["quiz:bright"]
# ### Quiz 0.2: A balloon shines in the attention picture of a house. What does that tell you?
#
# - [x] Much of what the block fetched for this pixel came from there.
#   That, and only that, is what the weights say.
# - [ ] The balloon is the reason for the class.
#   It may be, but other layers come after the block and may ignore what was fetched. Repainting the
#   balloon tests it.
# - [ ] The network is certain about this pixel.
#   Certainty is a matter of the class scores. A network can look hard and be wrong.

# %% [markdown] tags=["quiz:notyet"]
# ### Quiz 0.3: A check stops with `NotYet`. What happened?
#
# - [ ] The notebook is broken; start again.
#   `NotYet` is the normal answer to an unfinished exercise. Nothing is lost.
# - [x] The answer is missing or not right yet, and the message says what to look at.
#   Change the answer, run its cell, run the check again. Its inputs are new each time.
# - [ ] The answer was compared with a stored solution and differs.
#   Checks know no solution; they test properties that every right answer has, however written.

# %% [markdown] tags=["instructor"]
# Whole lesson: 25 minutes with the predictions, 15 if people know notebooks. Usual trouble: a notebook
# opened in a preview instead of JupyterLab (no widgets), a cell run out of order (Run > Restart Kernel
# and Run All Cells stops at the first unanswered prediction, which is intended). Prompt for the end:
# *name a task outside of computer vision in which the deciding hint is far from the question.*
#
# Answers: predictions about 0.33 and 1; quiz C, A, B.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You ran the set-up check, estimated what a network with a short view can reach (one house in three),
# asked pixels where they look, and know the difference between what was *fetched* and what *decided*.
#
# Read more: X. Wang and others, *Non-local Neural Networks*, CVPR 2018; Z. Zhu and others, *Asymmetric
# Non-local Neural Networks for Semantic Segmentation*, ICCV 2019, the paper of this course.
#
# Next: [which pixel is what?](01_semantic_segmentation.ipynb), on how an answer for every pixel is scored.
