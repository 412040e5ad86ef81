"""What an attention explorer shows: subjects to look at, and a view of each block of each network.

H x W pixels of the image, h x w positions of the map.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import nn

from annlib.course.predicting import predict_labels
from annlib.course.projections import Projections, projections_of
from annlib.data.scenes import CLASS_NAMES, Scene

Look = Callable[
    [np.ndarray], Mapping[str, Projections]
]  # picture -> path of a block -> what it has
Model = nn.Module | Look


class Subject(NamedTuple):
    """A picture, and what is to be seen where."""

    image: np.ndarray  # uint8 (H, W, 3)
    labels: np.ndarray | None = None  # class indices (H, W); None: shares are not summed by class
    class_names: Sequence[str] = CLASS_NAMES


class Asking(NamedTuple):
    """A map that is drawn instead of the picture, for a block that asks with another map."""

    strength: np.ndarray  # (h, w)
    asks: str  # "High-level map asks"
    answers: str


class View(NamedTuple):
    """One block of one network on one picture."""

    projections: Projections
    block: str  # whose colour it has: a key of drawing.BLOCK_COLOURS
    asking: Asking | None = None


Views = Mapping[str, Mapping[str, View]]  # network -> block -> view, by their names in the menus


def views_of(models: Mapping[str, Model], image: np.ndarray) -> Views:
    """All attention blocks of all networks on a picture, uint8 (H, W, 3).

    A network is a model with attention, or a function that finds projections. Raises ValueError for
    a model without attention.
    """
    return {name: blocks_of(model, image) for name, model in models.items()}


def blocks_of(model: Model, image: np.ndarray) -> Mapping[str, View]:
    """Name of each block -> view."""
    found = projections_of(model, image) if isinstance(model, nn.Module) else model(image)
    views = {}
    for path, one in found.items():
        part = path.partition(".")[0]
        block = part if part in ("afnb", "apnb") else "apnb" if one.pool_scales else "nonlocal"
        views["non-local" if block == "nonlocal" else block.upper()] = View(one, block)
    return views


def subject_of(picture: np.ndarray | Scene, model: Model | None = None) -> Subject:
    """A picture with its classes: a scene's own, else those that the model takes it for.

    picture: uint8 (H, W, 3) or a scene. Raises ValueError for an array of another kind.
    """
    if isinstance(picture, Scene):
        return Subject(picture.image, picture.labels)
    image = np.asarray(picture)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"This picture has shape {image.shape} and type {image.dtype}, but pictures are uint8 "
            "(H, W, 3) in RGB, 0 to 255. A PIL image becomes one by np.asarray(it.convert('RGB'))."
        )
    if not isinstance(model, nn.Module) or model.config.num_classes != len(CLASS_NAMES):
        return Subject(image)
    return Subject(image, predict_labels(model, image))
