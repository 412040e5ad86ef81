"""Forward pass: every stored tensor of the reference, inside and out, in all forms."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from golden_rules import (
    arrays,
    difference,
    filled_model,
    golden,
    make_input,
    mmseg_state_dict,
    statistics_difference,
)
from torch import Tensor, nn

from annlib.model.ann import ANN
from annlib.model.fused import fuse_for_inference, fuse_for_training
from annlib.published_experiments import ROWS, Published
from benchmarks import verify_zoo as rule
from benchmarks.verify_zoo import fill, reference_costs, reference_logits, reference_weights, shapes

BLOCK_PARTS = {
    "query": "attention.to_query",
    "key": "attention.to_key",
    "value": "attention.to_value",
    "attn": "attention.softmax",
    "prior": "attention.to_output",
}
MODULES = {  # reference's name of a tensor -> our module that puts it out
    **{f"stage{i}": f"backbone.layer{i}" for i in (1, 2, 3, 4)},
    **{
        f"{block}_{part}": f"{block}.{module}"
        for block in ("afnb", "apnb")
        for part, module in BLOCK_PARTS.items()
        if (block, part) != ("apnb", "query")
    },
    "afnb_out": "afnb",
    "bottleneck_out": "reduce",
    "apnb_out": "apnb",
    "head_logits": "classifier",
    "aux_logits": "auxiliary",
    "afnb_pooled": "afnb.attention.pool",
    "apnb_pooled": "apnb.attention.pool",
}


class Case(NamedTuple):
    depth: int
    num_classes: int
    precision: str
    tolerance: float  # relative to the largest absolute value of a tensor

    @property
    def name(self) -> str:
        return f"fwd_r{self.depth}_{self.num_classes}_97x129_{self.precision}"


CASES = [
    Case(50, 19, "f32", 2e-5),
    Case(50, 19, "f64", 1e-10),
    Case(50, 21, "f32", 2e-5),
    Case(101, 150, "f32", 1e-4),
]


class Run(NamedTuple):
    case: Case
    model: ANN
    ours: dict[str, Tensor]
    stored: dict[str, Tensor]
    statistics: dict[str, dict]


def forward_tensors(model: ANN, images: Tensor) -> dict[str, Tensor]:
    """Runs the model for both align_corners and keeps what its parts put out."""
    outputs, hooks = defaultdict(list), []
    for name, path in MODULES.items():
        module = model.get_submodule(path)
        hook = module.register_forward_hook(lambda _, __, out, name=name: outputs[name].append(out))
        hooks.append(hook)
    ours = {}
    for number, align_corners in enumerate((False, True)):
        model.config = replace(model.config, align_corners=align_corners)
        ours[f"logits_ac{number}"] = model(images).main
        ours[f"pred_ac{number}"] = ours[f"logits_ac{number}"].argmax(1)
    model.auxiliary(outputs["stage3"][0])  # only runs in training by itself
    for hook in hooks:
        hook.remove()
    for block in ("afnb", "apnb"):  # the pool is called twice a forward pass: key, then value
        key, value, *_ = outputs.pop(f"{block}_pooled")
        ours |= {f"{block}_key_pooled": key, f"{block}_value_pooled": value}
    return ours | {name: tensors[0] for name, tensors in outputs.items()}


def stored_tensors(case: Case) -> dict[str, Tensor]:
    """With 21 classes only what differs from 19 classes is stored: scores of the last two."""
    if case.num_classes != 21:
        return arrays(f"{case.name}_feat") | arrays(f"{case.name}_out")
    first, last = stored_tensors(CASES[0]), arrays(case.name)
    for key in ("logits_ac0", "logits_ac1"):
        last[key] = torch.cat([first[key], last[key]], dim=1)
    return first | last


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def run(request: pytest.FixtureRequest) -> Run:
    case = request.param
    dtype = {"f32": torch.float32, "f64": torch.float64}[case.precision]
    model = filled_model(case.depth, case.num_classes).to(dtype)
    with torch.inference_mode():
        ours = forward_tensors(model, make_input(1, 97, 129).to(dtype))
    statistics = golden()["forward"][case.name].copy()
    statistics.pop("channel_stride")
    return Run(case, model, ours, stored_tensors(case), statistics)


@pytest.mark.parametrize(("depth", "num_classes"), [(50, 19), (101, 150)])
def test_filled_weights_are_those_of_the_reference_run(depth: int, num_classes: int) -> None:
    weights = mmseg_state_dict(depth, num_classes)
    check = golden()[f"fill_check_r{depth}_{num_classes}"]
    total = sum(float(weight.double().abs().sum()) for weight in weights.values())
    assert total == pytest.approx(check["total_abssum"], rel=1e-12)
    for key, first in check["first5"].items():
        assert weights[key].flatten()[:5].tolist() == first


def test_all_stored_tensors_agree(run: Run) -> None:
    for name, reference in run.stored.items():
        if not name.startswith("pred"):
            # Large tensors are stored every n-th channel, attention maps every n-th row.
            every = -(-run.ours[name].shape[1] // reference.shape[1])
            assert difference(run.ours[name][:, ::every], reference) <= run.case.tolerance, name


FORMS = [(CASES[1], fuse_for_training), (CASES[3], fuse_for_inference)]  # the others: all
MORE = [(CASES[3], fuse_for_training), (CASES[1], fuse_for_inference)]


@pytest.mark.parametrize(
    ("run", "form"),
    [*FORMS, *(pytest.param(*pair, marks=pytest.mark.all) for pair in MORE)],
    ids=lambda value: getattr(value, "name", None) or value.__name__,
    indirect=["run"],
)
def test_forms_that_do_less_work_agree(run: Run, form: Callable[[ANN], nn.Module]) -> None:
    dtype = run.ours["logits_ac0"].dtype
    model = form(run.model)
    with torch.inference_mode():
        for number, align_corners in enumerate((False, True)):
            model.config = replace(model.config, align_corners=align_corners)
            logits = model(make_input(1, 97, 129).to(dtype)).main
            assert difference(logits, run.ours[f"logits_ac{number}"]) <= run.case.tolerance
            assert same_classes(logits, run.stored[f"pred_ac{number}"].long(), run.case.tolerance)


def same_classes(logits: Tensor, classes: Tensor, tolerance: float) -> bool:
    """Whether the classes have the highest scores; rounding may decide between two as good."""
    apart = logits.amax(1) - logits.gather(1, classes[:, None])[:, 0]
    other = (logits.argmax(1) != classes).double().mean()
    return bool((apart <= 2 * tolerance * logits.abs().max()).all()) and other < 1e-3


def test_predicted_classes_are_the_same(run: Run) -> None:
    for number in (0, 1):
        classes = run.stored[f"pred_ac{number}"].long()
        assert same_classes(run.ours[f"logits_ac{number}"], classes, run.case.tolerance)


def test_statistics_of_all_full_tensors_agree(run: Run) -> None:
    for name, statistics in run.statistics.items():
        if "abssum" in statistics:
            assert statistics_difference(run.ours[name], statistics) <= run.case.tolerance, name


def test_no_tensor_of_the_reference_is_left_out(run: Run) -> None:
    assert run.statistics.keys() == run.ours.keys() >= run.stored.keys()


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
