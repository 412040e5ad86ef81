"""Sliding windows, other sizes, scales and flips: the reference's numbers in single precision."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from golden_rules import arrays, difference, filled_model, golden, make_input, statistics_difference
from torch import Tensor

from annlib.config import TestConfig
from annlib.engine.inference import ScoreMap, make_predictor, ready, scales_and_flips, window_starts
from annlib.model.ann import resize_bilinear

MakePredictor = Callable[[TestConfig, bool], Callable[[Tensor], Tensor]]

SLIDE = TestConfig(mode="slide", window=(65, 65), stride=(43, 43))
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def predictor_of() -> MakePredictor:
    model = filled_model(50, 19)

    def make(config: TestConfig, align_corners: bool) -> Callable[[Tensor], Tensor]:
        model.config = replace(model.config, align_corners=align_corners)
        return make_predictor(model, config)

    return make


def test_windows_are_those_of_the_reference() -> None:
    tops, lefts = window_starts(97, 65, 43), window_starts(129, 65, 43)
    boxes = [[top, top + 65, left, left + 65] for top in tops for left in lefts]
    assert boxes == golden()["inference"]["slide_boxes_y1y2x1x2"]


@pytest.mark.parametrize("align_corners", [False, True])
def test_sliding_window_agrees(predictor_of: MakePredictor, align_corners: bool) -> None:
    logits = predictor_of(SLIDE, align_corners)(make_input(1, 97, 129))
    name = f"slide_ac{int(align_corners)}"
    assert difference(logits, arrays("infer_0")[name]) <= TOLERANCE
    counts = logits.argmax(1).flatten().bincount(minlength=19)
    assert counts.tolist() == golden()["inference"][name]["pred_bincount"]


def test_image_lower_than_the_window_agrees(predictor_of: MakePredictor) -> None:
    logits = predictor_of(SLIDE, True)(make_input(1, 49, 97))
    assert difference(logits, arrays("infer_1")["slide_small_49x97_ac1"]) <= TOLERANCE


@pytest.mark.parametrize(("file", "align_corners"), [("infer_1", False), ("infer_2", True)])
def test_resizing_to_another_original_size_agrees(
    predictor_of: MakePredictor, file: str, align_corners: bool
) -> None:
    logits = predictor_of(TestConfig(), align_corners)(make_input(1, 97, 129))
    logits = resize_bilinear(logits, (60, 80), align_corners)[0]
    name = f"whole_ori60x80_flip0_ac{int(align_corners)}"
    assert difference(logits, arrays(file)[name]) <= TOLERANCE


def test_mirrored_image_turned_back_agrees(predictor_of: MakePredictor) -> None:
    logits = predictor_of(TestConfig(), False)(make_input(1, 97, 129).flip(-1)).flip(-1)
    logits = resize_bilinear(logits, (60, 80), align_corners=False)[0]
    assert difference(logits, arrays("infer_2")["whole_ori60x80_flip1_ac0"]) <= TOLERANCE


def test_mean_probability_over_scales_and_flips_agrees(predictor_of: MakePredictor) -> None:
    """One box a scale: this golden rounds sizes as release 1.x, our factors as 0.x."""
    reference = golden()["inference"]["tta"]
    images = make_input(1, 97, 129)
    configs = [TestConfig(base_size=tuple(size), flip=True) for size in reference["sizes"]]
    parts = [predictor_of(config, False)(images).exp() for config in configs]
    probabilities = torch.cat(parts).mean(0)
    assert statistics_difference(probabilities, reference) <= TOLERANCE
    counts = probabilities.argmax(0).flatten().bincount(minlength=19)
    assert counts.tolist() == reference["pred_bincount"]


@pytest.mark.parametrize(
    "case", golden()["transforms"]["test_resize"]["cases"], ids=lambda case: f"{case['img_hw']}"
)
def test_scaled_sizes_are_those_of_release_0x(case: dict) -> None:
    sizes = []

    def score(images: Sequence[Tensor]) -> list[ScoreMap]:
        sizes.append(list(images[0].shape[2:]))
        return [ready(part) for part in images]

    width, height = case["scale"]
    images = torch.empty(1, 3, *case["img_hw"], device="meta")
    scales = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
    scales_and_flips(score, images, (height, width), scales, False, False)
    assert sizes == case["tta_0x"]
