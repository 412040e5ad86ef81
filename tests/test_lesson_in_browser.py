"""A lesson as a student meets it: opened in JupyterLab, all cells run, nothing asked of others."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page

from tests.browser.lab import READY, Watch, browser_page, jupyterlab
from tests.browser.page import MARK, Gallery, open_notebook

ROOT = Path(__file__).parents[1]
LIVE_RUN = """
import threading, time
import torch
from annlib.course.widgets.training import LiveRun
from annlib.course.plots.training import Validation
from annlib.data.balloon_town.dataset import make_scene
from annlib.engine.train import Step
scene, threads, heard = make_scene(5), set(), []
def slow_steps():
    for number in range(1, 301):
        threads.add(threading.current_thread().name)
        time.sleep(0.02)
        yield Step(number, torch.tensor(1 / number), 0.1)
run = LiveRun(slow_steps(), 300, 100, lambda step: Validation(step, 0.5, 0.3, scene.labels),
    scene, "ann")
for button in (run.stop_button, run.go_button):
    button.on_click(lambda button: heard.append(threading.current_thread().name))
run.start()
"""
NEXT = "run.finish(); print(run.done, threads, heard)"
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_the_first_lesson_runs_whole_and_its_widgets_are_there(
    tmp_path: Path, chromium_path: str
) -> None:
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    shutil.copy(ROOT / "notebooks/solutions/00_start_here.ipynb", notebooks / "00.ipynb")
    with (
        jupyterlab(notebooks, tmp_path / "jupyter") as address,
        browser_page(chromium_path) as page,
    ):
        watch = open_notebook(page, address.format("00.ipynb"))
        explorer = page.locator(".annlib-attention canvas").first
        explorer.scroll_into_view_if_needed()
        assert explorer.bounding_box()["width"] > 200
        assert page.locator(".jp-OutputArea-output img").count() > 0
        assert watch.findings() == []


def opened(page: Page, address: str) -> Gallery:
    """A notebook, opened; no cell is run."""
    watch = Watch(page)
    page.goto(address)
    page.wait_for_function(READY)
    page.evaluate(MARK)
    return Gallery(page, watch)


def write(path: Path, **cells: str) -> None:
    """A notebook of these code cells, by their ids."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    notebook.cells += [new_code_cell(code.strip(), id=name) for name, code in cells.items()]
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)


def test_pause_go_on_next_cell_ends_the_run_though_messages_come_in_a_subshell(
    tmp_path: Path, chromium_path: str
) -> None:
    write(tmp_path / "notebooks/live.ipynb", live=LIVE_RUN, next=NEXT)
    extension = tmp_path / "jupyter/settings/@jupyterlab/apputils-extension"
    extension.mkdir(parents=True)  # as JupyterLab is, where it does not come from `make lab`
    (extension / "kernels-settings.jupyterlab-settings").write_text(
        '{"commsOverSubshells": "perCommTarget"}'
    )
    with (
        jupyterlab(tmp_path / "notebooks", tmp_path / "jupyter") as address,
        browser_page(chromium_path) as page,
    ):
        notebook = opened(page, address.format("live.ipynb"))
        notebook.run_again("live")
        for name in ("Pause", "Go on"):
            button = notebook.widget("live").get_by_role("button", name=name, exact=True)
            page.wait_for_function("button => !button.disabled", arg=button.element_handle())
            button.click()
            page.wait_for_function("button => button.disabled", arg=button.element_handle())
        notebook.run_again("next")
        said = notebook.widget("next").inner_text()
    assert "300 {'MainThread'} [" in said and "subshell-" in said


def test_a_widget_is_still_seen_when_its_notebook_is_opened_again(
    tmp_path: Path, chromium_path: str
) -> None:
    code = "from annlib.course.widgets.costs import folding_cost\nFoldBill()"
    write(tmp_path / "notebooks/bill.ipynb", bill=code)
    with (
        jupyterlab(tmp_path / "notebooks", tmp_path / "first") as address,
        browser_page(chromium_path) as page,
    ):
        notebook = opened(page, address.format("bill.ipynb"))
        notebook.run_again("bill")
        notebook.widget("bill").locator(".annlib-keys img").first.wait_for()
        page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    with (
        jupyterlab(tmp_path / "notebooks", tmp_path / "second") as address,
        browser_page(chromium_path) as page,
    ):
        widget = opened(page, address.format("bill.ipynb")).widget("bill")
        widget.locator(".annlib-keys img").first.wait_for()
        assert "model not found" not in widget.inner_text()
