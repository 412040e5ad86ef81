"""Colours of blocks are told apart by colour-blind readers, and never mean anything alone."""

from itertools import combinations

import matplotlib
import matplotlib.style
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from annlib.course.plots.style import BLOCK_COLOURS, INK, STYLE

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
