"""A published row with the smallest network, for tests that do not depend on its size."""

from dataclasses import replace

from tiny import TINY

from annlib.published_experiments import Published, published

CITYSCAPES = "ann_r50-d8_512x1024_40k_cityscapes"
CITYSCAPES_769 = "ann_r50-d8_769x769_40k_cityscapes"
ADE20K = "ann_r50-d8_512x512_80k_ade20k"
VOC12AUG = "ann_r50-d8_512x512_20k_voc12aug"
SHRINK = 16  # of all sides: crops of 32 x 64, pictures of 64 x 128


def tiny_row(name: str = CITYSCAPES) -> Published:
    """Data, recipe, way of testing and published numbers of the row of that name."""
    row = published(name)
    ours = row.experiment.model
    model = replace(TINY, num_classes=ours.num_classes, align_corners=ours.align_corners)
    return replace(row, experiment=replace(row.experiment, model=model))


def narrow_row(name: str = CITYSCAPES) -> Published:
    """The same with a network of the published depth and few channels, for the reference's sake."""
    row = published(name)
    widths = {"width": 8, "hidden_channels": 16, "key_channels": 6, "value_channels": 6}
    model = replace(row.experiment.model, aux_channels=4, pool_scales=(1, 2, 3), **widths)
    return replace(row, experiment=replace(row.experiment, model=model))
