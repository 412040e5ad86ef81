# %% [markdown] tags=["header"]
# # 0. Start here: set-up, and a first look at attention
#
# *Can you tell what a house is without looking at the house?*
#
# - **Before:** a little Python. No deep learning is needed for this lesson. Lessons 2 to 7 need some
#   PyTorch: the self-test at the end tells you whether to read the bridge section first.
# - **Time:** 55 min: reading 25, exercises 25, running 5; optional bridge, 30 min more
# - **Runs in:** 20 s (quick), 40 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. run a set-up check and say what it has shown ([Exercise 0.1](exercise:click))
# 2. estimate the accuracy of a network with a small receptive field ([Prediction 0.1](predict:local))
# 3. choose a query pixel and read what it attends to ([Exercise 0.2](exercise:ask))
# 4. say what an attention map shows, and what it does not show ([Prediction 0.2](predict:repaint), [Quiz 0.2](quiz:bright))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import numpy as np
import torch
from IPython.display import display
from torch import nn

from annlib.course import checks, plots, widgets
from annlib.course.attention import (
    attention_of,
    count_right,
    hint_offsets,
    house_answer,
    match,
    predict_labels,
    sample_photo,
)
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson
from annlib.data.balloon_town.dataset import make_scene, repaint
from annlib.data.classes import CAMVID
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.build import shipped_model

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()
first_seed = FIRST_VAL_SEED + 1000 * lesson.seed  # of scenes that no network here was trained on

# %% [markdown]
# ## Balloon Town: the decisive hint is far away
#
# This is Balloon Town, a set of images that annlib draws. **Semantic segmentation** means to assign a
# class to every pixel. The left image is the input. The right image shows the **label** of each pixel, that
# is its correct class: one of ten. White pixels have no label. They count neither in training nor in the
# scores. There are two kinds of them: the borders between objects, where even a person could not decide the
# class of a pixel, and the front of the car that carries the camera.
#
# Look at the houses: some are **homes**, some are **shops**, some are **schools**. Before you read on:
# what in the left image tells you which house is which?

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
plots.scene(scene)

# %% [markdown]
# <details>
# <summary>Open this after you have looked for a minute: the rule</summary>
#
# The houses themselves do not show it. All three kinds get the same paints, and their doors and windows
# are drawn at random. The hint is in the sky. Find the balloon that has **the same paint** as the house,
# and read its pattern:
#
# | pattern of the balloon | the house is a |
# |---|---|
# | belt | home |
# | stripe | shop |
# | disc | school |
#
# Check the rule on one house of the image. Networks are never given this rule. They get only images
# and labels.
#
# </details>

# %% [markdown] tags=["instructor"]
# Five minutes. Let the group search for a minute before anybody opens the rule. Groups usually propose
# size, roof or position. Ask: *how far is a house from its balloon, compared with the size of the
# house?* This distance is the topic of the course: long-range context.

# %% [markdown]
# ## Set-up check
#
# The course relies on interactive figures. First check that your browser can reach Python. (If a cell
# says `NameError`, a cell above it has not been run since Python started. Choose Run > Run All Above
# Selected Cell.)

# %%
machine = widgets.set_up()
machine

# %% [markdown] tags=["exercise:click"]
# ### Exercise 0.1: Click
#
# *Difficulty 1/5, importance 5/5, about 2 min, objective 1*
#
# Press the blue button above, with the mouse, or with the Tab key until it is framed and then Space. The
# line below it must change from ○ to ✓. Then run the check. (The three dots in the next cell can stay.)

# %% tags=["answer:click"]
# There is nothing to write: the click is the answer.
# solution
machine.button.click()  # the same event, sent without a mouse

# %% [markdown] tags=["hint:click:1"]
# A widget has two parts. What you see runs in the browser, and what it computes runs in Python. The
# button works only while Python runs the notebook.

# %% [markdown] tags=["hint:click:2"]
# If you see no button, run the cell above again (Shift + Enter). If the button has no effect, it
# belongs to an earlier start of Python: run the cell again, too.

# %% [markdown] tags=["hint:click:3"]
# If the page cannot show widgets, you can send the event from Python: `machine.button.click()`. You can
# read the course without widgets, because each widget also shows a still image.

# %% tags=["check:click"]
checks.click_arrived(machine.clicked)

# %% [markdown]
# ## A network with a small receptive field
#
# Our first network is a fully convolutional network (FCN). It computes a **feature map** of 16 x 24
# positions: an eighth of the height and width of the image. Each position depends on a square of 63
# pixels, its **receptive field**. Then the class scores are upsampled to the size of the image, which
# mixes neighbouring positions. So the prediction for one pixel depends only on pixels up to 42 pixels
# away, in each direction. This is all that the network can use to classify one house:

# %%
house = scene.houses[1]
query = (int(house.bottom) - 10, int(house.left + house.right) // 2)
assert scene.mask(house)[query], "the query pixel should be on the house"
distances = np.hypot(*hint_offsets(FIRST_VAL_SEED, num_scenes=1000).T)
lesson.claim("nearest", distances.min(), within=0.5, unit="pixels")
lesson.claim("middle", float(np.median(distances)), within=0.5, unit="pixels")
lesson.claim("farthest", distances.max(), within=0.5, unit="pixels")
plots.field_of_view(scene, *query, side=42 + 1 + 42)

# %% [markdown]
# The three lines above the image were *measured now, on your machine*. The distance from the middle of a
# house to the middle of its balloon is at least [76](claim:nearest) pixels, [95](claim:middle) in the
# median and at most [172](claim:farthest). When a lesson states a number that we measured, you find such
# a line next to it. Numbers that others measured come with their source.

# %% [markdown]
# ### Prediction 0.1: How many houses does FCN classify correctly?
#
# FCN was trained on 400 scenes, like the other network below. Now it gets new scenes. Which fraction of
# the houses does it classify correctly, from 0 to 1? Write your prediction **before** you go on. An
# incorrect prediction helps more than none, because you will remember the answer.

# %% tags=["predict:local"]
guess_local = 0.33  # solution

# %%
fcn = shipped_model("balloon_fcn").to(lesson.device)
num_scenes = lesson.pick(quick=10, learn=60, full=200)
scenes = [make_scene(first_seed + index) for index in range(num_scenes)]
correct, total = count_right(fcn, scenes)
close = lesson.pick(quick=0.5, learn=0.25, full=0.25)  # with few houses the fraction varies
predictions.compare("0.1", guess_local, correct / total, tolerance=close, between=(0, 1))
print(f"FCN classifies {correct} of {total} houses correctly.")

# %% [markdown]
# <details>
# <summary>After you have run the cell: why this result</summary>
#
# There are three kinds of house, all equally frequent, and they look the same within the receptive
# field. So FCN can only guess, and a guess is correct for about one house in three. More training cannot
# change that. (The fraction varies from sample to sample: by about [3.5 %](given:binomial-spread), one
# standard deviation, for 180 houses, and by more for fewer houses.)
#
# </details>
#
# The next figure shows predictions of FCN and of a second network. ✓ and ✗ above a house say whether the
# class that most of its pixels get is correct.

# %%
shown = scenes[1:4]
nonlocal_net = shipped_model("balloon_nonlocal").to(lesson.device)
answers = {
    name: [predict_labels(net, one.image) for one in shown]
    for name, net in {"FCN": fcn, "Non-local": nonlocal_net}.items()
}
plots.predictions(shown, answers)

# %% [markdown]
# ## A network in which every position attends to every position
#
# The last column shows the same network with one more block: a **non-local block**. It lets every
# position of the feature map combine information from all other positions. FCN already classified sky,
# road and trees correctly. The non-local network also classifies the houses correctly. How often?

# %%
correct, total = count_right(nonlocal_net, scenes)
print(f"The non-local network classifies {correct} of {total} houses correctly.")
lesson.claim("nonlocal-right", 100 * correct / total, within=2, unit="%")
assert total == sum(len(one.houses) for one in scenes)

# %% [markdown]
# It classifies [100 %](claim:nonlocal-right) of the houses correctly, or nearly so. Does it really read the
# balloons? Let us test this instead of trusting it. We repaint the pattern of **one** balloon, leave
# every other pixel as it is, and run both networks again.

# %% [markdown]
# ### Prediction 0.2: What changes?
#
# The balloon that we repaint has the paint called amber: a golden yellow-orange, the paint of the house
# in the middle. (The vermilion paint is redder.) We change its pattern and nothing else. With three
# houses and two networks there are **six** predicted classes. How many of them change?

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
# <details>
# <summary>After you have run the cell: what the experiment shows</summary>
#
# One balloon decides one house. The prediction of the non-local network follows the balloon of the same
# paint and no other balloon. FCN gets the same pixels for all houses in both rows, so its predictions
# cannot change. An image that differs from another in one controlled detail is called a
# *counterfactual*. It is the strongest evidence in this course, stronger than any attention map.
#
# </details>

# %% [markdown] tags=["instructor"]
# Eight minutes for both predictions. Collect predictions for 0.1 on the board before the cell is run:
# 0.5 and 0.9 are common, 1/3 is rare. Discussion: *would more layers, more data or longer training help
# FCN?* Only a larger receptive field would. When late, skip the figure of predictions, but never the
# counterfactual.

# %% [markdown]
# ## Read an attention map
#
# Inside the non-local block the feature map has 16 x 24 positions. Each position is a **query**: it
# gives every position (a **key**) an **attention weight**. The weights of one query sum to 1. We say
# that the query *attends to* the keys that get large weights. The next cell fetches all weights for our
# scene.

# %%
attention = attention_of(nonlocal_net, scene.image)["context.attention"]
assert attention.weights.shape == (16 * 24, 16 * 24)  # one row for each query position
assert np.allclose(attention.weights.sum(-1).cpu(), 1, atol=1e-4)
print(f"{len(attention.weights)} query positions; each row of weights sums to 1.")

# %% [markdown]
# In the widget, the ring marks the query pixel. Click another pixel, drag the ring or press the arrow
# keys. Left: the image, brighter where the attention weight is larger. Right: the weights as a map.
# Below: the same in words. The **entropy** in bits says how widely the weights are spread: 0 bits for
# all attention on one position, about [8.6](given:log2-384) bits for equal attention to all 384.
#
# Try this, and say each time *what changes, and why*:
#
# 1. Put the ring on each of the three houses. Which object gets the largest weights?
# 2. Put the ring on the sky, then on the road. Does their class depend on a balloon?
# 3. Put the ring on a house and set "scores x" to 0, then to 4. Which setting spreads the attention
#    evenly, and which setting concentrates it?

# %%
widgets.attention_explorer({"Non-local": nonlocal_net}, scene)

# %% [markdown] tags=["exercise:ask"]
# ### Exercise 0.2: Choose a query pixel
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 3*
#
# Find a pixel on a house that attends more to one class of balloons (belt, stripe or disc) than to any
# other class, its own house included. Write its row and column. The check verifies both conditions and
# prints the attention by class, for example "attends [85%](given:example) to belt, [6%](given:example) to sky".

# %% tags=["answer:ask"]
house_pixel = (92, 44)  # solution

# %% [markdown] tags=["hint:ask:1"]
# Which pixels need information from far away? Those whose class cannot be seen from nearby pixels.

# %% [markdown] tags=["hint:ask:2"]
# Move the pointer over the image in the widget. The line below it shows the row and the column. The row
# comes first, and row 0 is at the top.

# %% [markdown] tags=["hint:ask:3"]
# Houses stand just above the road, around row 95. The middle of a wall is a good place. Start with
# `house_pixel = (95, ...)`.

# %% tags=["check:ask"]
checks.house_pixel(house_pixel, scene, attention)
plots.attention_map(scene.image, attention, *house_pixel, "Your query pixel", "nonlocal")

# %% [markdown] tags=["instructor"]
# Six minutes for the explorer. Answers: (1) The balloon of the same paint, and to some degree the house
# itself. (2) No. The sky attends to nearly everything, the road attends to cars and road. (3) With 0 all
# scores are equal, so the attention is even. With 4 nearly all attention goes to the key with the
# highest score. Usual mistakes in 0.2: column before row, or a pixel at the edge of a house. Stop here
# when 25 minutes are gone: the rest can be read at home.

# %% [markdown]
# ## The two blocks of the paper: APNB and AFNB
#
# To compute attention for all 384 keys is exact but expensive. The paper of this course replaces the
# keys by 110 **anchors**. An anchor is the mean over one cell of a grid. There are four grids, of 1 x 1,
# 3 x 3, 6 x 6 and 8 x 8 cells, so there are 1 + 9 + 36 + 64 = 110 anchors. The paper has two such
# blocks: the Asymmetric Pyramid Non-local Block (**APNB**) and the Asymmetric Fusion Non-local Block
# (**AFNB**).
#
# In the next figure, each arrow starts at a house. It ends at the position, or at the cell of the anchor,
# that gets the largest attention weight of this house. Other cells are framed if their weight is at least a
# quarter of the largest. If a house attends to the balloon of its paint, the arrow ends on its own colour.

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
    print(f"{title}: {found} of 3 houses attend more to their own balloon than to any other.")
plots.house_attention(scene, blocks)

# %% [markdown]
# - **Non-local block:** a position is smaller than a balloon, so attention can be precise. The price is
#   384 scores for each query position.
# - **APNB** (here in a network without AFNB): the cells are coarse. An anchor that covers the balloon also
#   covers sky, so the weight on the balloon is smaller. Some houses also attend to themselves or to another
#   balloon: look for such cells.
# - **AFNB** (here in the whole network of the paper, ANN, in which an APNB follows): the cells are equally
#   coarse, but the keys come from an earlier, low-level feature map. Compare its percentages with those of
#   APNB.
#
# **What this does not show.** This is one image, and each network was trained once, so there are no
# statistics. (They are in `data/results/`. `balloon_town.md` has scores over five training runs: FCN
# classifies [0.326](result:balloon_town.md) of the house pixels correctly. `attention.md` has the attention
# of 500 houses.) The town was designed so that long-range context is *necessary*. In photos it often only
# helps. And a bright region is not necessarily a cause: the attention map shows which values were combined,
# and only the repainted balloon shows what decided the class.

# %% [markdown]
# ## A real photo
#
# The next network was trained on photos of streets (the CamVid data set). Now it gets a photo that is unlike
# its training set: a sample image of scikit-learn, a temple in China. Before you run the cell: which of the
# network's classes (sky, building, pole, road, pavement, tree, sign, fence, car, pedestrian, bicyclist) do you
# expect, and where will the prediction be incorrect?

# %%
street_net, photo = shipped_model("streets_ann"), sample_photo()
assert photo.ndim == 3 and photo.dtype == np.uint8  # (H, W, 3)
street_labels = predict_labels(street_net, photo)
display(plots.segmentation(photo, street_labels, CAMVID, "ANN, trained on streets"))

# %% [markdown]
# The next cell opens the same explorer on the photo. Try this, and compare with the town:
#
# 1. Put the ring on the roof, then on the sky. Is there one object that gets most of the attention, as
#    the balloon does in the town?
# 2. Switch between the blocks AFNB and APNB. Which one spreads its attention more widely? Read the
#    entropy.
# 3. Choose a pixel whose predicted class is incorrect. Does its attention map tell you why?

# %%
display(widgets.attention_explorer({"ANN": street_net}, {"photo": photo}))

# %% [markdown]
# <details>
# <summary>After you have tried it: what to expect on photos</summary>
#
# On a photo attention is usually spread widely, over many anchors, and no single object explains the
# class. That is normal: sky, road and buildings can be classified from nearby pixels, so long-range
# context is one source of evidence among several. The network also has no class for a temple, so it must
# choose the most similar class that it knows. The town is the better place to learn how to *read*
# attention, because there we know what the correct source is. Photos show why you must not trust a
# single map.
#
# </details>
#
# ## The path through the course
#
# The **core path** is lessons 0 to 7, one in each of eight sessions. It takes 740 minutes in all, a little more than 12 hours.
#
# | session | lesson | you | minutes |
# |--:|---|---|--:|
# | 1 | 0. Start here | meet Balloon Town and a first attention map | 55 |
# | 2 | [1. Semantic segmentation](01_semantic_segmentation.ipynb) | compute the scores of a segmentation | 80 |
# | 3 | [2. Non-local attention](02_non_local_attention.ipynb) | build and train a non-local block (two sittings) | 105 |
# | 4 | [3. The cost of attention](03_cost_of_attention.ipynb) | derive and measure its cost | 70 |
# | 5 | [4. Pyramid pooling](04_pyramid_sampling.ipynb) | build the APNB (two sittings) | 105 |
# | 6 | [5. Asymmetric fusion](05_asymmetric_fusion.ipynb) | build the AFNB, and trace the whole network (two sittings) | 120 |
# | 7 | [6. Training](06_training.ipynb) | write and debug the training | 100 |
# | 8 | [7. Attention maps](07_attention_maps.ipynb) | test explanations of attention maps | 105 |
#
# Lessons [8](08_comparing_runs.ipynb) to [10](10_capstone.ipynb) continue it: many runs, real images, a study of your
# own. Lessons [11](11_folding.ipynb) and [12](12_efficient_attention.ipynb) are optional. All thirteen lessons take
# 1230 minutes, about 20 hours, without their optional sections and without the study of lesson 10 (2 hours). These
# minutes are estimates for reading, exercises and running (`notebooks/README.md` has the rule); take the time that you
# need. If a session is too short, leave the open exercise at its end for later.
#
# ## Where to find things
#
# | What | Where |
# |---|---|
# | these lessons | `notebooks/`; with answers in `notebooks/solutions/` |
# | the code, meant to be read | `annlib/`; the paper's blocks in `annlib/model/asymmetric.py` |
# | checks of the exercises | `annlib/course/checks/`; run them as often as you like |
# | your predictions | in this notebook's memory only; the table below lists them |
# | trained networks | `data/weights/`, trained by us; those of the town are below [1 MB](given:limit) each |
# | measured numbers | `data/results/`, with date and machine |

# %% [markdown]
# ## Self-test: the PyTorch that later lessons assume
#
# Answer each question in your head, then open its answer. Count your correct answers.
#
# **A.** A batch holds 8 RGB images of 128 x 192 pixels. What is the shape of its tensor in PyTorch?
#
# <details><summary>Answer A</summary>
#
# `(8, 3, 128, 192)`: batch, channels, height, width, in short (B, C, H, W).
#
# </details>
#
# **B.** `nn.Conv2d(3, 16, kernel_size=3, stride=2, padding=1)` gets this batch. What is the output shape?
#
# <details><summary>Answer B</summary>
#
# `(8, 16, 64, 96)`: 16 output channels; the stride of 2 halves height and width.
#
# </details>
#
# **C.** `x` is a tensor of shape (2, 4, 6). What are the shapes of `x.mT` and of `x.flatten(1)`?
#
# <details><summary>Answer C</summary>
#
# `(2, 6, 4)`, because `.mT` exchanges the last two axes, and `(2, 24)`.
#
# </details>
#
# **D.** Put in order: `optimizer.step()`, `loss.backward()`, `optimizer.zero_grad()`, `loss = f(model(x))`.
#
# <details><summary>Answer D</summary>
#
# `zero_grad`, forward pass and loss, `backward`, `step`. (`zero_grad` may also come last.)
#
# </details>
#
# **E.** Why do you call `model.eval()` before you measure accuracy?
#
# <details><summary>Answer E</summary>
#
# It switches dropout off and lets batch norm use its stored mean and variance instead of those of the
# batch. It does not switch off gradients: `torch.inference_mode()` does.
#
# </details>
#
# | correct answers | go on with |
# |---|---|
# | 4 or 5 | lesson 1, then lesson 2 |
# | 2 or 3 | lesson 1 (it needs only tensors with masks and sums); read the bridge below before lesson 2 |
# | 0 or 1 | the bridge below now, then lesson 1 |

# %% [markdown]
# ## Optional bridge: PyTorch in 30 minutes
#
# This section is for readers who missed questions above. Change the numbers in the cells and run them
# again: that is the fastest way to learn.
#
# **Tensors and shapes.** A tensor is an array with a data type and a device. Most errors in deep learning
# are errors of shape, so read the shape first.

# %%
images = torch.randn(2, 3, 32, 48)  # (B, C, H, W): random numbers in the place of images
print("shape", tuple(images.shape), "type", images.dtype)
print("mean of each channel:", tuple(images.mean(dim=(0, 2, 3)).shape))  # axes that disappear
positions = images.flatten(2)  # (B, C, H * W): height and width become one axis
assert positions.shape == (2, 3, 32 * 48)
scores = positions.mT @ positions  # (B, N, C) @ (B, C, N) -> (B, N, N): all pairs of positions
print("a score for each pair of positions:", tuple(scores.shape))

# %% [markdown]
# `softmax(dim=-1)` makes positive weights that sum to 1 along the last axis. Try `dim=0` in the next
# cell: the shape stays the same, but other sums become 1. This mistake gives no error message.

# %%
weights = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).softmax(dim=-1)
print(weights, weights.sum(dim=-1))

# %% [markdown]
# **Layers and modules.** A convolution slides a small kernel over the image; a 1 x 1 convolution is a
# linear map of the channels at each position. Batch norm shifts and scales each channel so that mean and
# variance over the batch are 0 and 1. A `nn.Module` holds layers in `__init__` and says in `forward` how
# data passes through them. PyTorch finds the parameters of all layers by itself.

# %%


class SmallNet(nn.Module):
    """Classes of each position of a map with half the height and width."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.classifier = nn.Conv2d(16, num_classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, num_classes, H / 2, W / 2)"""
        return self.classifier(self.features(images))


net = SmallNet(num_classes=4)
assert net(images).shape == (2, 4, 16, 24)
print(f"{sum(p.numel() for p in net.parameters())} parameters")

# %% [markdown]
# **Loss and backward pass.** Cross-entropy compares the scores with the labels: it is small if the score
# of the correct class is the largest by far. `loss.backward()` computes the gradient of the loss with
# respect to each parameter and stores it in `parameter.grad`. The optimizer then moves each parameter a
# small step against its gradient. Predict before you run: what is the first loss, roughly, if the network
# has no idea which of 4 classes is correct?

# %%
targets = (images[:, 0, ::2, ::2] > 0).long()  # (B, 16, 24): 1 where red is positive, else 0
optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
for step in range(60):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(images), targets)
    loss.backward()
    optimizer.step()
    if step in (0, 9, 59):
        print(f"step {step + 1:2d}: loss {loss.item():.3f}")

# %% [markdown]
# <details><summary>After you have run it: the first loss</summary>
#
# About $\ln 4$, which is [1.39](given:log-4), give or take the random start: with equal probabilities of 1/4 the cross-entropy is
# $-\ln(1/4)$. Lesson 6 uses this number to find errors.
#
# </details>
#
# **Evaluation.** `net.eval()` changes batch norm and dropout; `torch.inference_mode()` skips what only the
# backward pass needs. `argmax` over the channels gives the predicted classes.

# %%
net.eval()
with torch.inference_mode():
    predicted = net(images).argmax(dim=1)  # (B, 16, 24)
print(f"{(predicted == targets).float().mean().item():.0%} of the positions are correct.")

# %% [markdown]
# That is all the PyTorch that lessons 2 to 6 need. To read more: the tutorial "Learn the Basics" in the
# documentation of PyTorch.

# %% [markdown] tags=["instructor"]
# Thirty minutes for the bridge, best as homework before lesson 2. Who should do it: everybody with fewer
# than four correct answers in the self-test. Usual mistakes: question B without the stride; question E
# answered with "no gradients". In class, change `dim=-1` to `dim=0` in the softmax cell and ask why there
# is no error message.

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

# %% [markdown] tags=["quiz:local"]
# ### Quiz 0.1: Why does FCN fail to classify the houses?
#
# - [ ] It has too few parameters.
#   More parameters with the same receptive field get the same pixels. The network lacks information, not
#   capacity.
# - [ ] It was not trained long enough.
#   Training cannot find what the input does not contain. One in three is the limit for every network with
#   such a receptive field.
# - [x] The balloon is outside its receptive field.
#   The middle of the balloon is at least [76](claim:nearest) pixels away from the middle of the house, and
#   more than [95](claim:middle) pixels for half of the houses. The receptive field ends after 42 pixels.

# %% [markdown] tags=["quiz:bright"]
# ### Quiz 0.2: A balloon is bright in the attention map of a house pixel. What does that show?
#
# - [x] The value at the balloon has a large weight in the output of the block for this pixel.
#   The weights say that, and nothing more.
# - [ ] The balloon is the reason for the predicted class.
#   It may be, but more layers follow the block, and they may ignore this output. Repainting the balloon
#   tests it.
# - [ ] The network is certain about this pixel.
#   Certainty concerns the class scores. The attention can be concentrated and the class still incorrect.

# %% [markdown] tags=["quiz:notyet"]
# ### Quiz 0.3: A check stops with `NotYet`. What happened?
#
# - [ ] The notebook is broken; start again.
#   `NotYet` is the normal result of an unfinished exercise. Nothing is lost.
# - [x] The answer is missing or not correct yet, and the message says what to look at.
#   Change the answer, run its cell, then run the check again. Checks use new inputs each time.
# - [ ] The answer was compared with a stored solution and differs.
#   Checks do not store solutions. They test properties that every correct answer has, however it is
#   written.

# %% [markdown] tags=["instructor"]
# Whole lesson: 45 minutes with the predictions and the photo, 25 if people know notebooks and read
# the last sections at home. Usual trouble: the notebook is opened in a preview instead of JupyterLab, so
# there are no widgets; or a cell is run out of order. (Run > Restart Kernel and Run All Cells stops at
# the first prediction that is not filled in, which is intended.) Prompt for the end: *name a task outside
# of computer vision in which the decisive hint is far away.*
#
# Answers: predictions about 0.33 and 1; quiz C, A, B.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You ran the set-up check, estimated what a network with a small receptive field can reach (one house in
# three), chose query pixels and read what they attend to, and can say the difference between what the
# attention *weights* and what *decided* the class.
#
# Read more: X. Wang and others, *Non-local Neural Networks*, CVPR 2018; Z. Zhu and others, *Asymmetric
# Non-local Neural Networks for Semantic Segmentation*, ICCV 2019, the paper of this course.
#
# Next: [semantic segmentation and its scores](01_semantic_segmentation.ipynb): how predictions for every
# pixel are scored.
