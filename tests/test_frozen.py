"""A frozen network answers as the model does, with fewer layers, and keeps out of its way."""

from dataclasses import replace

import pytest
import torch
from test_folded import lively
from tiny import HEADS, TINY
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from annlib.config import ModelConfig
from annlib.course.attention import capture_attention
from annlib.engine.train import autocast
from annlib.model.ann import ANN, map_size
from annlib.model.baselines import build_model
from annlib.model.frozen import fuse_for_inference

BACKBONES = {"LocalNet": TINY, "ResNet": replace(TINY, depth=50, width=8)}


def awake(config: ModelConfig) -> nn.Module:
    torch.manual_seed(0)
    return lively(build_model(config)).eval()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("align_corners", [False, True])
@torch.inference_mode()
def test_answers_are_the_models(head: str, backbone: str, align_corners: bool) -> None:
    model = awake(replace(BACKBONES[backbone], head=head, align_corners=align_corners)).double()
    images = torch.randn(3, 3, 41, 58, dtype=torch.float64)
    expected = model(images)
    found = fuse_for_inference(model)(images)
    assert found.aux is None
    largest = float(expected.main.abs().max())
    torch.testing.assert_close(found.main, expected.main, rtol=0, atol=1e-12 * largest)


@pytest.mark.parametrize("head", HEADS)
@torch.inference_mode()
def test_answers_have_the_size_asked_for(head: str) -> None:
    model = awake(replace(TINY, head=head))
    images = torch.randn(1, 3, 41, 58)
    size = map_size((41, 58))
    small = fuse_for_inference(model)(images, size).main
    torch.testing.assert_close(small, model(images, size).main, rtol=1e-4, atol=1e-5)
    assert small.shape == (1, TINY.num_classes, 6, 8)


@pytest.mark.parametrize("head", HEADS)
def test_no_norm_is_left(head: str) -> None:
    for config in BACKBONES.values():
        rest = fuse_for_inference(awake(replace(config, head=head)))
        assert not any(isinstance(part, nn.BatchNorm2d) for part in rest.modules())


@torch.inference_mode()
def test_attention_is_captured_as_from_the_model() -> None:
    model, images = awake(TINY), torch.randn(2, 3, 41, 58)
    found = []
    for network in (model, fuse_for_inference(model)):
        with capture_attention(network) as maps:
            network(images)
        found.append(maps)
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


def test_the_model_stays_as_it_was_and_goes_its_own_way() -> None:
    model, images = awake(TINY).train(), torch.randn(2, 3, 41, 58)
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
    model, images = awake(TINY), torch.randn(1, 3, 41, 58)
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
