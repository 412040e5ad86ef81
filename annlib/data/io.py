"""Reads images, labels and text files from disk, errors name the file; normalises images."""

import codecs
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError
from torch import Tensor

from annlib.files import first_bytes, need, what_came_instead

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]  # RGB, 0-255
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")  # Pillow's names of formats


def read_image(path: Path, content: bytes | None = None) -> Tensor:
    """An image of any format -> uint8 (3, H, W) RGB, upright.  content: of a file not on disk

    Grey becomes three equal channels, 16 bits are scaled to 8, transparency is laid on white, and a
    camera's orientation (EXIF) is applied. Raises ValueError for a file that cannot be decoded.
    """
    image = open_whole(path, content)
    halved = image.mode[:3] == "RGB" and bits_of(image, content or first_bytes(path)) == 16
    if halved or image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image.convert("RGB") if halved else image)
        scale, kind = (256, "16-bit") if halved else (1, pixels.dtype)  # Pillow keeps high bytes
        low, high = pixels.min().item() * scale, pixels.max().item() * scale
        is_flat = not halved and 0 < high - low < 4096 and high < 61440  # as of a scanner
        if pixels.dtype.kind == "f" or low < 0 or high > 65535 or 0 < high < 4096 or is_flat:
            said = f"{path} holds {kind} values from {low} to {high}: neither 8 nor full 16 bits,"
            raise ValueError(f"{said} so its white is unknown. Scale them to 0..255 (8-bit PNG).")
        if not halved:
            image = Image.fromarray((pixels.astype(np.float64) / 257 + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def normalise(image: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) RGB 0-255 (or numbers of 0..255) -> float32, mean 0 and deviation 1."""
    if image.dtype != torch.uint8:
        check_range(image)
    return (image - MEAN).div_(STD)


def check_range(image: Tensor) -> None:
    """Raises ValueError for bool, NaN, and values that are not 0..255, such as floats of 0..1."""
    if image.dtype == torch.bool:
        raise ValueError("The image is bool: give pixels of 0..255, for example 255 * image.")
    low, high = map(float, image.detach().float().aminmax()) if image.numel() else (0, 0)
    held = f"The image holds {image.dtype} values from {low:g} to {high:g}"
    if not low <= high:  # aminmax of NaN is NaN
        raise ValueError("The image holds NaN, but pixels are 0..255: see torch.nan_to_num.")
    if low < 0 or high > 255:
        raise ValueError(f"{held}, but pixels are 0..255: give them as read, not yet normalised.")
    if image.is_floating_point() and 0 < high <= 1:
        raise ValueError(f"{held}, which looks like 0..1: give uint8 pixels, or 255 * image.")


def read_labels(path: Path) -> Tensor:
    """The values of `read_label_file`."""
    return read_label_file(path)[0]


def read_label_file(path: Path) -> tuple[Tensor, list[int]]:
    """One value per pixel -> uint8 (H, W), and the palette (red, green, blue, red, ...), if any.

    Grey or palette images, as stored at every bit depth (2 bits: 0 to 3), and SBD's .mat files.
    Raises ValueError for a coloured file, and for a lossy format, whatever the name of the file.
    """
    if path.suffix == ".mat":
        return read_sbd(path), []
    image, values = open_labels(path)
    if image.mode not in ("L", "P", "1"):
        said = f"{path} has mode {image.mode}, but labels hold one class index of 0..255 per pixel"
        raise ValueError(f"{said} (8-bit grey or palette). `annlib data convert` reads others.")
    return torch.from_numpy(values.astype(np.uint8)), image.getpalette() or []


def check_order(path: Path, palette: list[int], values: np.ndarray, seen: dict) -> None:
    """Raises ValueError if a colour has another value than in `seen`, colour -> value; fills it."""
    present = np.bincount(values.ravel()).nonzero()[0].tolist()
    drawn = {tuple(palette[3 * value : 3 * value + 3]): value for value in present}
    drawn = drawn if len(drawn) == len(present) else {}  # not where colours stand for nothing
    if odd := [colour for colour, v in drawn.items() if seen.setdefault(colour, v) != v]:
        said = f"{path} draws {odd[0]} by the value {drawn[odd[0]]}, other files by {seen[odd[0]]}:"
        raise ValueError(f"{said} `annlib data convert`, with a list of colours, goes by colours.")


def open_labels(path: Path) -> tuple[Image.Image, np.ndarray]:
    """A label image and its values as in the file, upright; ValueError for a lossy format."""
    image, pages = open_whole(path), []
    with Image.open(path) as file, suppress(Exception):  # of damaged pages behind the first
        pages.extend(page.size for page in ImageSequence.Iterator(file))
    if (same := pages.count(pages[0])) > 1:  # smaller ones are previews
        said = "save the one with a class index per pixel alone, as PNG."
        raise ValueError(f"{path} holds {same} images, but labels are one: {said}")
    start, kind = first_bytes(path), image.mode
    is_lossy = image.format in LOSSY and b"VP8L" not in start  # a WebP without loss
    if is_lossy or image.info.get("compression") in ("jpeg", "webp"):
        said = f"{path} is compressed as {image.format}, which changes label values. Make it again"
        raise ValueError(f"{said} as PNG from its source: a copy of it keeps wrong values.")
    bits = bits_of(image, start)
    if image.format == "PNG" and start[25] == 4:
        kind = "LA"  # Pillow says RGBA for LA of 16 bits
    if kind == "LA":
        if bits != 8 or image.getchannel("A").getextrema() != (255, 255):
            said = "has mode LA, but labels hold one class index: save it without an alpha channel."
            raise ValueError(f"{path} {said}")
        image = image.getchannel("L")
    values = np.array(image)
    if kind in ("L", "1") and getattr(image, "tag_v2", {}).get(262) == 0:
        values = ~values  # Pillow has inverted it, for its zero is white
    if image.mode == "L" and bits < 8:
        values //= 255 // (2**bits - 1)  # Pillow stretches 2 and 4 bits to 0..255
    return image, values


def bits_of(image: Image.Image, start: bytes) -> int:
    """Bits of a channel in a file that begins with `start`: of a PNG behind its size, of a TIFF."""
    return start[24] if image.format == "PNG" else getattr(image, "tag_v2", {}).get(258, (8,))[0]


def open_whole(path: Path, content: bytes | None = None) -> Image.Image:
    """Opens and decodes an image to the last byte, and turns it as its EXIF says."""
    try:
        with Image.open(path if content is None else BytesIO(content)) as image:
            image.load()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        start = content or first_bytes(path)
        remedy = " It may be cut off or of another kind: copy or download it again."
        if isinstance(error, UnidentifiedImageError) and start[:2] in (b"II", b"MM"):
            remedy = " A TIFF whose bands or number type cannot be read: save it as 8-bit RGB PNG."
        if isinstance(error, Image.DecompressionBombError):
            remedy = " Cut it into tiles, or make it smaller."
        remedy = what_came_instead(start) or remedy
        raise ValueError(f"{path} cannot be read as an image ({error}).{remedy}") from error
    if image.format == "BMP" and image.mode == "1" and (content or first_bytes(path))[28] != 1:
        raise ValueError(f"{path}: Pillow misreads BMP of two colours in 8 bits. Save it as PNG.")
    if image.format == "TIFF" and image.mode == "RGBA":  # near-infrared covers all of the image
        alpha = image.getchannel("A").histogram()
        if sum(alpha[1:255]) > (sum(alpha) // 2 if 338 in image.tag_v2 else 0):
            said = "has 4 bands, and the fourth may be transparency or near-infrared"
            raise ValueError(f"{path} {said}: save red, green and blue alone as 8-bit RGB PNG.")
    with suppress(SyntaxError):  # an orientation that cannot be read is none
        ImageOps.exif_transpose(image, in_place=True)
    return image


def need_scipy(what: object) -> ModuleType:
    """scipy.io, which reads and writes the labels of SBD. Raises ValueError where it is missing."""
    said = f"{what}: the labels of SBD are MATLAB files, and scipy, which reads them,"
    return need("scipy", said, "pip install -e '.[data]'").io


def read_sbd(path: Path) -> Tensor:
    """The class labels of SBD, a MATLAB file -> uint8 (H, W)"""
    loadmat = need_scipy(path).loadmat
    try:
        pixels = loadmat(BytesIO(path.read_bytes()))["GTcls"]["Segmentation"][0, 0]
        return torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.uint8))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    except Exception as error:  # scipy's errors for damaged files have no common name
        said = f"{path} cannot be read as labels of SBD ({error}): unpack benchmark.tgz again."
        raise ValueError(said) from error


def read_text(path: Path, content: bytes | None = None) -> str:
    """A text in UTF-8, or UTF-16 with its mark, line ends as they are; else ValueError."""
    content = path.read_bytes() if content is None else content
    if instead := what_came_instead(content[:300]):
        raise ValueError(f"{path} cannot be read.{instead}")
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if marked else "utf-8-sig")
        if marked or b"\0" not in content:
            return text
        place, reason = content.index(b"\0"), "a zero byte"
    except UnicodeDecodeError as error:
        place, reason = error.start, error.reason
    line = content.count(b"\n", 0, place) + 1
    said = f"{path}, line {line}, byte {place}: {reason} (0x{content[place]:02x})"
    raise ValueError(f"{said}: save it as UTF-8.")
