"""A picture, a network, a block and a pixel: what is looked at, in light and words."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

import ipywidgets
import numpy as np
from torch import nn

from annlib.course.controls.query_sliders import QuerySliders
from annlib.course.matching import query_on
from annlib.course.predicting import predict_labels
from annlib.course.views import Model, Subject, Views, subject_of, views_of
from annlib.data.scenes import CLASS_NAMES, Scene

Seen = np.ndarray | Scene


def attention_explorer(
    models: Model | Mapping[str, Model],
    pictures: Seen | Mapping[str, Seen],
    levels: Sequence[int] | None = None,
) -> ipywidgets.DOMWidget:
    """Click a pixel and see what it attends to, in every attention block of every model.

    models: a network, or name -> network; a network is a module with attention, or a function that
    finds projections for a picture. pictures: uint8 (H, W, 3) or a scene, or name -> one of them;
    all of one size. levels: the pyramid levels that are on at first, None for all. Raises
    ValueError for a model without attention.
    """
    if not isinstance(models, Mapping):
        models = {"network": models}
    if not isinstance(pictures, Mapping):
        pictures = {"picture": pictures}
    labeller = next((one for one in models.values() if knows_classes(one)), None)
    subjects = {name: subject_of(one, labeller) for name, one in pictures.items()}
    label = None if labeller is None else partial(predict_labels, labeller)
    start = first_question(next(iter(pictures.values())))
    return explorer(subjects, partial(views_of, models), start, levels, label)


def knows_classes(model: Model) -> bool:
    """Whether a network tells the classes of Balloon Town, so that photos can be divided."""
    return isinstance(model, nn.Module) and model.config.num_classes == len(CLASS_NAMES)


def first_question(picture: Seen) -> tuple[int, int]:
    """The pixel (x, y) that asks first: on a scene's first house, else in the middle."""
    if isinstance(picture, Scene):
        y, x = query_on(picture, picture.houses[0])
        return x, y
    height, width = picture.shape[:2]
    return width // 2, height // 2


def explorer(
    subjects: Mapping[str, Subject],
    look: Callable[[np.ndarray], Views],
    xy: tuple[int, int],
    levels: Sequence[int] | None = None,
    label: Callable[[np.ndarray], np.ndarray] | None = None,
) -> ipywidgets.DOMWidget:
    """The explorer over any subjects and views; sliders instead where anywidget is missing."""
    if find_spec("anywidget") is None:
        return QuerySliders(subjects, look, xy, levels)
    from annlib.course.controls.attention_widget import AttentionExplorer

    return AttentionExplorer(subjects, look, xy, levels, label)
