"""The confusion matrix, scores, tables, and the images that a network fails on most."""

import json
from math import isnan, nan

import pytest
import torch
from golden_rules import arrays, golden
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data.classes import CAMVID
from annlib.engine.metrics import (
    MOST_SHOWN,
    ConfusionMatrix,
    ImageScore,
    Scores,
    evaluate,
    evaluate_labels,
    percent,
    score_of,
    score_table,
    summary_line,
    table,
    worst_images,
)

few = settings(max_examples=50, deadline=None)
DTYPES = (torch.uint8, torch.int16, torch.int32, torch.int64)


def random_pair(num_classes: int, height: int = 5, width: int = 7) -> tuple[Tensor, Tensor]:
    """Predictions and labels, a third of which are ignored.  -> two of (2, height, width)"""
    labels = torch.randint(num_classes, (2, height, width))
    labels[torch.rand(labels.shape) < 0.3] = IGNORE_INDEX
    return torch.randint(num_classes, (2, height, width)), labels


def matrix_of(predictions: Tensor, labels: Tensor, num_classes: int) -> ConfusionMatrix:
    matrix = ConfusionMatrix(num_classes)
    matrix.update(predictions, labels)
    return matrix


@few
@given(
    seed=st.integers(0, 1000),
    num_classes=st.sampled_from([1, 2, 3, 19, 150, 255]),
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
)
def test_counts_equal_a_loop_over_pixels(
    seed: int, num_classes: int, dtypes: tuple[torch.dtype, torch.dtype]
) -> None:
    torch.manual_seed(seed)
    predictions, labels = random_pair(num_classes)
    expected = [[0] * num_classes for _ in range(num_classes)]
    for prediction, label in zip(predictions.flatten(), labels.flatten(), strict=True):
        if label != IGNORE_INDEX:
            expected[label][prediction] += 1
    counts = matrix_of(predictions.to(dtypes[0]), labels.to(dtypes[1]), num_classes).counts
    assert counts.tolist() == expected


@pytest.mark.parametrize("anything", [-1, 4, 255, 256, 2**40])
def test_predictions_where_no_label_is_may_be_anything(anything: int) -> None:
    predictions, labels = torch.tensor([0, anything, 3]), torch.tensor([1, IGNORE_INDEX, 2])
    counts = matrix_of(predictions, labels, 4).counts
    assert counts.nonzero().tolist() == [[1, 0], [2, 3]]


def test_maps_without_a_pixel_add_nothing() -> None:
    nothing = torch.zeros(0, 7, dtype=torch.int64)
    assert not matrix_of(nothing, nothing, 4).counts.any()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_predictions_and_labels_are_left_alone(dtype: torch.dtype) -> None:
    pair = [part.to(dtype) for part in random_pair(4)]
    before = [part.clone() for part in pair]
    matrix_of(*pair, 4)
    assert all(map(torch.equal, pair, before))


def test_more_classes_than_a_label_can_tell_are_refused() -> None:
    with pytest.raises(ValueError, match="256 classes are too many to score"):
        ConfusionMatrix(256)


@pytest.fixture(scope="module")
def reference_matrix() -> ConfusionMatrix:
    stored, matrix = arrays("iou_inputs"), ConfusionMatrix(golden()["iou"]["num_classes"])
    for number in range(3):
        matrix.update(stored[f"pred{number}"], stored[f"label{number}"])
    return matrix


def test_areas_agree_with_the_reference(reference_matrix: ConfusionMatrix) -> None:
    counts, reference = reference_matrix.counts, golden()["iou"]
    assert counts.diagonal().tolist() == reference["area_intersect"]
    assert counts.sum(0).tolist() == reference["area_pred"]
    assert counts.sum(1).tolist() == reference["area_label"]


def test_scores_agree_with_the_reference(reference_matrix: ConfusionMatrix) -> None:
    # The reference divides in float32.
    scores, reference = reference_matrix.scores(), golden()["iou"]
    assert scores.iou.tolist() == pytest.approx(reference["IoU"], rel=1e-6, nan_ok=True)
    assert scores.accuracy.tolist() == pytest.approx(reference["Acc"], rel=1e-6, nan_ok=True)
    assert scores.pixel_accuracy == pytest.approx(reference["aAcc"], rel=1e-6)


def test_means_agree_with_the_references_rounded_summary(reference_matrix: ConfusionMatrix) -> None:
    scores, summary = reference_matrix.scores(), golden()["iou"]["summary_rounded"]
    assert 100 * scores.miou == pytest.approx(summary["mIoU"], abs=0.0051)
    assert 100 * scores.mean_accuracy == pytest.approx(summary["mAcc"], abs=0.0051)
    assert 100 * scores.pixel_accuracy == pytest.approx(summary["aAcc"], abs=0.0051)


def test_matrices_of_parts_add_up_to_that_of_the_whole() -> None:
    predictions, labels = random_pair(4)
    parts = [matrix_of(predictions[i], labels[i], 4) for i in (0, 1)]
    whole = matrix_of(predictions, labels, 4)
    assert torch.equal((parts[0] + parts[1]).counts, whole.counts)


def test_order_of_batches_does_not_matter() -> None:
    pairs = [random_pair(4) for _ in range(3)]
    samples = [(one_hot(predictions, 4), labels) for predictions, labels in pairs]
    forward, backward = (evaluate(lambda x: x, part, 4) for part in (samples, samples[::-1]))
    assert torch.equal(forward.counts, backward.counts)


def one_hot(predictions: Tensor, num_classes: int) -> Tensor:
    """Logits whose argmax is known.  (B, H, W) -> (B, K, H, W)"""
    return torch.nn.functional.one_hot(predictions, num_classes).movedim(-1, 1)


def test_classes_count_like_the_logits_that_they_are_the_best_of() -> None:
    pairs = [random_pair(4) for _ in range(3)]
    logits = evaluate(lambda x: x, [(one_hot(p, 4), labels) for p, labels in pairs], 4)
    classes = evaluate_labels(lambda x: x, [(p.byte(), labels) for p, labels in pairs], 4)
    assert torch.equal(logits.counts, classes.counts)


def test_perfect_prediction_scores_one() -> None:
    labels = random_pair(4, 9, 11)[1]
    scores = evaluate(lambda x: x, [(one_hot(labels % 255, 4), labels)], 4).scores()
    assert (scores.miou, scores.mean_accuracy, scores.pixel_accuracy) == (1, 1, 1)


def test_class_that_occurs_nowhere_is_nan_and_left_out() -> None:
    labels = torch.tensor([[0, 1, 1]])
    scores = matrix_of(torch.tensor([[0, 1, 0]]), labels, 3).scores()
    assert isnan(scores.iou[2]) and isnan(scores.accuracy[2])
    assert scores.miou == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_class_that_is_only_predicted_counts_as_zero() -> None:
    scores = matrix_of(torch.tensor([[0, 2]]), torch.tensor([[0, 0]]), 3).scores()
    assert scores.iou[2] == 0
    assert isnan(scores.accuracy[2])


@pytest.mark.parametrize("wrong", [-1, 4, 254, 256, 260, 2**16 + 1, 2**40, -(2**40)])
@pytest.mark.parametrize("kind", ["label", "prediction"])
def test_value_out_of_range_is_named_in_the_error(kind: str, wrong: int) -> None:
    good, bad = torch.tensor([0, 3, 1]), torch.tensor([0, wrong, 1])
    pair = (good, bad) if kind == "label" else (bad, good)
    matrix = matrix_of(good, good, 4)
    with pytest.raises(ValueError, match=f"A {kind} is {wrong}, but there are 4 classes"):
        matrix.update(*pair)
    assert matrix.counts.tolist() == matrix_of(good, good, 4).counts.tolist()  # nothing of it


@pytest.mark.parametrize("kind", ["label", "prediction"])
def test_byte_out_of_range_is_named_in_the_error(kind: str) -> None:
    good, bad = (torch.tensor(values, dtype=torch.uint8) for values in ([0, 3, 1], [0, 7, 5]))
    pair = (good, bad) if kind == "label" else (bad, good)
    with pytest.raises(ValueError, match=f"A {kind} is 5, but there are 4 classes"):
        ConfusionMatrix(4).update(*pair)


def test_prediction_of_255_is_no_class() -> None:
    for dtype in DTYPES:
        with pytest.raises(ValueError, match="A prediction is 255, but there are 4"):
            matrix_of(torch.tensor([255], dtype=dtype), torch.tensor([1]), 4)


def test_shapes_that_differ_are_named_in_the_error() -> None:
    with pytest.raises(ValueError, match=r"\(2, 5, 7\).*\(2, 5, 8\)"):
        ConfusionMatrix(4).update(torch.zeros(2, 5, 7), torch.zeros(2, 5, 8))


def test_bytes_are_counted_like_long_integers() -> None:
    predictions, labels = random_pair(6)
    small = matrix_of(predictions.to(torch.uint8), labels.to(torch.uint8), 6)
    assert torch.equal(small.counts, matrix_of(predictions, labels, 6).counts)


def test_accuracy_among_two_classes_looks_at_their_pixels_only() -> None:
    labels, predictions = torch.tensor([0, 0, 0, 1, 2, 1]), torch.tensor([0, 1, 2, 1, 0, 1])
    assert matrix_of(predictions, labels, 3).accuracy_among((0, 1)) == 3 / 4


@few
@given(seed=st.integers(0, 1000), num_classes=st.integers(1, 6))
def test_entries_of_parts_add_up_to_the_whole_matrix(seed: int, num_classes: int) -> None:
    torch.manual_seed(seed)
    parts = [matrix_of(*random_pair(num_classes), num_classes) for _ in range(3)]
    total = ConfusionMatrix(num_classes)
    for part in parts:
        assert all(count > 0 for *_, count in part.entries())
        total.add_entries(json.loads(json.dumps(part.entries())))
    assert torch.equal(total.counts, (parts[0] + parts[1] + parts[2]).counts)


def test_matrix_without_pixels_has_no_entries() -> None:
    matrix = ConfusionMatrix(3)
    assert matrix.entries() == []
    matrix.add_entries([])
    assert not matrix.counts.any()


@pytest.mark.parametrize("num_scores", [3, 5])
def test_network_of_another_number_of_classes_is_refused_with_both(num_scores: int) -> None:
    sample = (torch.zeros(1, num_scores, 5, 7), torch.zeros(1, 5, 7, dtype=torch.long))
    with pytest.raises(ValueError, match=f"has {num_scores} classes, the labels 4"):
        evaluate(lambda x: x, [sample], 4)


def test_scores_in_a_file_are_the_same_with_none_for_nan() -> None:
    scores = matrix_of(torch.tensor([[0, 1, 0]]), torch.tensor([[0, 1, 1]]), 3).scores()
    values = json.loads(json.dumps(scores.as_json(["sky", "car", "cat"]), allow_nan=False))
    assert values["miou"] == scores.miou
    assert values["mean_accuracy"] == scores.mean_accuracy
    assert values["pixel_accuracy"] == scores.pixel_accuracy
    assert values["classes"] == {
        "sky": {"iou": 1 / 2, "accuracy": 1},
        "car": {"iou": 1 / 2, "accuracy": 1 / 2},
        "cat": {"iou": None, "accuracy": None},
    }


def image(index: int, right: int, *wrong: tuple[int, int, int]) -> ImageScore:
    """With `right` pixels of sky found, and (label, prediction, pixels) confused."""
    matrix = ConfusionMatrix(CAMVID.num_classes)
    matrix.add_entries([[0, 0, right], *map(list, wrong)])
    return score_of(index, f"image{index}", matrix)


def names_in(page: str) -> list[str]:
    return [line.split()[1] for line in page.splitlines() if line.startswith("| image")][1:]


def test_worst_come_first_and_equals_in_order() -> None:
    images = [image(i, right, (0, 1, 10)) for i, right in enumerate([9, 5, 80, 5])]
    assert names_in(worst_images(images, CAMVID)) == [f"image{i}" for i in (1, 3, 0, 2)]


def test_list_is_short_and_says_of_how_many() -> None:
    page = worst_images([image(i, i + 1) for i in range(50)], CAMVID)
    assert len(names_in(page)) == MOST_SHOWN
    assert page.startswith(f"# The worst {MOST_SHOWN} of 50 images\n")


def test_images_without_a_label_cannot_be_wrong() -> None:
    empty = score_of(0, "image0", ConfusionMatrix(CAMVID.num_classes))
    assert (empty.miou, empty.pixel_accuracy, empty.counts) == (None, None, [])
    assert names_in(worst_images([empty, image(1, 5)], CAMVID)) == ["image1"]


def test_most_confused_pair_is_named_with_its_share_and_direction() -> None:
    page = worst_images([image(0, 50, (8, 9, 10), (9, 8, 40))], CAMVID)
    assert "| pedestrian classified as car: 40.00 % of the pixels |" in page


def test_perfect_image_has_nothing_confused() -> None:
    assert cells(worst_images([image(0, 50)], CAMVID).split("\n\n")[2])[1][3] == "nothing"


def test_score_of_a_image_is_that_of_its_matrix() -> None:
    matrix = ConfusionMatrix(11)
    matrix.update(torch.randint(11, (5, 7)), torch.randint(11, (5, 7)))
    score = score_of(3, "name", matrix)
    assert (score.index, score.name) == (3, "name")
    assert score.miou == matrix.scores().miou
    assert score.pixel_accuracy == matrix.scores().pixel_accuracy


WORD = st.text("abcdefgh 0123456789.", max_size=9)
SCORES = Scores(torch.tensor([0.5, nan, 0.25]), torch.tensor([1.0, nan, 0.125]), 0.756)


def cells(text: str) -> list[list[str]]:
    """Read back as Markdown does, the rule left out."""
    header, _, *rows = text.splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, *rows)]


@given(rows=st.lists(st.tuples(WORD, WORD, WORD), max_size=4))
def test_cells_can_be_read_back(rows: list[tuple[str, str, str]]) -> None:
    expected = [[text.strip() for text in row] for row in [("a", "b", "c"), *rows]]
    assert cells(table(["a", "b", "c"], rows)) == expected


@given(rows=st.lists(st.tuples(WORD, WORD), max_size=4))
def test_columns_are_aligned(rows: list[tuple[str, str]]) -> None:
    lines = table(["name", "number"], rows).splitlines()
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in lines}) == 1


def test_names_stand_left_and_numbers_right() -> None:
    assert table(["a", "b"], [["xyz", "1"], ["x", "100"]]).splitlines() == [
        "| a   |   b |",
        "|-----|----:|",
        "| xyz |   1 |",
        "| x   | 100 |",
    ]


def test_share_has_two_decimals_of_a_percent() -> None:
    assert [percent(share) for share in (0.774, 1.0, 0.0, nan)] == ["77.40", "100.00", "0.00", "-"]


def test_scores_of_each_class_and_their_means_are_shown() -> None:
    expected = [
        ["class", "IoU %", "accuracy %"],
        ["sky", "50.00", "100.00"],
        ["cat", "-", "-"],
        ["car", "25.00", "12.50"],
        ["mean", "37.50", "56.25"],
    ]
    classes, below = score_table(SCORES, ["sky", "cat", "car"]).split("\n\n")
    assert cells(classes) == expected
    assert below == "mIoU 37.50  mAcc 56.25  aAcc 75.60"


def test_scores_of_nothing_are_dashes() -> None:
    nothing = Scores(torch.tensor([nan]), torch.tensor([nan]), nan)
    assert summary_line(nothing) == "mIoU -  mAcc -  aAcc -"
