"""Queries and keys give the same weights as the network itself, for any levels and roles."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from annlib.course.attention import attention_of, projections_of
from annlib.course.attention_metrics import predict_labels
from annlib.course.interventions import (
    attention_with,
    changed_attention,
    projections_across,
    shuffled_projections,
    untrained,
    with_levels,
    with_shuffled_keys,
)
from annlib.course.plots.attention import subject_of, views_of
from annlib.data.balloon_town.dataset import make_scene
from annlib.experiments import town
from annlib.model.build import build_model, shipped_model
from annlib.model.fused import fuse_for_training

SCENE = make_scene(5)
HEADS = ("nonlocal", "apnb", "ann")


@pytest.mark.parametrize("form", [lambda model: model, fuse_for_training])
@pytest.mark.parametrize("head", HEADS)
def test_weights_are_those_of_the_network(head: str, form: Callable) -> None:
    torch.manual_seed(0)
    model = form(build_model(town(head).model)).eval()
    theirs, ours = attention_of(model, SCENE.image), projections_of(model, SCENE.image)
    assert theirs.keys() == ours.keys()
    for path, attention in theirs.items():
        torch.testing.assert_close(ours[path].attention().weights, attention.weights)
        assert torch.equal(ours[path].boxes(), attention.boxes())


@pytest.mark.parametrize("levels", [(8,), (1, 6), (3, 6, 8)])
def test_some_levels_answer_as_if_the_network_had_only_these(levels: tuple[int, ...]) -> None:
    model = shipped_model("balloon_apnb")
    ours = projections_of(with_levels(model, (1, 3, 6, 8)), SCENE.image)["context.attention"]
    theirs = attention_with(model, SCENE.image, levels)
    torch.testing.assert_close(ours.attention(levels).weights, theirs.weights)


def test_a_factor_is_that_of_all_scores() -> None:
    found = projections_of(shipped_model("balloon_ann"), SCENE.image)["afnb.attention"]
    rescaled = found.attention().rescaled(0.5).weights
    torch.testing.assert_close(found.attention(factor=0.5).weights, rescaled)


def test_shuffled_keys_shuffle_the_weights() -> None:
    model = shipped_model("balloon_ann")
    ours = shuffled_projections(model, SCENE.image, seed=3)["afnb.attention"].attention()
    with changed_attention(model, partial(with_shuffled_keys, seed=3)):
        theirs = attention_of(model, SCENE.image)["afnb.attention"]
    torch.testing.assert_close(ours.weights, theirs.weights)


def test_across_levels_the_network_asks_as_it_does() -> None:
    model = shipped_model("balloon_ann")
    ours = projections_across(model, SCENE.image, swapped=False).attention()
    theirs = attention_of(model, SCENE.image)["afnb.attention"]
    torch.testing.assert_close(ours.weights, theirs.weights)


def test_unknown_level_is_refused() -> None:
    found = projections_of(shipped_model("balloon_ann"), SCENE.image)["afnb.attention"]
    with pytest.raises(ValueError, match="level 5"):
        found.attention((1, 5))


# Views


def test_each_block_of_each_network_has_a_view() -> None:
    models = {head: untrained(shipped_model(f"balloon_{head}")) for head in HEADS}
    found = views_of(models, SCENE.image)
    assert {name: list(blocks) for name, blocks in found.items()} == {
        "nonlocal": ["non-local"],
        "apnb": ["APNB"],
        "ann": ["AFNB", "APNB"],
    }


def test_picture_without_labels_has_what_the_network_takes_it_for() -> None:
    model = shipped_model("balloon_ann")
    subject = subject_of(SCENE.image, model)
    assert np.array_equal(subject.labels, predict_labels(model, SCENE.image))
    assert subject_of(SCENE.image).labels is None
    assert np.array_equal(subject_of(SCENE).labels, SCENE.labels)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 3))])
def test_picture_of_another_kind_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        subject_of(image)
