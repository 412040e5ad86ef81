"""Every widget in JupyterLab, in a real browser: by pointer, by keyboard, for everybody."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.controls import WIDER, Shown, differs, focus_is_seen, violations
from tests.browser.gallery import ENTRIES, FILE, Entry, chosen
from tests.browser.lab import run_all_cells
from tests.browser.page import Lab

SCREENSHOTS = Path(__file__).parents[2] / "build/screenshots"
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"
NUM_CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"
AREAS = ".jp-Cell-outputWrapper"
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def gallery(lab: Lab) -> Iterator[Lab]:
    lab.open(FILE, run=True)
    return lab


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_widget_follows_pointer_and_keyboard(gallery: Lab, entry: Entry) -> None:
    for by_key in (False, True):
        before, after = gallery.use(entry, by_key)
        assert differs(before, after)
        assert before.words != after.words
    widget = gallery.widget(entry.name)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    widget.screenshot(path=SCREENSHOTS / f"{entry.name}.png")
    assert focus_is_seen(entry.keys, widget)
    cells, element = gallery.page.evaluate(NUM_CELLS), entry.keys.focused(widget)
    for key in ("d", "d", "b"):  # in JupyterLab: delete the cell, insert another
        element.press(key)
    gallery.in_kernel("pass")  # there and back: what a key has started is done by then
    assert gallery.page.evaluate(NUM_CELLS) == cells
    assert gallery.watch.findings() == []


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_widgets_can_be_read_by_everybody(gallery: Lab, theme: str) -> None:
    gallery.theme(theme)
    try:
        assert violations(gallery.page, AREAS) == []
    finally:
        gallery.theme("JupyterLab Light")


def test_widgets_fit_a_narrow_window(gallery: Lab) -> None:
    wide = gallery.page.viewport_size
    gallery.page.set_viewport_size({"width": 700, "height": 1000})
    try:
        assert gallery.page.eval_on_selector_all(AREAS, WIDER) == []
    finally:
        gallery.page.set_viewport_size(wide)


def test_a_photo_is_attended_and_another_file_is_refused(gallery: Lab, tmp_path: Path) -> None:
    widget, photo = gallery.widget("attention_explorer"), tmp_path / "beach.png"
    notes = tmp_path / "notes.png"
    notes.write_text("not an image", encoding="utf-8")
    widget.locator("input[type=file]").set_input_files(notes)
    widget.locator(".note", has_text="cannot be read as an image").wait_for()
    Image.effect_noise((400, 300), 60).convert("RGB").save(photo)
    widget.locator("input[type=file]").set_input_files(photo)
    widget.locator(".note", has_text="Shown: photo 1: beach.png").wait_for()
    assert widget.get_by_label("image", exact=True).input_value() == "photo 1: beach.png"
    assert "Entropy" in widget.locator(".said").inner_text()
    widget.get_by_label("rectangle's width").fill("30")
    widget.get_by_role("button", name="Inpaint around the pixel").click()
    widget.locator(".note", has_text="Inpainted 40 x 30 at row").wait_for()
    assert "inpainted" in widget.get_by_label("image", exact=True).input_value()


def test_each_explorer_has_its_own_choice_of_query_or_key(gallery: Lab) -> None:
    radios = ".annlib-attention .steps input[type=radio]"
    names = gallery.page.eval_on_selector_all(radios, "all => all.map(one => one.name)")
    assert len(names) > 4 and len(set(names)) == len(names) // 2


def test_widgets_on_one_page_leave_each_other_alone(gallery: Lab) -> None:
    (used,) = chosen("attention_explorer")
    others = ("anchor_map", "two_maps", "folding_cost")
    before = {name: Shown(gallery.widget(name)) for name in others}
    gallery.use(used, by_key=False)
    assert not any(differs(before[name], Shown(gallery.widget(name))) for name in others)


# Last: it takes the kernel away


def test_after_a_restart_widgets_say_so_and_the_explorer_goes_on(gallery: Lab) -> None:
    gallery.page.evaluate(RESTART)
    box = gallery.widget("folding_cost").locator(".annlib-keys.jupyter-widgets-disconnected")
    box.wait_for()
    said = box.evaluate("box => getComputedStyle(box, '::before').content")
    assert "run its cell again" in said
    (explorer,) = chosen("attention_explorer")
    before, after = gallery.use(explorer, by_key=False)
    assert differs(before, after)
    gallery.watch.findings()  # JupyterLab reports that no kernel listens


def test_after_run_all_widgets_work_again(gallery: Lab) -> None:
    run_all_cells(gallery.page)
    (entry,) = chosen("folding_cost")
    before, after = gallery.use(entry, by_key=True)
    assert differs(before, after)
    assert gallery.watch.findings() == []
