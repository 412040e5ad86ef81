# %% [markdown] tags=["header"]
# # 1. Which pixel is what?
#
# *94 of 100 pixels are right. Is that good?*
#
# - **Before:** lesson 0; arrays with masks and sums
# - **Reading:** 20 min
# - **Runs in:** 25 s (quick), 25 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. write the intersection over union of one class ([Exercise 1.1](exercise:mask-iou))
# 2. count a confusion matrix over batches, with 255 left out ([Exercise 1.2](exercise:update))
# 3. compute mIoU when a class is absent ([Exercise 1.3](exercise:mean-iou))
# 4. predict what pixel accuracy hides ([Prediction 1.1](predict:hidden))
# 5. tell one matrix from a mean over images ([Prediction 1.3](predict:average))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import inspect

import numpy as np
import torch

from annlib.course import checks, plots, widgets
from annlib.course.attention import predict_labels
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import CLASS_NAMES
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.engine.metrics import ConfusionMatrix
from annlib.model.build import shipped_model

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()

# %% [markdown]
# ## 94 of 100 pixels are right
#
# To label a picture means to name a class for **every pixel**. Lesson 0 counted houses; from here on
# we count pixels, as everybody does who compares networks of this kind. Here is our scene, with what two
# networks say. Look at the three houses, then at all the rest.

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
networks = {"FCN": "fcn", "PPM": "ppm", "ANN": "ann"}  # name -> block
models = {name: shipped_model(f"balloon_{block}") for name, block in networks.items()}
plots.predictions(
    [scene], {name: [predict_labels(models[name], scene.image)] for name in ("FCN", "ANN")}
)

# %% [markdown]
# FCN, which sees too little, guesses at the houses; ANN, the paper's network, does not. How large is the
# difference in numbers? The first that comes to mind is **pixel accuracy**: the share of pixels that are
# right. White pixels of the truth have no class (their label is 255), so they do not count. Over 40 scenes
# that no network was trained on:

# %%
num_scenes = lesson.pick(quick=40, learn=40, full=200)
same_scenes = ("quick", "learn")  # the modes in which the numbers of the text must come out
scenes = [make_scene(FIRST_VAL_SEED + index) for index in range(num_scenes)]
labels = torch.from_numpy(np.stack([one.labels for one in scenes])).long()
T, H, W = labels.shape
answers = {
    name: torch.from_numpy(np.stack([predict_labels(model, one.image) for one in scenes])).long()
    for name, model in models.items()
}
counted = labels != 255
accuracy = {
    name: 100 * float((found == labels)[counted].double().mean()) for name, found in answers.items()
}
assert all(found.shape == (T, H, W) for found in answers.values())
lesson.claim("accuracy-fcn", accuracy["FCN"], within=0.3, unit="%", modes=same_scenes)
lesson.claim("accuracy-ann", accuracy["ANN"], within=0.3, unit="%", modes=same_scenes)

# %% [markdown]
# [93.6 %](claim:accuracy-fcn) against [99.1 %](claim:accuracy-ann): both sound excellent. To see what such
# a number is worth, build the laziest network there is. It never looks at the picture. It only knows, for
# each of the 128 **rows**, which class is the most frequent there in 40 training scenes: sky, then green,
# then road.

# %% [markdown]
# ### Prediction 1.1: Without a look
#
# How many percent of the pixels does the lazy network get right?

# %% tags=["predict:hidden"]
guess_lazy = 79  # solution

# %%
seen = np.stack([make_scene(index).labels for index in range(40)])  # training scenes
often = [np.bincount(seen[:, y].ravel(), minlength=256)[:255].argmax() for y in range(H)]
answers["lazy"] = torch.tensor(np.array(often))[None, :, None].expand(T, H, W)
lazy = 100 * float((answers["lazy"] == labels)[counted].double().mean())
predictions.compare("1.1", guess_lazy, lazy, tolerance=0.1)
lesson.claim("accuracy-lazy", lazy, within=0.5, unit="%", modes=same_scenes)
houses = 100 * float((labels[counted] >= 7).double().mean())
lesson.claim("house-pixels", houses, within=0.2, unit="%", modes=same_scenes)

# %% [markdown]
# [79.1 %](claim:accuracy-lazy), without one look, and without ever naming a house, a car or a balloon. In
# pixel accuracy a class counts as much as it is large, and large classes are the easy ones. All houses
# together are [9.3 %](claim:house-pixels) of the pixels: who gets all of them wrong still gets nine of ten
# pixels right. In a street, a person far away is a few hundred pixels of two million.
#
# So we need a number in which **each class has one vote**, and in which nobody gains by always saying
# "sky".

# %% [markdown] tags=["instructor"]
# Six minutes to here, ten for the next section. Collect guesses for 1.1 aloud: most are below 50. Ask:
# *which class would you name if you could not look?* and *what accuracy would "all sky" get?* (about
# 49 %). When late, skip the lazy network's code and show its number only.

# %% [markdown]
# ## One class: intersection over union
#
# Take one class $k$. $P$ is the set of pixels that were predicted to be $k$, $L$ the set of those whose
# label is $k$. Two kinds of error are possible: pixels missed ($L$ without $P$) and wrong alarms ($P$
# without $L$). A fair score must suffer from both:
#
# $$\mathrm{IoU}_k = \frac{|P \cap L|}{|P \cup L|} = \frac{|P \cap L|}{|P| + |L| - |P \cap L|}$$
#
# It is 1 if both sets are the same, 0 if they share nothing. Pixels that are neither predicted nor
# labelled $k$ appear nowhere: the huge, easy rest of the picture cannot help.

# %% [markdown] tags=["exercise:mask-iou"]
# ### Exercise 1.1: One class
#
# *Difficulty 1/5, importance 5/5, about 5 min, objective 1*
#
# Write the formula for two masks. *For the fast:* the Dice score is $2|P \cap L| / (|P| + |L|)$. Express
# it by IoU alone. Which of the two is larger?


# %% tags=["answer:mask-iou"]
def mask_iou(predicted: torch.Tensor, labelled: torch.Tensor) -> torch.Tensor:
    """predicted, labelled: bool (H, W) -> IoU, one number"""
    # solution
    intersection = (predicted & labelled).sum()
    return intersection / (predicted.sum() + labelled.sum() - intersection)


# %% [markdown] tags=["hint:mask-iou:1"]
# Draw two overlapping circles. If you add their areas, which part have you counted twice?

# %% [markdown] tags=["hint:mask-iou:2"]
# `predicted & labelled` is a mask, too, and `mask.sum()` counts its pixels.

# %% [markdown] tags=["hint:mask-iou:3"]
# `intersection = (predicted & labelled).sum()`

# %% tags=["check:mask-iou"]
checks.mask_iou(mask_iou)

# %% [markdown]
# Your function on the school (class 9) and the sky (class 0) of our scene, by FCN:

# %%
said, truth = (
    torch.from_numpy(predict_labels(models["FCN"], scene.image)),
    torch.from_numpy(scene.labels),
)
valid = truth != 255
for index in (0, 9):
    iou = checks.attempt(mask_iou, (said == index) & valid, truth == index)
    print(f"IoU of {CLASS_NAMES[index]:6} {float(iou):.2f}")

# %% [markdown]
# The sky is nearly perfect. The school is large and its outline is found, but FCN calls it a shop: for its
# class that is as bad as if nothing had been found.
#
# ## One table for all: the confusion matrix
#
# To get IoU for all $K$ classes we need not visit each of them. Count once which class was taken for
# which. $n_{lk}$ is the number of pixels with **label** $l$ (row) that were **predicted** to be $k$
# (column), over all pictures:
#
# $$n_{lk} = \#\{\text{pixels with label } l \text{ and prediction } k\}, \qquad
# \mathrm{IoU}_k = \frac{n_{kk}}{\sum_{k'} n_{kk'} + \sum_l n_{lk} - n_{kk}}$$
#
# (the first sum runs along row $k$, the second down column $k$). Right pixels stand on the diagonal. Pixels
# with label **255 are in no cell**: they may neither help nor harm, whatever is predicted there. And
# counts of two batches simply add up, so the pictures can come in any order, on any number of machines.
# In code $n$ is `counts`, and `counts[l, k]` is $n_{lk}$.
#
# How to count without a loop: give each pair $(l, k)$ its own number $K l + k$, and let `bincount` count
# the numbers from 0 to $K^2 - 1$.

# %% [markdown] tags=["exercise:update"]
# ### Exercise 1.2: Count a batch
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 2*
#
# Add the pixels of one batch to the counts and give the sum back. *For the fast:* what goes wrong in
# $K l + k$ if labels come as bytes (`uint8`) and there are 150 classes, as in ADE20K?


# %% tags=["answer:update"]
def update_confusion(
    counts: torch.Tensor, predictions: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """counts (K, K), predictions and labels int64 (B, H, W), labels 0..K-1 or 255 -> (K, K)"""
    K = len(counts)
    # solution
    has_label = labels != 255
    pairs = K * labels[has_label] + predictions[has_label]
    return counts + torch.bincount(pairs, minlength=K * K).view(K, K)


# %% [markdown] tags=["hint:update:1"]
# First throw away the pixels without a label, in both tensors alike. What is left is two long rows of
# numbers; each place is one pixel.

# %% [markdown] tags=["hint:update:2"]
# `labels[labels != 255]` keeps the labelled pixels. `torch.bincount(pairs, minlength=K * K)` counts how
# often each number occurs; `.view(K, K)` makes a table of it. Which of the two must be multiplied by K so
# that labels are rows?

# %% [markdown] tags=["hint:update:3"]
# `has_label = labels != 255`

# %% tags=["check:update"]
checks.update_confusion(update_confusion)

# %% [markdown]
# Now count our 40 scenes, ten at a time, and compare with annlib's matrix:

# %%
K = len(CLASS_NAMES)
theirs = ConfusionMatrix(K)
theirs.update(answers["FCN"], labels)
mine = torch.zeros(K, K, dtype=torch.int64)
for part in range(0, T, 10):
    batch = slice(part, part + 10)
    mine = checks.attempt(update_confusion, mine, answers["FCN"][batch], labels[batch])
assert torch.equal(mine, theirs.counts) and int(mine.sum()) == int((labels != 255).sum())
print(f"{int(mine.sum()):,} pixels with a label, of {labels.numel():,}.")

# %% [markdown]
# A matrix says more than any score. Each row of the next picture belongs to one label; its shares sum to
# 100. Read the last three rows.

# %%
whole = ConfusionMatrix(K)
whole.update(answers["FCN"], labels)
plots.confusion_matrix(whole, CLASS_NAMES, "FCN: what was taken for what, in %")

# %% [markdown]
# The mistakes are not spread about: FCN *finds* the houses, but spreads each kind over all three names.
# "Where is a house" is solved; "which kind" is not.

# %% [markdown] tags=["instructor"]
# Fifteen minutes for this section. Usual mistakes in 1.2: `counts[labels, predictions] += 1` (counts
# duplicates once: let them find out why the sum is K², not B·H·W), rows and columns exchanged (the check
# tells; IoU would be the same, class accuracy would not!), 255 clamped to a class. Prompt: *which score
# cannot see a transposed matrix?* IoU and mIoU: the formula is symmetric. When late, give hint 2 to all.

# %% [markdown]
# ## One number: mIoU, and classes that are not there
#
# $$\mathrm{mIoU} = \frac{1}{|M|} \sum_{k \in M} \mathrm{IoU}_k$$
#
# The mean gives every class one vote. But which classes are in it, in the set $M$? Three cases, and each has its rule:
#
# | class $k$ in labels | in predictions | IoU | in the mean? |
# |---|---|---|---|
# | yes | yes or no | between 0 and 1 | yes |
# | no | yes | 0: all of it is wrong alarm | yes, as 0 |
# | no | no | 0/0, NaN | no: there was nothing to be right or wrong about |

# %% [markdown]
# ### Prediction 1.2: A class out of nowhere
#
# A picture holds sky, house and road, each predicted perfectly: mIoU is 1. Now **one** sky pixel of a
# thousand is called "car", a class that the picture does not hold. What is mIoU now, roughly?

# %% tags=["predict:nowhere"]
guess_nowhere = 0.75  # solution

# %%
small = ConfusionMatrix(4)  # sky, house, road, car
small.counts = torch.tensor([[999, 0, 0, 1], [0, 1000, 0, 0], [0, 0, 1000, 0], [0, 0, 0, 0]])
predictions.compare("1.2", guess_nowhere, small.scores().miou, tolerance=0.02)
print("IoU of each class:", [f"{value:.3f}" for value in small.scores().iou.tolist()])

# %% [markdown]
# One pixel costs a quarter: the fourth class now takes part, with 0. That is why mIoU should be computed
# over *many* pictures: over a whole data set every class occurs, and one pixel is one pixel again.

# %% [markdown] tags=["exercise:mean-iou"]
# ### Exercise 1.3: mIoU of a data set
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 3*
#
# `counts` holds the matrix of each of $T$ pictures. Give back the mIoU of the data set, by the three
# rules of the table. *For the fast:* write the mean class accuracy (the diagonal over the row sums) as
# well, and find a matrix in which it is 1 and mIoU is not.


# %% tags=["answer:mean-iou"]
def mean_iou(counts: torch.Tensor) -> torch.Tensor:
    """int64 (T, K, K), counts[t, label, prediction] -> mIoU, one number"""
    # solution
    total = counts.sum(0).double()
    right = total.diagonal()
    union = total.sum(0) + total.sum(1) - right
    return (right / union).nanmean()


# %% [markdown] tags=["hint:mean-iou:1"]
# When do the pictures become one data set: before the division or after it?

# %% [markdown] tags=["hint:mean-iou:2"]
# `total.diagonal()`, `total.sum(1)` (labelled) and `total.sum(0)` (predicted) are all $(K,)$. In floats
# 0/0 is NaN, and there is a mean that leaves NaN out: `nanmean`.

# %% [markdown] tags=["hint:mean-iou:3"]
# `total = counts.sum(0).double()`

# %% tags=["check:mean-iou"]
checks.mean_iou(mean_iou)

# %% [markdown]
# ### Paint the prediction
#
# 4 x 6 pixels, one of them without a label. Choose a brush, then click on pixels (or Tab to one and
# press Space): the middle picture is your prediction. Try this, and say each time *what changes, and why*:
#
# 1. Press "all sky". Which of accuracy and mIoU falls further?
# 2. Press "as the labels". Make one house pixel sky: what does it cost? Undo it, and make one sky pixel
#    *road*. Why does an equal mistake cost another amount?
# 3. From "as the labels", make one pixel a car. How many classes are in the mean now?
# 4. Give the pixel marked 255 every class in turn. What moves?

# %%
widgets.PaintPrediction()

# %% [markdown] tags=["instructor"]
# Twelve minutes. Task 2: a house is 4 pixels, so one of them is a quarter of its IoU; sky has 13. Let
# pairs predict the number before they click. Usual mistakes in 1.3: NaN turned into 0 (`nan_to_num`),
# the mean over pictures, `total.sum(0) + total.sum(1)` as union. Ask: *who gains if absent classes count
# 1?* (Everybody, most on small test sets.)
#
# Answers: (1) all sky: accuracy 0.57, mIoU 0.19. (2) mIoU 0.893 for the house pixel, 0.927 for the sky
# pixel called road. (3) Four; mIoU 0.69 if the pixel was house, 0.73 if sky. (4) Nothing.

# %% [markdown]
# ## The mean of means
#
# A tempting shortcut: compute mIoU picture by picture, then average. Our scenes hold different kinds of
# houses, so per picture different classes take part. PPM (lesson 0's "voter": it sees all patterns, but
# cannot match paints) shows where that leads.

# %% [markdown]
# ### Prediction 1.3: Average of averages
#
# For PPM, is the mean of the 40 per-scene mIoU "higher" than, "lower" than, or the "same" as the mIoU of one
# matrix?

# %% tags=["predict:average"]
guess_average = "higher"  # solution


# %%
def matrices(found: torch.Tensor) -> torch.Tensor:
    """Predictions (T, H, W) -> one matrix a scene (T, K, K)"""
    each = [ConfusionMatrix(K) for _ in found]
    for matrix, prediction, label in zip(each, found, labels, strict=True):
        matrix.update(prediction, label)
    return torch.stack([matrix.counts for matrix in each])


def miou(counts: torch.Tensor) -> float:
    """(K, K) -> mIoU, by annlib"""
    matrix = ConfusionMatrix(K)
    matrix.counts = counts
    return matrix.scores().miou


# %%
counts = {name: matrices(found) for name, found in answers.items()}
assert counts["PPM"].shape == (T, K, K)
together = {name: miou(one.sum(0)) for name, one in counts.items()}
apart = {name: float(np.mean([miou(scene) for scene in one])) for name, one in counts.items()}
outcome = "higher" if apart["PPM"] > together["PPM"] else "lower"
predictions.compare("1.3", guess_average, outcome, options=("higher", "lower", "same"))
for name in networks:
    print(f"{name:5} one matrix {together[name]:.3f}   mean over scenes {apart[name]:.3f}")
lesson.claim("ppm-together", together["PPM"], within=0.005, modes=same_scenes)
lesson.claim("ppm-apart", apart["PPM"], within=0.005, modes=same_scenes)
lesson.claim("fcn-together", together["FCN"], within=0.005, modes=same_scenes)
lesson.claim("fcn-apart", apart["FCN"], within=0.005, modes=same_scenes)

# %% [markdown]
# The shortcut flatters PPM ([0.815](claim:ppm-apart) for [0.797](claim:ppm-together)) and punishes FCN
# ([0.720](claim:fcn-apart) for [0.747](claim:fcn-together)). So it is not "a bit optimistic": it is another
# measure, and the same two networks lie almost twice as far apart in it. Why?
#
# - In a scene whose houses are all of one kind, the vote names them all rightly, and the missing kinds
#   drop out of the mean. PPM shines there; in one matrix such a scene has no more say than its pixels.
# - FCN, which guesses, names kinds that the scene does not hold. Each of them is a class "out of nowhere",
#   with IoU 0 in that scene's mean.
#
# **One matrix for all pictures, one mean at the end**: so do the tables that you will meet in lesson 9, and
# so does annlib. Find out with the next widget how much a subset can say. Left: IoU of each class. Right:
# each scene alone, and the two means.
#
# 1. Take PPM, and one scene at a time ("how many" = 1). Find a scene with a bar missing (a dash). What
#    does it do to the mean?
# 2. Take FCN and scene 21, ours. Which class has IoU 0 although no pixel of it was missed? Now PPM: where
#    did that class go?
# 3. With PPM, let "how many" grow from 1 to 40. From when on does one matrix hardly move?

# %%
widgets.choose_scenes({name: (networks[name], counts[name]) for name in networks}, CLASS_NAMES)

# %% [markdown]
# ## The same in annlib, and the scores
#
# annlib's `update` is your function with one more trick. Labels fit into a byte, so each pair gets the
# number $256\,l + k$, and **one** `bincount` into a table of 256 x 256 counts everything, 255 included.
# What must not count is then one row, set to zero; and a label that should not exist stands in plain view,
# outside of the first $K$ rows, and is reported.

# %%
print(inspect.getsource(ConfusionMatrix.update))

# %%
for name in ("lazy", "FCN", "PPM", "ANN"):
    matrix = ConfusionMatrix(K)
    matrix.update(answers[name], labels)
    scores = matrix.scores()
    print(f"{name:5} pixel accuracy {100 * scores.pixel_accuracy:.1f} %   mIoU {scores.miou:.3f}")
lesson.claim("miou-lazy", together["lazy"], within=0.005, modes=same_scenes)
lesson.claim("miou-ann", together["ANN"], within=0.005, modes=same_scenes)

# %% [markdown]
# By accuracy the lazy network gets four of five pixels right. By mIoU it has [0.234](claim:miou-lazy): seven of its
# ten classes have IoU 0. FCN has [0.747](claim:fcn-together), ANN [0.968](claim:miou-ann). What looked like
# six points of accuracy is the difference between guessing at the houses and knowing them.
#
# **What this does not show.**
#
# - These are networks of one seed each, on 40 scenes. Five seeds and 200 scenes are in
#   `data/results/balloon_town.md`; there FCN has [0.728](result:balloon_town.md) and ANN
#   [0.966](result:balloon_town.md), both with a spread of [0.001](result:balloon_town.md) over the seeds.
#   That is not so for every network: for the one of lesson 2 the spread is [0.100](result:balloon_town.md),
#   and one run of it says little.
# - mIoU is no judge of borders: here they are labelled 255, so a ragged edge costs nothing, and elsewhere
#   they are few pixels. It does not know how sure a network was, nor that taking a shop for a school is a
#   milder mistake than taking a child for road.
# - One vote a class is a choice, too: a rare class with noisy labels moves the mean as much as the road.
#
# Every network of the course is scored like this. Only the share of houses named rightly, which lesson 0
# used, looks at one part of the matrix: the 3 x 3 block of the houses.

# %% [markdown] tags=["instructor"]
# Fifteen minutes for the last two sections. Answers to the widget: (1) scene 2 has schools only, so two
# bars are missing, and its mean is high, as no hard class is in it. (2) FCN calls some pixels of our
# scene "home", and there is none; PPM calls none so, and the bar becomes a dash. (3) From about 20 scenes
# on; single scenes lie far apart. Usual mistake in 1.3: "the mean of means is the same, each picture has equally many
# pixels"; ask which classes are in each mean. Prompt: *a paper reports mIoU "per image": what do you ask
# its authors before you compare?* When late, stop after 1.3 and leave annlib's `update` for home.

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

# %% [markdown] tags=["quiz:accuracy"]
# ### Quiz 1.1: A network has a high pixel accuracy and a low mIoU. What is the most likely reason?
#
# - [ ] One of the two was computed wrongly.
#   Both can be right: they weigh classes differently. The lazy network is such a case.
# - [x] It is good at large classes and bad at several small ones.
#   Accuracy counts pixels, mIoU counts classes.
# - [ ] Many pixels have the label 255.
#   Those are in neither of the two.

# %% [markdown] tags=["quiz:ignore"]
# ### Quiz 1.2: A network predicts "sky" on a pixel with label 255. What happens to the IoU of sky?
#
# - [ ] It falls: the pixel is a wrong alarm.
#   It would be, if the pixel had a label. Without one nobody can say that it is wrong.
# - [x] Nothing.
#   The pixel is in no cell of the matrix. It is left out before anything is counted.
# - [ ] It rises, as 255 may be anything.
#   "Anything" would be a right answer for every network: a present. It is neither right nor wrong.

# %% [markdown] tags=["quiz:images"]
# ### Quiz 1.3: Why not average mIoU over images?
#
# - [ ] It takes longer.
#   Time is not the point; both need the same counts.
# - [ ] It always comes out too high.
#   For PPM it came out higher, for FCN lower: it is another measure, not a shifted one.
# - [x] Each image has other classes in its mean, and a small mistake in a class that it lacks counts as 0.
#   One matrix over all images weighs each pixel of a class alike, wherever it lies.

# %% [markdown] tags=["quiz:absent"]
# ### Quiz 1.4: A class stands in no label of the test set, and a network predicts it on 3 pixels. Its IoU is
#
# - [ ] NaN, and left out.
#   Only if it were not predicted either. Here the union has 3 pixels.
# - [x] 0, and part of the mean.
#   The intersection is empty, the union is not.
# - [ ] 1, as nothing was missed.
#   Nothing was missed, but 3 pixels are wrong alarms. IoU punishes both.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You wrote IoU for one class, counted a confusion matrix over batches with 255 left out, and took the mean
# of IoU over the classes that occur. You saw a network that never looks reach a fine pixel accuracy, and a
# mean over images that flatters one network and punishes another.
#
# Read more: M. Everingham and others, *The Pascal Visual Object Classes Challenge: A Retrospective*, IJCV
# 2015, which scores segmentation by IoU; M. Cordts and others, *The Cityscapes Dataset for Semantic Urban
# Scene Understanding*, CVPR 2016, section 4, for IoU and its blind spots; annlib/engine/metrics.py.
#
# Next: in [lesson 2](02_non_local_attention.ipynb) you build what ANN has and FCN lacks.
