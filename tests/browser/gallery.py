"""One notebook with every widget of the lessons: one page and one kernel test them all."""

from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.controls import Box, Buttons, Canvas, Control, Grid, Menu, Slider

SETUP = """
import json
import numpy as np
import torch
from annlib.course.lesson import ROOT
from annlib.data.balloon_town.dataset import CLASS_NAMES, make_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.build import shipped_model
scene = make_scene(FIRST_VAL_SEED + 21)
names = ("balloon_ann", "balloon_apnb", "balloon_nonlocal")
ann, apnb_net, nonlocal_net = map(shipped_model, names)
records = json.loads((ROOT / "data/results/balloon_town.json").read_text(encoding="utf-8"))
"""

SET_UP = """
from annlib.course.widgets.scenes import SetUp
SetUp()
"""

ATTENTION_EXPLORER = """
from annlib.course.widgets.explorer import attention_explorer
from annlib.course.interventions import untrained
networks = {"trained": ann, "random weights": untrained(ann), "non-local": nonlocal_net}
attention_explorer(networks, scene)
"""

PIXEL_PICKER = """
from annlib.course.widgets.explorer import PixelPicker
PixelPicker(scene)
"""

LARGE_EXPLORER = """
from annlib.course.widgets.explorer import AttentionExplorer
from annlib.course.attention import Projections
from annlib.course.widgets.explorer import View
generator = torch.Generator().manual_seed(0)
queries, keys = torch.randn(2, 64 * 128, 256, generator=generator) / 4
large = View(Projections(queries, keys, (64, 128), (512, 1024), None), "nonlocal")
street = np.kron(np.random.default_rng(0).integers(0, 255, (8, 16, 3)), np.ones((64, 64, 1)))
AttentionExplorer(
    {"squares": street.astype(np.uint8)},
    lambda image: {"random projections": {"non-local": large}},
    None,
)
"""

CHOOSE_SCENES = """
from annlib.course.widgets.scenes import choose_scenes
from annlib.course.attention import predict_labels
from annlib.engine.metrics import ConfusionMatrix
def matrix(model, one):
    found = ConfusionMatrix(len(CLASS_NAMES))
    labels = torch.from_numpy(predict_labels(model, one.image)).long()
    found.update(labels, torch.from_numpy(one.labels).long())
    return found.counts
eight = [make_scene(FIRST_VAL_SEED + index) for index in range(8)]
counts = torch.stack([matrix(ann, one) for one in eight])
choose_scenes({"ANN": ("ann", counts)}, CLASS_NAMES)
"""

PAINT_PREDICTION = """
from annlib.course.widgets.scenes import PaintPrediction
PaintPrediction()
"""

SIX_POSITIONS = """
from annlib.course.widgets.attention import six_positions
features = torch.tensor([[6.0, 0, 0, 0, 6, 0], [0, 6.0, 0, 0, 0, 6], [1.0, 1, 0, 0, 1, 1]])
names = ["blue balloon", "red balloon", "sky", "road", "blue house", "red house"]
six_positions(features, ["how blue", "how red", "a thing"], names)
"""

RECEPTIVE_FIELD = """
from annlib.course.widgets.explorer import ReceptiveField
ReceptiveField(nonlocal_net, scene)
"""

COST_EXPLORER = """
from annlib.course.widgets.costs import CostExplorer
CostExplorer(8 * 2**30)
"""

NETWORK_BILL = """
from annlib.course.widgets.costs import network_cost
network_cost()
"""

ANCHOR_MAP = """
from annlib.course.widgets.explorer import anchor_map
anchor_map(apnb_net, scene)
"""

CELL_MAP = """
from annlib.course.widgets.attention import cell_map
cell_map(scene)
"""

CONTEXT_VOLUME = """
from annlib.course.widgets.attention import context_scale
context_scale(ann, scene)
"""

TWO_MAPS = """
from annlib.course.widgets.explorer import two_maps
two_maps(ann, scene)
"""


LIVE_RUN = """
from annlib.course.widgets.training import LiveRun
from annlib.course.plots.training import Validation
from annlib.engine.optimization import Step
losses = (Step(number, torch.tensor(2 / number), 0.1) for number in range(1, 4_001))
run = LiveRun(
    losses,
    4_000,
    5,
    lambda step: Validation(step, step / 4_000, 0.3, scene.labels),
    scene,
    "ann",
)
run.stop()
run
"""

RECIPE_SLIDERS = """
from annlib.course.widgets.training import recipe_sliders
from annlib.experiments import town
recipe_sliders(town("ann").train)
"""

SWITCH_OFF = """
from annlib.course.widgets.attention import ablation
from annlib.course.interventions import measure_damage
damages = dict(measure_damage(ann, "afnb.attention", (0, 1, 4, 100), [scene]))
ablation(ann, scene, {"AFNB": "afnb.attention", "APNB": "apnb.attention"}, damages)
"""

INTERVAL_SLIDERS = """
from annlib.course.widgets.training import interval_sliders
heads = ("nonlocal", "apnb", "ann")
key = "house_accuracy"
interval_sliders({h: [one[key] for one in records if one["head"] == h] for h in heads})
"""

RESULTS_TABLE = """
from annlib.course.widgets.training import ResultsTable
from annlib.course.sweeping import Outcome, make_grid
lists = {"head": ["apnb", "ann"], "seed": [0, 1, 2]}
grid = make_grid(ROOT / "notebooks/jobs/train_town.ipynb", lists)
table = ResultsTable(grid, "house_accuracy")
for one in grid.combinations:
    found = {"house_accuracy": 0.9 + 0.01 * one.number}
    table.add(Outcome(one.number, one.label, one.parameters, 30.0, found))
table
"""

PREFLIGHT = """
from annlib.course.widgets.costs import preflight
preflight()
"""

WINDOW_SLIDERS = """
from annlib.course.widgets.scenes import window_sliders
window_sliders(scene.image)
"""

SEEDS_EXPLORER = """
from annlib.course.widgets.training import study_power
study_power()
"""

RUNS_DASHBOARD = """
from annlib.course.widgets.training import paired_runs
from annlib.course.training import Trial
names = {"house_accuracy": "house accuracy", "miou": "mIoU", "seconds": "seconds"}
paired_runs(
    [Trial(one["head"], one["seed"], {n: one[k] for k, n in names.items()}) for one in records]
)
"""

ORDER_SWAP = """
from annlib.course.widgets.attention import layer_order
from annlib.course.implementations import key_features, layers
maps = key_features(ann, range(FIRST_VAL_SEED, FIRST_VAL_SEED + 2))
layer_order(layers(maps.shape[1]), maps)
"""

FOLD_BILL = """
from annlib.course.widgets.costs import folding_cost
folding_cost()
"""

COST_SLIDERS = """
from annlib.course.widgets.costs import method_costs
method_costs()
"""

METHOD_CHOOSER = """
from annlib.course.widgets.attention import method_chooser
method_chooser(nonlocal_net, scene)
"""

PREDICTION_LEDGER = """
from annlib.course.widgets.scenes import prediction_ledger
from annlib.course.guesses import Predictions
predictions = Predictions()
predictions.compare("2.1", 0.3, 0.32, tolerance=0.1)
predictions.compare("2.2", "all", "none", options=("all", "none"))
prediction_ledger(predictions)
"""


FILE = "gallery.ipynb"
LARGE = "explorer_64x128"  # the attention explorer at the size of a published network


class Entry(NamedTuple):
    """A widget: the cell that shows it, and the controls that are used, which may be the same."""

    name: str  # the public name that lessons import
    code: str
    pointer: Control
    keys: Control
    once: bool = False  # changes a single time: its cell is run again before each use


def all_of(name: str, code: str, control: Control) -> Entry:
    """A widget with one control that is used both ways."""
    return Entry(name, code, control, control)


ENTRIES = (
    all_of("attention_explorer", ATTENTION_EXPLORER, Canvas(".annlib-attention canvas")),
    all_of("PixelPicker", PIXEL_PICKER, Canvas(".annlib-picker canvas")),
    all_of(LARGE, LARGE_EXPLORER, Canvas(".annlib-attention canvas")),
    Entry("set_up", SET_UP, Buttons(("Click me",)), Buttons(("Click me",)), once=True),
    all_of("choose_scenes", CHOOSE_SCENES, Slider("how many")),
    all_of("PaintPrediction", PAINT_PREDICTION, Grid(("road", "car"), ("c", "r"))),
    all_of("six_positions", SIX_POSITIONS, Slider("how blue")),
    Entry("ReceptiveField", RECEPTIVE_FIELD, Canvas(".annlib-picker canvas"), Menu("depth")),
    all_of("CostExplorer", COST_EXPLORER, Slider("H")),
    Entry("network_cost", NETWORK_BILL, Slider("image"), Menu("head")),
    all_of("anchor_map", ANCHOR_MAP, Canvas(".annlib-attention canvas")),
    all_of("cell_map", CELL_MAP, Slider("level")),
    all_of("context_scale", CONTEXT_VOLUME, Slider("context x")),
    all_of("two_maps", TWO_MAPS, Canvas(".annlib-attention canvas")),
    all_of("LiveRun", LIVE_RUN, Buttons(("Go on", "Pause"))),
    all_of("recipe_sliders", RECIPE_SLIDERS, Slider("warm-up steps")),
    Entry("ablation", SWITCH_OFF, Slider("k"), Menu("query")),
    Entry("interval_sliders", INTERVAL_SLIDERS, Slider("runs"), Menu("level")),
    all_of("ResultsTable", RESULTS_TABLE, Menu("head")),
    all_of("preflight", PREFLIGHT, Slider("batch size")),
    all_of("window_sliders", WINDOW_SLIDERS, Slider("window")),
    all_of("study_power", SEEDS_EXPLORER, Slider("seeds")),
    Entry("paired_runs", RUNS_DASHBOARD, Slider("effect"), Menu("metric")),
    Entry("layer_order", ORDER_SWAP, Slider("channel"), Menu("layer")),
    Entry("folding_cost", FOLD_BILL, Slider("channels"), Menu("block")),
    all_of("method_costs", COST_SLIDERS, Slider("anchors")),
    all_of("method_chooser", METHOD_CHOOSER, Menu("method")),
    all_of("prediction_ledger", PREDICTION_LEDGER, Box("only surprises")),
)


def chosen(name: str | None) -> tuple[Entry, ...]:
    """The entry of that name, or all. Raises ValueError for a name that there is not."""
    if name is None:
        return ENTRIES
    found = tuple(entry for entry in ENTRIES if entry.name == name)
    if not found:
        known = ", ".join(entry.name for entry in ENTRIES)
        raise ValueError(f"There is no widget {name!r} in the gallery. There are: {known}.")
    return found


def write_gallery(folder: Path, entries: tuple[Entry, ...] = ENTRIES) -> None:
    """gallery.ipynb: a cell that sets up, then one cell a widget."""
    notebook = new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    notebook.cells.append(new_code_cell(SETUP.strip(), id="imports"))
    notebook.cells += [new_code_cell(one.code.strip(), id=one.name) for one in entries]
    nbformat.write(notebook, folder / FILE)
