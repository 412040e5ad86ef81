"""Grades submissions that nobody has to trust: a sandboxed worker answers, the grader judges."""
