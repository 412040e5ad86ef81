"""Means over the cells of grids: the anchors of a map, in one pass over it.

B batch, C channels, H x W the map, S = the cells of all grids together.
"""

import torch
from torch import Tensor


def cell_edges(side: int, scale: int) -> tuple[list[int], list[int]]:
    """Starts and ends of `scale` cells along a side, as adaptive pooling cuts them.

    A cell starts at the floor and ends at the ceiling: where the side does not divide by the
    grid, neighbours overlap by one position.
    """
    starts = [cell * side // scale for cell in range(scale)]
    return starts, [-(-(cell + 1) * side // scale) for cell in range(scale)]


def cell_means(side: int, pool_scales: tuple[int, ...], like: Tensor) -> Tensor:
    """The matrix that takes a line of positions to the means of its cells, grid after grid.

    -> (sum of pool_scales, side), rows sum to 1, with the type and device of `like`
    """
    edges = [cell_edges(side, scale) for scale in pool_scales]
    starts = torch.tensor([start for starts, _ in edges for start in starts], device=like.device)
    ends = torch.tensor([end for _, ends in edges for end in ends], device=like.device)
    place = torch.arange(side, device=like.device)
    inside = (starts[:, None] <= place) & (place < ends[:, None])
    return inside.to(like.dtype) / (ends - starts)[:, None]


def pyramid_means(x: Tensor, pool_scales: tuple[int, ...]) -> Tensor:
    """What PyramidPool computes, as anchors in rows.  (B, C, H, W) -> (B, S, C)

    A mean over a cell is a mean along its rows, then of those down its column. So the map is read
    once for all grids, not once for each, and so is its gradient; adaptive_avg_pool2d on a CPU
    moreover copies each gradient to another layout.
    """
    height, width = x.shape[2:]
    across = cell_means(width, pool_scales, x) @ x.movedim(1, -1)  # (B, H, sum of scales, C)
    down = cell_means(height, pool_scales, x)
    grids = zip(pool_scales, down.split(pool_scales), across.split(pool_scales, 2), strict=True)
    means = [  # (scale, H) @ (B, H, scale * C)
        (d @ a.flatten(2)).unflatten(2, (scale, -1)).flatten(1, 2) for scale, d, a in grids
    ]
    return torch.cat(means, dim=1)
