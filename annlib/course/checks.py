"""Exercise checkers of all lessons: properties that a right answer has, with no answers inside.

Each draws its inputs anew, raises NotYet with advice, and prints what a right answer has shown.
"""

from annlib.course.checking import NotYet, attempt
from annlib.course.checks_nonlocal import nonlocal_block
from annlib.course.checks_start import click_arrived, house_pixel
from annlib.course.checks_weights import attention_weights

__all__ = [
    "NotYet",
    "attempt",
    "attention_weights",
    "click_arrived",
    "house_pixel",
    "nonlocal_block",
]
