"""Cheap attention: what each method promises holds, and its operations are what is counted."""

from functools import partial

import pytest
import torch
from torch import Tensor

from annlib.course import efficient
from annlib.course.efficient import (
    EXACT,
    FAMILIES,
    ORDER,
    PAIRS,
    exact,
    method_of,
    share_of_work,
    weights_of,
)
from annlib.course.profiler import operation_counter

SIZE = (16, 24)
CASES = [(name, option) for name, family in FAMILIES.items() for option in family.options]
OTHER_SUMS = ("projected",)  # a random mixture has no shares


def drawn(channels: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a 16 x 24 map, as positive as behind a ReLU."""
    return tuple(torch.randn(2, channels, 384).relu() for _ in range(3))


@pytest.mark.parametrize(("name", "option"), CASES)
def test_a_method_is_linear_in_the_values_and_its_weights_say_all(name: str, option: int) -> None:
    query, key, value = drawn()
    method = method_of(name, option, SIZE)
    weights = weights_of(method, query, key)
    assert weights.shape == (2, 384, 384)
    assert torch.allclose(weights @ value.mT, method(query, key, value), atol=1e-3)
    if name not in OTHER_SUMS:
        assert torch.allclose(weights.sum(-1), torch.ones(2, 384), atol=1e-3)


@pytest.mark.parametrize(("name", "option"), CASES)
def test_counted_operations_are_those_of_the_formula(name: str, option: int) -> None:
    query, key, value = (part[:1] for part in drawn())
    with operation_counter() as counter:
        method_of(name, option, SIZE)(query, key, value)
    assert counter.get_total_flops() == FAMILIES[name].operations(option, SIZE, 8)


@pytest.mark.parametrize(
    "method",
    [
        efficient.fused,
        partial(efficient.anchors, size=(6, 6), scales=(6,)),
        partial(efficient.reduced, size=(6, 6), factor=1),
        partial(efficient.windows, size=(6, 6), side=6),
    ],
)
def test_at_full_size_a_method_is_the_non_local_block(method) -> None:
    query, key, value = torch.randn(3, 2, 8, 36)
    assert torch.allclose(method(query, key, value), exact(query, key, value), atol=1e-5)


def test_landmarks_at_all_positions_rebuild_the_weights() -> None:
    query, key, value = torch.randn(3, 2, 8, 36)
    rebuilt = efficient.nystrom(query, key, value, (6, 6), (6, 6))
    assert torch.allclose(rebuilt, exact(query, key, value), atol=0.05)


def test_random_features_come_nearer_with_their_number() -> None:
    query, key, value = torch.randn(3, 1, 8, 64)
    errors = [
        float((efficient.random_features(query, key, value, n) - exact(query, key, value)).norm())
        for n in (16, 4096)
    ]
    assert errors[1] < errors[0] / 2


def test_two_passes_of_crosses_reach_everybody_and_one_does_not() -> None:
    query, key, _ = drawn()
    once, twice = (
        weights_of(partial(efficient.criss_cross, size=SIZE, passes=n), query, key) for n in (1, 2)
    )
    assert int((once[0, 0] > 0).sum()) == 16 + 24 - 1
    assert bool((twice > 0).all())


def test_kernel_attention_grows_with_positions_and_the_exact_one_with_their_square() -> None:
    small, large = (16, 24), (32, 48)
    growth = {
        name: FAMILIES[name].operations(1, large, 32) / FAMILIES[name].operations(1, small, 32)
        for name in (EXACT, "kernel")
    }
    assert growth == {EXACT: 16, "kernel": 4}


def test_kinds_show_in_the_weights() -> None:
    query, key, _ = drawn()
    for name, family in FAMILIES.items():
        weights = weights_of(method_of(name, family.options[0], SIZE), query, key)
        assert bool((weights == 0).any()) == (family.shrinks == PAIRS), name


def test_kernels_are_the_only_ones_whose_work_grows_with_channels_squared() -> None:
    for name, family in FAMILIES.items():
        count = partial(family.operations, family.options[0], SIZE)
        if name == "kernel":
            assert family.shrinks == ORDER and count(512) / count(256) > 3.9
        else:
            assert count(512) / count(256) < 2.1


def test_shares_of_work_are_relative_to_the_non_local_block() -> None:
    assert share_of_work(EXACT, 1, SIZE, 32) == 1
    assert share_of_work("anchors", 110, SIZE, 32) == pytest.approx(110 / 384)


def test_attention_without_keys_is_refused() -> None:
    values = drawn()
    for call in (
        lambda: efficient.reduced(*values, SIZE, 17),
        lambda: efficient.projected(*values, 0),
        lambda: efficient.centres(*values, 0),
    ):
        with pytest.raises(ValueError, match="There are no keys"):
            call()
