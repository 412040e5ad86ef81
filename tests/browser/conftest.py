"""One server, one browser and one page for all browser tests.

They are closed after the last test of this folder: while a browser is open, the process can open no
second one and run no event loop.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.gallery import write_gallery
from tests.browser.lab import chromium, opened_browser
from tests.browser.page import Lab, opened_lab


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Without a browser a test is skipped; on a CI machine that is a failure."""
    try:
        chromium()
    except FileNotFoundError as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(str(error))
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the notebooks that JupyterLab shows."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="package")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Lab]:
    write_gallery(root)
    with opened_lab(root, tmp_path_factory.mktemp("jupyter"), browser) as opened:
        yield opened
