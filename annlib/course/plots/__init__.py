"""The figures that lessons draw."""

from annlib.course.plots.anchors import lost_map
from annlib.course.plots.attention import damage_curves
from annlib.course.plots.costs import growth_chart, measured_points
from annlib.course.plots.efficient import Row, comparison, label_of, where_it_looks
from annlib.course.plots.metrics import taken_for
from annlib.course.plots.scenes import (
    attention,
    counterfactual,
    field_of_view,
    hero,
    predictions,
    scene,
)
from annlib.course.plots.statistics import dots, paired
from annlib.course.plots.training import (
    Look,
    live,
    one_batch,
    say_live,
    training_curve,
    weight_matrix,
)

__all__ = [
    "Look",
    "Row",
    "attention",
    "comparison",
    "counterfactual",
    "damage_curves",
    "dots",
    "field_of_view",
    "growth_chart",
    "hero",
    "label_of",
    "live",
    "lost_map",
    "measured_points",
    "one_batch",
    "paired",
    "predictions",
    "say_live",
    "scene",
    "taken_for",
    "training_curve",
    "weight_matrix",
    "where_it_looks",
]
