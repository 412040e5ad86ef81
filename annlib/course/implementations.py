"""Implementations of attention, AFNB and APNB to compare, with their FLOPs as closed formulas.

Two for each multiply-add of a convolution or a matrix product, as torch's counter counts them.
B batch, N = H * W positions of the map, S anchors.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from annlib.course.timing import (
    Comparison,
    Conditions,
    Finish,
    Form,
    Results,
    compare_forms,
    inference,
    made_up,
    placed,
    settled,
    training,
)
from annlib.engine.metrics import table
from annlib.engine.row_costs import device_name
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.model.fused import FoldedAFNB, FoldedAPNB, FoldedAttention
from benchmarks.mmseg_reference import (
    installed,
    our_names,
    reference_afnb,
    reference_apnb,
    reference_attention,
)


@dataclass(frozen=True)
class Shape:
    """What the work depends on. AFNB's two maps are of one size, as the dilated ResNet's are."""

    channels: int  # of the map that asks, and of the output
    key_in_channels: int  # of the map that answers; the same map for APNB
    key_channels: int
    value_channels: int
    size: tuple[int, int]
    pool_scales: tuple[int, ...] = (1, 3, 6, 8)
    shared: bool = True  # one projection for query and key, run once
    batch: int = 1

    @property
    def positions(self) -> int:
        """N"""
        return self.size[0] * self.size[1]

    @property
    def anchors(self) -> int:
        """S"""
        return sum(scale * scale for scale in self.pool_scales)


def product(rows: int, inner: int, columns: int) -> int:
    """(rows, inner) @ (inner, columns); a 1 x 1 convolution is one with a row per position."""
    return 2 * rows * inner * columns


def keys_queries(shape: Shape) -> int:
    """The projections that ReLU keeps at every position."""
    n, channels = shape.positions, shape.key_channels
    query = 0 if shape.shared else product(n, shape.channels, channels)
    return shape.batch * (product(n, shape.key_in_channels, channels) + query)


def attention_flops(shape: Shape, asked: int) -> int:
    """N positions ask `asked` others; values and output are projected at every position."""
    n, values = shape.positions, shape.value_channels
    return keys_queries(shape) + shape.batch * (
        product(n, shape.key_in_channels, values)
        + product(n, shape.key_channels, asked)
        + product(n, asked, values)
        + product(n, values, shape.channels)
    )


def nonlocal_flops(shape: Shape) -> int:
    """Of NonLocalAttention, however it is written: quadratic in N."""
    return attention_flops(shape, asked=shape.positions)


def asymmetric_flops(shape: Shape) -> int:
    """Of AsymmetricAttention: linear in N."""
    return attention_flops(shape, asked=shape.anchors)


def pooling_flops(shape: Shape, channels: int) -> int:
    """Of pyramid_means, which pools by matrix products: first along rows, then down columns."""
    height, width = shape.size
    across = product(sum(shape.pool_scales), width, height * channels)
    down = product(shape.anchors, height, channels)
    return shape.batch * (across + down)


def both_poolings_flops(shape: Shape) -> int:
    """Of the keys and of the map that answers."""
    return pooling_flops(shape, shape.key_channels) + pooling_flops(shape, shape.key_in_channels)


def folded_flops(shape: Shape) -> int:
    """Of FoldedAttention: values and output are projected at the anchors only."""
    n, anchors, values = shape.positions, shape.anchors, shape.value_channels
    attention = shape.batch * (
        product(anchors, shape.key_in_channels, values)
        + product(anchors, values, shape.channels)
        + product(n, shape.key_channels, anchors)
        + product(n, anchors, shape.channels)
    )
    return keys_queries(shape) + both_poolings_flops(shape) + attention


def block_flops(shape: Shape) -> int:
    """Of AFNB and APNB as they are written: attention, then the fusing of [context; features]."""
    fuse = shape.batch * product(shape.positions, 2 * shape.channels, shape.channels)
    return asymmetric_flops(shape) + fuse


def folded_block_flops(shape: Shape) -> int:
    """Of FoldedAFNB and FoldedAPNB: the context's half of the fusing acts on the anchors."""
    fuse = shape.batch * product(shape.positions + shape.anchors, shape.channels, shape.channels)
    return folded_flops(shape) + fuse


def training_flops(forward: int, without_weights: int = 0) -> int:
    """Forward and backward: a product has two gradients, one if the other factor is fixed."""
    return 3 * forward - without_weights


def nonlocal_bytes(shape: Shape) -> int:
    """That NonLocalAttention holds at once: float32 scores, their softmax, keys, values."""
    n = shape.positions
    return 4 * shape.batch * n * (2 * n + shape.key_channels + shape.value_channels)


FUSED_BACKENDS = [  # all but the one that writes the N x N weights down
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
]


class FusedNonLocalAttention(NonLocalAttention):
    """NonLocalAttention whose weights live in the cache, a few rows at a time, and never in memory.

    Memory grows with N, time with N * N as before. Raises ValueError for key and value channels
    that differ: the CPU's kernel takes only equal ones.
    """

    def __init__(self, channels: int, key_channels: int, value_channels: int):
        super().__init__(channels, key_channels, value_channels)
        if key_channels != value_channels:
            raise ValueError(
                f"{key_channels} key and {value_channels} value channels: torch's fused attention "
                "on a CPU wants as many of both. Compare at equal numbers, as the paper has them."
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        key, value = (
            rearrange(project(features), "b c h w -> b 1 (h w) c").contiguous()
            for project in (self.to_key, self.to_value)
        )  # (B, 1, N, C): one head; the kernels read the channels of a position side by side
        with sdpa_kernel(FUSED_BACKENDS):
            context = scaled_dot_product_attention(key, key, value, scale=self.scale)
        context = rearrange(context, "b 1 (h w) c -> b c h w", h=features.shape[2])
        return self.to_output(context)


Size = tuple[int, int]
PLAIN_BLOCK, FOLDED_BLOCK, REFERENCE = "plain", "folded", "reference"


@dataclass(frozen=True)
class Channels:
    """Of the maps between which the blocks stand. Defaults are the paper's."""

    low: int = 1024
    high: int = 2048
    hidden: int = 512
    key: int = 256
    value: int = 256
    pool_scales: tuple[int, ...] = (1, 3, 6, 8)

    def divided(self, by: int) -> "Channels":
        """Fewer of all, for a first look. Raises ValueError where fewer than two would be left."""
        counts = (self.low, self.high, self.hidden, self.key, self.value)
        if by < 1 or min(counts) < 2 * by:
            raise ValueError(
                f"{min(counts)} channels cannot be divided by {by}: the kernels of fused attention "
                f"want two or more. Divide by 1 to {min(counts) // 2}."
            )
        return Channels(*(count // by for count in counts), self.pool_scales)


@dataclass(frozen=True)
class Block:
    """One of the paper's blocks in all its forms, of the same weights, and what to call it with."""

    name: str
    shape: Shape
    forms: dict[str, nn.Module]
    inputs: tuple[Tensor, ...]  # the last is the map that asks
    our_names: Callable[[Results], Results]  # from the reference's


def in_all_forms(
    plain: nn.Module,
    folded: nn.Module,
    reference: Callable[[nn.Module], nn.Module],
    conditions: Conditions,
) -> dict[str, nn.Module]:
    """A block, and what computes the same with its weights."""
    folded.load_state_dict(plain.state_dict())
    forms = {PLAIN_BLOCK: plain, FOLDED_BLOCK: placed(folded, conditions)}
    if installed():
        forms[REFERENCE] = placed(reference(plain), conditions)
    return forms


def afnb(channels: Channels, size: Size, conditions: Conditions) -> Block:
    """The block that fuses the last two stages of the backbone."""
    widths = (channels.low, channels.high, channels.key, channels.value, channels.pool_scales)
    inputs = (made_up(channels.low, size, conditions), made_up(channels.high, size, conditions))
    plain = settled(placed(AFNB(*widths), conditions), *inputs)
    forms = in_all_forms(plain, FoldedAFNB(*widths), reference_afnb, conditions)
    shape = Shape(
        channels.high, channels.low, channels.key, channels.value, size, channels.pool_scales, False
    )
    return Block("AFNB", shape, forms, inputs, partial(our_names, block="afnb"))


def apnb(channels: Channels, size: Size, conditions: Conditions) -> Block:
    """The block between the reduced features and the classifier."""
    widths = (channels.hidden, channels.key, channels.value, channels.pool_scales)
    features = made_up(channels.hidden, size, conditions)
    plain = settled(placed(APNB(*widths), conditions), features)
    forms = in_all_forms(plain, FoldedAPNB(*widths), reference_apnb, conditions)
    shape = Shape(
        channels.hidden, channels.hidden, channels.key, channels.value, size, channels.pool_scales
    )
    return Block("APNB", shape, forms, (features,), partial(our_names, block="apnb"))


def formulas(shape: Shape, steps: bool) -> dict[str, int]:
    """Floating point operations of each form; the reference runs a shared projection twice."""
    found = {
        PLAIN_BLOCK: block_flops(shape),
        FOLDED_BLOCK: folded_block_flops(shape),
        REFERENCE: block_flops(replace(shape, shared=False)),
    }
    if not steps:
        return found
    fixed = {FOLDED_BLOCK: both_poolings_flops(shape)}  # the means' weights are nobody's to learn
    return {name: training_flops(flops, fixed.get(name, 0)) for name, flops in found.items()}


def block_forms(block: Block, steps: bool, conditions: Conditions) -> list[Form]:
    """Forward passes in inference, or steps of a training: forward and backward."""
    flops = formulas(block.shape, steps)
    upstream = made_up(block.shape.channels, block.shape.size, conditions) if steps else None
    found = []
    for name, module in block.forms.items():
        if not steps:
            compute = inference(module, block.inputs)
        elif name == REFERENCE:
            compute = training(module, block.inputs, upstream, block.our_names)
        else:
            compute = training(module, block.inputs, upstream)
        found.append(Form(name, compute, flops[name], None if name == PLAIN_BLOCK else PLAIN_BLOCK))
    return found


def compare_blocks(
    sizes: Sequence[Size], channels: Channels, conditions: Conditions
) -> Iterator[Comparison]:
    """Both blocks, in inference and in training, at maps of each size."""
    for size in sizes:
        for make in (afnb, apnb):
            block = make(channels, size, conditions)
            for steps, what in ((False, "forward"), (True, "training step")):
                title = f"{block.name} {size[0]} x {size[1]}, {what}"
                forms = block_forms(block, steps, conditions)
                yield compare_forms(title, size, forms, conditions)


NONLOCAL, FUSED = "non-local", "non-local, fused"
PLAIN_APNB, FOLDED_APNB = "APNB", "APNB, folded"
THEIR_NONLOCAL, THEIR_APNB = "reference, non-local", "reference, APNB"


class OfOneMap(nn.Module):
    """Asymmetric attention of a map to itself."""

    def __init__(self, attention: AsymmetricAttention):
        super().__init__()
        self.attention = attention

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return self.attention(features, features)


def attention_modules(channels: Channels, features: Tensor) -> dict[str, nn.Module]:
    """All forms with the same weights; ordinary ones name theirs as asymmetric ones do."""
    wide, key, value, scales = channels.high, channels.key, channels.value, channels.pool_scales
    plain = AsymmetricAttention(wide, wide, key, value, scales, True)
    settled(plain.to(features.device), features, features)
    folded = FoldedAttention(wide, wide, key, value, scales, True)
    ordinary, fused = (
        form(wide, key, value) for form in (NonLocalAttention, FusedNonLocalAttention)
    )
    for module in (folded, ordinary, fused):
        module.load_state_dict(plain.state_dict())
    modules = {
        NONLOCAL: ordinary,
        FUSED: fused,
        PLAIN_APNB: OfOneMap(plain),
        FOLDED_APNB: OfOneMap(folded),
    }
    if installed():
        modules[THEIR_NONLOCAL] = reference_attention(plain, pooled=False)
        modules[THEIR_APNB] = reference_attention(plain, pooled=True)
    return modules


def attention_forms(channels: Channels, size: Size, conditions: Conditions) -> list[Form]:
    """In inference, at the width of the backbone's last stage, as the paper measured."""
    features = made_up(channels.high, size, conditions)
    modules = attention_modules(channels, features)
    wide = channels.high
    shape = Shape(wide, wide, channels.key, channels.value, size, channels.pool_scales)
    twice = replace(shape, shared=False)  # the reference runs the shared projection twice
    facts = {  # operations, the form that it is like, bytes
        NONLOCAL: (nonlocal_flops(shape), None, nonlocal_bytes(shape)),
        FUSED: (nonlocal_flops(shape), NONLOCAL, 0),
        PLAIN_APNB: (asymmetric_flops(shape), None, 0),
        FOLDED_APNB: (folded_flops(shape), PLAIN_APNB, 0),
        THEIR_NONLOCAL: (nonlocal_flops(twice), NONLOCAL, nonlocal_bytes(shape)),
        THEIR_APNB: (asymmetric_flops(twice), PLAIN_APNB, 0),
    }
    return [
        Form(name, inference(placed(module, conditions), (features,)), *facts[name])
        for name, module in modules.items()
    ]


def compare_attentions(
    sizes: Sequence[Size], channels: Channels, conditions: Conditions
) -> Iterator[Comparison]:
    """At maps of each size."""
    for size in sizes:
        forms = attention_forms(channels, size, conditions)
        yield compare_forms(f"{size[0]} x {size[1]}", size, forms, conditions)


LEGEND = """On {device} with {threads} CPU threads, float32, channels {layout}. Times are medians
(fastest to slowest) of {repeat} calls each; the forms take turns. MiB: the most that tensors held
at once, beyond the inputs and the weights; a CPU's libraries take some more. In it is the output,
which every form has to write: "times its output" compares with that. GFLOPs: 10^9 operations, two
for a multiply-add, by torch's counter and by a closed formula. Difference: the largest from the
first form of the same function, in the output and, in training, in the gradients of inputs and
weights; as a share of the largest number in the same map or layer."""


def settings(channels: Channels, conditions: Conditions) -> dict[str, Any]:
    """All that the numbers depend on, besides the versions of the libraries."""
    return {
        "device": device_name(conditions.device),
        "threads": torch.get_num_threads(),
        "precision": "fp32",
        "repeat": conditions.repeat,
        "channels_last": conditions.channels_last,
        "channels": asdict(channels),
    }


def legend(conditions: Conditions) -> str:
    return LEGEND.format(
        repeat=conditions.repeat,
        layout="last" if conditions.channels_last else "first",
        device=device_name(conditions.device),
        threads=torch.get_num_threads(),
    )


def times(larger: float, smaller: float) -> str:
    return f"{larger / smaller:.2f}"


def row(comparison: Comparison, finish: Finish, rivals: Sequence[str]) -> list[str]:
    """One form beside those that it is to beat."""
    found = [comparison.finish(rival) for rival in rivals]
    timing, needs = finish.timing, finish.needs
    first = found[0]
    return [
        f"{comparison.title}: {finish.name}",
        f"{timing.median:.1f} ({timing.fastest:.1f} to {timing.slowest:.1f})",
        *(times(rival.timing.median, timing.median) if rival else "-" for rival in found),
        f"{needs.peak_bytes / 2**20:.1f}",
        times(first.needs.peak_bytes, needs.peak_bytes) if first else "-",
        times(needs.peak_bytes, needs.output_bytes),
        f"{needs.flops / 1e9:.2f}",
        f"{finish.formula / 1e9:.2f}",
        "-" if needs.difference is None else f"{needs.difference:.0e}",
    ]


def forms_table(what: str, comparisons: Sequence[Comparison], rivals: Sequence[str]) -> str:
    """A row for each form that was measured, then notes on the others."""
    header = [
        what,
        "ms",
        *(f"times faster than {rival}" for rival in rivals),
        "MiB",
        f"times less than {rivals[0]}",
        "times its output",
        "GFLOPs",
        "by formula",
        "difference",
    ]
    rows = [
        row(comparison, finish, rivals)
        for comparison in comparisons
        for finish in comparison.finishes
    ]
    notes = [note for comparison in comparisons for note in comparison.notes]
    return "\n\n".join([table(header, rows), *notes])
