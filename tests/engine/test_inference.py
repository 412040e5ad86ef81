"""Windows, scales, flips and pieces of score maps, on predictors whose result is known."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from living import Living
from pixelwise import brightness, scoring
from tiny import TINY, wake
from torch import Tensor

from annlib.config import TestConfig
from annlib.engine import inference
from annlib.engine.inference import (
    MULTI_SCALE,
    ScoreMap,
    best_classes,
    first_of_highest,
    fit,
    inference_of,
    make_label_predictor,
    make_predictor,
    mean_probability,
    ready,
    resized,
    scales_and_flips,
    sliding_window,
    times_covered,
    whole,
    window_starts,
)
from annlib.model.ann import ANN, resize_bilinear

few = settings(max_examples=50, deadline=None)
SIDE = st.integers(1, 40)
SLIDE = TestConfig(mode="slide", window=(17, 25), stride=(9, 11))


def test_one_window_as_large_as_the_image_is_the_whole_image() -> None:
    images, model = torch.randn(1, 3, 17, 25), wake(ANN(TINY))
    expected = make_predictor(model, TestConfig())(images)
    assert torch.equal(make_predictor(model, replace(SLIDE, window=(17, 25)))(images), expected)


def test_mirrored_copies_change_nothing_for_a_pixelwise_predictor() -> None:
    images = torch.randn(2, 3, 5, 8)
    merged = scales_and_flips(scoring(brightness), images, (5, 8), (1.0,), True, False)
    torch.testing.assert_close(whole(merged), brightness(images).softmax(1))


def test_scales_and_flips_give_probabilities() -> None:
    images, config = torch.randn(2, 3, 33, 57), TestConfig(scales=(0.5, 1.5), flip=True)
    probabilities = make_predictor(wake(ANN(TINY)), config)(images).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 33, 57))


def test_mirrored_image_gives_the_mirrored_result_with_flips() -> None:
    predict = make_predictor(wake(ANN(TINY)), TestConfig(flip=True))
    images = torch.randn(1, 3, 33, 57)
    torch.testing.assert_close(predict(images.flip(-1)), predict(images).flip(-1))


@few
@given(height=SIDE, width=SIDE, box_height=SIDE, box_width=SIDE)
def test_fitted_size_lies_in_the_box_and_touches_it(
    height: int, width: int, box_height: int, box_width: int
) -> None:
    size, box = fit((height, width), (box_height, box_width)), (box_height, box_width)
    assert max(size) <= max(box)
    assert min(size) <= min(box)
    assert max(size) == max(box) or min(size) == min(box)


@pytest.mark.parametrize("align_corners", [False, True])
def test_base_size_is_what_the_network_sees(align_corners: bool) -> None:
    model = wake(ANN(replace(TINY, align_corners=align_corners))).eval()
    images = torch.randn(1, 3, 33, 57)
    seen = resize_bilinear(images, fit((33, 57), (20, 30)), align_corners=False)
    expected = resize_bilinear(model(seen).main, (33, 57), align_corners)
    found = make_predictor(model, TestConfig(base_size=(20, 30)))(images)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("align_corners", [False, True])
def test_scale_is_applied_to_the_base_size(align_corners: bool) -> None:
    model = wake(ANN(replace(TINY, align_corners=align_corners))).eval()
    images = torch.randn(1, 3, 33, 57)
    predict = make_predictor(model, TestConfig(base_size=(40, 60), scales=(0.5,)))
    expected = make_predictor(model, TestConfig(base_size=(20, 30)))(images).log_softmax(1)
    torch.testing.assert_close(predict(images), expected)


@pytest.mark.parametrize("config", [SLIDE, TestConfig(base_size=(20, 30)), TestConfig(flip=True)])
def test_logits_have_the_size_of_the_images(config: TestConfig) -> None:
    assert make_predictor(ANN(TINY), config)(torch.randn(2, 3, 33, 57)).shape == (2, 5, 33, 57)


@pytest.mark.parametrize("training", [False, True])
def test_mode_of_the_model_is_put_back(training: bool) -> None:
    model = ANN(TINY).train(training)
    make_predictor(model, TestConfig())(torch.randn(1, 3, 9, 17))
    assert all(module.training is training for module in model.modules())


def test_mode_of_the_model_is_put_back_after_an_error() -> None:
    model = ANN(TINY)
    with pytest.raises(RuntimeError):
        make_predictor(model, TestConfig())(torch.randn(1, 4, 9, 17))
    assert model.training


def test_frozen_parts_stay_frozen() -> None:
    model = ANN(TINY)
    model.backbone.stem.eval()
    with inference_of(model):
        pass
    assert not model.backbone.stem.training
    assert model.reduce.training


def test_predictions_carry_no_gradient() -> None:
    assert not make_predictor(ANN(TINY), TestConfig())(torch.randn(1, 3, 9, 17)).requires_grad


def test_slide_without_window_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match="needs window and stride"):
        make_predictor(ANN(TINY), TestConfig(mode="slide"))


@pytest.mark.parametrize("stride", [(18, 11), (9, 26), (0, 11), (9, -1)])
def test_windows_that_leave_gaps_are_refused(stride: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"Windows of \(17, 25\) .* leave pixels out"):
        make_predictor(ANN(TINY), replace(SLIDE, stride=stride))


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -0.5), (float("nan"),), (float("inf"),)])
def test_scales_that_are_none_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be numbers above 0"):
        make_predictor(ANN(TINY), TestConfig(scales=scales))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_same_in_single_precision(precision: str) -> None:
    torch.manual_seed(0)
    model, images = wake(ANN(TINY)), torch.randn(1, 3, 33, 57)
    exact = make_predictor(model, TestConfig())(images)
    rounded = make_predictor(model, TestConfig(), precision)(images)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.05 * float(exact.abs().max()), rtol=0)


WAYS = {
    "whole": TestConfig(),
    "base size": TestConfig(base_size=(41, 60)),
    "windows": SLIDE,
    "windows at a base size": replace(SLIDE, base_size=(64, 88)),
    "scales and flips": TestConfig(scales=(0.5, 1.7), flip=True),
    "all": replace(SLIDE, base_size=(64, 88), scales=(0.5, 1.7), flip=True),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_are_the_best_of_the_logits(
    way: str, layout: torch.memory_format, align_corners: bool
) -> None:
    """Bit by bit; after a logarithm, which may make two scores one, to 1e-6 of the score."""
    torch.manual_seed(0)
    model = wake(ANN(replace(TINY, align_corners=align_corners))).to(memory_format=layout)
    images = torch.randn(2, 3, 33, 57)
    labels = make_label_predictor(model, WAYS[way])(images)
    logits = make_predictor(model, WAYS[way])(images)
    assert (labels.dtype, labels.shape) == (torch.uint8, (2, 33, 57))
    best = logits.amax(1)
    worse = best - logits.gather(1, labels[:, None].long())[:, 0]
    assert (worse <= 1e-6 * best.abs()).all()
    if way not in ("scales and flips", "all"):
        assert torch.equal(labels.long(), logits.argmax(1))


@pytest.mark.parametrize("way", ["whole", "base size"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_are_the_best_of_the_maps_that_torch_makes(way: str, align_corners: bool) -> None:
    torch.manual_seed(0)
    model = wake(ANN(replace(TINY, align_corners=align_corners))).eval()
    images, size = torch.randn(1, 3, 70, 131), WAYS[way].base_size
    seen = images if size is None else resize_bilinear(images, fit((70, 131), size), False)
    logits = resize_bilinear(model(seen).main, (70, 131), align_corners)
    labels = make_label_predictor(model, WAYS[way])(images)
    worse = logits.amax(1) - logits.gather(1, labels[:, None].long())[:, 0]
    assert (worse <= 1e-6 * logits.abs().max()).all()


@pytest.mark.parametrize(
    ("limit", "batches"),
    [(1, [1] * 12), (3 * 17 * 25, [3] * 4), (5 * 17 * 25, [5, 5, 2]), (2**18, [12])],
)
def test_several_windows_go_through_the_network_at_once(
    monkeypatch: pytest.MonkeyPatch, limit: int, batches: list[int]
) -> None:
    torch.manual_seed(0)
    model, images, seen = wake(ANN(TINY)), torch.randn(1, 3, 33, 57), []
    expected = make_predictor(model, SLIDE)(images)
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    monkeypatch.setattr(inference, "CPU_PIXELS", limit)
    found = make_predictor(model, SLIDE)(images)
    assert seen == batches
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("limit", "expected"), [(33 * 57, [1, 1]), (2 * 33 * 57, [2])])
def test_mirror_image_goes_with_its_image_where_both_are_small(
    monkeypatch: pytest.MonkeyPatch, limit: int, expected: list[int]
) -> None:
    model, batches = wake(ANN(TINY)), []
    model.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    monkeypatch.setattr(inference, "CPU_PIXELS", limit)
    make_label_predictor(model, TestConfig(flip=True))(torch.randn(1, 3, 33, 57))
    assert batches == expected


def test_only_one_whole_map_is_made_where_scores_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twelve passes over 150 classes at 1024 x 2048 would not fit into any memory."""
    monkeypatch.setattr(inference, "CPU_PIECE", 2**11)
    images, full = torch.randn(1, 3, 80, 120), 50 * 80 * 120 * 4
    low = scoring(lambda x: torch.randn(1, 50, *(side // 8 for side in x.shape[2:])))
    with Living() as living:
        scores = scales_and_flips(low, images, (80, 120), MULTI_SCALE, True, False)
        whole(scores._replace(shape=(1, 50, 80, 120)))
    assert 1 < living.most / full < 1.5


def test_more_classes_than_a_byte_holds_have_no_labels() -> None:
    model = ANN(replace(TINY, num_classes=256))
    with pytest.raises(ValueError, match="256 classes, but a byte holds 255"):
        make_label_predictor(model, TestConfig())


def test_labels_are_refused_where_logits_are() -> None:
    with pytest.raises(ValueError, match="needs window and stride"):
        make_label_predictor(ANN(TINY), TestConfig(mode="slide"))


SIZE = st.tuples(SIDE, SIDE)


def some_maps(size: tuple[int, int], batch: int = 2, num_classes: int = 5) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(batch, num_classes, *size)


def two_resizes(align_corners: bool = False) -> ScoreMap:
    """As of a test at another size: of the map to that of the test, then to that of the image."""
    maps = ready(some_maps((6, 7)))
    return resized(resized(maps, (41, 49), align_corners), (37, 53), align_corners)


@few
@given(old=SIZE, new=SIZE, align_corners=st.booleans())
def test_resized_map_is_that_of_torch(
    old: tuple[int, int], new: tuple[int, int], align_corners: bool
) -> None:
    maps = some_maps(old)
    found = whole(resized(ready(maps), new, align_corners))
    expected = resize_bilinear(maps, new, align_corners)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(maps.abs().max()))


def test_ratio_that_is_no_fraction_of_two_is_rounded_as_torch_rounds_it() -> None:
    """1025 rows to 1024: a place computed in another precision is 6e-5 of a row away."""
    rows = torch.linspace(0, 1024, 1025).expand(1, 1, 1, 1025).mT.contiguous()
    found = whole(resized(ready(rows), (1024, 1), False))
    assert (found - resize_bilinear(rows, (1024, 1), False)).abs().max() <= 6.2e-5


@few
@given(data=st.data(), align_corners=st.booleans())
def test_piece_is_a_part_of_the_whole(data: st.DataObject, align_corners: bool) -> None:
    scores = two_resizes(align_corners)
    first, top = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 36))
    classes = slice(first, data.draw(st.integers(first + 1, 5)))
    rows = slice(top, data.draw(st.integers(top + 1, 37)))
    assert torch.equal(scores.piece(classes, rows), whole(scores)[:, classes, rows])
    averaged = mean_probability([(scores, False), (scores, True)])
    expected = whole(averaged)[:, classes, rows]
    torch.testing.assert_close(averaged.piece(classes, rows), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("numbers", [1, 53, 200, 2**19])
def test_size_of_the_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    logits = two_resizes()
    averaged = mean_probability([(logits, False), (two_resizes(True), True)])
    expected, classes, probabilities = whole(logits), best_classes(logits), whole(averaged)
    monkeypatch.setattr(inference, "CPU_PIECE", numbers)
    assert torch.equal(whole(logits), expected)
    assert torch.equal(best_classes(logits), classes)
    torch.testing.assert_close(whole(averaged), probabilities, rtol=1e-6, atol=0)


@pytest.mark.parametrize("align_corners", [False, True])
def test_best_classes_are_the_argmax_of_the_whole_map(align_corners: bool) -> None:
    scores = two_resizes(align_corners)
    classes = best_classes(scores)
    assert classes.dtype == torch.uint8
    assert torch.equal(classes.long(), whole(scores).argmax(1))
    assert classes.unique().tolist() == [0, 1, 2, 3, 4]


@few
@given(seed=st.integers(0, 1000), num_classes=st.integers(1, 255))
def test_first_of_equally_high_planes_counts(seed: int, num_classes: int) -> None:
    torch.manual_seed(seed)
    planes = torch.randint(-3, 3, (num_classes, 4, 6)).float()
    assert torch.equal(first_of_highest(iter(planes)).long(), planes.argmax(0))


def test_planes_are_left_alone() -> None:
    planes = some_maps((4, 6))
    before = planes.clone()
    best_classes(resized(ready(planes), (4, 6), False))
    assert torch.equal(planes, before)


def test_channels_last_maps_have_the_same_classes() -> None:
    maps = some_maps((9, 11))
    last = maps.contiguous(memory_format=torch.channels_last)
    found, expected = (best_classes(resized(ready(m), (33, 57), False)) for m in (last, maps))
    assert torch.equal(found, expected)


def test_mean_probability_is_that_of_the_copies() -> None:
    maps = some_maps((9, 11)), some_maps((9, 11)).flip(1)
    scores = mean_probability([(ready(maps[0]), False), (ready(maps[1]), True)])
    expected = (maps[0].softmax(1) + maps[1].flip(-1).softmax(1)) / 2
    torch.testing.assert_close(whole(scores), expected)


def test_double_precision_stays_what_it_is() -> None:
    maps = some_maps((9, 11)).double()
    found = whole(resized(ready(maps), (33, 57), True))
    torch.testing.assert_close(found, resize_bilinear(maps, (33, 57), True), rtol=0, atol=1e-6)


@pytest.mark.parametrize("together", [False, True])
def test_no_whole_map_is_made_where_classes_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    monkeypatch.setattr(inference, "CPU_PIECE", 2**11)
    maps, size = torch.randn(1, 50, 10, 15), (80, 120)
    with Living() as living:
        scores = resized(ready(maps), size, False)
        best_classes(mean_probability([(scores, False), (scores, True)]) if together else scores)
    full = 50 * size[0] * size[1] * 4
    assert living.most < full / 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
def test_a_gpu_finds_the_same_classes() -> None:
    maps = some_maps((64, 128), num_classes=19)
    for made in (ready(maps.cuda()), mean_probability([(ready(maps.cuda()), True)])):
        scores = resized(made, (512, 1024), False)
        assert torch.equal(best_classes(scores).long(), whole(scores).argmax(1))


@few
@given(side=SIDE, window=SIDE, stride=SIDE)
def test_windows_are_placed_like_the_references_grid(side: int, window: int, stride: int) -> None:
    count = max(side - window + stride - 1, 0) // stride + 1
    ends = [min(number * stride + window, side) for number in range(count)]
    assert window_starts(side, window, stride) == [max(end - window, 0) for end in ends]


@few
@given(side=SIDE, window=SIDE, data=st.data())
def test_windows_cover_every_pixel(side: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    starts = window_starts(side, window, stride)
    covered = [sum(s <= pixel < s + window for s in starts) for pixel in range(side)]
    assert times_covered(starts, window, side).tolist() == covered
    assert min(covered) >= 1


@few
@given(height=st.integers(5, 30), width=st.integers(5, 30))
def test_windows_of_a_pixelwise_predictor_make_no_difference(height: int, width: int) -> None:
    images = torch.randn(2, 3, height, width)
    (scores,) = sliding_window(scoring(brightness), window=(7, 9), stride=(4, 5))([images])
    torch.testing.assert_close(whole(scores), brightness(images))


def test_overlap_is_the_mean_of_the_windows() -> None:
    numbers = iter(range(2))
    score = sliding_window(scoring(lambda part: part[:, :1] + next(numbers)), (4, 4), (4, 2))
    (scores,) = score([torch.zeros(1, 3, 4, 6)])
    assert whole(scores)[0, 0, 0].tolist() == [0, 0, 0.5, 0.5, 1, 1]


@pytest.mark.parametrize("numbers", [1, 100, 2**19])
def test_mean_of_the_windows_equals_a_loop(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    monkeypatch.setattr(inference, "CPU_PIECE", numbers)
    torch.manual_seed(0)
    images, maps = torch.randn(2, 3, 20, 33), []

    def noise(part: Tensor) -> Tensor:
        maps.append(torch.randn(2, 4, *part.shape[2:]))
        return maps[-1]

    (scores,) = sliding_window(scoring(noise), (7, 9), (5, 6))([images])
    total, count = torch.zeros(2, 4, 20, 33), torch.zeros(20, 33)
    left = iter(maps)
    for top in window_starts(20, 7, 5):
        for start in window_starts(33, 9, 6):
            total[:, :, top : top + 7, start : start + 9] += next(left)
            count[top : top + 7, start : start + 9] += 1
    assert torch.equal(whole(scores), total / count)


def test_windows_of_several_images_stay_apart() -> None:
    images = [torch.randn(1, 3, 20, 33) for _ in range(3)]
    scores = sliding_window(scoring(brightness), (7, 9), (5, 6))(images)
    for found, image in zip(scores, images, strict=True):
        torch.testing.assert_close(whole(found), brightness(image))


def test_windows_are_not_copied() -> None:
    images, windows = torch.randn(1, 3, 20, 33), []
    sliding_window(scoring(lambda part: windows.append(part) or part), (7, 9), (5, 6))([images])
    assert len(windows) == 20
    assert {part.untyped_storage().data_ptr() for part in windows} == {images.data_ptr()}
