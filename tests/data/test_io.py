"""Images and label files of every kind, damaged ones, and folders that are written whole."""

import random
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from annlib.data.io import open_labels, read_image, read_labels
from annlib.files import all_or_nothing

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


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("mark", "fourth", "refused"),
    [
        (None, range(60, 95), True),  # near-infrared
        (None, [0, 1] * 17 + [0], True),
        (None, [255] * 35, False),
        (2, range(60, 95), True),  # as GDAL marks it
        (2, [255] * 20 + [0] * 10 + [9] * 5, False),  # transparency with a soft edge
        (0, range(60, 95), False),  # marked as other than transparency
    ],
)
def test_fourth_band_of_a_tiff_is_transparency_only_where_that_is_certain(
    tmp_path: Path, mark: int | None, fourth: list[int], refused: bool, bits: int
) -> None:
    fourth = np.array(fourth, np.uint8).reshape(HEIGHT, WIDTH)
    pixels = np.dstack([COLOURS[..., :3], fourth]).astype("u1" if bits == 8 else "<u2")
    pixels *= 1 if bits == 8 else 257
    entries = {256: WIDTH, 257: HEIGHT, 258: bits, 259: 1, 262: 2, 273: 200, 277: 4, 278: HEIGHT}
    entries |= {279: pixels.nbytes} | ({} if mark is None else {338: mark})
    content = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, value in entries.items():
        number, value = (4, 190) if tag == 258 else (1, value)
        content += struct.pack("<HHII", tag, 3, number, value)
    content = content.ljust(190, b"\0") + struct.pack("<4H", *[bits] * 4)
    (tmp_path / "a.tif").write_bytes(content.ljust(200, b"\0") + pixels.tobytes())
    if refused:
        with pytest.raises(ValueError, match=r"a\.tif has 4 bands, .* near-infrared: save red"):
            read_image(tmp_path / "a.tif")
        return
    expected = as_tensor(COLOURS[..., :3]).double()
    if mark == 2:
        expected = over_white(COLOURS[..., :3], fourth)
    assert (read_image(tmp_path / "a.tif") - expected).abs().max() <= 1


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


@pytest.mark.parametrize(("largest", "kind"), [(1, "u2"), (255, "u2"), (4095, "u2"), (255, "i4")])
def test_integers_that_would_be_read_as_black_are_refused(
    tmp_path: Path, largest: int, kind: str
) -> None:
    path = saved(tmp_path / "a.tif", np.linspace(0, largest, 35).reshape(5, 7).astype(kind))
    with pytest.raises(ValueError, match=rf"values from 0 to {largest}: .*Scale them to 0\.\.255"):
        read_image(path)


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ([31744, 32768, 35839], True),  # of a CT scanner: -1024 to 3071 by 32768
        ([31744, 32768, 35840], False),
        ([30000, 30000, 30000], False),  # a grey tile
        ([63000, 65000, 65535], False),  # a white one
    ],
)
def test_values_of_a_scanner_whose_contrast_would_be_lost_are_refused(
    tmp_path: Path, values: list[int], refused: bool
) -> None:
    path = saved(tmp_path / "a.png", np.array([values], np.uint16))
    if refused:
        with pytest.raises(ValueError, match=r"values from 31744 to 35839: .*white is unknown"):
            read_image(path)
    else:
        assert read_image(path)[0, 0].tolist() == [round(value / 257) for value in values]


@pytest.mark.parametrize("values", [[0, 0, 0, 0], [0, 9, 300, 4096]])
def test_black_and_dark_images_of_16_bits_are_read(tmp_path: Path, values: list[int]) -> None:
    image = read_image(saved(tmp_path / "a.png", np.array([values], np.uint16)))
    assert image[0, 0].tolist() == [round(value / 257) for value in values]


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4), (4, 2)])  # RGB, RGBA, grey alpha
@pytest.mark.parametrize("bits", [12, 16])
def test_colours_of_12_bits_in_16_are_refused_and_of_16_are_read(
    tmp_path: Path, bits: int, kind: int, channels: int
) -> None:
    numbers = np.random.default_rng(0).integers(0, 2**bits, (HEIGHT, WIDTH, channels), np.uint16)
    numbers[..., 3 if channels == 4 else 1 if channels == 2 else 3 :] = 65535
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)
    if bits == 12:
        with pytest.raises(ValueError, match=r"16-bit values from 0 to 3\d+: .*white is unknown"):
            read_image(tmp_path / "a.png")
        return
    expected = numbers[..., : min(channels - (channels != 3), 3)] / 257
    image = read_image(tmp_path / "a.png").permute(1, 2, 0).numpy()
    assert np.abs(image - expected).max() <= 1


def float_tiff(path: Path) -> Path:
    """One RGB pixel of three float32 numbers (TIFF 6.0), a kind that Pillow does not know."""
    entries = {256: 1, 257: 1, 258: 32, 259: 1, 262: 2, 273: 126, 277: 3, 278: 1, 279: 12, 339: 3}
    content = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, value in entries.items():
        content += struct.pack("<HHII", tag, 4, 1, value)
    path.write_bytes(content.ljust(126, b"\0") + struct.pack("<3f", 0.1, 0.2, 0.3))
    return path


def test_tiff_of_numbers_that_cannot_be_read_is_not_called_cut_off(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="number type cannot be read: save it as 8-bit RGB PNG"):
        read_image(float_tiff(tmp_path / "a.tif"))


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
@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
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
    with pytest.raises(ValueError, match="cannot be read as an image"):
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
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(dice.choice([1, 3])):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except ValueError as error:
            assert path.name in str(error)


@each_reader
def test_image_that_is_too_large_is_not_called_cut_off(
    tmp_path: Path, read: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"35 pixels.*Cut it into tiles") as error:
        read(saved(tmp_path / "a.png", GREY))
    assert "cut off" not in str(error.value)


@each_reader
def test_photo_of_a_phone_under_another_name_is_recognised(tmp_path: Path, read: Callable) -> None:
    content = struct.pack(">I8s4xI", 24, b"ftypheic", 0) + b"mif1heic" + bytes(300)
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a\.jpg cannot be read .* HEIC: save it as JPEG"
    ) as error:
        read(tmp_path / "a.jpg")
    assert "cut off" not in str(error.value)


# Label files: one class index per pixel

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


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_with_an_alpha_channel_is_read_where_all_of_it_is_opaque(
    tmp_path: Path, bits: int
) -> None:
    pairs = np.stack([INDICES, np.full_like(INDICES, 255)], -1)
    path = saved(tmp_path / "a.png", pairs)
    assert read_labels(path).tolist() == INDICES.tolist()
    pairs[0, 0, 1] = 0
    saved(path, pairs)
    if bits == 16:  # Pillow reads only the high bytes, which are 0
        head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 4, 0, 0, 0))
        body = png_chunk(b"IDAT", zlib.compress(bytes([0, 0, 2, 255, 255])))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body + png_chunk(b"IEND", b""))
    with pytest.raises(ValueError, match=r"a\.png has mode LA, .* without an alpha channel"):
        read_labels(path)


@pytest.mark.parametrize("white", [0, 1])  # 0: the file says that zero is white
@pytest.mark.parametrize(
    ("bits", "width", "values"),
    [(1, 8, [0, 0, 0, 1, 1, 0, 1, 1]), (2, 4, [0, 1, 2, 3]), (8, 1, [27])],
)
def test_tiff_of_any_bits_is_read_as_the_values_in_the_file(
    tmp_path: Path, bits: int, width: int, values: list[int], white: int
) -> None:
    entries = {256: width, 257: 1, 258: bits, 259: 1, 262: white}
    entries |= {273: 122, 277: 1, 278: 1, 279: 1}
    content = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, value in entries.items():
        content += struct.pack("<HHII", tag, 4, 1, value)
    (tmp_path / "a.tif").write_bytes(content.ljust(122, b"\0") + bytes([0b00011011]))
    assert read_labels(tmp_path / "a.tif").tolist() == [values]


def grey_png(values: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2, 4 or 8 bits, put together as its specification says."""
    height, width = values.shape
    rows = b""
    for row in values:
        digits = "".join(f"{value:0{bits}b}" for value in row)
        digits += "0" * (-len(digits) % 8)
        rows += bytes([0, *(int(digits[i : i + 8], 2) for i in range(0, len(digits), 8))])

    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


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
    with pytest.raises(ValueError, match=rf"a\.png is compressed as {kind}, .*again as PNG"):
        read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("options", [{}, {"exif": oriented(1)}])
def test_webp_without_loss_is_not_called_lossy(tmp_path: Path, options: dict) -> None:
    path = saved(tmp_path / "a.webp", np.tile(INDICES, (20, 20)), lossless=True, **options)
    with pytest.raises(ValueError, match=r"a\.webp has mode RGB, .* `annlib data convert` reads"):
        read_labels(path)
    assert np.array_equal(open_labels(path)[1][..., 0], np.tile(INDICES, (20, 20)))


@pytest.mark.parametrize("second", [255, 254])
def test_a_bmp_of_two_colours_that_pillow_misreads_is_refused(tmp_path: Path, second: int) -> None:
    image = Image.fromarray(INDICES % 2)
    image.putpalette([0, 0, 0, second, second, second])
    image.save(tmp_path / "a.bmp")
    if second == 255:  # Pillow 13 takes the bytes for bits
        for read in (read_labels, read_image):
            with pytest.raises(ValueError, match=r"a\.bmp: Pillow misreads BMP .* Save it as PNG"):
                read(tmp_path / "a.bmp")
    else:
        assert read_labels(tmp_path / "a.bmp").tolist() == (INDICES % 2).tolist()


def test_a_bmp_of_one_bit_is_read(tmp_path: Path) -> None:
    Image.fromarray(INDICES > 2).save(tmp_path / "a.bmp")
    assert read_labels(tmp_path / "a.bmp").tolist() == (INDICES > 2).tolist()


@pytest.mark.parametrize("suffix", ["png", "tif", "gif"])
def test_label_file_of_several_images_is_refused(tmp_path: Path, suffix: str) -> None:
    others = [Image.fromarray(np.full_like(INDICES, value)) for value in (4, 5)]
    path = tmp_path / f"a.{suffix}"
    saved(path, INDICES, save_all=True, append_images=others)
    with pytest.raises(ValueError, match=rf"a\.{suffix} holds 3 images, but labels are one"):
        read_labels(path)


def test_label_file_with_a_preview_is_read(tmp_path: Path) -> None:
    preview = [Image.fromarray(INDICES[:1, :1])]
    path = saved(tmp_path / "a.tif", INDICES, save_all=True, append_images=preview)
    assert read_labels(path).tolist() == INDICES.tolist()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("palette", [None, [255 - i // 3 for i in range(768)]])
def test_labels_are_turned_as_the_image_whose_exif_they_have(
    tmp_path: Path, orientation: int, palette: list[int] | None
) -> None:
    image = Image.fromarray(INDICES)
    if palette:
        image.putpalette(palette)
    image.save(tmp_path / "a.png", exif=oriented(orientation))
    expected = ORIENTATIONS[orientation](INDICES)
    assert read_labels(tmp_path / "a.png").tolist() == expected.tolist()
    path = saved(
        tmp_path / "b.png", np.repeat(INDICES[..., None], 3, 2), exif=oriented(orientation)
    )
    assert read_image(path)[0].tolist() == expected.tolist()


# Labels of SBD, which are MATLAB files

VALUES = np.random.default_rng(0).integers(0, 21, (5, 7), np.uint8)


def write_mat(path: Path, **content: object) -> Path:
    pytest.importorskip("scipy").io.savemat(path, content)
    return path


def test_segmentation_of_sbd_is_read(tmp_path: Path) -> None:
    fields = {"Boundaries": np.zeros((20, 1)), "Segmentation": VALUES, "CategoriesPresent": [1, 2]}
    assert read_labels(write_mat(tmp_path / "a.mat", GTcls=fields)).tolist() == VALUES.tolist()


def test_matlab_file_of_another_kind_is_told(tmp_path: Path) -> None:
    path = write_mat(tmp_path / "a.mat", GTinst={"Segmentation": VALUES})
    with pytest.raises(ValueError, match=r"a\.mat cannot be read as labels of SBD \('GTcls'\)"):
        read_labels(path)


@pytest.mark.parametrize("length", [0, 100, 200, 300])
def test_matlab_file_that_is_cut_off_is_told(tmp_path: Path, length: int) -> None:
    path = write_mat(tmp_path / "a.mat", GTcls={"Segmentation": VALUES})
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"a\.mat cannot be read .*unpack benchmark\.tgz again"):
        read_labels(path)


def test_missing_matlab_file_is_told(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*a\.mat"):
        read_labels(tmp_path / "a.mat")


def test_missing_scipy_is_told_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ValueError, match=r"a\.mat: .*scipy.* installed: pip install -e '\.\["):
        read_labels(tmp_path / "a.mat")


# Folders


@pytest.mark.parametrize("exists", [False, True])
def test_folder_appears_when_it_is_whole(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "a" / "b"
    if exists:
        target.mkdir(parents=True)
    with all_or_nothing(target) as folder:
        (folder / "c.txt").write_text("c")
        assert not (target / "c.txt").exists()
    assert (target / "c.txt").read_text() == "c"
    assert [path.name for path in target.parent.iterdir()] == ["b"]


def test_folder_does_not_appear_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError), all_or_nothing(tmp_path / "a") as folder:
        (folder / "c.txt").write_text("c")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []
