"""The lessons in JupyterLab, in a real browser: widgets by pointer and by keyboard."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import Watch, chromium, jupyterlab, run_all_cells
from playwright.sync_api import Locator, Page, sync_playwright

from annlib.course.authoring.building import notebooks_of, sources

ROOT = Path(__file__).parents[1]
SCREENSHOTS = ROOT / "build/screenshots"
pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page, and a server that shows the solution notebooks in quick mode."""
    root, config = tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter")
    for source in sources(ROOT):
        notebook = notebooks_of(source, ROOT)[1]
        text = notebook.read_text(encoding="utf-8").replace(
            'mode = \\"learn\\"', 'mode = \\"quick\\"'
        )
        (root / notebook.name).write_text(text, encoding="utf-8")
    executable = chromium()
    with jupyterlab(root, config) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        page.address = address
        yield page
        browser.close()


def open_lesson(page: Page, name: str) -> Watch:
    watch = Watch(page)
    page.goto(page.address.format(f"{name}.ipynb"))
    run_all_cells(page)
    return watch


def shown_in(widget: Locator) -> str:
    """The picture that a widget shows, as the bytes of its address."""
    return widget.locator("img").first.get_attribute("src")


def wait_for_another(page: Page, widget: Locator, before: str) -> None:
    page.wait_for_function(
        "([image, before]) => image.isConnected === false || image.src !== before",
        arg=[widget.locator("img").first.element_handle(), before],
    )
    widget.locator("img").first.wait_for()
    assert shown_in(widget) != before


def keep(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def sliders(page: Page) -> Locator:
    """The sliders that place a query, row before column, with the picture that follows them."""
    row = page.locator(".widget-label", has_text=re.compile(r"^row$"))
    return page.locator(".widget-vbox", has=row).filter(has=page.locator("img")).first


def test_lesson_00_runs_and_its_button_answers_pointer_and_keyboard(page: Page) -> None:
    watch = open_lesson(page, "00_start_here")
    button = page.get_by_role("button", name="Click me")
    button.scroll_into_view_if_needed()
    button.click()
    page.get_by_text("your click has reached Python").first.wait_for()
    keep(page, "00_set_up")
    assert watch.strangers == []
    assert watch.errors == []


@pytest.mark.parametrize("lesson", ["00_start_here", "02_every_pixel_asks", "04_anchors"])
def test_sliders_change_the_picture_by_keyboard_and_by_pointer(page: Page, lesson: str) -> None:
    watch = open_lesson(page, lesson)
    widget = sliders(page)
    widget.scroll_into_view_if_needed()
    widget.locator("img").first.wait_for()
    before = shown_in(widget)
    handle = widget.locator(".noUi-handle").nth(0)
    handle.focus()
    for _ in range(12):
        page.keyboard.press("ArrowLeft")
    wait_for_another(page, widget, before)
    before = shown_in(widget)
    widget.locator(".noUi-base").nth(1).click(position={"x": 5, "y": 2})
    wait_for_another(page, widget, before)
    keep(page, f"{lesson}_sliders")
    assert watch.strangers == []
    assert watch.errors == []


def test_pixel_is_painted_by_pointer_and_by_keyboard(page: Page) -> None:
    watch = open_lesson(page, "01_which_pixel_is_what")
    pixel = page.locator("button[title^='row 1, column 1:']")
    pixel.scroll_into_view_if_needed()
    assert pixel.text_content() == "S"
    page.get_by_role("button", name="house (H)").click()
    pixel.click()
    page.wait_for_function("pixel => pixel.textContent === 'H'", arg=pixel.element_handle())
    page.get_by_role("button", name="road (R)").click()
    pixel.focus()
    page.keyboard.press("Space")
    page.wait_for_function("pixel => pixel.textContent === 'R'", arg=pixel.element_handle())
    keep(page, "01_paint")
    assert watch.strangers == []
    assert watch.errors == []


def test_keys_pressed_on_a_slider_delete_no_cell(page: Page) -> None:
    open_lesson(page, "00_start_here")
    count = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"
    before = page.evaluate(count)
    handle = sliders(page).locator(".noUi-handle").nth(0)
    handle.scroll_into_view_if_needed()
    handle.focus()
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.wait_for_timeout(500)
    assert page.evaluate(count) == before
