# %% [markdown] tags=["header"]
# # 6. Train it
#
# *The loss will not fall. Is it the code, the data, or the network?*
#
# - **Before:** lessons 1 and 5; gradients and optimisers by name
# - **Reading:** 35 min
# - **Runs in:** 40 s (quick), 240 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network. A GPU for the last section in mode full
#
# ## After this lesson you can
#
# 1. calculate the loss of a network that knows nothing ([Exercise 6.1](exercise:first-loss))
# 2. write the learning rate of every step ([Exercise 6.2](exercise:poly))
# 3. write one step of training with an auxiliary loss ([Exercise 6.3](exercise:step))
# 4. predict what one repeated batch can prove ([Prediction 6.3](predict:memory))
# 5. compare two networks by runs, with seeds ([Exercise 6.4](exercise:gap))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import time
from dataclasses import replace
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
# ## What a network that knows nothing has to pay
#
# You know the blocks, and how to score. What lies between is training, where most time is lost:
# a mistake in it does not crash, it only makes the result somewhat worse. So we look for numbers that are
# known **before** the training. The first one is there after one step. Here is ANN with random weights,
# before our scene:

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
torch.manual_seed(lesson.seed)
fresh = build_model(town("ann").model).to(lesson.device)
plots.predictions([scene], {"ANN, random weights": [predict_labels(fresh, scene.image)]})

# %% [markdown]
# (If a house is right here, it is by accident: nearly all of the picture is called the same. The picture shows
# only *which* class wins, not by how much.)
#
# Cross-entropy charges each pixel $-\ln p$, where $p$ is the probability that the network gave to the
# right class. annlib follows the code of the published models in two points which you cannot guess:
#
# - There are **two** outputs. The *auxiliary* head reads an early map of the backbone and names classes,
#   too; it is thrown away after training. Its loss counts with weight $\alpha = 0.4$: early layers get a
#   gradient by a short way.
# - The sum is over the pixels that have a label, but it is divided by **all** $B \cdot H \cdot W$ pixels:
#
# $$L(p) = \frac{1}{BHW} \sum_{\text{labelled } n} -\ln p_n(\text{label of } n), \qquad
# L = L(p^{\mathrm{main}}) + \alpha\, L(p^{\mathrm{aux}})$$
#
# So pixels with label 255 add nothing, but dilute the mean. (The authors' own scripts use another loss,
# which keeps hard pixels only, and for the auxiliary one a mean over labelled pixels.)

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
labels = subsample_labels(
    labels, 4
)  # every fourth row and column, as in the recipe: four times faster
B, H, W = labels.shape
assert images.shape == (B, 3, 4 * H, 4 * W) and B == 2
images, labels = images.to(lesson.device), labels.to(lesson.device)
labelled = float((labels != 255).double().mean())
print(f"{labelled:.3f} of the pixels of these two scenes have a label; {len(CLASS_NAMES)} classes.")

# %% [markdown]
# ### Prediction 6.1: The first loss
#
# A fresh network finds all ten classes about equally likely. What is $L$, both outputs together, for these
# two scenes? ($\ln 10$ is [2.303](given:ln).)

# %% tags=["predict:first"]
guess_first = 2.93  # solution

# %%
fresh.train()
logits = fresh(images, size=(H, W))
loss = segmentation_loss(logits, labels, aux_weight=0.4)
predictions.compare("6.1", guess_first, float(loss.detach()), tolerance=0.05)

# %% [markdown]
# The same, letter by letter as in the formula, for one output:


# %%
def mean_loss(scores: torch.Tensor) -> torch.Tensor:
    """scores (B, K, H, W) -> L(p), a scalar"""
    p = scores.softmax(dim=1)
    counted = labels != 255
    right = torch.where(counted, labels, 0).long()[:, None]
    p_of_label = p.gather(1, right)[:, 0]
    assert p_of_label.shape == (B, H, W)
    return -p_of_label[counted].log().sum() / (B * H * W)


by_hand = mean_loss(logits.main) + 0.4 * mean_loss(logits.aux)
assert torch.isclose(by_hand, loss, rtol=1e-4)
print(f"by hand {float(by_hand.detach()):.3f}, by segmentation_loss {float(loss.detach()):.3f}")

# %% [markdown] tags=["exercise:first-loss"]
# ### Exercise 6.1: The price of knowing nothing
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 1*
#
# Write it down for any number of classes $K$, share of labelled pixels, and weight $\alpha$. *For the
# fast:* what is the best constant answer if classes are not equally frequent, and what does it pay?


# %% tags=["answer:first-loss"]
def first_loss(num_classes: int, labelled: float, aux_weight: float) -> float:
    """number of classes K, share of labelled pixels 0..1, weight of the auxiliary loss α -> L"""
    # solution
    each = log(num_classes)
    return (1 + aux_weight) * labelled * each


# %% [markdown] tags=["hint:first-loss:1"]
# Which probability does the right class get if all $K$ are equally likely? What does a pixel pay then,
# and what does a pixel without a label pay?

# %% [markdown] tags=["hint:first-loss:2"]
# `math.log` is the natural logarithm, and $-\ln(1/K) = \ln K$. Two losses, the second with its weight.

# %% [markdown] tags=["hint:first-loss:3"]
# `each = log(num_classes)` is what a labelled pixel pays, once for each output.

# %% tags=["check:first-loss"]
checks.first_loss(first_loss)

# %%
expected = checks.given(first_loss(len(CLASS_NAMES), labelled, 0.4))
print(f"expected {expected:.3f}, measured {float(loss.detach()):.3f}")
lesson.claim("first-loss", float(loss.detach()), within=0.06)

# %% [markdown]
# [2.91](claim:first-loss), within a percent or so of what the formula says. A first loss far away from it is
# the earliest symptom there is, and a cheap one:
#
# | first loss | look at |
# |---|---|
# | much higher | pictures not normalised; last layer started too large |
# | lower by the share of ignored pixels | nothing: the mean is over all pixels |
# | without the factor [1.4](given:outputs) | the auxiliary output is missing (is the model in `eval` mode?) |
# | NaN | NaN in a picture; a mean over labelled pixels in a batch that has none |
# | an `IndexError`, or an assert on the GPU | a label that is neither one of 0..K-1 nor 255 |

# %% [markdown] tags=["instructor"]
# Ten minutes. Most groups forget one of the two factors in 6.1: let them find out which by the size of the
# gap (a factor of 1.4, or 0.91). Prompt: *what would the first loss be with 150 classes?* (ln 150 is 5.0.)
# Usual mistakes: log2, or the mean over labelled pixels, which PyTorch takes by default.

# %% [markdown]
# ## A rate that falls
#
# The learning rate is the length of a step. Long steps find the region, short ones the spot. The published
# models fall along a *polynomial*: at step $t = 0, 1, \dots$ of $T$
#
# $$\eta_t = (\eta_{\mathrm{base}} - \eta_{\mathrm{min}}) \left(1 - \frac{t}{T}\right)^{p} +
# \eta_{\mathrm{min}}$$
#
# with power $p = 0.9$, base rate $0.01$ and floor $0.0001$ (SGD). annlib's small networks use AdamW with
# another base rate, no floor, and 50 steps of **warm-up** before: the rate rises in a straight line first,
# because the averages that AdamW divides by know little in the first steps. (This is the formula of the
# released weights. Newer versions of that code divide by $T - 1$; the last steps differ by about one
# percent.)

# %% [markdown]
# ### Prediction 6.2: Half way
#
# Half of the steps are done, the power is $0.9$, the floor $0$. Which share of the base rate is left?

# %% tags=["predict:half"]
guess_half = 0.54  # solution

# %%
half = poly_lr(500, TrainConfig(1000, base_lr=1.0, min_lr=0.0))
predictions.compare("6.2", guess_half, half, tolerance=0.02)

# %% [markdown] tags=["exercise:poly"]
# ### Exercise 6.2: The rate of a step
#
# *Difficulty 1/5, importance 4/5, about 5 min, objective 2*
#
# Write the formula. *For the fast:* add a warm-up that multiplies the rate by $(t+1)/(w+1)$ in the first $w$
# steps, and compare with `poly_lr`.


# %% tags=["answer:poly"]
def poly_rate(step: int, steps: int, base: float, power: float, floor: float) -> float:
    """step t = 0, 1, ... of T steps, base rate, power p, floor (η_min) -> rate η_t"""
    # solution
    left = 1 - step / steps
    return (base - floor) * left**power + floor


# %% [markdown] tags=["hint:poly:1"]
# Say it in words: what falls is the part of the base rate above the floor. By how much? By a power of the
# share of steps that are *left*.

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
assert all(abs(a - b) < 1e-12 for a, b in zip(mine, theirs, strict=True))
print("Yours is the schedule of a published run of 40,000 steps:", [f"{rate:.2g}" for rate in mine])

# %% [markdown]
# Turn the knobs of our recipe. The dashed line is the published one. Try this, and say *what changes, and
# why*:
#
# 1. Set the power to 1, to 4, to 0. How many steps have less than a tenth of the highest rate? What are
#    such steps good for, and what do they cost?
# 2. Raise the warm-up to 500. Why is the base rate never reached any more?
# 3. Choose base rate, power, floor and warm-up so that the two lines are the same.

# %%
widgets.recipe_sliders(town("ann").train)

# %% [markdown]
# ## One step
#
# A step has six parts, and their order matters: set the rate, forget the old gradients (`backward` *adds* to
# what is there), forward, loss, backward, and one step of the optimiser.

# %% [markdown] tags=["exercise:step"]
# ### Exercise 6.3: One step of training
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 3*
#
# `model(images, size=...)` gives both outputs at that size, and `segmentation_loss` is the loss from above.
# Give the loss back without its graph. *For the fast:* clip the norm of the gradients at 5
# (`nn.utils.clip_grad_norm_`). Between which two parts? (The check wants the plain step.)


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
# Say for each of the six parts what it needs from the one before. Which part writes into `.grad`, which
# one reads it?

# %% [markdown] tags=["hint:step:2"]
# An optimiser keeps its rate in each of its `param_groups`, under `"lr"`. Then `optimizer.zero_grad()`,
# `loss.backward()`, `optimizer.step()`; `loss.detach()` lets go of the graph.

# %% [markdown] tags=["hint:step:3"]
# `for group in optimizer.param_groups: group["lr"] = lr`

# %% tags=["check:step"]
checks.training_step(training_step)

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for rate and step. The usual mistake in 6.3 is zero_grad between backward and step
# (nothing moves, the loss stands still, no error). Let a group leave zero_grad out on purpose and plot the
# loss on one batch: it falls at first, which is why nobody notices. When late, hand out 6.2 with its hint 3.
#
# Answers, recipe sliders: (1) power 1: a tenth of the steps; 4: more than half; 0: none. (2) The rate has
# fallen to about half when the warm-up ends. (3) 0.01, 0.9, 0.0001, warm-up 0.

# %% [markdown]
# ## Debug with one batch
#
# Before an hour of training comes a minute of this: train on **one** batch again and again. ANN, with
# more than a hundred thousand weights, should learn two scenes by heart. If its loss does not fall near zero, then
# something is broken, and no data and no patience will mend it. We want less than
# [0.05](given:target) after 70 steps, at a high constant rate.

# %% [markdown]
# ### Prediction 6.3: Can FCN do it?
#
# FCN does not see the balloons, so on new scenes it guesses at the houses. Will its loss on one repeated
# batch fall below the target, too? "yes" or "no".

# %% tags=["predict:memory"]
guess_memory = "yes"  # solution


# %%
def on_one_batch(head: str, steps: int = 70, lr: float = 0.02) -> list[float]:
    """Losses of a fresh network that meets the same two scenes in every step."""
    torch.manual_seed(lesson.seed)
    model = build_model(town(head).model).to(lesson.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    model.train()
    return [
        float(checks.given(training_step(model, optimizer, images, labels, lr)))
        for _ in progress(range(steps), steps, "steps")
    ]


by_heart = {"ANN": on_one_batch("ann"), "FCN": on_one_batch("fcn")}
outcome = "yes" if by_heart["FCN"][-1] < 0.05 else "no"
predictions.compare("6.3", guess_memory, outcome, options=("yes", "no"))
lesson.claim("one-batch-ann", by_heart["ANN"][-1], within=0.01)
lesson.claim("one-batch-fcn", by_heart["FCN"][-1], within=0.01)
plots.one_batch(by_heart, 0.05, ("ann", "fcn"))

# %% [markdown]
# After 70 steps ANN is at [0.02](claim:one-batch-ann), FCN at [0.01](claim:one-batch-fcn). The
# local network learns these six houses by heart as well: it need not know *why* a house is a school, if
# it can tell this house from the five others by a window. So the test shows that gradients arrive
# and that loss, optimiser and network work together. It shows **nothing** about new scenes, nor that the labels are
# right: two classes that were swapped are learned by heart as well.
#
# | what you see | likely cause |
# |---|---|
# | loss stands at its first value | `step` missing, `zero_grad` after `backward`, rate 0, weights frozen |
# | falls, then stops far from 0 | labels do not fit the pictures (flipped alone?); too small a network |
# | falls, jumps, NaN | rate too high; no warm-up |
# | one batch fine, whole set not | data order, augmentation, or too few steps: read on |

# %% [markdown] tags=["instructor"]
# Ten minutes. Let people defend their answer to 6.3 before the cell runs. Usual mistake: to take a small loss for a
# good network. Prompt: *which mistake in the labels would this test never find?* (Two classes that are swapped.)
# A good place to stop for the day: what follows begins afresh, and needs the machine for some minutes.

# %% [markdown]
# ## Live
#
# Now the whole: 400 scenes, batches of 8, the recipe from `annlib.experiments`. annlib's `train` is your step
# in a loop, as a **generator**: it takes one step each time somebody asks for the next. Who asks may look,
# plot, or stop asking; the weights are then as the last step left them. Here the notebook itself asks,
# between two messages from your browser, so it stays alive while the network learns.

# %%
from annlib.data.transforms import training_transform
from annlib.engine.inference import make_predictor
from annlib.engine.metrics import ConfusionMatrix, evaluate

steps = lesson.pick(quick=12, learn=600, full=1000)
every = lesson.pick(quick=6, learn=50, full=50)
town_scenes = Scenes(lesson.pick(quick=24, learn=400, full=400))
unseen = Transformed(Scenes(lesson.pick(8, 40, 200), first_seed=FIRST_VAL_SEED), to_tensors)


def score(model: nn.Module) -> ConfusionMatrix:
    """Counts over scenes that no training has seen."""
    samples = make_loader(unseen, batch_size=8, training=False)
    on_device = ((images.to(lesson.device), labels) for images, labels in samples)
    return evaluate(make_predictor(model, TestConfig()), on_device, len(CLASS_NAMES))


def prepare(head: str, seed: int) -> tuple:
    """A fresh network and the steps that train it, none of them taken yet."""
    torch.manual_seed(seed)
    model = build_model(town(head).model).to(lesson.device, memory_format=torch.channels_last)
    recipe = replace(town(head).train, iterations=steps, seed=seed)
    data = Transformed(town_scenes, training_transform(town(head).data))
    batches = make_loader(data, town(head).data.batch_size, training=True, seed=seed)
    return model, train(model, make_optimizer(model, recipe), batches, recipe)


# %% [markdown]
# Run the next cell, then play while it trains (a step takes a tenth of a second or so):
#
# 1. Which classes appear first in the picture, which last? Compare with their sizes.
# 2. The curve "houses" stays near 1/3 while mIoU rises, and later may rest near [0.6](given:vote), the vote
#    of lesson 2. What does the network learn meanwhile, and why must that come first?
# 3. Press **Pause** after some 200 steps, look at the houses, then **Go on**. Did the curve notice?
#    (**Stop and keep** ends the run for good; the network keeps what it has learned.)

# %%
ann, ann_steps = prepare("ann", lesson.seed)


def look(step: int) -> plots.Validation:
    """How the network does now."""
    matrix = score(ann)
    said = predict_labels(ann, scene.image)
    return plots.Validation(step, matrix.scores().miou, matrix.accuracy_among(HOUSES), said)


run = widgets.LiveRun(
    ann_steps,
    steps,
    every,
    look,
    scene,
    "ann",
)
run.start()

# %% [markdown]
# The next cell needs the outcome. It takes the steps that are left, unless you have paused or stopped the
# run; then it goes on with the weights as they are. (■ above interrupts it: a pause, too.)

# %%
started = time.perf_counter()
run.finish()
print(f"{run.done} steps; this cell waited {time.perf_counter() - started:.0f} s for them.")
lesson.claim("first-live", run.history[0][1], within=0.2)

# %% [markdown]
# The loss of this run began at [3.4](claim:first-live), not at [2.9](claim:first-loss). A bug? Ask the recipe:
# it counts the pixels of houses three times (`class_weights`), since they are few, and what it is all about.
# So an unexpected first loss is a question, not a verdict; here it has an answer.

# %% [markdown] tags=["instructor"]
# Fifteen minutes, of which the machine works one or two. While it trains: *what would you see if the labels
# were flipped and the pictures not?* Let half of the room stop early and score anyway: "keeps the weights"
# is worth seeing once. On slow machines set `steps` to 300 and say that the houses come later.

# %% [markdown]
# ## A local network against ANN
#
# Same data, same recipe, same seed, without the block:

# %%
fcn, fcn_steps = prepare("fcn", lesson.seed)
fcn_losses = [float(step.loss) for step in progress(fcn_steps, steps, "steps")]
for name, model in {"ANN": ann, "FCN": fcn}.items():
    matrix = score(model)
    houses = matrix.accuracy_among(HOUSES)
    print(f"{name}: mIoU {matrix.scores().miou:.3f}, houses {houses:.3f}")
    lesson.claim(f"houses-{name.lower()}", houses, within=0.08, modes=("learn", "full"))
    lesson.claim(f"miou-{name.lower()}", matrix.scores().miou, within=0.04, modes=("learn", "full"))

# %% [markdown]
# A run in mode learn ended with [0.99](claim:houses-ann) of the house pixels right for ANN and
# [0.36](claim:houses-fcn) for FCN (mIoU [0.95](claim:miou-ann) and [0.72](claim:miou-fcn)). 1/3 is guessing; over 120 houses it wobbles by about [±0.04](given:binomial).
#
# One seed is an anecdote. `python -m benchmarks.compare_heads` trained each network with five seeds, for 1000 steps each:
#
# | network | mIoU | houses | worst seed |
# |---|---|---|---|
# | FCN | [0.728](result:balloon_town.md) ± [0.001](result:balloon_town.md) | [0.326](result:balloon_town.md) ± [0.005](result:balloon_town.md) | [0.320](result:balloon_town.md) |
# | non-local | [0.877](result:balloon_town.md) ± [0.100](result:balloon_town.md) | [0.786](result:balloon_town.md) ± [0.263](result:balloon_town.md) | [0.424](result:balloon_town.md) |
# | ANN | [0.966](result:balloon_town.md) ± [0.001](result:balloon_town.md) | [1.000](result:balloon_town.md) ± [0.000](result:balloon_town.md) | [0.999](result:balloon_town.md) |
#
# (± is the standard deviation of the five runs; lesson 8 makes an interval of it.)
#
# Between FCN and ANN the worst seed decides as clearly as the mean: the gap is a hundred times the spread.
# Look at the row between them: the non-local network solves the task with some seeds, and with others stays
# near the vote. Its mean describes none of its runs.
#
# **What this does not show.** The gap is this large because the town was built so that near pixels say
# nothing about a house. In photographs near pixels tell most, and context has less to add. And all of this holds for one
# recipe: a network that stays behind may lack a longer warm-up, not a better block.

# %% [markdown] tags=["exercise:gap"]
# ### Exercise 6.4: Your own comparison
#
# *Difficulty 3/5, importance 4/5, about 20 min, objective 5, open*
#
# First write down a question about training for which you expect a clear answer (FCN against ANN without
# warm-up, with half of the rate, without the auxiliary loss, with 100 scenes, ...), and what result would
# prove you wrong. Then answer it with `prepare` and at least three seeds (fewer steps are fine, if both get
# the same). Report mean and worst seed, and say what the runs do *not* decide.

# %% [markdown] tags=["instructor"]
# Rubric for 6.4 (0 to 5): question and expected outcome were written before the runs (1); one thing
# differs, everything else is equal, steps included (1); three seeds or more, each reported (1); the
# conclusion follows from spread and gap, or says "not decided" (1); names what remains open (1). A group
# that finds no difference and says so gets full marks.
#
# Fifteen minutes of work, the runs go on meanwhile; a good homework. Share seeds between groups. The section after
# this one takes five minutes to read; without a GPU in the room skip it.

# %% [markdown]
# ## The same code at full size
#
# What you trained has fewer than 200,000 weights. The published network, a ResNet-50 with ANN on top, has 46
# million, and wants a GPU. The code is the same `train`; around it `Trainer` keeps a folder with settings,
# history and checkpoints, so that a run can be stopped and resumed. Which run is decided by the parameters:
#
# | parameters | what is trained |
# |---|---|
# | `experiment = ""` | `balloon_r50`: the published network on Balloon Town, enlarged; needs no data |
# | `experiment = "ann_r50-d8_512x1024_40k_cityscapes"`, `data_root` | a published row on real streets (lesson 9 prepares them) |
#
# With `device="cuda"`, in mode quick it takes 20 steps and in mode learn 200, as a rehearsal; in mode full all
# of them, in bf16 where the GPU can. (Rows begin with ImageNet weights: `annlib train` fetches them once.)

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
# What you guessed, beside what came out.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which guess was right, but for a wrong reason?

# %%
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:first"]
# ### Quiz 6.1: The first loss of a run with 19 classes is 40. What do you look at first?
#
# - [ ] The learning rate.
#   The first loss is computed before the first step: no rate has acted yet.
# - [x] The scale of inputs and of the last layer.
#   Forty is far more than $1.4 \ln 19$, which is about 4: the network is sure, and wrong. Pictures from 0 to
#   255 do that.
# - [ ] Nothing: losses start high.
#   They start at a known number. That is the point.

# %% [markdown] tags=["quiz:zero"]
# ### Quiz 6.2: `zero_grad()` is forgotten. What happens?
#
# - [ ] The first step fails with an error.
#   Nothing fails: `backward` is meant to add, so that gradients of several parts can be summed.
# - [x] Each step follows the sum of all gradients so far.
#   The loss falls at first, then swings. It looks like a rate that is too high.
# - [ ] Nothing moves.
#   That happens if gradients are erased between `backward` and `step`.

# %% [markdown] tags=["quiz:batch"]
# ### Quiz 6.3: A network drives the loss on one batch to 0.01. What do you know?
#
# - [ ] It will do well on new scenes.
#   FCN did it as well, and guesses at new houses.
# - [x] Gradients, loss and optimiser work together.
#   That, and no more: even wrong labels can be learned by heart. But it excludes mistakes that spoil an hour.
# - [ ] It overfits, so it needs a smaller network.
#   On one batch it should overfit. That is the test.

# %% [markdown] tags=["quiz:divide"]
# ### Quiz 6.4: The published loss divides by all pixels, ignored ones included. What follows?
#
# - [ ] Ignored pixels are learned as a class.
#   They add nothing to the sum, so no gradient comes from them.
# - [x] Crops with many ignored pixels weigh less in the gradient.
#   The sum is smaller, the divisor is not. With a mean over labelled pixels each crop would weigh alike.
# - [ ] mIoU gets lower.
#   Scores leave ignored pixels out in any case; the loss only sets the length of steps.

# %% [markdown] tags=["quiz:seeds"]
# ### Quiz 6.5: Network X scores 0.7 points more mIoU than Y, one run each; Y's seeds differ by 1 point. What now?
#
# - [ ] X is better: its number is larger.
#   With another seed Y might have won by as much.
# - [x] Nothing is decided. Run more seeds of both.
#   A gap means something in comparison with the spread.
# - [ ] They are equal.
#   That is not shown either: too few runs show nothing in both directions.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You calculated the first loss of a network that knows nothing, wrote the falling rate and one step of training,
# used one batch to tell broken from weak, watched a run and stopped it with its weights kept, and compared two
# networks on the pixels that need far context, with seeds.
#
# Read more: annlib/engine/optimization.py, which fits on two screens; H. Zhao and others, *Pyramid Scene Parsing
# Network*, CVPR 2017, for the auxiliary loss with weight 0.4; L.-C. Chen and others, *DeepLab*, TPAMI 2018, for
# the polynomial rate; A. Karpathy, *A Recipe for Training Neural Networks*, 2019, for debugging by one batch.
#
# Next: the network looks at balloons, or so it seems. [Lesson 7](07_attention_maps.ipynb) tests that story.
