"""The widgets that lessons show."""

from annlib.course.widgets.attention import (
    MethodChooser,
    OrderSwap,
    SixPositions,
    SwitchOff,
    cell_map,
    context_volume,
)
from annlib.course.widgets.attention_explorer import attention_explorer
from annlib.course.widgets.costs import CostExplorer, CostSliders, FoldBill, NetworkBill, preflight
from annlib.course.widgets.guesses import prediction_ledger
from annlib.course.widgets.pixels import ReceptiveField, anchor_map, two_maps
from annlib.course.widgets.scenes import (
    SetUp,
    choose_scenes,
    paint_prediction,
    set_up,
    window_sliders,
)
from annlib.course.widgets.sweeps import (
    RunsDashboard,
    SeedsExplorer,
    interval_sliders,
    results_table,
)
from annlib.course.widgets.training import LiveRun, recipe_sliders

__all__ = [
    "CostExplorer",
    "CostSliders",
    "FoldBill",
    "LiveRun",
    "MethodChooser",
    "NetworkBill",
    "OrderSwap",
    "ReceptiveField",
    "RunsDashboard",
    "SeedsExplorer",
    "SetUp",
    "SixPositions",
    "SwitchOff",
    "anchor_map",
    "attention_explorer",
    "cell_map",
    "choose_scenes",
    "context_volume",
    "interval_sliders",
    "paint_prediction",
    "prediction_ledger",
    "preflight",
    "recipe_sliders",
    "results_table",
    "set_up",
    "two_maps",
    "window_sliders",
]
