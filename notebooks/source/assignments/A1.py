# %% [markdown] tags=["header"]
# # A1. The non-local block and its cost
#
# - **Before:** lessons 1 to 3
# - **Needs:** torch and JupyterLab; no network, no GPU, not annlib
# - **Points:** 20. Of each task stands how many.
# - **Late:** 10 % less for each day begun; nothing after three days.
# - **Help:** the check below each task runs at home. Grading asks more: other sizes, half precision, fresh numbers.
#
# Keep the names of functions, classes and parts: grading finds your work by them. Where it stands in the
# notebook does not matter. You may add cells: grading stops a cell after 15 s of the
# processor, and all cells together after 90 s; a cell that was stopped does not stop the others. Work alone; say in
# the last cell who you talked to.

# %% tags=["setup"]
import math
import time
from math import sqrt

import a1_checks as checks
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %% [markdown] tags=["exercise:weights"]
# ## Task 1: Weights, and keys to be ignored
# *6 points, about 30 min*
#
# An image may have pixels that mean nothing: the border of a rotated photo, a part that was cut out. They
# must not be keys. Write the attention weights with the scale $1/\sqrt{C}$, where `valid` says which keys get
# weight. It must also hold in half precision.


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
# Now the whole block: project, attend, sum the values, project back, add the input. Pixels that are not valid are
# not keys, but they are query positions. It must work for a map of one pixel, too.


# %% tags=["answer:block"]
class NonlocalBlock(nn.Module):
    """Every pixel attends to every valid pixel.  Leave __init__ as it is, but for the start."""

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

        A fresh block changes nothing.
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
# How many operations does one forward pass of *this* block take, for one image? A multiply-add is two
# operations. Convolutions and matrix products count; softmax, biases and sums do not.


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
# Your formula says how many times more operations a map with twice the height and width needs. Measure how many
# times longer your block takes. The two differ: why? Say what you measured, how often, how much the times spread,
# and by which second measurement one could find out that your reason is wrong. Half a page, in the next cell.

# %% [markdown] tags=["open:measured-ratio"]
# *Your answer*

# %% [markdown] tags=["instructor"]
# Rubric, one line each: both ratios with size, machine and repetitions (1); the spread (1); a reason that the
# formula leaves out: memory traffic, softmax, start-up of calls, threads (2); a second measurement that could
# refute it (1). Usual mistakes: one single timing; the first call counted, too; a GPU without synchronising.
