"""Pictures of every kind, and every way in which a file is none."""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from annlib.data.io import read_image, read_labels

HEIGHT, WIDTH = 5, 7
COLOURS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
GREY = COLOURS[..., 0]
ORIENTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.3, tag 0x0112
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def as_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) -> uint8 (3, H, W)"""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def over_white(pixels: np.ndarray, alpha: np.ndarray) -> Tensor:
    """The formula of transparency.  (H, W, 3), (H, W) -> float (3, H, W)"""
    share = alpha[..., None] / 255
    return torch.from_numpy(pixels * share + 255 * (1 - share)).permute(2, 0, 1)


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_colours_are_read_as_they_are(tmp_path: Path) -> None:
    pixels = COLOURS[..., :3]
    assert torch.equal(read_image(saved(tmp_path / "a.png", pixels)), as_tensor(pixels))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.png", COLOURS))
    expected = over_white(COLOURS[..., :3], COLOURS[..., 3])
    assert (image - expected).abs().max() <= 1


def test_transparent_grey_is_laid_on_white(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.png", COLOURS[..., :2]))
    expected = over_white(GREY[..., None].repeat(3, axis=2), COLOURS[..., 1])
    assert (image - expected).abs().max() <= 1


def test_transparent_colour_of_a_palette_is_white(tmp_path: Path) -> None:
    indices = GREY % 3
    image = Image.fromarray(indices)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png", transparency=1)
    colours = np.array([[10, 20, 30], [255, 255, 255], [70, 80, 90]], np.uint8)
    assert torch.equal(read_image(tmp_path / "a.png"), as_tensor(colours[indices]))


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path / "a.png", GREY))
    assert torch.equal(image, torch.from_numpy(GREY).expand(3, -1, -1))


def test_sixteen_bits_are_rounded_to_eight(tmp_path: Path) -> None:
    values = np.array([[0, 1, 128, 129], [257, 32767, 65406, 65535]], np.uint16)
    image = read_image(saved(tmp_path / "a.png", values))
    assert image[0].tolist() == [[round(int(v) * 255 / 65535) for v in row] for row in values]


def test_print_colours_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(COLOURS, "CMYK").save(tmp_path / "a.tif")
    ink = COLOURS / 255
    expected = 255 * (1 - ink[..., :3]) * (1 - ink[..., 3:])
    image = read_image(tmp_path / "a.tif").permute(1, 2, 0)
    assert np.abs(image.numpy() - expected).max() <= 1


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turned_photograph_is_read_upright(tmp_path: Path, orientation: int) -> None:
    pixels = COLOURS[..., :3]
    path = saved(tmp_path / "a.png", pixels, exif=oriented(orientation))
    assert torch.equal(read_image(path), as_tensor(ORIENTATIONS[orientation](pixels)))


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp"])
def test_every_kind_of_turned_photograph_is_read_upright(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", COLOURS[..., :3], exif=oriented(6))
    assert read_image(path).shape == (3, WIDTH, HEIGHT)


def test_sixteen_bits_are_turned_upright(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", GREY.astype(np.uint16) * 257, exif=oriented(8))
    assert torch.equal(read_image(path)[0], torch.from_numpy(np.rot90(GREY).copy()))


def test_unreadable_orientation_turns_nothing(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.webp", COLOURS[..., :3], exif=oriented(6))
    damaged = path.read_bytes().replace(b"MM\x00*", b"MM\x00G")
    path.write_bytes(damaged)
    assert read_image(path).shape == (3, HEIGHT, WIDTH)


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", COLOURS[:1, :1, :3])
    assert read_image(path).flatten().tolist() == COLOURS[0, 0, :3].tolist()


def test_brightness_without_a_scale_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", GREY.astype(np.float32) / 255)
    with pytest.raises(ValueError, match=r"a\.tif holds float32 values .* white is unknown"):
        read_image(path)


each_reader = pytest.mark.parametrize("read", [read_image, read_labels])


@each_reader
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif", "bmp"])
def test_cut_off_file_is_named(tmp_path: Path, suffix: str, read: Callable) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (40, 40), dtype=np.uint8)
    path = saved(tmp_path / f"a.{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=rf"a\.{suffix} cannot be read .*cut off"):
        read(path)


@each_reader
@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_other_file_is_named(tmp_path: Path, content: bytes, read: Callable) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        read(tmp_path / "a.png")


@each_reader
def test_missing_file_is_named(tmp_path: Path, read: Callable) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file .*a\.png"):
        read(tmp_path / "a.png")


@each_reader
def test_folder_is_no_picture(tmp_path: Path, read: Callable) -> None:
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        read(tmp_path)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


@each_reader
def test_picture_that_would_fill_the_memory_is_refused(tmp_path: Path, read: Callable) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)  # 10 GB, once decoded
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(100)))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b""))
    with pytest.raises(ValueError, match=r"a\.png cannot be read .*3600000000 pixels"):
        read(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged notes in pictures it can read
@each_reader
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "gif", "ppm"])
def test_damaged_bytes_give_a_picture_or_an_error_that_names_it(
    tmp_path: Path, suffix: str, read: Callable
) -> None:
    path = saved(tmp_path / f"a.{suffix}", COLOURS[..., :3], exif=oriented(6))
    whole, dice = path.read_bytes(), random.Random(0)
    for _ in range(80):
        damaged = bytearray(whole)
        for _ in range(dice.choice([1, 3])):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except ValueError as error:
            assert path.name in str(error)
