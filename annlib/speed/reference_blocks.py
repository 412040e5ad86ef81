"""The reference's own AFNB, APNB and attention, with the weights of ours."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.reference_weights import from_mmseg, to_mmseg
from annlib.speed.reference import import_reference

THEIRS = {"afnb": "decode_head.fusion.", "apnb": "decode_head.context."}
ATTENTION = "stages.0."
LAYERS = {"conv_cfg": None, "norm_cfg": {"type": "BN"}, "act_cfg": {"type": "ReLU"}}


class SelfAttention(nn.Module):
    """The reference's attention, asked by and about one map."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return self.attention(features, features)


def settings(attention: AsymmetricAttention) -> dict[str, Any]:
    """What its blocks are made of: channels of keys and values are one number there."""
    return {
        "channels": attention.to_value.out_channels,
        "key_pool_scales": attention.pool.pool_scales,
        **LAYERS,
    }


def reference_afnb(ours: AFNB) -> nn.Module:
    """(low (B, Cl, h, w), high (B, Ch, H, W)) -> (B, Ch, H, W)"""
    import_reference()
    from mmseg.models.decode_heads.ann_head import AFNB as Theirs

    low, high = ours.attention.to_key[0].in_channels, ours.attention.to_output.out_channels
    theirs = Theirs(
        low_in_channels=low,
        high_in_channels=high,
        out_channels=high,
        query_scales=(1,),
        **settings(ours.attention),
    )
    theirs.load_state_dict(their_names(ours.state_dict(), "afnb"))
    return theirs


def reference_apnb(ours: APNB) -> nn.Module:
    """(B, C, H, W) -> (B, C, H, W)"""
    import_reference()
    from mmseg.models.decode_heads.ann_head import APNB as Theirs

    channels = ours.attention.to_output.out_channels
    theirs = Theirs(
        in_channels=channels,
        out_channels=channels,
        query_scales=(1,),
        **settings(ours.attention),
    )
    theirs.load_state_dict(their_names(ours.state_dict(), "apnb"))
    return theirs


def reference_attention(ours: AsymmetricAttention, pooled: bool) -> SelfAttention:
    """APNB's attention or, not pooled, the ordinary non-local one.  (B, C, H, W) -> same"""
    import_reference()
    from mmseg.models.decode_heads.ann_head import SelfAttentionBlock

    channels = ours.to_output.out_channels
    theirs = SelfAttentionBlock(
        low_in_channels=channels,
        high_in_channels=channels,
        out_channels=channels,
        share_key_query=True,
        query_scale=1,
        **settings(ours),
    )
    weights = {f"attention.{name}": tensor for name, tensor in ours.state_dict().items()}
    named = their_names(weights, "apnb")
    theirs.load_state_dict({name.removeprefix(ATTENTION): named[name] for name in named})
    if not pooled:
        theirs.key_downsample = None
    return SelfAttention(theirs)


def their_names(weights: Mapping[str, Tensor], block: str) -> dict[str, Tensor]:
    """Names of a block of ours, "afnb" or "apnb" -> of theirs."""
    named = to_mmseg({f"{block}.{name}": tensor for name, tensor in weights.items()})
    return {name.removeprefix(THEIRS[block]): tensor for name, tensor in named.items()}


def our_names(weights: Mapping[str, Tensor], block: str) -> dict[str, Tensor]:
    """Names of a block of theirs -> of ours. A weight they list twice may come once."""
    named = from_mmseg({THEIRS[block] + name: tensor for name, tensor in weights.items()})
    return {name.removeprefix(f"{block}."): tensor for name, tensor in named.items()}
