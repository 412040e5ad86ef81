"""What a row costs here."""

from dataclasses import replace

import pytest
import torch
from tiny_zoo import CITYSCAPES, CITYSCAPES_769, SHRINK, VOC12AUG, tiny_row
from torch import Tensor

from annlib.config import RuntimeConfig
from annlib.engine import profiler, row_costs
from annlib.engine.profiler import Timing, peak_bytes
from annlib.engine.row_costs import (
    Cost,
    Measuring,
    answers,
    device_hours,
    inference_cost,
    noise,
    share_of_one_gpu,
    shrunk,
    training_cost,
    training_steps,
)
from annlib.model.ann import ANN, Logits
from annlib.model.build import build_model
from annlib.zoo import ROWS, Published, published

SMALL = Measuring(torch.device("cpu"), shrink=SHRINK, repeat=1)


@pytest.fixture(autouse=True)
def no_warm_up_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.0)


def weight_bytes(row: Published) -> int:
    return sum(4 * weight.numel() for weight in build_model(row.experiment.model).parameters())


@pytest.mark.parametrize(
    ("name", "size"), [(CITYSCAPES, (64, 128)), (CITYSCAPES_769, (64, 128)), (VOC12AUG, (24, 31))]
)
def test_answer_is_a_class_for_every_pixel_of_the_picture(name: str, size: tuple) -> None:
    row = tiny_row(name)
    classes = next(answers(shrunk(row.experiment, SHRINK), SMALL))
    assert classes.shape == (1, *size)
    assert 0 <= int(classes.min()) <= int(classes.max()) < row.experiment.model.num_classes


def test_inference_is_of_one_picture_and_holds_the_weights() -> None:
    row = tiny_row()
    cost = inference_cost(row, SMALL)
    assert (cost.images, cost.size) == (1, (64, 128))
    assert cost.peak_gib * 2**30 > weight_bytes(row)
    assert cost.timing.median > 0


def test_training_is_of_one_share_and_holds_weights_gradients_and_momentum() -> None:
    row = tiny_row()
    cost = training_cost(row, SMALL)
    assert (cost.images, cost.size) == (2, (32, 64))
    maps = inference_cost(row, SMALL).peak_gib * 2**30 - weight_bytes(row)
    assert cost.peak_gib * 2**30 > 3 * weight_bytes(row) + maps


def test_memory_of_training_is_that_of_a_step_with_momentum() -> None:
    row = tiny_row()
    steps = training_steps(shrunk(share_of_one_gpu(row), SHRINK), SMALL)
    first = peak_bytes(lambda: next(steps), SMALL.device)  # the optimiser begins with nothing
    peak = training_cost(row, SMALL).peak_gib * 2**30
    assert peak - first == pytest.approx(weight_bytes(row), rel=0.1)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_shares_of_all_gpus_are_the_published_batch(row: Published) -> None:
    share = share_of_one_gpu(row)
    assert share.data.batch_size * row.num_gpus == row.experiment.data.batch_size
    assert replace(share, data=row.experiment.data) == row.experiment


def test_noise_has_the_shapes_of_a_batch_and_labels_of_the_classes() -> None:
    experiment = shrunk(tiny_row().experiment, SHRINK)
    images, labels = noise(experiment, SMALL.device)
    assert images.shape == (8, 3, 32, 64)
    assert labels.shape == (8, 32, 64)
    assert set(labels.unique().tolist()) == set(range(19))


def test_half_precision_is_passed_on_to_inference() -> None:
    experiment = shrunk(tiny_row().experiment, SHRINK)
    seen = []

    class Watched(ANN):
        def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Logits:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().forward(images, size)

    for precision in ("fp32", "bf16"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(row_costs, "build_model", Watched)
            patch.setattr(row_costs, "fuse_for_inference", lambda model: model)
            next(answers(experiment, replace(SMALL, compute=RuntimeConfig(precision))))
    assert seen == [False, True]


def test_half_precision_is_passed_on_to_training() -> None:
    experiment = shrunk(share_of_one_gpu(tiny_row()), SHRINK)
    torch.manual_seed(0)
    full = next(training_steps(experiment, SMALL)).loss
    torch.manual_seed(0)
    half = next(training_steps(experiment, replace(SMALL, compute=RuntimeConfig("bf16")))).loss
    assert full != half and torch.isclose(full, half, rtol=0.05)


def test_hours_of_a_training_are_those_of_all_its_gpus() -> None:
    step = Cost(2, (512, 1024), Timing(900.0, 0.0, 9e9), peak_gib=1.0)
    assert device_hours(published(CITYSCAPES), step) == pytest.approx(40)  # 40,000 x 4 x 0.9 s
