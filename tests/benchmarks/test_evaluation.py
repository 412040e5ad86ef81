"""Evaluations that race: every way counts the same pixels."""

import pytest
import torch
from tiny_zoo import ADE20K, CITYSCAPES, CITYSCAPES_769, SHRINK, narrow_row
from torch import Tensor

from annlib.config import IGNORE_INDEX, RuntimeConfig
from annlib.course.row_costs import image_size, shrunk
from annlib.engine.inference import make_predictor
from annlib.engine.metrics import ConfusionMatrix
from annlib.model.ann import ANN, Logits
from annlib.published_experiments import Published
from benchmarks.evaluation import (
    areas,
    class_map,
    counting,
    evaluation,
    label_map,
    our_areas,
    post_processing,
)
from benchmarks.mmseg_reference import installed
from benchmarks.network import Variant, make_image, our_network, variants

pytestmark = pytest.mark.all

CPU = torch.device("cpu")
OTHERS = ("reference",) if installed() else ()
ROWS = [narrow_row(name) for name in (CITYSCAPES, CITYSCAPES_769, ADE20K)]
rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def counted(classes: Tensor, labels: Tensor, num_classes: int) -> list[list[int]]:
    """(4, K) by looking at every class on its own."""
    found = []
    for c in range(num_classes):
        predicted = (classes == c) & (labels != IGNORE_INDEX)
        labelled = labels == c
        both, either = predicted & labelled, predicted | labelled
        found.append([int(each.sum()) for each in (both, either, predicted, labelled)])
    return torch.tensor(found).T.tolist()


def close(found: Tensor, expected: Tensor, share: float) -> bool:
    """Rounding may decide between two classes of the same score."""
    return float((found - expected).abs().sum()) <= share * float(expected[3].sum())


def test_areas_are_those_of_each_class() -> None:
    classes, labels = torch.randint(5, (13, 17)), torch.randint(5, (13, 17))
    labels[:3] = IGNORE_INDEX
    matrix = ConfusionMatrix(5)
    matrix.update(classes, labels)
    assert areas(matrix.counts).tolist() == counted(classes, labels, 5)
    assert our_areas(classes, labels, 5).tolist() == counted(classes, labels, 5)


@pytest.mark.parametrize("way", ["bincount", *OTHERS, "ours"])
@rows
def test_every_way_of_counting_counts_the_same(row: Published, way: str) -> None:
    found = counting(way, row, SHRINK, CPU).call()
    size = image_size(row.experiment, SHRINK)
    num_classes = row.experiment.model.num_classes
    classes = class_map(size, num_classes, "predictions", CPU)
    expected = counted(classes, label_map(size, num_classes, CPU), num_classes)
    assert found.long().tolist() == expected


@pytest.mark.parametrize("way", ["tiled", *OTHERS])
@rows
def test_every_way_after_the_network_counts_the_same(row: Published, way: str) -> None:
    expected = post_processing("whole map", row, SHRINK, CPU).call()
    found = post_processing(way, row, SHRINK, CPU).call()
    assert len(expected[3].unique()) > 1
    assert close(found, expected, share=1e-3)


@rows
def test_all_contestants_count_the_same(row: Published) -> None:
    """All scores of all pixels, then the argmax, is the other way."""
    small, size = shrunk(row.experiment, SHRINK), image_size(row.experiment, SHRINK)
    num_classes = row.experiment.model.num_classes
    images, labels = make_image(size, CPU), label_map(size, num_classes, CPU)
    logits = make_predictor(our_network(row), small.test)(images)
    expected = our_areas(logits.argmax(1)[0], labels, num_classes)
    for each in variants("frozen", RuntimeConfig()):
        found = evaluation(each, row, SHRINK, CPU).call()
        assert close(found, expected, share=5e-3), each.name


def test_half_precision_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, seen = ANN.forward, []

    def watched(self: ANN, images: Tensor, **options: tuple[int, int]) -> Logits:
        seen.append(torch.is_autocast_enabled("cpu"))
        return forward(self, images, **options)

    monkeypatch.setattr(ANN, "forward", watched)
    for precision in ("fp32", "bf16"):
        evaluation(Variant("folded", RuntimeConfig(precision)), narrow_row(), SHRINK, CPU).call()
    assert seen == [False, True]


def test_labels_are_regions_of_which_some_are_ignored() -> None:
    labels = label_map((100, 333), 3, CPU)
    assert labels.shape == (100, 333) and labels.dtype == torch.int64
    assert set(labels.unique().tolist()) == {0, 1, 2, IGNORE_INDEX}
    changes = (labels[:, 1:] != labels[:, :-1]).float().mean()
    assert changes < 0.05
    assert labels.equal(label_map((100, 333), 3, CPU))
    assert not labels.equal(class_map((100, 333), 3, "predictions", CPU))
