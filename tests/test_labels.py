"""Label files: one class index per pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annlib.data.files import read_labels

INDICES = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)


def test_grey_values_are_class_indices(tmp_path: Path) -> None:
    Image.fromarray(INDICES).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == INDICES.tolist()


def test_palette_indices_are_class_indices(tmp_path: Path) -> None:
    image = Image.fromarray(INDICES)
    image.putpalette([255 - i // 3 for i in range(768)])
    image.save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == INDICES.tolist()


def test_palette_with_a_transparent_colour_keeps_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(INDICES)
    image.putpalette([0] * 768)
    image.save(tmp_path / "a.png", transparency=0)
    assert read_labels(tmp_path / "a.png").tolist() == INDICES.tolist()


def test_black_and_white_are_classes_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(INDICES > 2).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16", "F", "CMYK"])
def test_other_kinds_are_refused_with_their_mode(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif has mode {mode}, but labels hold one class"):
        read_labels(tmp_path / "a.tif")
