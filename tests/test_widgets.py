"""Widgets show a picture at once, follow their controls, and leave each other alone."""

import asyncio
import base64
import io
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import ipywidgets
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from shown_in import alts, errors

from annlib.config import TrainConfig
from annlib.course.checks.base import NotYet
from annlib.course.guesses import Predictions
from annlib.course.plots.scenes import Picture
from annlib.course.sweeping.grid import make_grid
from annlib.course.widgets.attention import OrderSwap, SixPositions, cell_map
from annlib.course.widgets.attention_explorer import attention_explorer
from annlib.course.widgets.base import Explorer, LevelBoxes, Shown, slider
from annlib.course.widgets.costs import CostExplorer, CostSliders, FoldBill, NetworkBill, preflight
from annlib.course.widgets.pixels import ReceptiveField
from annlib.course.widgets.scenes import PaintPrediction, SetUp, set_up, window_sliders
from annlib.course.widgets.sweeps import SeedsExplorer, interval_sliders, results_table
from annlib.course.widgets.training import recipe_sliders
from annlib.data.balloon_town.dataset import make_scene
from annlib.model.build import shipped_model

SCENE = make_scene(5)
JOB = Path(__file__).parents[1] / "notebooks/jobs/train_town.ipynb"


@pytest.fixture(autouse=True)
def no_widget_survives() -> Iterator[None]:
    yield
    ipywidgets.Widget.close_all()


def sweep(widget: Explorer, most: int = 4) -> Iterator[tuple[str, object]]:
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

    def draw(number: int) -> tuple[Picture, str]:
        if number == 13:
            raise RuntimeError("broken")
        figure = Figure((2, 1))
        figure.subplots().bar([0], [number])
        return Picture(figure, f"A bar as high as {number}"), f"It is {number}."

    return Explorer({"number": slider("number", 1, 20)}, draw)


LAYERS = {"nothing": torch.nn.Identity(), "ReLU": torch.nn.ReLU()}
MAKERS = {
    "cell map": lambda: cell_map(SCENE),
    "cost explorer": lambda: CostExplorer(2**33),
    "cost sliders": CostSliders,
    "fold bill": FoldBill,
    "intervals": lambda: interval_sliders({"ann": [0.9, 1.0, 0.8], "fcn": [0.3, 0.4, 0.3]}),
    "network bill": NetworkBill,
    "order swap": lambda: OrderSwap(LAYERS, torch.randn(2, 4, 16, 24)),
    "preflight": preflight,
    "recipe": lambda: recipe_sliders(TrainConfig(10)),
    "seeds": SeedsExplorer,
    "six positions": lambda: SixPositions(torch.eye(3, 6) * 4, ["a", "b", "c"], list("uvwxyz")),
    "windows": lambda: window_sliders(SCENE.image),
}


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


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_200_interactions_leave_less_than_20_mb() -> None:
    widget = numbers_explorer()
    for number in range(1, 12):
        widget.controls["number"].value = number
    before = resident_mib()
    for turn in range(200):
        widget.controls["number"].value = turn % 12
    assert resident_mib() - before < 20


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_each_control_changes_what_is_shown_and_all_of_it_is_told(name: str) -> None:
    widget = MAKERS[name]()
    seen: dict[str, set] = {}
    for control, value in sweep(widget):
        assert_tells_what_it_shows(widget, (control, value))
        shown = (*alts(widget), widget.words())
        seen.setdefault(control, set()).add(shown)
    if name == "six positions":  # the role matters once a feature is not what it was at first
        assert len(seen.pop("role")) == 1
    assert all(len(states) > 1 for states in seen.values()), {k: len(v) for k, v in seen.items()}
    widget.close()


def test_without_anywidget_the_widgets_are_plain_ones() -> None:
    code = (
        "import sys; sys.modules['anywidget'] = None\n"
        "from annlib.course.widgets.scenes import SetUp\n"
        "box = SetUp(); box.button.click(); assert box.clicked and '✓' in box.words()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


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


# Predictions


def test_a_prediction_comes_before_its_answer(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(NotYet, match="comes first"):
        Predictions().compare("0.1", ..., 42)
    assert "42" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("guess", "outcome", "tolerance", "agrees"),
    [(0.3, 0.33, 0.25, True), (0.9, 0.33, 0.25, False), (1, 1, 0.0, True), (2, 1, 0.0, False)],
)
def test_numbers_agree_within_their_tolerance(
    guess: float, outcome: float, tolerance: float, agrees: bool, capsys: pytest.CaptureFixture
) -> None:
    predictions = Predictions()
    predictions.compare("1", guess, outcome, tolerance=tolerance)
    assert predictions.compared == {"1": (guess, outcome, agrees)}
    assert ("As you expected" in capsys.readouterr().out) == agrees


def test_words_are_compared_with_the_outcome() -> None:
    predictions = Predictions()
    predictions.compare("1", "fall", "fall", options=("fall", "rise"))
    predictions.compare("2", "rise", "fall", options=("fall", "rise"))
    assert predictions.compared == {"1": ("fall", "fall", True), "2": ("rise", "fall", False)}


@pytest.mark.parametrize(("guess", "options"), [("up", ("fall", "rise")), ("three", ())])
def test_an_answer_of_the_wrong_kind_is_asked_for_again(guess: str, options: tuple) -> None:
    with pytest.raises(NotYet, match="you wrote"):
        Predictions().compare("1", guess, "fall" if options else 3, options=options)


def test_the_summary_names_surprises() -> None:
    predictions = Predictions()
    predictions.compare("1", 3, 3)
    assert predictions.summary() == "1 prediction, none with a surprise."
    predictions.compare("2", 3, 4)
    told, again = predictions.summary().splitlines()
    assert told == "2 predictions, 1 with a surprise."
    assert again == "Worth a second look: 2 (you said 3; it is 4)."


def moved(control: ipywidgets.Widget) -> Callable[[], None]:
    """What gives a control another of its values."""
    value = next(one for one in values_of(control, 4) if one != control.value)
    return lambda: setattr(control, "value", value)


def level_boxes() -> tuple[Shown, Callable[[], None]]:
    boxes = LevelBoxes((1, 3), (1,))
    return Explorer({"levels": boxes}, lambda levels: [f"{levels}"]), lambda: setattr(
        boxes.boxes[1], "value", True
    )


def table_of_runs() -> tuple[Shown, Callable[[], None]]:
    table = results_table(make_grid(JOB, {"head": ["apnb", "ann"]}), "house_accuracy")
    return table, moved(table.menus["head"])


def picked_pixel() -> tuple[Shown, Callable[[], None]]:
    widget = ReceptiveField(shipped_model("balloon_nonlocal"), SCENE)
    return widget, lambda: setattr(widget.picker, "xy", (150, 20))


def pressed(widget: Shown, button: ipywidgets.Button) -> tuple[Shown, Callable[[], None]]:
    return widget, button.click


USED = {  # a widget, and what a message of the browser does to it
    "explorer": lambda: (made := numbers_explorer(), moved(made.controls["number"])),
    "levels": level_boxes,
    "measurement": lambda: pressed(made := CostExplorer(2**33), made.button),
    "painting": lambda: pressed(made := PaintPrediction(), made.cells[0][0]),
    "set-up": lambda: pressed(made := SetUp(), made.button),
    "table": table_of_runs,
    "pixel": picked_pixel,
}


@pytest.mark.parametrize("use", USED.values(), ids=USED)
def test_a_message_that_comes_in_a_subshell_waits_until_the_cell_has_ended(
    use: Callable, in_subshell: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown_in = []
    show = Shown.show

    def noted(self: Shown, pieces: list) -> None:
        shown_in.append(threading.current_thread())
        show(self, pieces)

    async def cell() -> None:
        widget, message = use()
        shown_in.clear()
        monkeypatch.setattr(Shown, "show", noted)
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
        assert list(widget.subjects)[1] == widget.picture == "photo 1: beach.png"

    asyncio.run(cell())


def test_a_message_put_off_past_the_end_of_a_widget_changes_nothing(in_subshell: Callable) -> None:
    drawn = []

    async def cell() -> None:
        control = slider("number", 1, 20)
        widget = Explorer({"number": control}, lambda number: drawn.append(number) or ["drawn"])
        in_subshell(moved(control))
        widget.close()
        await asyncio.sleep(0)

    asyncio.run(cell())
    assert drawn == [1]
