"""The site in a browser: accessible, nothing loaded from elsewhere, nothing wider than a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_site
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tools import site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
PAGES = (
    "index.html",
    "notebooks/index.html",
    "notebooks/90_fixture.html",
    "notebooks/teaching/index.html",
    "data/results/zoo.html",
    "CONTRIBUTING.html",
)
LOOKS = {"phone": (390, "light"), "phone, dark": (390, "dark"), "desktop": (1280, "light")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a small project, with the explorer."""
    folder = tmp_path_factory.mktemp("site")
    project, executed = small_site.make(folder)
    site.build(project, folder / "out", executed, with_api=False)
    return folder / "out"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    ours = ("file:", "data:", "blob:")
    page.on("request", lambda one: one.url.startswith(ours) or wrong.append(one.url))
    yield page
    page.close()
    assert wrong == []


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_and_fits_a_phone(page: Page, built: Path, name: str) -> None:
    for width, scheme in LOOKS.values():
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme=scheme)
        page.goto((built / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(Axe().axe_script + ";0")
        found = page.evaluate("() => axe.run(document, {preload: false})")["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_explorer_of_the_front_page_follows_keys_and_menus(page: Page, built: Path) -> None:
    page.goto((built / "index.html").as_uri())
    said = page.locator(".said")
    page.locator("#widget canvas").first.press("ArrowRight")
    before = said.inner_text()
    page.get_by_label("image", exact=True).select_option("one balloon repainted")
    page.get_by_label("network", exact=True).select_option("non-local block")
    assert before.startswith("Row ") and said.inner_text() != before
