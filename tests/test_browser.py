"""Every widget in JupyterLab, in a real browser: by pointer, by keyboard, for everybody."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from annlib.course.authoring.build import sources
from tests.browser.controls import Shown, differs, focus_is_seen, too_wide, violations
from tests.browser.gallery import ENTRIES, Entry
from tests.browser.lab import run_all_cells
from tests.browser.page import Gallery, opened_gallery

ROOT = Path(__file__).parents[1]
SCREENSHOTS = ROOT / "build/screenshots"
IMPORTED = re.compile(r"^from annlib\.course\.controls\.\w+ import (\w+)$", re.MULTILINE)
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"
NUM_CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
every_widget = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


@pytest.fixture(scope="module")
def gallery(chromium_path: str) -> Iterator[Gallery]:
    with opened_gallery() as opened:
        yield opened


def keep(gallery: Gallery, name: str, kind: str = "") -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    gallery.widget(name).screenshot(path=SCREENSHOTS / f"{name}{kind}.png")


def test_gallery_has_every_widget_of_the_lessons() -> None:
    used = {
        name
        for path in sources(ROOT)
        for name in IMPORTED.findall(path.read_text(encoding="utf-8"))
    }
    assert len(used) > 20 and used <= {entry.name for entry in ENTRIES}


@every_widget
def test_picture_follows_pointer_and_keyboard(gallery: Gallery, entry: Entry) -> None:
    for by_key in (False, True):
        before, after = gallery.use(entry, by_key)
        assert differs(before, after)
    keep(gallery, entry.name)
    assert gallery.watch.findings() == []


@every_widget
def test_everybody_can_use_it(gallery: Gallery, entry: Entry) -> None:
    widget = gallery.widget(entry.name)
    assert violations(widget) == []
    assert focus_is_seen(entry.keys, widget)


@every_widget
def test_keys_pressed_in_it_delete_no_cell(gallery: Gallery, entry: Entry) -> None:
    before = gallery.page.evaluate(NUM_CELLS)
    element = entry.keys.focused(gallery.widget(entry.name))
    for key in ("d", "d", "b"):
        element.press(key)
    gallery.in_kernel("pass")  # there and back: what a key has started is done by then
    assert gallery.page.evaluate(NUM_CELLS) == before


def test_widgets_fit_a_narrow_window(gallery: Gallery) -> None:
    wide = gallery.page.viewport_size
    gallery.page.set_viewport_size({"width": 700, "height": 1000})
    try:
        found = {entry.name: too_wide(gallery.widget(entry.name)) for entry in ENTRIES}
        for entry in ENTRIES:
            keep(gallery, entry.name, "_narrow")
    finally:
        gallery.page.set_viewport_size(wide)
    assert {name: parts for name, parts in found.items() if parts} == {}


def test_widgets_can_be_read_in_the_dark_theme(gallery: Gallery) -> None:
    gallery.theme("JupyterLab Dark")
    try:
        found = {entry.name: violations(gallery.widget(entry.name)) for entry in ENTRIES}
        for entry in ENTRIES:
            keep(gallery, entry.name, "_dark")
    finally:
        gallery.theme("JupyterLab Light")
    assert {name: parts for name, parts in found.items() if parts} == {}


def test_a_photo_of_ones_own_is_looked_at(gallery: Gallery, tmp_path: Path) -> None:
    widget, photo = gallery.widget("attention_explorer"), tmp_path / "beach.png"
    Image.effect_noise((400, 300), 60).convert("RGB").save(photo)
    widget.locator("input[type=file]").set_input_files(photo)
    widget.locator(".note", has_text="Shown: photo 1: beach.png").wait_for()
    assert widget.get_by_label("picture", exact=True).input_value() == "photo 1: beach.png"
    assert "Entropy" in widget.locator(".said").inner_text()


def test_a_file_that_is_no_picture_is_refused_in_words(gallery: Gallery, tmp_path: Path) -> None:
    widget, notes = gallery.widget("attention_explorer"), tmp_path / "notes.png"
    notes.write_text("no picture", encoding="utf-8")
    widget.locator("input[type=file]").set_input_files(notes)
    widget.locator(".note", has_text="could not be read as a picture").wait_for()


def test_widgets_on_one_page_leave_each_other_alone(gallery: Gallery) -> None:
    used = next(entry for entry in ENTRIES if entry.name == "attention_explorer")
    others = ("anchor_map", "two_maps", "folding_cost")
    before = {name: Shown(gallery.widget(name)) for name in others}
    gallery.use(used, by_key=False)
    assert not any(differs(before[name], Shown(gallery.widget(name))) for name in others)


# Last: it takes the kernel away


def test_after_a_restart_widgets_say_so_and_the_explorer_goes_on(gallery: Gallery) -> None:
    gallery.page.evaluate(RESTART)
    box = gallery.widget("folding_cost").locator(".annlib-keys.jupyter-widgets-disconnected")
    box.wait_for()
    said = box.evaluate("box => getComputedStyle(box, '::before').content")
    assert "run its cell again" in said
    explorer = next(entry for entry in ENTRIES if entry.name == "attention_explorer")
    before, after = gallery.use(explorer, by_key=False)
    assert differs(before, after)
    gallery.watch.findings()  # Lab notes that nobody listens any more


def test_after_run_all_widgets_work_again(gallery: Gallery) -> None:
    run_all_cells(gallery.page)
    entry = next(entry for entry in ENTRIES if entry.name == "folding_cost")
    before, after = gallery.use(entry, by_key=True)
    assert differs(before, after)
    assert gallery.watch.findings() == []
