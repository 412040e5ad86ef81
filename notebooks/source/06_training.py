# %% [markdown] tags=["header"]
# # 6. Training: the loss, the learning rate, and one batch for debugging
#
# *The loss does not fall. Is the cause the code, the data, or the network?*
#
# - **Before:** lessons 1 and 5; you have heard of gradients and optimisers
# - **Time:** 100 min: reading 30, exercises 65, running 5
# - **Runs in:** 40 s (quick), 240 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network. A GPU for the last section in mode full
#
# ## After this lesson you can
#
# 1. calculate the expected initial loss ([Exercise 6.1](exercise:first-loss))
# 2. write the learning rate of every step ([Exercise 6.2](exercise:poly))
# 3. write one training step with an auxiliary loss ([Exercise 6.3](exercise:step))
# 4. predict what overfitting one batch can show ([Prediction 6.3](predict:memory), [Quiz 6.3](quiz:batch))
# 5. compare two networks over several seeds ([Exercise 6.4](exercise:gap))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import time
from dataclasses import replace
from itertools import islice
from math import log
from pathlib import Path

import torch
from torch import nn

from annlib.config import TestConfig, TrainConfig
from annlib.course import checks, plots, widgets
from annlib.course.attention import predict_labels
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson, progress
from annlib.course.training import fit_with_progress, open_full_run, refuse_without_gpu
from annlib.data.balloon_town.dataset import Scenes, make_scene
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.experiments import town
from annlib.model.build import build_model

lesson = open_lesson(mode, device, seed, data_root, experiment, uses=("data_root", "experiment"))
refuse_without_gpu(lesson)
predictions = Predictions()

# %% [markdown]
# ## The expected initial loss
#
# You know the blocks, and you can score a prediction. What is missing is the training. A mistake in a training loop
# usually causes no error message; it only makes the result a little worse, so it can cost days. Therefore we look for
# numbers that are known **before** training, and compare. The first one is the loss of the first step. The next figure
# shows what ANN predicts for our scene with random weights. Which classes do you expect?

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
torch.manual_seed(lesson.seed)
fresh = build_model(town("ann").model).to(lesson.device)
plots.predictions([scene], {"ANN, random weights": [predict_labels(fresh, scene.image)]})

# %% [markdown]
# (If a house is correct here, it is by chance, because nearly all pixels get the same class. The figure shows only
# *which* class has the highest probability, not by how much.)
#
# The cross-entropy of a pixel is $-\ln p$, where $p$ is the probability that the network gives to the correct class.
# For example, with $p = 1$ the loss is 0, with $p = 1/2$ it is $\ln 2$ = [0.69](given:example), and with $p = 1/10$ it is
# [2.303](given:ln). annlib follows the code of the published models in two details that you cannot guess:
#
# - There are **two** outputs. The *auxiliary* head predicts the classes from an earlier feature map of the backbone; it
#   is removed after training. Its loss has the weight $\alpha = 0.4$. It gives the early layers a short path for their
#   gradient.
# - The loss sums over the labelled pixels, but divides by **all** $B \cdot H \cdot W$ pixels:
#
# $$L(p) = \frac{1}{BHW} \sum_{\text{labelled } n} -\ln p_n(\text{label of } n), \qquad
# L = L(p^{\mathrm{main}}) + \alpha\, L(p^{\mathrm{aux}})$$
#
# So pixels with the label 255 add nothing to the sum, but they make the mean smaller. *Example:* three pixels, two of
# them with a label, both with $p = 1/2$. Then $L(p) = 2 \ln 2 / 3$ = [0.46](given:example), not $\ln 2$. (The authors'
# own scripts use another loss: the main one keeps only hard pixels, and the auxiliary one is a mean over labelled
# pixels.)

# %%
from annlib.data.loader import Transformed, make_loader
from annlib.data.transforms import to_tensors
from annlib.engine.optimization import (
    make_optimizer,
    poly_lr,
    segmentation_loss,
    subsample_labels,
    train,
)

pair = make_loader(Transformed(Scenes(2), to_tensors), batch_size=2, training=False)
images, labels = next(iter(pair))
# Every fourth row and column of the labels, as in the recipe: four times faster.
labels = subsample_labels(labels, 4)
B, H, W = labels.shape
assert images.shape == (B, 3, 4 * H, 4 * W) and B == 2
images, labels = images.to(lesson.device), labels.to(lesson.device)
labelled = float((labels != 255).double().mean())
print(f"{labelled:.3f} of the pixels of these two scenes have a label; {len(CLASS_NAMES)} classes.")

# %% [markdown]
# ### Prediction 6.1: The initial loss
#
# An untrained network gives all ten classes about the same probability. What is $L$, both outputs together, for these
# two scenes? (Use the share of labelled pixels that was printed above.)

# %% tags=["predict:first"]
guess_first = 2.93  # solution

# %%
fresh.train()
logits = fresh(images, size=(H, W))
loss = segmentation_loss(logits, labels, aux_weight=0.4)
predictions.compare("6.1", guess_first, float(loss.detach()), tolerance=0.05)

# %% [markdown]
# The next cell computes the same loss step by step, as in the formula:


# %%
def mean_loss(scores: torch.Tensor) -> torch.Tensor:
    """scores (B, K, H, W) -> L(p), a scalar"""
    p = scores.softmax(dim=1)
    counted = labels != 255
    target = torch.where(counted, labels, 0).long()[:, None]
    p_of_label = p.gather(1, target)[:, 0]
    assert p_of_label.shape == (B, H, W)
    return -p_of_label[counted].log().sum() / (B * H * W)


step_by_step = mean_loss(logits.main) + 0.4 * mean_loss(logits.aux)
assert torch.isclose(step_by_step, loss, rtol=1e-4)
print(f"difference from segmentation_loss: {float((step_by_step - loss).detach()):.1g}")

# %% [markdown] tags=["exercise:first-loss"]
# ### Exercise 6.1: The expected initial loss
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 1*
#
# Write a function for any number of classes $K$, share of labelled pixels, and weight $\alpha$. For two classes, all
# pixels labelled and no auxiliary loss it returns $\ln 2$, about [0.69](given:ln).
#
# *Extension (optional):* the network outputs the same probabilities at every pixel, and classes differ in frequency.
# Which probabilities are best, and what is the loss then?


# %% tags=["answer:first-loss"]
def first_loss(num_classes: int, labelled: float, aux_weight: float) -> float:
    """number of classes K, share of labelled pixels 0..1, weight of the auxiliary loss α -> L"""
    # solution
    each = log(num_classes)
    return (1 + aux_weight) * labelled * each


# %% [markdown] tags=["hint:first-loss:1"]
# Which probability has the correct class if all $K$ are equally likely? What is the loss of one labelled pixel then?
# And what does a pixel without a label add?

# %% [markdown] tags=["hint:first-loss:2"]
# `math.log` is the natural logarithm, and $-\ln(1/K) = \ln K$. There are two losses; the second has a weight.

# %% [markdown] tags=["hint:first-loss:3"]
# `each = log(num_classes)` is the loss of a labelled pixel, for each of the two outputs.

# %% tags=["check:first-loss"]
checks.first_loss(first_loss)

# %%
expected = checks.given(first_loss(len(CLASS_NAMES), labelled, 0.4))
print(f"expected {expected:.3f}, measured {float(loss.detach()):.3f}")
lesson.claim("first-loss", float(loss.detach()), within=0.06)

# %% [markdown]
# <details>
# <summary>After you have run the cell: the number, and the answer to the extension of Exercise 6.1</summary>
#
# The measured loss is [2.91](claim:first-loss), within about a percent of the formula.
#
# *Extension.* The best constant output is the frequency $f_k$ of each class among the labelled pixels. Its loss is the
# entropy $-\sum_k f_k \ln f_k$, which is at most $\ln K$. So a network that has only learned the frequencies has a lower
# loss than a new one, without having looked at the image.
#
# </details>
#
# An initial loss that is far from the expected one is the earliest symptom of a mistake, and it costs one step:
#
# | initial loss | possible cause |
# |---|---|
# | much higher | images not normalised; weights of the last layer too large |
# | lower by the share of ignored pixels | no mistake: the mean is over all pixels |
# | without the factor [1.4](given:outputs) | the auxiliary output is missing (is the model in `eval` mode?) |
# | NaN | NaN in an image; a mean over labelled pixels in a batch that has none |
# | an `IndexError`, or an assert on the GPU | a label that is neither one of 0..K-1 nor 255 |

# %% [markdown] tags=["instructor"]
# Ten minutes. Most groups forget one of the two factors in 6.1: let them find out which by the size of the gap (a
# factor of 1.4, or 0.91). Prompt: *what would the initial loss be with 150 classes?* (ln 150 is 5.0.) Usual mistakes:
# log2, or the mean over labelled pixels, which PyTorch takes by default.

# %% [markdown]
# ## The learning-rate schedule
#
# The learning rate scales the length of a step. Large steps find a good region; small steps refine it. The published
# models use a *polynomial* schedule ("poly"): at step $t = 0, 1, \dots$ of $T$
#
# $$\eta_t = (\eta_{\mathrm{base}} - \eta_{\mathrm{min}}) \left(1 - \frac{t}{T}\right)^{p} +
# \eta_{\mathrm{min}}$$
#
# with power $p = 0.9$, base rate $0.01$ and floor $0.0001$ (SGD). annlib's small networks use AdamW with another base
# rate, without a floor, and with 50 steps of **warm-up**: the rate first rises linearly, because in the first steps
# AdamW's running averages are still unreliable. (This is the formula of the released weights. Newer versions of that
# code divide by $T - 1$; the last steps differ by about one percent.)
#
# *Example.* With $T = 10$ steps, base rate 1, power 1 and floor 0, the rates are 1, [0.9](given:example),
# [0.8](given:example) and so on: a straight line. A power of [0.9](given:recipe) bends it a little upwards.

# %% [markdown]
# ### Prediction 6.2: Half of the steps
#
# Half of the steps are done, the power is $0.9$, the floor $0$. Which share of the base rate is left? (A number between
# 0 and 1.)

# %% tags=["predict:half"]
guess_half = 0.54  # solution

# %%
half = poly_lr(500, TrainConfig(1000, base_lr=1.0, min_lr=0.0))
predictions.compare("6.2", guess_half, half, tolerance=0.02, between=(0, 1))

# %% [markdown] tags=["exercise:poly"]
# ### Exercise 6.2: The rate of a step
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 2*
#
# Write the formula. Two values to check: at step 0 it returns the base rate, and at step $t = T$ the floor.
#
# *Extension (optional):* add a warm-up that multiplies the rate by $(t+1)/(w+1)$ in the first $w$ steps, and compare
# with `poly_lr`.


# %% tags=["answer:poly"]
def poly_rate(step: int, steps: int, base: float, power: float, floor: float) -> float:
    """step t = 0, 1, ... of T steps, base rate, power p, floor (η_min) -> rate η_t"""
    # solution
    left = 1 - step / steps
    return (base - floor) * left**power + floor


# %% [markdown] tags=["hint:poly:1"]
# In words: the part of the base rate above the floor is multiplied by a power of the share of steps that are *left*.
# Then the floor is added.

# %% [markdown] tags=["hint:poly:2"]
# `/` divides with fractions, `//` without. `**` is the power, and binds more tightly than `*`.

# %% [markdown] tags=["hint:poly:3"]
# `left = 1 - step / steps`

# %% tags=["check:poly"]
checks.poly_rate(poly_rate)

# %%
published = TrainConfig(iterations=40_000)
mine = [checks.given(poly_rate(t, 40_000, 0.01, 0.9, 1e-4)) for t in (0, 20_000, 39_999)]
theirs = [poly_lr(t, published) for t in (0, 20_000, 39_999)]
assert all(abs(a - b) < 1e-8 for a, b in zip(mine, theirs, strict=True))
print("Yours is the schedule of a published run of 40,000 steps:", [f"{rate:.2g}" for rate in mine])

# %% [markdown]
# <details>
# <summary>Answer to the extension of Exercise 6.2</summary>
#
# Multiply the rate by `min(1, (step + 1) / (warmup + 1))`. `poly_lr` does the same. The polynomial continues during the
# warm-up, so after $w$ steps the rate is already below the base rate.
#
# </details>
#
# Change the recipe with the sliders. The dashed line is the published schedule. Try this, and say what changes and why:
#
# 1. Set **power** to 1, to 4, to 0. How many steps have less than a tenth of the highest rate? What are such steps good
#    for, and what do they cost?
# 2. Raise **warm-up steps** to 500. Why does the rate never reach the base rate any more?
# 3. Choose **base rate**, **power**, **floor** and **warm-up steps** so that both lines are the same.

# %%
widgets.recipe_sliders(town("ann").train)

# %% [markdown]
# ## One training step
#
# ![One training step in six parts: learning rate, zero_grad, forward pass, loss, backward pass, optimizer step](diagrams/training_step.svg)
#
# A step has six parts, and their order matters: set the rate; set the old gradients to zero (`backward` *adds* to what
# is there); forward pass; loss; backward pass; optimiser step.
#
# **A tiny example.** One weight $w = 1$, the loss $(w - 3)^2$, the rate [0.1](given:example), plain gradient descent. The
# loss before the step is 4, and the gradient is $2(w - 3) = -4$, so the new weight is $1 - 0.1 \cdot (-4) = 1.4$. If an
# old gradient of 1 is still stored, `backward` makes it $1 - 4 = -3$, and the weight becomes [1.3](given:example): no
# error, only a wrong step.

# %% [markdown] tags=["exercise:step"]
# ### Exercise 6.3: One training step
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 3*
#
# `model(images, size=...)` returns both outputs, upsampled to that size; the size has to be that of the labels, which
# may be coarser than the images. `segmentation_loss` is the loss from above. Return the loss without its graph: a scalar
# tensor such as `tensor(1.23)`, without `grad_fn`. Do not change the mode of the model.
#
# *Extension (optional):* clip the norm of the gradients at 5 (`nn.utils.clip_grad_norm_`). Between which two parts does
# it belong? (The check wants the plain step.)


# %% tags=["answer:step"]
def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    lr: float,
) -> torch.Tensor:
    """images (B, 3, H, W), labels (B, H', W') -> the loss before the step, a scalar"""
    # solution
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    logits = model(images, size=labels.shape[1:])
    loss = segmentation_loss(logits, labels, aux_weight=0.4)
    loss.backward()
    optimizer.step()
    return loss.detach()


# %% [markdown] tags=["hint:step:1"]
# For each of the six parts, say what it needs from the part before. Which part writes into `.grad`, and which one reads
# it?

# %% [markdown] tags=["hint:step:2"]
# An optimiser keeps its rate in each of its `param_groups`, under `"lr"`. Then you need `optimizer.zero_grad()`,
# `model(images, size=labels.shape[1:])`, `segmentation_loss(logits, labels, aux_weight=0.4)`, `loss.backward()` and
# `optimizer.step()`, in this order. `loss.detach()` is the loss without its graph.

# %% [markdown] tags=["hint:step:3"]
# `for group in optimizer.param_groups: group["lr"] = lr`

# %% tags=["check:step"]
checks.training_step(training_step)

# %% [markdown]
# <details>
# <summary>Answer to the extension of Exercise 6.3</summary>
#
# Between `backward`, which writes the gradients, and `optimizer.step`, which reads them. Clipping scales all gradients
# by one factor if their common norm is above 5, so the direction of the step stays the same.
#
# </details>

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for rate and step. The usual mistake in 6.3 is zero_grad between backward and step (nothing moves,
# the loss stays the same, no error). Let a group leave out zero_grad on purpose and plot the loss on one batch: it falls
# at first, which is why nobody notices. When late, hand out 6.2 with its hint 3.
#
# Answers, recipe sliders: (1) power 1: a tenth of the steps; 4: more than half; 0: none. (2) The rate has fallen to
# about half when the warm-up ends. (3) 0.01, 0.9, 0.0001, warm-up 0.

# %% [markdown]
# ## Debug by overfitting one batch
#
# Before an hour of training, spend a minute on this test: train on **one** batch again and again. ANN has more than a
# hundred thousand weights, so it should memorise (overfit) two scenes. If its loss does not fall to nearly zero,
# something is broken, and more data or longer training will not fix it. Our target is a loss below
# [0.05](given:target) after 70 steps, at a high constant rate.

# %% [markdown]
# ### Prediction 6.3: Can FCN do it?
#
# The receptive field of FCN does not contain the balloons, so on new scenes it can only guess the houses. Will its loss
# on one repeated batch fall below the target, too? "yes" or "no".

# %% tags=["predict:memory"]
guess_memory = "yes"  # solution


# %%
def on_one_batch(head: str, steps: int = 70, lr: float = 0.02) -> list[float]:
    """Losses of a new network that gets the same two scenes in every step."""
    torch.manual_seed(lesson.seed)
    model = build_model(town(head).model).to(lesson.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    model.train()
    return [
        float(checks.given(training_step(model, optimizer, images, labels, lr)))
        for _ in progress(range(steps), steps, "steps")
    ]


memorised = {"ANN": on_one_batch("ann"), "FCN": on_one_batch("fcn")}
outcome = "yes" if memorised["FCN"][-1] < 0.05 else "no"
predictions.compare("6.3", guess_memory, outcome, options=("yes", "no"))
lesson.claim("one-batch-ann", memorised["ANN"][-1], within=0.01)
lesson.claim("one-batch-fcn", memorised["FCN"][-1], within=0.01)
plots.one_batch(memorised, 0.05, ("ann", "fcn"))

# %% [markdown]
# <details>
# <summary>After you have run the cell: what came out, and what it shows</summary>
#
# After 70 steps the loss of ANN is [0.02](claim:one-batch-ann), and that of FCN is [0.01](claim:one-batch-fcn). FCN
# memorises these six houses, too. It does not need to know *why* a house is a school if it can recognise this one house
# by a detail such as a window. So the test shows that gradients arrive, and that loss, optimiser and network work
# together. It shows **nothing** about new scenes. It does not show either that the labels are correct: if two classes
# are swapped in all labels, the network memorises the swapped labels.
#
# </details>
#
# | what you see | likely cause |
# |---|---|
# | loss stays at its first value | `step` missing, `zero_grad` after `backward`, rate 0, weights frozen |
# | falls, then stops far from 0 | labels do not fit the images (only one of them flipped?); network too small |
# | falls, jumps, NaN | rate too high; no warm-up |
# | one batch works, the whole data set does not | data order, augmentation, or too few steps: read on |

# %% [markdown] tags=["instructor"]
# Ten minutes. Let people defend their answer to 6.3 before the cell runs. Usual mistake: to take a small loss for a good
# network. Prompt: *which mistake in the labels would this test never find?* (Two classes that are swapped.)
# A good place to stop for the day: the next section starts something new, and needs the machine for some minutes.

# %% [markdown]
# ## Train live
#
# Now the whole training: 400 scenes, batches of 8, the recipe from `annlib.experiments`. annlib's `train` repeats your
# step in a loop. It is a **generator**: it does one step each time its caller requests the next one. Between two steps
# the caller may validate, plot, or stop; the weights stay as the last step left them. Therefore you can use the
# notebook while the network trains.

# %%
from annlib.data.transforms import training_transform
from annlib.engine.inference import make_predictor
from annlib.engine.metrics import ConfusionMatrix, evaluate

steps = lesson.pick(quick=12, learn=600, full=1000)
every = lesson.pick(quick=6, learn=50, full=50)
town_scenes = Scenes(lesson.pick(quick=24, learn=400, full=400))
unseen = Transformed(Scenes(lesson.pick(8, 40, 200), first_seed=FIRST_VAL_SEED), to_tensors)


def score(model: nn.Module) -> ConfusionMatrix:
    """Counts over scenes that no training has used."""
    samples = make_loader(unseen, batch_size=8, training=False)
    on_device = ((images.to(lesson.device), labels) for images, labels in samples)
    return evaluate(make_predictor(model, TestConfig()), on_device, len(CLASS_NAMES))


def prepare(head: str, seed: int) -> tuple:
    """A new network and the steps that train it, none of them taken yet."""
    torch.manual_seed(seed)
    model = build_model(town(head).model).to(lesson.device, memory_format=torch.channels_last)
    recipe = replace(town(head).train, iterations=steps, seed=seed)
    data = Transformed(town_scenes, training_transform(town(head).data))
    batches = make_loader(data, town(head).data.batch_size, training=True, seed=seed)
    return model, train(model, make_optimizer(model, recipe), batches, recipe)


for name, value in vars(town("ann").train).items():
    print(f"{name:14} {value}")

# %% [markdown]
# ### Prediction 6.4: The initial loss of this run
#
# The run starts with a new ANN, as in Exercise 6.1, but uses the recipe that was just printed. Is its first loss "lower"
# than the expected initial loss of Exercise 6.1, "about equal" (at most a tenth apart), or "higher"? Read the recipe
# before you answer.

# %% tags=["predict:recipe"]
guess_recipe = "higher"  # solution

# %% [markdown]
# Run the next cell, then try this while it trains (a step takes a tenth of a second or so):
#
# 1. Which classes appear first in the prediction, which last? Compare with their sizes.
# 2. The curve "houses" stays near 1/3 while mIoU rises, and later may stay near [0.6](given:vote), the accuracy of
#    the majority vote of lesson 2. What does the network learn in the meantime, and why must it learn that first?
# 3. Press **Pause** after some 200 steps, look at the houses, then press **Go on**. Can you see the pause in the curve?
#    (**Stop and keep** ends the run for good; the network keeps its weights.)

# %%
ann, ann_steps = prepare("ann", lesson.seed)


def validate(step: int) -> plots.Validation:
    """The present scores of the network."""
    matrix = score(ann)
    labels = predict_labels(ann, scene.image)
    return plots.Validation(step, matrix.scores().miou, matrix.accuracy_among(HOUSES), labels)


run = widgets.LiveRun(ann_steps, steps, every, validate, scene, "ann")
run.start()

# %% [markdown]
# The next cell needs the trained network. It takes the steps that are left. If you have paused or stopped the run, it
# continues with the weights as they are. (■ in the toolbar interrupts it, which is a pause, too.)

# %%
started = time.perf_counter()
run.finish()
print(f"{run.done} steps; this cell waited {time.perf_counter() - started:.0f} s for them.")
if run.done < steps:
    print(f"The run is not finished: press Go on, or compare networks after {run.done} steps.")
if run.history:
    ratio = run.history[0][1] / float(loss.detach())
    outcome = "about equal" if 0.9 < ratio < 1.1 else "higher" if ratio > 1 else "lower"
    options = ("lower", "about equal", "higher")
    predictions.compare("6.4", guess_recipe, outcome, options=options)
    lesson.claim("first-live", run.history[0][1], within=0.2)

# %% [markdown]
# <details>
# <summary>After you have run the cell: what came out, and why</summary>
#
# The first loss of this run was [3.4](claim:first-live), not [2.9](claim:first-loss). Is it a bug? No: the recipe has
# `class_weights`. It weights the pixels of houses by 3, because they are few and decide the task. An unexpected initial
# loss is a question, not yet a verdict. Here the recipe answers it.
#
# </details>

# %% [markdown] tags=["instructor"]
# Fifteen minutes; the machine works for one or two of them. While it trains: *what would you see if the labels were
# flipped and the images not?* Let half of the room stop early and score anyway: it is worth seeing once that the weights
# are kept. On slow machines set `steps` to 300 and say that the houses come later.
#
# Answers, live run: (1) sky, road and green first, which are large; houses and balloons last. (2) Shapes and places of
# things and the patterns of balloons: without them there is nothing to match houses with. (3) No: the generator
# continues where it stopped.

# %% [markdown]
# ## A local network against ANN
#
# The same data, recipe, seed and number of steps, without the attention blocks:

# %%
fcn, fcn_steps = prepare("fcn", lesson.seed)
num_steps = run.done  # those that ANN has taken
for _ in progress(islice(fcn_steps, num_steps), num_steps, "steps"):
    pass
for name, model in {"ANN": ann, "FCN": fcn}.items():
    matrix = score(model)
    houses = matrix.accuracy_among(HOUSES)
    print(f"{name}: mIoU {matrix.scores().miou:.3f}, houses {houses:.3f}")
    lesson.claim(f"houses-{name.lower()}", houses, within=0.08, modes=("learn", "full"))
    lesson.claim(f"miou-{name.lower()}", matrix.scores().miou, within=0.04, modes=("learn", "full"))

# %% [markdown]
# In a run in mode learn, [0.99](claim:houses-ann) of the house pixels were correct for ANN and
# [0.36](claim:houses-fcn) for FCN (mIoU [0.95](claim:miou-ann) and [0.72](claim:miou-fcn)). Guessing gives 1/3; over 120
# houses, a guess has a standard deviation of about [±0.04](given:binomial).
#
# One seed is an anecdote. `python -m benchmarks.compare_heads` trained each network with five seeds, for 1000 steps each:
#
# | network | mIoU | house accuracy | worst seed |
# |---|---|---|---|
# | FCN | [0.728](result:balloon_town.md) ± [0.001](result:balloon_town.md) | [0.326](result:balloon_town.md) ± [0.005](result:balloon_town.md) | [0.320](result:balloon_town.md) |
# | non-local | [0.877](result:balloon_town.md) ± [0.100](result:balloon_town.md) | [0.786](result:balloon_town.md) ± [0.263](result:balloon_town.md) | [0.424](result:balloon_town.md) |
# | ANN | [0.966](result:balloon_town.md) ± [0.001](result:balloon_town.md) | [1.000](result:balloon_town.md) ± [0.000](result:balloon_town.md) | [0.999](result:balloon_town.md) |
#
# (± is the standard deviation over the five runs; lesson 8 turns it into a confidence interval.)
#
# Between FCN and ANN, the difference is a hundred times as large as the spread, and even the worst seed of ANN is far
# above the best of FCN. The non-local network, in the row between them, solves the task with some seeds and stays near
# half of the houses with others, so its mean describes none of its runs. (Five seeds do not decide whether ANN is more
# reliable: 5 successes against 3; see lesson 5.)
#
# **What this does not show.** The difference is this large because in the town nearby pixels contain no information
# about the class of a house, by construction. In photos nearby pixels contain most of it, so context can add less. And
# all of this holds for one recipe: a network with lower scores may need a longer warm-up rather than a better block.

# %% [markdown] tags=["exercise:gap"]
# ### Exercise 6.4: Your own comparison
#
# *Difficulty 3/5, importance 4/5, about 20 min, objective 5, open*
#
# First write down a question about training for which you expect a clear answer (ANN with and without warm-up, with
# half of the rate, without the auxiliary loss, with 100 scenes, ...), and which result would contradict your
# expectation. Then answer it with `prepare` and at least three seeds (fewer steps are fine if both variants get the
# same number). Report a table with one row for each variant and one column for each seed, then mean and worst seed. Say
# what the runs do *not* decide.
#
# *Example (invented numbers).* Question: does ANN need 400 scenes? Expected: with 50 scenes fewer houses are correct;
# contradicted if the worst seed of 50 scenes is above the mean of 400.
#
# | house accuracy | seed 0 | seed 1 | seed 2 | mean | worst |
# |---|---|---|---|---|---|
# | 400 scenes | [0.98](given:invented) | [0.97](given:invented) | [0.99](given:invented) | [0.98](given:invented) | [0.97](given:invented) |
# | 50 scenes | [0.61](given:invented) | [0.95](given:invented) | [0.58](given:invented) | [0.71](given:invented) | [0.58](given:invented) |
#
# "As expected, but one of three seeds reaches nearly the same accuracy. Not decided: whether more steps would help."

# %% [markdown] tags=["instructor"]
# Rubric for 6.4 (0 to 5): question and expected outcome were written before the runs (1); one thing differs, everything
# else is equal, steps included (1); three seeds or more, each reported (1); the conclusion follows from spread and gap,
# or says "not decided" (1); says what remains open (1). A group that finds no difference and says so gets full marks.
#
# Fifteen minutes of work, while the runs go on; a good homework. Share seeds between groups. The next section takes five
# minutes to read; without a GPU in the room skip it.

# %% [markdown]
# ## The same code at full size
#
# The network that you trained has fewer than 200,000 weights. The published one, a ResNet-50 with ANN, has 46 million
# and needs a GPU. The code is the same `train`; around it `Trainer` keeps a folder with settings, history and
# checkpoints, so that a run can be stopped and resumed. The parameters of this notebook decide which run it is:
#
# | parameters | what is trained |
# |---|---|
# | `experiment = ""` | `balloon_r50`: the published network on Balloon Town, upsampled; needs no data |
# | `experiment = "ann_r50-d8_512x1024_40k_cityscapes"`, `data_root` | a published row on real streets (lesson 9 prepares them) |
#
# With `device="cuda"` it takes 20 steps in mode quick and 200 in mode learn, as a rehearsal; in mode full it takes all
# steps, in bf16 where the GPU supports it. (Published rows start from ImageNet weights: `annlib train` downloads them
# once.)
#
# **And photos, without a GPU?** The street network, which lessons 0, 1, 4, 5 and 7 apply to a photo, was trained by the
# same `train` on the 367 training photos of CamVid, in less than an hour on one core. What changes is the data and the
# recipe, not the code: `annlib data prepare camvid camvid`, then `annlib train streets_ann --data camvid --precision
# bf16`. Two things differ from the town: there are 11 classes, so the expected initial loss is another one (which?), and
# a network without attention is not at chance, because nearby pixels show most classes.

# %% tags=["gpu"]
if lesson.device.type == "cuda":
    limit = lesson.pick(quick=20, learn=200, full=None)
    name = lesson.experiment or "balloon_r50"
    folder = Path("runs") / f"lesson06-{name}-{lesson.mode}-seed{lesson.seed}"
    trainer, splits = open_full_run(lesson, folder, limit)
    total = trainer.experiment.train.iterations
    workers = lesson.pick(quick=2, learn=8, full=8)
    history = fit_with_progress(trainer, splits.train, "steps", workers=workers)
    for number, loss in history[:: max(1, total // 10)]:
        print(f"step {number}: loss {loss:.3f}")
else:
    print("No GPU here, so nothing to do. With one: device='cuda', mode='full'.")

# %% tags=["gpu"]
if lesson.device.type == "cuda" and lesson.mode == "full":
    scores = trainer.validate(splits.val)
    print(f"{name}: mIoU {scores.miou:.3f}, in {trainer.folder}")

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

# %% [markdown] tags=["quiz:first"]
# ### Quiz 6.1: The first loss of a run with 19 classes is 40. What do you check first?
#
# - [ ] The learning rate.
#   The first loss is computed before the first step, so no rate has had any effect yet.
# - [x] The scale of the inputs and of the last layer.
#   Forty is far more than $1.4 \ln 19$, which is about 4: the network is confident and incorrect. Images with values
#   from 0 to 255 cause that.
# - [ ] Nothing: losses start high.
#   They start at a number that you can calculate.

# %% [markdown] tags=["quiz:zero"]
# ### Quiz 6.2: `zero_grad()` is missing. What happens?
#
# - [ ] The first step fails with an error.
#   Nothing fails: `backward` adds on purpose, so that gradients of several parts can be summed.
# - [x] Each step follows the sum of all gradients so far.
#   The loss falls at first, then oscillates. It looks like a learning rate that is too high.
# - [ ] No weight changes.
#   That happens if gradients are set to zero between `backward` and `step`.

# %% [markdown] tags=["quiz:batch"]
# ### Quiz 6.3: The loss of a network on one repeated batch falls to 0.01. What do you know?
#
# - [ ] It will do well on new scenes.
#   FCN reached such a loss, too, and can only guess the houses of new scenes.
# - [x] Gradients, loss and optimiser work together.
#   Nothing more: even incorrect labels can be memorised. But it excludes mistakes that would cost you an hour.
# - [ ] It overfits, so it needs a smaller network.
#   On one batch it should overfit. That is the test.

# %% [markdown] tags=["quiz:divide"]
# ### Quiz 6.4: The published loss divides by all pixels, ignored ones included. What follows?
#
# - [ ] Ignored pixels are learned as a class.
#   They add nothing to the sum, so they have no gradient.
# - [x] Crops with many ignored pixels have less weight in the gradient.
#   Their sum is smaller, but the divisor is the same. With a mean over labelled pixels, every crop would have the same
#   weight.
# - [ ] mIoU gets lower.
#   Scores leave out ignored pixels in any case; the divisor only scales the steps.

# %% [markdown] tags=["quiz:seeds"]
# ### Quiz 6.5: Network X has 0.7 points more mIoU than Y, one run each; Y's seeds differ by 1 point. What now?
#
# - [ ] X is better: its number is larger.
#   With another seed, Y might be ahead by as much.
# - [x] Nothing is decided. Run more seeds of both.
#   A gap has to be compared with the spread of the runs.
# - [ ] They are equal.
#   That is not shown either: too few runs cannot show equality.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You calculated the expected initial loss, wrote the learning-rate schedule and one training step, overfitted one batch
# to find out whether code or network is at fault, paused and resumed a live run, and compared two networks on the pixels
# that need long-range context, with several seeds.
#
# Read more: annlib/engine/optimization.py, which fits on two screens; H. Zhao and others, *Pyramid Scene Parsing
# Network*, CVPR 2017, for the auxiliary loss with weight 0.4; L.-C. Chen and others, *DeepLab*, TPAMI 2018, for the
# polynomial rate; A. Karpathy, *A Recipe for Training Neural Networks*, 2019, for debugging by one batch.
#
# Next: the network seems to attend to the balloons. [Lesson 7](07_attention_maps.ipynb) tests that claim.
