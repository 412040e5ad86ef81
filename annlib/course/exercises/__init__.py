"""Checkers of the exercises: properties of right answers, with no answers inside."""
