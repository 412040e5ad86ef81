"""How loud a block's context is: a slider from silent to twice. No maths: that is in figures."""

from math import nan

import ipywidgets
import numpy as np
from IPython.display import display

from annlib.course import plots
from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.intervening import changed_attention
from annlib.course.levels import near_edges
from annlib.course.lines import say
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

    def draw(block: str, factor: float) -> None:
        with changed_attention(model, lambda weights: factor * weights, BLOCKS[block]):
            labels = predict_labels(model, scene.image)
        display(
            plots.predictions([scene], {"as trained": [before], f"context x {factor:g}": [labels]})
        )
        answers = [CLASS_NAMES[house_answer(labels, scene, house)] for house in scene.houses]
        right = labels == scene.labels
        say(
            f"Context of {block.partition(':')[0]} x {factor:g}: houses are named "
            f"{', '.join(answers)}; {mean_of(right, near):.1%} of the pixels at edges are right."
        )

    controls = {
        "block": ipywidgets.Dropdown(options=list(BLOCKS), description="block", layout=LONG),
        "factor": ipywidgets.FloatSlider(
            1.0,
            min=0.0,
            max=2.0,
            step=0.25,
            description="context x",
            continuous_update=False,
            layout=LONG,
        ),
    }
    return Explorer(controls, draw)


def mean_of(right: np.ndarray, mask: np.ndarray) -> float:
    """The share of right pixels in a mask; nan for an empty one.  bool (H, W) each"""
    return float(right[mask].mean()) if mask.any() else nan
