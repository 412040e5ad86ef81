"""A pixel on one map, and who answers on the other."""

from functools import partial

import ipywidgets
import numpy as np

from annlib.course.controls.attention_explorer import explorer, first_question
from annlib.course.levels import low_and_high, projections_across, strength
from annlib.course.predicting import predict_labels
from annlib.course.views import Asking, View, Views, subject_of
from annlib.data.scenes import Scene
from annlib.model.ann import ANN

HIGH, LOW = "High-level map", "Low-level map"
ROLES = {"high asks low (AFNB)": False, "low asks high (swapped)": True}


def two_maps(model: ANN, scene: Scene) -> ipywidgets.DOMWidget:
    """Click a pixel of the map that asks, and exchange the roles of the maps.

    Raises ValueError where the projections of one map do not fit the other.
    """

    def look(image: np.ndarray) -> Views:
        low, high = map(strength, low_and_high(model, image))

        def view(swapped: bool) -> View:
            asks, answers = (LOW, HIGH) if swapped else (HIGH, LOW)
            asking = Asking(low if swapped else high, f"{asks} asks", f"{answers} answers")
            return View(projections_across(model, image, swapped), "afnb", asking)

        return {"ANN": {name: view(swapped) for name, swapped in ROLES.items()}}

    label = partial(predict_labels, model)
    return explorer({"scene": subject_of(scene)}, look, first_question(scene), None, label)
