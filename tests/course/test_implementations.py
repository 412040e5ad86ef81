"""Implementations of attention and blocks: FLOPs by formula, agreement, comparison, table."""

from dataclasses import replace
from functools import partial
from math import isnan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from annlib.course.implementations import (
    Channels,
    FoldedAttention,
    FusedNonLocalAttention,
    Shape,
    asymmetric_flops,
    attention_implementations,
    block_implementations,
    both_poolings_flops,
    compare_blocks,
    comparison_table,
    make_block,
    nonlocal_bytes,
    nonlocal_flops,
    step_flops,
)
from annlib.course.profiler import (
    SHIFTS,
    Comparison,
    Conditions,
    Implementation,
    Measured,
    Results,
    Timing,
    as_trained,
    compare,
    full_float32,
    operation_counter,
    peak_bytes,
    relative_difference,
    smooth_noise,
)
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.model.fused import FoldedAFNB, FoldedAPNB, pyramid_means
from benchmarks import mmseg_reference
from benchmarks.mmseg_reference import installed

# Closed formulas of work and memory, against torch's counter and its allocator.


few = settings(max_examples=25, deadline=None)
COUNT = st.integers(1, 6)
SIDE = st.integers(4, 9)


@st.composite
def shapes(draw: st.DrawFn, of_one_map: bool) -> Shape:
    """Of AFNB or, if one map asks itself, of APNB and the ordinary block."""
    channels = draw(COUNT)
    return Shape(
        channels=channels,
        key_in_channels=channels if of_one_map else draw(COUNT),
        key_channels=draw(COUNT),
        value_channels=draw(COUNT),
        size=(draw(SIDE), draw(SIDE)),
        pool_scales=tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))),
        shared=of_one_map,
        batch=draw(st.integers(2, 3)),  # 1: a pooled map has one value a channel, too few to norm
    )


OF_ONE_MAP, OF_TWO = shapes(of_one_map=True), shapes(of_one_map=False)


def counted(module: nn.Module, shape: Shape, num_maps: int, backward: bool = False) -> int:
    """What torch counts; the maps are the one that answers and the one that asks."""
    widths = (shape.key_in_channels, shape.channels)[-num_maps:]
    maps = [torch.randn(shape.batch, c, *shape.size, requires_grad=True) for c in widths]
    with operation_counter() as counter, torch.set_grad_enabled(backward):
        output = module(*maps)
        if backward:
            output.sum().backward()
    return counter.get_total_flops()


class AskedLast(nn.Module):
    """Attention as the blocks call it: the map that asks comes second."""

    def __init__(self, attention: AsymmetricAttention):
        super().__init__()
        self.attention = attention

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, Ck, H, W), (B, Cq, H, W) -> (B, Cq, H, W)"""
        return self.attention(high, low)


def inner(shape: Shape) -> tuple[int, int]:
    return shape.key_channels, shape.value_channels


@few
@given(OF_ONE_MAP)
def test_ordinary_attention_is_counted_alike(shape: Shape) -> None:
    module = NonLocalAttention(shape.channels, *inner(shape))
    assert counted(module, shape, 1) == nonlocal_flops(shape)


@few
@given(OF_TWO | OF_ONE_MAP)
@pytest.mark.parametrize(
    ("form", "folded"), [(AsymmetricAttention, False), (FoldedAttention, True)]
)
def test_asymmetric_attention_is_counted_alike(form: type, folded: bool, shape: Shape) -> None:
    widths = (shape.channels, shape.key_in_channels, *inner(shape), shape.pool_scales)
    module = AskedLast(form(*widths, shape.shared))
    assert counted(module, shape, 2) == asymmetric_flops(shape, folded)


def block_flops(shape: Shape, folded: bool = False) -> int:
    return sum(step_flops(shape, folded).values())


BLOCKS = [
    (AFNB, APNB, block_flops, lambda shape: 0),
    (FoldedAFNB, FoldedAPNB, partial(block_flops, folded=True), both_poolings_flops),
]


@few
@given(OF_TWO, st.booleans())
@pytest.mark.parametrize("forms", BLOCKS, ids=["plain", "folded"])
def test_afnb_is_counted_alike(forms: tuple, shape: Shape, backward: bool) -> None:
    form, _, formula, fixed = forms
    widths = (shape.key_in_channels, shape.channels, *inner(shape), shape.pool_scales)
    expected = formula(shape)
    if backward:
        expected = 3 * expected - fixed(shape)  # a product has two gradients
    assert counted(form(*widths), shape, 2, backward) == expected


@few
@given(OF_ONE_MAP, st.booleans())
@pytest.mark.parametrize("forms", BLOCKS, ids=["plain", "folded"])
def test_apnb_is_counted_alike(forms: tuple, shape: Shape, backward: bool) -> None:
    _, form, formula, fixed = forms
    expected = formula(shape)
    if backward:
        expected = 3 * expected - fixed(shape)  # a product has two gradients
    module = form(shape.channels, *inner(shape), shape.pool_scales)
    assert counted(module, shape, 1, backward) == expected


@few
@given(OF_ONE_MAP)
def test_pooling_is_counted_alike(shape: Shape) -> None:
    x = torch.randn(shape.batch, shape.channels, *shape.size)
    with operation_counter() as counter:
        pyramid_means(x, shape.pool_scales)
    assert counter.get_total_flops() == both_poolings_flops(replace(shape, key_channels=0))


@settings(max_examples=5, deadline=None)
@given(st.integers(20, 30), st.integers(20, 30))
def test_memory_of_the_ordinary_block_is_foretold(height: int, width: int) -> None:
    shape = Shape(6, 6, 5, 5, (height, width))
    module, x = NonLocalAttention(6, 5, 5).eval(), torch.randn(1, 6, height, width)
    with torch.inference_mode():
        peak = peak_bytes(lambda: module(x), x.device)
    assert peak == pytest.approx(nonlocal_bytes(shape), rel=0.01)


# The ordinary block with fused attention: the same function, without its weights in memory.


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


# Forms of one computation side by side: what is compared, measured, and left out.


HERE = Conditions(torch.device("cpu"), repeat=2)
SIZE = (4, 4)
MIB = 2**20


def doubling(x: Tensor, extra: float = 0.0):
    return lambda: {"output": 2 * x + extra}


def form(name: str, **others: object) -> Implementation:
    return Implementation(name, doubling(torch.ones(4, 4)), flops=0, **others)


def used_up() -> Results:
    raise torch.OutOfMemoryError("out of memory")


def test_difference_is_the_largest_share_of_a_map() -> None:
    expected = {"output": torch.tensor([1.0, -4.0]), "input 0": torch.tensor([100.0])}
    found = {"output": torch.tensor([1.0, -5.0]), "input 0": torch.tensor([101.0])}
    assert relative_difference(found, expected) == 0.25


def test_weight_and_bias_of_a_layer_share_their_measure() -> None:
    expected = {"a.weight": torch.tensor([10.0]), "a.bias": torch.tensor([0.0])}
    found = {"a.weight": torch.tensor([10.0]), "a.bias": torch.tensor([1.0])}
    assert relative_difference(found, expected) == pytest.approx(0.1)


@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_no_agreement(place: int) -> None:
    sound, broken = torch.ones(2), torch.tensor([1.0, torch.nan])
    found = {"output": broken if place == 0 else sound, "x": broken if place == 1 else sound}
    assert isnan(relative_difference(found, {"output": sound, "x": sound}))
    assert isnan(relative_difference({"output": sound, "x": sound}, found))


def test_missing_result_is_no_agreement() -> None:
    with pytest.raises(KeyError):
        relative_difference({}, {"output": torch.ones(1)})


def test_forms_are_compared_with_the_one_that_they_are_like() -> None:
    x = torch.rand(4, 4) + 1
    forms = [
        Implementation("a", doubling(x), 0),
        Implementation("b", doubling(x, 0.5), 0),
        Implementation("like a", doubling(x), 0, same_as="a"),
        Implementation("unlike b", doubling(x), 0, same_as="b"),
    ]
    found = compare("race", SIZE, forms, HERE)
    a, b, like, unlike = (one.difference for one in found.measured.values())
    assert a is b is None and like == 0.0
    assert unlike == pytest.approx(0.5 / (2 * x + 0.5).max().item())


def test_memory_output_and_work_are_of_one_call() -> None:
    a, b = torch.randn(512, 256), torch.randn(256, 1024)
    found = compare("race", SIZE, [Implementation("product", lambda: {"output": a @ b}, 7)], HERE)
    (one,) = found.measured.values()
    assert one.output_bytes == one.peak_bytes == 512 * 1024 * 4
    assert one.flops == 2 * 512 * 256 * 1024 and one.formula == 7


def test_form_that_needs_more_than_is_allowed_is_left_out() -> None:
    here = Conditions(HERE.device, 1, limit_bytes=2 * 2**30)
    forms = [form("small"), form("large", num_bytes=3 * 2**30), form("like it", same_as="large")]
    found = compare("race", SIZE, forms, here)
    assert list(found.measured) == ["small", "like it"]
    assert found.notes == ("race, large: needs 3 GiB, and 2 GiB may be used.",)
    assert found.measured["like it"].difference is None


def test_form_that_runs_out_of_memory_does_not_end_the_others() -> None:
    forms = [Implementation("large", used_up, 0), form("small")]
    found = compare("race", SIZE, forms, HERE)
    assert list(found.measured) == ["small"]
    assert found.notes == ("race, large: out of memory.",)


def test_other_errors_are_not_taken_for_a_full_memory() -> None:
    def broken() -> Results:
        raise RuntimeError("sizes differ")

    with pytest.raises(RuntimeError, match="sizes differ"):
        compare("race", SIZE, [Implementation("broken", broken, 0)], HERE)


@pytest.mark.parametrize("before", [True, False])
def test_gpu_does_not_round_to_tf32_meanwhile(before: bool) -> None:
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    usual = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = before
        with full_float32():
            assert [backend.allow_tf32 for backend in backends] == [False, False]
        assert [backend.allow_tf32 for backend in backends] == [before, before]
    finally:
        for backend, allowed in zip(backends, usual, strict=True):
            backend.allow_tf32 = allowed


def measured(milliseconds: float, mebibytes: int, difference: float | None) -> Measured:
    timing = Timing(milliseconds, milliseconds - 1, milliseconds + 2)
    return Measured(4 * 10**9, 3 * 10**9, mebibytes * MIB, 2 * MIB, difference, timing)


SLOW, FAST = measured(30, 50, None), measured(10, 4, 3e-7)
NOTE = "4 x 4, huge: out of memory."
SIDE_BY_SIDE = Comparison("4 x 4", SIZE, {"slow": SLOW, "fast": FAST}, (NOTE,))


def rows(text: str) -> list[list[str]]:
    lines = text.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_table_shows_each_form_beside_its_rivals() -> None:
    text = comparison_table("form", [SIDE_BY_SIDE], ["slow", "fast"])
    times, work = "10.0 (9.0 to 12.0)", ["3.00", "4.00", "3e-07"]
    assert rows(text)[1] == ["4 x 4: fast", times, "3.00", "1.00", "4.0", "12.50", "2.00", *work]
    assert rows(text)[0][2:4] == ["1.00", "0.33"] and rows(text)[0][-1] == "-"
    assert "4 x 4, huge: out of memory." in text


def test_rival_that_was_not_measured_is_compared_with_nothing() -> None:
    (row,) = rows(
        comparison_table("form", [Comparison("4 x 4", SIZE, {"fast": FAST}, ())], ["slow"])
    )
    assert row[2] == row[4] == "-"


# Every implementation of AFNB and APNB computes the same.


HERE = Conditions(torch.device("cpu"), repeat=1)
REFERENCE = mmseg_reference if installed() else None
SMALL = Channels(low=6, high=10, hidden=8, key=5, value=5, pool_scales=(1, 2, 3))
SIZE = (9, 13)
LAYOUTS = pytest.mark.parametrize("here", [HERE, replace(HERE, channels_last=False)])


@LAYOUTS
def test_all_implementations_agree_in_output_and_gradients(here: Conditions) -> None:
    found = list(compare_blocks([SIZE, (6, 6)], SMALL, here, REFERENCE))
    assert [each.title.split(" ")[0] for each in found] == 2 * ["AFNB", "AFNB", "APNB", "APNB"]
    for each in found:
        first, *others = each.measured.values()
        assert len(others) == 1 + installed() and first.difference is None
        tolerance = 1e-4 if each.title.endswith("step") else 1e-5  # few channels, small gradients
        assert all(other.difference < tolerance for other in others)


@LAYOUTS
def test_all_attentions_agree(here: Conditions) -> None:
    found = compare("", SIZE, attention_implementations(SMALL, SIZE, here, REFERENCE), here)
    differences = {name: each.difference for name, each in found.measured.items()}
    assert differences.pop("non-local") is differences.pop("APNB") is None
    assert len(differences) == 2 + 2 * installed()
    assert max(differences.values()) < 1e-5


def test_ordinary_and_asymmetric_attention_are_different_functions() -> None:
    ordinary, _, asymmetric, *_ = attention_implementations(SMALL, SIZE, HERE)
    assert relative_difference(ordinary.compute(), asymmetric.compute()) > 0.01


def test_work_is_that_of_the_formula() -> None:
    attentions = attention_implementations(SMALL, SIZE, HERE, REFERENCE)
    found = [*compare_blocks([SIZE], SMALL, HERE, REFERENCE), compare("", SIZE, attentions, HERE)]
    measured = [one for each in found for one in each.measured.values()]
    assert [one.flops for one in measured] == [one.formula for one in measured]


@pytest.mark.parametrize(
    "weight", ["attention.to_output.weight", "attention.to_value.bias", "fuse.0.weight"]
)
@pytest.mark.parametrize("name", ["AFNB", "APNB"])
def test_form_that_computes_something_else_is_seen(name: str, weight: str) -> None:
    block = make_block(name, SMALL, SIZE, HERE)
    with torch.no_grad():
        block.modules["folded"].get_parameter(weight).mul_(1.1)
    plain, folded, *_ = block_implementations(block, False, HERE)
    assert relative_difference(folded.compute(), plain.compute()) > 1e-4


@pytest.mark.parametrize("name", ["AFNB", "APNB"])
def test_gradients_of_all_inputs_and_weights_are_compared(name: str) -> None:
    block = make_block(name, SMALL, SIZE, HERE)
    plain, *_ = block_implementations(block, True, HERE)
    weights = {name for name, _ in block.modules["plain"].named_parameters()}
    inputs = {f"input {i}" for i in range(len(block.inputs))}
    assert plain.compute().keys() == {"output"} | inputs | weights - set(SHIFTS)


@pytest.mark.parametrize("name", ["AFNB", "APNB"])
def test_steps_do_not_add_up(name: str) -> None:
    plain, *_ = block_implementations(make_block(name, SMALL, SIZE, HERE), True, HERE)
    first, second = plain.compute(), plain.compute()
    assert relative_difference(second, first) == 0.0


@pytest.mark.parametrize("name", ["AFNB", "APNB"])
def test_forward_and_step_each_compute_in_their_mode(name: str) -> None:
    block = make_block(name, SMALL, SIZE, HERE)
    statistics = block.modules["plain"].fuse[1].running_mean.clone()
    forward, step = (block_implementations(block, steps, HERE)[0] for steps in (False, True))
    assert forward.compute()["output"].is_inference()
    assert torch.equal(block.modules["plain"].fuse[1].running_mean, statistics)
    step.compute()
    assert block.modules["plain"].training
    forward.compute()
    assert not block.modules["plain"].training


@pytest.mark.parametrize("name", ["AFNB", "APNB"])
def test_shifts_that_are_not_compared_have_no_gradient(name: str) -> None:
    block = make_block(name, SMALL, SIZE, HERE)
    plain = block.modules["plain"].double().train()
    output = plain(*(values.double() for values in block.inputs))
    output.backward(torch.randn_like(output))
    for shift in SHIFTS:
        weight = plain.get_parameter(shift.replace("bias", "weight"))
        assert plain.get_parameter(shift).grad.abs().max() < 1e-12 * weight.grad.abs().max()


def test_batch_norm_of_a_settled_block_knows_its_inputs() -> None:
    features = smooth_noise(8, SIZE, HERE)
    block = as_trained(APNB(8, 5, 5, (1, 2)), features)
    keys = block.attention.to_key[0](features)
    torch.testing.assert_close(block.attention.to_key[1].running_mean, keys.mean((0, 2, 3)))
    assert block.attention.to_output.weight.abs().min() > 0


def test_made_up_maps_are_alike_where_places_are_near() -> None:
    values = smooth_noise(500, (32, 32), HERE)
    near = (values[..., 1:] * values[..., :-1]).mean()
    far = (values[..., 16:] * values[..., :16]).mean()
    assert near > 0.2 > 10 * far.abs()


def test_paper_has_these_channels() -> None:
    paper, half = Channels(), Channels().divided(2)
    assert (paper.low, paper.high, paper.hidden, paper.key, paper.value) == (
        *(2 * count for count in (half.low, half.high, half.hidden, half.key, half.value)),
    )
    assert (paper.high, paper.key) == (2048, 256)
    block = AFNB(paper.low, paper.high, paper.key, paper.value, paper.pool_scales)
    assert sum(weight.numel() for weight in block.parameters()) == 9_968_896  # as in the reference
