"""Exercise checkers of all lessons: properties that a right answer has, with no answers inside.

Each draws its inputs anew, raises NotYet with advice, and prints what a right answer has shown.
"""

from annlib.course.exercises.amdahl import whole_speed_up
from annlib.course.exercises.anchors import sample_anchors
from annlib.course.exercises.cells import cell
from annlib.course.exercises.cheap_attention import (
    criss_cross_reach,
    kinds_of_attention,
    linear_attention,
)
from annlib.course.exercises.checking import NotYet, attempt
from annlib.course.exercises.class_mass import class_mass
from annlib.course.exercises.commuting import commutes
from annlib.course.exercises.concatenation import concat_fusion
from annlib.course.exercises.confidence import confidence_interval
from annlib.course.exercises.confusion import mask_iou, update_confusion
from annlib.course.exercises.deciding import decide
from annlib.course.exercises.folded_context import folded_context
from annlib.course.exercises.fusion import fusion_block
from annlib.course.exercises.label_map import class_indices
from annlib.course.exercises.largest_map import largest_height
from annlib.course.exercises.level_shapes import afnb_shapes
from annlib.course.exercises.mean_iou import mean_iou
from annlib.course.exercises.nonlocal_block import nonlocal_block
from annlib.course.exercises.norm_folding import fold_norm
from annlib.course.exercises.numbers import attempt_number
from annlib.course.exercises.operations import attention_operations
from annlib.course.exercises.paired import paired_difference
from annlib.course.exercises.pyramid_block import pyramid_block
from annlib.course.exercises.registering import registration, seeds_in_budget
from annlib.course.exercises.run_grid import run_grid
from annlib.course.exercises.sliding import slide
from annlib.course.exercises.start import click_arrived, house_pixel
from annlib.course.exercises.step_memory import step_bytes
from annlib.course.exercises.switching_off import bright_without_need, switch_off
from annlib.course.exercises.training import first_loss, given, poly_rate
from annlib.course.exercises.training_step import training_step
from annlib.course.exercises.turns import times_faster
from annlib.course.exercises.weights import attention_weights

__all__ = [
    "decide",
    "registration",
    "seeds_in_budget",
    "class_indices",
    "slide",
    "step_bytes",
    "fold_norm",
    "folded_context",
    "commutes",
    "NotYet",
    "afnb_shapes",
    "attempt",
    "attempt_number",
    "attention_operations",
    "attention_weights",
    "bright_without_need",
    "cell",
    "class_mass",
    "click_arrived",
    "concat_fusion",
    "confidence_interval",
    "criss_cross_reach",
    "first_loss",
    "fusion_block",
    "given",
    "house_pixel",
    "kinds_of_attention",
    "largest_height",
    "linear_attention",
    "mask_iou",
    "mean_iou",
    "nonlocal_block",
    "paired_difference",
    "poly_rate",
    "pyramid_block",
    "run_grid",
    "sample_anchors",
    "switch_off",
    "times_faster",
    "training_step",
    "update_confusion",
    "whole_speed_up",
]
