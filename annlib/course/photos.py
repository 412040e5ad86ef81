"""A real photo, and the network for streets that lessons apply to it."""

import numpy as np
from PIL import Image

from annlib.course.lesson import say
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.build import SHIPPED, shipped_model

STREETS = "streets_ann"  # trained on the 11 classes of CamVid


def sample_photo() -> np.ndarray:
    """china.jpg of scikit-learn, cut and scaled.  -> uint8 (320, 480, 3) RGB"""
    from sklearn.datasets import load_sample_image  # takes a second, which other lessons can spare

    return np.asarray(Image.fromarray(load_sample_image("china.jpg")).resize((480, 320)))


def street_network() -> ANN | Baseline | None:
    """The shipped network for streets; None, and a sentence why, where its weights are missing."""
    if (SHIPPED / f"{STREETS}.safetensors").is_file():
        return shipped_model(STREETS)
    say(
        f"The weights data/weights/{STREETS}.safetensors are not there, so the cells about "
        "the photo show nothing. The rest of the lesson does not need them."
    )
    return None
