"""Label files: one class index per pixel."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annlib.data.io import read_labels

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


def grey_png(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2, 4 or 8 bits, put together as its specification says."""
    height, width = values.shape
    rows = b""
    for row in values:
        digits = "".join(f"{value:0{bits}b}" for value in row)
        digits += "0" * (-len(digits) % 8)
        rows += bytes([0, *(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))])

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_png_of_any_bit_depth_is_read_as_the_values_in_the_file(
    tmp_path: Path, bits: int
) -> None:
    values = np.arange(2 * 3 * 2**bits).reshape(6, -1) % 2**bits
    (tmp_path / "a.png").write_bytes(grey_png(values, bits))
    assert read_labels(tmp_path / "a.png").tolist() == values.tolist()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palette_png_of_few_bits_keeps_its_indices(tmp_path: Path, bits: int) -> None:
    values = (np.arange(60).reshape(6, 10) % 2**bits).astype(np.uint8)
    image = Image.fromarray(values)
    image.putpalette([255 - i // 3 for i in range(768)])
    image.save(tmp_path / "a.png", bits=bits)
    assert (tmp_path / "a.png").read_bytes()[24] == bits
    assert read_labels(tmp_path / "a.png").tolist() == values.tolist()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG2000", {}), ("WEBP", {}), ("TIFF", {"compression": "jpeg"})],
)
def test_lossy_formats_are_refused_by_their_content(
    tmp_path: Path, kind: str, options: dict[str, str]
) -> None:
    Image.fromarray(np.tile(INDICES, (20, 20))).save(tmp_path / "a.png", kind, **options)
    with pytest.raises(ValueError, match=rf"a\.png is compressed as {kind}, .*again .* as PNG"):
        read_labels(tmp_path / "a.png")
