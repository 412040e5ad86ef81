"""Measurements of time, memory and agreement; not part of the wheel."""
