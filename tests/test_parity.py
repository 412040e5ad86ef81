"""Forward pass: every stored tensor of the reference, inside and out, in both precisions."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
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
    ours: dict[str, Tensor]
    stored: dict[str, Tensor]
    statistics: dict[str, dict]


def forward_tensors(model: ANN, images: Tensor) -> dict[str, Tensor]:
    """Runs the model for both align_corners and keeps what its parts put out."""
    outputs = defaultdict(list)
    for name, path in MODULES.items():
        module = model.get_submodule(path)
        module.register_forward_hook(lambda _, __, out, name=name: outputs[name].append(out))
    ours = {}
    for number, align_corners in enumerate((False, True)):
        model.config = replace(model.config, align_corners=align_corners)
        ours[f"logits_ac{number}"] = model(images).main
        ours[f"pred_ac{number}"] = ours[f"logits_ac{number}"].argmax(1)
    model.auxiliary(outputs["stage3"][0])  # only runs in training by itself
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
    return Run(case, ours, stored_tensors(case), statistics)


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


@pytest.mark.parametrize("form", [fuse_for_training, fuse_for_inference])
def test_forms_that_do_less_work_agree(run: Run, form: Callable[[ANN], nn.Module]) -> None:
    dtype = run.ours["logits_ac0"].dtype
    model = form(filled_model(run.case.depth, run.case.num_classes).to(dtype))
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
