"""Pieces of maps against the whole maps that torch makes in one go."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from living import Living
from torch import Tensor

from annlib.engine import inference
from annlib.engine.inference import (
    ScoreMap,
    best_classes,
    first_of_highest,
    mean_probability,
    ready,
    resized,
    whole,
)
from annlib.model.ann import resize_bilinear

few = settings(max_examples=50, deadline=None)
SIDE = st.integers(1, 40)
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
