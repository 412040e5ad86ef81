"""What is claimed of a published network: it holds for ours, and not for another."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from golden_rules import filled_model, mmseg_state_dict
from tiny_zoo import ADE20K, CITYSCAPES
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from annlib.config import Experiment
from annlib.model.ann import ANN
from annlib.zoo import published
from benchmarks import verify_zoo
from benchmarks.verify_zoo import (
    check_gflops,
    check_loading,
    check_logits,
    check_parameters,
    claim,
    rounds_to,
    saved_gflops,
)

R50 = published(CITYSCAPES).experiment
OTHERS = ("ann_r101-d8_769x769_40k_cityscapes", ADE20K)  # another depth, other crops and classes


def wider_keys(experiment: Experiment) -> Experiment:
    return replace(experiment, model=replace(experiment.model, key_channels=128))


@pytest.fixture(autouse=True)
def filled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule's 46 million random numbers take seconds."""
    monkeypatch.setattr(verify_zoo, "reference_weights", mmseg_state_dict)


@pytest.fixture(scope="module")
def filled() -> ANN:
    return filled_model(50, 19)


@pytest.fixture
def model(filled: ANN) -> ANN:
    """Of our own: tests break it."""
    return deepcopy(filled)


def test_claim_tells_what_was_seen() -> None:
    assert claim(True, "three") == "three"
    with pytest.raises(ValueError, match="three"):
        claim(False, "three")


@pytest.mark.parametrize("name", OTHERS)
def test_published_networks_have_the_references_size_and_work(name: str) -> None:
    experiment = published(name).experiment
    check_parameters(experiment)
    check_gflops(experiment)


def test_another_network_has_neither() -> None:
    with pytest.raises(ValueError, match=r"4\d,\d+,\d+"):
        check_parameters(wider_keys(R50))
    with pytest.raises(ValueError, match=r"= 740\.70 - 1\.07"):
        check_gflops(wider_keys(R50))


def test_work_is_the_references_less_one_projection() -> None:
    assert check_gflops(R50) == "738.55 = 740.70 - 2.15, + 38.73"


@pytest.mark.parametrize("size", [(512, 1024), (769, 769)])
def test_saved_work_is_that_of_one_projection(size: tuple[int, int]) -> None:
    height, width = (-(-side // 8) for side in size)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        nn.Conv2d(512, 256, 1)(torch.empty(1, 512, height, width))
    experiment = replace(R50, data=replace(R50.data, crop_size=size))
    assert saved_gflops(experiment) == counter.get_total_flops() / 1e9


def test_number_rounds_to_two_decimals() -> None:
    assert rounds_to(1.2349, 1.23) and rounds_to(1.2251, 1.23)
    assert not rounds_to(1.2361, 1.23) and not rounds_to(1.2241, 1.23)


def test_released_layout_fits(model: ANN, filled: ANN) -> None:
    for weight in model.parameters():
        nn.init.zeros_(weight)
    assert check_loading(R50, model) == "390 tensors"
    expected = filled.state_dict()
    assert all(torch.equal(weight, expected[key]) for key, weight in model.state_dict().items())


def test_layout_of_other_classes_does_not_fit(model: ANN) -> None:
    with pytest.raises(ValueError, match=r"classifier\.weight \(150, 512, 1, 1\) there"):
        check_loading(published(ADE20K).experiment, model)


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits_are_the_references(model: ANN, align_corners: bool) -> None:
    config = replace(R50.model, align_corners=align_corners)
    model.config = config
    seen = check_logits(replace(R50, model=config), model)
    assert "19 of 19 classes" in seen and seen.endswith("100.00 % of the pixels")


def test_logits_of_more_classes_than_are_stored_are_compared_as_far_as_they_are() -> None:
    experiment = published(ADE20K).experiment
    assert check_logits(experiment, filled_model(50, 150)).endswith("21 of 150 classes")


@pytest.mark.parametrize("part", ["afnb.fuse.0", "auxiliary.reduce.0", "classifier"])
def test_slightly_other_weights_are_noticed(model: ANN, part: str) -> None:
    with torch.no_grad():
        model.get_submodule(part).weight.mul_(1.001)
    with pytest.raises(ValueError, match="apart"):
        check_logits(R50, model)


def test_other_classes_at_full_size_are_noticed(
    model: ANN, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = verify_zoo.reference_logits(50)
    stored["classes_19_ac0"] = stored["classes_19_ac0"].roll(2, dims=-1)
    monkeypatch.setattr(verify_zoo, "reference_logits", lambda depth: stored)
    with pytest.raises(ValueError, match="of the pixels"):
        check_logits(R50, model)
