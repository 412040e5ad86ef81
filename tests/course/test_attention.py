"""Attention is caught as it was computed, laid out where it belongs, and measured in shares."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TINY
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from annlib.course.attention import (
    Attention,
    Match,
    anchor_boxes,
    attention_blocks,
    attention_map,
    attention_of,
    capture_attention,
    class_masses,
    count_right,
    entropy,
    house_answer,
    house_answers,
    mass_on,
    match,
    model_input,
    pixel_view,
    predict_labels,
    query_index,
    query_on,
    to_pixels,
)
from annlib.course.plots.scenes import say_attention
from annlib.course.receptive_field import side_of_field
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import CLASS_NAMES, HOUSES
from annlib.model.ann import map_size
from annlib.model.build import build_model


def tiny(head: str) -> nn.Module:
    scales = (1, 2) if head == "ppm" else (1, 2, 3)
    sizes = {"num_classes": 10, "key_channels": 4, "hidden_channels": 8, "pool_scales": scales}
    return build_model(replace(TINY, head=head, **sizes))


def images(height: int = 40, width: int = 64, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, height, width)


def num_hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


# Capture


@pytest.mark.parametrize(
    ("head", "names", "num_answering"),
    [
        ("ann", {"afnb.attention", "apnb.attention"}, 14),
        ("apnb", {"context.attention"}, 14),
        ("nonlocal", {"context.attention"}, 40),
    ],
)
def test_each_block_leaves_its_weights(head: str, names: set[str], num_answering: int) -> None:
    model = tiny(head).eval()
    with capture_attention(model) as maps, torch.inference_mode():
        model(images())
    assert set(maps) == names
    for weights in maps.values():
        assert weights.shape == (2, 40, num_answering)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 40))


def test_captured_weights_are_those_computed_by_hand() -> None:
    model = tiny("apnb").eval()
    block, batch = model.context.attention, images()
    with capture_attention(model) as maps, torch.no_grad():
        model(batch)
        key = block.to_key(model.reduce(model.backbone(batch)[1]))
    for b in range(2):
        cells = [adaptive_avg_pool2d(key[b], n).flatten(1) for n in (1, 2, 3)]
        anchors, queries = torch.cat(cells, 1), key[b].flatten(1)
        for n in range(40):
            scores = torch.stack([queries[:, n] @ anchors[:, s] / 2 for s in range(14)])
            shares = (scores - scores.max()).exp()
            expected = shares / shares.sum()
            caught = maps["context.attention"][b, n]
            torch.testing.assert_close(caught, expected, rtol=1e-3, atol=1e-5)


def test_captured_weights_carry_no_gradient_while_training() -> None:
    model = tiny("nonlocal").train()
    with capture_attention(model) as maps:
        model(images())
    assert not maps["context.attention"].requires_grad


def test_half_precision_is_captured_as_float32() -> None:
    model = tiny("nonlocal").eval().to(torch.bfloat16)
    with capture_attention(model) as maps, torch.inference_mode():
        model(images().bfloat16())
    assert maps["context.attention"].dtype == torch.float32


def test_hooks_are_gone_afterwards() -> None:
    model = tiny("ann").eval()
    with capture_attention(model):
        model(images())
    assert num_hooks(model) == 0


def test_hooks_are_gone_after_an_exception_which_stays_the_one_raised() -> None:
    model = tiny("ann")
    with pytest.raises(ZeroDivisionError), capture_attention(model):
        assert num_hooks(model) == 2
        _ = 1 / 0
    assert num_hooks(model) == 0


@pytest.mark.parametrize("head", ["fcn", "ppm"])
def test_a_model_without_attention_is_refused_at_entry(head: str) -> None:
    with pytest.raises(ValueError, match="no attention block"), capture_attention(tiny(head)):
        pytest.fail("the block must not be entered")


def test_no_forward_is_told() -> None:
    model = tiny("ann")
    with pytest.raises(RuntimeError, match="No attention was captured"), capture_attention(model):
        pass
    assert num_hooks(model) == 0


def test_a_block_alone_can_be_captured() -> None:
    block = tiny("nonlocal").context.attention
    with capture_attention(block) as maps:
        block(torch.randn(1, 8, 3, 5))
    assert maps["attention"].shape == (1, 15, 15)


def test_attention_of_an_image_of_0_to_1_is_refused() -> None:
    image = np.random.default_rng(0).random((40, 64, 3), dtype=np.float32)
    with pytest.raises(ValueError, match=r"looks like 0\.\.1: give uint8 pixels"):
        attention_of(tiny("ann"), image)


def test_attention_of_a_picture_leaves_the_mode_alone() -> None:
    model = tiny("ann").train()
    found = attention_of(model, make_scene(1).image)
    assert model.training
    assert found["afnb.attention"].weights.shape == (384, 14)
    assert found["afnb.attention"].map_size == (16, 24)
    assert found["afnb.attention"].pool_scales == (1, 2, 3)


def test_each_that_answers_has_a_box_of_pixels() -> None:
    for head in ("nonlocal", "apnb"):
        attention = attention_of(tiny(head), make_scene(1).image)["context.attention"]
        boxes = attention.boxes()
        assert boxes.shape == (attention.weights.shape[1], 4)
        assert boxes[:, 2].max() == 128 and boxes[:, 3].max() == 192


@pytest.mark.parametrize("size", [(128, 192), (97, 129), (8, 200), (41, 63)])
def test_map_size_is_that_of_the_backbone(size: tuple[int, int]) -> None:
    low, high = tiny("fcn").eval().backbone(torch.randn(1, 3, *size))
    assert map_size(size) == tuple(high.shape[2:]) == tuple(low.shape[2:])


# Cells


@pytest.mark.parametrize("size", [(16, 24), (7, 11), (97, 13), (5, 3)])
def test_anchor_boxes_are_the_cells_that_pytorch_averages(size: tuple[int, int]) -> None:
    scales = (1, 3, 6, 8)
    maps = torch.randn(4, *size, dtype=torch.float64)
    pooled = torch.cat([adaptive_avg_pool2d(maps, n).flatten(1) for n in scales], dim=1)
    boxes = anchor_boxes(scales, *size)
    assert boxes.shape == (110, 4)
    means = [maps[:, top:bottom, left:right].mean((1, 2)) for top, left, bottom, right in boxes]
    torch.testing.assert_close(torch.stack(means, dim=1), pooled)


@pytest.mark.parametrize("size", [(16, 24), (7, 11), (5, 3)])
def test_spreading_is_the_transpose_of_pooling(size: tuple[int, int]) -> None:
    """<spread(w), x> = <w, pool(x)>: both say what share of x is fetched."""
    scales = (1, 2, 3, 6)
    weights, x = torch.rand(50).double(), torch.randn(1, *size).double()
    pooled = torch.cat([adaptive_avg_pool2d(x, n).flatten() for n in scales])
    torch.testing.assert_close(
        (attention_map(weights, scales, *size) * x[0]).sum(), weights @ pooled
    )


def test_spreading_keeps_the_sum() -> None:
    weights = torch.randn(5, 110).softmax(-1)
    spread_out = attention_map(weights, (1, 3, 6, 8), 13, 17)
    assert spread_out.shape == (5, 13, 17)
    torch.testing.assert_close(spread_out.sum((1, 2)), torch.ones(5))


def test_the_picture_of_an_ordinary_block_is_its_row_in_shape() -> None:
    weights = torch.arange(15.0)
    assert torch.equal(attention_map(weights, None, 3, 5), weights.reshape(3, 5))


def test_boxes_of_positions_follow_the_rows() -> None:
    assert anchor_boxes(None, 2, 3)[4].tolist() == [1, 1, 2, 2]
    assert to_pixels(anchor_boxes(None, 2, 3), (2, 3), (16, 30))[4].tolist() == [8, 10, 16, 20]


def test_every_pixel_has_the_position_whose_box_holds_it() -> None:
    boxes = to_pixels(anchor_boxes(None, 5, 8), (5, 8), (40, 60))
    for y in range(40):
        for x in range(60):
            top, left, bottom, right = boxes[query_index(y, x, (40, 60), (5, 8))]
            assert top <= y < bottom and left <= x < right


@pytest.mark.parametrize(("y", "x"), [(-1, 0), (40, 0), (0, 60), (0, -0.5)])
def test_a_pixel_outside_is_refused(y: float, x: float) -> None:
    with pytest.raises(ValueError, match="outside the image"):
        query_index(y, x, (40, 60), (5, 8))


# Shares


def uniform(pool_scales: tuple[int, ...] | None = None) -> Attention:
    num_answering = 384 if pool_scales is None else sum(n * n for n in pool_scales)
    weights = torch.full((384, num_answering), 1 / num_answering)
    return Attention(weights, (16, 24), (128, 192), pool_scales)


def test_even_attention_falls_on_a_mask_by_its_area() -> None:
    mask = make_scene(3).labels == 0
    share = float(mass_on(uniform().map_at(5, 5), mask))
    assert share == pytest.approx(mask.mean(), abs=1e-6)


def test_masses_by_class_sum_to_one() -> None:
    scene = make_scene(3)
    masses = class_masses(torch.randn(384).softmax(0).reshape(16, 24), scene.labels)
    assert sum(masses.values()) == pytest.approx(1, abs=1e-5)
    assert list(masses.values()) == sorted(masses.values(), reverse=True)


def test_entropy_counts_even_choices_in_bits() -> None:
    assert float(entropy(torch.full((8,), 1 / 8))) == pytest.approx(3)
    assert float(entropy(torch.tensor([0.0, 1.0, 0.0]))) == 0


def test_a_house_that_looks_at_its_balloon_is_matched_and_one_that_looks_elsewhere_is_not() -> None:
    scene = make_scene(3)
    house = scene.houses[0]
    for index, balloon in enumerate(scene.balloons):
        rows, columns = np.nonzero(scene.mask(balloon))
        target = query_index(rows.mean(), columns.mean(), (128, 192), (16, 24))
        weights = torch.zeros(384, 384)
        weights[:, target] = 1
        found = match(Attention(weights, (16, 24), (128, 192), None), scene, house)
        assert found.is_matched == (index == house.decided_by)
        assert found.own_house == 0


def test_a_tie_is_no_match() -> None:
    assert not Match((0.3, 0.3), 0.1, 0).is_matched
    assert Match((0.3,), 0.1, 0).is_matched


def test_the_query_of_a_house_is_on_it() -> None:
    for seed in range(20):
        scene = make_scene(seed)
        for house in scene.houses:
            assert scene.mask(house)[query_on(scene, house)]


def test_a_choice_in_words_names_place_class_and_shares() -> None:
    scene = make_scene(3)
    said = say_attention(uniform(), scene.labels, 2, 2)
    assert "Row 2, column 2 (sky)" in said and "evenly to 384 of 384" in said


# Answers


def test_a_house_is_what_most_of_its_labelled_pixels_were_taken_for() -> None:
    scene = make_scene(3)
    house = scene.houses[1]
    rows, columns = np.nonzero(scene.mask(house) & (scene.labels == house.label))
    most = len(rows) // 2 + 1
    labels = np.full_like(scene.labels, HOUSES[0])  # on the ignored border, too: it has no vote
    labels[rows[:most], columns[:most]] = HOUSES[2]
    assert house_answer(labels, scene, house) == HOUSES[2]


def test_a_house_that_was_mostly_taken_for_sky_is_no_house() -> None:
    scene = make_scene(3)
    house = scene.houses[1]
    rows, columns = np.nonzero(scene.mask(house))
    labels = np.zeros_like(scene.labels)
    labels[rows[::3], columns[::3]] = house.label
    assert CLASS_NAMES[house_answer(labels, scene, house)] == "sky"


def test_each_house_of_a_scene_gets_an_answer() -> None:
    model = tiny("fcn")
    nn.init.zeros_(model.classifier.weight)
    model.classifier.bias.data = torch.eye(10)[8]
    assert house_answers(model, make_scene(3)) == [8, 8, 8]


def test_a_pixel_sees_as_far_as_said_and_no_farther() -> None:
    model = tiny("fcn").double().eval()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1 / parameter[0].numel())  # no path cancels another
    image = torch.ones(1, 3, 128, 192, dtype=torch.float64, requires_grad=True)
    answer, reach = model(image).main[0, 0], []
    for y in range(60, 68):  # all places within a stride
        (gradient,) = torch.autograd.grad(answer[y, 96], image, retain_graph=True)
        rows = gradient[0].sum((0, 2)).nonzero()
        reach += [y - int(rows.min()), int(rows.max()) - y]
    assert 2 * max(reach) + 1 == pixel_view(side_of_field(1, head_kernels=1)) == 85


def test_predicted_labels_are_classes_of_every_pixel() -> None:
    scene = make_scene(3)
    labels = predict_labels(tiny("apnb"), scene.image)
    assert labels.shape == scene.labels.shape and labels.dtype == np.uint8
    assert labels.max() < len(CLASS_NAMES)


def test_true_labels_count_as_all_right(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [make_scene(seed) for seed in (1, 2)]
    truth = {scene.image.tobytes(): scene.labels for scene in scenes}
    monkeypatch.setattr(
        "annlib.course.attention.predict_labels", lambda model, image: truth[image.tobytes()]
    )
    num_houses = sum(len(scene.houses) for scene in scenes)
    assert count_right(nn.Identity(), scenes) == (num_houses, num_houses)


def test_the_input_of_a_model_is_normalised() -> None:
    grey = np.full((4, 6, 3), 128, np.uint8)
    tensor = model_input(grey)
    assert tensor.shape == (1, 3, 4, 6)
    assert float(tensor.abs().max()) < 1


@pytest.mark.slow  # imports the compiler
def test_blocks_of_a_compiled_model_keep_their_names() -> None:
    model = tiny("ann")
    assert set(attention_blocks(torch.compile(model))) == set(attention_blocks(model))


@pytest.mark.parametrize("shape", [(33, 57), (33, 57, 4), (3, 33, 57), (0, 57, 3)])
def test_an_image_of_another_shape_is_refused_with_it(shape: tuple) -> None:
    with pytest.raises(ValueError, match="not \\(H, W, 3\\)"):
        model_input(np.zeros(shape, np.uint8))


def test_a_mask_of_bytes_counts_as_truth() -> None:
    maps, mask = torch.full((4, 4), 1 / 16), np.zeros((8, 8), np.uint8)
    mask[:4] = 255
    assert float(mass_on(maps, mask)) == pytest.approx(0.5)
