"""The ordinary block with fused attention: the same function, without its weights in memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from annlib.course.implementations import FusedNonLocalAttention
from annlib.engine.profiler import peak_bytes
from annlib.model.baselines import NonLocalAttention

COUNT = st.integers(1, 9)
KEYS = st.integers(2, 9)  # the CPU's kernel declines a single one


def pair(channels: int, key_channels: int) -> tuple[NonLocalAttention, FusedNonLocalAttention]:
    """Both forms with the same weights, none of which is idle."""
    ours = NonLocalAttention(channels, key_channels, key_channels).eval()
    ours.to_output.reset_parameters()
    fused = FusedNonLocalAttention(channels, key_channels, key_channels).eval()
    fused.load_state_dict(ours.state_dict())
    return ours, fused


@settings(deadline=None)
@given(COUNT, KEYS, COUNT, COUNT, st.integers(1, 3))
def test_fused_form_equals_the_one_written_out(
    channels: int, key_channels: int, height: int, width: int, batch: int
) -> None:
    ours, fused = pair(channels, key_channels)
    x = torch.randn(batch, channels, height, width)
    with torch.inference_mode():
        torch.testing.assert_close(fused(x), ours(x), rtol=1e-4, atol=1e-5)


def test_weights_of_all_pairs_are_never_in_memory() -> None:
    ours, fused = pair(4, 4)
    x = torch.randn(1, 4, 40, 50)
    with torch.inference_mode():
        written, held = (peak_bytes(lambda form=form: form(x), x.device) for form in (ours, fused))
    assert written > 4 * 2000**2 > 10 * held


def test_unequal_channels_are_told() -> None:
    with pytest.raises(ValueError, match="6 key and 7 value channels"):
        FusedNonLocalAttention(5, 6, 7)
