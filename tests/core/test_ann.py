"""The whole network: its size, its cost, its starting weights, and what flows through it."""

from dataclasses import replace

import pytest
import torch
from golden_rules import golden
from tiny import TINY, wake
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from annlib.config import ModelConfig
from annlib.model.ann import ANN, Logits
from annlib.model.convert import rename

# depth, classes: parameters, those without the auxiliary head, GFLOPs of a 512 x 1024 image
REFERENCE = [
    (50, 19, 46_228_614, 43_863_923, 740.70),
    (50, 150, 46_329_484, 43_931_126, 741.80),
    (50, 21, 46_230_154, 43_864_949, 740.71),
    (101, 19, 65_220_742, 62_856_051, 1051.01),
    (101, 150, 65_321_612, 62_923_254, 1052.11),
    (101, 21, 65_222_282, 62_857_077, 1051.03),
]


def on_meta(depth: int, num_classes: int) -> ANN:
    with torch.device("meta"):
        return ANN(ModelConfig(depth, num_classes)).eval()


def size_of(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("depth", "num_classes", "total", "without", "_"), REFERENCE)
def test_parameters_are_as_many_as_the_reference_has(
    depth: int, num_classes: int, total: int, without: int, _: float
) -> None:
    model = on_meta(depth, num_classes)
    assert size_of(model) == total
    assert size_of(model) - size_of(model.auxiliary) == without


def test_blocks_have_as_many_parameters_as_the_reference() -> None:
    model = on_meta(50, 19)
    assert size_of(model.afnb) == 9_968_896
    assert size_of(model.reduce) == 9_438_208
    assert size_of(model.apnb) == 919_808


@pytest.mark.parametrize(
    ("depth", "num_classes", "_", "__", "gigaflops"), [REFERENCE[0], REFERENCE[4]]
)
def test_work_of_the_readable_form_is_the_references_less_one_shared_projection(
    depth: int, num_classes: int, _: int, __: int, gigaflops: float
) -> None:
    shared = 2 * 512 * 256 * (64 * 128) / 1e9  # the reference runs it as query and as key
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        on_meta(depth, num_classes)(torch.empty(1, 3, 512, 1024, device="meta"))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gigaflops - shared, abs=0.006)


@pytest.fixture(scope="module")
def fresh() -> ANN:
    torch.manual_seed(0)
    return ANN(ModelConfig(depth=50, num_classes=19))


def test_starting_weights_have_the_spread_of_the_reference(fresh: ANN) -> None:
    ours = fresh.state_dict()
    for key, reference in golden()["init"]["after_init_weights"].items():
        tensor = ours[rename(key)]
        std = float(tensor.std(correction=0))
        tolerance = max(4 * tensor.numel() ** -0.5, 1e-4)
        assert std == pytest.approx(reference["std"], rel=tolerance, abs=0), key


def test_starting_weights_have_the_reach_of_the_reference(fresh: ANN) -> None:
    """Normal and uniform numbers of one spread differ in their largest."""
    ours = fresh.state_dict()
    for key, reference in golden()["init"]["after_init_weights"].items():
        if reference["std"] > 0:
            reach = float(ours[rename(key)].abs().max()) / reference["std"]
            assert reach == pytest.approx(reference["absmax"] / reference["std"], rel=0.3), key


def test_classifiers_start_small_and_without_preference(fresh: ANN) -> None:
    for layer in (fresh.classifier, fresh.auxiliary.classifier):
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.05)
        assert not layer.bias.any()


def test_output_projections_start_at_zero(fresh: ANN) -> None:
    for block in (fresh.afnb, fresh.apnb):
        assert not block.attention.to_output.weight.any()
        assert not block.attention.to_output.bias.any()


def test_zero_output_projections_leave_the_plain_network() -> None:
    """The same as with both contexts replaced by zeros: keys and values are not looked at."""
    model, images = ANN(TINY).eval(), torch.randn(2, 3, 33, 57)
    before = model(images).main
    for block in (model.afnb, model.apnb):
        nn.init.normal_(block.attention.to_value.weight)
        nn.init.normal_(block.attention.to_key[0].weight)
    assert torch.equal(model(images).main, before)


def test_far_pixels_matter_only_through_the_blocks() -> None:
    images = torch.randn(1, 3, 16, 256)
    changed = images.clone()
    changed[..., -8:] += 1
    fresh, awake = ANN(TINY).eval(), wake(ANN(TINY)).eval()
    assert torch.equal(fresh(images).main[..., :8], fresh(changed).main[..., :8])
    assert not torch.equal(awake(images).main[..., :8], awake(changed).main[..., :8])


def test_gradient_reaches_every_parameter() -> None:
    model = wake(ANN(TINY)).eval()  # in evaluation batch norm takes no shift away
    low, _ = model.backbone(torch.randn(2, 3, 33, 57))
    model(torch.randn(2, 3, 33, 57)).main.square().sum().backward()
    model.auxiliary(low.detach()).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_auxiliary_head_sends_gradient_to_low_stages_only() -> None:
    model = ANN(TINY)
    model(torch.randn(2, 3, 33, 57)).aux.sum().backward()
    assert model.backbone.stage4[0].body[0].weight.grad is not None
    assert all(parameter.grad is None for parameter in model.backbone.stage5.parameters())


def test_resize_interpolates_between_aligned_corners() -> None:
    row = torch.tensor([[[[0.0, 2.0]]]])
    aligned = Logits(row, None).resize((1, 3), align_corners=True).main
    centred = Logits(row, None).resize((1, 4), align_corners=False).main
    assert aligned.flatten().tolist() == [0.0, 1.0, 2.0]
    assert centred.flatten().tolist() == [0.0, 0.5, 1.5, 2.0]


def test_dropout_acts_in_training_only() -> None:
    model, images = ANN(replace(TINY, dropout=0.9)), torch.randn(2, 3, 33, 57)
    assert not torch.equal(model(images).main, model(images).main)
    assert torch.equal(model.eval()(images).main, model(images).main)


def test_ann_refuses_the_configuration_of_a_baseline() -> None:
    with pytest.raises(ValueError, match="not 'fcn': call build_model"):
        ANN(replace(TINY, head="fcn"))
