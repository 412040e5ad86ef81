"""A lesson as a student meets it: opened in JupyterLab, all cells run, nothing asked of others."""

import shutil
from pathlib import Path

import pytest

from annlib.course.browsing.lab import browser_page, jupyterlab
from annlib.course.browsing.page import open_notebook

ROOT = Path(__file__).parents[1]
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
