"""python -m benchmarks evaluation: scoring of an image, the reference and ours.

Each returns numbers of pixels of every class: intersection of prediction and labels, their union,
prediction, labels: (4, K).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from annlib.config import IGNORE_INDEX
from annlib.engine.inference import Label, best_classes, fit, make_label_predictor, ready, resized
from annlib.engine.metrics import ConfusionMatrix
from annlib.engine.row_costs import picture_size, shrunk
from annlib.engine.trainer import wrap_model
from annlib.model.ann import map_size, resize_bilinear
from annlib.seeds import seeded
from annlib.zoo import Published
from benchmarks.common import Machine, Ready, Results
from benchmarks.mmseg_reference import reference_areas, reference_classes, reference_post_processing
from benchmarks.network import Contestant, Rivals, Size, network, number_of_parameters, picture

if TYPE_CHECKING:
    from benchmarks.network import Entry


REGION = 32  # pixels: side of the squares that a made-up map of classes consists of
PostProcessing = Literal["reference", "whole map", "piece by piece"]
Counting = Literal["bincount", "reference", "ours"]


def class_map(size: Size, num_classes: int, name: str, device: torch.device) -> Tensor:
    """Regions of one class, as in photographs.  -> int64 (*size), 0..num_classes - 1"""
    with seeded("classes", name):
        regions = torch.randint(num_classes, [-(-side // REGION) for side in size])
    pixels = regions.repeat_interleave(REGION, 0).repeat_interleave(REGION, 1)
    return pixels[: size[0], : size[1]].contiguous().to(device)


def label_map(size: Size, num_classes: int, device: torch.device) -> Tensor:
    """As a data set's: some regions are not labelled.  -> int64 (*size)"""
    labels = class_map(size, num_classes + 1, "labels", device)
    return labels.masked_fill_(labels == num_classes, IGNORE_INDEX)


def areas(counts: Tensor) -> Tensor:
    """Of a confusion matrix.  (K, K) [label, prediction] -> (4, K)"""
    right, predicted, labelled = counts.diagonal(), counts.sum(0), counts.sum(1)
    return torch.stack([right, predicted + labelled - right, predicted, labelled])


def our_areas(classes: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """2 x (H, W) -> (4, K)"""
    matrix = ConfusionMatrix(num_classes)
    matrix.update(classes, labels)
    return areas(matrix.counts)


def evaluation(contestant: Contestant, row: Published, shrink: int, device: torch.device) -> Ready:
    """All that is done with a picture and its labels, tested as the row is."""
    small = replace(row, experiment=shrunk(row.experiment, shrink))
    num_classes, test = small.experiment.model.num_classes, small.experiment.test
    size = picture_size(row.experiment, shrink)
    images, labels = picture(size, device), label_map(size, num_classes, device)
    model, precision = network(contestant, small, device).eval(), contestant.compute.precision

    @torch.inference_mode()
    def theirs() -> Tensor:
        seen = resize_bilinear(images, fit(size, test.base_size), align_corners=False)
        return reference_areas(reference_classes(model, seen, size), labels, num_classes)

    def ours(label: Label) -> Tensor:
        return our_areas(label(images)[0], labels, num_classes)

    runs = wrap_model(model, device, contestant.compute)
    call, plain = (
        (theirs, theirs)
        if contestant.network == "reference"
        else (
            partial(ours, make_label_predictor(runs, test, precision)),
            partial(ours, make_label_predictor(model, test)),
        )
    )
    return Ready(call, plain, number_of_parameters(model), precision)


def post_processing(
    way: PostProcessing, row: Published, shrink: int, device: torch.device
) -> Ready:
    """What follows the classifier, for a picture that the network sees whole."""
    small = replace(row, experiment=shrunk(row.experiment, shrink))
    config = small.experiment.model
    size = picture_size(row.experiment, shrink)
    seen, corners = fit(size, small.experiment.test.base_size), config.align_corners
    with seeded("logits"):
        logits = torch.randn(1, config.num_classes, *map_size(seen)).to(device)
    labels = label_map(size, config.num_classes, device)
    theirs = network(Contestant("reference"), small, device) if way == "reference" else None

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

    return Ready(call, call)


def counting(way: Counting, row: Published, shrink: int, device: torch.device) -> Ready:
    """Counting pixels whose classes and labels are at hand.

    "bincount" has the pairs of both at hand as well, which no evaluation has: a limit to all.
    Labels are int64, as they are loaded; classes are what each makes of scores, ours bytes.
    """
    num_classes = row.experiment.model.num_classes
    size = picture_size(row.experiment, shrink)
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

    return Ready(call, call)


@dataclass(frozen=True)
class Evaluate:
    """Race the reference: the scoring of one picture as the row is tested, whole and in parts.

    The parts: what follows the network, from logits to counts of pixels; and the counting alone,
    beside a bare bincount. Without the reference (pip install -e '.[reference]') ours race alone.
    """

    rivals: Rivals = Rivals()
    machine: Machine = Machine()
    results: Results = Results()
    network: bool = True
    """Measure the scoring with its network, too: minutes on a CPU."""
    shrink: int = 1
    """Divide all sides of pictures and windows by this."""

    def run(self) -> None:
        from annlib.engine.row_costs import picture_size, shrunk

        row, device = self.rivals.published(), self.machine.ready()
        shrunk(row.experiment, self.shrink)  # tells at once if that is no picture
        height, width = picture_size(row.experiment, self.shrink)
        contests = {
            f"{what}, {height} x {width}": entries
            for what, entries in self.contests(row, device).items()
        }
        report = self.rivals.report(contests, device, self.machine.repeat)
        words = ["parts"] * (not self.network) + [f"shrink{self.shrink}"] * (self.shrink > 1)
        path = self.results.path(device, "evaluate", *self.rivals.words(), *words)
        self.results.keep(report.text(), report.values(), path)

    def contests(self, row: "Published", device: "torch.device") -> "dict[str, list[Entry]]":
        from functools import partial

        from benchmarks.mmseg_reference import installed

        field = self.rivals.field("frozen", device)
        here = (row, self.shrink, device)
        others = ("reference",) if installed() else ()
        parts = {
            "From logits to counts": {
                way: partial(post_processing, way, *here)
                for way in (*others, "whole map", "piece by piece")
            },
            "Counting": {
                way: partial(counting, way, *here) for way in ("bincount", *others, "ours")
            },
        }
        whole = {
            "Picture to counts": {each.name: partial(evaluation, each, *here) for each in field}
        }
        return {
            what: self.rivals.race(works, device, self.machine.repeat)
            for what, works in ((whole if self.network else {}) | parts).items()
        }
