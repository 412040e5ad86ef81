"""The attention explorer, Python's half: what it sends, what it refuses, what static pages show."""

import io
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from PIL import Image
from sklearn.datasets import load_sample_image
from tiny import TINY, wake
from torch import nn
from traitlets import TraitError

from annlib.config import TestConfig
from annlib.course.attention import model_input, predict_labels, projections_of
from annlib.course.interventions import untrained
from annlib.course.widgets.base import saved_page
from annlib.course.widgets.explorer import (
    ANCHORS,
    MAP,
    POSITIONS,
    ROLES,
    AttentionExplorer,
    View,
    anchor_map,
    attention_explorer,
    pack,
    subject_of,
    two_maps,
    views_of,
)
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.classes import CAMVID
from annlib.engine.predictor import Network
from annlib.model.ann import ANN
from annlib.model.build import shipped_model

SCENE = make_scene(5)


@pytest.fixture(scope="module")
def ann() -> nn.Module:
    return shipped_model("balloon_ann")


@pytest.fixture
def explorer(ann: nn.Module) -> AttentionExplorer:
    return attention_explorer({"trained": ann, "random": untrained(ann)}, SCENE)


def piece(explorer: AttentionExplorer, place: list[int], dtype: type) -> np.ndarray:
    offset, length = place
    return np.frombuffer(explorer.data[offset : offset + length], dtype)


def photo(width: int, height: int, kind: str = "JPEG") -> bytes:
    Image.new("RGB", (width, height), (200, 30, 60)).save(file := io.BytesIO(), kind)
    return file.getvalue()


def test_what_is_sent_is_what_was_found(explorer: AttentionExplorer, ann: nn.Module) -> None:
    sent = explorer.spec["views"][0]
    assert (sent["network"], sent["block"]) == ("trained", "AFNB")
    found = projections_of(ann, SCENE.image)["afnb.attention"]
    keys = piece(explorer, sent["keys"], np.float32).reshape(-1, sent["channels"])
    queries = piece(explorer, sent["queries"], np.float32).reshape(-1, sent["channels"])
    weights = torch.tensor(queries @ keys.T).softmax(-1)
    torch.testing.assert_close(weights, found.attention().weights, atol=1e-5, rtol=1e-4)
    picture = explorer.spec["images"][0]
    assert piece(explorer, picture["pixels"], np.uint8).tobytes() == SCENE.image.tobytes()
    labels = piece(explorer, picture["labels"], np.uint8).reshape(SCENE.labels.shape)
    assert np.array_equal(labels, SCENE.labels)


def test_every_piece_can_be_read_in_place(explorer: AttentionExplorer) -> None:
    places = [one[key] for one in explorer.spec["views"] for key in ("queries", "values")]
    assert all(offset % 4 == 0 for offset, _ in places)


def test_queries_and_keys_are_far_smaller_than_the_weights(ann: nn.Module) -> None:
    found = projections_of(ann, SCENE.image)["apnb.attention"]
    sent = found.queries.numel() + found.keys.numel()
    assert sent < 0.5 * found.attention().weights.numel()


def test_it_starts_on_a_house_with_all_levels(explorer: AttentionExplorer) -> None:
    x, y = explorer.xy
    assert SCENE.mask(SCENE.houses[0])[y, x]
    assert explorer.levels == [1, 3, 6, 8] and explorer.beside == MAP


@pytest.mark.parametrize("xy", [(-1, 0), (192, 0), (0, 128)])
def test_pixel_outside_is_refused(explorer: AttentionExplorer, xy: tuple[int, int]) -> None:
    with pytest.raises(TraitError, match="outside"):
        explorer.xy = xy


def test_key_outside_is_refused_and_none_means_the_strongest(explorer: AttentionExplorer) -> None:
    with pytest.raises(TraitError, match="key = .* outside"):
        explorer.key = [192, 0]
    explorer.key = [191, 127]
    explorer.key = []
    assert explorer.key == []


@pytest.mark.parametrize("name", ["image", "network"])
def test_unknown_choice_is_refused_with_those_there_are(
    explorer: AttentionExplorer, name: str
) -> None:
    with pytest.raises(TraitError, match="there are"):
        setattr(explorer, name, "nonsense")


def test_picture_of_another_size_is_refused(ann: nn.Module) -> None:
    views = {"scene": views_of({"ann": ann}, SCENE.image)}
    with pytest.raises(ValueError, match="another position"):
        pack({"scene": subject_of(SCENE.image[:64])}, views)


def test_static_picture_follows_the_state(explorer: AttentionExplorer) -> None:
    data, metadata = explorer._repr_mimebundle_()
    assert "AFNB" not in data and len(data["image/png"]) > 5000
    before = metadata["image/png"]["alt"]
    assert "Entropy" in before and "S: 1² + 3²" in before
    explorer.xy, explorer.network, explorer.levels = (4, 4), "random", [8]
    after = explorer._repr_mimebundle_()[1]["image/png"]["alt"]
    assert "Row 4, column 4" in after and "64 anchors" in after
    explorer.levels = []
    data, metadata = explorer._repr_mimebundle_()
    assert "image/png" not in data and "there are no keys" in data["text/plain"]


def test_two_explorers_do_not_disturb_each_other(ann: nn.Module) -> None:
    first, second = (attention_explorer(ann, SCENE) for _ in range(2))
    before = second.xy
    first.xy = (0, 0)
    assert second.xy == before


def test_closing_twenty_explorers_leaves_none(ann: nn.Module) -> None:
    views = views_of({"ann": ann}, SCENE.image)
    before = set(_instances)
    for _ in range(20):
        one = AttentionExplorer({"scene": SCENE}, lambda image: views, None)
        one.observe(print, "xy")
        one.close()
        assert not one._msg_callbacks.callbacks
        assert print not in one._trait_notifiers.get("xy", {}).get("change", [])
    assert set(_instances) == before


# Photos


def test_photo_is_cut_to_the_size_of_the_first_picture(explorer: AttentionExplorer) -> None:
    explorer.add_photo("beach.jpg", photo(640, 480))
    assert explorer.image == "photo 1: beach.jpg"
    added = explorer.subjects[explorer.image]
    assert added.image.shape == (128, 192, 3) and added.labels.shape == (128, 192)
    assert len(explorer.spec["images"]) == 2 and len(explorer.spec["views"]) == 8


@pytest.mark.parametrize("file", [b"", b"no picture", photo(64, 64)[:200]])
def test_what_is_no_picture_is_refused_and_the_state_stays(
    explorer: AttentionExplorer, file: bytes
) -> None:
    with pytest.raises(ValueError, match="cannot be read as an image"):
        explorer.add_photo("notes.txt", file)
    explorer.receive(explorer, {"photo": "notes.txt"}, [memoryview(file)])
    assert "cannot be read" in explorer.message and explorer.image == "image"


def test_huge_photo_is_refused_before_it_is_unpacked(explorer: AttentionExplorer) -> None:
    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, "PNG")
    with pytest.raises(ValueError, match="9000 x 9000"):
        explorer.add_photo("huge.png", file.getvalue())


# A street network on photos


@pytest.fixture(scope="module")
def streets() -> Network:
    """Random weights, but several classes, and the test of a street network."""
    torch.manual_seed(0)
    model = wake(ANN(replace(TINY, num_classes=11)))
    for one in model.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.momentum = 1.0  # the statistics of the photo
    model(model_input(load_sample_image("china.jpg")[::4, ::4]))
    return Network("streets", CAMVID, TestConfig(base_size=(72, 96)), model.eval)


def test_photo_has_the_size_and_the_classes_of_its_network(
    streets: Network, tmp_path: Path
) -> None:
    file = tmp_path / "own.jpg"
    file.write_bytes(photo(400, 300))
    images = {"china.jpg": load_sample_image("china.jpg"), "own.jpg": file}
    explorer = attention_explorer(streets, images)
    china, own = explorer.subjects.values()
    assert china.image.shape == own.image.shape == (72, 96, 3)
    assert np.array_equal(china.labels, predict_labels(streets.load(), china.image))
    assert explorer.spec["images"][0]["names"] == list(CAMVID.class_names)
    x, y = explorer.xy
    found = projections_of(streets.load(), china.image)["afnb.attention"].attention().map_at(y, x)
    cells = found.repeat_interleave(8, 0).repeat_interleave(8, 1) / 64  # each position: 8 x 8
    masses = np.bincount(china.labels.flat, cells.flatten().numpy(), minlength=11)
    most = int(masses.argmax())
    said = explorer._repr_mimebundle_()[1]["image/png"]["alt"]
    assert f"({CAMVID.class_names[china.labels[y, x]]}) attends {masses[most]:.0%} to " in said
    assert f"to {CAMVID.class_names[most]}" in said and "Entropy" in said
    explorer.add_photo("beach.jpg", photo(640, 480))
    assert explorer.spec["images"][2]["names"] == list(CAMVID.class_names)


def test_inpainting_changes_only_a_rectangle_and_counts_what_follows(streets: Network) -> None:
    explorer = attention_explorer(streets, {"china.jpg": load_sample_image("china.jpg")})
    explorer.xy = (90, 10)  # near the right edge, where the rectangle is cut off
    explorer.receive(explorer, {"inpaint": [20, 30]}, [])
    before, after = explorer.subjects.values()
    inside = np.zeros((72, 96), bool)
    inside[0:20, 75:96] = True
    assert (after.image[inside] == before.image.mean((0, 1)).round()).all()
    assert np.array_equal(after.image[~inside], before.image[~inside])
    share = (before.labels != after.labels)[~inside].mean()
    assert share > 0 and f"changes for {share:.1%} of the pixels" in explorer.message
    assert explorer.image == "china.jpg, inpainted 20 x 30 at row 10, column 90"
    assert explorer.xy == (90, 10) and explorer.spec["views"][-1]["image"] == explorer.image
    explorer.receive(explorer, {"inpaint": [0, 5]}, [])
    assert "The rectangle is 0 x 5" in explorer.message and len(explorer.subjects) == 2


# Pages without a kernel


def test_standalone_page_holds_all_and_asks_nobody(explorer: AttentionExplorer) -> None:
    page = saved_page({"state": explorer.get_state()}, "Attention explorer")
    assert "http" not in page.replace("http-equiv", "")
    state = re.search(r'<script type="application/json" id="state">(.*?)</script>', page)[1]
    assert json.loads(state)["xy"] == list(explorer.xy)
    assert json.loads(state)["spec"]["takes_photos"] is False


def test_standalone_page_cannot_be_ended_by_a_name(ann: nn.Module) -> None:
    widget = attention_explorer({"</script><b>": ann}, SCENE)
    page = saved_page({"state": widget.get_state()}, "Attention explorer")
    assert "</script><b>" not in page


# The forms that lessons use


def test_anchor_map_offers_levels_that_were_never_trained(ann: nn.Module) -> None:
    widget = anchor_map(shipped_model("balloon_apnb"), SCENE)
    views = {view["network"]: view for view in widget.spec["views"]}
    assert views[ANCHORS]["levels"] == [1, 2, 3, 4, 6, 8, 12, 16]
    assert views[POSITIONS]["levels"] is None
    assert widget.levels == [1, 3, 6, 8]


def test_two_maps_shows_who_asks_in_both_roles(ann: nn.Module) -> None:
    widget = two_maps(ann, SCENE)
    assert [view["block"] for view in widget.spec["views"]] == list(ROLES)
    for name in ROLES:
        widget.block = name
        queries = "Low-level" if ROLES[name] else "High-level"
        assert widget._repr_mimebundle_()[0]["text/plain"].startswith(f"{queries} map: queries")


def test_a_function_can_stand_for_a_network(ann: nn.Module) -> None:
    widget = attention_explorer({"by hand": partial(projections_of, ann)}, SCENE)
    view = widget.views["image"]["by hand"]["AFNB"]
    assert isinstance(view, View) and view.block == "afnb"
