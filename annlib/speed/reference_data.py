"""MMSegmentation's own preparation of training data for a published row, cut into stages."""

import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from annlib.config import DataConfig
from annlib.data.datasets import SegmentationFolder
from annlib.speed.data_race import COLOURS, CUT, DECODE, FLIP, TENSORS, Stages
from annlib.speed.reference import import_reference
from annlib.zoo import Published, published

STAGE_OF = {  # its transforms
    "LoadImageFromFile": DECODE,
    "LoadAnnotations": DECODE,
    "RandomResize": CUT,
    "RandomCrop": CUT,
    "RandomFlip": FLIP,
    "PhotoMetricDistortion": COLOURS,
    "Pad": TENSORS,
    "PackSegInputs": TENSORS,
}
Sample = dict[str, Any]


def reference_stages(row: Published, dataset: SegmentationFolder) -> Stages:
    """From the index of a sample to what its network takes, as its configuration file says.

    It normalises and pads a whole batch on the device that trains; here this counts for one
    picture on the CPU. OpenCV, which does most of the rest, gets one thread.
    """
    import_reference()
    import cv2
    import mmseg
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS, TRANSFORMS

    cv2.setNumThreads(1)
    path = Path(mmseg.__file__).parent / ".mim/configs/ann" / f"{published(row.name).name_1x}.py"
    data = row.experiment.data
    steps: dict[str, list[Callable[[Any], Any]]] = {name: [] for name in STAGE_OF.values()}
    steps[DECODE].append(lambda index: sample(dataset, index))
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")
        config = Config.fromfile(path)
        for settings in config.train_pipeline:
            transform = TRANSFORMS.build(settings | in_its_words(settings["type"], data))
            steps[STAGE_OF[settings["type"]]].append(transform)
        sizes = {"size": data.crop_size}
        preprocess = MODELS.build(config.model.data_preprocessor | sizes)
    steps[TENSORS].append(lambda packed: preprocess(as_batch(packed), training=True))
    return {stage: chain(parts) for stage, parts in steps.items()}


def in_its_words(transform: str, data: DataConfig) -> dict[str, Any]:
    """Our sizes for one of its transforms; its own are the same, unless ours were shrunk."""
    if transform == "RandomResize":
        return {"scale": data.base_size[::-1], "ratio_range": data.ratio_range}
    if transform == "RandomCrop":
        return {"crop_size": data.crop_size}
    return {"size": data.crop_size[::-1]} if transform == "Pad" else {}


def sample(dataset: SegmentationFolder, index: int) -> Sample:
    """What its data set tells its transforms."""
    return {
        "img_path": str(dataset.images[index]),
        "seg_map_path": str(dataset.labels[index]),
        "reduce_zero_label": dataset.spec.name == "ade20k",
        "label_map": None,
        "seg_fields": [],
    }


def as_batch(packed: Sample) -> dict[str, list[Any]]:
    return {name: [value] for name, value in packed.items()}


def chain(steps: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    return lambda value: reduce(lambda found, step: step(found), steps, value)
