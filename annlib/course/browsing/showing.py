"""What a widget shows: its pictures as pixels, its words, and whether they changed."""

import base64
import io

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as Overdue

PATIENCE = 20_000  # milliseconds for a change; the goal is 300, but a loaded machine is no defect

# The pictures of an area as addresses that hold their bytes, or null while one is being drawn.
SHOWING = """
window.annlibPictures = area => {
    const images = [...area.querySelectorAll('img')].filter(image => image.offsetParent);
    if (images.some(image => !image.complete || !image.naturalWidth)) return null;
    const canvases = [...area.querySelectorAll('canvas')].filter(canvas => canvas.offsetParent);
    return [...images.map(image => image.src), ...canvases.map(canvas => canvas.toDataURL())];
};
window.annlibWords = area => area.innerText.replace(/\\s+/g, ' ');
"""
CHANGED = """([area, before, words]) => {
    const pictures = window.annlibPictures(area);
    if (before.length === 0) return window.annlibWords(area) !== words;
    return pictures !== null && pictures.length > 0
        && pictures.some((picture, at) => picture !== before[at]);
}"""


class Shown:
    """Pictures and words of a widget, as they were when this was made."""

    def __init__(self, widget: Locator) -> None:
        self.area = widget.element_handle()
        self.addresses: list[str] = widget.page.wait_for_function(
            "area => window.annlibPictures(area)", arg=self.area
        ).json_value()
        self.words: str = self.area.evaluate("area => window.annlibWords(area)")

    def wait_for_change(self, page: Page) -> None:
        """Until another picture is there; of a widget without pictures, until other words are.

        Raises TimeoutError.
        """
        try:
            page.wait_for_function(
                CHANGED, arg=[self.area, self.addresses, self.words], timeout=PATIENCE
            )
        except Overdue as error:
            raise TimeoutError(
                f"Nothing that the widget shows has changed within {PATIENCE / 1000:.0f} s after "
                f"its control was moved. Its words still are: {self.words[:300]!r}"
            ) from error

    def pixels(self) -> list[np.ndarray]:
        """Its pictures.  uint8 (H, W, 3) each"""
        files = [base64.b64decode(one.partition(",")[2]) for one in self.addresses]
        return [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in files]


def differs(one: Shown, other: Shown) -> bool:
    """Whether pixels differ; of a widget without pictures, whether words do."""
    before, after = one.pixels(), other.pixels()
    if not before and not after:
        return one.words != other.words
    return len(before) != len(after) or any(
        a.shape != b.shape or bool((a != b).any()) for a, b in zip(before, after, strict=True)
    )
