# %% [markdown] tags=["header"]
# # A2. Asymmetric attention with any pyramid
#
# - **Before:** lessons 4 and 5
# - **Needs:** torch and JupyterLab; no network, no GPU, not annlib
# - **Points:** 20. The points of each task are below its heading.
# - **Late:** 10 % less for each day begun; no points after three days.
# - **Help:** the check below each task runs at home. Grading tests more: other pyramids, other sizes, new random numbers.
#
# Keep the names of functions, classes and parameters: grading finds your work by them. Their place in the
# notebook does not matter. You may add cells. Grading stops a cell after 15 s of processor time, and all cells together
# after 90 s; if a cell is stopped, the others still run. Work alone, and list in the last cell the people you talked to.

# %% tags=["setup"]
import math
import time
from math import sqrt

import a2_checks as checks
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# %% [markdown] tags=["exercise:sampling"]
# ## Task 1: Anchors of any pyramid
# *5 points, about 30 min*
#
# A level $n$ divides a feature map into $n \times n$ cells; the mean of a cell is an anchor. On a side of $H$ positions,
# cell $i$ starts at $\lfloor iH/n \rfloor$ and ends before $\lceil (i+1)H/n \rceil$, so that no position is left out:
# where $n$ does not divide $H$, neighbouring cells share some positions. Feature maps need not be square, and levels come
# in any order.


# %% tags=["answer:sampling"]
def sample(features: Tensor, levels: tuple[int, ...]) -> Tensor:
    """The anchors of all levels, level by level in the given order, each row by row.

    (B, C, H, W) -> (B, C, S); S is the sum of n * n over the levels.
    """
    # solution
    cells = [F.adaptive_avg_pool2d(features, level).flatten(2) for level in levels]
    return torch.cat(cells, 2)


# %% tags=["check:sampling"]
checks.sample(sample)

# %% [markdown] tags=["exercise:block"]
# ## Task 2: Attention between two levels
# *6 points, about 50 min*
#
# Each position of `high` attends to the anchors of `low`. Project keys and values with their convolutions, sample
# them, attend with the scale $1/\sqrt{C}$, where $C$ is the number of key channels, concatenate the context and `high`,
# and project. The two feature maps may differ in channels and in size.
#
# This block is a **simplified version** of the paper's blocks. AFNB fuses two levels of a backbone and APNB uses one level
# twice, as here. But the published blocks also have a projection $W_O$ after the attention and batch norm and ReLU after
# their projections. In APNB, query and key share one projection; here the query has its own.


# %% tags=["answer:block"]
class AsymmetricBlock(nn.Module):
    """Every position of `high` attends to the anchors of `low`.  Leave __init__ as it is."""

    def __init__(
        self, high_channels: int, low_channels: int, key_channels: int, levels: tuple[int, ...]
    ):
        super().__init__()
        self.levels = levels
        self.to_query = nn.Conv2d(high_channels, key_channels, 1)
        self.to_key = nn.Conv2d(low_channels, key_channels, 1)
        self.to_value = nn.Conv2d(low_channels, key_channels, 1)
        self.to_output = nn.Conv2d(key_channels + high_channels, high_channels, 1)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """(B, C, H, W), (B, c, h, w) -> (B, C, H, W)

        to_output reads the context first, then `high`.
        """
        # solution
        query = self.to_query(high).flatten(2)
        key = sample(self.to_key(low), self.levels)
        value = sample(self.to_value(low), self.levels)
        weights = (query.mT @ key / sqrt(query.shape[1])).softmax(-1)
        context = (weights @ value.mT).mT.unflatten(2, high.shape[2:])
        return self.to_output(torch.cat([context, high], 1))


# %% tags=["check:block"]
checks.asymmetric_block(AsymmetricBlock)

# %% [markdown] tags=["exercise:operations"]
# ## Task 3: What it costs
# *4 points, about 25 min*
#
# How many operations does one forward pass of *this* block take, for one pair of feature maps? A multiply-add counts as
# two operations. Count convolutions and matrix products; do not count sampling, softmax and biases.


# %% tags=["answer:operations"]
def asymmetric_operations(
    high: tuple[int, int],
    low: tuple[int, int],
    channels: tuple[int, int],
    key_channels: int,
    levels: tuple[int, ...],
) -> int:
    """high, low: (height, width) of the maps; channels: of (high, low)  -> operations"""
    # solution
    num_queries, num_low = high[0] * high[1], low[0] * low[1]
    anchors = sum(level**2 for level in levels)
    projections = key_channels * (num_queries * channels[0] + 2 * num_low * channels[1])
    output = num_queries * (key_channels + channels[0]) * channels[0]
    products = 2 * num_queries * anchors * key_channels
    return 2 * (projections + output + products)


# %% tags=["check:operations"]
checks.asymmetric_operations(asymmetric_operations)

# %% [markdown] tags=["exercise:design-change"]
# ## Task 4: A change of the design
# *5 points, about 60 min, open*
#
# Change one property of the block: other levels, the largest value of a cell instead of the mean, single positions,
# cells that follow the content of the image, projections after sampling. Measure what your change costs or saves, and how
# much it changes the output, for at least two sizes of feature maps. What may you claim, and what not? What would you have
# to measure before you build a network this way? Half a page and the code, in the next cells.

# %% [markdown] tags=["open:design-change"]
# *Your answer*

# %% [markdown] tags=["instructor"]
# Rubric, one line each: one change that can be built from the description (1); cost measured, repeated, with
# spread, or operations counted (1); the change of the output as a number, such as a relative error (1); a claim
# that is limited to what was measured, with its sizes (1); what must still be measured, above all mIoU after training
# over several seeds (1). Usual mistakes: two changes at the same time; a timing without warm-up; random features used as if
# they were those of images; projections after sampling presented as a new method, although the output is the same.
