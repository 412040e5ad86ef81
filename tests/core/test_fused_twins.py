"""The faster twins are the readable network: outputs, gradients, statistics, weights, attention."""

import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import HEADS, TINY, wake
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from annlib.config import ModelConfig, TrainConfig
from annlib.course.attention import capture_attention
from annlib.course.implementations import FoldedAttention
from annlib.engine.inference import autocast
from annlib.engine.optimization import make_optimizer, train
from annlib.model.ann import ANN, map_size
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.build import build_model
from annlib.model.fused import FoldedAFNB, FoldedAPNB, fuse_for_inference, fuse_for_training

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
@settings(max_examples=40, deadline=None)
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


def network(config: ModelConfig = TINY) -> nn.Module:
    torch.manual_seed(0)
    return lively(build_model(config))


def functions_of_a_step(model: nn.Module) -> set[str]:
    """Which functions of annlib.model run in a forward pass, as FILE.CLASS.FUNCTION."""
    called = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.parent.name == "model":
            called.add(f"{path.stem}.{frame.f_code.co_qualname}")

    sys.setprofile(note)
    try:
        model(torch.randn(2, 3, 41, 57)).main.sum().backward()
    finally:
        sys.setprofile(None)
    return called


def test_a_step_of_ann_runs_the_code_that_is_read() -> None:
    blocks = {"AsymmetricAttention", "AFNB", "APNB", "PyramidPool"}
    readable = {f"asymmetric.{block}.forward" for block in blocks}
    called = functions_of_a_step(network())
    assert readable <= called and not any(name.startswith("fused.") for name in called)
    called = functions_of_a_step(fuse_for_training(network()))
    assert {"fused.FoldedAFNB.forward", "fused.FoldedAPNB.forward"} <= called
    assert not readable & called


@pytest.mark.parametrize("head", HEADS)
def test_training_twin_has_the_same_parameters_under_the_same_names(head: str) -> None:
    model = network(replace(TINY, head=head))
    twin = fuse_for_training(model)
    ours, theirs = dict(twin.named_parameters()), dict(model.named_parameters())
    assert list(ours) == list(theirs) and all(ours[name] is theirs[name] for name in ours)
    assert list(twin.state_dict()) == list(model.state_dict())
    assert not {type(part) for part in twin.modules()} & {AFNB, APNB}
    assert not {type(part) for part in model.modules()} & {FoldedAFNB, FoldedAPNB}


@pytest.mark.parametrize("head", HEADS)
def test_training_twin_takes_the_same_steps(head: str) -> None:
    """Losses, weights, momenta and running statistics after three steps, with dropout."""
    recipe = TrainConfig(9)
    images = torch.randn(2, 3, 41, 57, dtype=torch.float64)
    batch = images, torch.randint(TINY.num_classes, (2, 41, 57))
    found = []
    for form in (lambda model: model, fuse_for_training):
        model = network(replace(TINY, head=head, dropout=0.1)).double()
        optimizer = make_optimizer(form(model), recipe)
        losses = [float(step.loss) for step in train(form(model), optimizer, [batch] * 3, recipe)]
        found.append((losses, model.state_dict(), optimizer.state_dict()["state"]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-10)
    assert len(set(found[0][0])) == 3  # it trains


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


BACKBONES = {"LocalNet": TINY, "ResNet": replace(TINY, depth=50, width=8)}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("align_corners", [False, True])
@torch.inference_mode()
def test_answers_are_the_models(head: str, backbone: str, align_corners: bool) -> None:
    model = network(replace(BACKBONES[backbone], head=head, align_corners=align_corners))
    model = model.double().eval()
    images = torch.randn(3, 3, 41, 58, dtype=torch.float64)
    expected = model(images)
    largest = float(expected.main.abs().max())
    for form in (fuse_for_training, fuse_for_inference):
        found = form(model)(images)
        assert found.aux is None
        torch.testing.assert_close(found.main, expected.main, rtol=0, atol=1e-12 * largest)


@pytest.mark.parametrize("head", HEADS)
@torch.inference_mode()
def test_answers_have_the_size_asked_for(head: str) -> None:
    model = network(replace(TINY, head=head)).eval()
    images = torch.randn(1, 3, 41, 58)
    size = map_size((41, 58))
    small = fuse_for_inference(model)(images, size).main
    torch.testing.assert_close(small, model(images, size).main, rtol=1e-4, atol=1e-5)
    assert small.shape == (1, TINY.num_classes, 6, 8)


@pytest.mark.parametrize("head", HEADS)
def test_no_norm_is_left(head: str) -> None:
    for config in BACKBONES.values():
        rest = fuse_for_inference(network(replace(config, head=head)))
        assert not any(isinstance(part, nn.BatchNorm2d) for part in rest.modules())


@torch.inference_mode()
def test_attention_is_captured_as_from_the_model() -> None:
    model, images = network().eval(), torch.randn(2, 3, 41, 58)
    found = []
    for form in (model, fuse_for_training(model), fuse_for_inference(model)):
        with capture_attention(form) as maps:
            form(images)
        found.append(maps)
    assert found[0].keys() == {"afnb.attention", "apnb.attention"}
    for maps in found[1:]:
        torch.testing.assert_close(maps, found[0], rtol=1e-3, atol=1e-4)


def test_the_model_stays_as_it_was_and_goes_its_own_way() -> None:
    model, images = network(), torch.randn(2, 3, 41, 58)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    rest = fuse_for_inference(model)
    answer = rest(images).main
    assert model.training and all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(rest(images).main, answer)
    assert not answer.requires_grad


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@torch.inference_mode()
def test_half_precision_answers_as_its_bits_allow(precision: str) -> None:
    model, images = network().eval(), torch.randn(1, 3, 41, 58)
    exact = model(images).main
    with autocast(torch.device("cpu"), precision):
        rounded = fuse_for_inference(model)(images).main
    assert float((rounded - exact).abs().max() / exact.abs().max()) < 0.1


def test_a_fifth_of_the_references_work_is_saved() -> None:
    """740.70 GFLOPs at 512 x 1024; the fusing convolution alone is 68.7 of those saved."""
    with torch.device("meta"):
        model, images = ANN(ModelConfig(50, 19)).eval(), torch.empty(1, 3, 512, 1024)
        rest = fuse_for_inference(model)
    with FlopCounterMode(display=False) as counter:
        rest(images)
    assert counter.get_total_flops() / 1e9 == pytest.approx(592, abs=3)
