# %% [markdown] tags=["header"]
# # 2. Every pixel asks every pixel
#
# *How can a pixel use what stands at the other end of the picture?*
#
# - **Before:** lesson 1; matrix products, softmax
# - **Reading:** 45 min
# - **Runs in:** 20 s (quick), 110 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. write the weights of a non-local block and state their shape ([Exercise 2.1](exercise:weights))
# 2. predict how the weights answer to sameness and to scale ([Prediction 2.2](predict:scale))
# 3. write the block, so that it starts as the identity ([Exercise 2.2](exercise:block))
# 4. train it, score it, and count where its houses look ([Exercise 2.3](exercise:failure))

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
# ## The far hint
#
# The house in the frame is a home, a shop or a school: the balloon of its own paint says which. But a
# convolution passes news only to its neighbours. This is all that the layers of our small network let one
# pixel of the answer depend on:

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
house = scene.houses[0]
at_c5 = side_of_field(blocks_per_stage=1)  # c5: the last map of the backbone
at_reduce = side_of_field(blocks_per_stage=1, head_kernels=1)
side = pixel_view(at_reduce)  # enlarging the map to the picture mixes neighbouring positions
print(f"A position sees {at_c5} pixels a side after the backbone, {at_reduce} after one more 3 x 3")
print(f"convolution; a pixel of the answer depends on {side}.")
assert house.top - side // 2 > scene.balloons[house.decided_by].bottom
beyond = np.abs(hint_offsets(FIRST_VAL_SEED, num_scenes=1000)).max(axis=1) - side // 2
layers = np.ceil(beyond / 8)  # each 3 x 3 convolution at 1/8 of the size adds 8 pixels
lesson.claim("more-layers", float(np.median(layers)), within=0, unit="layers")
lesson.claim("most-layers", layers.max(), within=0, unit="layers")
plots.field_of_view(scene, *query_on(scene, house), side=side)

# %% [markdown]
# One could stack more layers: at 1/8 of the size each 3 x 3 convolution widens the square by 8 pixels to
# each side. From the middle of a house to the middle of its balloon that takes
# [5](claim:more-layers) more for half of the houses and up to [14](claim:most-layers) for the others, and
# the hint would arrive mixed with everything on its way. A **non-local block** takes another way: each
# position asks *all* positions at once, and takes most from
# those that fit.
#
# ## Who looks at whom: the weights
#
# Let us play it with six positions and features made by hand. Three channels: *how blue*, *how red*,
# *how much of a thing at all*.

# %%
names = ["blue balloon", "red balloon", "sky", "road", "blue house", "red house"]
query = torch.tensor(
    [
        [6.0, 0.0, 0.0, 0.0, 6.0, 0.0],  # how blue
        [0.0, 6.0, 0.0, 0.0, 0.0, 6.0],  # how red
        [1.0, 1.0, 0.0, 0.0, 1.0, 1.0],  # a thing
    ]
)[None]
key = query.clone()
B, C, N = query.shape
S = key.shape[2]
assert (B, C, N, S) == (1, 3, 6, 6)

# %% [markdown]
# Position $n$ asks with its **query**, column $n$ of $\phi$ $(C \times N)$. Position $s$ offers its
# **key**, column $s$ of $\theta$ $(C \times S)$. How well they fit is a dot product; a softmax over
# all that answer turns fits into shares:
#
# $$W = \mathrm{softmax}\left(\frac{\phi^{\top} \theta}{\sqrt{C}}\right), \qquad
# W \in \mathbb{R}^{N \times S}, \qquad \sum_{s=1}^{S} W_{ns} = 1$$
#
# Here all positions answer, so $S = N$. We keep two letters, because a later lesson will make $S$ small.
# (The released models divide by $\sqrt{C}$, and so do we. You will see what it is for.)

# %% [markdown]
# ### Prediction 2.1: Nothing to see
#
# Suppose the picture is one constant grey: all queries are equal, all keys are equal. With $N = S = 6$,
# what is each weight?

# %% tags=["predict:constant"]
guess_constant = 1 / 6  # solution

# %% [markdown] tags=["exercise:weights"]
# ### Exercise 2.1: The weights
#
# *Difficulty 2/5, importance 5/5, about 5 min, objective 1*
#
# Write the formula above for a batch. Mind which axis is $N$ and which is $S$: a row belongs to the one
# who asks. *For the fast:* write it without `softmax`, so that scores of 1000 do no harm.


# %% tags=["answer:weights"]
def attention_weights(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """query (B, C, N), key (B, C, S) -> (B, N, S): row n is how position n divides its attention"""
    # solution
    scores = query.mT @ key * query.shape[1] ** -0.5
    return scores.softmax(dim=-1)


# %% [markdown] tags=["hint:weights:1"]
# Entry $(n, s)$ compares query $n$ with key $s$ and nothing else. Which axis disappears in the
# comparison, which two remain?

# %% [markdown] tags=["hint:weights:2"]
# `query.mT` exchanges the last two axes; `@` is the matrix product; `softmax(dim=...)` makes sums along
# that axis equal 1.

# %% [markdown] tags=["hint:weights:3"]
# `scores = query.mT @ key * query.shape[1] ** -0.5`

# %% tags=["check:weights"]
checks.attention_weights(attention_weights)

# %% [markdown]
# Now your function on the six positions. Before you run it: which two columns will be bright in the row
# of the blue house?

# %%
weights = checks.attempt(attention_weights, query, key)
assert weights.shape == (B, N, S)
constant = attention_weights(torch.ones(1, C, N), torch.ones(1, C, S))
outcome = float(constant[0, 0, 0])
predictions.compare("2.1", guess_constant, outcome, tolerance=0.05, between=(0, 1))
plots.weight_matrix(weights[0].numpy(), "Six positions", names, names)

# %% [markdown]
# The blue house looks at the blue balloon **and at itself**: both fit equally well, and the dot product
# knows no "but not me". Sky and road fit nothing, so they spread evenly: in a softmax nobody can look
# nowhere. And there is no notion of near or far in the formula at all.
#
# Now play. The three upper sliders are the features of the last position, the red house. Say for each
# state *what changes, and why*:
#
# 1. Give it blue 3 and red 3: a house of both paints. Where does it look, and how widely?
# 2. Set all three to 0, as the sky has them. Where does it look now, and who looks at it?
# 3. Choose "query only" and make it as blue as the blue house. It looks at blue things; do they look
#    back? Then "key only". Which of the two changes one row only, and which changes every row?
#
# (Leave "scores x" at 1 for now.)

# %%
widgets.six_positions(query[0], ["how blue", "how red", "a thing"], names)

# %% [markdown] tags=["instructor"]
# Twenty minutes to here, five of them for the sliders. Usual mistakes in 2.1: softmax over dim 1 (then
# every position that *answers*
# hands out shares), √N for √C, `query @ key.mT` (that compares channels with channels, C x C). Let pairs
# say the row of the red house aloud before the matrix is shown. Answers to the sliders: (1) at four things,
# a quarter each: both balloons, the blue house, itself; (2) evenly at all six, and nobody looks at it but sky
# and road; (3) "query only" changes its row alone; "key only" its column, and so, by the softmax, each row
# that liked it or now does. Stop here when 25 minutes are gone;
# the scale section can be read at home.

# %% [markdown]
# ## What the scale is for
#
# A dot product of $C$ random numbers grows like $\sqrt{C}$. The **entropy** of a row, in bits, measures
# how widely it looks: $\log_2 S$ if evenly, 0 if at one position only.

# %% [markdown]
# ### Prediction 2.2: Four times the scores
#
# We multiply all scores by 4 before the softmax. Does the entropy of the rows "fall", "rise" or "stay"?

# %% tags=["predict:scale"]
guess_scale = "fall"  # solution

# %%
num_channels, num_positions = 64, 384
random_query, random_key = torch.randn(2, 1, num_channels, num_positions)
scores = random_query.mT @ random_key  # (1, 384, 384)
assert scores.shape == (1, num_positions, num_positions)
bits = {
    factor: float(entropy((factor * scores / num_channels**0.5).softmax(-1)).mean())
    for factor in (1, 4, num_channels**0.5)
}
change = bits[4] - bits[1]
predictions.compare(
    "2.2", guess_scale, "fall" if change < 0 else "rise", options=("fall", "rise", "stay")
)
for factor, value in bits.items():
    print(f"scores x {factor:.0f}: {value:.1f} bits, as if looking at {2**value:.0f} of 384")
lesson.claim("bits-divided", bits[1], within=0.1, unit="bits")
lesson.claim("bits-undivided", bits[num_channels**0.5], within=0.2, unit="bits")

# %% [markdown]
# The last of the three is the block *without* the division by $\sqrt{C}$: [1.2](claim:bits-undivided) bits
# instead of [7.9](claim:bits-divided). Even random features look at two or three positions, picked by
# chance. A softmax that is so sure passes little gradient on; training should start slowly, though we have
# not measured that. The division keeps the start open, whatever $C$ is.
#
# Try it on the six sliders above: choose "query only", give the red house blue 1 and red `0.5`, and set
# "scores x" to `0.25`, 1 and 4. Then the same with blue 6 and red 0. *What changes, and why* does the entropy
# stop at 1 bit? (Two positions fit equally well, and no scale can choose between them.)
#
# ## From weights to a block
#
# Each position now fetches the **values** $\gamma$ $(C \times S)$ in the shares of its row. What it
# fetched goes through one more 1 x 1 convolution $W_O$ and is added to what was there:
#
# $$O = W \gamma^{\top}, \qquad Y = X + W_O(O^{\top})$$
#
# Queries, keys and values are 1 x 1 convolutions of the same map $X$, which may have more channels than
# $C$ (`channels` and `key_channels` in the code). And $W_O$ starts **at zero**: a fresh
# block changes nothing, so it can be put into any network without harm.

# %% [markdown]
# ### Prediction 2.3: The first step
#
# With $W_O = 0$, which of the four convolutions get a gradient other than zero in the very first training
# step: "all", "only output" or "none"?

# %% tags=["predict:gradient"]
guess_gradient = "only output"  # solution

# %% [markdown] tags=["exercise:block"]
# ### Exercise 2.2: The block
#
# *Difficulty 3/5, importance 5/5, about 15 min, objective 3*
#
# The four convolutions are there. Make the last one start at zero, and write `forward`. You may use your
# `attention_weights`. *For the fast:* what must change so that the map that answers is another one than
# the map that asks? (The paper's AFNB is such a block.)


# %% tags=["answer:block"]
class NonLocalBlock(nn.Module):
    """Every position asks every position of the same map."""

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
        context = attention_weights(query, key) @ value.mT
        context = context.mT.unflatten(2, features.shape[2:])
        return features + self.to_output(context)


# %% [markdown] tags=["hint:block:1"]
# Height and width are one axis for attention: positions. Flatten after the convolutions, and only at the
# end give the map its shape back. On the way back, who is a row and who is a column?

# %% [markdown] tags=["hint:block:2"]
# `flatten(2)` makes (B, C, N) of a map, `weights @ value.mT` is (B, N, C), and `unflatten(2, (H, W))`
# needs positions last. `nn.init.zeros_` fills weight and bias.

# %% [markdown] tags=["hint:block:3"]
# `query = self.to_query(features).flatten(2)`, and the same for key and value.

# %% tags=["check:block"]
checks.nonlocal_block(NonLocalBlock)

# %% [markdown]
# Now one step backward through your block, for prediction 2.3:

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
# What flows back passes $W_O$, and a product with zero is zero. After one step $W_O$ is no longer zero,
# and the others wake up.
#
# This is how annlib writes the same thing. Two differences, both those of the released models: one
# projection serves as query *and* key (with batch norm and ReLU), and the result is not added but laid
# beside the input, and a 1 x 1 convolution mixes the two.

# %%
print(inspect.getsource(NonLocalAttention.forward))
print(inspect.getsource(NonLocal.forward))

# %% [markdown] tags=["instructor"]
# Twenty minutes for this section. Usual mistakes in 2.2: `reshape(B, C, H, W)` on a (B, N, C) tensor
# (runs, but scrambles positions; the check tells), forgetting the bias of `to_output`, adding before the
# convolution. Discussion: *if the other three get no gradient at first, why not start W_O small instead
# of zero?* Both work; zero gives an exact guarantee: the network is what it was. When late, hand out the
# solution of 2.2 and go on with training. Let groups train with seeds 0 to 3 and collect the scores of
# the houses: a good case for "one run is no result".

# %% [markdown]
# ## Train one, score it
#
# The same small network as in lesson 0, with annlib's non-local block, from random weights, by the recipe
# in `annlib.experiments`. The loop is a generator: it does one step each time we ask, so what to show,
# and when to stop, is ours to decide. We stop after 90 seconds, should the steps not be done by then; the
# button **■** of the notebook stops it earlier (then go on with the cells below: they use what was learned).

# %%
from annlib.data.balloon_town.dataset import Scenes
from annlib.data.loader import Transformed, make_loader
from annlib.data.transforms import training_transform
from annlib.engine.optimization import make_optimizer, train

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
        print(f"Time is up after {step.number} steps: a slow or busy machine.")
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
    """mIoU, and the share of right kinds among pixels that are, and were taken for, some house."""
    matrix = evaluate(make_predictor(model, TestConfig()), samples, len(CLASS_NAMES))
    return f"mIoU {matrix.scores().miou:.3f}, houses {matrix.accuracy_among(HOUSES):.3f}"


print("trained here:   ", score(small))

# %% [markdown]
# The loss falls fast at first: sky, road and green are learned in a few dozen steps. Then come the
# balloons, and last the houses. Their score is the share of right kinds among the pixels that are, and
# were taken for, some house. Read it by three marks: 1/3 is guessing; [0.61](given:vote) is voting (look at the
# sky, but name every house after the most frequent pattern); 1 is matching paint with paint. Where is
# yours? In `quick` mode nothing is learned yet. And one run is no result: the seed, or only the number of
# CPU threads, decides how far it gets. `python -m benchmarks.compare_heads` has trained this network, and its rivals,
# with five seeds each: on average this one gets [0.786](result:balloon_town.md) of the house pixels right,
# in its worst run [0.424](result:balloon_town.md) (`data/results/balloon_town.md`). To look inside we
# also take the network that comes with the course: the same recipe, with more steps.

# %%
from annlib.model.build import shipped_model

trained = shipped_model("balloon_nonlocal").to(lesson.device)
print("shipped weights:", score(trained))

# %% [markdown]
# ## Look inside
#
# `capture_attention` catches the weights of each attention block while the network runs:

# %%
from annlib.course.attention import capture_attention, model_input

images = model_input(scene.image).to(lesson.device)
with capture_attention(trained) as maps, torch.inference_mode():
    trained(images)
caught = maps["context.attention"]
B, N, S = caught.shape
assert (B, N, S) == (1, 16 * 24, 16 * 24)  # the map has 1/8 of 128 x 192
assert torch.allclose(caught.sum(-1), torch.ones(B, N, device=lesson.device), atol=1e-4)
print(f"{N} rows, each with {S} weights: {N * S:,} numbers for one small picture")

# %% [markdown]
# Every row is a picture. Choose the row by a click, or move the ring by the arrow keys. Try this, and explain each answer:
#
# 1. Ask from a house, then from its balloon. Is the way back as bright? (Compare with the weights of the
#    six positions.)
# 2. Ask from the sky, then from a tree. What do positions do that need nothing?
# 3. On a house, set "scores x" to `0.25`, then 4: what happens to the entropy below the picture?
# 4. Put "trained here" beside it. Has your network found the same way to look, or another?

# %%
widgets.attention_explorer({"shipped weights": trained, "trained here": small}, scene)

# %% [markdown]
# Three houses are an anecdote. So count: for every house of scenes that the network has not seen, does the
# balloon that decides get more attention than any other balloon?

# %%
matches = [
    match(attention, one, a_house)
    for one in map(unseen.scene, range(len(unseen)))
    for attention in [attention_of(trained, one.image)["context.attention"]]
    for a_house in one.houses
]
found = sum(one.is_matched for one in matches)
mean_mass = sum(one.on_its_balloon for one in matches) / len(matches)
print(f"{found} of {len(matches)} houses look more at their own balloon than at any other,")
print(f"with {mean_mass:.0%} of their attention on average.")
lesson.claim("matched", 100 * found / len(matches), within=3, unit="%")
lesson.claim("mass", 100 * mean_mass, within=4, unit="%")

# %% [markdown]
# So the three were no exception: [100 %](claim:matched) of the houses look more at their own balloon than at
# any other, with [78 %](claim:mass) of their attention on average. (`data/results/attention.md` has the same
# count for 500 houses and all networks of the course.) An arrow for each house of our scene:

# %%
attention = attention_of(trained, scene.image)["context.attention"]
plots.house_attention(scene, {"Non-local: 384 positions": ("nonlocal", attention)})

# %% [markdown]
# How far would a position see *without* the block, and how much of that would it use? What it **could**
# depend on follows from kernels and strides: the frame on the left. What it **does** depend on, its
# gradient tells: the brighter a pixel on the right, the more the position moves with it. (This is called
# the effective receptive field; read W. Luo and others, 2016.) Click a pixel, choose how many layers lie
# behind it. Try this, and explain each answer:
#
# 1. Click a house and go down the list of depths. At which of them does the frame first hold a balloon?
# 2. Which share of the gradient lies in the central half of the frame, after stage2 and after stage5? An
#    even light would leave a quarter there.
# 3. What changes at "+ attention block"? Ask from a house, then from the sky: where does the light beyond
#    the dashed frame fall, and how much is it?

# %%
widgets.ReceptiveField(trained, scene)

# %% [markdown]
# **What this does not show.** The town was built so that attention can solve it; in photographs far
# context helps less often and less clearly. This is one network from one seed; with another seed the same
# recipe may end near the vote (see the table of five seeds). And an attention picture says what was
# fetched, not what decided; for that a balloon must be repainted, as in lesson 0.

# %% [markdown] tags=["exercise:failure"]
# ### Exercise 2.3: A picture that fails
#
# *Difficulty 3/5, importance 3/5, about 10 min, objective 4, open*
#
# Use the network that *you* trained (`predict_labels` and `house_answer` are in
# `annlib.course.attention`). Find a house that it names wrongly, look at the attention of three of its
# pixels, and write two sentences: what was fetched, and which single change of the scene
# (`annlib.data.balloon_town.dataset.repaint`) would test your story.

# %% [markdown] tags=["instructor"]
# Rubric for 2.3 (0 to 4): names scene, house and pixels so that others find them (1); describes the
# weights, not the class (1); offers a story that could be wrong (1); names a repainting whose outcome
# would contradict it (1). No point for "the attention is wrong": say where it goes.
#
# Ten minutes for looking inside. Answers for the attention: (1) no: the balloon keeps nearly all for itself, for its rows are
# divided anew. (2) They spread widely; what comes back is a mean of much, and they do not need it. (3) It
# rises, then falls. (4) Depends on the run: let groups compare. The prompt that works best: *does the network see a balloon, or does it
# see paint?* (It matches paint; the pattern comes along as the value.)
#
# Five minutes for the receptive field. Answers: (1) At none: even the last frame, 63 x 63 pixels, ends below
# the balloons, so no network of these convolutions alone can name the house. (2) About half, then about
# 70 %: many paths lead from the middle, few from a corner. (3) From a house about 30 % of the gradient lie
# beyond the frame, half of that on the balloon of its paint; from the sky less, and on nothing special.

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

# %% [markdown] tags=["quiz:shapes"]
# ### Quiz 2.1: A map of 32 x 64 positions goes into a non-local block. What is the shape of its weights?
#
# - [ ] 32 x 64
#   That is the map. Each of its positions has a whole row of weights.
# - [x] 2048 x 2048
#   One row for each position that asks, one column for each that answers: 4 million numbers. A
#   large bill, and what the paper is about.
# - [ ] C x C
#   The product runs over channels, so they disappear; C x C would compare channels with each other.

# %% [markdown] tags=["quiz:axis"]
# ### Quiz 2.2: The softmax runs over the wrong axis, N instead of S. What goes wrong first?
#
# - [ ] Nothing; the matrix is square.
#   It has the same shape, which is why the mistake is so easy, but other numbers.
# - [x] One position may fetch several times its share, another almost nothing.
#   Columns sum to 1 then, rows do not: every answer is handed out once, whoever asks.
# - [ ] The weights become negative.
#   A softmax is positive along any axis.

# %% [markdown] tags=["quiz:symmetric"]
# ### Quiz 2.3: Query and key share one projection. Is the matrix of weights symmetric?
#
# - [ ] Yes: $\phi = \theta$, so $n$ looks at $s$ as $s$ looks at $n$.
#   That holds for the scores. The softmax then divides each row by its own sum.
# - [x] No, only the scores are.
#   A house may give its balloon most of its attention, while the balloon has many positions like itself
#   to share among.
# - [ ] Only for constant pictures is it not.
#   A constant picture makes it symmetric: all weights are equal. Others may, too.

# %% [markdown] tags=["quiz:scale"]
# ### Quiz 2.4: Why divide by $\sqrt{C}$?
#
# - [ ] Because there are many positions.
#   That would be $\sqrt{N}$. The number of positions does not make a score larger.
# - [ ] So that rows sum to 1.
#   The softmax does that at any scale.
# - [x] Because a sum of C products grows with $\sqrt{C}$, and large scores close the softmax.
#   The division keeps the spread of the scores independent of C.

# %% [markdown] tags=["quiz:start"]
# ### Quiz 2.5: What does $W_O = 0$ buy at the start of training?
#
# - [ ] The block learns nothing, which prevents overfitting.
#   $W_O$ itself gets a gradient in the first step; from then on all parts learn.
# - [x] The network with the block computes exactly what it computed without.
#   So it can be put into a trained network and takes part only as far as it helps.
# - [ ] All pixels look at each other evenly.
#   The weights are what they are; only what is fetched is multiplied by zero.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You wrote the weights ($N \times S$, rows sum to 1), saw what sameness and scale do to them, wrote a block
# that starts as the identity, trained a network with it, and counted where its houses look.
#
# Read more: X. Wang and others, *Non-local Neural Networks*, CVPR 2018; A. Vaswani and others, *Attention
# Is All You Need*, 2017, for the scale; Z. Zhu and others, *Asymmetric Non-local Neural Networks for
# Semantic Segmentation*, ICCV 2019, whose letters are used here.
#
# Next: [the bill](03_cost_of_attention.ipynb), on what all this asking costs.
