"""The exercise checkers of all lessons; each raises NotYet, or prints what an answer has shown."""

from annlib.course.checks.base import NotYet, attempt, attempt_number, given
from annlib.course.checks.lesson_00 import click_arrived, house_pixel
from annlib.course.checks.lesson_01 import mask_iou, mean_iou, update_confusion
from annlib.course.checks.lesson_02 import attention_weights, nonlocal_block
from annlib.course.checks.lesson_03 import (
    attention_operations,
    largest_height,
    times_faster,
    whole_speed_up,
)
from annlib.course.checks.lesson_04 import cell, pyramid_block, sample_anchors
from annlib.course.checks.lesson_05 import afnb_shapes, concat_fusion, fusion_block
from annlib.course.checks.lesson_06 import first_loss, poly_rate, training_step
from annlib.course.checks.lesson_07 import bright_without_need, class_mass, switch_off
from annlib.course.checks.lesson_08 import confidence_interval, paired_difference, run_grid
from annlib.course.checks.lesson_09 import class_indices, slide, step_bytes
from annlib.course.checks.lesson_10 import decide, registration, seeds_in_budget
from annlib.course.checks.lesson_11 import commutes, fold_norm, folded_context
from annlib.course.checks.lesson_12 import criss_cross_reach, kinds_of_attention, linear_attention
