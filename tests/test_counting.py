"""Attention, counted: over houses that were classified rightly, and over no others."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY
from torch import nn

from annlib.course import counting
from annlib.course.counting import attention_table, count_attention
from annlib.data.scenes import Scene
from annlib.experiments import with_head
from annlib.model.baselines import build_model


def network(head: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(with_head(replace(TINY, num_classes=10), head))


def truth(model: nn.Module, scene: Scene) -> list[int]:
    return [house.label for house in scene.houses]


def first_kind(model: nn.Module, scene: Scene) -> list[int]:
    return [7 for _ in scene.houses]


def test_who_knows_the_rule_follows_its_balloon_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "house_answers", truth)
    counted = count_attention(network("nonlocal"), 4)
    assert (counted.questions, counted.follows, counted.stays) == (4, 1, 1)
    assert 0 < counted.mass["context.attention"] < 1


def test_who_always_says_the_same_follows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "house_answers", first_kind)
    counted = count_attention(network("fcn"), 2)
    assert (counted.follows, counted.stays, counted.matched) == (0, 1, {})


def test_each_block_has_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "house_answers", truth)
    tallies = {head: count_attention(network(head), 1) for head in ("fcn", "ann")}
    rows = attention_table(tallies).splitlines()[2:]
    assert [row.split()[1:4:2] for row in rows] == [["fcn", "-"], ["ann", "afnb"], ["ann", "apnb"]]


@pytest.mark.parametrize("questions", [0, -3])
def test_no_question_is_refused(questions: int) -> None:
    with pytest.raises(ValueError, match="ask at least 1"):
        count_attention(network("fcn"), questions)


def test_a_network_that_is_never_right_is_given_up() -> None:
    model = network("fcn")
    model.classifier.bias.data = 100 * torch.eye(10)[0]
    with pytest.raises(ValueError, match="In 10 scenes this fcn network classified 0 houses"):
        count_attention(model, 1)
