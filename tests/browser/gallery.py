"""One notebook with every widget of the lessons: one page and one kernel serve to test them all."""

from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

from annlib.course.browsing import cells, run_cells
from annlib.course.browsing.driving import Box, Buttons, Canvas, Control, Menu, Slider

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
    all_of("attention_explorer", cells.ATTENTION_EXPLORER, Canvas(".annlib-attention canvas")),
    all_of("PixelPicker", cells.PIXEL_PICKER, Canvas(".annlib-picker canvas")),
    all_of(LARGE, cells.LARGE_EXPLORER, Canvas(".annlib-attention canvas")),
    Entry("set_up", cells.SET_UP, Buttons(("Click me",)), Buttons(("Click me",)), once=True),
    all_of("choose_scenes", cells.CHOOSE_SCENES, Slider("how many")),
    all_of("paint_prediction", cells.PAINT_PREDICTION, Buttons(("as the truth", "all sky"))),
    all_of("SixPositions", cells.SIX_POSITIONS, Slider("how blue")),
    Entry("ReceptiveField", cells.RECEPTIVE_FIELD, Canvas(".annlib-picker canvas"), Menu("depth")),
    all_of("CostExplorer", cells.COST_EXPLORER, Slider("H")),
    Entry("NetworkBill", cells.NETWORK_BILL, Slider("picture"), Menu("head")),
    all_of("anchor_map", cells.ANCHOR_MAP, Canvas(".annlib-attention canvas")),
    all_of("cell_map", cells.CELL_MAP, Slider("level")),
    all_of("context_volume", cells.CONTEXT_VOLUME, Slider("context x")),
    all_of("two_maps", cells.TWO_MAPS, Canvas(".annlib-attention canvas")),
    all_of("LiveRun", run_cells.LIVE_RUN, Buttons(("Go on", "Pause"))),
    all_of("recipe_sliders", run_cells.RECIPE_SLIDERS, Slider("warm-up steps")),
    Entry("SwitchOff", run_cells.SWITCH_OFF, Slider("k"), Menu("asks")),
    Entry("interval_sliders", run_cells.INTERVAL_SLIDERS, Slider("runs"), Menu("level")),
    all_of("results_table", run_cells.RESULTS_TABLE, Menu("head")),
    all_of("preflight", run_cells.PREFLIGHT, Slider("pictures")),
    all_of("window_sliders", run_cells.WINDOW_SLIDERS, Slider("window")),
    all_of("SeedsExplorer", run_cells.SEEDS_EXPLORER, Slider("seeds")),
    Entry("RunsDashboard", run_cells.RUNS_DASHBOARD, Slider("effect"), Menu("metric")),
    Entry("OrderSwap", run_cells.ORDER_SWAP, Slider("channel"), Menu("layer")),
    Entry("FoldBill", run_cells.FOLD_BILL, Slider("channels"), Menu("block")),
    all_of("CostSliders", run_cells.COST_SLIDERS, Slider("anchors")),
    all_of("MethodChooser", run_cells.METHOD_CHOOSER, Menu("method")),
    all_of("prediction_ledger", run_cells.PREDICTION_LEDGER, Box("only surprises")),
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
    notebook.cells.append(new_code_cell(cells.SETUP.strip(), id="imports"))
    notebook.cells += [new_code_cell(one.code.strip(), id=one.name) for one in entries]
    nbformat.write(notebook, folder / FILE)
