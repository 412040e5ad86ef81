"""One state of the attention explorer as a figure: for static pages, and for the sliders."""

from collections.abc import Sequence

from annlib.course import plots
from annlib.course.figures.anchor_map import anchor_map
from annlib.course.figures.two_maps import two_maps
from annlib.course.plots import Picture
from annlib.course.views import Subject, View
from annlib.course.wording import say_choice


def view_picture(
    subject: Subject,
    view: View,
    y: int,
    x: int,
    levels: Sequence[int],
    factor: float,
    title: str,
) -> tuple[Picture | None, str]:
    """What pixel (y, x) chooses, and the same in words; no picture where no level is on.

    levels: those that are on, of all that there are; factor: of all scores.
    """
    scales = view.projections.pool_scales
    chosen = None if scales is None else [scale for scale in scales if scale in levels]
    if chosen == []:
        return None, "S = 0: nobody answers. Tick at least one level."
    found = view.projections.attention(chosen, factor)
    words = say_choice(found, subject.labels, y, x, subject.class_names)
    if view.asking:
        strength, *names = view.asking
        return two_maps(subject.image, strength, found, names, y, x), words
    draw = anchor_map if scales else plots.attention
    return draw(subject.image, found, y, x, title, view.block), words
