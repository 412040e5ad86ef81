"""The folded blocks are the readable ones: outputs, gradients, statistics, weights, attention."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import HEADS, TINY, wake
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from annlib.course.attention import capture_attention
from annlib.engine.train import autocast
from annlib.model.ann import ANN
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.baselines import build_model
from annlib.model.fused import FoldedAFNB, FoldedAPNB, FoldedAttention

CPU = torch.device("cpu")
# Sums in another order: what two orders may differ by, relative to the largest number.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}

SIZES = st.tuples(st.integers(1, 17), st.integers(1, 17))
SHAPES = st.fixed_dictionaries(
    {
        "batch": st.integers(2, 3),
        "size": SIZES,
        "key_size": SIZES,
        "scales": st.lists(st.integers(1, 8), min_size=1, max_size=4).map(tuple),
        "dtype": st.sampled_from(list(TOLERANCE)),
        "layout": st.sampled_from([torch.contiguous_format, torch.channels_last]),
        "training": st.booleans(),
        "seed": st.integers(0, 2**16),
    }
)


def afnb(shape: dict) -> tuple[nn.Module, Callable, list[Tensor]]:
    block = FoldedAFNB(5, 6, 4, 3, shape["scales"])
    maps = [torch.randn(shape["batch"], 5, *shape["key_size"])]
    return block, AFNB.forward, [*maps, torch.randn(shape["batch"], 6, *shape["size"])]


def apnb(shape: dict) -> tuple[nn.Module, Callable, list[Tensor]]:
    block = FoldedAPNB(6, 4, 3, shape["scales"])
    return block, APNB.forward, [torch.randn(shape["batch"], 6, *shape["size"])]


def attention(shape: dict) -> tuple[nn.Module, Callable, list[Tensor]]:
    block = FoldedAttention(6, 5, 4, 3, shape["scales"], share_query_key=False)
    maps = [torch.randn(shape["batch"], 6, *shape["size"])]
    maps.append(torch.randn(shape["batch"], 5, *shape["key_size"]))
    return block, AsymmetricAttention.forward, maps


def lively(block: nn.Module) -> nn.Module:
    """Numbers of all signs everywhere, so that no term hides behind a zero."""
    for part in wake(block).modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight.data, part.bias.data, part.running_mean):
                values.normal_()
            part.running_var.uniform_(0.5, 2)
    return block


def results(
    block: nn.Module, forward: Callable, maps: list[Tensor], upstream: Tensor
) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    """Output, gradients of inputs and weights, and the state afterwards. Leaves the block alone."""
    block = deepcopy(block)
    maps = [m.clone().requires_grad_() for m in maps]
    output = forward(block, *maps)
    gradients = torch.autograd.grad((output * upstream).sum(), [*maps, *block.parameters()])
    return output.detach(), list(gradients), block.state_dict()


def close(ours: Tensor, theirs: Tensor, scale: float) -> bool:
    return float((ours - theirs).abs().max()) <= TOLERANCE[ours.dtype] * scale


@pytest.mark.parametrize("make", [afnb, apnb, attention], ids=lambda make: make.__name__)
@settings(deadline=None)
@given(shape=SHAPES)
def test_outputs_gradients_and_statistics_are_those_of_the_readable_form(
    make: Callable, shape: dict
) -> None:
    torch.manual_seed(shape["seed"])
    block, readable, maps = make(shape)
    block = lively(block).to(shape["dtype"], memory_format=shape["layout"]).train(shape["training"])
    maps = [m.to(shape["dtype"], memory_format=shape["layout"]) for m in maps]
    upstream = torch.randn_like(readable(deepcopy(block), *maps))
    output, gradients, state = results(block, type(block).forward, maps, upstream)
    expected, expected_gradients, expected_state = results(block, readable, maps, upstream)

    # Batch norm over a few values divides what rounding left by their deviation.
    scale = max(1.0, float(expected.abs().max())) * (100 if shape["training"] else 1)
    assert close(output, expected, scale)
    steepest = max(1.0, *(float(g.abs().max()) for g in expected_gradients))
    assert all(
        close(ours, theirs, steepest * (100 if shape["training"] else 1))
        for ours, theirs in zip(gradients, expected_gradients, strict=True)
    )
    assert all(
        close(ours.to(output.dtype), expected_state[name].to(output.dtype), scale)
        for name, ours in state.items()
    )


@pytest.mark.parametrize("make", [afnb, apnb, attention], ids=lambda make: make.__name__)
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("inference", [False, True])
def test_half_precision_is_as_close_as_its_bits_allow(
    make: Callable, precision: str, inference: bool
) -> None:
    torch.manual_seed(0)
    shape = {"batch": 2, "size": (9, 14), "key_size": (7, 11), "scales": (1, 3, 6, 8)}
    block, readable, maps = make(shape)
    block = lively(block).eval()
    exact = readable(block, *maps).detach()
    with autocast(CPU, precision), torch.inference_mode(inference):
        rounded = block(*maps).detach().float()
    bits = {"bf16": 8, "fp16": 11}[precision]
    assert 0 < float((rounded - exact).abs().max() / exact.abs().max()) < 8 * 2**-bits


@pytest.mark.parametrize("make", [afnb, apnb, attention], ids=lambda make: make.__name__)
def test_inference_adds_in_place_what_training_adds_as_a_map(make: Callable) -> None:
    torch.manual_seed(0)
    shape = {"batch": 3, "size": (9, 14), "key_size": (7, 11), "scales": (1, 3, 6, 8)}
    block, _, maps = make(shape)
    block = lively(block).eval()
    with torch.inference_mode():
        quick = block(*maps)
    torch.testing.assert_close(quick, block(*maps).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", ["ann", "apnb"])
def test_whole_networks_share_weights_and_answers(head: str) -> None:
    config = replace(TINY, head=head)
    torch.manual_seed(0)
    folded, readable = build_model(config), build_model(config, folded=False)
    readable.load_state_dict(lively(folded).state_dict())
    images = torch.randn(2, 3, 41, 57, dtype=torch.float64)
    ours, theirs = (model.double().eval()(images).main.detach() for model in (folded, readable))
    assert close(ours, theirs, float(theirs.abs().max()))
    assert not torch.equal(ours, theirs)  # two forms, not one form twice


@pytest.mark.parametrize("head", HEADS)
def test_only_a_network_that_is_asked_to_is_readable(head: str) -> None:
    config = replace(TINY, head=head)
    blocks = {AFNB, APNB, FoldedAFNB, FoldedAPNB}
    kinds = {type(part) for part in build_model(config).modules()} & blocks
    assert not kinds & {AFNB, APNB}
    readable = {type(part) for part in build_model(config, folded=False).modules()} & blocks
    assert readable == {kind.__base__ for kind in kinds}


def test_captured_attention_is_that_of_the_readable_form() -> None:
    torch.manual_seed(0)
    folded, readable = ANN(TINY), ANN(TINY, folded=False)
    readable.load_state_dict(lively(folded).state_dict())
    images, found = torch.randn(2, 3, 41, 57), []
    for model in (folded.eval(), readable.eval()):
        with capture_attention(model) as maps:
            model(images)
        found.append(maps)
    assert found[0].keys() == found[1].keys() == {"afnb.attention", "apnb.attention"}
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name])


def macs(block: nn.Module, forward: Callable, *maps: Tensor) -> float:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        forward(block, *maps)
    return counter.get_total_flops() / 2e9


def test_half_of_the_work_is_left_at_the_papers_size() -> None:
    """GMACs at 64 x 128: at N positions remain 3 (2) projections and 2 products; at S, little."""
    with torch.device("meta"):
        low, high = torch.empty(1, 1024, 64, 128), torch.empty(1, 2048, 64, 128)
        hidden = torch.empty(1, 512, 64, 128)
        afnb = FoldedAFNB(1024, 2048, 256, 256, (1, 3, 6, 8))
        apnb = FoldedAPNB(512, 256, 256, (1, 3, 6, 8))
    positions = 64 * 128 / 1e9
    work = positions * (2048 * 2048 + 2048 * 256 + 1024 * 256 + 110 * (256 + 2048))
    assert macs(afnb, FoldedAFNB.forward, low, high) == pytest.approx(work, rel=0.03)
    assert macs(afnb, AFNB.forward, low, high) > 1.85 * macs(afnb, FoldedAFNB.forward, low, high)
    work = positions * (512 * 512 + 512 * 256 + 110 * (256 + 512))
    assert macs(apnb, FoldedAPNB.forward, hidden) == pytest.approx(work, rel=0.05)
