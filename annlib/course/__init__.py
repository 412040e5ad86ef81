"""Numbers -> insight: attention, plots, widgets, lessons. The only folder that needs Jupyter."""
