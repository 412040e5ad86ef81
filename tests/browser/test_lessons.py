"""A lesson as a student meets it: opened in JupyterLab, all cells run, nothing asked of others."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.page import Lab

ROOT = Path(__file__).parents[2]
LIVE_RUN = """
import threading, time
import torch
from annlib.course.widgets.training import LiveRun
from annlib.course.plots.training import Validation
from annlib.data.balloon_town.dataset import make_scene
from annlib.engine.optimization import Step
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


SETTINGS = "window.jupyterapp.serviceManager.settings"
SUBSHELLS = "@jupyterlab/apputils-extension:kernels-settings"


def write(path: Path, **cells: str) -> None:
    """A notebook of these code cells, by their ids."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(metadata={"kernelspec": kernel})
    notebook.cells += [new_code_cell(code.strip(), id=name) for name, code in cells.items()]
    nbformat.write(notebook, path)


def test_the_first_lesson_runs_whole_and_its_widgets_are_there(root: Path, lab: Lab) -> None:
    shutil.copy(ROOT / "notebooks/solutions/00_start_here.ipynb", root / "00.ipynb")
    lab.open("00.ipynb", run=True)
    explorer = lab.page.locator(".annlib-attention canvas").first
    explorer.scroll_into_view_if_needed()
    assert explorer.bounding_box()["width"] > 200
    assert lab.page.locator(".jp-OutputArea-output img").count() > 0
    assert lab.watch.findings() == []


def test_a_widget_is_still_seen_when_its_notebook_is_opened_again(root: Path, lab: Lab) -> None:
    code = "from annlib.course.widgets.costs import folding_cost\nfolding_cost()"
    write(root / "bill.ipynb", bill=code)
    lab.open("bill.ipynb", run=True)
    lab.widget("bill").locator(".annlib-keys img").first.wait_for()
    lab.page.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
    lab.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    lab.open("bill.ipynb", run=False)
    widget = lab.widget("bill")
    widget.locator(".annlib-keys img").first.wait_for()
    assert "model not found" not in widget.inner_text()


def test_pause_go_on_next_cell_ends_the_run_though_messages_come_in_a_subshell(
    root: Path, lab: Lab
) -> None:
    write(root / "live.ipynb", live=LIVE_RUN, next=NEXT)
    own = '{"commsOverSubshells": "perCommTarget"}'  # the default where `make lab` is not used
    lab.page.evaluate(f"own => {SETTINGS}.save('{SUBSHELLS}', own)", own)
    try:
        lab.open("live.ipynb", run=False)
        lab.run_again("live")
        for name in ("Pause", "Go on"):
            button = lab.widget("live").get_by_role("button", name=name, exact=True)
            lab.page.wait_for_function("button => !button.disabled", arg=button.element_handle())
            button.click()
            lab.page.wait_for_function("button => button.disabled", arg=button.element_handle())
        lab.run_again("next")
        said = lab.widget("next").inner_text()
    finally:
        lab.page.evaluate(f"() => {SETTINGS}.save('{SUBSHELLS}', '{{}}')")
    assert "300 {'MainThread'} [" in said and "subshell-" in said
