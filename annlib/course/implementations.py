"""AFNB and APNB as they are written, folded and, where it is installed, the reference's."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from annlib.model.asymmetric import AFNB, APNB
from annlib.model.folded import FoldedAFNB, FoldedAPNB
from annlib.speed.calls import inference, made_up, placed, settled, training
from annlib.speed.forms import Comparison, Conditions, Form, Results, compare_forms
from annlib.speed.formulas import (
    Shape,
    block_flops,
    both_poolings_flops,
    folded_block_flops,
    training_flops,
)
from annlib.speed.reference import installed
from annlib.speed.reference_blocks import our_names, reference_afnb, reference_apnb

Size = tuple[int, int]
PLAIN, FOLDED, REFERENCE = "plain", "folded", "reference"


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
    forms = {PLAIN: plain, FOLDED: placed(folded, conditions)}
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
        PLAIN: block_flops(shape),
        FOLDED: folded_block_flops(shape),
        REFERENCE: block_flops(replace(shape, shared=False)),
    }
    if not steps:
        return found
    fixed = {FOLDED: both_poolings_flops(shape)}  # the means' weights are nobody's to learn
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
        found.append(Form(name, compute, flops[name], None if name == PLAIN else PLAIN))
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
