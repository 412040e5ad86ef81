"""A real photo, and the network for streets that lessons apply to it."""

import numpy as np
from PIL import Image
from torch import nn

from annlib.course.lesson import say
from annlib.model.build import shipped_model


def sample_photo() -> np.ndarray:
    """china.jpg of scikit-learn, scaled.  -> uint8 (320, 480, 3) RGB"""
    from sklearn.datasets import load_sample_image  # takes a second, which other lessons can spare

    return np.asarray(Image.fromarray(load_sample_image("china.jpg")).resize((480, 320)))


def street_network() -> nn.Module | None:
    """The shipped network for the 11 classes of CamVid; None, and why, if its file is missing."""
    try:
        return shipped_model("streets_ann")
    except KeyError as error:
        say(f"{error.args[0]} The cells about the photo show nothing; the rest works without them.")
        return None
