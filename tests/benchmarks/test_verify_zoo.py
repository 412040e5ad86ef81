"""The published rows: every claim, the table of claims, and the command."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
import torch
from golden_rules import filled_model, mmseg_state_dict
from tiny import wake
from tiny_zoo import ADE20K, CITYSCAPES, CITYSCAPES_769, SHRINK, VOC12AUG, tiny_row
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from annlib import published_experiments
from annlib.config import Experiment, TestConfig
from annlib.course.row_costs import image_size, share_of_one_gpu, shrunk
from annlib.data.datasets import DatasetSplits, open_data
from annlib.engine.inference import check_test, window_starts
from annlib.engine.metrics import ConfusionMatrix
from annlib.model.ann import ANN
from annlib.published_experiments import ROWS, Published, published
from benchmarks import verify_zoo
from benchmarks.verify_zoo import (
    Finding,
    RowCheck,
    check_evaluation,
    check_gflops,
    check_loading,
    check_logits,
    check_parameters,
    check_rows,
    check_step,
    claim,
    find,
    imitate,
    multi_scale,
    rounds_to,
    saved_gflops,
    slide,
    whole,
    write_zoo,
    zoo_table,
)

pytestmark = pytest.mark.slow

# What is claimed of a published network: it holds for ours, and not for another.


R50 = published(CITYSCAPES).experiment
OTHERS = ("ann_r101-d8_769x769_40k_cityscapes", ADE20K)  # another depth, other crops and classes


def wider_keys(experiment: Experiment) -> Experiment:
    return replace(experiment, model=replace(experiment.model, key_channels=128))


@pytest.fixture(autouse=True)
def filled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule's 46 million random numbers take seconds."""
    monkeypatch.setattr(verify_zoo, "reference_weights", mmseg_state_dict)


@pytest.fixture(scope="module")
def filled() -> ANN:
    return filled_model(50, 19)


@pytest.fixture
def model(filled: ANN) -> ANN:
    """Of our own: tests break it."""
    return deepcopy(filled)


def test_claim_tells_what_was_seen() -> None:
    assert claim(True, "three") == "three"
    with pytest.raises(ValueError, match="three"):
        claim(False, "three")


@pytest.mark.parametrize("name", OTHERS)
def test_published_networks_have_the_references_size_and_work(name: str) -> None:
    experiment = published(name).experiment
    check_parameters(experiment)
    check_gflops(experiment)


def test_another_network_has_neither() -> None:
    with pytest.raises(ValueError, match=r"4\d,\d+,\d+"):
        check_parameters(wider_keys(R50))
    with pytest.raises(ValueError, match=r"= 740\.70 - 1\.07"):
        check_gflops(wider_keys(R50))


def test_work_is_the_references_less_one_projection() -> None:
    assert check_gflops(R50) == "738.55 = 740.70 - 2.15, + 38.73"


@pytest.mark.parametrize("size", [(512, 1024), (769, 769)])
def test_saved_work_is_that_of_one_projection(size: tuple[int, int]) -> None:
    height, width = (-(-side // 8) for side in size)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        nn.Conv2d(512, 256, 1)(torch.empty(1, 512, height, width))
    experiment = replace(R50, data=replace(R50.data, crop_size=size))
    assert saved_gflops(experiment) == counter.get_total_flops() / 1e9


def test_number_rounds_to_two_decimals() -> None:
    assert rounds_to(1.2349, 1.23) and rounds_to(1.2251, 1.23)
    assert not rounds_to(1.2361, 1.23) and not rounds_to(1.2241, 1.23)


def test_released_layout_fits(model: ANN, filled: ANN) -> None:
    for weight in model.parameters():
        nn.init.zeros_(weight)
    assert check_loading(R50, model) == "390 tensors"
    expected = filled.state_dict()
    assert all(torch.equal(weight, expected[key]) for key, weight in model.state_dict().items())


def test_layout_of_other_classes_does_not_fit(model: ANN) -> None:
    with pytest.raises(ValueError, match=r"classifier\.weight \(150, 512, 1, 1\) there"):
        check_loading(published(ADE20K).experiment, model)


@pytest.mark.parametrize("align_corners", [pytest.param(False, marks=pytest.mark.all), True])
def test_logits_are_the_references(model: ANN, align_corners: bool) -> None:
    config = replace(R50.model, align_corners=align_corners)
    model.config = config
    seen = check_logits(replace(R50, model=config), model)
    assert "19 of 19 classes" in seen and seen.endswith("100.00 % of the pixels")


def test_logits_of_more_classes_than_are_stored_are_compared_as_far_as_they_are() -> None:
    experiment = published(ADE20K).experiment
    assert check_logits(experiment, filled_model(50, 150)).endswith("21 of 150 classes")


@pytest.mark.parametrize(
    "part",
    [
        "classifier",
        *(
            pytest.param(one, marks=pytest.mark.all)
            for one in ("afnb.fuse.0", "auxiliary.reduce.0")
        ),
    ],
)
def test_slightly_other_weights_are_noticed(model: ANN, part: str) -> None:
    with torch.no_grad():
        model.get_submodule(part).weight.mul_(1.001)
    with pytest.raises(ValueError, match="apart"):
        check_logits(R50, model)


def test_other_classes_at_full_size_are_noticed(
    model: ANN, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = verify_zoo.reference_logits(50)
    stored["classes_19_ac0"] = stored["classes_19_ac0"].roll(2, dims=-1)
    monkeypatch.setattr(verify_zoo, "reference_logits", lambda depth: stored)
    with pytest.raises(ValueError, match="of the pixels"):
        check_logits(R50, model)


# A row at work on an imitation of its data set.


EXPERIMENT = shrunk(share_of_one_gpu(tiny_row()), SHRINK)
each_data_set = pytest.mark.parametrize("name", [CITYSCAPES, CITYSCAPES_769, ADE20K, VOC12AUG])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imitations")
    for name in ("cityscapes", "ade20k", "voc12aug"):
        imitate(name, folder / name, SHRINK)
    return folder


@pytest.fixture
def splits(root: Path) -> DatasetSplits:
    return open_data(EXPERIMENT.data, root / "cityscapes")


@pytest.fixture
def small_model() -> ANN:
    return wake(ANN(EXPERIMENT.model))


def evaluate_in_all_ways(experiment: Experiment, small_model: ANN, splits: DatasetSplits) -> None:
    test, crop_size = experiment.test, experiment.data.crop_size
    for way in (whole(test), slide(test, crop_size), multi_scale(test)):
        assert check_evaluation(small_model, way, splits.val).startswith("mIoU ")


@each_data_set
def test_every_data_set_is_trained_on_and_evaluated(name: str, root: Path) -> None:
    experiment = shrunk(share_of_one_gpu(tiny_row(name)), SHRINK)
    model = wake(ANN(experiment.model))
    splits = open_data(experiment.data, root / experiment.data.dataset)
    assert "weights moved" in check_step(experiment, model, splits.train)
    evaluate_in_all_ways(experiment, model, splits)


def test_imitated_pictures_have_a_typical_size_divided(splits: DatasetSplits) -> None:
    assert splits.val[0][1].shape == image_size(EXPERIMENT, SHRINK)


def test_weights_that_nothing_flows_into_are_noticed(
    small_model: ANN, splits: DatasetSplits
) -> None:
    """Weight decay moves them all the same."""
    for weight in small_model.parameters():
        torch.nn.init.normal_(weight)
    small_model.afnb.attention.softmax = Blocked()
    with pytest.raises(ValueError, match=r"loss .* of \d+ weights moved"):
        check_step(EXPERIMENT, small_model, splits.train)


class Blocked(torch.nn.Module):
    """A softmax that hands back a gradient of nothing but zeros."""

    def forward(self, scores: Tensor) -> Tensor:
        return scores.softmax(-1).detach() + 0 * scores


def test_recipe_that_moves_nothing_is_noticed(small_model: ANN, splits: DatasetSplits) -> None:
    still = replace(EXPERIMENT, train=replace(EXPERIMENT.train, base_lr=0.0, min_lr=0.0))
    with pytest.raises(ValueError, match=r", 0 of \d+ weights moved"):
        check_step(still, small_model, splits.train)


def test_loss_that_is_no_number_is_noticed(small_model: ANN, splits: DatasetSplits) -> None:
    torch.nn.init.constant_(small_model.classifier.bias, nan)
    with pytest.raises(FloatingPointError, match="loss of step 1"):
        check_step(EXPERIMENT, small_model, splits.train)


def test_scores_that_are_no_numbers_are_noticed(small_model: ANN, splits: DatasetSplits) -> None:
    torch.nn.init.constant_(small_model.classifier.bias, nan)
    with pytest.raises(FloatingPointError, match="NaN"):
        check_evaluation(small_model, EXPERIMENT.test, splits.val)


def test_pixels_that_are_not_counted_are_noticed(
    small_model: ANN, splits: DatasetSplits, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = ConfusionMatrix.update

    def forgetful(self: ConfusionMatrix, predictions: Tensor, labels: Tensor) -> None:
        update(self, predictions[:, 32:], labels[:, 32:])

    monkeypatch.setattr(ConfusionMatrix, "update", forgetful)
    with pytest.raises(ValueError, match=r"mIoU [\d.e-]+, \d+ of \d+ pixels"):
        check_evaluation(small_model, EXPERIMENT.test, splits.val)


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


# The table of the 16 rows, and the command that makes it.


GOOD = RowCheck("good", {"builds": Finding(True, "R-50"), "slide": Finding(True, "mIoU 1")}, 2.0)
BAD = RowCheck("bad", {"builds": Finding(True, "R-9"), "slide": Finding(False, "no pixel")}, 3.0)
UNBUILT = RowCheck("unbuilt", {"builds": Finding(False, "no such depth")}, 0.0)


def cells(text: str, number: int) -> list[list[str]]:
    """The table of that number, without its rule."""
    tables = [part for part in text.split("\n\n") if part.startswith("| name")]
    header, _, *lines = tables[number].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, *lines)]


def refuse() -> str:
    raise KeyError("no such key")


def test_error_becomes_a_finding() -> None:
    assert find(lambda: "seen") == Finding(True, "seen")
    assert find(refuse) == Finding(False, "KeyError: 'no such key'")


def test_row_holds_when_all_its_claims_do() -> None:
    assert GOOD.holds and not BAD.holds and not UNBUILT.holds


def test_table_says_what_holds_and_below_it_what_does_not() -> None:
    text = zoo_table([GOOD, BAD, UNBUILT], shrink=8)
    assert cells(text, 0) == [
        ["name", "builds", "slide"],
        ["good", "yes", "yes"],
        ["bad", "yes", "NO"],
        ["unbuilt", "NO", "NO"],
    ]
    assert cells(text, 1)[2] == ["bad", "R-9", "see below"]
    assert "1 of 3 rows hold in every claim." in text
    assert "- bad, slide: no pixel\n- unbuilt, builds: no such depth" in text
    assert "all sides divided by 8" in text


def test_table_of_good_rows_has_no_list_of_failures() -> None:
    text = zoo_table([GOOD], shrink=1)
    assert "Does not hold" not in text and "of the real sizes" in text


def test_findings_are_written_with_the_machine(tmp_path: Path) -> None:
    write_zoo([GOOD, BAD], 8, tmp_path / "zoo.md", "the command")
    values = json.loads((tmp_path / "zoo.json").read_text())
    assert [row["holds"] for row in values["rows"]] == [True, False]
    assert values["rows"][1]["findings"]["slide"] == {"holds": False, "seen": "no pixel"}
    assert values["shrink"] == 8 and values["made"]["hardware"]["cores"] >= 1


def test_row_of_another_network_fails_where_it_differs_and_works_where_it_does_not() -> None:
    (check,) = check_rows([tiny_row()], SHRINK)
    holding = [name for name, finding in check.findings.items() if finding.holds]
    # The reference knows no numbers of TINY, and no weights of it were loaded: as at the start of a
    # training, output projections are zero, and keys, queries and values get no gradient.
    assert holding == ["builds", "whole", "slide", "ms+flip"]
    assert "r9_19" in check.findings["parameters"].seen
    assert "53 of 66 weights moved" in check.findings["training step"].seen


def test_row_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    check = verify_zoo.check_row(tiny_row(), tmp_path / "nothing", SHRINK)
    assert list(check.findings) == ["builds"]
    assert "FileNotFoundError" in check.findings["builds"].seen


@pytest.fixture
def run(benchmark, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the benchmark on two small rows.  -> what it printed"""
    rows = tuple(tiny_row(name) for name in (CITYSCAPES, ADE20K))
    monkeypatch.setattr(verify_zoo, "ROWS", rows)
    monkeypatch.setattr(published_experiments, "NAMES", {row.name: row for row in rows})
    return lambda *words: benchmark("verify_zoo", *words)


def test_claims_that_do_not_hold_end_in_exit_code_1(run, capsys) -> None:
    with pytest.raises(SystemExit, match="1 of 1 rows do not hold") as stop:
        run("--rows", ADE20K, "--shrink", SHRINK)
    assert isinstance(stop.value.code, str)  # Python prints it and exits with 1
    assert f"{ADE20K}: does not hold: parameters" in capsys.readouterr().out
    assert (
        f"python -m benchmarks.verify_zoo --rows {ADE20K} --shrink {SHRINK}"
        in Path("data/results/zoo.md").read_text()
    )


def test_claims_that_hold_end_well(run, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {"slide": lambda: "mIoU 1"}
    monkeypatch.setattr(verify_zoo, "checks_of", lambda row, root, shrink: checks)
    printed = run("--shrink", SHRINK, "--out", "all.md")
    assert f"{CITYSCAPES}: all true" in printed and f"{ADE20K}: all true" in printed
    assert "2 of 2 rows hold in every claim" in Path("all.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"), [(("--shrink", 0), "--shrink"), (("--rows", "ann"), "No published row")]
)
def test_what_cannot_be_checked_is_told_first(run, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        run(*words)
    assert not Path("data").exists()


@pytest.mark.all
@pytest.mark.slow
def test_published_row_holds_in_every_claim() -> None:
    (check,) = check_rows([published_experiments.published(CITYSCAPES_769)], SHRINK)
    assert {name: finding for name, finding in check.findings.items() if not finding.holds} == {}
    assert len(check.findings) == 9
