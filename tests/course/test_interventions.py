"""Attention is changed while a network runs, and is as before when it has run."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from annlib.course.attention import (
    attention_blocks,
    attention_of,
    entropy,
    predict_labels,
    projections_of,
)
from annlib.course.interventions import (
    WAYS,
    Damage,
    attention_with,
    changed_attention,
    measure_damage,
    projections_across,
    shuffled_projections,
    untrained,
    with_levels,
    with_shuffled_keys,
    without_random,
    without_strongest,
)
from annlib.course.plots.attention import ablated, damage_curves
from annlib.course.widgets.attention import ablation
from annlib.course.widgets.explorer import subject_of, views_of
from annlib.data.balloon_town.dataset import make_scene
from annlib.experiments import town
from annlib.model.build import build_model, shipped_model
from annlib.model.fused import fuse_for_training

SCENE = make_scene(5)
HEADS = ("nonlocal", "apnb", "ann")
AFNB, APNB = "afnb.attention", "apnb.attention"
DAMAGES = {
    (block, way, k): Damage(0.9 - k / 200, 1 - k / 200)
    for block in (AFNB, APNB)
    for way in WAYS
    for k in (1, 8)
}


@pytest.fixture(scope="module")
def ann() -> torch.nn.Module:
    return shipped_model("balloon_ann")


def some_weights() -> torch.Tensor:
    return torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0)).softmax(-1)


@pytest.mark.parametrize("way", WAYS)
def test_rows_lose_k_weights_and_sum_to_one(way: str) -> None:
    left = WAYS[way](some_weights(), 3)
    assert ((left == 0).sum(-1) == 3).all()
    torch.testing.assert_close(left.sum(-1), torch.ones(2, 5))


def test_the_strongest_go_and_the_others_keep_their_ratios() -> None:
    weights = some_weights()
    left = without_strongest(weights, 2)
    assert (left.gather(-1, weights.topk(2).indices) == 0).all()
    ratios = (left / weights).masked_fill(left == 0, torch.nan)
    torch.testing.assert_close(ratios.nanmean(-1), ratios.nan_to_num(0).amax(-1))


def test_random_choices_repeat_with_their_seed() -> None:
    weights = some_weights()
    assert torch.equal(without_random(weights, 3, 1), without_random(weights, 3, 1))
    assert not torch.equal(without_random(weights, 3, 1), without_random(weights, 3, 2))


def test_shuffled_keys_keep_the_entropy_of_each_row() -> None:
    weights = some_weights()
    torch.testing.assert_close(entropy(with_shuffled_keys(weights)), entropy(weights))


def test_the_network_is_as_before_even_after_an_error(ann: torch.nn.Module) -> None:
    before = attention_of(ann, SCENE.image)
    change = partial(without_strongest, k=1)
    with changed_attention(ann, change):
        during = attention_of(ann, SCENE.image)
    assert (during[AFNB].weights == 0).any()
    with pytest.raises(RuntimeError), changed_attention(ann, change):
        raise RuntimeError("in between")
    after = attention_of(ann, SCENE.image)
    assert all(torch.equal(after[name].weights, before[name].weights) for name in before)


def test_one_block_can_be_changed_alone(ann: torch.nn.Module) -> None:
    with changed_attention(ann, partial(without_strongest, k=1), APNB):
        found = attention_of(ann, SCENE.image)
    assert not (found[AFNB].weights == 0).any() and (found[APNB].weights == 0).any()
    with pytest.raises(KeyError, match="afnb"), changed_attention(ann, with_shuffled_keys, "no"):
        pass


def test_damage_is_measured_for_each_way_and_k(ann: torch.nn.Module) -> None:
    found = dict(measure_damage(ann, AFNB, (0, 100), [SCENE]))
    assert found.keys() == {(AFNB, way, k) for way in WAYS for k in (0, 100)}
    assert found[AFNB, "the strongest", 0].miou > found[AFNB, "the strongest", 100].miou


def test_an_untrained_network_leaves_the_random_numbers_alone(ann: torch.nn.Module) -> None:
    state = torch.random.get_rng_state()
    first, second = (untrained(ann, seed).classifier.weight for seed in (0, 1))
    assert torch.equal(torch.random.get_rng_state(), state) and not torch.equal(first, second)


def test_curves_say_their_numbers_in_words() -> None:
    picture = damage_curves(DAMAGES, {AFNB: "First", APNB: "Second"})
    assert "Second, as many at random: 0.99 without 1, 0.96 without 8." in picture.alt
    assert len(picture.png()) > 1000


def test_the_answers_stand_in_the_alternative_text(ann: torch.nn.Module) -> None:
    left = attention_of(ann, SCENE.image)[AFNB]
    picture = ablated(SCENE, left, (90, 30), SCENE.labels, "afnb")
    assert picture.alt.count("is classified as") == len(SCENE.houses)


def test_the_switch_says_what_was_measured(ann: torch.nn.Module) -> None:
    switch = ablation(ann, SCENE, {"AFNB": AFNB, "APNB": APNB}, DAMAGES)
    for block in ("AFNB", "APNB"):
        for way in WAYS:
            for house in switch.controls["query"].options:
                _, *words = switch.draw(block, way, 8, house)
                assert f"{block} without 8, {way}" in words[0]
                assert any("Over many scenes" in said for said in words)


# Queries and keys


@pytest.mark.parametrize("form", [lambda model: model, fuse_for_training])
@pytest.mark.parametrize("head", HEADS)
def test_weights_are_those_of_the_network(head: str, form: Callable) -> None:
    torch.manual_seed(0)
    model = form(build_model(town(head).model)).eval()
    theirs, ours = attention_of(model, SCENE.image), projections_of(model, SCENE.image)
    assert theirs.keys() == ours.keys()
    for path, attention in theirs.items():
        torch.testing.assert_close(ours[path].attention().weights, attention.weights)


@pytest.mark.parametrize("head", HEADS)
def test_weights_times_values_are_the_context_that_the_network_projects(head: str) -> None:
    torch.manual_seed(0)
    model, contexts = build_model(town(head).model).eval(), {}
    for path, block in attention_blocks(model).items():
        block.to_output.register_forward_pre_hook(
            lambda _, given, path=path: contexts.update({path: given[0][0].flatten(1).mT})
        )
    for path, ours in projections_of(model, SCENE.image).items():
        made = ours.attention().weights @ ours.values
        torch.testing.assert_close(made, contexts[path], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("levels", [(8,), (1, 6), (3, 6, 8)])
def test_some_levels_answer_as_if_the_network_had_only_these(levels: tuple[int, ...]) -> None:
    model = shipped_model("balloon_apnb")
    ours = projections_of(with_levels(model, (1, 3, 6, 8)), SCENE.image)["context.attention"]
    theirs = attention_with(model, SCENE.image, levels)
    torch.testing.assert_close(ours.attention(levels).weights, theirs.weights)


def test_a_factor_is_that_of_all_scores() -> None:
    found = projections_of(shipped_model("balloon_ann"), SCENE.image)["afnb.attention"]
    rescaled = (0.5 * found.attention().weights.log()).softmax(-1)
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
