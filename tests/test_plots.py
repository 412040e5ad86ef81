"""Every figure shows itself as a PNG with words, for any state, and leaves no state behind."""

import base64
import struct

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot

from annlib.course.attention import Attention
from annlib.course.plots import scenes, training
from annlib.course.plots.style import FigureWithAlt, colour_labels, faded, spotlight
from annlib.data.balloon_town.dataset import make_scene, repaint
from annlib.data.balloon_town.layout import PALETTE

SCENE = make_scene(5)


def random_attention(pool_scales: tuple[int, ...] | None = None, seed: int = 0) -> Attention:
    generator = torch.Generator().manual_seed(seed)
    num_answering = 384 if pool_scales is None else sum(n * n for n in pool_scales)
    scores = 3 * torch.randn(384, num_answering, generator=generator)
    return Attention(scores.softmax(-1), (16, 24), (128, 192), pool_scales)


def figures() -> dict[str, FigureWithAlt]:
    answers = (SCENE.labels, np.zeros_like(SCENE.labels))
    matrix = np.full((2, 3), 1 / 3)
    return {
        "scene": scenes.scene(SCENE),
        "view": scenes.field_of_view(SCENE, 0, 0, 63),
        "attention": scenes.attention_map(SCENE.image, random_attention(), 90, 30, "Any", "afnb"),
        "house_attention": scenes.house_attention(
            SCENE,
            {
                "one": ("nonlocal", random_attention()),
                "two": ("apnb", random_attention((1, 3, 6, 8))),
                "three": ("afnb", random_attention((1, 2))),
            },
        ),
        "predictions": scenes.predictions([SCENE, SCENE], {"net": answers}),
        "counterfactual": scenes.predictions(
            [SCENE, repaint(SCENE, 0, 1)], {"net": answers}, ["Before", "After"]
        ),
        "curve": training.training_curve([(1, 2.0), (2, 1.0)], "ann"),
        "matrix": training.weight_matrix(matrix, "Shares", ["a", "b"], ["x", "y", "z"]),
    }


@pytest.fixture(scope="module")
def made() -> dict[str, FigureWithAlt]:
    return figures()


def png_size(picture: FigureWithAlt) -> tuple[int, int]:
    """(height, width) from the header of the PNG."""
    width, height = struct.unpack(">II", picture.png()[16:24])
    return height, width


def test_every_figure_is_a_png_with_words(made: dict[str, FigureWithAlt]) -> None:
    for name, picture in made.items():
        data, metadata = picture._repr_mimebundle_()
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG"), name
        assert len(metadata["image/png"]["alt"]) > 40, name
        assert data["text/plain"] == metadata["image/png"]["alt"], name


def test_figures_fit_on_a_screen(made: dict[str, FigureWithAlt]) -> None:
    for name, picture in made.items():
        height, width = png_size(picture)
        assert 150 < height < 1000 and 300 < width < 1600, name


def test_no_figure_is_known_to_pyplot(made: dict[str, FigureWithAlt]) -> None:
    assert made and pyplot.get_fignums() == []


def test_drawing_changes_no_global_setting() -> None:
    before = dict(matplotlib.rcParams)
    scenes.scene(SCENE).png()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("y", [0, 63, 127])
@pytest.mark.parametrize("x", [0, 100, 191])
@pytest.mark.parametrize("scales", [None, (1, 3, 6, 8)])
def test_attention_is_drawn_for_every_pixel(y: int, x: int, scales: tuple | None) -> None:
    picture = scenes.attention_map(SCENE.image, random_attention(scales), y, x, "Any", "apnb")
    assert f"row {y}, column {x}" in picture.alt


@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0, 4.0])
def test_attention_is_drawn_for_every_scale(factor: float) -> None:
    attention = random_attention().rescaled(factor)
    assert "attends most" in scenes.attention_map(SCENE.image, attention, 9, 9, "Any", "ann").alt


def test_a_scene_in_words_names_paints_patterns_and_classes(made: dict[str, FigureWithAlt]) -> None:
    for house in SCENE.houses:
        assert house.paint in made["scene"].alt
    assert any(f"with a {pattern}" in made["scene"].alt for pattern in ("belt", "stripe", "disc"))


def test_predictions_in_words_count_right_houses(made: dict[str, FigureWithAlt]) -> None:
    assert "net: 3 of 3 houses correct" in made["predictions"].alt
    assert "net: 0 of 3 houses correct" in made["predictions"].alt


def test_the_hero_tells_the_share_on_each_balloon(made: dict[str, FigureWithAlt]) -> None:
    for title in ("one", "two", "three"):
        assert f"{title}, attention of each house on its balloon" in made["house_attention"].alt


def test_a_curve_in_words_says_where_it_went(made: dict[str, FigureWithAlt]) -> None:
    assert "starts at 2.00 and falls to 1.50" in made["curve"].alt


def test_labels_have_their_colours_and_ignored_pixels_are_white() -> None:
    coloured = colour_labels(np.array([[0, 9, 255]], np.uint8))
    assert coloured[0].tolist() == [PALETTE[0].tolist(), PALETTE[9].tolist(), [255, 255, 255]]


def test_the_spotlight_shows_the_brightest_position_as_it_is() -> None:
    image = np.full((16, 24, 3), 200, np.uint8)
    heat = np.zeros((2, 3))
    heat[1, 2] = 0.7
    lit = spotlight(image, heat)
    assert (lit[8:, 16:] == 200).all()
    assert (lit[:8] < 100).all()


def test_fading_goes_towards_white() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    assert 0 < faded(image).max() < 255
    assert (faded(image, 1.0) == 255).all()


def test_an_arrow_ends_on_the_border_of_its_box() -> None:
    assert scenes.arrow_end((100, 20), (0, 10, 10, 30)) == (10.0, 20.0)
    y, x = scenes.arrow_end((100, 100), (0, 0, 10, 10))
    assert y == pytest.approx(10) and x == pytest.approx(10)


def test_no_arrow_is_drawn_from_inside_its_box() -> None:
    assert scenes.arrow_end((5, 5), (0, 0, 10, 10)) is None
