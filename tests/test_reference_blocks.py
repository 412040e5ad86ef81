"""The reference's blocks with our weights."""

import pytest
import torch
from tiny import wake
from torch import Tensor

from annlib.model.asymmetric import AFNB, APNB
from annlib.model.baselines import NonLocalAttention
from benchmarks.mmseg_reference import (
    installed,
    our_names,
    reference_afnb,
    reference_apnb,
    reference_attention,
    their_names,
)

needs_reference = pytest.mark.skipif(
    not installed(), reason="the extra `reference` is not installed"
)
SCALES = (1, 2, 3)
OURS = {"afnb": AFNB(4, 6, 5, 5, SCALES), "apnb": APNB(6, 5, 5, SCALES)}


@pytest.mark.parametrize("block", OURS)
def test_names_lead_there_and_back(block: str) -> None:
    weights = OURS[block].state_dict()
    theirs = their_names(weights, block)
    assert all(name.startswith(("stages.0.", "bottleneck.")) for name in theirs)
    back = our_names(theirs, block)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_weight_that_is_listed_twice_may_come_once() -> None:
    theirs = their_names(OURS["apnb"].state_dict(), "apnb")
    once = {name: tensor for name, tensor in theirs.items() if "query_project" not in name}
    assert len(once) < len(theirs)
    assert our_names(once, "apnb").keys() == OURS["apnb"].state_dict().keys()


def features(channels: int) -> Tensor:
    return torch.randn(2, channels, 7, 9)


@needs_reference
def test_their_afnb_is_ours() -> None:
    ours, maps = wake(AFNB(4, 6, 5, 5, SCALES)), (features(4), features(6))
    torch.testing.assert_close(reference_afnb(ours)(*maps), ours(*maps))


@needs_reference
def test_their_apnb_is_ours() -> None:
    ours, x = wake(APNB(6, 5, 5, SCALES)), features(6)
    torch.testing.assert_close(reference_apnb(ours)(x), ours(x))


@needs_reference
def test_their_attention_is_ours_pooled_or_not() -> None:
    ours, x = wake(APNB(6, 5, 5, SCALES)).attention, features(6)
    ordinary = NonLocalAttention(6, 5, 5)
    ordinary.load_state_dict(ours.state_dict())
    torch.testing.assert_close(reference_attention(ours, pooled=True)(x), ours(x, x))
    torch.testing.assert_close(reference_attention(ours, pooled=False)(x), ordinary(x))
