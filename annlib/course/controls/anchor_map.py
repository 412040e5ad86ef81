"""Levels to tick and a pixel to click: whom it asks then."""

from functools import partial

import ipywidgets
import numpy as np

from annlib.course.anchoring import with_levels
from annlib.course.controls.attention_explorer import explorer, first_question
from annlib.course.predicting import predict_labels
from annlib.course.projections import projections_of
from annlib.course.views import View, Views, subject_of
from annlib.data.scenes import Scene
from annlib.model.baselines import Baseline

LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)
ANCHORS, EVERYONE = "anchors of the ticked levels", "every position (lesson 2)"


def anchor_map(model: Baseline, scene: Scene) -> ipywidgets.DOMWidget:
    """Tick pyramid levels, click a pixel, and see which cells it takes from.

    Raises ValueError for a network that has neither anchors nor positions to ask.
    """
    anchored, everyone = with_levels(model, LEVELS), with_levels(model, None)

    def look(image: np.ndarray) -> Views:
        cells = projections_of(anchored, image)["context.attention"]
        positions = projections_of(everyone, image)["context.attention"]
        return {
            ANCHORS: {"APNB": View(cells, "apnb")},
            EVERYONE: {"non-local": View(positions, "nonlocal")},
        }

    label = partial(predict_labels, model)
    start = first_question(scene)
    return explorer({"scene": subject_of(scene)}, look, start, (1, 3, 6, 8), label)
