"""The attention explorer without any kernel: what a page of its own does in a real browser."""

import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from annlib.course.attention import projections_of
from annlib.course.interventions import shuffled_projections
from annlib.course.plots.scenes import say_attention
from annlib.course.widgets.base import saved_page
from annlib.course.widgets.explorer import attention_explorer
from annlib.data.balloon_town.dataset import make_scene, repaint
from annlib.data.balloon_town.layout import Scene
from annlib.model.build import shipped_model

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
PIXELS = "canvas => canvas.toDataURL()"
LEFT, RIGHT = ".annlib-attention canvas >> nth=0", ".annlib-attention canvas >> nth=1"


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(5)


@pytest.fixture(scope="module")
def file(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The explorer of lesson 7 as one file."""
    ann = shipped_model("balloon_ann")
    networks = {"trained": ann, "shuffled": partial(shuffled_projections, ann)}
    other = (scene.balloons[0].pattern + 1) % 3
    images = {"scene": scene, "repainted": repaint(scene, 0, other)}
    file = tmp_path_factory.mktemp("page") / "explorer.html"
    state = attention_explorer(networks, images).get_state()
    file.write_text(saved_page({"state": state}, "Attention explorer"), encoding="utf-8")
    return file


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(20_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.on("request", lambda one: one.url.startswith("http") and errors.append(one.url))
    page.goto(f"file://{file}")
    page.locator(LEFT).wait_for()
    yield page
    page.close()
    assert errors == []


def pixel(page: Page, x: int, y: int) -> dict[str, float]:
    """Where the middle of a pixel of the picture lies on the left canvas."""
    box = page.locator(LEFT).bounding_box()
    return {"x": (x + 0.5) * box["width"] / 192, "y": (y + 0.5) * box["height"] / 128}


def menu(page: Page, name: str) -> object:
    return page.get_by_label(name, exact=True)


def test_a_click_says_what_python_says(page: Page, scene: Scene) -> None:
    found = projections_of(shipped_model("balloon_ann"), scene.image)["afnb.attention"].attention()
    for x, y in [(60, 95), (0, 0), (191, 127), (100, 30)]:
        page.locator(LEFT).click(position=pixel(page, x, y))
        assert page.locator(".said").inner_text() == say_attention(found, scene.labels, y, x)


def test_every_move_of_a_drag_is_drawn(page: Page) -> None:
    canvas = page.locator(LEFT)
    box = canvas.bounding_box()
    canvas.hover(position=pixel(page, 20, 90))
    page.mouse.down()
    pictures = set()
    for x in range(20, 180, 8):  # from position to position
        at = pixel(page, x, 90)
        page.mouse.move(box["x"] + at["x"], box["y"] + at["y"])
        pictures.add(page.locator(RIGHT).evaluate(PIXELS))
    page.mouse.up()
    assert len(pictures) == 20


def test_arrow_keys_move_by_a_position_and_with_shift_by_five(page: Page) -> None:
    page.locator(LEFT).click(position=pixel(page, 44, 44))
    page.keyboard.press("ArrowRight")
    assert page.locator(".said").inner_text().startswith("Row 44, column 52")
    page.keyboard.press("Shift+ArrowUp")
    assert page.locator(".said").inner_text().startswith("Row 4, column 52")


def test_menus_and_levels_change_both_picture_and_words(page: Page) -> None:
    seen = [(page.locator(LEFT).evaluate(PIXELS), page.locator(".said").inner_text())]
    for name, value in [("block", "APNB"), ("image", "repainted"), ("scores x", "0.25")]:
        menu(page, name).select_option(value)
        seen.append((page.locator(LEFT).evaluate(PIXELS), page.locator(".said").inner_text()))
    page.get_by_label("8", exact=True).uncheck()
    seen.append((page.locator(LEFT).evaluate(PIXELS), page.locator(".said").inner_text()))
    pictures, words = map(set, zip(*seen, strict=True))
    assert len(pictures) == len(words) == len(seen) == 5
    assert "of 46." in page.locator(".said").inner_text()


def test_without_a_level_nobody_answers(page: Page) -> None:
    for level in ("1", "3", "6", "8"):
        page.get_by_label(level, exact=True).uncheck()
    assert "there are no keys" in page.locator(".said").inner_text()
    assert page.locator(".facts table").count() == 0
    page.get_by_label("3", exact=True).check()
    assert "of 9." in page.locator(".said").inner_text()


def test_a_second_network_stands_beside_the_first_with_its_own_words(page: Page) -> None:
    menu(page, "beside it").select_option("shuffled")
    assert page.locator("figcaption").all_inner_texts() == ["AFNB, trained", "AFNB, shuffled"]
    said = page.locator(".said").inner_text()
    assert said.startswith("trained: ") and " shuffled: " in said
    assert page.locator(".facts table").count() == 6


def test_steps_of_the_strongest_key_are_those_of_the_block(page: Page, scene: Scene) -> None:
    page.locator(LEFT).click(position=pixel(page, 60, 95))
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    ann = shipped_model("balloon_ann")
    block, outputs = ann.afnb.attention, []
    hook = block.to_output.register_forward_hook(lambda _, given, __: outputs.append(given[0]))
    found = projections_of(ann, scene.image)["afnb.attention"]
    hook.remove()
    position = 95 // 8 * 24 + 60 // 8
    query, weights = found.queries[position], found.attention().row(95, 60)
    index = int(weights.argmax())
    channel = int(found.values[index].abs().argmax())
    product = float(weights[index] * found.values[index, channel])
    scores = float(query @ found.keys[index])
    output = float(outputs[0][0].flatten(1)[channel, position])  # what the network itself computed
    expected = [scores / block.scale, scores, float(weights[index]), product, output]
    said = [one.replace("−", "-").strip("= ") for one in page.locator(".result").all_inner_texts()]
    assert [float(one) for one in said] == pytest.approx(expected, rel=0.02)
    sums = page.locator(".steps tbody tr:last-child td:last-child").all_inner_texts()
    assert [float(one.replace("−", "-")) for one in sums] == [float(said[0]), float(said[4])]


def test_the_key_is_chosen_by_click_and_by_arrow_keys(page: Page) -> None:
    page.get_by_label("1", exact=True).uncheck()  # its cell has every position
    page.locator("summary").click()
    page.get_by_label("key", exact=True).check()
    before = page.locator(".said").inner_text()
    page.locator(RIGHT).click(position=pixel(page, 4, 4))
    assert "row 0 column 0 (dashed frame)" in page.locator(".steps > p").inner_text()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowDown")
    assert "row 0" not in page.locator(".steps > p").inner_text().partition("Key:")[2]
    page.get_by_label("value channel").select_option("7")
    assert "channel 7" in page.locator(".steps li").last.inner_text()
    page.get_by_role("button", name="Key of the largest weight").press("Enter")
    strongest = page.locator(".facts tbody th").first.inner_text()
    assert f"Key: {strongest} (dashed" in page.locator(".steps > p").inner_text()
    assert page.locator(".said").inner_text() == before  # the query has stayed where it was
    page.get_by_label("query", exact=True).check()
    page.locator(LEFT).click(position=pixel(page, 4, 4))
    assert page.locator(".said").inner_text().startswith("Row 4, column 4 ")


def test_shares_are_saved_as_they_are(page: Page, scene: Scene) -> None:
    menu(page, "beside it").select_option("shuffled")
    page.locator(LEFT).click(position=pixel(page, 60, 95))
    with page.expect_download() as download:
        page.get_by_role("button", name="Save weights as CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    found = projections_of(shipped_model("balloon_ann"), scene.image)["afnb.attention"]
    shares = [float(row["weight trained"]) for row in rows]
    np.testing.assert_allclose(shares, found.attention().row(95, 60), atol=1e-5)
    boxes = [[float(row[side]) for side in ("top", "left", "bottom", "right")] for row in rows]
    np.testing.assert_allclose(boxes, found.attention().boxes())
    assert sum(float(row["weight shuffled"]) for row in rows) == pytest.approx(1, abs=1e-4)


def test_picture_is_saved_with_both_panels(page: Page) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    with Image.open(download.value.path()) as saved:
        assert saved.width > 2 * 576 and len(saved.convert("RGB").getcolors(2**20)) > 1000


def test_page_alone_takes_no_photos(page: Page) -> None:
    assert page.locator("input[type=file]").count() == 0
