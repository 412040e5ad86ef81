"""Widgets show a picture at once, follow their controls, and leave each other alone."""

import asyncio
import base64
import io
import threading
from collections.abc import Callable, Iterator
from itertools import product

import ipywidgets
import numpy as np
import psutil
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from shown_in import alt, alts, errors

from annlib.config import TrainConfig
from annlib.course.lesson import ROOT
from annlib.course.plots.scenes import chosen_scenes, confusion_matrix, painted
from annlib.course.plots.style import FigureWithAlt
from annlib.course.sweeping import make_grid
from annlib.course.widgets.attention import BOTH, KEY, QUERY, cell_map, layer_order, six_positions
from annlib.course.widgets.base import Explorer, slider
from annlib.course.widgets.costs import (
    CostExplorer,
    folding_cost,
    method_costs,
    network_cost,
    preflight,
)
from annlib.course.widgets.explorer import ReceptiveField, attention_explorer
from annlib.course.widgets.scenes import (
    TRUTH,
    PaintPrediction,
    SetUp,
    choose_scenes,
    classes_of,
    set_up,
    window_sliders,
)
from annlib.course.widgets.training import (
    ResultsTable,
    interval_sliders,
    recipe_sliders,
    study_power,
)
from annlib.data.balloon_town.dataset import make_scene
from annlib.engine.metrics import ConfusionMatrix
from annlib.model.build import shipped_model

SCENE = make_scene(5)
JOB = ROOT / "notebooks/jobs/train_town.ipynb"


def sweep(widget: Explorer, most: int) -> Iterator[tuple[str, object]]:
    """Moves each control through its values, the others as they were; yields where it is."""
    for name, control in widget.controls.items():
        start = control.value
        for value in values_of(control, most):
            control.value = value
            yield name, value
        control.value = start


def values_of(control: ipywidgets.Widget, most: int) -> list:
    """All values if they are few, else the ends and some between."""
    if isinstance(control, ipywidgets.IntSlider | ipywidgets.FloatSlider):
        low, high = control.min, control.max
        found = [low + (high - low) * at / (most - 1) for at in range(most)]
        return [type(control.value)(value) for value in found]
    values = [one[1] if isinstance(one, tuple) else one for one in control.options]
    return [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]


def numbers_explorer() -> Explorer:
    """Draws its number."""

    def draw(number: int) -> tuple[FigureWithAlt, str]:
        if number == 13:
            raise RuntimeError("broken")
        figure = Figure((2, 1))
        figure.subplots().bar([0], [number])
        return FigureWithAlt(figure, f"A bar as high as {number}"), f"It is {number}."

    return Explorer(draw, slider("number", 1, 20))


LAYERS = {"nothing": torch.nn.Identity(), "ReLU": torch.nn.ReLU()}
MAKERS = {
    "cell map": lambda: cell_map(SCENE),
    "cost explorer": lambda: CostExplorer(2**33),
    "cost sliders": method_costs,
    "fold bill": folding_cost,
    "intervals": lambda: interval_sliders({"ann": [0.9, 1.0, 0.8], "fcn": [0.3, 0.4, 0.3]}),
    "network bill": network_cost,
    "order swap": lambda: layer_order(LAYERS, torch.randn(2, 4, 16, 24)),
    "preflight": preflight,
    "recipe": lambda: recipe_sliders(TrainConfig(10)),
    "seeds": study_power,
    "six positions": lambda: six_positions(torch.eye(3, 6) * 4, ["a", "b", "c"], list("uvwxyz")),
    "windows": lambda: window_sliders(SCENE.image),
}
OFTEN = ("cell map", "cost explorer", "order swap", "six positions", "windows")


def assert_tells_what_it_shows(widget: Explorer, place: object) -> None:
    assert not errors(widget), place
    assert widget.words() and all(len(text) > 15 for text in alts(widget)), place
    assert alts(widget) or len(widget.words()) > 15, place


def test_a_picture_and_words_are_shown_before_anything_is_moved() -> None:
    widget = numbers_explorer()
    assert alts(widget) == ["A bar as high as 1"] and widget.words() == "It is 1."


def test_two_instances_do_not_disturb_each_other() -> None:
    first, second = numbers_explorer(), numbers_explorer()
    first.controls["number"].value = 7
    assert (first.words(), second.words()) == ("It is 7.", "It is 1.")


def test_an_error_while_drawing_is_shown_and_raised_and_goes_with_the_next_value() -> None:
    widget = numbers_explorer()
    with pytest.raises(RuntimeError, match="broken"):
        widget.controls["number"].value = 13
    assert errors(widget) == ["broken"]
    widget.controls["number"].value = 2
    assert errors(widget) == [] and widget.words() == "It is 2."


def test_a_closed_widget_leaves_no_widget_and_no_observer() -> None:
    before = set(ipywidgets.widgets.widget._instances)
    widget = numbers_explorer()
    control = widget.controls["number"]
    widget.close()
    assert set(ipywidgets.widgets.widget._instances) == before
    assert not any(control._trait_notifiers.values())
    control.value = 5
    assert widget.words() == "It is 1."


def test_where_no_widget_can_run_there_is_its_picture_with_alt_text_and_words() -> None:
    data, metadata = numbers_explorer()._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == "A bar as high as 1"
    assert data["text/plain"] == "It is 1." and "application/vnd.jupyter.widget-view+json" in data
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_the_page_gets_the_text_of_each_image() -> None:
    """ipywidgets drops the texts of images: the guard sends them, in their order."""
    widget = numbers_explorer()
    assert widget.guard.alts == alts(widget) == ["A bar as high as 1"]


@pytest.mark.slow
def test_200_interactions_leave_less_than_20_mb() -> None:
    widget = numbers_explorer()
    for number in range(1, 12):
        widget.controls["number"].value = number
    before = psutil.Process().memory_info().rss / 2**20
    for turn in range(200):
        widget.controls["number"].value = turn % 12
    assert psutil.Process().memory_info().rss / 2**20 - before < 20


@pytest.mark.slow
@pytest.mark.parametrize("most", [2, pytest.param(4, marks=pytest.mark.all)])
@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in OFTEN else pytest.mark.all) for one in MAKERS]
)
def test_each_control_changes_what_is_shown_and_all_of_it_is_told(name: str, most: int) -> None:
    widget = MAKERS[name]()
    seen: dict[str, set] = {}
    for control, value in sweep(widget, most):
        assert_tells_what_it_shows(widget, (control, value))
        shown = (*alts(widget), widget.words())
        seen.setdefault(control, set()).add(shown)
    if name == "six positions":  # the role matters once a feature is not what it was at first
        assert len(seen.pop("sliders")) == 1
    assert all(len(states) > 1 for states in seen.values()), {k: len(v) for k, v in seen.items()}
    widget.close()


def test_a_click_is_noticed_and_answered(capsys: pytest.CaptureFixture) -> None:
    shown = set_up()
    assert "PyTorch" in capsys.readouterr().out
    assert not shown.clicked
    shown.button.click()
    assert shown.clicked and "✓" in shown.words()


def test_a_closed_set_up_hears_no_click() -> None:
    shown = SetUp()
    shown.close()
    shown.button.click()
    assert not shown.clicked


def moved(control: ipywidgets.Widget) -> Callable[[], None]:
    """What gives a control another of its values."""
    value = next(one for one in values_of(control, 4) if one != control.value)
    return lambda: setattr(control, "value", value)


def table_of_runs() -> tuple[Explorer, Callable[[], None]]:
    table = ResultsTable(make_grid(JOB, {"head": ["apnb", "ann"]}), "house_accuracy")
    return table, moved(table.controls["head"])


def picked_pixel() -> tuple[Explorer, Callable[[], None]]:
    widget = ReceptiveField(shipped_model("balloon_nonlocal"), SCENE)
    return widget, lambda: setattr(widget.picker, "xy", (150, 20))


def pressed(widget: Explorer, button: ipywidgets.Button) -> tuple[Explorer, Callable[[], None]]:
    return widget, button.click


USED = {  # a widget, and what a message of the browser does to it
    "explorer": lambda: (made := numbers_explorer(), moved(made.controls["number"])),
    "measurement": lambda: pressed(made := CostExplorer(2**33), made.button),
    "painting": lambda: (
        made := PaintPrediction(),
        lambda: made.grid.set_trait("rows", list(TRUTH)),
    ),
    "set-up": lambda: pressed(made := SetUp(), made.button),
    "table": table_of_runs,
    "pixel": picked_pixel,
}


@pytest.mark.parametrize("use", USED.values(), ids=USED)
def test_a_message_that_comes_in_a_subshell_waits_until_the_cell_has_ended(
    use: Callable, in_subshell: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_in = []
    show = Explorer.show

    def noted(self: Explorer, pieces: list) -> None:
        shown_in.append(threading.current_thread())
        show(self, pieces)

    async def cell() -> None:
        widget, message = use()
        shown_in.clear()
        monkeypatch.setattr(Explorer, "show", noted)
        in_subshell(message)
        assert not shown_in  # this cell still runs: it may be training the network that is drawn
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert shown_in == [threading.main_thread()] and not errors(widget)

    asyncio.run(cell())


def test_a_photo_that_comes_in_a_subshell_waits_until_the_cell_has_ended(
    in_subshell: Callable,
) -> None:
    Image.new("RGB", (64, 48)).save(file := io.BytesIO(), "PNG")
    message = {"photo": "beach.png"}

    async def cell() -> None:
        widget = attention_explorer(shipped_model("balloon_ann"), SCENE)
        in_subshell(lambda: widget._handle_custom_msg(message, [memoryview(file.getvalue())]))
        assert len(widget.subjects) == 1
        await asyncio.sleep(0)
        assert list(widget.subjects)[1] == widget.image == "photo 1: beach.png"

    asyncio.run(cell())


def test_a_message_put_off_past_the_end_of_a_widget_changes_nothing(in_subshell: Callable) -> None:
    drawn = []

    async def cell() -> None:
        control = slider("number", 1, 20)
        widget = Explorer(lambda number: drawn.append(number) or ["drawn"], control)
        in_subshell(moved(control))
        widget.close()
        await asyncio.sleep(0)

    asyncio.run(cell())
    assert drawn == [1]


NAMES = ["blue balloon", "red balloon", "sky", "road", "blue house", "red house"]
FEATURES = torch.tensor([[6.0, 0, 0, 0, 6, 0], [0, 6.0, 0, 0, 0, 6], [1.0, 1, 0, 0, 1, 1]])


def playground() -> Explorer:
    return six_positions(FEATURES, ["how blue", "how red", "a thing"], NAMES)


def test_it_starts_as_the_lesson_does() -> None:
    box = playground()
    assert "6 x 6 weights" in alt(box) and "red house attends most to red balloon" in box.words()


def test_query_only_changes_one_row_and_key_only_one_column() -> None:
    box = playground()
    box.controls["sliders"].value = QUERY
    box.controls["how blue"].value = 8.0
    assert "red house attends most to blue" in alt(box) and "blue house attends most" in alt(box)
    before = alt(box).split("blue house attends")[1].split(";")[0]
    box.controls["sliders"].value = BOTH
    assert alt(box).split("blue house attends")[1].split(";")[0] != before


def test_all_states_can_be_drawn() -> None:
    box = playground()
    roles, factors = (BOTH, QUERY, KEY), (0.0, 4.0)
    for role, factor, value in product(roles, factors, (0.0, 8.0)):
        assert box.draw(value, 0.0, value, role, factor)[0].alt.startswith("Six positions")


def test_scores_times_zero_look_at_all_evenly() -> None:
    assert "entropy 2.58 bits" in playground().draw(1.0, 1.0, 1.0, BOTH, 0.0)[1]


CLASSES = ("sky", "house", "road", "car")


def some_counts(num_scenes: int = 5) -> torch.Tensor:
    counts = torch.randint(0, 9, (num_scenes, 4, 4))
    counts[:, 3] = counts[:, :, 3] = 0  # no car anywhere
    return counts


def test_scores_are_told_with_a_dash_for_what_is_not_there() -> None:
    labels, prediction = classes_of(["SSH.", "RRRR"]), classes_of(["SSSS", "RRRR"])
    said = painted(labels, prediction).alt
    assert "Pixel accuracy 6 / 7" in said and "car -" in said and "mean of 3 classes: 0.556" in said


def test_shares_of_the_matrix_are_told_row_by_row() -> None:
    matrix = ConfusionMatrix(2)
    matrix.counts = torch.tensor([[3, 1], [0, 4]])
    assert "sky 75 %, road 100 %" in confusion_matrix(matrix, ("sky", "road"), "FCN").alt


@pytest.mark.parametrize(("first", "number"), [(0, 5), (4, 1), (2, 3)])
def test_chosen_scenes_compare_one_matrix_with_the_mean(first: int, number: int) -> None:
    said = chosen_scenes(some_counts(), first, number, CLASSES, "fcn", "FCN").alt
    assert f"Scenes {first} to {first + number - 1}" in said
    assert ("as high as it" in said) or number > 1  # one scene: both are the same


def test_the_painting_starts_with_one_mistake() -> None:
    assert "22 / 23" in alt(PaintPrediction())


def test_the_brush_and_the_classes_reach_the_grid() -> None:
    painting = PaintPrediction()
    for letter, name, colour, ink in painting.grid.classes:
        painting.brush.value = letter
        assert painting.grid.brush == letter == name[0].upper()
        assert colour != ink


def test_a_pixel_without_a_label_moves_no_score() -> None:
    painting = PaintPrediction()
    before, image = painting.words(), painting.output.outputs[0]["data"]["image/png"]
    painting.grid.rows = [*painting.grid.rows[:2], "SSCHHS", painting.grid.rows[3]]
    assert painting.words() == before and painting.output.outputs[0]["data"]["image/png"] != image


@pytest.mark.slow
@pytest.mark.parametrize(("index", "right"), [(1, 13), (2, 23)])
def test_the_fills_are_what_they_say(index: int, right: int) -> None:
    painting = PaintPrediction()
    painting.fills[index].click()
    assert f"{right} / 23" in alt(painting)


def test_a_closed_painting_hears_no_click() -> None:
    painting = PaintPrediction()
    painting.close()
    before = painting.grid.rows
    painting.fills[1].click()
    assert painting.grid.rows == before


def test_the_scene_chooser_ends_at_the_last_scene() -> None:
    chooser = choose_scenes({"FCN": ("fcn", some_counts()), "ANN": ("ann", some_counts())}, CLASSES)
    chooser.controls["first scene"].value = 3
    chooser.controls["network"].value = "ANN"
    assert "ANN. Scenes 3 to 4" in alt(chooser) and "mIoU by one matrix" in alt(chooser)
    chooser.controls["how many"].value = 1
    assert "Scenes 3 to 3" in alt(chooser)


def test_labels_of_a_painting_are_class_indices() -> None:
    assert np.array_equal(classes_of(["S.", "HR"]), [[0, 255], [1, 2]])
