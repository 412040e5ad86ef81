"""Levels to tick and a position to place: whom it asks then. No maths: that is in figures."""

from functools import lru_cache

import ipywidgets
from IPython.display import display

from annlib.course.anchoring import attention_with
from annlib.course.controls.explorer import LONG, Explorer, LevelBoxes
from annlib.course.controls.query_sliders import slider
from annlib.course.figures.anchor_map import anchor_map as draw_anchor_map
from annlib.course.lines import say
from annlib.course.matching import query_on
from annlib.course.wording import say_choice
from annlib.data.scenes import Scene
from annlib.model.baselines import Baseline

LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)
WHOLE = "every position (lesson 2)"


def anchor_map(model: Baseline, scene: Scene) -> Explorer:
    """Tick pyramid levels, choose a pixel, and see which cells it takes from."""

    @lru_cache
    def attention(levels: tuple[int, ...] | None):
        return attention_with(model, scene.image, levels)

    def draw(answers: str, levels: tuple[int, ...], y: int, x: int) -> None:
        everyone = answers == WHOLE
        if not levels and not everyone:
            print("S = 0: nobody answers. Tick at least one level.")
            return
        one = attention(None if everyone else levels)
        block, title = ("nonlocal", "Every position") if everyone else ("apnb", "Anchors")
        picture = draw_anchor_map(scene.image, one, y, x, title, block)
        display(picture)
        say(picture.alt)
        say(say_choice(one, scene.labels, y, x))

    (y, x), (height, width) = query_on(scene, scene.houses[0]), scene.labels.shape
    controls = {
        "answers": ipywidgets.Dropdown(
            options=["anchors of the ticked levels", WHOLE], description="answering", layout=LONG
        ),
        "levels": LevelBoxes(LEVELS, chosen=(1, 3, 6, 8)),
        "y": slider("row", y, height - 1),
        "x": slider("column", x, width - 1),
    }
    return Explorer(controls, draw)
