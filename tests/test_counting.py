"""Operations are counted under whatever name they are computed."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from annlib.engine.profiler import operation_counter

COUNT = st.integers(1, 7)
quick = settings(deadline=None)


@quick
@given(COUNT, COUNT, COUNT, COUNT)
def test_product_is_counted_whether_added_in_place_or_not(b: int, n: int, s: int, c: int) -> None:
    weights, anchors, sums = torch.randn(b, n, s), torch.randn(b, s, c), torch.randn(b, n, c)
    for compute in (
        lambda: weights @ anchors,
        lambda: torch.baddbmm(sums, weights, anchors),
        lambda: sums.baddbmm_(weights, anchors),
    ):
        with operation_counter() as counter:
            compute()
        assert counter.get_total_flops() == 2 * b * n * s * c


@quick
@given(COUNT, COUNT, COUNT, COUNT, st.sampled_from(["cpu", "meta"]))
def test_fused_attention_is_two_products(b: int, n: int, s: int, c: int, device: str) -> None:
    query, key, value = (torch.randn(b, 1, count, c, device=device) for count in (n, s, s))
    with torch.inference_mode(), operation_counter() as counter:
        scaled_dot_product_attention(query, key, value)
    assert counter.get_total_flops() == 2 * (2 * b * n * s * c)


def test_what_is_computed_outside_does_not_count() -> None:
    a = torch.randn(3, 4)
    with operation_counter() as counter:
        a @ a.mT
    a @ a.mT
    assert counter.get_total_flops() == 2 * 3 * 4 * 3
