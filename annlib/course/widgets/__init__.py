# isort: skip_file
"""The widgets that lessons show."""

from annlib.course.widgets.attention import ablation, cell_map, context_scale, layer_order
from annlib.course.widgets.attention import method_chooser, six_positions
from annlib.course.widgets.costs import CostExplorer, folding_cost, method_costs
from annlib.course.widgets.costs import network_cost, preflight
from annlib.course.widgets.explorer import ReceptiveField, anchor_map, attention_explorer, two_maps
from annlib.course.widgets.scenes import PaintPrediction, SetUp, choose_scenes, prediction_ledger
from annlib.course.widgets.scenes import set_up, window_sliders
from annlib.course.widgets.training import LiveRun, ResultsTable, interval_sliders
from annlib.course.widgets.training import paired_runs, recipe_sliders, study_power
