"""Lessons 04 and 05: what their figures show, and that no control can be moved to an error."""

from itertools import product

import numpy as np
import pytest
import torch
from shown_in import errors

from annlib.config import ModelConfig
from annlib.course.attention import anchor_boxes
from annlib.course.costs import say_stages, walk
from annlib.course.interventions import (
    attention_output,
    attention_with,
    changed_levels,
    coarse,
    loss_by_class,
    low_and_high,
    near_edges,
    projections_across,
    score,
    with_levels,
)
from annlib.course.plots.attention import anchor_map as draw_anchor_map
from annlib.course.plots.attention import cell_map as draw_cell_map
from annlib.course.plots.attention import (
    count_anchors,
    mosaic,
    output_change,
    strongest,
    times_counted,
)
from annlib.course.plots.attention import two_maps as draw_two_maps
from annlib.course.widgets.attention import BLOCKS, cell_map, context_scale
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.build import shipped_model

SCENE = make_scene(FIRST_VAL_SEED + 21)


@pytest.fixture(scope="module")
def apnb() -> Baseline:
    return shipped_model("balloon_apnb")


@pytest.fixture(scope="module")
def ann() -> ANN:
    return shipped_model("balloon_ann")


# Anchors


def test_weights_of_either_block_fit_the_other(apnb: Baseline) -> None:
    whole = with_levels(apnb, None)
    back = with_levels(whole, (1, 3, 6, 8))
    first, second = (attention_with(net, SCENE.image, (1, 3, 6, 8)) for net in (apnb, back))
    torch.testing.assert_close(first.weights, second.weights)
    assert attention_with(apnb, SCENE.image, None).weights.shape == (384, 384)


def test_network_without_such_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="'fcn' network has no block"):
        with_levels(shipped_model("balloon_fcn"), (1,))


def test_context_does_not_move_where_nothing_is_changed(apnb: Baseline) -> None:
    same = attention_output(with_levels(apnb, (1, 3)), SCENE.image)
    shares = loss_by_class(same, same, SCENE.labels)
    assert set(shares.values()) == {0.0} and "sky" in shares and "border" not in shares


def test_anchors_count_up() -> None:
    assert (
        count_anchors((1, 3, 6, 8), (16, 24)) == "1² + 3² + 6² + 8² = 1 + 9 + 36 + 64 = 110 anchors"
    )
    assert count_anchors((1,), (16, 24)) == "1² = 1 anchor"
    assert count_anchors(None, (16, 24)) == "16 x 24 = 384 positions"


def test_strongest_anchor_is_named_by_its_place(apnb: Baseline) -> None:
    attention = attention_with(apnb, SCENE.image, (1, 3, 6, 8))
    weights = attention.row(95, 42)
    place, weight, box = strongest(attention, 95, 42)[0]
    row, column = divmod(int(weights.argmax()) - (1 + 9 + 36), 8)
    assert place == f"level 8 row {row} column {column}"
    assert weight == pytest.approx(float(weights.max()))
    assert tuple(box) == (16 * row, 24 * column, 16 * (row + 1), 24 * (column + 1))
    picture = draw_anchor_map(SCENE.image, attention, 95, 42, "Anchors", "apnb")
    assert place in picture.alt and "110 anchors" in picture.alt and picture.png()


# Cells


def test_mosaic_of_the_finest_level_is_the_picture_and_of_the_first_its_mean() -> None:
    image = np.arange(6 * 6 * 3, dtype=np.uint8).reshape(6, 6, 3)
    np.testing.assert_array_equal(mosaic(image, (6, 6), 6), image)
    assert len(np.unique(mosaic(image, (6, 6), 1).reshape(-1, 3), axis=0)) == 1


def test_positions_are_shared_only_where_a_side_does_not_divide() -> None:
    assert (times_counted((16, 24), 8) == 1).all()
    counts = times_counted((16, 24), 6)
    assert (counts == counts[:, :1]).all() and counts.max() == 2
    boxes = anchor_boxes((6,), 16, 24)
    assert counts.sum() == ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sum()


def test_cell_is_told_in_words() -> None:
    alt = draw_cell_map(SCENE.image, (16, 24), 6, 7).alt
    assert "covers rows 2 to 5, columns 4 to 7" in alt and "96 positions are in two cells" in alt


def test_lost_map_names_the_place_that_moves_most() -> None:
    before = torch.zeros(2, 16, 24)
    after = before.clone()
    after[:, 3, 5] = 1.0
    assert "at row 3, column 5" in output_change(SCENE.image, before, after).alt


# Levels


def test_edges_are_near_another_class_but_not_on_the_ignored_seam() -> None:
    labels = np.array([[0] * 6 + [255] + [1] * 6] * 3)
    near = near_edges(labels, reach=3)
    assert near[0].tolist() == [False] * 4 + [True] * 2 + [False] + [True] * 2 + [False] * 4


def test_coarse_low_map_keeps_edges_that_a_coarse_high_map_loses(ann: ANN) -> None:
    with changed_levels(ann, low=lambda x: coarse(x, (8, 12))):
        low = score(ann, [SCENE])
    with changed_levels(ann, high=lambda x: coarse(x, (8, 12))):
        high = score(ann, [SCENE])
    assert score(ann, [SCENE]).edges - low.edges < 0.02 < low.edges - high.edges


def test_roles_can_be_swapped_where_channels_agree(ann: ANN) -> None:
    straight, swapped = (
        projections_across(ann, SCENE.image, roles).attention() for roles in (False, True)
    )
    assert straight.weights.shape == swapped.weights.shape == (384, 110)
    assert not torch.allclose(straight.weights, swapped.weights)
    low, _ = low_and_high(ann, SCENE.image)
    asking = low[0].norm(dim=0).numpy(), "Low asks", "High answers"
    alt = draw_two_maps(SCENE.image, asking, swapped, 95, 42).alt
    assert alt.startswith("Low asks, High answers.")


def test_walk_through_the_published_network_needs_no_memory() -> None:
    stages = walk(ModelConfig(50, 19), (97, 129))
    assert [stage.name for stage in stages][:3] == ["backbone", "afnb", "dropout"]
    assert stages[0].shapes == ((1024, 13, 17), (2048, 13, 17))
    assert {s.name: s.parameters for s in stages}["afnb"] == 9_968_896  # the reference's count
    assert "auxiliary" in say_stages(stages)
    assert "auxiliary" not in say_stages(walk(ModelConfig(50, 19), (97, 129), training=False))


# Controls, moved through all that they offer


@pytest.mark.all
def test_cell_map_draws_every_level_and_stays_inside() -> None:
    widget = cell_map(SCENE)
    widget.controls["cell row"].value = widget.controls["cell column"].value = 23
    for level in widget.controls["level"].options:
        widget.controls["level"].value = level
        assert not errors(widget)


@pytest.mark.all
def test_context_volume_draws_both_blocks_from_silent_to_twice(ann: ANN) -> None:
    widget = context_scale(ann, SCENE)
    for block, factor in product(BLOCKS, (0.0, 1.0, 2.0)):
        widget.controls["block"].value, widget.controls["context x"].value = block, factor
        assert not errors(widget)
