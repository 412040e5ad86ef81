"""How loud a block's context is: a slider from silent to twice. No maths: that is in figures."""

from math import nan

import numpy as np

from annlib.course import plots
from annlib.course.controls.explorer import Explorer, measure, menu
from annlib.course.intervening import changed_attention
from annlib.course.levels import near_edges
from annlib.course.predicting import house_answer, predict_labels
from annlib.data.scenes import CLASS_NAMES, Scene
from annlib.model.ann import ANN

BLOCKS = {
    "AFNB: what the low level answers": "afnb.attention",
    "APNB: what the map answers itself": "apnb.attention",
}


def context_volume(model: ANN, scene: Scene) -> Explorer:
    """Multiply what one block fetches, and see what the network then says."""
    near = near_edges(scene.labels)
    before = predict_labels(model, scene.image)

    def draw(block: str, factor: float) -> tuple[plots.Picture, str]:
        with changed_attention(model, lambda weights: factor * weights, BLOCKS[block]):
            labels = predict_labels(model, scene.image)
        said = {"as trained": [before], f"context x {factor:g}": [labels]}
        answers = [CLASS_NAMES[house_answer(labels, scene, house)] for house in scene.houses]
        right = labels == scene.labels
        return plots.predictions([scene], said), (
            f"Context of {block.partition(':')[0]} x {factor:g}: houses are named "
            f"{', '.join(answers)}; {mean_of(right, near):.1%} of the pixels at edges are right."
        )

    controls = {
        "block": menu("block", BLOCKS),
        "factor": measure("context x", 1.0, last=2.0, step=0.25),
    }
    return Explorer(controls, draw)


def mean_of(right: np.ndarray, mask: np.ndarray) -> float:
    """The share of right pixels in a mask; nan for an empty one.  bool (H, W) each"""
    return float(right[mask].mean()) if mask.any() else nan
