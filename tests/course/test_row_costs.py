"""Costs of a row: sizes divided, one image, one step, and the parts of the network."""

from dataclasses import replace
from itertools import count

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import HEADS, TINY
from tiny_zoo import CITYSCAPES, CITYSCAPES_769, SHRINK, VOC12AUG, tiny_row
from torch import Tensor

from annlib.config import Experiment, Head, ModelConfig, RuntimeConfig
from annlib.course import profiler, row_costs
from annlib.course.profiler import Timing, peak_bytes
from annlib.course.row_costs import (
    LARGEST_FACTOR,
    REST,
    Cost,
    Measuring,
    RowCost,
    gflops_by_part,
    image_size,
    inference_cost,
    noise_batch,
    predictions,
    share_of_one_gpu,
    shrunk,
    shrunk_size,
    training_cost,
    training_steps,
)
from annlib.engine.inference import fit
from annlib.model.ann import ANN, Logits
from annlib.model.build import build_model
from annlib.published_experiments import ROWS, Published, published
from benchmarks.network import (
    milliseconds_by_part,
    network_input,
    parameters_by_part,
    parts_of,
    parts_table,
    spent_by_part,
)
from benchmarks.verify_zoo import reference_costs

# Published experiments with every side divided.


each = pytest.mark.parametrize(
    "experiment", [row.experiment for row in ROWS], ids=lambda experiment: experiment.name
)


@each
def test_divided_by_one_it_is_the_published_experiment(experiment: Experiment) -> None:
    assert shrunk(experiment, 1) == experiment


@given(cells=st.integers(1, 200), factor=st.integers(1, LARGEST_FACTOR), odd=st.integers(0, 1))
def test_an_odd_side_stays_one_more_than_an_even_one(cells: int, factor: int, odd: int) -> None:
    side = 2 * cells * factor + odd
    assert shrunk_size((side, side), factor) == (2 * cells + odd, 2 * cells + odd)


def test_windows_shrink_with_the_crop() -> None:
    small = shrunk(published("ann_r50-d8_769x769_40k_cityscapes").experiment, 8)
    assert small.data.crop_size == small.test.window == (97, 97)
    assert small.test.stride == (65, 65)
    assert small.data.base_size == small.test.base_size == (129, 257)


@each
def test_network_and_recipe_stay(experiment: Experiment) -> None:
    small = shrunk(experiment, LARGEST_FACTOR)
    assert (small.name, small.model, small.train) == (
        experiment.name,
        experiment.model,
        experiment.train,
    )
    assert small.data.batch_size == experiment.data.batch_size


@pytest.mark.parametrize("factor", [-1, 0, LARGEST_FACTOR + 1])
def test_factor_that_leaves_nothing_is_refused(factor: int) -> None:
    with pytest.raises(ValueError, match=rf"divided by {factor} \(--shrink\)"):
        shrunk(ROWS[0].experiment, factor)


@each
def test_pictures_become_the_published_sizes_on_their_way(experiment: Experiment) -> None:
    """mmseg's measurement ran its test pipeline: this is what its networks saw."""
    seen = fit(image_size(experiment, 1), experiment.test.base_size)
    sizes = {"whole": (1024, 2048), "slide": (1025, 2049)}
    cityscapes = experiment.data.dataset == "cityscapes"
    assert seen == (sizes[experiment.test.mode] if cityscapes else (512, 683))


# What a row costs here.


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
    classes = next(predictions(shrunk(row.experiment, SHRINK), SMALL))
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
    images, labels = noise_batch(experiment, SMALL.device)
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
            next(predictions(experiment, replace(SMALL, compute=RuntimeConfig(precision))))
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
    assert RowCost(published(CITYSCAPES), None, step).hours == pytest.approx(
        40
    )  # 40,000 x 4 x 0.9 s


# A network's cost, part by part.


R50 = ModelConfig(50, num_classes=19)
PARAMETERS = {  # mmseg's, counted there
    "stem": 28_768,
    "layer1": 215_808,
    "layer2": 1_219_584,
    "layer3": 7_098_368,
    "layer4": 14_964_736,
    "afnb": 9_968_896,
    "reduce": 9_438_208,
    "apnb": 919_808,
    "classifier": 9_747,
    "auxiliary": 2_364_691,
    REST: 0,
}
GFLOPS = {"afnb": 164.13, "reduce": 154.62, "classifier": 0.16, "auxiliary": 38.73, REST: 0.0}
BACKBONE = ("stem", "layer1", "layer2", "layer3", "layer4")
SMALL = Measuring(torch.device("cpu"), shrink=SHRINK, repeat=1)


def test_parameters_of_each_part_are_the_references() -> None:
    assert parameters_by_part(R50) == PARAMETERS
    assert sum(PARAMETERS.values()) == reference_costs()["r50_19"]["parameters"]


@pytest.mark.slow
def test_gflops_of_each_part_are_the_references() -> None:
    found = gflops_by_part(R50, 1, (512, 1024), folded=False)
    assert sum(found[name] for name in BACKBONE) == pytest.approx(403.68, abs=0.01)
    for name, gflops in GFLOPS.items():
        assert found[name] == pytest.approx(gflops, abs=0.01), name
    shared = 2 * 512 * 256 * 64 * 128 / 1e9  # the projection that the reference computes twice
    assert found["apnb"] == pytest.approx(18.10 - shared, abs=0.01)


@pytest.mark.parametrize("head", HEADS)
def test_parts_of_every_head_hold_all_parameters(head: Head) -> None:
    counts = parameters_by_part(replace(TINY, head=head))
    model = build_model(replace(TINY, head=head))
    assert counts[REST] == 0
    assert sum(counts.values()) == sum(weight.numel() for weight in model.parameters())


def test_parts_add_up_to_all_that_a_clock_advances() -> None:
    ticks = count()
    spent = spent_by_part(ANN(TINY), torch.randn(1, 3, 32, 40), lambda: float(next(ticks)))
    assert sum(spent.values()) == next(ticks) - 1  # from the first look to the last
    assert all(spent[name] == 1 for name in spent if name != REST)  # one look at either end


def test_nothing_is_left_on_the_network() -> None:
    model = ANN(TINY).train()
    spent_by_part(model, torch.randn(1, 3, 32, 40), lambda: 0.0)
    assert model.training
    for part in parts_of(model).values():
        assert not part._forward_hooks and not part._forward_pre_hooks


def test_nothing_is_left_on_the_network_after_an_error() -> None:
    model = ANN(TINY)

    def broken() -> float:
        raise RuntimeError("no clock")

    with pytest.raises(RuntimeError, match="no clock"):
        spent_by_part(model, torch.randn(1, 3, 32, 40), broken)
    model(torch.randn(1, 3, 32, 40))


def test_time_goes_into_every_part() -> None:
    spent = milliseconds_by_part(TINY, (32, 40), SMALL)
    assert all(milliseconds > 0 for milliseconds in spent.values())


def test_sliding_row_is_measured_on_a_window_others_on_the_picture() -> None:
    full = Measuring(torch.device("cpu"))
    rows = ("ann_r50-d8_769x769_40k_cityscapes", "ann_r50-d8_512x512_20k_voc12aug")
    sizes = [network_input(published(name).experiment, full) for name in rows]
    assert sizes == [(769, 769), (512, 683)]


def test_last_line_of_the_table_is_the_sum_of_the_others() -> None:
    rule, text = 1, parts_table(tiny_row(CITYSCAPES_769).experiment, SMALL)
    lines = text.split("\n\n")[0].splitlines()[rule + 1 :]
    *parts, total = [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]
    for column in range(3):
        numbers = [float(part[column].replace(",", "")) for part in parts]
        assert sum(numbers) == pytest.approx(float(total[column].replace(",", "")), abs=0.06)
    assert "1 x 3 x 49 x 49" in text
