"""The attention alone: ordinary and asymmetric, each as written and as fast as we can."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn

from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.model.folded import FoldedAttention
from annlib.speed.blocks import Channels, Size
from annlib.speed.calls import inference, made_up, placed, settled
from annlib.speed.forms import Comparison, Conditions, Form, compare_forms
from annlib.speed.formulas import (
    Shape,
    asymmetric_flops,
    folded_flops,
    nonlocal_bytes,
    nonlocal_flops,
)
from annlib.speed.fused import FusedNonLocalAttention
from annlib.speed.reference import installed
from annlib.speed.reference_blocks import reference_attention

NONLOCAL, FUSED = "non-local", "non-local, fused"
PLAIN, FOLDED = "APNB", "APNB, folded"
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
    modules = {NONLOCAL: ordinary, FUSED: fused, PLAIN: OfOneMap(plain), FOLDED: OfOneMap(folded)}
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
        PLAIN: (asymmetric_flops(shape), None, 0),
        FOLDED: (folded_flops(shape), PLAIN, 0),
        THEIR_NONLOCAL: (nonlocal_flops(twice), NONLOCAL, nonlocal_bytes(shape)),
        THEIR_APNB: (asymmetric_flops(twice), PLAIN, 0),
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
