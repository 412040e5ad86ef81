"""Every figure shows itself as a PNG with words, for any state, and leaves no state behind."""

import base64
import struct
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import matplotlib
import matplotlib.style
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.colors import to_rgb
from some_runs import make_run

from annlib.course.attention import Attention, sample_photo
from annlib.course.plots import scenes, training
from annlib.course.plots.style import (
    BLOCK_COLOURS,
    INK,
    STYLE,
    FigureWithAlt,
    colour_labels,
    faded,
    spotlight,
)
from annlib.course.plots.training import learning_curves, smoothed
from annlib.course.runs import Run, read_run
from annlib.data.balloon_town.dataset import make_scene, repaint
from annlib.data.balloon_town.layout import PALETTE
from annlib.data.classes import CAMVID

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


def test_every_figure_is_a_png_with_words_that_fits_on_a_screen(
    made: dict[str, FigureWithAlt],
) -> None:
    for name, figure in made.items():
        data, metadata = figure._repr_mimebundle_()
        png = base64.b64decode(data["image/png"])
        assert png.startswith(b"\x89PNG"), name
        width, height = struct.unpack(">II", png[16:24])
        assert 150 < height < 1000 and 300 < width < 1600, name
        assert len(metadata["image/png"]["alt"]) > 40, name
        assert data["text/plain"] == metadata["image/png"]["alt"], name


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
    weights = (factor * random_attention().weights.log()).softmax(-1)
    attention = random_attention()._replace(weights=weights)
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


# Full dichromacy, on linear RGB (Machado, Oliveira, Fernandes 2009, severity 1.0).
SIGHT = {
    "usual": np.eye(3),
    "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(1)
BLOCKS = sorted(set(BLOCK_COLOURS.values()))


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """Linear RGB -> CIELAB, in which equal distances look equally far."""
    x, y, z = np.cbrt(np.maximum(XYZ @ rgb / WHITE, 1e-4))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_two_blocks_look_different(sight: str) -> None:
    seen = {one: lab(np.clip(np.array(SIGHT[sight]) @ linear(one), 0, 1)) for one in BLOCKS}
    for a, b in combinations(BLOCKS, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 12, (a, b)


def contrast(a: str, b: str) -> float:
    """Of WCAG 2: from 1 (the same) to 21."""
    lights = sorted(float(XYZ[1] @ linear(one)) + 0.05 for one in (a, b))
    return lights[1] / lights[0]


def test_text_and_lines_stand_out_from_the_ground() -> None:
    assert contrast(INK, STYLE["figure.facecolor"]) > 7
    assert all(contrast(one, STYLE["figure.facecolor"]) > 2 for one in BLOCKS)


def test_style_is_there_for_figures_of_ones_own() -> None:
    with matplotlib.style.context("annlib.course.plots.annlib"):
        assert matplotlib.rcParams["image.cmap"] == "cividis"
        assert matplotlib.rcParams["font.size"] >= 10


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return read_run(make_run(tmp_path / "a"))


def drawn(run: Run) -> FigureWithAlt:
    return learning_curves([run], ["a"])


def lines(picture: FigureWithAlt, panel: int) -> dict[str, np.ndarray]:
    """label -> points (N, 2) of the curves in a panel."""
    return {line.get_label(): line.get_xydata() for line in picture.figure.axes[panel].lines}


def test_panels_show_loss_rate_and_miou_as_recorded(run: Run) -> None:
    picture = drawn(run)
    recorded = [[line["step"], line["loss"]] for line in run.history]
    assert lines(picture, 0)["as recorded"].tolist() == recorded
    (rates,) = lines(picture, 1).values()
    assert rates.tolist() == [[line["step"], line["lr"]] for line in run.history]
    (mious,) = lines(picture, 2).values()
    assert mious[:, 1] == pytest.approx([100 * line["miou"] for line in run.validations])


def test_words_say_where_the_loss_went_and_which_step_is_best(run: Run) -> None:
    worse = run.validations[0] | {"step": 60, "miou": 0.1}
    alt = drawn(replace(run, validations=[*run.validations, worse])).alt
    assert "From step 5 to 40 the loss falls from 2.00 to 0.25." in alt
    best = 100 * run.validations[1]["miou"]
    assert f"best after step 40 ({best:.1f} %) and 10.0 % after step 60" in alt


def test_run_without_scores_has_two_panels(run: Run) -> None:
    picture = drawn(replace(run, validations=[]))
    assert len(picture.figure.axes) == 2 and "mIoU" not in picture.alt


def test_score_that_is_nan_is_not_the_best(run: Run) -> None:
    nothing = run.validations[0] | {"miou": float("nan")}
    assert (
        "best after step 40" in drawn(replace(run, validations=[nothing, *run.validations[1:]])).alt
    )


def test_single_line_of_history_is_seen(run: Run) -> None:
    single = replace(run, history=run.history[:1], validations=[])
    picture = drawn(single)
    assert {line.get_marker() for line in picture.figure.axes[1].lines} == {"o"}
    assert picture.png().startswith(b"\x89PNG")


def test_run_without_a_line_is_told(run: Run) -> None:
    with pytest.raises(ValueError, match="has no curve yet"):
        drawn(replace(run, history=[]))


def test_all_runs_share_the_axes_and_look_different(run: Run) -> None:
    runs = [run, replace(run, validations=[]), run]
    picture = learning_curves(runs, ["a", "b", "c"])
    drawn = picture.figure.axes[0].lines
    assert [line.get_label() for line in drawn] == ["a", "b", "c"]
    assert len({line.get_linestyle() for line in drawn}) == 3
    assert len({tuple(line.get_color()) for line in drawn}) == 3
    assert len(picture.figure.axes[1].lines) == 2
    assert picture.alt.count("the loss falls") == 3
    assert picture.png().startswith(b"\x89PNG")


def test_runs_without_scores_have_one_panel(run: Run) -> None:
    bare = replace(run, validations=[])
    assert len(learning_curves([bare, bare], ["a", "b"]).figure.axes) == 1


def test_smoothing_keeps_a_straight_line_and_calms_noise() -> None:
    straight = np.linspace(3, 1, 200)
    assert smoothed(straight)[5:-5] == pytest.approx(straight[5:-5])
    noise = np.random.default_rng(0).normal(size=400)
    assert smoothed(noise).std() < 0.4 * noise.std()
    assert smoothed(noise)[200] == pytest.approx(noise[190:211].mean())


def test_short_curves_are_not_smoothed() -> None:
    values = np.array([3.0, 1.0, 2.0])
    assert smoothed(values).tolist() == values.tolist()


def test_curve_of_one_point_neither_rises_nor_falls(run: Run) -> None:
    single = replace(run, history=[{"step": 20, "loss": 1.5, "lr": 0.1}])
    assert "At step 20 the loss is 1.50. The learning rate" in drawn(single).alt


def test_segmentation_in_words_gives_the_area_of_each_predicted_class() -> None:
    labels = np.zeros((4, 6), np.uint8)  # sky
    labels[:, :3] = 1  # building
    labels[0, 5] = 5  # tree
    figure = scenes.segmentation(np.zeros((4, 6, 3), np.uint8), labels, CAMVID, "A net")
    assert figure.alt == "A net. Predicted classes by area: building 50%, sky 46%, tree 4%."


def test_sample_photo_is_a_colour_image() -> None:
    photo = sample_photo()
    assert photo.shape == (320, 480, 3) and photo.dtype == np.uint8
