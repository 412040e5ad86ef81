"""NaN, infinity, no label, one pixel, half precision, impossible sizes; and the same bits again."""

from dataclasses import asdict, replace
from itertools import repeat

import pytest
import torch
from failing import failure
from small_pictures import save_tiny, tiny_model
from tiny import HEADS, TINY

from annlib.config import RuntimeConfig, TestConfig, TrainConfig, with_settings
from annlib.engine.inference import make_label_predictor
from annlib.engine.metrics import ConfusionMatrix
from annlib.engine.optimization import deterministic, make_optimizer, segmentation_loss, train
from annlib.experiments import LAPTOP
from annlib.model.ann import Logits
from annlib.model.asymmetric import PyramidPool
from annlib.model.build import build_model, load_model
from annlib.model.checkpoint import load, save

pytestmark = pytest.mark.fault("NaN, infinity, no label, a single pixel, half precision")
BATCH = torch.Generator().manual_seed(3)
IMAGES = torch.randn(2, 3, 24, 32, generator=BATCH)
LABELS = torch.randint(5, (2, 24, 32), generator=BATCH)
RECIPE = TrainConfig(iterations=4, base_lr=0.01)


def test_scores_that_are_no_numbers_are_no_prediction() -> None:
    label = make_label_predictor(tiny_model(), TestConfig())
    image = torch.randn(1, 3, 24, 32)
    assert label(image).shape == (1, 24, 32)
    image[0, 1, 3, 4] = float("nan")
    with pytest.raises(FloatingPointError, match="scores are NaN or infinite"):
        label(image)


def test_half_precision_that_overflows_in_the_attention_is_told() -> None:
    model = tiny_model()
    label = make_label_predictor(model, TestConfig(), "fp16")
    image = torch.randn(1, 3, 24, 32)
    label(image)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "to_key.1" in name:  # the scores grow with its square
                parameter.mul_(1e4)
    with pytest.raises(FloatingPointError, match="fp16 ends at 65504"):
        label(image)
    assert make_label_predictor(model, TestConfig(), "bf16")(image).shape == (1, 24, 32)


def test_a_batch_without_a_labelled_pixel_changes_no_score_and_gives_no_nan() -> None:
    logits = Logits(torch.randn(2, 5, 8, 8, requires_grad=True), None)
    loss = segmentation_loss(logits, torch.full((2, 8, 8), 255), 0.4)
    loss.backward()
    assert loss == 0 and not logits.main.grad.any()


def test_scores_of_a_class_that_is_absent_everywhere_are_nan_and_count_in_no_mean() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    scores = matrix.scores()
    assert scores.iou[2].isnan() and scores.miou == 0.5
    with pytest.raises(ValueError, match="take the argmax"):
        matrix.update(torch.tensor([0.9]), torch.tensor([0]))


def test_an_image_of_one_pixel_has_one_class() -> None:
    assert make_label_predictor(tiny_model(), TestConfig())(torch.randn(1, 3, 1, 1)).shape == (
        1,
        1,
        1,
    )


@pytest.mark.parametrize("head", HEADS)
def test_a_map_of_one_position_and_a_batch_of_one_image_give_finite_scores(head: str) -> None:
    scales = (1, 2, 3, 6) if head == "ppm" else TINY.pool_scales
    model = build_model(replace(TINY, head=head, pool_scales=scales)).eval()
    assert model(torch.randn(1, 3, 8, 8)).main.isfinite().all()
    pooled = PyramidPool((1, 3))(torch.full((1, 2, 1, 1), 4.0))
    assert pooled.tolist() == [[[4.0] * 10] * 2], "each cell is that position"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_image_that_is_not_finite_stops_the_training_before_the_weights(value: float) -> None:
    model, images = build_model(TINY), IMAGES.clone()
    images[1, 2, 3, 4] = value
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with pytest.raises(
        FloatingPointError, match="weights of step 0. Resuming .* If the images are finite"
    ):
        next(train(model, make_optimizer(model, RECIPE), [(images, LABELS)], RECIPE))
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_loaded(tmp_path, value: float) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.classifier.weight[0, 0] = value
    save(tmp_path / "a.safetensors", model)
    with pytest.raises(ValueError, match="NaN"):
        load(tmp_path / "a.safetensors")


def test_a_step_whose_batch_has_no_label_keeps_the_weights_finite() -> None:
    model, none = build_model(TINY), torch.full_like(LABELS, 255)
    recipe = replace(RECIPE, class_weights=(0.5,) * 5)
    steps = [*train(model, make_optimizer(model, recipe), [(IMAGES, none)], recipe)]
    assert [float(step.loss) for step in steps] == [0.0]
    assert all(weight.isfinite().all() for weight in model.parameters())


# Sizes


@pytest.mark.parametrize("scales", [(0,), (1, -3), (1.5,), ("6",), (True,), ()])
@pytest.mark.parametrize("head", ["ann", "apnb", "ppm"])
def test_pool_scales_that_are_not_counts_are_refused_by_value(head: str, scales: tuple) -> None:
    with pytest.raises(ValueError, match="whole number from 1 up") as error:
        build_model(replace(TINY, head=head, pool_scales=scales))
    assert f"pool_scales is {scales!r}" in str(error.value)


def test_a_checkpoint_with_impossible_pool_scales_is_refused_by_its_name(tmp_path) -> None:
    checkpoint = load(save_tiny(tmp_path / "a.safetensors"))
    checkpoint = checkpoint._replace(config=replace(checkpoint.config, pool_scales=(0, 3)))
    with pytest.raises(ValueError, match="a.safetensors: no network has these sizes"):
        load_model(checkpoint)


@pytest.mark.parametrize(
    ("head", "setting"),
    [
        ("fcn", "pool_scales=1,3"),
        ("nonlocal", "pool_scales=1,3"),
        ("fcn", "key_channels=8"),
        ("ppm", "value_channels=8"),
    ],
)
def test_a_setting_that_the_head_does_not_use_is_refused(annlib, head: str, setting: str) -> None:
    words = ("train", f"photos_{head}", "--data", "d", "--set", f"model.{setting}")
    said = failure(annlib, *words)
    assert "would have no effect" in said and f"the head {head}" in said
    changed = with_settings(LAPTOP["photos_ann"], [f"model.{setting}"])
    assert changed != LAPTOP["photos_ann"], "another head uses it"
    with pytest.raises(ValueError, match="would have no effect"):
        with_settings(LAPTOP["photos_ann"], [f"model.{setting}", f"model.head={head}"])


# The same bits


def trained(compute: RuntimeConfig) -> tuple[list[float], dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    model = build_model(TINY)
    batches = repeat((IMAGES, LABELS))
    steps = train(model, make_optimizer(model, RECIPE), batches, RECIPE, compute=compute)
    return [float(step.loss) for step in steps], model.state_dict()


def test_deterministic_training_repeats_bit_by_bit_and_restores_the_mode() -> None:
    first, again = (trained(RuntimeConfig(deterministic=True)) for _ in range(2))
    assert first[0] == again[0]
    assert all(torch.equal(first[1][name], again[1][name]) for name in first[1])
    assert first[0] == pytest.approx(trained(RuntimeConfig())[0], rel=1e-4)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_loss_is_the_same_number_in_the_deterministic_mode() -> None:
    logits, labels = Logits(torch.randn(2, 5, 24, 32), torch.randn(2, 5, 24, 32)), LABELS.clone()
    labels[0, :5] = 255
    weights = torch.rand(5)
    plain = segmentation_loss(logits, labels, 0.4, weights)
    with deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert segmentation_loss(logits, labels, 0.4, weights).item() == pytest.approx(plain.item())
    picked = [
        (
            -scores.log_softmax(1).gather(1, labels.clamp(max=4)[:, None])[:, 0]
            * weights[labels.clamp(max=4)]
        )
        for scores in logits
    ]
    means = [one[labels != 255].sum() / labels.numel() for one in picked]
    assert plain.item() == pytest.approx(float(means[0] + 0.4 * means[1]))


def test_an_operation_without_a_deterministic_form_is_refused_with_the_option() -> None:
    place = torch.tensor([0])
    with (
        pytest.raises(ValueError, match="--deterministic refuses .*put_") as error,
        deterministic(True),
    ):
        torch.zeros(3).put_(place, torch.ones(1))
    assert "Train without it" in str(error.value)
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(False):
        torch.zeros(3).put_(place, torch.ones(1))


def test_a_run_records_that_it_is_deterministic_and_says_so_to_resume_it(
    annlib, monkeypatch, tmp_path
) -> None:
    import small_town

    from annlib.cli.train import Train
    from annlib.engine.runs import STARTS, read_lines

    for module, name, value in small_town.CHANGES:
        monkeypatch.setattr(module, name, value)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    words = ("--iterations", 2, "--device", "cpu", "--out")
    annlib("train", "balloon_ann", *words, "run", "--deterministic")
    annlib("train", "balloon_ann", *words, "plain")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for folder, is_asked in (("run", True), ("plain", False)):
        (start,) = read_lines(tmp_path / folder / STARTS)
        assert start["compute"]["deterministic"] is is_asked
        notes = load(tmp_path / folder / "last.safetensors").notes
        assert notes["compute"] == asdict(RuntimeConfig(deterministic=is_asked))
    again = Train(deterministic=True).resume_command(tmp_path / "run", 1)
    assert again.endswith("--deterministic")
