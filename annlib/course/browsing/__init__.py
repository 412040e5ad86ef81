"""Widgets in a real browser: what they show, how fast, and whether everybody can use them."""
