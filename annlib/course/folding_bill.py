"""The operations of the paper's blocks step by step, as they are written and folded.

N = H * W positions, S anchors.
"""

from annlib.speed.formulas import Shape, both_poolings_flops, product


def block_shape(name: str, size: tuple[int, int], channels: int) -> Shape:
    """AFNB or APNB on maps of `size`; `channels` of the map that asks.

    As in the published networks AFNB's lower map has half of the channels and its queries an
    eighth; APNB's queries have half of its channels.
    """
    if name == "AFNB":
        return Shape(channels, channels // 2, channels // 8, channels // 8, size, shared=False)
    return Shape(channels, channels, channels // 2, channels // 2, size)


def step_gflops(shape: Shape, folded: bool) -> dict[str, float]:
    """GFLOPs of each step of a block; what folding moves to the anchors runs S times, not N."""
    n, anchors = shape.positions, shape.anchors
    rows = anchors if folded else n
    key, value, wide = shape.key_channels, shape.value_channels, shape.channels
    query = 0 if shape.shared else product(n, wide, key)
    carried = wide if folded else value  # channels that the weights carry to the positions
    steps = {
        "query and key": product(n, shape.key_in_channels, key) + query,
        "value": product(rows, shape.key_in_channels, value),
        "cell means": both_poolings_flops(shape) if folded else 0,
        "scores": product(n, key, anchors),
        "output": product(rows, value, wide),
        "fuse, context": product(rows, wide, wide),
        "weights x anchors": product(n, anchors, carried),
        "fuse, features": product(n, wide, wide),
    }
    return {name: flops / 1e9 for name, flops in steps.items()}
