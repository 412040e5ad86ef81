"""A row at work on an imitation of its data set."""

from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
import torch
from tiny import wake
from tiny_zoo import ADE20K, CITYSCAPES, CITYSCAPES_769, SHRINK, VOC12AUG, tiny_row
from torch import Tensor

from annlib.config import Experiment, TestConfig
from annlib.data.datasets import DatasetSplits, open_data
from annlib.engine.inference import check_test, window_starts
from annlib.engine.metrics import ConfusionMatrix
from annlib.engine.row_costs import picture_size, share_of_one_gpu, shrunk
from annlib.model.ann import ANN
from annlib.zoo import ROWS, Published
from benchmarks.verify_zoo import check_evaluation, check_step, imitate, multi_scale, slide, whole

EXPERIMENT = shrunk(share_of_one_gpu(tiny_row()), SHRINK)
each_data_set = pytest.mark.parametrize("name", [CITYSCAPES, CITYSCAPES_769, ADE20K, VOC12AUG])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imitations")
    for name in ("cityscapes", "ade20k", "voc12aug"):
        imitate(name, folder / name, SHRINK)
    return folder


@pytest.fixture
def halves(root: Path) -> DatasetSplits:
    return open_data(EXPERIMENT.data, root / "cityscapes")


@pytest.fixture
def model() -> ANN:
    return wake(ANN(EXPERIMENT.model))


def evaluate_in_all_ways(experiment: Experiment, model: ANN, halves: DatasetSplits) -> None:
    test, crop_size = experiment.test, experiment.data.crop_size
    for way in (whole(test), slide(test, crop_size), multi_scale(test)):
        assert check_evaluation(model, way, halves.val).startswith("mIoU ")


@each_data_set
def test_every_data_set_is_trained_on_and_evaluated(name: str, root: Path) -> None:
    experiment = shrunk(share_of_one_gpu(tiny_row(name)), SHRINK)
    model = wake(ANN(experiment.model))
    halves = open_data(experiment.data, root / experiment.data.dataset)
    assert "weights moved" in check_step(experiment, model, halves.train)
    evaluate_in_all_ways(experiment, model, halves)


def test_imitated_pictures_have_a_typical_size_divided(halves: DatasetSplits) -> None:
    assert halves.val[0][1].shape == picture_size(EXPERIMENT, SHRINK)


def test_weights_that_nothing_flows_into_are_noticed(model: ANN, halves: DatasetSplits) -> None:
    """Weight decay moves them all the same."""
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    model.afnb.attention.softmax = Blocked()
    with pytest.raises(ValueError, match=r"loss .* of \d+ weights moved"):
        check_step(EXPERIMENT, model, halves.train)


class Blocked(torch.nn.Module):
    """A softmax that hands back a gradient of nothing but zeros."""

    def forward(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1).detach() + 0 * scores


def test_recipe_that_moves_nothing_is_noticed(model: ANN, halves: DatasetSplits) -> None:
    still = replace(EXPERIMENT, train=replace(EXPERIMENT.train, base_lr=0.0, min_lr=0.0))
    with pytest.raises(ValueError, match=r", 0 of \d+ weights moved"):
        check_step(still, model, halves.train)


def test_loss_that_is_no_number_is_noticed(model: ANN, halves: DatasetSplits) -> None:
    torch.nn.init.constant_(model.classifier.bias, nan)
    with pytest.raises(FloatingPointError, match="loss of step 1"):
        check_step(EXPERIMENT, model, halves.train)


def test_scores_that_are_no_numbers_are_noticed(model: ANN, halves: DatasetSplits) -> None:
    torch.nn.init.constant_(model.classifier.bias, nan)
    with pytest.raises(ValueError, match="NaN"):
        check_evaluation(model, EXPERIMENT.test, halves.val)


def test_pixels_that_are_not_counted_are_noticed(
    model: ANN, halves: DatasetSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = ConfusionMatrix.update

    def forgetful(self: ConfusionMatrix, predictions: Tensor, labels: Tensor) -> None:
        update(self, predictions[:, 32:], labels[:, 32:])

    monkeypatch.setattr(ConfusionMatrix, "update", forgetful)
    with pytest.raises(ValueError, match=r"mIoU [\d.e-]+, \d+ of \d+ pixels"):
        check_evaluation(model, EXPERIMENT.test, halves.val)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_slides_with_the_same_overlap(row: Published) -> None:
    test = slide(row.experiment.test, row.experiment.data.crop_size)
    check_test(test)
    for window, stride in zip(test.window, test.stride, strict=True):
        assert stride / window == pytest.approx(513 / 769, abs=0.003)
    if row.experiment.test.mode == "slide":
        assert test == row.experiment.test


def test_whole_has_no_windows_and_keeps_its_size() -> None:
    test = TestConfig("slide", (9, 9), (5, 5), base_size=(17, 33))
    assert whole(test) == TestConfig("whole", base_size=(17, 33))


def test_windows_of_a_crop_cover_more_than_one_place() -> None:
    test = slide(EXPERIMENT.test, EXPERIMENT.data.crop_size)
    assert len(window_starts(64, test.window[0], test.stride[0])) > 1
