"""The assignments by name."""

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a2 import A2
from annlib.course.assignments.a3 import A3

ASSIGNMENTS = {one.name: one for one in (A1, A2, A3)}
