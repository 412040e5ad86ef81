# %% [markdown] tags=["header"]
# # 2. Non-local attention: every pixel attends to every pixel
#
# *How can a pixel use what is at the other end of the image?*
#
# - **Before:** lesson 1; matrix products, softmax, PyTorch modules (self-test and bridge in lesson 0)
# - **Time:** 105 min: reading 35, exercises 65, running 5; two sittings,
#   60 and 45 min; optional section, 5 min more
# - **Runs in:** 30 s (quick), 120 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# (1 to 3 belong to sitting 1, 4 belongs to sitting 2.)
#
# 1. write the attention weights of a non-local block and state their shape ([Exercise 2.1](exercise:weights))
# 2. predict the weights for equal features and for other scales ([Prediction 2.1](predict:constant), [2.2](predict:scale))
# 3. write the block so that it starts as the identity ([Exercise 2.2](exercise:block))
# 4. describe what an incorrectly classified house attends to, and propose a test ([Exercise 2.3](exercise:failure))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import inspect
import time
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from annlib.course import checks, plots, widgets
from annlib.course.attention import attention_of, entropy, hint_offsets, match, pixel_view, query_on
from annlib.course.guesses import Predictions
from annlib.course.lesson import open_lesson, progress
from annlib.course.receptive_field import side_of_field
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED, TRAIN_SCENES
from annlib.experiments import town
from annlib.model.baselines import NonLocal, NonLocalAttention
from annlib.model.build import build_model

lesson = open_lesson(mode, device, seed, data_root, experiment)
predictions = Predictions()

# %% [markdown]
# ## Sitting 1 of 2: attention weights and the block
#
# In this sitting you write the attention weights and a non-local block. In the second one you train it.
#
# ### Why convolutions are not enough
#
# Our small network turns an image into a **feature map**: a grid with one **position** for every 8 x 8 pixels.
# At each position there are several numbers, the **channels**. A convolution only combines neighbouring
# positions of such a map. The frame in the next figure shows the **receptive field**: all pixels that the
# prediction for one pixel can depend on. The house in the frame is a home, a shop or a school, and the
# balloon of the same paint says which. Is this balloon inside the frame?

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
house = scene.houses[0]
at_c5 = side_of_field(blocks_per_stage=1)  # c5: the last feature map of the backbone
at_reduce = side_of_field(blocks_per_stage=1, head_kernels=1)
side = pixel_view(at_reduce)  # upsampling to the image mixes neighbouring positions
print(f"Receptive field: {at_c5} pixels a side after the backbone, {at_reduce} after one more")
print(f"3 x 3 convolution; the prediction for a pixel depends on {side} pixels a side.")
assert house.top - side // 2 > scene.balloons[house.decided_by].bottom
beyond = np.abs(hint_offsets(FIRST_VAL_SEED, num_scenes=1000)).max(axis=1) - side // 2
layers = np.ceil(beyond / 8)  # each 3 x 3 convolution at 1/8 of the size adds 8 pixels
lesson.claim("more-layers", float(np.median(layers)), within=0, unit="layers")
lesson.claim("most-layers", layers.max(), within=0, unit="layers")
plots.field_of_view(scene, *query_on(scene, house), side=side)

# %% [markdown]
# No, it is outside. More layers would increase the receptive field: each further 3 x 3 convolution adds one
# position, which is 8 pixels, in each direction. To reach the middle of its balloon, a typical house (the
# median) needs [5](claim:more-layers) more layers, and some houses need [14](claim:most-layers). And in each
# of these layers the information about the balloon is mixed with that of the positions in between.
#
# A **non-local block** connects distant positions in one step: each position computes a weighted sum over
# *all* positions, with the largest weights for those that match it best.
#
# ## Attention weights: query, key, softmax
#
# How does a position find the positions that match it? Two vectors of $C$ channels are computed at each
# position, a **query** and a **key**. A position attends to the positions whose keys are similar to its query.
# The queries are the columns of a matrix $\phi$ $(C \times N)$, with $N$ query positions. The keys are the
# columns of a matrix $\theta$ $(C \times S)$, with $S$ key positions. The weights follow in three steps:
#
# 1. Take the dot product of query $n$ and key $s$.
# 2. Divide it by $\sqrt{C}$. This is the **attention score** of the pair $(n, s)$. (The next section explains
#    the division. The released models of the paper divide, too.)
# 3. Apply a softmax over the keys. It turns the scores of one query into **attention weights**: positive
#    numbers that sum to 1.
#
# As one formula:
#
# $$W = \mathrm{softmax}\left(\frac{\phi^{\top} \theta}{\sqrt{C}}\right), \qquad
# W \in \mathbb{R}^{N \times S}, \qquad \sum_{s=1}^{S} W_{ns} = 1$$
#
# In a non-local block every position has a query and a key, so $S = N$. We keep two letters, because lesson 4
# makes $S$ small.
#
# *Example with $C = 2$.* The query is $(1, 0)$, and there are two keys, $(1, 0)$ and $(0, 1)$. The dot
# products are 1 and 0. Divided by $\sqrt{2}$ they are [0.71](given:example) and 0. The softmax gives
# $\exp(0.71) / (\exp(0.71) + \exp(0))$ = [0.67](given:example) and [0.33](given:example). So this query attends twice as
# much to the key that matches it, but the other key still gets a third.
#
# The diagram shows the same steps. (The values $\gamma$ and the output $O$ on its right follow below.)
#
# ![Attention: query, key and value with shapes, and one query position in numbers](diagrams/attention.svg)
#
# Let us calculate the weights for six positions with hand-made features. There are three channels: *how
# blue*, *how red*, and *whether it is an object*. Each position uses its features both as its query and as
# its key.

# %%
names = ["blue balloon", "red balloon", "sky", "road", "blue house", "red house"]
query = torch.tensor(
    [
        [6.0, 0.0, 0.0, 0.0, 6.0, 0.0],  # how blue
        [0.0, 6.0, 0.0, 0.0, 0.0, 6.0],  # how red
        [1.0, 1.0, 0.0, 0.0, 1.0, 1.0],  # an object
    ]
)[None]
key = query.clone()
B, C, N = query.shape
S = key.shape[2]
assert (B, C, N, S) == (1, 3, 6, 6)

# %% [markdown]
# ### Prediction 2.1: A constant image
#
# Suppose the image is one constant grey. Then all queries are equal and all keys are equal. With
# $N = S = 6$, what is the value of each weight (0 to 1)?

# %% tags=["predict:constant"]
guess_constant = 1 / 6  # solution

# %% [markdown] tags=["exercise:weights"]
# ### Exercise 2.1: The attention weights
#
# *Difficulty 2/5, importance 5/5, about 5 min, objective 1*
#
# Write the formula for a batch of feature maps. In the result, each row belongs to one query position $n$ and
# each column to one key position $s$. For the example above (one query and two keys) the result has the shape
# (1, 1, 2) and is about [0.67](given:example), [0.33](given:example).


# %% tags=["answer:weights"]
def attention_weights(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """query (B, C, N), key (B, C, S) -> (B, N, S): row n holds the weights of query position n"""
    # solution
    scores = query.mT @ key * query.shape[1] ** -0.5
    return scores.softmax(dim=-1)


# %% [markdown] tags=["hint:weights:1"]
# Entry $(n, s)$ depends on query $n$ and key $s$ only. Which axis does the dot product sum over, and which
# two axes remain?

# %% [markdown] tags=["hint:weights:2"]
# `query.mT` exchanges the last two axes, `@` is the matrix product, and `softmax(dim=...)` makes sums along
# that axis equal to 1.

# %% [markdown] tags=["hint:weights:3"]
# `scores = query.mT @ key * query.shape[1] ** -0.5`

# %% tags=["check:weights"]
checks.attention_weights(attention_weights)

# %% [markdown]
# *Extension (optional).* Write it without `softmax`, but so that scores of 1000 do not overflow.
#
# <details><summary>Answer</summary>
#
# Subtract the largest score of each row first: `e = (scores - scores.amax(-1, keepdim=True)).exp()`, then
# divide by the sum: `e / e.sum(-1, keepdim=True)`. The subtraction multiplies numerator and denominator by
# the same factor, so the weights stay the same, but `exp` never gets a positive number and cannot overflow.
#
# </details>
#
# Now apply your function to the six positions. Before you run the cell: which two columns will be bright in
# the row of the blue house?

# %%
weights = checks.attempt(attention_weights, query, key)
assert weights.shape == (B, N, S)
constant = attention_weights(torch.ones(1, C, N), torch.ones(1, C, S))
outcome = float(constant[0, 0, 0])
predictions.compare("2.1", guess_constant, outcome, tolerance=0.05, between=(0, 1))
plots.weight_matrix(weights[0].numpy(), "Six positions", names, names)

# %% [markdown]
# <details>
# <summary>After you have run the cell: how to read the matrix</summary>
#
# The blue house attends to the blue balloon **and to itself**, with equal weights, because the dot product does
# not exclude the position itself. Sky and road have a score of 0 with every key, so all their weights are equal.
# They cannot be 0, because the weights of a query sum to 1: every position must attend somewhere. Note that
# distance does not occur in the formula.
#
# </details>
#
# Now use the widget. It also states the **entropy** of the weights of a query, in bits. The entropy measures how
# widely the attention is spread: 0 bits if one key has all the weight, 1 bit for equal weights on two keys,
# 2 bits for equal weights on four keys, $\log_2 S$ bits for equal weights on all. Read backwards: with an
# entropy of $b$ bits, the attention is as wide as equal weights on $2^b$ keys.
#
# The three upper sliders set the features of the last position, the red house. Say each time *what changes,
# and why*:
#
# 1. Set blue to 3 and red to 3: a house of both paints. What does it attend to, and what is the entropy?
# 2. Set all three to 0, like the sky. What does it attend to now, and which positions attend to it?
# 3. Choose "query only" and set the blue value to that of the blue house. It attends to blue objects; do
#    they attend to it? Then choose "key only". Which of the two changes only one row, and which changes
#    every row?
#
# (Leave "scores x" at 1 for now.)

# %%
widgets.six_positions(query[0], ["how blue", "how red", "an object"], names)

# %% [markdown] tags=["instructor"]
# Twenty-five minutes to here, five of them for the sliders. Usual mistakes in 2.1: softmax over dim 1 (then
# the weights of each *key* sum to 1 over the queries), √N for √C, `query @ key.mT` (compares channels with
# channels, C x C). Let pairs say the row of the red house aloud before the matrix is shown. Answers to the
# sliders: (1) to four positions with a quarter each: both balloons, the blue house and itself; the entropy
# is 2 bits. (2) Evenly to all six, and only sky and road give it a weight worth mentioning. (3) "Query
# only" changes its own row; "key only" changes its column, and because of the softmax every row in which
# it had or now has a large weight. When 30 minutes are gone, leave the section on the scale for home.

# %% [markdown]
# ## What the scale is for
#
# Suppose the entries of query and key are independent random numbers with mean 0 and variance 1. Each
# product then has mean 0 and variance 1, and the variances of $C$ independent products add up. So the dot
# product has variance $C$, and its standard deviation is $\sqrt{C}$. Division by $\sqrt{C}$ makes it 1,
# whatever $C$ is. (Learned features are not independent, so this describes the start of training.)
#
# *Example.* With $C = 64$ channels the dot products have a standard deviation of 8, so values like 8 and $-8$ are
# usual. Divided by $\sqrt{64} = 8$, they become 1 and $-1$.

# %% [markdown]
# ### Prediction 2.2: Without the division
#
# Take random queries and keys with $C = 64$ channels and $S = 384$ keys. With the division by $\sqrt{C}$, the
# entropy is a little below 8 bits, so the attention of a query is as wide as equal weights on some 230 keys. As
# wide as equal weights on how many keys is it **without** the division, on average (1 to 384)?

# %% tags=["predict:scale"]
guess_scale = 2  # solution

# %%
num_channels, num_positions = 64, 384
random_query, random_key = torch.randn(2, 1, num_channels, num_positions)
scores = random_query.mT @ random_key  # (1, 384, 384)
assert scores.shape == (1, num_positions, num_positions)
bits = {
    factor: float(entropy((factor * scores / num_channels**0.5).softmax(-1)).mean())
    for factor in (1, 4, num_channels**0.5)
}
undivided = 2 ** bits[num_channels**0.5]
predictions.compare("2.2", guess_scale, undivided, tolerance=0.5, between=(1, 384))
for factor, value in bits.items():
    print(f"scores x {factor:.0f}: {value:.1f} bits, like even attention to {2**value:.0f} of 384")
lesson.claim("bits-divided", bits[1], within=0.1, unit="bits")
lesson.claim("bits-undivided", bits[num_channels**0.5], within=0.2, unit="bits")

# %% [markdown]
# <details>
# <summary>After you have run the cell: what happens without the division</summary>
#
# Larger scores make the differences between them larger, so the softmax concentrates the weight on the largest
# score and the entropy falls. The last of the three lines (scores x 8) is the block *without* the division by
# $\sqrt{C}$: [1.2](claim:bits-undivided) bits instead of [7.9](claim:bits-divided). Even with random features
# each query attends to only two or three keys, and chance decides which. Such a softmax is called *saturated*: some
# weights are near 1, the others near 0, and its gradient is small. So training should start slowly; we have not
# measured that.
#
# </details>
#
# Try it with the six sliders above: choose "query only", give the red house blue 1 and red `0.5`, and set
# "scores x" to `0.25`, 1 and 4. Then do the same with blue 6 and red 0. What changes? Why does the entropy never
# fall below 1 bit in the second case? (Two keys have equal scores, and no factor makes equal scores different.)
#
# ## From weights to a block
#
# Each key position also has a **value** vector: column $s$ of $\gamma$. The output at a query position is the
# **weighted sum of the values**, with the weights of its row of $W$. A 1 x 1 convolution $W_O$ maps this output
# back to the channels of the input. We call the result the **context**. It is added to the input $X$ (a
# **residual connection**):
#
# $$O = W \gamma^{\top}, \qquad Y = X + W_O(O^{\top})$$
#
# Queries, keys and values are three 1 x 1 convolutions of the same feature map $X$, which may have more channels
# than $C$ (`channels` and `key_channels` in the code). The shapes on the way:
#
# | step | shape |
# |---|---|
# | input $X$ | (B, channels, H, W) |
# | query, key, value, with H and W flattened | (B, C, N), N = H · W |
# | weights $W$ | (B, N, N): row = query position, column = key position |
# | output $O$: weights @ value.mT | (B, N, C): one row for each position |
# | back to a feature map | (B, C, N), then (B, C, H, W) |
# | context: after $W_O$ | (B, channels, H, W), so it can be added to $X$ |
#
# *Example.* The weights of one query are [0.67](given:example) and [0.33](given:example), as above, and the two
# values are 10 and 20 (one channel). The output is [0.67](given:example) · 10 + [0.33](given:example) · 20 =
# [13.3](given:example). With $W_O$ = [0.1](given:example), the block adds [1.33](given:example) to the input.
# With $W_O = 0$ it adds nothing.
#
# $W_O$ starts **at zero**: a new block returns its input unchanged, so you can insert it into a trained network
# without changing what the network computes.

# %% [markdown]
# ### Prediction 2.3: The first step
#
# With $W_O = 0$, which of the four convolutions get a gradient that is not zero in the very first training
# step: "all", "only output" or "none"?

# %% tags=["predict:gradient"]
guess_gradient = "only output"  # solution

# %% [markdown] tags=["exercise:block"]
# ### Exercise 2.2: The block
#
# *Difficulty 3/5, importance 5/5, about 20 min, objective 3*
#
# The four convolutions are given. Initialise the last one with zeros, and write `forward`. You may use your
# `attention_weights`. For an input of shape (2, 8, 5, 7) and 4 key channels, the shapes on the way are: query,
# key and value (2, 4, 35), weights (2, 35, 35), context and result (2, 8, 5, 7). A new block must return its
# input: `block(x)` equals `x`.


# %% tags=["answer:block"]
class NonLocalBlock(nn.Module):
    """Every position attends to every position of the same feature map."""

    def __init__(self, channels: int, key_channels: int):
        super().__init__()
        self.to_query = nn.Conv2d(channels, key_channels, 1)  # phi
        self.to_key = nn.Conv2d(channels, key_channels, 1)  # theta
        self.to_value = nn.Conv2d(channels, key_channels, 1)  # gamma
        self.to_output = nn.Conv2d(key_channels, channels, 1)  # W_O
        # solution
        nn.init.zeros_(self.to_output.weight)
        nn.init.zeros_(self.to_output.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> the same"""
        # solution
        query = self.to_query(features).flatten(2)
        key = self.to_key(features).flatten(2)
        value = self.to_value(features).flatten(2)
        output = attention_weights(query, key) @ value.mT
        context = self.to_output(output.mT.unflatten(2, features.shape[2:]))
        return features + context


# %% [markdown] tags=["hint:block:1"]
# For attention, height and width are one axis of N positions. Flatten them after the convolutions, and restore
# them only at the end. Follow the table of shapes: which axis holds the positions after `weights @ value.mT`?

# %% [markdown] tags=["hint:block:2"]
# `flatten(2)` turns a feature map into (B, C, N). `weights @ value.mT` is (B, N, C). `unflatten(2, (H, W))`
# needs the positions on the last axis, so use `.mT` before it. `nn.init.zeros_` fills weight and bias.

# %% [markdown] tags=["hint:block:3"]
# `query = self.to_query(features).flatten(2)`, and the same for key and value.

# %% tags=["check:block"]
checks.nonlocal_block(NonLocalBlock)

# %% [markdown]
# *Extension (optional).* What must change if keys and values come from another feature map than the queries?
# (The AFNB of the paper is such a block.)
#
# <details><summary>Answer</summary>
#
# `forward` gets two feature maps. `to_key` and `to_value` apply to the second one, so they need its number of
# channels. The two maps may have different sizes: the weights are (B, N, S), with N positions of the first map
# and S of the second one. The output has one row for each query, so it takes height and width of the first map,
# and it can be added to the first map only.
#
# </details>
#
# Now run one backward pass through your block, for prediction 2.3:

# %%
block = NonLocalBlock(channels=8, key_channels=4)
features = torch.randn(2, 8, 5, 7)
checks.attempt(block, features).square().sum().backward()
largest = {name: float(part.grad.abs().max()) for name, part in block.named_parameters()}
others = [value for name, value in largest.items() if not name.startswith("to_output")]
outcome = "all" if any(others) else "only output"
predictions.compare("2.3", guess_gradient, outcome, options=("all", "only output", "none"))
for name, value in largest.items():
    print(f"largest gradient of {name:15} {value:7.3f}")

# %% [markdown]
# <details>
# <summary>After you have run the cell: why</summary>
#
# In the backward pass the gradient of query, key and value is multiplied by $W_O$, and $W_O$ is zero. (It is the
# same in $y = x + ab$ with $a = 0$: the derivative with respect to $a$ is $b$, but with respect to $b$ it is
# $a = 0$.) After one step $W_O$ is not zero any more, so from then on all four convolutions learn.
#
# </details>
#
# The next cell prints annlib's version. It differs from yours in two points:
#
# - Queries and keys share one projection. It ends with batch norm and ReLU.
# - The context is not added to the input. Both are concatenated, and a 1 x 1 convolution called `fuse` combines them.
#
# The APNB of lesson 4 is built in the same way, so the two blocks differ only in $S$ and can be compared. (Your block
# is like the non-local head of MMSegmentation: separate projections for $\phi$ and $\theta$, and a sum at the end.)
#
# ![Non-local block: one projection for queries and keys, one for values, weights N x N, concatenation with the input](diagrams/nonlocal_block.svg)

# %%
print(inspect.getsource(NonLocalAttention.forward))
print(inspect.getsource(NonLocal.forward))

# %% [markdown] tags=["instructor"]
# Twenty-five minutes for this section. Usual mistakes in 2.2: `reshape(B, C, H, W)` on a (B, N, C) tensor (runs,
# but permutes positions and channels; the check reports it), forgetting the bias of `to_output`, adding before
# the convolution. Discussion: *if three convolutions get no gradient at first, why not start W_O with small
# random numbers?* Both work; zero guarantees that the network computes exactly what it did before. When late,
# hand out the solution of 2.2.

# %% [markdown]
# **This is the end of sitting 1.** You have written the attention weights and the block. You can stop here.
#
# ## Sitting 2 of 2: train the block, and look inside
#
# In this sitting you train a network with a non-local block, read its attention maps, and describe one of its
# errors. **After a break** start here: run the first two code cells of the notebook (parameters and set-up), then
# the cells from here on. The cells of sitting 1 are not needed.
#
# ### Train a network with the block
#
# We train the small network of lesson 0 with annlib's non-local block, from random weights, by the recipe in
# `annlib.experiments`. Lesson 6 explains training step by step; here the code is given. The loop does one step at a
# time, so we can show the progress and stop at any time. The cell stops after 90 seconds even if the steps are not
# finished. The button **■** of the notebook stops it earlier. The network keeps the weights that it has then, so
# you can go on with the cells below.

# %%
from annlib.data.balloon_town.dataset import Scenes
from annlib.data.loader import Transformed, make_loader
from annlib.data.transforms import training_transform
from annlib.engine.optimization import make_optimizer, train

scene = make_scene(FIRST_VAL_SEED + 21)
plan = town("nonlocal")
steps = lesson.pick(quick=15, learn=900, full=plan.train.iterations)
num_scenes = lesson.pick(quick=24, learn=TRAIN_SCENES, full=TRAIN_SCENES)
recipe = replace(plan.train, iterations=steps, seed=lesson.seed)
torch.manual_seed(lesson.seed)
small = build_model(plan.model).to(lesson.device, memory_format=torch.channels_last)  # faster
data = Transformed(Scenes(num_scenes), training_transform(plan.data))
batches = make_loader(data, plan.data.batch_size, training=True, seed=lesson.seed)
print(f"{sum(p.numel() for p in small.parameters()):,} parameters, {steps} steps")

# %%
history, started = [], time.perf_counter()
training = train(small, make_optimizer(small, recipe), batches, recipe)
for step in progress(training, steps, "steps"):
    history.append((step.number, float(step.loss)))
    if time.perf_counter() - started > 90 and mode != "full":
        print(f"Stopped after 90 s, at step {step.number}: this machine is slow or busy.")
        break
plots.training_curve(history, "nonlocal")

# %%
from annlib.config import TestConfig
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES
from annlib.data.transforms import to_tensors
from annlib.engine.inference import make_predictor
from annlib.engine.metrics import evaluate

unseen = Scenes(lesson.pick(quick=8, learn=40, full=200), first_seed=FIRST_VAL_SEED)
samples = make_loader(Transformed(unseen, to_tensors), batch_size=8, training=False)


def score(model: nn.Module) -> str:
    """mIoU, and accuracy of the kind among pixels labelled and predicted as some house."""
    matrix = evaluate(make_predictor(model, TestConfig()), samples, len(CLASS_NAMES))
    return f"mIoU {matrix.scores().miou:.3f}, houses {matrix.accuracy_among(HOUSES):.3f}"


print("trained here:   ", score(small))

# %% [markdown]
# The loss falls fast at first, because sky, road and green are learned in a few dozen steps. Then the network
# learns the balloons, and last the houses. The score "houses" is the accuracy among the pixels that are labelled
# and predicted as some house. Three reference values help to read it: 1/3 is guessing. [0.61](given:vote) is a
# majority vote (predict the most frequent balloon pattern for every house). 1 is matching the paint. Which of
# them is your network closest to? (In `quick` mode it has learned nothing yet.)
#
# One run is not a result: with another seed, or even another number of CPU threads, the same network may get much
# further or less far. `python -m benchmarks.compare_heads` has trained it and the other networks with five seeds each.
# On average over its five runs it classifies [0.786](result:balloon_town.md) of the house pixels correctly, in its
# worst run [0.424](result:balloon_town.md) (`data/results/balloon_town.md`). To look inside, we also load the network
# that is shipped with the course. It was trained by the same recipe with more steps.

# %%
from annlib.model.build import shipped_model

trained = shipped_model("balloon_nonlocal").to(lesson.device)
print("shipped weights:", score(trained))

# %% [markdown] tags=["instructor"]
# Ten minutes. Let groups train with seeds 0 to 3 and collect the scores of the houses: a good example of why one
# run is not a result. Discussion while it runs: *which classes does the network learn first, and why?*

# %% [markdown]
# ## Look inside a trained block
#
# `capture_attention` stores the attention weights of each block while the network runs. We expect a matrix of
# 384 x 384 weights, because the feature map of our scene has 16 x 24 = 384 positions:

# %%
from annlib.course.attention import capture_attention, model_input

images = model_input(scene.image).to(lesson.device)
with capture_attention(trained) as maps, torch.inference_mode():
    trained(images)
caught = maps["context.attention"]
B, N, S = caught.shape
assert (B, N, S) == (1, 16 * 24, 16 * 24)  # the feature map has 1/8 of 128 x 192
assert torch.allclose(caught.sum(-1), torch.ones(B, N, device=lesson.device), atol=1e-4)
print(f"{N} rows, each with {S} weights: {N * S:,} numbers for one small image")

# %% [markdown]
# Drawn on the image, the row of one query is its **attention map**. Choose the query position by a click, or move
# the ring by the arrow keys. Try this, and explain each answer:
#
# 1. Choose a house as the query, then its balloon. Does the balloon attend to the house as strongly as the house
#    to the balloon? (Compare with the weights of the six positions.)
# 2. Choose the sky, then a tree. What do positions attend to that do not need long-range context?
# 3. On a house, set "scores x" to `0.25`, then to 4. How does the entropy below the image change?
# 4. Show "trained here" as well. Does your network attend to the same objects?
# 5. The part *One key, step by step* computes the output for the key in the dashed frame, from the dot product on.
#    Check steps 2 to 4 with a calculator. Then choose "key", and move the frame to another balloon: which step makes
#    its part of the output small, the dot product, the softmax or the value?

# %%
widgets.attention_explorer({"shipped weights": trained, "trained here": small}, scene, steps=True)

# %% [markdown]
# You have looked at three houses. That is not enough for a statement, so let us count. We take every house of the
# scenes that were not used for training: does the balloon of its paint get more attention than any other balloon?

# %%
matches = [
    match(attention, one, a_house)
    for one in map(unseen.scene, range(len(unseen)))
    for attention in [attention_of(trained, one.image)["context.attention"]]
    for a_house in one.houses
]
found = sum(one.is_matched for one in matches)
mean_mass = sum(one.on_its_balloon for one in matches) / len(matches)
print(f"{found} of {len(matches)} houses attend more to their own balloon than to any other,")
print(f"with {mean_mass:.0%} of their attention on average.")
lesson.claim("matched", 100 * found / len(matches), within=3, unit="%")
lesson.claim("mass", 100 * mean_mass, within=4, unit="%")

# %% [markdown]
# So [100 %](claim:matched) of the houses attend more to their own balloon than to any other balloon. On average it
# gets [78 %](claim:mass) of their attention. (`data/results/attention.md` has the same count for 500 houses and all
# networks of the course.) The next figure draws an arrow from each house of our scene to the key with its largest
# weight:

# %%
attention = attention_of(trained, scene.image)["context.attention"]
plots.house_attention(scene, {"Non-local: 384 positions": ("nonlocal", attention)})

# %% [markdown]
# **What this does not show.** The town was built so that attention can solve it. This is one network from one seed;
# with another seed the same recipe may end near the majority vote. And an attention map shows the weights of the
# values, not what decided the class: to test that, repaint a balloon, as in lesson 0.
#
# **And on photos?** There, nearby pixels are often enough to classify a pixel, so long-range context helps less often
# and less clearly. On the photo of lesson 0 no single object got most of the attention. Lesson 7 asks the questions
# of this lesson again, on a photo.
#
# *Example of a report (invented), for the next exercise.* "Scene 1000003, second house (a shop, predicted as home), query
# pixels (95, 60), (90, 66), (100, 70). All three attend most to the pink balloon (belt); the house is
# vermilion. Hypothesis: the network confuses these two paints under this light. Test: give the pink balloon a
# disc. If the prediction changes to school, the pink balloon decides; if it stays home, the hypothesis is
# refuted."

# %% [markdown] tags=["exercise:failure"]
# ### Exercise 2.3: Describe an error, and propose a test
#
# *Difficulty 3/5, importance 3/5, about 15 min, objective 4, open*
#
# The next two cells list houses that the network *you* trained classifies incorrectly, and open the explorer on the
# first of them. (If your network makes no error, they show the houses that give their own balloon the smallest
# weight.) Choose one house. Look at the attention of three of its pixels, and write two sentences: which objects the
# pixels attend to, and which single change of the scene would test your explanation. To make the change:
# `repaint(one, 0, 2)` from `annlib.data.balloon_town.dataset` gives balloon 0 the pattern 2 (0 belt, 1 stripe, 2 disc).

# %%
from annlib.course.attention import house_answer, predict_labels

listed = []
for index in range(len(unseen)):
    one = unseen.scene(index)
    labels, attention = predict_labels(small, one.image), attention_of(small, one.image)
    for number, a_house in enumerate(one.houses):
        mass = match(attention["context.attention"], one, a_house).on_its_balloon
        answer = house_answer(labels, one, a_house)
        listed.append((answer == a_house.label, mass, index, number, answer))
for _, mass, index, number, answer in sorted(listed)[:5]:
    one = unseen.scene(index)
    kind, place = CLASS_NAMES[one.houses[number].label], query_on(one, one.houses[number])
    print(f"scene {index}, house {number}: a {kind}, predicted as {CLASS_NAMES[answer]};")
    print(f"    {mass:.0%} of the attention of pixel {place} is on its balloon")

# %%
chosen = min(listed)[2]  # the number of the scene; write another one here
widgets.attention_explorer({"trained here": small}, unseen.scene(chosen))

# %% [markdown] tags=["instructor"]
# Rubric for 2.3 (0 to 4): states scene, house and pixels so that others find them (1); describes the weights, not
# the class (1); offers an explanation that could be incorrect (1); proposes a repainting whose outcome would
# contradict it (1). No point for "the attention is bad": say what it attends to.
#
# Fifteen minutes for looking inside. For 2.3, let groups choose different houses of the list, and exchange their
# hypotheses. Answers for the explorer: (1) No. The balloon gives nearly all weight to
# itself: the scores are symmetric, but each row has its own softmax. (2) The weights are spread widely. The
# output is a mean of many values, and these positions do not need it. (3) It rises, then it falls. (4) It
# depends on the run: let groups compare. (5) The dot product is smaller, and the softmax makes the ratio of two
# weights exponential in the difference of their scores; the values are of similar size. The prompt that works best: *does the network recognise the balloon,
# or only its paint?* (The keys match the paint; the pattern comes with the value.)

# %% [markdown]
# ## Optional: the effective receptive field
#
# How much of its receptive field does a position really use? The frame on the left shows the receptive field:
# the pixels that the position *could* depend on. It follows from kernels and strides. On the right you see the
# pixels that the position *does* depend on, measured by the gradient: the brighter a pixel, the more a change of
# this pixel changes the features of the position. This is the **effective receptive field** (W. Luo and others,
# 2016). Click a pixel, and choose after which layer you look. Try this, and explain each answer:
#
# 1. Click a house and go down the list of depths. At which depth does the frame first contain a balloon?
# 2. Which fraction of the gradient lies in the central half of the frame, after stage2 and after stage5? An
#    even distribution would leave a quarter there.
# 3. What changes at "+ attention block"? Choose a house, then the sky: where does the gradient beyond the
#    dashed frame lie, and how much is it?

# %%
widgets.ReceptiveField(trained, scene)

# %% [markdown] tags=["instructor"]
# Five minutes, optional. Answers: (1) At none: even the last frame, 63 x 63 pixels, ends below the balloons, so a
# network with these convolutions alone cannot classify the house. (2) About half, then about 70 %: many paths
# lead from the middle, few from a corner. (3) From a house about 30 % of the gradient lies beyond the frame,
# half of that on the balloon of its paint; from the sky less, and on no particular object.

# %% [markdown]
# ## Your predictions
#
# The table compares your predictions with the results.
#
# 1. Tick the box. Which surprise could you not yet explain to somebody else? Go back to its cell.
# 2. Which prediction was correct, but for a wrong reason?
#
# (After a break, only the predictions of sitting 2 are listed.)

# %%
widgets.prediction_ledger(predictions)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:shapes"]
# ### Quiz 2.1: A feature map of 32 x 64 positions is the input of a non-local block. What is the shape of the weights?
#
# - [ ] 32 x 64
#   That is the feature map. Each of its positions has a whole row of weights.
# - [x] 2048 x 2048
#   One row for each query position, one column for each key position: 4 million numbers. This cost is the
#   reason for the paper.
# - [ ] C x C
#   The product sums over the channels, so they disappear. C x C would compare channels with each other.

# %% [markdown] tags=["quiz:axis"]
# ### Quiz 2.2: The softmax runs over the wrong axis, N instead of S. What goes wrong first?
#
# - [ ] Nothing, because the matrix is square.
#   It has the same shape, which is why the mistake is so easy to make, but other numbers.
# - [x] The weights of some queries sum to much more than 1, those of others to almost 0.
#   Then the columns sum to 1 and the rows do not, so the output is not an average of the values any more.
# - [ ] The weights become negative.
#   A softmax is positive along any axis.

# %% [markdown] tags=["quiz:symmetric"]
# ### Quiz 2.3: Query and key share one projection. Is the matrix of weights symmetric?
#
# - [ ] Yes: $\phi = \theta$, so $n$ attends to $s$ as $s$ attends to $n$.
#   That holds for the scores. The softmax then divides each row by its own sum.
# - [x] No, only the scores are.
#   A house may give its balloon most of its attention, while the balloon has many keys with equally high
#   scores, so each of them gets little.
# - [ ] It is symmetric, except for constant images.
#   For a constant image it is symmetric, because all weights are equal. For other images it usually is not.

# %% [markdown] tags=["quiz:scale"]
# ### Quiz 2.4: Why divide by $\sqrt{C}$?
#
# - [ ] Because there are many positions.
#   That would be a reason for $\sqrt{N}$. But the number of positions does not make a score larger.
# - [ ] So that the rows sum to 1.
#   The softmax does that at any scale.
# - [x] Because the standard deviation of a sum of C independent products is $\sqrt{C}$, and large scores saturate the softmax.
#   With independent entries of mean 0 and variance 1, the division makes the standard deviation 1 for every C.

# %% [markdown] tags=["quiz:start"]
# ### Quiz 2.5: What is the advantage of $W_O = 0$ at the start of training?
#
# - [ ] The block learns nothing, which prevents overfitting.
#   $W_O$ itself gets a gradient in the first step; from then on all parts learn.
# - [x] The network with the block computes exactly what it computed without it.
#   So the block can be inserted into a trained network, and it contributes only as far as that lowers the loss.
# - [ ] All positions attend to all positions evenly.
#   The weights do not depend on $W_O$; only the output is multiplied by zero.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You wrote the attention weights ($N \times S$, rows sum to 1), saw how equal features and the scale change them,
# wrote a block that starts as the identity, looked inside a trained one, counted what its houses attend to, and
# described an error with a test.
#
# Read more: X. Wang and others, *Non-local Neural Networks*, CVPR 2018; A. Vaswani and others, *Attention
# Is All You Need*, 2017, for the scale; Z. Zhu and others, *Asymmetric Non-local Neural Networks for
# Semantic Segmentation*, ICCV 2019, whose letters are used here.
#
# Next: [the cost of attention](03_cost_of_attention.ipynb) in operations, memory and time.
