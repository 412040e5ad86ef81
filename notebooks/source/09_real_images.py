# %% [markdown] tags=["header"]
# # 9. Real streets, real GPU
#
# *How do you start something that takes days, and start it only once?*
#
# - **Before:** lessons 1 and 6 (scores, training); lesson 8 helps
# - **Reading:** 45 min
# - **Runs in:** 30 s (quick), 60 s (learn), 60 min (full, with a GPU and the data), on 2 CPU cores
# - **Needs:** CPU for the rehearsal; `data_root` and a GPU for the real thing; network only for weights
#
# ## After this lesson you can
#
# 1. turn the label files of a data set into classes, and name the trap that bytes set ([Exercise 9.1](exercise:labels))
# 2. score a large picture window by window, and say what that takes from far context ([Exercise 9.2](exercise:slide))
# 3. estimate the memory of a training before it starts ([Exercise 9.3](exercise:memory))
# 4. read a reproduced row beside the published one, and list what limits the comparison ([Exercise 9.4](exercise:report))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
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
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.data.synthetic import mimic
from annlib.engine.inference import MULTI_SCALE
from annlib.model.build import shipped_model
from annlib.published_experiments import published

lesson = open_lesson(mode, device, seed, data_root, experiment, uses=("data_root", "experiment"))
predictions = Predictions()
row = published(lesson.experiment or "ann_r50-d8_512x1024_40k_cityscapes")
real = lesson.data_root is not None
print(row.name, "on", "your data" if real else "painted streets: a REHEARSAL")

# %% [markdown]
# ## Somebody else's labels
#
# A training on real streets takes a GPU for a day or several. Many such days are lost to small things: a
# folder one level too deep, a label that means something else, a batch that does not fit. All of them can be found
# beforehand, in minutes, on a CPU. This lesson is that dress rehearsal.
#
# Without `data_root` we paint an imitation of the data set: its folders, file names, label values and
# aspect, none of its content. (`annlib data mimic` does it on the command line; `annlib data prepare` says
# how to get the real one, and `annlib data check` looks it over.) With `data_root` and `experiment` the same
# cells work on yours.
#
# Nineteen classes count in Cityscapes. Which numbers do you expect in its label files: 0 to 18? The next cell
# prints them.

# %%
rehearsal = tempfile.TemporaryDirectory()
shrink = 1 if real else 8  # sides are divided by it
root = lesson.data_root or Path(rehearsal.name, "data")
if not real:
    size = image_size(row.experiment, shrink)
    mimic(row.experiment.data.dataset, root, train=2, val=2, size=size, seed=seed)
image, raw = sample_image(root, row.experiment.data.dataset)
assert image.shape[:2] == raw.shape
print(f"picture {image.shape[0]} x {image.shape[1]}, raw label values {raw.unique().tolist()}")
for path in sorted(root.rglob("*.png"))[:3]:
    print(path.relative_to(root))

# %% [markdown]
# The label file holds small numbers, the *ids* of the data set's makers. Cityscapes has 34 of them, of which
# 19 count. ADE20K counts from 1 and uses 0 for everything else; the option `reduce_zero_label`
# in other libraries subtracts one for that reason. Pascal VOC has 255 for borders, ready for use. A network
# needs classes $0 \dots K-1$, and 255 for pixels that count nowhere.
#
# It looks like a subtraction. But labels are bytes.

# %% [markdown]
# ### Prediction 9.1: Six minus eleven
#
# In Cityscapes the id 11 is a building, and 6 is ground that does not count. Somebody writes `labels - 11`.
# What becomes of a pixel with the id 6, in a tensor of `torch.uint8`?

# %% tags=["predict:byte"]
guess_byte = 251  # solution

# %%
labels = torch.tensor([6, 11], dtype=torch.uint8) - 11
predictions.compare("9.1", guess_byte, int(labels[0]))
scores_of_classes = torch.zeros(19)  # one for each class that counts
try:
    scores_of_classes[labels.long()]
except IndexError as error:
    print(f"IndexError: {error}")

# %% [markdown]
# Bytes wrap around. On a CPU this ends with the message above; on a GPU with `device-side assert triggered`,
# pages later, in some other line. (If you see that: run the same batch on the CPU, and the message will be
# readable.) The worst case is quiet. `labels - 7` makes roads class 0, as it should be, and makes the ids 9 and 10
# (parking, rail track), which do not count, classes 2 and 3: building and wall. No error, only wrong scores.

# %% [markdown] tags=["exercise:labels"]
# ### Exercise 9.1: Labels to classes
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 1*
#
# `values[k]` is the raw value of class $k$. Everything else becomes 255. For ADE20K `values` is 1 to 150; for
# Cityscapes 7, 8, 11, 12 and so on; your function should not care. *For the fast:* make it one indexing
# operation for the whole picture, however many classes there are.


# %% tags=["answer:labels"]
def class_indices(raw: torch.Tensor, values: tuple[int, ...]) -> torch.Tensor:
    """uint8 (H, W), raw value of class 0, 1, ... -> class indices (H, W), 255 for all others"""
    # solution
    table = torch.full((256,), 255, dtype=torch.uint8)
    for index, value in enumerate(values):
        table[value] = index
    return table[raw.long()]


# %% [markdown] tags=["hint:labels:1"]
# A byte has 256 values. So there are 256 answers, whatever the size of the picture.

# %% [markdown] tags=["hint:labels:2"]
# Indexing a tensor with a tensor looks up every entry: `table[raw.long()]` has the shape of `raw`.

# %% [markdown] tags=["hint:labels:3"]
# `table = torch.full((256,), 255, dtype=torch.uint8)`

# %% tags=["check:labels"]
checks.class_indices(class_indices)

# %% [markdown] tags=["instructor"]
# Fifteen minutes. Usual mistakes in 9.1: replacing values one after the other *in the same tensor* (7
# becomes 0, and a later step turns it into something else); 0 for "else", which is a road; `uint8` as an
# index (torch reads it as a mask). Discussion: *how would you notice in the scores that two classes were
# swapped?* (Not at all, if training and test share the slip.)

# %% [markdown]
# ## A picture too large for its network
#
# A Cityscapes picture has two million pixels. Some rows of the published table score it in one piece, others
# **window by window**: each window goes through the network alone, and where windows overlap the mean of
# their scores counts. The last window of a line is moved back, so that all have the size the network was
# trained on.
#
# Move the windows over the picture. Right: how often each pixel is scored. Try this:
#
# 1. Leave the window as it is (three quarters of the picture's height) and set the stride to "all of it": windows
#    that stand side by side should not overlap. Some do: which, and why?
# 2. Now stride "1/2". Which pixels get the most scores, and does it matter to the mean that others get
#    fewer?
# 3. Make the window higher than the picture. What happens to it?

# %%
widgets.window_sliders(image)

# %% [markdown] tags=["exercise:slide"]
# ### Exercise 9.2: Slide
#
# *Difficulty 3/5, importance 4/5, about 15 min, objective 2*
#
# `score` takes windows (B, C, h, w) and returns (B, K, h, w). A picture smaller than the window is scored in one
# piece. *For the fast:* a mean gives the rim of a window the same weight as its middle, though the rim sees
# less. Weigh windows by a hill instead; what must the map of counts hold then?


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
# Two maps of the picture's size: one adds up scores, one counts. At the end divide one by the other.

# %% [markdown] tags=["hint:slide:2"]
# The last start is `max(height - window, 0)`; every start is the smaller of its place in the stride and that.
# A `set` removes starts that fall together.

# %% [markdown] tags=["hint:slide:3"]
# `tops = sorted({min(top, last_top) for top in range(...)})`

# %% tags=["check:slide"]
checks.slide(slide)

# %% [markdown]
# What does it do to a network that lives on far context? Our town can tell: there a window may contain a
# house and not its balloon.

# %% [markdown]
# ### Prediction 9.2: Windows in the town
#
# ANN names nearly all houses of unseen scenes rightly when it sees a scene (128 x 192 pixels) in one piece. Now
# it gets windows of 64 x 64 pixels with stride 32. Its house accuracy: "stays" (above [0.9](given:bound)), "falls", or ends at "chance"
# (below [0.4](given:bound))?

# %% tags=["predict:windows"]
guess_windows = "chance"  # solution

# %%
town_net = shipped_model("balloon_ann").to(lesson.device)
tests = {
    "whole": TestConfig(),
    "windows 128 x 128": TestConfig("slide", window=(128, 128), stride=(64, 64)),
    "windows 64 x 64": TestConfig("slide", window=(64, 64), stride=(32, 32)),
    "mirrored, too": TestConfig(flip=True),
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
lesson.claim("town-flip", found["mirrored, too"]["house_accuracy"], within=0.02)
lesson.claim("town-scales", found["six scales, mirrored"]["house_accuracy"], within=0.03)

# %% [markdown]
# In one piece: [1.00](claim:town-whole). Windows as high as the picture lose some houses, whose balloon is beyond
# the window's edge ([0.93](claim:town-w128)). Windows of 64 pixels lose them all: with
# [0.27](claim:town-w64) the network is at chance, as FCN was in lesson 0. Nothing of it was changed but the way
# of testing; a wide view is worth what the window lets through.
#
# The mirror does no harm ([1.00](claim:town-flip)). The six scales of the published column do:
# [0.53](claim:town-scales). On streets they help by a point or two (compare the two columns of the published
# table): there networks were trained on pictures of half to double size. The town's have seen one size only. A way
# of testing is part of the recipe; it cannot be chosen afterwards.

# %% [markdown] tags=["instructor"]
# Twenty minutes. Usual mistakes in 9.2: a narrow last window, sums without counts, a stride larger than the
# window (gaps, so 0 / 0). Discussion: *why does sliding help on Cityscapes, if it destroys the town?*
# (There the network was trained on crops of the window's size; what it never saw in training it cannot use.
# The town was trained whole.) When late, show the five lines of scores and skip the writing of `slide`. A good
# place to stop for the day: memory and rehearsal need nothing from here but the imports.

# %% [markdown]
# ## Will it fit?
#
# A training step keeps two kinds of things in memory. **Once:** each parameter with its gradient and its
# momentum, three numbers of four bytes. **Once for each picture:** the maps that the backward pass needs
# again. With $P$ parameters, $B$ pictures and $A$ bytes of maps for each:
#
# $$M(B) = 12\,P + B \cdot A$$
#
# $A$ is laborious to count and easy to measure: with *one* picture, on any machine.

# %% [markdown] tags=["exercise:memory"]
# ### Exercise 9.3: One measurement, any batch
#
# *Difficulty 1/5, importance 5/5, about 5 min, objective 3*
#
# With $P$ = `parameters`, one step with one picture took `measured` = $M(1)$ bytes. How many will a `batch` of $B$
# take? *For the fast:* with 16-bit maps, which of the terms shrinks, and by how much?


# %% tags=["answer:memory"]
def step_bytes(parameters: int, measured: int, batch: int) -> float:
    """P; M(1), the bytes of a step with one picture; B -> M(B), the bytes of a step with B"""
    # solution
    once = 12 * parameters
    maps = measured - once  # A
    return once + batch * maps


# %% [markdown] tags=["hint:memory:1"]
# Solve the formula for $A$ at $B = 1$, then put it in again.

# %% [markdown] tags=["hint:memory:2"]
# The measurement contains the $12\,P$ as well: take them off before you multiply, add them afterwards.

# %% [markdown] tags=["hint:memory:3"]
# `once = 12 * parameters`

# %% tags=["check:memory"]
checks.step_bytes(step_bytes)

# %% [markdown]
# Does a real network keep to it? Two steps of the town's ANN with SGD, first with one picture, then with eight;
# `peak_bytes` tells the most that tensors held at once.

# %%
from annlib.course.training import measured_step, parameters_of

one, eight = (measured_step("ann", pictures, lesson.device) for pictures in (1, 8))
parameters = parameters_of("ann")
guess = 12 * parameters + 8 * (one - 12 * parameters)
print(f"one picture {one / 2**20:.1f} MiB, so eight: {guess / 2**20:.1f}")
print(f"measured {eight / 2**20:.1f} MiB, the estimate is off by {guess / eight - 1:+.0%}")
lesson.claim("memory-eight", eight / 2**20, within=1.5, unit="MiB")
lesson.claim("memory-guess", guess / 2**20, within=1.5, unit="MiB")
lesson.claim("memory-off", 100 * (1 - guess / eight), within=2, unit="%")
assert abs(guess / eight - 1) < 0.2, "the estimate should be within 20 % of what was measured"

# %% [markdown]
# From one picture the rule says [40](claim:memory-guess) MiB for eight; [44](claim:memory-eight) MiB were measured,
# so it is [9 %](claim:memory-off) too low: near enough to decide whether to start. Why too low? Most maps are alive at the
# *start* of the backward pass, when the gradients of the weights are not there yet. The rule takes them off the
# measurement all the same, so its $A$ is a little too small, and eight pictures make that eight slips.
#
# Now for a published row. Its training memory was published for two (Cityscapes) or four pictures on each GPU.

# %% [markdown]
# ### Prediction 9.3: Eight pictures
#
# Row `ann_r50-d8_512x1024_40k_cityscapes` took [6.0 GB](cited:mmseg-cityscapes) for two pictures of 512 x 1024 on each
# GPU, and has 46 million parameters. How many GB will eight pictures take on one GPU?

# %% tags=["predict:eight"]
guess_eight = 22  # solution

# %%
from annlib.course.row_costs import GPUS, estimate

example = estimate("ann_r50-d8_512x1024_40k_cityscapes", GPUS["RTX 3090, 24 GB"], 8, "fp32")
predictions.compare("9.3", guess_eight, example.memory_gb, tolerance=0.05)
lesson.claim("eight-gb", example.memory_gb, within=0.5, unit="GB")

# %% [markdown]
# [22](claim:eight-gb) GB, not 24: the weights are there once. **Pre-flight** makes this estimate for every row, with
# hours and disk. Memory leans on the published number; hours on counted operations and on the peaks
# of NVIDIA's data sheets (V100, A100, H100: the SXM form; 16-bit products added up in `fp32`, without sparsity). Nobody
# reaches a peak: for `fp32` we take the share that the GPU of the published table reached, for 16 bits
# [35 %](given:half-share), a guess of ours. So the hours are a range, and no promise. (`fp32` is taken at its word; PyTorch lets
# convolutions on newer GPUs use the shorter TF32, which is faster.)
# Try this:
#
# 1. Which is the smallest GPU that trains the 769 x 769 row of R-101 with two pictures? And with eight?
# 2. Take a row that does not fit. What helps more: half the pictures, or 16-bit maps? Which of them changes
#    the recipe?
# 3. On a T4 the memory suffices for one picture, yet you may not want it. What does the range of hours say?

# %%
widgets.preflight()

# %% [markdown]
# 16 bits halve the maps, but not the weights and what goes with them: with **mixed precision** convolutions and
# products run in `bf16` (in `fp16` on a T4 or V100, which have no fast `bf16`), everything that adds up small numbers
# stays in `fp32`. Does the answer change? The same scene as ever, in both:

# %%
from annlib.course.training import same_classes

scene = make_scene(FIRST_VAL_SEED + 21)
share, halves = same_classes(town_net, scene.image)
print(f"{share:.2%} of the pixels get the same class in fp32 and in bf16.")
lesson.claim("same-in-bf16", 100 * share, within=0.2, unit="%")
plots.predictions([scene], {name: [labels] for name, labels in halves.items()})

# %% [markdown]
# [99.96 %](claim:same-in-bf16) of the pixels keep their class; the others lie where two classes were nearly even. That is one
# scene and an answer, not a training: whether a *training* in 16 bits ends as well, only a training can tell.

# %% [markdown] tags=["instructor"]
# Twenty minutes with the widget. Usual mistakes in 9.3: everything times the batch; Adam's 16 bytes. Let groups
# plan with their own GPU. Prompt: *the estimate says 23.5 of 24 GB. Do you start?* (No: other programs, cuDNN's
# workspace and fragments need room.) `--accumulate` of `annlib train` keeps the batch of the recipe.
#
# Answers, pre-flight: (1) two pictures: 10.7 GB, a T4; eight: 40.5 GB, 80 GB cards only. (2) Half the
# pictures and 16 bits save the same maps; only the first changes the recipe.

# %% [markdown]
# ## The dress rehearsal
#
# Everything that the real evaluation needs now happens once, in small: the data set's reader, the row's network
# (R-50 or R-101, all its layers), windows, scales, the table. Without `data_root` its weights are random, and
# sides are divided. So the scores say *nothing* about ANN. That the run ends, and that each pixel was counted,
# is all one wants to know today.

# %%
from annlib.cli.reproduce import network_of_row, validation_split
from annlib.engine.evaluate import Evaluation
from annlib.engine.predictor import segmenter

network = network_of_row(row, None) if real else rehearsed_network(row, shrink, seed)
dataset, caveats = validation_split(network, row, root, limit=None if mode == "full" else 1)
ways = {"single scale": network.test}
if mode != "quick":
    ways["ms+flip"] = replace(network.test, scales=MULTI_SCALE, flip=True)
precision = "bf16" if lesson.device.type == "cuda" and not real else "fp32"
scores = {}
for way, test in ways.items():
    evaluation = Evaluation(segmenter(network, lesson.device, test, precision), dataset)
    for _ in progress(evaluation.steps(), len(dataset), f"pictures, {way}"):
        pass
    scores[way] = evaluation.finish()
    assert int(evaluation.matrix.counts.sum()) > 0

# %%
from annlib.cli.reproduce import reproduced_table

display(Markdown(reproduced_table(row, scores, None, caveats, precision, lesson.device)))
print("REHEARSAL: random weights." if not real else f"{len(dataset)} pictures of {root.name}")

# %% [markdown]
# Read the table from below: first the caveats, then the numbers. In the rehearsal the difference is close to the
# whole published score, as it must be. With your data and `experiment` set, mode `full`, the same cells fetch the
# released weights and score the whole validation half. On the command line it is one line:
#
# ```
# annlib reproduce ann_r50-d8_512x1024_40k_cityscapes --data /data/cityscapes
# ```
#
# One cell for those who have a GPU: how much memory one step really takes, and what `bf16` gains.

# %% tags=["gpu"]
from annlib.config import RuntimeConfig
from annlib.course.row_costs import Measuring, training_cost

if lesson.device.type == "cuda":
    for precision in ("fp32", "bf16"):
        cost = training_cost(row, Measuring(lesson.device, RuntimeConfig(precision), repeat=5))
        print(f"{precision}: {cost.peak_gib:.2f} GiB, {cost.timing.median:.0f} ms a step")
    print(f"published: {row.memory_gb} GB, {row.hardware}")
else:
    print("No GPU here, so nothing to do. With one: device='cuda'.")

# %% [markdown]
# **What this does not show.** The rehearsal proves that the pieces fit, not that the scores are right; for
# that the real pictures and the released weights are needed, and neither comes with the course. The published
# numbers are those of MMSegmentation, trained once a row: no seeds, no spread (lesson 8). The rule for 16-bit maps
# (half the bytes) is a rule of thumb, and the hours were never compared with a run. And where the released models differ from the paper, such as in the scale
# of the scores, the table is about the released ones.

# %% [markdown] tags=["exercise:report"]
# ### Exercise 9.4: What may differ
#
# *Difficulty 2/5, importance 4/5, about 10 min, objective 4, open*
#
# Suppose your reproduced row comes out [0.4](given:example) points below the published one. List four causes that you could check,
# in the order in which you would check them, and for each the command or the number that decides.

# %% [markdown] tags=["instructor"]
# Rubric for 9.4 (0 to 4), one point each: number of pictures and label mapping (`annlib data check`); the way
# of testing (whole or slide, base size, mirrors); weights (checksum, right row); precision, libraries and resizing.
# No point for "randomness": evaluation draws nothing.
#
# Ten minutes. With a GPU and data in the room run the row in the break; it takes an hour or less.

# %% [markdown]
# ## Your predictions
#
# What you guessed, beside what came out.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which guess was right, but for a wrong reason?

# %%
rehearsal.cleanup()
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:ignore"]
# ### Quiz 9.1: A colleague maps all ids that are no class to 0. What happens to the scores on Cityscapes?
#
# - [ ] Nothing; those pixels are few.
#   They are many (the bonnet of the car, borders, unlabelled things), and every one now says "road".
# - [x] Road is trained and scored on pixels that are no road.
#   Class 0 is a class like the others. What does not count is 255.
# - [ ] Training stops with an error.
#   0 is a valid class, so nothing complains. That is what makes it dangerous.

# %% [markdown] tags=["quiz:window"]
# ### Quiz 9.2: Windows of 769 x 769 with stride 513 on a picture of 1025 x 2049. Why is the last one moved back?
#
# - [ ] To save time.
#   It costs time: pixels are scored twice.
# - [x] So that every window shows the network as much context as it was trained with.
#   A narrow rest would be a picture of a kind it has never seen; padding would show it things that are not
#   there.
# - [ ] Because otherwise pixels would be scored twice.
#   The other way round: moving back makes some pixels be scored more often. The mean takes care of that.

# %% [markdown] tags=["quiz:fits"]
# ### Quiz 9.3: A step with 8 pictures does not fit. Which change leaves the gradient of the recipe as it is?
#
# - [ ] A crop of half the sides.
#   It needs a quarter of the maps, but the network now learns from other pictures: another recipe.
# - [ ] A batch of 4 with the same learning rate.
#   Half the pictures in each step: another gradient, noisier.
# - [x] Two times 4 pictures, each with half of its loss, gradients added up, then one step.
#   The mean over 8 pictures is the same. (Batch norm sees 4 at a time: that part does differ.)

# %% [markdown] tags=["quiz:rehearse"]
# ### Quiz 9.4: What does a rehearsal with random weights and painted pictures tell you?
#
# - [ ] Roughly how good the network will be.
#   Its scores are those of chance, whatever the network.
# - [x] That paths, label values, shapes, windows and the table work from one end to the other.
#   The mistakes that cost days are mostly of that kind.
# - [ ] Nothing; only the real data counts.
#   The real data tells you the same mistakes hours later.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You mapped labels to classes and met byte 251, scored pictures window by window and saw what that takes from far
# context, estimated the memory of a step from one picture, and rehearsed a published row up to its table.
#
# Read more: M. Cordts and others, *The Cityscapes Dataset*, CVPR 2016; B. Zhou and others, *Scene Parsing through
# ADE20K Dataset*, CVPR 2017; P. Micikevicius and others, *Mixed Precision Training*, ICLR 2018; MMSegmentation's
# `configs/ann`, the source of the published rows.
#
# Next: [the capstone](10_capstone.ipynb), where you check a claim of the paper yourself
