"""Balloon Town: procedural scenes with exact labels."""
