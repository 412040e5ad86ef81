"""The rule behind the reference's numbers, and the copies that the zoo is held to."""

from pathlib import Path

import pytest
import torch
from golden_rules import arrays, golden

from annlib.zoo import ROWS, Published
from benchmarks import verify_zoo as rule
from benchmarks.verify_zoo import (
    difference,
    fill,
    reference_costs,
    reference_logits,
    reference_weights,
    shapes,
)

CLASSIFIER = "decode_head.conv_seg.weight"


def test_logits_are_those_of_the_reference_run() -> None:
    for depth, name in ((50, "fwd_r50_21_97x129_f32"), (101, "fwd_r101_150_97x129_f32_feat")):
        stored = arrays(name)
        ours = reference_logits(depth)
        assert torch.equal(ours["logits"], stored["head_logits"])
        assert torch.equal(ours["aux"], stored["aux_logits"])


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize(("depth", "num_classes"), [(50, 19), (50, 21), (101, 150)])
def test_classes_are_those_of_the_reference_run(
    depth: int, num_classes: int, align_corners: int
) -> None:
    classes = reference_logits(depth)[f"classes_{num_classes}_ac{align_corners}"]
    statistics = golden()["forward"][f"fwd_r{depth}_{num_classes}_97x129_f32"]
    counts = classes.flatten().long().bincount(minlength=num_classes)
    assert counts.tolist() == statistics[f"pred_ac{align_corners}"]["bincount"]


def test_logits_of_fewer_classes_are_the_first_of_more() -> None:
    of_19 = arrays("fwd_r50_19_97x129_f32_feat")["head_logits"]
    assert torch.equal(reference_logits(50)["logits"][:, :19], of_19)


def test_classifier_of_fewer_classes_is_the_beginning_of_that_of_more() -> None:
    more, fewer = (fill(CLASSIFIER, (classes, 512, 1, 1)) for classes in (150, 21))
    assert torch.equal(more[:21], fewer)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_has_its_counts_at_its_crop(row: Published) -> None:
    experiment = row.experiment
    height, width = experiment.data.crop_size
    counts = reference_costs()[f"r{experiment.model.depth}_{experiment.model.num_classes}"]
    assert counts["without_auxiliary"] < counts["parameters"]
    assert counts["gflops_auxiliary"][f"{height}x{width}"] < counts["gflops"][f"{height}x{width}"]


def test_shapes_add_up_to_the_parameters_that_were_counted() -> None:
    """Two ways of counting mmseg's: its list of names, and what it said of itself."""
    for depth in (50, 101):
        for num_classes in (19, 21, 150):
            table = shapes(depth, num_classes)
            numbers = [
                torch.Size(shape).numel()
                for key, shape in table.items()
                if key.rpartition(".")[2] in ("weight", "bias")
                and "context.stages.0.query_project" not in key  # listed twice
            ]
            assert sum(numbers) == reference_costs()[f"r{depth}_{num_classes}"]["parameters"]


def test_weights_have_names_and_shapes_of_a_released_file(monkeypatch) -> None:
    monkeypatch.setattr(rule, "shapes", lambda depth, classes: {"a.weight": (classes, depth, 1, 1)})
    weights = reference_weights(50, 21)
    assert {key: tuple(weight.shape) for key, weight in weights.items()} == {
        "a.weight": (21, 50, 1, 1)
    }


def test_difference_is_relative_to_the_largest() -> None:
    assert difference(torch.tensor([1.0, 3.0]), torch.tensor([2.0, -4.0])) == 7 / 4
    with pytest.raises(ValueError, match=r"\(1,\) and \(2,\)"):
        difference(torch.zeros(1), torch.zeros(2))


def test_installed_without_its_data_annlib_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rule, "REFERENCE", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"costs\.json: the reference's numbers lie in a"):
        reference_costs()
