"""Scoring of an image, from its pixels to counts of pixels: the reference and ours.

Each returns the areas of every class (4, K): intersection of prediction and labels, their union,
prediction, labels.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.course.row_costs import Size, image_size, shrunk
from annlib.engine.inference import Label, best_classes, fit, make_label_predictor, ready, resized
from annlib.engine.metrics import ConfusionMatrix
from annlib.engine.trainer import wrap_model
from annlib.model.ann import map_size, resize_bilinear
from annlib.published_experiments import Published, published
from annlib.seeds import seeded
from benchmarks.common import Machine, Results, Workload, main
from benchmarks.mmseg_reference import (
    installed,
    reference_areas,
    reference_classes,
    reference_post_processing,
)
from benchmarks.network import (
    Measured,
    Variant,
    Variants,
    make_image,
    make_network,
    number_of_parameters,
)

REGION = 32  # pixels: side of the regions of one class in a synthetic label map
PostProcessing = Literal["reference", "whole map", "tiled"]
Counting = Literal["bincount", "reference", "ours"]


def class_map(size: Size, num_classes: int, name: str, device: torch.device) -> Tensor:
    """Regions of one class, as in real images.  -> int64 (*size), 0..num_classes - 1"""
    with seeded("classes", name):
        regions = torch.randint(num_classes, [-(-side // REGION) for side in size])
    pixels = regions.repeat_interleave(REGION, 0).repeat_interleave(REGION, 1)
    return pixels[: size[0], : size[1]].contiguous().to(device)


def label_map(size: Size, num_classes: int, device: torch.device) -> Tensor:
    """Like a data set's: some regions are not labelled.  -> int64 (*size)"""
    labels = class_map(size, num_classes + 1, "labels", device)
    return labels.masked_fill_(labels == num_classes, IGNORE_INDEX)


def areas(counts: Tensor) -> Tensor:
    """Of a confusion matrix.  (K, K) [label, prediction] -> (4, K)"""
    correct, predicted, labelled = counts.diagonal(), counts.sum(0), counts.sum(1)
    return torch.stack([correct, predicted + labelled - correct, predicted, labelled])


def our_areas(classes: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """2 x (H, W) -> (4, K)"""
    matrix = ConfusionMatrix(num_classes)
    matrix.update(classes, labels)
    return areas(matrix.counts)


def evaluation(variant: Variant, row: Published, shrink: int, device: torch.device) -> Workload:
    """Everything from an image and its labels to areas, tested as the row is."""
    small = replace(row, experiment=shrunk(row.experiment, shrink))
    num_classes, test = small.experiment.model.num_classes, small.experiment.test
    size = image_size(row.experiment, shrink)
    images, labels = make_image(size, device), label_map(size, num_classes, device)
    model, precision = make_network(variant, small, device).eval(), variant.compute.precision

    @torch.inference_mode()
    def theirs() -> Tensor:
        seen = resize_bilinear(images, fit(size, test.base_size), align_corners=False)
        return reference_areas(reference_classes(model, seen, size), labels, num_classes)

    def ours(label: Label) -> Tensor:
        return our_areas(label(images)[0], labels, num_classes)

    runs = wrap_model(model, device, variant.compute)
    call, plain = (
        (theirs, theirs)
        if variant.network == "reference"
        else (
            partial(ours, make_label_predictor(runs, test, precision)),
            partial(ours, make_label_predictor(model, test)),
        )
    )
    return Workload(call, plain, number_of_parameters(model), precision)


def post_processing(
    way: PostProcessing, row: Published, shrink: int, device: torch.device
) -> Workload:
    """What follows the classifier, for an image that is not cut into windows."""
    small = replace(row, experiment=shrunk(row.experiment, shrink))
    config = small.experiment.model
    size = image_size(row.experiment, shrink)
    seen, corners = fit(size, small.experiment.test.base_size), config.align_corners
    with seeded("logits"):
        logits = torch.randn(1, config.num_classes, *map_size(seen)).to(device)
    labels = label_map(size, config.num_classes, device)
    theirs = make_network(Variant("reference"), small, device) if way == "reference" else None

    @torch.inference_mode()
    def call() -> Tensor:
        if theirs is not None:
            classes = reference_post_processing(theirs, logits, seen, size)
            return reference_areas(classes, labels, config.num_classes)
        if way == "whole map":
            scores = resize_bilinear(logits, seen, corners)
            classes = resize_bilinear(scores, size, corners).argmax(1)
        else:
            classes = best_classes(resized(resized(ready(logits), seen, corners), size, corners))
        return our_areas(classes[0], labels, config.num_classes)

    return Workload(call, call)


def counting(way: Counting, row: Published, shrink: int, device: torch.device) -> Workload:
    """Counting pixels of given classes and labels.

    "bincount" is given the pairs of both as well, which an evaluation does not have: a lower bound.
    Labels are int64, as they are loaded; classes are int64, and bytes for ours.
    """
    num_classes = row.experiment.model.num_classes
    size = image_size(row.experiment, shrink)
    classes = class_map(size, num_classes, "predictions", device)
    labels, in_bytes = label_map(size, num_classes, device), classes.byte()
    pairs = (labels * num_classes + classes)[labels != IGNORE_INDEX]

    def call() -> Tensor:
        match way:
            case "ours":
                return our_areas(in_bytes, labels, num_classes)
            case "reference":
                return reference_areas(classes, labels, num_classes)
            case "bincount":
                counts = torch.bincount(pairs, minlength=num_classes**2)
                return areas(counts.unflatten(0, (-1, num_classes)))

    return Workload(call, call)


@dataclass(frozen=True)
class Evaluation:
    """Compare with the reference: scoring of one image as the row is tested, whole and in parts.

    The parts: what follows the network, from logits to areas; and only the counting, compared with
    a bare bincount. Without the reference (pip install -e '.[reference]') only ours are measured.
    """

    variants: Variants = Variants()
    machine: Machine = Machine()
    results: Results = Results()
    network: bool = True
    """Measure the scoring with its network, too: minutes on a CPU."""
    shrink: int = 1
    """Divide all sides of images and windows by this."""

    def run(self) -> None:
        row, device = published(self.variants.row), self.machine.ready()
        shrunk(row.experiment, self.shrink)  # refuses a wrong factor before anything is measured
        height, width = image_size(row.experiment, self.shrink)
        found = self.compare(row, device)
        comparisons = {f"{what}, {height} x {width}": each for what, each in found.items()}
        report = self.variants.report(comparisons, device, self.machine.repeat)
        words = ["parts"] * (not self.network) + [f"shrink{self.shrink}"] * (self.shrink > 1)
        path = self.results.path(device, "evaluate", *self.variants.words(), *words)
        print(f"\n{self.results.save(report.text(), report.values(), path)}", flush=True)

    def compare(self, row: Published, device: torch.device) -> dict[str, list[Measured]]:
        here = (row, self.shrink, device)
        others = ("reference",) if installed() else ()
        prepare = {}
        variants = self.variants.all("frozen", device)
        if self.network:
            prepare["Image to counts"] = {
                each.name: partial(evaluation, each, *here) for each in variants
            }
        prepare["From logits to counts"] = {
            way: partial(post_processing, way, *here) for way in (*others, "whole map", "tiled")
        }
        prepare["Counting"] = {
            way: partial(counting, way, *here) for way in ("bincount", *others, "ours")
        }
        repeat = self.machine.repeat
        return {
            what: self.variants.compare(workloads, device, repeat)
            for what, workloads in prepare.items()
        }


if __name__ == "__main__":
    main("benchmarks.evaluation", Evaluation, __doc__, "--no-network --shrink 4")
