"""Pictures and labels on disk -> uint8 tensors, with errors that name the file."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

WHITE = (255, 255, 255)


def read_image(path: Path) -> Tensor:
    """A photograph of any kind -> uint8 (3, H, W) RGB, upright.

    Grey becomes three equal channels, 16 bits are scaled to 8, transparency is laid on white, and
    the orientation that a camera noted in the file (EXIF) is applied.
    Raises FileNotFoundError, or ValueError for a file that is no whole picture.
    """
    image = upright(open_whole(path))
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(to_8_bits(np.asarray(image), path))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def upright(image: Image.Image) -> Image.Image:
    """Turned as its camera noted; a note that cannot be read turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except SyntaxError:
        return image


def to_8_bits(pixels: np.ndarray, path: Path) -> np.ndarray:
    """Grey values of 0..65535 -> uint8 0..255"""
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError(
            f"{path} holds {pixels.dtype} values from {pixels.min()} to {pixels.max()}: neither 8 "
            "nor 16 bits, so its white is unknown. Save it as an 8-bit PNG or JPEG."
        )
    return (pixels.astype(np.float64) / 257 + 0.5).astype(np.uint8)


def read_labels(path: Path) -> Tensor:
    """One class index per pixel -> uint8 (H, W); grey and palette files hold indices.

    Raises ValueError for a coloured file: which colour is which class is not in the file.
    """
    image = open_whole(path)
    if image.mode not in ("L", "P", "1"):
        raise ValueError(
            f"{path} has mode {image.mode}, but labels hold one class index of 0..255 per pixel "
            "(8-bit grey or palette PNG). A coloured picture of the labels has to be turned into "
            "indices first."
        )
    return torch.from_numpy(np.array(image, dtype=np.uint8))


def open_whole(path: Path) -> Image.Image:
    """Opens and decodes a picture to the last byte."""
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no file {path}.") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} cannot be read as a picture ({error}). It may be cut off or of another kind: "
            "copy or download it again."
        ) from error
    return image
