# %% [markdown] tags=["header"]
# # 1. Semantic segmentation: confusion matrix, IoU and mIoU
#
# *94 of 100 pixels are correct. Is that good?*
#
# - **Before:** lesson 0; arrays with masks and sums
# - **Time:** 80 min: reading 30, exercises 45, running 5
# - **Runs in:** 25 s (quick), 35 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. write the intersection over union of one class ([Exercise 1.1](exercise:mask-iou))
# 2. count a confusion matrix over batches, without the pixels of label 255 ([Exercise 1.2](exercise:update))
# 3. compute mIoU when a class is absent ([Exercise 1.3](exercise:mean-iou))
# 4. predict what pixel accuracy hides ([Prediction 1.1](predict:hidden))
# 5. distinguish the mIoU of one matrix from a mean over images ([Prediction 1.3](predict:average), [Quiz 1.3](quiz:images))

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
from IPython.display import display

from annlib.course import checks, plots, widgets
from annlib.course.attention import predict_labels, sample_photo
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import CLASS_NAMES
from annlib.data.classes import CAMVID
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.engine.metrics import ConfusionMatrix
from annlib.model.build import shipped_model

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()

# %% [markdown]
# ## Pixel accuracy: 94 of 100 pixels are correct
#
# Semantic segmentation assigns a class to **every pixel**. Lesson 0 counted houses. From here on we count
# pixels, as everybody does who compares segmentation networks. Here is our scene with the predictions of
# two networks. Look at the three houses first, then at the rest.

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
networks = {"FCN": "fcn", "PPM": "ppm", "ANN": "ann"}  # name -> block
models = {name: shipped_model(f"balloon_{block}") for name, block in networks.items()}
plots.predictions(
    [scene], {name: [predict_labels(models[name], scene.image)] for name in ("FCN", "ANN")}
)

# %% [markdown]
# FCN, the network with the small receptive field, can only guess the kind of each house. ANN, the network
# of the paper, does not need to guess. How large is the difference in numbers? The simplest score is
# **pixel accuracy**: the fraction of pixels whose predicted class is correct. White pixels have no label
# (their value in the label image is 255), so they do not count. The next cell computes the pixel accuracy
# over 40 scenes that were not used for training. Write down a guess for both networks before you run it.

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
# FCN has [93.6 %](claim:accuracy-fcn), ANN has [99.1 %](claim:accuracy-ann). Both sound excellent. To see
# what such a number is worth, compare it with a trivial **baseline** that does not use the image at all.
# For each of the 128 **rows**, the baseline predicts the class that is most frequent in this row of 40
# training scenes: sky at the top, then green, then road.

# %% [markdown]
# ### Prediction 1.1: The baseline without an image
#
# What is the pixel accuracy of this baseline, in percent (0 to 100)?

# %% tags=["predict:hidden"]
guess_lazy = 79  # solution

# %%
seen = np.stack([make_scene(index).labels for index in range(40)])  # training scenes
often = [np.bincount(seen[:, y].ravel(), minlength=256)[:255].argmax() for y in range(H)]
answers["baseline"] = torch.tensor(np.array(often))[None, :, None].expand(T, H, W)
lazy = 100 * float((answers["baseline"] == labels)[counted].double().mean())
predictions.compare("1.1", guess_lazy, lazy, tolerance=0.1, between=(0, 100))
lesson.claim("accuracy-lazy", lazy, within=0.5, unit="%", modes=same_scenes)
houses = 100 * float((labels[counted] >= 7).double().mean())
lesson.claim("house-pixels", houses, within=0.2, unit="%", modes=same_scenes)

# %% [markdown]
# <details>
# <summary>After you have run the cell: what pixel accuracy hides</summary>
#
# The baseline reaches [79.1 %](claim:accuracy-lazy) without using the image, and it never predicts a house,
# a car or a balloon. In pixel accuracy the weight of a class is its area, and the large classes are the
# easy ones. All houses together cover only [9.3 %](claim:house-pixels) of the pixels. So a model that gets
# every house wrong still gets nine of ten pixels right. In a photo of a street, a distant person covers a
# few hundred of two million pixels.
#
# </details>
#
# So we need a score in which **each class has the same weight**, and in which a model does not gain by
# predicting "sky" everywhere.

# %% [markdown] tags=["instructor"]
# Six minutes to here, ten for the next section. Collect predictions for 1.1 aloud: most are below 50. Ask:
# *which class would you predict without the image?* and *what accuracy has "all sky"?* (about 49 %). When
# late, skip the code of the baseline and show only its number.

# %% [markdown]
# ## One class: intersection over union
#
# Take one class $k$. $P$ is the set of pixels that are predicted to be $k$, and $L$ is the set of pixels
# whose label is $k$. Two kinds of error are possible: **false negatives** (in $L$ but not in $P$) and
# **false positives** (in $P$ but not in $L$). A fair score must fall with both. The **intersection over
# union** (IoU) does:
#
# $$\mathrm{IoU}_k = \frac{|P \cap L|}{|P \cup L|} = \frac{|P \cap L|}{|P| + |L| - |P \cap L|}$$
#
# It is 1 if the two sets are equal, and 0 if they do not overlap. Pixels that are neither predicted nor
# labelled $k$ do not occur in the formula, so the large and easy rest of the image cannot help.
#
# *Example.* The label covers 4 pixels, the prediction covers 3, and 2 pixels are in both. Then there are 2
# false negatives and 1 false positive, and IoU is 2 / (3 + 4 − 2) = [0.4](given:example).

# %% [markdown] tags=["exercise:mask-iou"]
# ### Exercise 1.1: One class
#
# *Difficulty 1/5, importance 5/5, about 5 min, objective 1*
#
# Write the formula for two masks. For the example above, your function returns [0.4](given:example).


# %% tags=["answer:mask-iou"]
def mask_iou(predicted: torch.Tensor, labelled: torch.Tensor) -> torch.Tensor:
    """predicted, labelled: bool (H, W) -> IoU, one number"""
    # solution
    intersection = (predicted & labelled).sum()
    return intersection / (predicted.sum() + labelled.sum() - intersection)


# %% [markdown] tags=["hint:mask-iou:1"]
# Draw two overlapping circles. If you add their areas, which part have you counted twice?

# %% [markdown] tags=["hint:mask-iou:2"]
# `predicted & labelled` is also a mask, and `mask.sum()` counts its pixels.

# %% [markdown] tags=["hint:mask-iou:3"]
# `intersection = (predicted & labelled).sum()`

# %% tags=["check:mask-iou"]
checks.mask_iou(mask_iou)

# %% [markdown]
# *Extension (optional).* The Dice score is $2|P \cap L| / (|P| + |L|)$. Express it by IoU alone. Which of
# the two is larger?
#
# <details><summary>Answer</summary>
#
# Let $I = |P \cap L|$ and $U = |P \cup L|$. Then $|P| + |L| = U + I$, so
# $\mathrm{Dice} = 2I / (U + I) = 2\,\mathrm{IoU} / (1 + \mathrm{IoU})$. Dice is larger, except at 0 and 1
# where both are equal. For IoU = [0.4](given:example), Dice is about [0.57](given:example).
#
# </details>
#
# Now your function scores the prediction of FCN on the sky (class 0) and on the school (class 9) of our
# scene. Expect one number close to 1 and one close to 0:

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
# The sky is nearly perfect. The school is large and FCN finds its outline, but predicts the class "shop".
# For the IoU of "school" that is as bad as not finding it at all.
#
# ## All classes: the confusion matrix
#
# To get the IoU of all $K$ classes, count once how often each label got each prediction. $n_{lk}$ is the
# number of pixels with **label** $l$ (row) and **prediction** $k$ (column), over all images:
#
# $$n_{lk} = \#\{\text{pixels with label } l \text{ and prediction } k\}, \qquad
# \mathrm{IoU}_k = \frac{n_{kk}}{\sum_{k'} n_{kk'} + \sum_l n_{lk} - n_{kk}}$$
#
# The first sum runs along row $k$, the second one down column $k$. Correct pixels are on the diagonal.
# Pixels with label **255 are in no entry**, so a prediction there can neither help nor harm. The counts of
# two batches add up, so the images can come in any order and on any number of machines. In the code, $n$
# is `counts`, and `counts[l, k]` is $n_{lk}$.
#
# You can count without a loop: give each pair $(l, k)$ its own number $K l + k$, and let `bincount` count
# how often each number from 0 to $K^2 - 1$ occurs.
#
# *Example with $K = 2$.* Labels `[0, 1, 255]`, predictions `[0, 0, 1]`. The last pixel has no class, so it is
# dropped. The pairs (0, 0) and (1, 0) have the numbers 2·0 + 0 = 0 and 2·1 + 0 = 2. `bincount` with a length
# of 4 gives `[1, 0, 1, 0]`, and reshaped to 2 x 2 this is `[[1, 0], [1, 0]]`: one pixel of label 0 was
# predicted correctly, and one pixel of label 1 was predicted to be 0.

# %% [markdown] tags=["exercise:update"]
# ### Exercise 1.2: Count a batch
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 2*
#
# Add the pixels of one batch to the counts and return the sum. For the example above and `counts` of
# zeros, your function returns `[[1, 0], [1, 0]]`.


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
# First drop the pixels without a label, in both tensors. Two long rows of numbers remain, and each place
# in them is one pixel.

# %% [markdown] tags=["hint:update:2"]
# `labels[labels != 255]` keeps the labelled pixels. `torch.bincount(pairs, minlength=K * K)` counts how
# often each number occurs, and `.view(K, K)` reshapes the counts to a table. Which of the two tensors must
# be multiplied by K, so that labels are rows?

# %% [markdown] tags=["hint:update:3"]
# `has_label = labels != 255`

# %% tags=["check:update"]
checks.update_confusion(update_confusion)

# %% [markdown]
# *Extension (optional).* What goes wrong in $K l + k$ if labels are bytes (`uint8`) and there are 150
# classes, as in ADE20K?
#
# <details><summary>Answer</summary>
#
# A byte holds 0 to 255, and PyTorch keeps the type of the tensor: $150 \cdot 2 + 0 = 300$ becomes
# $300 - 256 = 44$. Different pairs get the same number, without an error message. Convert to `int64` first.
#
# </details>
#
# Now count our 40 scenes, ten at a time, and compare with annlib's matrix. The two must be equal:

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
# A confusion matrix says more than any single score. In the next figure each row belongs to one label and
# sums to 100 %. Read the last three rows.

# %%
whole = ConfusionMatrix(K)
whole.update(answers["FCN"], labels)
plots.confusion_matrix(whole, CLASS_NAMES, "FCN: confusion matrix, % of each label")

# %% [markdown]
# The errors are concentrated in one block. FCN *finds* the houses, but distributes each kind over all three
# classes. It can say where a house is, but not which kind it is.

# %% [markdown] tags=["instructor"]
# Fifteen minutes for this section. Usual mistakes in 1.2: `counts[labels, predictions] += 1` (counts each
# pair once: let them find out why the sum is too small), rows and columns exchanged (the check reports it;
# IoU would be the same, class accuracy would not), 255 clamped to a class. Prompt: *which score does not
# change if the matrix is transposed?* IoU and mIoU, because the formula is symmetric. When late, give hint
# 2 to all.

# %% [markdown]
# ## One number: mIoU, and absent classes
#
# $$\mathrm{mIoU} = \frac{1}{|M|} \sum_{k \in M} \mathrm{IoU}_k$$
#
# The mean gives each class the same weight. But which classes belong to the set $M$? There are three cases:
#
# | class $k$ in labels | in predictions | IoU | in the mean? |
# |---|---|---|---|
# | yes | yes or no | between 0 and 1 | yes |
# | no | yes | 0: all its pixels are false positives | yes, as 0 |
# | no | no | 0/0, NaN | no: the class was not tested |

# %% [markdown]
# ### Prediction 1.2: One false positive of an absent class
#
# An image contains sky, house and road, and all are predicted perfectly, so mIoU is 1. Now **one** of a
# thousand sky pixels is predicted as "car", a class that the image does not contain. What is mIoU now,
# roughly (0 to 1)?

# %% tags=["predict:nowhere"]
guess_nowhere = 0.75  # solution

# %%
small = ConfusionMatrix(4)  # sky, house, road, car
small.counts = torch.tensor([[999, 0, 0, 1], [0, 1000, 0, 0], [0, 0, 1000, 0], [0, 0, 0, 0]])
predictions.compare("1.2", guess_nowhere, small.scores().miou, tolerance=0.02, between=(0, 1))
print("IoU of each class:", [f"{value:.3f}" for value in small.scores().iou.tolist()])

# %% [markdown]
# <details>
# <summary>After you have run the cell: why one pixel matters so much</summary>
#
# One pixel costs a quarter of the score, because "car" is now a fourth class in the mean, with IoU 0. For
# this reason mIoU should be computed over *many* images. In a whole data set every class occurs, and one
# pixel has little effect.
#
# </details>
#
# *Example for the next exercise.* Two images, two classes. The first matrix is `[[4, 0], [0, 0]]`, the second
# one is `[[2, 0], [2, 2]]`. Added, they are `[[6, 0], [2, 2]]`. IoU of class 0 is 6 / (6 + 8 − 6) =
# [0.75](given:example), IoU of class 1 is 2 / (4 + 2 − 2) = [0.5](given:example), and mIoU is
# [0.625](given:example). The mean of the mIoU of the two images would be different: 1 for the first image
# (class 1 is absent), [0.5](given:example) for the second one, [0.75](given:example) on average.

# %% [markdown] tags=["exercise:mean-iou"]
# ### Exercise 1.3: mIoU of a data set
#
# *Difficulty 2/5, importance 5/5, about 10 min, objective 3*
#
# `counts` holds one matrix for each of $T$ images. Return the mIoU of the data set, by the rules of the
# table above. For the example, your function returns [0.625](given:example).


# %% tags=["answer:mean-iou"]
def mean_iou(counts: torch.Tensor) -> torch.Tensor:
    """int64 (T, K, K), counts[t, label, prediction] -> mIoU, one number"""
    # solution
    total = counts.sum(0).double()
    right = total.diagonal()
    union = total.sum(0) + total.sum(1) - right
    return (right / union).nanmean()


# %% [markdown] tags=["hint:mean-iou:1"]
# When do the images become one data set: before the division or after it?

# %% [markdown] tags=["hint:mean-iou:2"]
# `total.diagonal()`, `total.sum(1)` (labelled) and `total.sum(0)` (predicted) all have shape $(K,)$. In
# floating point 0/0 is NaN, and `nanmean` is a mean that leaves NaN out.

# %% [markdown] tags=["hint:mean-iou:3"]
# `total = counts.sum(0).double()`

# %% tags=["check:mean-iou"]
checks.mean_iou(mean_iou)

# %% [markdown]
# *Extension (optional).* The mean class accuracy divides the diagonal by the row sums and takes the mean. Is
# there a matrix in which it is 1 and mIoU is not? Which errors does it ignore in the other cases?
#
# <details><summary>Answer</summary>
#
# There is none: if each row has all its pixels on the diagonal, there are no errors, so mIoU is 1, too. The
# scores differ when there are errors, because class accuracy ignores false positives. For `[[9, 1], [0, 1]]`
# the class accuracies are [0.9](given:example) and 1, but the IoU of class 1 is only [0.5](given:example).
#
# </details>
#
# ### Paint a prediction
#
# The next widget shows 4 x 6 pixels, one of them without a label. Choose a class as the brush. Then click a
# pixel of the **upper grid**, or drag across several. With the keyboard, arrow keys move, Space paints, and the
# letter of a class paints that class. The figures below only show the result. Try this, and say each time
# *what changes, and why*:
#
# 1. Press "all sky". Which falls more, accuracy or mIoU?
# 2. Press "as the labels". Change one house pixel to sky: how much does mIoU fall? Undo it, and change one
#    sky pixel to *road*. Why does one incorrect pixel have another effect there?
# 3. Press "as the labels" and change one pixel to car. How many classes are in the mean now?
# 4. Give the pixel marked 255 every class in turn. What changes?

# %%
widgets.PaintPrediction()

# %% [markdown] tags=["instructor"]
# Twelve minutes. Task 2: the house has 4 pixels, so one of them is a quarter of its IoU; the sky has 13.
# Let pairs predict the number before they click. Usual mistakes in 1.3: NaN turned into 0 (`nan_to_num`),
# the mean over images, `total.sum(0) + total.sum(1)` as the union. Ask: *who would gain if absent classes
# counted as 1?* (Every model, most of all on small test sets.)
#
# Answers: (1) all sky: accuracy 0.57, mIoU 0.19. (2) mIoU 0.893 for the house pixel, 0.927 for the sky
# pixel predicted as road. (3) Four; mIoU 0.69 if the pixel was house, 0.73 if it was sky. (4) Nothing.

# %% [markdown]
# ## One matrix for all images, or a mean over images?
#
# Instead of one matrix for all images you could compute the mIoU of each image, and average these numbers.
# Our scenes contain different kinds of houses, so different classes are in the mean of each scene. Our third
# network, PPM, shows the effect.
# It has the pyramid pooling module of PSPNet instead of attention: every position gets the means of the
# feature map over the cells of four grids. So PPM knows which balloon patterns are in the sky, but it
# cannot match a balloon with a house by paint. In effect it predicts the most frequent pattern for all
# houses of a scene, like a majority vote.

# %% [markdown]
# ### Prediction 1.3: Average of averages
#
# Compare the mean of the mIoU values of all 40 scenes with the mIoU of one matrix for all scenes. For PPM and
# for FCN: is it higher or lower? Write "both higher", "both lower", "PPM higher" (and FCN lower) or
# "FCN higher" (and PPM lower).

# %% tags=["predict:average"]
guess_average = "PPM higher"  # solution


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
higher = [name for name in ("PPM", "FCN") if apart[name] > together[name]]
outcome = f"{higher[0]} higher" if len(higher) == 1 else "both higher" if higher else "both lower"
options = ("both higher", "both lower", "PPM higher", "FCN higher")
predictions.compare("1.3", guess_average, outcome, options=options)
for name in networks:
    print(f"{name:5} one matrix {together[name]:.3f}   mean over scenes {apart[name]:.3f}")
lesson.claim("ppm-together", together["PPM"], within=0.005, modes=same_scenes)
lesson.claim("ppm-apart", apart["PPM"], within=0.005, modes=same_scenes)
lesson.claim("fcn-together", together["FCN"], within=0.005, modes=same_scenes)
lesson.claim("fcn-apart", apart["FCN"], within=0.005, modes=same_scenes)

# %% [markdown]
# <details>
# <summary>After you have run the cell: why the two differ</summary>
#
# The mean over scenes overestimates PPM ([0.815](claim:ppm-apart) instead of [0.797](claim:ppm-together))
# and underestimates FCN ([0.720](claim:fcn-apart) instead of [0.747](claim:fcn-together)). So it is not
# simply "a bit optimistic". It is another score, in which the difference between these two networks is
# almost twice as large. There are two reasons:
#
# - In a scene whose houses are all of one kind, the majority vote classifies all of them correctly, and the
#   other two kinds are absent from the mean. In the mean over scenes this scene has the same weight as any
#   other. In one matrix it has only the weight of its pixels.
# - FCN guesses, so it predicts kinds that the scene does not contain. Each of them is an absent class with
#   false positives: its IoU in the mean of this scene is 0.
#
# **Use one matrix for all images and take one mean at the end.** The published tables of lesson 9 and
# annlib do this.
#
# </details>
#
# The next widget shows how much a subset of the scenes can say. Left: the IoU of each class. Right: the
# mIoU of each scene, and the two means.
#
# 1. Take PPM and one scene at a time ("how many" = 1). Find a scene with a missing bar (a dash). How does
#    the missing bar change the mean?
# 2. Take FCN and scene 21, which is ours. Which class has IoU 0 although it has no false negatives? Now
#    take PPM: why does this class have no bar?
# 3. With PPM, increase "how many" from 1 to 40. From which number on is the mIoU of one matrix stable?

# %%
widgets.choose_scenes({name: (networks[name], counts[name]) for name in networks}, CLASS_NAMES)

# %% [markdown]
# ## The same in annlib, and the scores of all networks
#
# annlib's `update` is your function with one more idea. Labels fit into a byte, so each pair gets the number
# $256\,l + k$, and **one** `bincount` into a table of 256 x 256 counts everything, 255 included. The row of
# label 255 is then set to zero. A label that should not exist shows up outside of the first $K$ rows and is
# reported.

# %%
print(inspect.getsource(ConfusionMatrix.update))

# %%
for name in ("baseline", "FCN", "PPM", "ANN"):
    matrix = ConfusionMatrix(K)
    matrix.update(answers[name], labels)
    scores = matrix.scores()
    print(f"{name:8} pixel accuracy {100 * scores.pixel_accuracy:.1f} %   mIoU {scores.miou:.3f}")
lesson.claim("miou-lazy", together["baseline"], within=0.005, modes=same_scenes)
lesson.claim("miou-ann", together["ANN"], within=0.005, modes=same_scenes)

# %% [markdown]
# The baseline without an image classifies four of five pixels correctly, but its mIoU is only
# [0.234](claim:miou-lazy), because seven of the ten classes have IoU 0. FCN has [0.747](claim:fcn-together),
# ANN has [0.968](claim:miou-ann). So a small difference in pixel accuracy (six points between FCN and ANN) can
# hide a large one: FCN guesses the kind of a house, and ANN recognises it.
#
# **What this does not show.**
#
# - Each network here comes from one training run (one seed), and there are 40 scenes. Results with five
#   seeds and 200 scenes are in `data/results/balloon_town.md`: FCN has an mIoU of
#   [0.728](result:balloon_town.md) and ANN of [0.966](result:balloon_town.md), both with a standard deviation
#   of [0.001](result:balloon_town.md) over the seeds. Other networks vary more: for the network of lesson 2
#   it is [0.100](result:balloon_town.md), so one run of it says little.
# - mIoU says little about object borders. Here border pixels have label 255, so a ragged border costs
#   nothing; in other data sets they are few. mIoU also ignores how certain a network is, and it does not
#   know that confusing a shop with a school is less serious than confusing a child with the road.
# - The same weight for each class is also a choice: a rare class with noisy labels changes the mean as much
#   as the road does.
#
# Every network of the course is scored like this. Only the fraction of correctly classified houses, which
# lesson 0 used, looks at one part of the matrix: the 3 x 3 block of the houses.

# %% [markdown]
# ## A real photo: when can you compute mIoU?
#
# Here is the photo of lesson 0 with the prediction of a small ANN that was trained on photos of streets.
# Before you go on: what would you need to compute its mIoU, and which predicted regions are certainly
# incorrect?

# %%
street_net, photo = shipped_model("streets_ann"), sample_photo()
street_labels = predict_labels(street_net, photo)
display(plots.segmentation(photo, street_labels, CAMVID, "ANN, trained on streets"))

# %% [markdown]
# <details>
# <summary>Open this after you have answered</summary>
#
# You need a label for every pixel, made by a person. Without labels there is no confusion matrix, so there
# is no accuracy, no IoU and no mIoU: a figure that looks plausible is not a score. And the labels must use
# the same classes. A temple is not one of the 11 classes of the street data. Is it a "building"? The people
# who make the labels have to decide that, and mIoU depends on their decision. Predictions of a class that
# the image does not contain are certainly incorrect. In the mIoU of this single image each such class would
# count as 0, as in Prediction 1.2.
#
# </details>

# %% [markdown] tags=["instructor"]
# Fifteen minutes for the last three sections. Answers to the widget: (1) Scene 2 contains schools only, so
# two bars are missing, and its mean is high because the difficult classes are not in it. (2) FCN predicts
# "home" for some pixels of our scene, and it contains no home; PPM predicts no home, so the bar becomes a
# dash. (3) From about 20 scenes on; single scenes differ a lot. Usual mistake in 1.3: "the mean of means is
# the same, because each image has the same number of pixels"; ask which classes are in each mean. Prompt:
# *a paper reports mIoU "per image": what do you ask its authors before you compare?* When late, stop after
# 1.3 and leave annlib's `update` and the photo for home.

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

# %% [markdown] tags=["quiz:accuracy"]
# ### Quiz 1.1: A network has a high pixel accuracy and a low mIoU. What is the most likely reason?
#
# - [ ] One of the two was computed incorrectly.
#   Both can be correct, because they weight classes differently. The baseline without an image is such a
#   case.
# - [x] It is good at large classes and bad at several small ones.
#   In accuracy each pixel has the same weight, in mIoU each class.
# - [ ] Many pixels have the label 255.
#   Such pixels count in neither score.

# %% [markdown] tags=["quiz:ignore"]
# ### Quiz 1.2: A network predicts "sky" on a pixel with label 255. What happens to the IoU of sky?
#
# - [ ] It falls, because the pixel is a false positive.
#   It would be one if the pixel had a label. Without a label the prediction is neither correct nor
#   incorrect.
# - [x] Nothing.
#   The pixel is in no entry of the matrix. It is dropped before anything is counted.
# - [ ] It rises, because 255 may be any class.
#   Then every prediction would be correct there, and every network would gain. The pixel is not counted.

# %% [markdown] tags=["quiz:images"]
# ### Quiz 1.3: Why should you not average mIoU over images?
#
# - [ ] It takes longer.
#   Time is not the reason; both need the same counts.
# - [ ] It always gives a higher value.
#   It gave a higher value for PPM and a lower value for FCN. It is another score, not a shifted one.
# - [x] Each image has other classes in its mean, and a few false positives of an absent class count as 0.
#   In one matrix over all images each pixel of a class has the same weight, in whichever image it is.

# %% [markdown] tags=["quiz:absent"]
# ### Quiz 1.4: No label of the test set has a certain class, but a network predicts it on 3 pixels. Its IoU is
#
# - [ ] NaN, and left out.
#   That holds only if the class is not predicted either. Here the union has 3 pixels.
# - [x] 0, and part of the mean.
#   The intersection is empty, the union is not.
# - [ ] 1, because there are no false negatives.
#   There are 3 false positives, and IoU falls with both kinds of error.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You wrote the IoU of one class, counted a confusion matrix over batches without the pixels of label 255, and
# took the mean IoU over the classes that occur. You saw that a baseline without an image reaches a high pixel
# accuracy, and that a mean over images overestimates one network and underestimates another.
#
# Read more: M. Everingham and others, *The Pascal Visual Object Classes Challenge: A Retrospective*, IJCV
# 2015, which scores segmentation by IoU; M. Cordts and others, *The Cityscapes Dataset for Semantic Urban
# Scene Understanding*, CVPR 2016, section 4, for IoU and its limits; annlib/engine/metrics.py.
#
# Next: in [lesson 2](02_non_local_attention.ipynb) you build the block that ANN has and FCN lacks.
