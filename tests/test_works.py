"""What contestants do: the same, whoever does it."""

from dataclasses import replace

import pytest
import torch
from tiny_zoo import CITYSCAPES, CITYSCAPES_769, narrow_row

from annlib.config import RuntimeConfig
from annlib.engine.row_costs import noise
from annlib.engine.train import segmentation_loss
from annlib.model.ann import ANN
from annlib.seeds import seeded
from benchmarks.network import (
    Contestant,
    field,
    inference,
    number_of_parameters,
    our_network,
    picture,
    training,
    without_dropout,
)

ROW, CPU = narrow_row(), torch.device("cpu")
LAST = RuntimeConfig(channels_last=True)


@pytest.mark.parametrize("name", [CITYSCAPES, CITYSCAPES_769])
def test_all_contestants_give_the_same_logits(name: str) -> None:
    found = [
        inference(each, narrow_row(name), (65, 81), CPU).call()
        for each in field("frozen", RuntimeConfig())
    ]
    assert found[0].shape == (1, 19, 65, 81)
    for logits in found[1:]:
        torch.testing.assert_close(logits, found[0], rtol=1e-4, atol=1e-5)


def test_logits_are_those_of_the_network() -> None:
    ready = inference(Contestant("folded"), ROW, (40, 48), CPU)
    model = our_network(ROW).eval()
    with torch.inference_mode():
        torch.testing.assert_close(ready.call(), model(picture((40, 48), CPU)).main)


def test_half_precision_is_close_and_not_the_same() -> None:
    full, half = (
        inference(Contestant("frozen", RuntimeConfig(precision)), ROW, (64, 64), CPU)
        for precision in ("fp32", "bf16")
    )
    assert (full.precision, half.precision) == ("fp32", "bf16")
    logits = full.call()
    share = (half.call() - logits).abs().max() / logits.abs().max()
    assert 0 < share < 0.1


def test_all_contestants_lose_the_same_in_training() -> None:
    losses = []
    for each in field("folded", RuntimeConfig()):
        ready = training(each, ROW, (65, 65), 2, CPU)
        losses.append(torch.stack([ready.call() for _ in range(3)]))
    assert len(set(losses[0].tolist())) == 3  # the weights move
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], rtol=1e-4, atol=0)


def test_steps_follow_the_recipe() -> None:
    """Written out: loss, gradient, a step of SGD; then the loss again."""
    ready = training(Contestant("as written"), ROW, (33, 49), 2, CPU)
    model, config = without_dropout(our_network(ROW)).train(), ROW.experiment.train
    data = replace(ROW.experiment.data, crop_size=(33, 49), batch_size=2)
    with seeded("batch"):
        images, labels = noise(replace(ROW.experiment, data=data), CPU)
    for _ in range(2):
        loss = segmentation_loss(model(images), labels, config.aux_weight)
        torch.testing.assert_close(ready.call(), loss.detach())
        for weight, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, model.parameters()), strict=True
        ):
            # The first step's momentum is the gradient itself.
            weight.data -= config.base_lr * (gradient + config.weight_decay * weight.data)


@pytest.mark.parametrize("work", [inference, training])
def test_parameters_are_those_of_the_network(work) -> None:
    sizes = ((32, 32),) if work is inference else ((32, 32), 2)
    ready = work(Contestant("folded", LAST), ROW, *sizes, CPU)
    expected = sum(weight.numel() for weight in ANN(ROW.experiment.model).parameters())
    assert ready.parameters == expected == number_of_parameters(our_network(ROW))


def test_network_without_dropout_is_deterministic_in_training() -> None:
    row = replace(
        ROW,
        experiment=replace(ROW.experiment, model=replace(ROW.experiment.model, dropout=0.5)),
    )
    images = picture((32, 32), CPU).expand(2, -1, -1, -1)
    with_it, without = our_network(row).train(), without_dropout(our_network(row))
    assert not with_it(images).main.equal(with_it(images).main)
    without.train()
    assert without(images).main.equal(without(images).main)


def test_pictures_are_the_same_and_differ_from_place_to_place() -> None:
    images = picture((64, 96), CPU)
    assert images.shape == (1, 3, 64, 96) and images.equal(picture((64, 96), CPU))
    cells = images.unfold(2, 16, 16).unfold(3, 16, 16).mean((-1, -2))
    noise = torch.randn(1, 3, 64, 96).unfold(2, 16, 16).unfold(3, 16, 16).mean((-1, -2))
    assert cells.std() > 3 * noise.std()
