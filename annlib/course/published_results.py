"""Published results of ANN and of later methods on Cityscapes and ADE20K.

Source: MMSegmentation, the tables in configs/*/README.md as they stand in public copies; ANN's rows
are those of annlib.zoo. Nothing of this was measured again here.
"""

from typing import NamedTuple

from IPython.display import Markdown

from annlib.engine.metrics import table
from annlib.zoo import NAMES


class Row(NamedTuple):
    """One row of a published table; "-" where nothing was published."""

    name: str
    backbone: str
    family: str  # how far context arrives
    miou: float  # percent, one scale
    memory_gb: str = "-"  # of training, a GPU
    frames: str = "-"  # a second, inference


def ann(name: str, backbone: str) -> Row:
    """ANN's own row, from the zoo."""
    row = NAMES[name]
    memory, frames = (f"{n:.2f}" if n else "-" for n in (row.memory_gb, row.frames_per_second))
    return Row("ANN", backbone, "fewer keys", row.miou, memory, frames)


CITYSCAPES = (  # same backbone, crop, steps, machine
    ann("ann_r50-d8_512x1024_40k_cityscapes", "R-50-D8"),
    Row("Non-local", "R-50-D8", "all pairs", 78.24, "7.40", "2.72"),
    Row("CCNet", "R-50-D8", "fewer pairs", 77.76, "6.00", "3.32"),
    Row("DeepLabV3+", "R-50-D8", "no attention", 79.61, "7.50", "3.94"),
)
ADE20K = (  # backbones, pre-training, optimisers, augmentation and machines differ
    ann("ann_r50-d8_512x512_160k_ade20k", "R-50-D8"),
    Row("CCNet", "R-50-D8", "fewer pairs", 42.08),
    Row("DeepLabV3+", "R-50-D8", "no attention", 43.95),
    Row("MaskFormer", "R-50-D32", "mask queries", 44.29),
    Row("SegFormer", "MiT-B2", "fewer keys", 45.58),
    Row("Mask2Former", "R-50-D32", "mask queries", 47.87),
    Row("UPerNet", "Swin-B, ImageNet-1K", "fewer pairs", 47.99),
    Row("SegNeXt", "MSCAN-B", "convolutions, one small head", 48.03),
)


def published(rows: tuple[Row, ...], costs: bool = True) -> Markdown:
    """The rows as a table that JupyterLab and a static page show alike.

    costs: with memory and speed; only where they were measured alike.
    """
    header = ["network", "backbone", "context by", "mIoU %"]
    cells = [[one.name, one.backbone, one.family, f"{one.miou:.2f}"] for one in rows]
    if costs:
        header += ["memory GB", "pictures a second"]
        cells = [[*cell, one.memory_gb, one.frames] for cell, one in zip(cells, rows, strict=True)]
    return Markdown(table(header, cells))
