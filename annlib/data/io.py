"""Reads images, labels and text files from disk; errors name the file."""

import codecs
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

WHITE = (255, 255, 255)
LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")  # Pillow's names of formats


def read_image(path: Path) -> Tensor:
    """An image of any format -> uint8 (3, H, W) RGB, upright.

    Grey becomes three equal channels, 16 bits are scaled to 8, transparency is laid on white, and
    the orientation that a camera stored in the file (EXIF) is applied.
    Raises FileNotFoundError, or ValueError for a file that cannot be decoded to its end.
    """
    image = open_whole(path)
    with suppress(SyntaxError):  # an orientation that cannot be read is none
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(image)
        if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError(
                f"{path} holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}: "
                "neither 8 nor 16 bits, so its white is unknown. Save it as an 8-bit PNG or JPEG."
            )
        image = Image.fromarray((pixels.astype(np.float64) / 257 + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def read_labels(path: Path) -> Tensor:
    """One value per pixel -> uint8 (H, W): grey or palette images, and the .mat files of SBD.

    The values are those in the file at every bit depth; a PNG of 2 bits holds 0 to 3.
    Raises ValueError for a coloured file: which colour is which class is not in the file. Raises it
    for a lossy format, too, whatever the name of the file: compression changes the indices.
    """
    if path.suffix == ".mat":
        return read_sbd(path)
    image = open_whole(path)
    if image.format in LOSSY or image.info.get("compression") in ("jpeg", "webp"):
        raise ValueError(
            f"{path} is compressed as {image.format}, which changes label values, most of all at "
            "borders. Make the label file again from its source as PNG; a converted copy of this "
            "file keeps the wrong values."
        )
    if image.mode not in ("L", "P", "1"):
        raise ValueError(
            f"{path} has mode {image.mode}, but labels hold one class index of 0..255 per pixel "
            "(8-bit grey or palette PNG). Coloured labels have to be converted to indices first."
        )
    values = np.array(image, dtype=np.uint8)
    if image.format == "PNG" and image.mode == "L":
        with path.open("rb") as file:
            bits = file.read(25)[24]  # behind the signature, the first chunk's head and the size
        values //= 255 // (2**bits - 1)  # Pillow stretches 2 and 4 bits to 0..255
    return torch.from_numpy(values)


def open_whole(path: Path) -> Image.Image:
    """Opens and decodes an image to the last byte."""
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} cannot be read as an image ({error}). It may be cut off or of another kind: "
            "copy or download it again."
        ) from error
    return image


def need_scipy(what: object) -> ModuleType:
    """scipy.io, which reads and writes the labels of SBD. Raises ValueError where it is missing."""
    try:
        from scipy import io
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{what}: the labels of SBD are MATLAB files, and scipy, which reads them, is not "
            "installed: pip install -e '.[data]'"
        ) from error
    return io


def read_sbd(path: Path) -> Tensor:
    """The class labels of SBD, a MATLAB file -> uint8 (H, W)"""
    loadmat = need_scipy(path).loadmat
    try:
        with path.open("rb") as file:
            pixels = loadmat(file)["GTcls"]["Segmentation"][0, 0]
        return torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.uint8))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    except Exception as error:  # scipy's errors for damaged files have no common name
        raise ValueError(
            f"{path} cannot be read as labels of SBD ({error}). It may be cut off or of another "
            "kind: unpack benchmark.tgz again."
        ) from error


def read_text(path: Path) -> str:
    """A text file in UTF-8, or in UTF-16 with its mark; line ends are those of the file.

    Raises ValueError with line and byte for another encoding.
    """
    content = path.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    place, reason = content.find(b"\0"), "a zero byte"
    try:
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        place, reason = error.start, error.reason
    else:
        if marked or place < 0:
            return text
    line = content.count(b"\n", 0, place) + 1
    raise ValueError(
        f"{path}, line {line}, byte {place}: {reason} (0x{content[place]:02x}). It is not UTF-8: "
        "save it as UTF-8."
    )


def read_lines(path: Path) -> list[str]:
    return read_text(path).splitlines()


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `folder` when all of it is written, or never.

    Raises FileExistsError when there is a folder of that name already, and something in it.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} is not an empty folder, and what is to be written would mix with what is in "
            "it: name a new folder, or empty this one."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        partial = Path(temporary) / folder.name
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.rmdir()  # empty: some systems rename onto nothing only
        partial.rename(folder)
