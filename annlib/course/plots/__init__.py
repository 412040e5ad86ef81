# isort: skip_file
"""The figures that lessons draw."""

from annlib.course.plots.attention import damage_curves, output_change
from annlib.course.plots.costs import Row, attention_of_methods, comparison, growth_chart
from annlib.course.plots.costs import label_of, measured_points
from annlib.course.plots.scenes import attention_map, confusion_matrix, field_of_view
from annlib.course.plots.scenes import house_attention, predictions, scene, segmentation
from annlib.course.plots.style import show
from annlib.course.plots.training import Validation, dots, one_batch, paired
from annlib.course.plots.training import training_curve, weight_matrix
