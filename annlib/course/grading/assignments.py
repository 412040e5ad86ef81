"""The assignments by name."""

from annlib.course.assignments.a1 import A1

ASSIGNMENTS = {"A1": A1}
