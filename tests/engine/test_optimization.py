"""The loss, the learning rate, the optimiser and the loop."""

from dataclasses import replace
from itertools import islice, repeat

import pytest
import torch
from golden_rules import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY
from torch import Tensor, nn

from annlib.config import IGNORE_INDEX, RuntimeConfig, TrainConfig
from annlib.engine.optimization import (
    make_optimizer,
    poly_lr,
    segmentation_loss,
    subsample_labels,
    train,
)
from annlib.model.ann import ANN, Logits
from annlib.model.layers import ChannelDropout
from annlib.seeds import seeded

CONFIG = TrainConfig(iterations=20)
few = settings(max_examples=30, deadline=None)


def random_logits() -> Logits:
    return Logits(torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4))


def labels_with_ignored_pixels() -> Tensor:
    labels = torch.randint(5, (2, 3, 4))
    labels[0, 0] = IGNORE_INDEX
    return labels


def loss_by_hand(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Pixel by pixel; ignored ones count in the mean with a loss of 0."""
    total = torch.zeros(())
    for b, row, column in (labels != IGNORE_INDEX).nonzero().tolist():
        scores, label = logits[b, :, row, column], labels[b, row, column]
        total += weights[label] * (scores.exp().sum().log() - scores[label])
    return total / labels.numel()


def test_loss_is_the_mean_over_all_pixels_ignored_ones_included() -> None:
    logits, labels = random_logits(), labels_with_ignored_pixels()
    main, aux = (loss_by_hand(maps, labels, torch.ones(5)) for maps in logits)
    torch.testing.assert_close(segmentation_loss(logits, labels, 0.4), main + 0.4 * aux)


def test_class_weights_multiply_the_loss_of_their_pixels() -> None:
    logits, labels = random_logits(), labels_with_ignored_pixels()
    weights = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0])
    main, aux = (loss_by_hand(maps, labels, weights) for maps in logits)
    torch.testing.assert_close(segmentation_loss(logits, labels, 0.4, weights), main + 0.4 * aux)


def test_loss_without_auxiliary_logits_is_the_main_loss() -> None:
    main, labels = random_logits().main, labels_with_ignored_pixels()
    expected = loss_by_hand(main, labels, torch.ones(5))
    torch.testing.assert_close(segmentation_loss(Logits(main, None), labels, 0.4), expected)


def test_picture_without_labels_has_no_loss() -> None:
    labels = torch.full((2, 3, 4), IGNORE_INDEX)
    assert segmentation_loss(random_logits(), labels, 0.4) == 0


@pytest.mark.parametrize("iterations", [20_000, 40_000, 80_000, 160_000])
def test_learning_rate_is_that_of_the_released_weights(iterations: int) -> None:
    config = TrainConfig(iterations)
    for step, lr in golden()["poly_lr"]["per_T"][str(iterations)]["lr_0x"].items():
        assert poly_lr(int(step), config) == pytest.approx(lr, rel=1e-13, abs=0)


def test_learning_rate_runs_from_its_base_to_its_floor() -> None:
    assert poly_lr(0, CONFIG) == CONFIG.base_lr
    assert poly_lr(CONFIG.iterations, CONFIG) == CONFIG.min_lr


@few
@given(iterations=st.integers(2, 200), data=st.data())
def test_learning_rate_rises_in_the_warmup_then_falls(iterations: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(0, iterations // 4))
    config = TrainConfig(iterations, warmup=warmup)
    rates = [poly_lr(step, config) for step in range(iterations + 1)]
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1])
    assert min(rates) > 0


def test_sgd_decays_every_parameter() -> None:
    optimizer = make_optimizer(ANN(TINY), CONFIG)
    (group,) = optimizer.param_groups
    assert len(group["params"]) == len(list(ANN(TINY).parameters()))
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.01, 0.9, 5e-4)


def test_adamw_decays_no_norm_or_bias() -> None:
    model = ANN(TINY)
    optimizer = make_optimizer(model, replace(CONFIG, optimizer="adamw"))
    decays = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decays[parameter] == (CONFIG.weight_decay if parameter.ndim > 1 else 0), name


def one_batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, 33, 57), torch.randint(5, (2, 33, 57))


def run(model: ANN, config: TrainConfig, images: Tensor, labels: Tensor) -> list[float]:
    steps = train(model, make_optimizer(model, config), repeat((images, labels)), config)
    return [float(step.loss) for step in steps]


@pytest.mark.parametrize(("optimizer", "base_lr"), [("sgd", 0.1), ("adamw", 0.01)])
def test_one_batch_can_be_learned(optimizer: str, base_lr: float) -> None:
    images, _ = one_batch()
    config = replace(CONFIG, optimizer=optimizer, base_lr=base_lr)
    losses = run(ANN(TINY), config, images, (images[:, 0] > 0).long())
    assert losses[-1] < 0.7 * losses[0]


def test_steps_are_numbered_from_start_to_the_last() -> None:
    model = ANN(TINY)
    steps = train(model, make_optimizer(model, CONFIG), repeat(one_batch()), CONFIG, start=17)
    assert [step.number for step in steps] == [18, 19, 20]


def test_callers_random_state_is_untouched() -> None:
    model, batch = ANN(TINY), one_batch()
    before = torch.get_rng_state()
    list(islice(train(model, make_optimizer(model, CONFIG), repeat(batch), CONFIG), 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_resumed_run_repeats_an_uninterrupted_one() -> None:
    def train_from(model: ANN, optimizer: torch.optim.Optimizer, start: int, count: int) -> None:
        list(islice(train(model, optimizer, repeat(one_batch()), CONFIG, start), count))

    models = [ANN(TINY), ANN(TINY)]
    models[1].load_state_dict(models[0].state_dict())
    whole, parts = (make_optimizer(model, CONFIG) for model in models)
    train_from(models[0], whole, 0, 4)
    train_from(models[1], parts, 0, 2)
    train_from(models[1], parts, 2, 2)
    assert all(map(torch.equal, models[0].parameters(), models[1].parameters()))


def test_loop_weighs_the_classes() -> None:
    config = replace(CONFIG, iterations=1, class_weights=(0.0,) * 5)
    assert run(ANN(TINY), config, *one_batch()) == [0.0]


def test_loop_computes_only_the_scores_that_have_a_label() -> None:
    model, shapes = ANN(TINY), []
    model.register_forward_hook(lambda _, __, logits: shapes.append(logits.main.shape))
    run(model, replace(CONFIG, iterations=1, label_stride=8), *one_batch())
    assert shapes == [(2, 5, 5, 8)]


def test_clipping_limits_the_gradient() -> None:
    model, config = ANN(TINY), replace(CONFIG, clip_norm=1e-3)
    next(train(model, make_optimizer(model, config), repeat(one_batch()), config))
    squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
    assert float(sum(squares)) ** 0.5 == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_loss_that_is_no_number_stops_before_it_reaches_the_weights(bad: float) -> None:
    model, (images, labels) = ANN(TINY), one_batch()
    batches = iter([(images, labels), (images * bad, labels)])
    steps = train(model, make_optimizer(model, CONFIG), batches, CONFIG)
    next(steps)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(FloatingPointError, match=r"loss of step 2 is nan.*rate 0\.00955"):
        next(steps)
    assert all(map(torch.equal, model.parameters(), before))


def test_loss_that_is_no_number_asks_for_a_new_run_not_for_a_resumed_one() -> None:
    images, labels = one_batch()
    model, batches = ANN(TINY), [(images * float("nan"), labels)]
    with pytest.raises(
        FloatingPointError, match="same settings .* here again.*new run with .*base_lr"
    ):
        next(train(model, make_optimizer(model, CONFIG), batches, CONFIG))


def test_thinned_labels_are_the_middles_of_their_cells() -> None:
    labels = torch.arange(81).reshape(1, 9, 9)
    assert torch.equal(subsample_labels(labels, 3), labels[:, 1::3, 1::3])


def test_thinned_labels_are_as_many_as_cells_that_are_begun() -> None:
    assert subsample_labels(torch.full((2, 9, 17), 255), 8).unique().tolist() == [255]
    assert subsample_labels(torch.zeros(2, 9, 17, dtype=torch.int64), 8).shape == (2, 2, 3)


def test_dropout_of_a_whole_batch_is_that_of_torch() -> None:
    x, ours, theirs = torch.randn(4, 6, 3, 5), ChannelDropout(0.4), nn.Dropout2d(0.4)
    with seeded("dropout"):
        mine = ours(x)
    with seeded("dropout"):
        assert torch.equal(mine, theirs(x))
    assert (mine == 0).any() and (mine != 0).any()
    assert torch.equal(ours.eval()(x), x)


def test_dropout_of_parts_is_that_of_the_whole() -> None:
    x, dropout = torch.randn(6, 8, 2, 3), ChannelDropout(0.5)
    with seeded("dropout"):
        whole = dropout(x)
    parts = []
    for dropout.part, piece in enumerate(x.chunk(3)):
        dropout.num_parts = 3
        with seeded("dropout"):
            parts.append(dropout(piece))
    assert torch.equal(torch.cat(parts), whole)


class WithoutNorms(nn.Module):
    """A network whose pictures do not see each other, as they do through batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = ChannelDropout(0.5)
        self.classifier = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, images: Tensor, size: tuple[int, int]) -> Logits:
        return Logits(self.classifier(self.dropout(images)), None).resize(size, False)


def losses_in_parts(number: int) -> tuple[list[float], Tensor]:
    with seeded("parts"):
        model = WithoutNorms().double()
        batch = torch.randn(6, 3, 8, 9, dtype=torch.float64), torch.randint(5, (6, 8, 9))
    optimizer = make_optimizer(model, CONFIG)
    steps = train(model, optimizer, repeat(batch), CONFIG, compute=RuntimeConfig(accumulate=number))
    return [float(step.loss) for step in steps], model.classifier.weight.detach()


@pytest.mark.parametrize("number", [2, 3, 6])
def test_batch_in_parts_trains_as_the_whole_one(number: int) -> None:
    (losses, weights), (whole, wanted) = losses_in_parts(number), losses_in_parts(1)
    assert losses == pytest.approx(whole, rel=1e-12)
    torch.testing.assert_close(weights, wanted, rtol=1e-12, atol=1e-14)
    assert len(set(whole)) == len(whole)


def test_parts_that_do_not_divide_the_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batch of 6 .* 4 equal parts"):
        losses_in_parts(4)


@pytest.mark.parametrize(("precision", "bits"), [("bf16", 8), ("fp16", 11)])
def test_half_the_bits_give_nearly_the_same_losses(precision: str, bits: int) -> None:
    losses = {}
    for name in ("fp32", precision):
        with seeded("precision"):
            model = ANN(TINY)
            batch = torch.randn(2, 3, 40, 56), torch.randint(5, (2, 40, 56))
        few_steps = replace(CONFIG, iterations=3)
        steps = train(
            model,
            make_optimizer(model, CONFIG),
            repeat(batch),
            few_steps,
            compute=RuntimeConfig(name),
        )
        losses[name] = [float(step.loss) for step in steps]
    assert losses[precision] == pytest.approx(losses["fp32"], rel=8 * 2**-bits)
    assert losses[precision] != losses["fp32"]
