# %% [markdown] tags=["header"]
# # 9. Large images and real data sets: labels, sliding windows, memory
#
# *How do you prepare a training run that takes days, so that it has to be started only once?*
#
# - **Before:** lessons 1 and 6 (scores, training); lesson 8 helps
# - **Time:** 105 min: reading 30, exercises 70, running 5
# - **Runs in:** 30 s (quick), 60 s (learn), 60 min (full, with a GPU and the data), on 2 CPU cores
# - **Needs:** CPU for the imitation; `data_root` for real images; a GPU only for published networks
#
# ## After this lesson you can
#
# 1. convert the label files of a data set to class indices, and find an incorrect mapping ([Exercise 9.1](exercise:labels))
# 2. score a large image window by window, and predict what that does to long-range context ([Exercise 9.2](exercise:slide), [Prediction 9.2](predict:windows))
# 3. estimate the memory of a training step before it runs ([Exercise 9.3](exercise:memory))
# 4. compare a reproduced row with the published one, and list what limits the comparison ([Exercise 9.4](exercise:report))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""  # a folder of CamVid; with `experiment`, of that experiment's data set
experiment = ""

# %% tags=["setup"]
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from IPython.display import Markdown, display

from annlib.config import TestConfig
from annlib.course import checks, plots, widgets
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson, progress
from annlib.course.row_costs import image_size
from annlib.course.training import rehearsed_network, sample_image, town_scores
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED, labelled
from annlib.data.synthetic import mimic
from annlib.engine.inference import MULTI_SCALE
from annlib.model.build import shipped_model
from annlib.published_experiments import published

lesson = open_lesson(mode, device, seed, data_root, experiment, uses=("data_root", "experiment"))
predictions = Predictions()
row = published(lesson.experiment or "ann_r50-d8_512x1024_40k_cityscapes")
real = lesson.data_root is not None
camvid = real and lesson.experiment is None
data_name = "camvid" if camvid else row.experiment.data.dataset
print(f"Images of {data_name}:", "real ones" if real else "an IMITATION, made by annlib")

# %% [markdown]
# ## Labels of another data set
#
# Training on street images needs a GPU for a day or more. Many such days are lost by small errors: a folder
# that is one level too deep, a label with another meaning, a batch that does not fit into memory. You can find
# all of them in minutes, on a CPU. This lesson checks each step with little data before the long run.
#
# | you set | images | network |
# |---|---|---|
# | nothing | an imitation of Cityscapes: its folders, file names, label values and aspect ratio, none of its content | random weights |
# | `data_root` | real streets: CamVid, 701 images of 360 x 480 (`annlib data prepare camvid FOLDER`) | the street network of annlib |
# | `data_root` and `experiment` | real images of a published row: Cityscapes, ADE20K or Pascal VOC | the released weights |
#
# The same cells run in all three cases.
#
# Cityscapes evaluates 19 classes. Do you expect the numbers 0 to 18 in its label files? The next cell prints
# the values of one file.

# %%
rehearsal = tempfile.TemporaryDirectory()
shrink = 1 if real else 8  # sides are divided by it
root = lesson.data_root or Path(rehearsal.name, "data")
if not real:
    size = image_size(row.experiment, shrink)
    mimic(data_name, root, train=2, val=2, size=size, seed=seed)
image, raw = sample_image(root, data_name)
assert image.shape[:2] == raw.shape
print(f"image {image.shape[0]} x {image.shape[1]}, raw label values {raw.unique().tolist()}")
for path in sorted(root.rglob("*.png"))[:3]:
    print(path.relative_to(root))

# %% [markdown]
# A label file contains the *ids* of the data set's authors. Cityscapes has 34 of them, and 19 count in the
# score. ADE20K counts from 1 and uses 0 for everything else; other libraries therefore have an option
# `reduce_zero_label`, which subtracts 1. Pascal VOC uses 255 for object borders. CamVid uses 0 to 10 for
# its classes and 11 for everything else. A network needs the class indices $0 \dots K-1$, and 255 for pixels
# that do not count.
#
# The conversion looks like a subtraction, but label values are bytes.

# %% [markdown]
# ### Prediction 9.1: Six minus eleven
#
# In Cityscapes the id 11 is a building, and 6 is ground, which does not count. Somebody writes `labels - 11`.
# Which value does a pixel with the id 6 get, in a tensor of `torch.uint8`? (A number from -255 to 255.)

# %% tags=["predict:byte"]
guess_byte = 251  # solution

# %%
labels = torch.tensor([6, 11], dtype=torch.uint8) - 11
predictions.compare("9.1", guess_byte, int(labels[0]), between=(-255, 255))
scores_of_classes = torch.zeros(19)  # one for each class that counts
try:
    scores_of_classes[labels.long()]
except IndexError as error:
    print(f"IndexError: {error}")

# %% [markdown] tags=["reveal:byte"]
# Bytes wrap around modulo 256: 6 - 11 = -5 becomes 251. Indexing with it fails with the message above on a CPU.
# On a GPU it fails with `device-side assert triggered`, often at a later line. (In that case run the
# same batch on the CPU; its message can be understood.)
#
# An error that stops the program is the harmless case. `labels - 7`, for example, makes road class 0, but
# it also makes the car (id 26) class 19 and the ego vehicle (id 1) 250, so real Cityscapes files stop it at the
# first image. **Dangerous is a mapping whose results are all valid.** If every id that does not count is
# mapped to 0, all of these pixels become road. No error is raised, and training and scores are wrong. The next
# cell counts how many pixels that would be.

# %%
wrapped = raw - 7  # bytes
invalid = float(((wrapped > 18) & (wrapped != 255)).float().mean())
counted = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
others = float((~torch.isin(raw, torch.tensor(counted, dtype=torch.uint8))).float().mean())
if data_name == "cityscapes":
    print(f"labels - 7: {invalid:.0%} of the pixels get an invalid class, so indexing would fail.")
    print(f"All others to 0: {others:.0%} of the pixels would silently become road.")

# %% [markdown] tags=["exercise:labels"]
# ### Exercise 9.1: Labels to class indices
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 1*
#
# `values[k]` is the raw value of class $k$. Every other value becomes 255. For ADE20K `values` is 1 to 150, for
# Cityscapes 7, 8, 11, 12 and so on; your function must work for any of them. **Example:** with `values = (7, 8)`
# the raw labels `[[6, 7], [8, 7]]` become `[[255, 0], [1, 0]]`.
#
# *Extension (optional):* use a single indexing operation for the whole image, however many classes there are.


# %% tags=["answer:labels"]
def class_indices(raw: torch.Tensor, values: tuple[int, ...]) -> torch.Tensor:
    """uint8 (H, W), raw value of class 0, 1, ... -> class indices (H, W), 255 for all others"""
    # solution
    table = torch.full((256,), 255, dtype=torch.uint8)
    for index, value in enumerate(values):
        table[value] = index
    return table[raw.long()]


# %% [markdown] tags=["hint:labels:1"]
# A byte has 256 possible values. So a table with 256 entries answers every question, for an image of any size.

# %% [markdown] tags=["hint:labels:2"]
# Indexing a tensor with a tensor looks up every entry: `table[raw.long()]` has the shape of `raw`.

# %% [markdown] tags=["hint:labels:3"]
# ```
# table = torch.full((256,), 255, dtype=torch.uint8)
# for index, value in enumerate(values):
#     table[value] = ...
# return table[...]
# ```

# %% tags=["check:labels"]
checks.class_indices(class_indices)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# `table[raw.long()]` is that operation: the table is built once, with a loop over classes, and one lookup
# converts all pixels. A comparison for each class would read the image once per class.
#
# </details>

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Usual mistakes in 9.1: replacing values one after the other *in the same tensor* (7
# becomes 0, and a later step turns it into something else); 0 for "everything else", which is road; a `uint8`
# tensor as an index (torch reads it as a mask). Discussion: *how would you notice in the scores that two classes
# were swapped?* (Not at all, if training and test labels contain the same error.)

# %% [markdown]
# ## Sliding windows: images larger than the training crops
#
# ![Sliding window: eight windows of 769 x 769 on an image of 1025 x 2049, and how many score each pixel](diagrams/sliding_window.svg)
#
# A Cityscapes image has two million pixels. Some rows of the published table score it in one piece, others
# with **sliding windows**: the network sees each window alone, and where windows overlap, their scores are
# averaged. The last window of a row or column is moved back, so that all windows have the size of the training
# crops.
#
# Move the window over the image. The right figure shows how often each pixel is scored.
#
# 1. Leave the window as it is (three quarters of the image's height) and set the stride to "all of it". Windows
#    side by side should not overlap, but some of them do: which, and why?
# 2. Set the stride to "1/2". Which pixels get the most scores? Does it matter to the mean that others get
#    fewer?
# 3. Make the window higher than the image. What happens to it?

# %%
widgets.window_sliders(image)

# %% [markdown]
# **A worked example in one dimension.** The image has 6 pixels, the window 4, the stride 3. Windows would start at
# 0 and 3, but a window at 3 would end at 7. So it is moved back to 6 - 4 = 2. Suppose that the network gives the score
# 1 everywhere in the first window and 3 in the second. Two arrays are kept: the sum of the scores, and the
# number of windows at each pixel.

# %%
sums, counts = torch.zeros(6), torch.zeros(6)
for left, score_of_window in ((0, 1.0), (2, 3.0)):
    sums[left : left + 4] += score_of_window
    counts[left : left + 4] += 1
    print(f"window at {left}: sums {sums.tolist()}, counts {counts.tolist()}")
print("mean scores:", (sums / counts).tolist())
assert (sums / counts).tolist() == [1, 1, 2, 2, 3, 3]

# %% [markdown] tags=["exercise:slide"]
# ### Exercise 9.2: Sliding windows in two dimensions
#
# *Difficulty 3/5, importance 4/5, about 25 min, objective 2*
#
# `score` takes windows (B, C, h, w) and returns scores (B, K, h, w). Windows start at 0, stride, 2 x stride, and so
# on; the last one is moved back. An image that is smaller than the window is scored in one piece. For a window as
# large as the image the result equals `score(images)`.
#
# *Extension (optional):* the mean gives the border of a window the same weight as its centre, although a border
# pixel has less context. Weight the scores of a window, with the largest weight in its centre. What must `counts`
# contain then?


# %% tags=["answer:slide"]
def slide(score, images: torch.Tensor, window: tuple, stride: tuple) -> torch.Tensor:
    """images (B, C, H, W), (height, width) of window and stride -> mean scores (B, K, H, W)"""
    # solution
    height, width = images.shape[2:]
    last_top, last_left = max(height - window[0], 0), max(width - window[1], 0)
    tops = sorted({min(top, last_top) for top in range(0, last_top + stride[0], stride[0])})
    lefts = sorted({min(left, last_left) for left in range(0, last_left + stride[1], stride[1])})
    total, count = 0.0, torch.zeros(height, width)
    for top in tops:
        for left in lefts:
            place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            scores = score(images[place])
            if count.sum() == 0:
                total = scores.new_zeros(*scores.shape[:2], height, width)
            total[place] += scores
            count[place] += 1
    return total / count


# %% [markdown] tags=["hint:slide:1"]
# As in the example: keep two tensors of the image's size, one for sums and one for counts, and divide at the end.
# Two nested loops run over the top rows and the left columns of the windows. The number of classes K is known
# after the first call of `score`.

# %% [markdown] tags=["hint:slide:2"]
# The last start is `last_top = max(height - window[0], 0)`. All starts are
# `min(top, last_top)` for `top` in `range(0, last_top + stride[0], stride[0])`; a `set` removes a start that occurs
# twice. A window is `images[:, :, top : top + window[0], left : left + window[1]]`.

# %% [markdown] tags=["hint:slide:3"]
# ```
# tops = sorted({min(top, last_top) for top in range(0, last_top + stride[0], stride[0])})
# lefts = ...
# total, count = None, torch.zeros(height, width)
# for top in tops:
#     for left in lefts:
#         place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
#         scores = score(images[place])
#         if total is None:
#             total = scores.new_zeros(...)
#         ...
# ```

# %% tags=["check:slide"]
checks.slide(slide)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# `counts` then contains the sum of the weights at each pixel: add `weight * scores` to the sums and `weight` to
# `counts`. The division gives the weighted mean. Every weight must be above 0, or a pixel that only the border of a
# window covers would be divided by 0.
#
# </details>

# %% [markdown]
# How do sliding windows affect a network that needs long-range context? Balloon Town can show it, because there a
# window may contain a house but not its balloon.

# %% [markdown]
# ### Prediction 9.2: Windows in the town
#
# ANN classifies nearly all houses of unseen scenes correctly if it gets a scene (128 x 192 pixels) in one piece. Now
# it gets windows of 64 x 64 pixels with the stride 32. Its house accuracy: "stays" (above [0.9](given:bound)), "falls",
# or ends at "chance" (below [0.4](given:bound))?

# %% tags=["predict:windows"]
guess_windows = "chance"  # solution

# %%
town_net = shipped_model("balloon_ann").to(lesson.device)
tests = {
    "whole": TestConfig(),
    "windows 128 x 128": TestConfig("slide", window=(128, 128), stride=(64, 64)),
    "windows 64 x 64": TestConfig("slide", window=(64, 64), stride=(32, 32)),
    "with its mirror image": TestConfig(flip=True),
    "six scales, mirrored": TestConfig(scales=MULTI_SCALE, flip=True),
}
found = {
    name: town_scores(town_net, test, num_scenes=12)
    for name, test in progress(tests.items(), len(tests), "ways of testing")
}

# %%
small = found["windows 64 x 64"]["house_accuracy"]
outcome = "stays" if small > 0.9 else "chance" if small < 0.4 else "falls"
predictions.compare("9.2", guess_windows, outcome, options=("stays", "falls", "chance"))
for name, one in found.items():
    print(f"{name:22} house accuracy {one['house_accuracy']:.3f}, mIoU {one['miou']:.3f}")
for key, name in (("whole", "whole"), ("w128", "windows 128 x 128"), ("w64", "windows 64 x 64")):
    lesson.claim(f"town-{key}", found[name]["house_accuracy"], within=0.02)
lesson.claim("town-flip", found["with its mirror image"]["house_accuracy"], within=0.02)
lesson.claim("town-scales", found["six scales, mirrored"]["house_accuracy"], within=0.03)

# %% [markdown] tags=["reveal:windows"]
# In one piece: [1.00](claim:town-whole). Windows as high as the image lose some houses, whose balloons are outside
# the window ([0.93](claim:town-w128)). Windows of 64 pixels lose all of them: with [0.27](claim:town-w64) the
# network is at chance, like FCN in lesson 0. Only the way of testing was changed. **A large receptive field cannot
# see beyond the window.**
#
# Averaging with the mirror image does no harm ([1.00](claim:town-flip)). The six scales of the published column do:
# [0.53](claim:town-scales). On Cityscapes they help (for our row [77.40](cited:mmseg-cityscapes) becomes
# [78.57](cited:mmseg-cityscapes)), because there the networks were trained on images of half to double size. The
# town's network was trained on one size only. So the way of testing is part of the recipe; do not choose it after
# looking at the results.

# %% [markdown] tags=["instructor"]
# Thirty minutes. Usual mistakes in 9.2: a narrow last window, sums without counts, a stride larger than the
# window (gaps, so 0 / 0). Discussion: *why does sliding help on Cityscapes, if it destroys the town?*
# (There the network was trained on crops of the window's size; it cannot use context that it never saw in training.
# The town's network was trained on whole scenes.) When late, show the five lines of scores and skip the writing of
# `slide`. A good place to stop for the day: memory and evaluation need nothing from here but the imports.

# %% [markdown]
# ## Estimating memory before training
#
# A training step keeps two kinds of tensors in memory. **Once:** each parameter with its gradient and its
# momentum, three numbers of four bytes. **Once per image:** the feature maps that the backward pass needs.
# With $P$ parameters, $B$ images and $A$ bytes of feature maps per image:
#
# $$M(B) = 12\,P + B \cdot A$$
#
# $A$ is tedious to count and easy to measure with *one* image, on any machine.
#
# **Example.** $P$ = 1 million, and $12 P$ is `12` million bytes. One image takes $M(1)$ = `20` million bytes. So $A$ is `8`
# million bytes, and $M(4)$ = `12 + 4 * 8` = `44` million bytes, not `4 * 20`.

# %% [markdown] tags=["exercise:memory"]
# ### Exercise 9.3: One measurement, any batch
#
# *Difficulty 1/5, importance 5/5, about 5 min, objective 3*
#
# With $P$ = `parameters`, one step with one image took `measured` = $M(1)$ bytes. How many bytes does a `batch` of $B$
# images take?
#
# *Extension (optional):* with 16-bit feature maps, which of the two terms shrinks, and by how much?


# %% tags=["answer:memory"]
def step_bytes(parameters: int, measured: int, batch: int) -> float:
    """P; M(1), the bytes of a step with one image; B -> M(B), the bytes of a step with B"""
    # solution
    once = 12 * parameters
    maps = measured - once  # A
    return once + batch * maps


# %% [markdown] tags=["hint:memory:1"]
# Solve the formula for $A$ at $B = 1$, then insert $A$ again.

# %% [markdown] tags=["hint:memory:2"]
# The measurement contains the $12\,P$ as well: subtract them before you multiply, and add them afterwards.

# %% [markdown] tags=["hint:memory:3"]
# ```
# once = 12 * parameters
# maps = measured - ...
# return once + ...
# ```

# %% tags=["check:memory"]
checks.step_bytes(step_bytes)

# %% [markdown]
# <details><summary>Extension: an answer</summary>
#
# Only $B \cdot A$ shrinks, to about half. Weights, gradients and momentum stay in 32 bits in mixed precision, and
# so does what a step adds up in `fp32`.
#
# </details>

# %% [markdown]
# Does a real network follow the formula? We measure two steps of the town's ANN with SGD, first with one image, then
# with eight; `peak_bytes` returns the largest number of bytes that tensors occupied at one time.

# %%
from annlib.course.training import measured_step, parameters_of

one, eight = (measured_step("ann", images, lesson.device) for images in (1, 8))
parameters = parameters_of("ann")
guess = 12 * parameters + 8 * (one - 12 * parameters)
print(f"one image {one / 2**20:.1f} MiB, so eight: {guess / 2**20:.1f}")
print(f"measured {eight / 2**20:.1f} MiB, the estimate differs by {guess / eight - 1:+.0%}")
lesson.claim("memory-eight", eight / 2**20, within=1.5, unit="MiB")
lesson.claim("memory-guess", guess / 2**20, within=1.5, unit="MiB")
lesson.claim("memory-off", 100 * (1 - guess / eight), within=2, unit="%")
assert abs(guess / eight - 1) < 0.2, "the estimate should be within 20 % of what was measured"

# %% [markdown]
# From one image the formula estimates [40](claim:memory-guess) MiB for eight; [44](claim:memory-eight) MiB were
# measured, so the estimate is [9 %](claim:memory-off) too low. That is close enough to decide whether to start. Why
# is it too low? Most feature maps exist at the *start* of the backward pass, when the gradients of the weights do
# not exist yet. The formula subtracts these gradients all the same, so its $A$ is a little too small, and
# eight images multiply the error by eight.
#
# Now take a published row. Its training memory was published for two (Cityscapes) or four images on each GPU.

# %% [markdown]
# ### Prediction 9.3: Eight images
#
# Row `ann_r50-d8_512x1024_40k_cityscapes` took [6.0 GB](cited:mmseg-cityscapes) for two images of 512 x 1024 on each
# GPU, and has 46 million parameters. How many GB will eight images take on one GPU? (A number from 6 to 60.)

# %% tags=["predict:eight"]
guess_eight = 22  # solution

# %%
from annlib.course.row_costs import GPUS, estimate

example = estimate("ann_r50-d8_512x1024_40k_cityscapes", GPUS["RTX 3090, 24 GB"], 8, "fp32")
predictions.compare("9.3", guess_eight, example.memory_gb, tolerance=0.05, between=(6, 60))
lesson.claim("eight-gb", example.memory_gb, within=0.5, unit="GB")

# %% [markdown] tags=["reveal:eight"]
# [22](claim:eight-gb) GB, not 24: the weights exist once.

# %% [markdown]
# The **pre-flight** widget makes this estimate for every row, and adds hours and disk space. Memory is based on the
# published number. Hours are based on counted operations and on the peak rates in NVIDIA's data sheets (V100, A100,
# H100: the SXM form; 16-bit products accumulated in `fp32`, without sparsity). No program reaches a peak rate: for
# `fp32` we take the fraction that the GPU of the published table reached, for 16 bits
# [35 %](given:half-share), which is our assumption. So the hours are a range. (PyTorch lets convolutions on newer
# GPUs use TF32, which is faster than the `fp32` assumed here.)
#
# 1. Which is the smallest GPU that trains the 769 x 769 row of R-101 with two images? And with eight?
# 2. Take a row that does not fit. What helps more: half the images, or 16-bit feature maps? Which of them changes
#    the recipe?
# 3. On a T4 the memory suffices for one image. What does the range of hours say?

# %%
widgets.preflight()

# %% [markdown]
# 16 bits halve the feature maps, but not the weights, gradients and momentum. In **mixed precision**, convolutions
# and matrix products run in `bf16` (in `fp16` on a T4 or V100, which have no fast `bf16`), and everything that adds up
# small numbers stays in `fp32`. Does the prediction of a trained network change? One scene of the town, in both:

# %%
from annlib.course.training import same_classes

scene = make_scene(FIRST_VAL_SEED + 21)
share, halves = same_classes(town_net, scene.image)
print(f"{share:.2%} of the pixels get the same class in fp32 and in bf16.")
lesson.claim("same-in-bf16", 100 * share, within=0.2, unit="%")
plots.predictions([scene], {name: [labels] for name, labels in halves.items()})

# %% [markdown]
# [99.96 %](claim:same-in-bf16) of the pixels keep their class; in the others two classes had nearly equal scores. This is
# one scene and inference only. Whether *training* in 16 bits reaches the same score can only be tested by training.

# %% [markdown] tags=["instructor"]
# Twenty minutes with the widget. Usual mistakes in 9.3: everything times the batch; Adam's 16 bytes. Let groups
# plan with their own GPU. Prompt: *the estimate says 23.5 of 24 GB. Do you start?* (No: other programs, cuDNN's
# workspace and fragmentation need room.) `--accumulate` of `annlib train` keeps the batch of the recipe.
#
# Answers, windows: (1) The last window of a row or column is moved back, so it overlaps its neighbour. (2) Pixels in the
# middle; it does not matter, because each pixel is divided by its own count. (3) It is cut to the image's height.
#
# Answers, pre-flight: (1) two images: 10.7 GB, a T4; eight: 40.5 GB, 80 GB cards only. (2) Half the
# images and 16 bits save the same amount of feature maps; only the first changes the recipe. (3) Weeks: memory is
# not the only limit.

# %% [markdown]
# ## The whole evaluation, once
#
# Now everything that an evaluation needs runs once: reading the data set, the network, windows or scales, and the
# table. Without `data_root` the weights are random and the sides of the images are divided by 8, so the scores say
# *nothing* about ANN. They only show that the pieces work together. With CamVid the network is the street network of
# annlib, and the scores are real. With `experiment` it is the published network.

# %%
from annlib.cli.reproduce import network_of_row, reproduced_table, validation_split
from annlib.data.classes import CAMVID
from annlib.engine.evaluate import Evaluation
from annlib.engine.metrics import table
from annlib.engine.predictor import Network, segmenter


def street_network() -> Network:
    """Trained on CamVid's training images, which are not scored here; on whole images."""
    test = TestConfig(base_size=(360, 480))
    return Network("streets_ann", CAMVID, test, lambda: shipped_model("streets_ann"))


if camvid:
    network, caveats = street_network(), ()
    dataset = labelled(CAMVID, root, "val")
else:
    network = network_of_row(row, None) if real else rehearsed_network(row, shrink, seed)
    dataset, caveats = validation_split(network, row, root, limit=None if mode == "full" else 1)
if camvid and mode != "full":  # every tenth image
    dataset.images, dataset.labels = dataset.images[::10], dataset.labels[::10]
print(f"{network.name}, {len(dataset)} images")

# %%
ways = {"single scale": network.test}
if mode != "quick":
    ways["ms+flip"] = replace(network.test, scales=MULTI_SCALE, flip=True)
if camvid:
    small_windows = {"window": (160, 160), "stride": (100, 100)}
    ways["windows 160 x 160"] = replace(network.test, mode="slide", **small_windows)
precision = "bf16" if lesson.device.type == "cuda" and not real else "fp32"
scores = {}
for way, test in ways.items():
    evaluation = Evaluation(segmenter(network, lesson.device, test, precision), dataset)
    for _ in progress(evaluation.steps(), len(dataset), f"images, {way}"):
        pass
    scores[way] = evaluation.finish()
    assert int(evaluation.matrix.counts.sum()) > 0

# %%
if camvid:
    lines = [
        (way, f"{100 * one.miou:.1f}", f"{one.pixel_accuracy:.1%}") for way, one in scores.items()
    ]
    display(Markdown(table(("CamVid, validation", "mIoU %", "pixel accuracy"), lines)))
else:
    display(Markdown(reproduced_table(row, scores, None, caveats, precision, lesson.device)))
print(f"{len(dataset)} images of {root.name}" if real else "IMITATION and random weights")

# %% [markdown]
# Read the caveats first, then the numbers. Without data the difference is close to the whole published score, as it
# must be for random weights. On CamVid compare the last row with the first: how much does a street network lose if it
# sees windows of 160 pixels instead of the whole image? Small windows cost ANN everything in Balloon Town, because the
# town was designed so that long-range context is necessary. Nobody designed streets that way, and many of their classes
# can be recognised from nearby pixels. So we expect a smaller loss; your table shows whether it is smaller.
#
# With `experiment` and its data set, mode `full` evaluates the released weights on the whole validation split. On the
# command line that is one line:
#
# ```
# annlib reproduce ann_r50-d8_512x1024_40k_cityscapes --data /data/cityscapes
# ```
#
# The next cell needs a GPU. It measures the memory of one training step, and what `bf16` gains.

# %% tags=["gpu"]
from annlib.config import RuntimeConfig
from annlib.course.row_costs import Measuring, training_cost

if lesson.device.type == "cuda":
    for precision in ("fp32", "bf16"):
        cost = training_cost(row, Measuring(lesson.device, RuntimeConfig(precision), repeat=5))
        print(f"{precision}: {cost.peak_gib:.2f} GiB, {cost.timing.median:.0f} ms a step")
    print(f"published: {row.memory_gb} GB, {row.hardware}")
else:
    print("No GPU here, so there is nothing to measure. With one: device='cuda'.")

# %% [markdown]
# **What this does not show.** The imitation shows that the pieces work together, not that the scores are correct;
# for that you need the real images and the released weights, and neither comes with the course. The published
# numbers are those of MMSegmentation, one training run per row: no seeds, no spread (lesson 8). Half the bytes for
# 16-bit feature maps is a rule of thumb, and the hours were never compared with a run. And where the released
# models differ from the paper, for example in the scale of the attention scores, the table is about the released models.

# %% [markdown] tags=["exercise:report"]
# ### Exercise 9.4: What may differ
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 4, open*
#
# Suppose that your reproduced row is [0.4](given:example) points below the published one. List four possible causes, in
# the order in which you would check them. For each, write the command or the number that decides.
#
# *Example, for another case (a row that is 60 points too low).* "1. Label mapping: the printed label values must be 0
# to 18 and 255; the per-class table shows if classes are swapped. 2. Colour order: predict one image with red and blue
# exchanged, and compare the mIoU." Small differences have other causes than large ones: which?

# %% [markdown] tags=["instructor"]
# Rubric for 9.4 (0 to 4), one point each: number of images and label mapping (`annlib data check`); the way
# of testing (whole or slide, base size, mirror images); weights (checksum, correct row); precision, libraries and
# resizing. No point for "randomness": evaluation draws no random numbers.
#
# Ten minutes. With a GPU and data in the room run the row in the break; it takes an hour or less.

# %% [markdown]
# ## Your predictions
#
# Your predictions beside the results.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which prediction was correct, but for a wrong reason?

# %%
rehearsal.cleanup()
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:ignore"]
# ### Quiz 9.1: A colleague maps all ids that do not count to 0. What happens to the scores on Cityscapes?
#
# - [ ] Nothing; those pixels are few.
#   They are many (the hood of the car, borders, unlabelled objects), and each of them now counts as road.
# - [x] Road is trained and scored on pixels that are not road.
#   Class 0 is a class like the others. Pixels that do not count get 255.
# - [ ] Training stops with an error.
#   0 is a valid class, so no error is raised. That is what makes this mistake dangerous.

# %% [markdown] tags=["quiz:window"]
# ### Quiz 9.2: Windows of 769 x 769 with stride 513 on an image of 1025 x 2049. Why is the last window moved back?
#
# - [ ] To save time.
#   It costs time: pixels are scored twice.
# - [x] So that every window gives the network as much context as it had in training.
#   A narrow rest would be an input size that it has never seen, and padding would add pixels that do not
#   exist.
# - [ ] Because otherwise pixels would be scored twice.
#   It is the other way round: moving back makes some pixels be scored more often. The mean corrects for that.

# %% [markdown] tags=["quiz:fits"]
# ### Quiz 9.3: A step with 8 images does not fit. Which change leaves the gradient of the recipe as it is?
#
# - [ ] A crop of half the sides.
#   It needs a quarter of the feature maps, but the network now learns from other crops: another recipe.
# - [ ] A batch of 4 with the same learning rate.
#   Half the images in each step give another gradient, with more noise.
# - [x] Two times 4 images, each with half of its loss, gradients added up, then one step.
#   The mean over 8 images is the same. (Batch norm sees 4 at a time: that part does differ.)

# %% [markdown] tags=["quiz:rehearse"]
# ### Quiz 9.4: What does an evaluation with random weights and imitated images tell you?
#
# - [ ] Roughly how good the network will be.
#   Its scores are at chance, whatever the network.
# - [x] That paths, label values, shapes, windows and the table work from one end to the other.
#   Most mistakes that cost days are of that kind.
# - [ ] Nothing; only the real data counts.
#   With the real data you find the same mistakes hours later.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You converted label values to class indices and learned which incorrect mapping stays silent, scored images with
# sliding windows and saw how they remove long-range context, estimated the memory of a step from one image, and ran an
# evaluation from the data set to the table.
#
# Read more: M. Cordts and others, *The Cityscapes Dataset*, CVPR 2016; G. Brostow and others, *Semantic Object Classes
# in Video: A High-Definition Ground Truth Database*, Pattern Recognition Letters 2009 (CamVid); B. Zhou and others,
# *Scene Parsing through ADE20K Dataset*, CVPR 2017; P. Micikevicius and others, *Mixed Precision Training*, ICLR 2018;
# MMSegmentation's `configs/ann`, the source of the published rows.
#
# Next: [the capstone](10_capstone.ipynb), where you check a claim of the paper yourself
