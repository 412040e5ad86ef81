# %% [markdown] tags=["header"]
# # A1. The non-local block and its cost
#
# - **Before:** lessons 1 to 3
# - **Needs:** torch and JupyterLab; no network, no GPU, not annlib
# - **Points:** 20. The points of each task are below its heading.
# - **Late:** 10 % less for each day begun; no points after three days.
# - **Help:** the check below each task runs at home. Grading tests more: other sizes, half precision, new random numbers.
#
# Keep the names of functions, classes and parameters: grading finds your work by them. Their place in the
# notebook does not matter. You may add cells. Grading stops a cell after 15 s of processor time, and all cells together
# after 90 s; if a cell is stopped, the others still run. Work alone, and list in the last cell the people you talked to.

# %% tags=["setup"]
import math
import time
from math import sqrt

import a1_checks as checks
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %% [markdown]
# ## Background: masks and half precision
#
# Two techniques that the lessons do not cover are needed in Task 1.
#
# **A mask removes keys.** A key gets the attention weight 0 if its score is $-\infty$, because $e^{-\infty} = 0$.
# So the mask is applied to the scores, *before* the softmax; the remaining weights of a row then still sum to 1.
# `scores.masked_fill(mask, -torch.inf)` does that where `mask` is True; `mask` is broadcast to the shape of `scores`.
# If all keys of an image are removed, every score of a row is $-\infty$ and the softmax computes 0 / 0, which is NaN.
# `nan_to_num(0)` replaces NaN by 0.
#
# ```
# scores = torch.tensor([1.0, 2.0, 3.0])
# scores.masked_fill(torch.tensor([False, False, True]), -torch.inf).softmax(-1)   # 0.27, 0.73, 0.00
# ```
#
# **Half precision** (`torch.float16`) has numbers up to 65504 and about three decimal digits. A result should have
# the dtype of its input, so do not create new tensors in `float32`. Large constants such as `1e9` do not exist in
# `float16`; $-\infty$ does. A Python number such as `sqrt(C)` does not change the dtype of a tensor.

# %% [markdown] tags=["exercise:weights"]
# ## Task 1: Attention weights with a mask
# *6 points, about 30 min*
#
# An image may have pixels without meaning: the border of a rotated photo, a part that was cut out. They
# must not be keys. Compute the attention weights with the scale $1/\sqrt{C}$; `valid` says which keys may get
# a weight. The function must also work in half precision.


# %% tags=["answer:weights"]
def attention_weights(query: Tensor, key: Tensor, valid: Tensor | None = None) -> Tensor:
    """query (B, C, N), key (B, C, S), valid bool (B, S) or None: all -> (B, N, S), like query

    Rows sum to 1. Keys that are not valid get exactly 0; an image without valid keys gets zeros.
    """
    # solution
    scores = query.mT @ key / sqrt(query.shape[1])
    if valid is None:
        return scores.softmax(-1)
    weights = scores.masked_fill(~valid[:, None], -torch.inf).softmax(-1)
    return weights.nan_to_num(0)


# %% tags=["check:weights"]
checks.attention_weights(attention_weights)

# %% [markdown] tags=["exercise:block"]
# ## Task 2: The block
# *6 points, about 40 min*
#
# Now write the whole block: project, compute the weights, sum the values, project back, add the input. Pixels that are
# not valid are not keys, but they are query positions. The block must also work for a feature map of one pixel.


# %% tags=["answer:block"]
class NonlocalBlock(nn.Module):
    """Every pixel attends to every valid pixel.  In __init__ add only the initialisation."""

    def __init__(self, channels: int, key_channels: int):
        super().__init__()
        self.to_query = nn.Conv2d(channels, key_channels, 1)
        self.to_key = nn.Conv2d(channels, key_channels, 1)
        self.to_value = nn.Conv2d(channels, key_channels, 1)
        self.to_output = nn.Conv2d(key_channels, channels, 1)
        # solution
        nn.init.zeros_(self.to_output.weight)
        nn.init.zeros_(self.to_output.bias)

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """(B, C, H, W), bool (B, H, W) or None: all -> (B, C, H, W)

        A new block returns its input.
        """
        # solution
        query = self.to_query(features).flatten(2)
        key, value = self.to_key(features).flatten(2), self.to_value(features).flatten(2)
        flat = None if valid is None else valid.flatten(1)
        context = (attention_weights(query, key, flat) @ value.mT).mT
        return features + self.to_output(context.unflatten(2, features.shape[2:]))


# %% tags=["check:block"]
checks.nonlocal_block(NonlocalBlock)

# %% [markdown] tags=["exercise:operations"]
# ## Task 3: What it costs
# *3 points, about 20 min*
#
# How many operations does one forward pass of *this* block take, for one image? A multiply-add counts as two
# operations. Count convolutions and matrix products; do not count softmax, biases and sums.


# %% tags=["answer:operations"]
def block_operations(height: int, width: int, channels: int, key_channels: int) -> int:
    """Operations of NonlocalBlock(channels, key_channels) on a map (1, channels, height, width)"""
    # solution
    n = height * width
    return 2 * (4 * n * channels * key_channels + 2 * n * n * key_channels)


# %% tags=["check:operations"]
checks.block_operations(block_operations)

# %% [markdown] tags=["exercise:measured-ratio"]
# ## Task 4: Why the measured ratio differs
# *5 points, about 40 min, open*
#
# Your formula says how many times more operations a feature map with twice the height and width needs. Measure how many
# times longer your block takes. The two ratios differ: why? Say what you measured, how often, and how much the times
# vary. Describe a second measurement that could show that your explanation is wrong. Half a page, in the next cell.

# %% [markdown] tags=["open:measured-ratio"]
# *Your answer*

# %% [markdown] tags=["instructor"]
# Rubric, one line each: both ratios with size, machine and repetitions (1); the spread (1); an explanation that the
# formula leaves out: memory traffic, softmax, overhead of calls, threads (2); a second measurement that could
# refute it (1). Usual mistakes: a single timing; no warm-up call; a GPU without synchronising.
