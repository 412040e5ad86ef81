"""Pre-flight, sliding windows and the rehearsal: lesson 9."""

from pathlib import Path

import numpy as np
import pytest
import torch

from annlib.course.plots.scenes import coverage, window_map
from annlib.course.row_costs import GPUS, PRECISIONS, estimate, published_memory, share_reached
from annlib.course.training import measured_step, parameters_of, same_classes, sample_image
from annlib.course.widgets.costs import preflight
from annlib.course.widgets.scenes import window_sliders
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.synthetic import mimic
from annlib.model.build import shipped_model
from annlib.published_experiments import ROWS

T4, H100 = GPUS["Tesla T4, 16 GB"], GPUS["H100, 80 GB"]


FEW = [ROWS[0], *(pytest.param(row, marks=pytest.mark.all) for row in ROWS[1:-1]), ROWS[-1]]


@pytest.mark.parametrize("row", FEW, ids=lambda row: getattr(row, "name", None))
def test_estimate_of_the_published_batch_is_the_published_memory(row) -> None:
    found = estimate(row.name, H100, row.batch_per_gpu, "fp32")
    assert found.memory_gb == pytest.approx(published_memory(row))


def test_estimate_grows_with_the_batch_by_maps_alone() -> None:
    one, four = (estimate(ROWS[0].name, T4, n, "fp32") for n in (1, 4))
    assert four.fixed_gb == one.fixed_gb and four.maps_gb == pytest.approx(4 * one.maps_gb)
    assert four.hours == one.hours  # the recipe's pictures are the same


def test_verdict_says_fits_tight_or_not() -> None:
    found = [estimate(ROWS[0].name, T4, n, "fp32").verdict[0] for n in (2, 5, 8)]
    assert found == ["✓", "!", "✗"]
    assert estimate(ROWS[0].name, T4, 8, PRECISIONS[1]).verdict[0] == "✓"


def test_the_published_gpu_reached_a_believable_share_of_its_peak() -> None:
    assert 0.4 < share_reached() < 0.9


def test_preflight_shows_every_state() -> None:
    widget = preflight()
    for name in (ROWS[0].name, ROWS[9].name, ROWS[15].name):
        for gpu in GPUS:
            for precision in PRECISIONS:
                widget.draw(name, gpu, 16, precision)


def test_windows_cover_every_pixel_and_their_number_is_told() -> None:
    tops, lefts, counts = coverage((10, 20), (8, 8), (5, 8))
    assert (tops, lefts) == ([0, 2], [0, 8, 12]) and counts.min() == 1 and counts.max() == 4
    alt = window_map(np.zeros((10, 20, 3), np.uint8), (8, 8), (5, 8)).alt
    assert "2 x 3 windows" in alt and "1 to 4 times" in alt


@pytest.mark.all
def test_window_sliders_show_every_state() -> None:
    widget = window_sliders(np.full((32, 64, 3), 200, np.uint8))
    for _, side in widget.controls["window"].options:
        for _, share in widget.controls["stride"].options:
            widget.draw(side, share)


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "voc12aug"])
def test_sample_image_is_as_it_lies_on_disk(name: str, tmp_path: Path) -> None:
    mimic(name, tmp_path / "data", train=2, val=1, size=(32, 64))
    image, raw = sample_image(tmp_path / "data", name)
    assert image.shape[:2] == tuple(raw.shape) and image.dtype == np.uint8


def test_one_picture_foretells_eight_within_a_fifth() -> None:
    one, eight = (measured_step("ann", n, torch.device("cpu")) for n in (1, 8))
    fixed = 12 * parameters_of("ann")
    assert (fixed + 8 * (one - fixed)) / eight == pytest.approx(1, abs=0.2)


def test_bf16_changes_few_classes() -> None:
    share, answers = same_classes(shipped_model("balloon_ann"), make_scene(1_000_021).image)
    assert share > 0.98 and set(answers) == {"fp32", "bf16"}
