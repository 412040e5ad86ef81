"""Three training steps: losses, gradients, weights and running statistics of the reference."""

from collections.abc import Callable
from itertools import islice, repeat
from typing import NamedTuple

import pytest
import torch
from golden_rules import filled_model, golden, make_input, make_label
from torch import Tensor

from annlib.config import TrainConfig
from annlib.engine.optimization import make_optimizer, segmentation_loss, train
from annlib.model.ann import ANN, Logits
from annlib.model.convert import rename
from annlib.model.fused import fuse_for_training

pytestmark = pytest.mark.slow
Form = Callable[[ANN], ANN]
NAME = "train_r50_19_2x3x97x129_ac0"
CONFIG = TrainConfig(iterations=10)
TOLERANCE = 1e-10  # the reference adds 1.2e-7 to the count of pixels, which is 4.8e-12 of it


class Measured(NamedTuple):
    lr: float
    total: float
    main: float
    aux: float  # already times 0.4
    gradient_norms: dict[str, float]


class Trained(NamedTuple):
    model: ANN
    steps: list[Measured]
    first_gradient: Tensor  # of the main classifier's weight


def run_steps(form: Form, dtype: torch.dtype, num_steps: int) -> Trained:
    """Trains on one batch with `annlib.engine.optimization.train` and looks at it from outside."""
    model = form(filled_model(50, 19, dropout=0.0).to(dtype))
    labels = make_label(2, 97, 129, 19)
    scores: list[Tensor] = []
    model.register_forward_hook(lambda _, __, logits: scores.append(logits.main.detach()))
    batches = repeat((make_input(2, 97, 129).to(dtype), labels))
    steps, first_gradient = [], None
    for step in islice(train(model, make_optimizer(model, CONFIG), batches, CONFIG), num_steps):
        main = float(segmentation_loss(Logits(scores[-1], None), labels, 0.0))
        norms = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
        total = float(step.loss)
        steps.append(Measured(step.lr, total, main, total - main, norms))
        if first_gradient is None:
            first_gradient = model.classifier.weight.grad
    return Trained(model, steps, first_gradient)


def readable(model: ANN) -> ANN:
    return model


# The fused form equals the readable one: test_fused_twins.py. Its first loss is compared below.
@pytest.fixture(
    scope="module", params=[readable, pytest.param(fuse_for_training, marks=pytest.mark.all)]
)
def trained(request: pytest.FixtureRequest) -> Trained:
    return run_steps(request.param, torch.float64, 3)


@pytest.fixture(scope="module")
def reference() -> dict:
    return golden()["train"][f"{NAME}_f64"]


def close(value: float, tolerance: float) -> object:
    return pytest.approx(value, rel=tolerance, abs=0)


def norm_of_group(group: str, norms: dict[str, float]) -> float:
    """Of all parameters whose reference name starts with `group`."""
    names = [
        rename(key)
        for key in golden()["train"][f"{NAME}_f64"]["grad_norm_per_parameter_step0"]
        if key.startswith(f"{group}.")
    ]
    return sum(norms[name] ** 2 for name in names) ** 0.5


def test_labels_are_those_of_the_reference_run(reference: dict) -> None:
    counts = make_label(2, 97, 129, 19).flatten().bincount(minlength=256)
    assert [*counts[:19].tolist(), int(counts[255])] == reference["label_bincount"]


def test_learning_rates_agree(trained: Trained, reference: dict) -> None:
    for ours, theirs in zip(trained.steps, reference["steps"], strict=True):
        assert ours.lr == close(theirs["lr"], 1e-14)


def test_losses_of_three_steps_agree(trained: Trained, reference: dict) -> None:
    for ours, theirs in zip(trained.steps, reference["steps"], strict=True):
        assert ours.total == close(theirs["total"], TOLERANCE)
        assert ours.main == close(theirs["losses"]["decode.loss_ce"], TOLERANCE)
        assert ours.aux == close(theirs["losses"]["aux.loss_ce"], TOLERANCE)


def test_gradient_norm_of_every_parameter_agrees(trained: Trained, reference: dict) -> None:
    theirs = {rename(k): v for k, v in reference["grad_norm_per_parameter_step0"].items()}
    ours = trained.steps[0].gradient_norms
    assert ours.keys() == theirs.keys()
    for name, norm in theirs.items():
        # Batch norm takes shifts away: biases before it have a gradient of rounding errors only.
        assert ours[name] == pytest.approx(norm, rel=TOLERANCE, abs=1e-14), name


def test_gradient_norms_of_all_groups_and_steps_agree(trained: Trained, reference: dict) -> None:
    for ours, theirs in zip(trained.steps, reference["steps"], strict=True):
        for group, norm in theirs["grad_norm_groups"].items():
            assert norm_of_group(group, ours.gradient_norms) == close(norm, TOLERANCE), group


def test_first_gradient_of_the_classifier_agrees(trained: Trained, reference: dict) -> None:
    theirs, ours = reference["grad_conv_seg_weight_step0"], trained.first_gradient
    assert list(ours.shape) == theirs["shape"]
    assert float(ours.abs().sum()) == close(theirs["abssum"], TOLERANCE)
    assert float(ours.std(correction=0)) == close(theirs["std"], TOLERANCE)
    assert float(ours.min()) == close(theirs["min"], TOLERANCE)
    assert float(ours.max()) == close(theirs["max"], TOLERANCE)


def test_parameters_after_three_steps_agree(trained: Trained, reference: dict) -> None:
    theirs, parameters = reference["after_3_steps"], list(trained.model.parameters())
    ours = trained.model.state_dict()
    bias = torch.tensor(theirs["conv_seg_bias"], dtype=torch.float64)
    assert sum(float(p.detach().abs().sum()) for p in parameters) == close(
        theirs["param_abssum"], TOLERANCE
    )
    assert sum(float(p.detach().square().sum()) for p in parameters) == close(
        theirs["param_sqsum"], TOLERANCE
    )
    assert float(ours["afnb.attention.to_output.weight"].abs().sum()) == close(
        theirs["afnb_out_project_abssum"], TOLERANCE
    )
    torch.testing.assert_close(ours["classifier.bias"], bias, rtol=TOLERANCE, atol=0)


def test_running_statistics_after_three_steps_agree(trained: Trained, reference: dict) -> None:
    theirs, buffers = reference["after_3_steps"], dict(trained.model.named_buffers())
    for kind in ("running_mean", "running_var"):
        ours = sum(float(b.sum()) for name, b in buffers.items() if name.endswith(kind))
        assert ours == close(theirs[f"{kind}_sum"], TOLERANCE), kind


def test_afnb_running_variance_after_three_steps_agrees(trained: Trained, reference: dict) -> None:
    first = torch.tensor(
        reference["after_3_steps"]["afnb_key_running_var_first5"], dtype=torch.float64
    )
    ours = trained.model.afnb.attention.to_key[1].running_var[:5]
    torch.testing.assert_close(ours, first, rtol=TOLERANCE, atol=0)


def test_one_run_with_momentum_019_equals_two_updates(trained: Trained, reference: dict) -> None:
    theirs = reference["after_3_steps"]
    shared = trained.model.apnb.attention.to_key[1]
    counter = "decode_head.context.stages.0.key_project.bn.num_batches_tracked"
    assert theirs["num_batches_tracked"][counter] == 2 * int(shared.num_batches_tracked) == 6
    first = torch.tensor(theirs["apnb_key_running_mean_first5"], dtype=torch.float64)
    torch.testing.assert_close(shared.running_mean[:5], first, rtol=TOLERANCE, atol=0)


@pytest.mark.parametrize("form", [pytest.param(readable, marks=pytest.mark.all), fuse_for_training])
def test_first_loss_in_single_precision_agrees(form: Form) -> None:
    ours = run_steps(form, torch.float32, 1).steps[0]
    theirs = golden()["train"][f"{NAME}_f32"]["steps"][0]
    assert ours.total == close(theirs["total"], 1e-5)
    assert ours.main == close(theirs["losses"]["decode.loss_ce"], 1e-5)
    assert ours.aux == close(theirs["losses"]["aux.loss_ce"], 1e-5)
