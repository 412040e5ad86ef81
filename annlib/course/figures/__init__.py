"""Figures of single lessons: arrays in, a Picture with its text alternative out."""
