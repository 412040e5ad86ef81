"""Pictures beside their coloured labels on one sheet, with captions and a legend of the colours."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.data.classes import DatasetSpec

THUMBNAIL = (300, 200)  # largest width and height of a picture on the sheet
MARGIN, LINE = 12, 20  # between cells, and of a line of text, in pixels
PAIRS_ACROSS, LEGEND_ACROSS, LEGEND_WIDTH = 2, 7, 180
PAPER, INK, GREY = (255, 255, 255), (20, 20, 20), (110, 110, 110)
IGNORED = (224, 224, 192)  # as VOC draws it; black is its background


class Labelled(NamedTuple):
    """image uint8 (3, H, W), labels uint8 (H, W) class indices"""

    caption: str
    image: Tensor
    labels: Tensor


def contact_sheet(title: str, samples: Sequence[Labelled], spec: DatasetSpec) -> Image.Image:
    """Two pairs in a row, picture left and labels right; below, the classes that occur."""
    cells = [draw_pair(sample, spec) for sample in samples]
    legend = draw_legend(samples, spec)
    width, height = (max(cell.size[side] for cell in cells) for side in (0, 1))
    rows = -(-len(cells) // PAIRS_ACROSS)
    sheet_width = MARGIN + max(PAIRS_ACROSS * (width + MARGIN), legend.width)
    top = 2 * LINE + rows * (height + MARGIN)
    sheet = Image.new("RGB", (sheet_width, top + legend.height + MARGIN), PAPER)
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN // 2), title, INK, ImageFont.load_default(18))
    for index, cell in enumerate(cells):
        row, column = divmod(index, PAIRS_ACROSS)
        sheet.paste(cell, (MARGIN + column * (width + MARGIN), 2 * LINE + row * (height + MARGIN)))
    sheet.paste(legend, (MARGIN, top))
    return sheet


def draw_pair(sample: Labelled, spec: DatasetSpec) -> Image.Image:
    """Caption with the size, and below it the picture and its labels, side by side."""
    height, width = sample.labels.shape
    colours = spec.colour_table()
    colours[IGNORE_INDEX] = torch.tensor(IGNORED)
    image = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
    labels = Image.fromarray(colours[sample.labels.int()].numpy())
    image.thumbnail(THUMBNAIL, Image.Resampling.BILINEAR)
    labels.thumbnail(THUMBNAIL, Image.Resampling.NEAREST)
    cell = Image.new("RGB", (2 * THUMBNAIL[0] + MARGIN, LINE + image.height), PAPER)
    caption = f"{sample.caption}  ({height} x {width})"
    ImageDraw.Draw(cell).text((0, 0), caption, GREY, ImageFont.load_default(13))
    cell.paste(image, (0, LINE))
    cell.paste(labels, (THUMBNAIL[0] + MARGIN, LINE))
    return cell


def draw_legend(samples: Sequence[Labelled], spec: DatasetSpec) -> Image.Image:
    """Name and colour of every class on the sheet, and of pixels that do not count."""
    classes = dict(enumerate(zip(spec.class_names, spec.palette, strict=True)))
    classes[IGNORE_INDEX] = ("(ignored)", IGNORED)
    seen = sorted({int(value) for sample in samples for value in torch.unique(sample.labels)})
    lines = -(-len(seen) // LEGEND_ACROSS)
    legend = Image.new("RGB", (LEGEND_ACROSS * LEGEND_WIDTH, lines * LINE), PAPER)
    draw = ImageDraw.Draw(legend)
    for place, value in enumerate(seen):
        name, colour = classes[value]
        row, column = divmod(place, LEGEND_ACROSS)
        x, y = column * LEGEND_WIDTH, row * LINE
        draw.rectangle((x, y + 2, x + 24, y + LINE - 4), colour, outline=GREY)
        draw.text((x + 30, y), name, INK, ImageFont.load_default(14))
    return legend
