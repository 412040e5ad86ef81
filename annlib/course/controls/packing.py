"""Subjects and views as one blob of bytes with a description, as the browser takes them.

float32 and uint8, each piece at a multiple of four bytes, so that the browser reads it in place.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps

from annlib.course.drawing import BLOCK_COLOURS
from annlib.course.views import Subject, View, Views

Piece = tuple[int, int]  # offset and length in bytes
COLOURS = "cividis"  # of all maps of shares


class Packer:
    """Collects arrays; `bytes()` is the blob, what `add` returned says where each one lies."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0

    def add(self, array: np.ndarray, dtype: type) -> Piece:
        part = np.ascontiguousarray(array, dtype).tobytes()
        place = self.length, len(part)
        self.parts.append(part + bytes(-len(part) % 4))
        self.length += len(self.parts[-1])
        return place

    def bytes(self) -> bytes:
        return b"".join(self.parts)


def pack(
    subjects: Mapping[str, Subject], views: Mapping[str, Views]
) -> tuple[dict[str, object], bytes]:
    """Everything that the explorer shows.  views: name of a subject -> its views

    Raises ValueError for projections of another picture than their subject's.
    """
    packer = Packer()
    spec = {
        "colours": packer.add(255 * colormaps[COLOURS](np.arange(256))[:, :3] + 0.5, np.uint8),
        "pictures": [pack_subject(packer, name, one) for name, one in subjects.items()],
        "views": [
            {"picture": picture, "network": network, "block": block}
            | pack_view(packer, view, subjects[picture])
            for picture, networks in views.items()
            for network, blocks in networks.items()
            for block, view in blocks.items()
        ],
    }
    return spec, packer.bytes()


def pack_subject(packer: Packer, name: str, subject: Subject) -> dict[str, object]:
    height, width = subject.image.shape[:2]
    return {
        "name": name,
        "height": height,
        "width": width,
        "pixels": packer.add(subject.image, np.uint8),
        "labels": None if subject.labels is None else packer.add(subject.labels, np.uint8),
        "names": list(subject.class_names),
    }


def pack_view(packer: Packer, view: View, subject: Subject) -> dict[str, object]:
    found = view.projections
    if found.image_size != subject.image.shape[:2]:
        raise ValueError(
            f"The projections are of a picture of {found.image_size}, but this one has "
            f"{subject.image.shape[:2]}: a pixel that is clicked would ask for another place."
        )
    scales = found.pool_scales
    packed = {
        "rows": found.map_size[0],
        "columns": found.map_size[1],
        "levels": None if scales is None else list(scales),
        "channels": found.queries.shape[1],
        "queries": packer.add(found.queries.numpy(), np.float32),
        "keys": packer.add(found.keys.numpy(), np.float32),
        "colour": BLOCK_COLOURS[view.block],
        "asking": None,
    }
    if view.asking is not None:
        packed["asking"] = packer.add(view.asking.strength, np.float32)
        packed |= {"asks": view.asking.asks, "answers": view.asking.answers}
    return packed
