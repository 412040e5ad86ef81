"""Exercise checkers of all lessons: properties that a right answer has, with no answers inside.

Each draws its inputs anew, raises NotYet with advice, and prints what a right answer has shown.
"""

from annlib.course.exercises.checking import NotYet, attempt
from annlib.course.exercises.nonlocal_block import nonlocal_block
from annlib.course.exercises.start import click_arrived, house_pixel
from annlib.course.exercises.weights import attention_weights

__all__ = [
    "NotYet",
    "attempt",
    "attention_weights",
    "click_arrived",
    "house_pixel",
    "nonlocal_block",
]
