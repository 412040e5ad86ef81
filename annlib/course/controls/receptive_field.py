"""Click a pixel, choose a depth, and see how far its position sees. No maths: that is one up."""

from collections.abc import Sequence
from importlib.util import find_spec

import ipywidgets
import numpy as np

from annlib.course.controls.explorer import Explorer, menu, slider
from annlib.course.figures.receptive_field import receptive_field as draw_field
from annlib.course.figures.receptive_field import say_view
from annlib.course.lines import sentence
from annlib.course.matching import query_on
from annlib.course.plots import Picture
from annlib.course.receptive_field import Viewer
from annlib.data.scenes import CLASS_NAMES, Scene
from annlib.model.baselines import Baseline
