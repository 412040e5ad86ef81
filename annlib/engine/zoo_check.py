"""Every published row, gone through from its name to its scores, each claim checked by itself."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor, nn

from annlib.config import Experiment, TestConfig
from annlib.data.datasets import SegmentationFolder
from annlib.data.mimic import mimic
from annlib.data.sources import Halves, open_data
from annlib.engine.costs import share_of_one_gpu
from annlib.engine.evaluate import ConfusionMatrix, evaluate
from annlib.engine.golden import (
    difference,
    make_input,
    reference_costs,
    reference_logits,
    reference_weights,
)
from annlib.engine.inference import MULTI_SCALE, inference_of, predictor
from annlib.engine.machine import batches, placed
from annlib.engine.parts import gflops_by_part, parameters_by_part
from annlib.engine.shrinking import picture_size, shrunk, shrunk_size
from annlib.engine.tables import percent
from annlib.engine.train import make_optimizer, train
from annlib.model.ann import ANN, resize_bilinear
from annlib.model.pth_files import load_strictly
from annlib.model.reference_weights import from_mmseg
from annlib.zoo import Published

CPU = torch.device("cpu")
TOLERANCE = {50: 2e-5, 101: 1e-4}  # of single precision, relative to the largest logit
PICTURES = 2  # of each imitated validation half; there are as many to train on as a batch needs
STRIDE = (513, 513)  # of the rows that slide, for windows of 769


class Finding(NamedTuple):
    """Whether a claim holds, and what was seen."""

    holds: bool
    seen: str


@dataclass(frozen=True)
class RowCheck:
    """All findings about one row."""

    name: str
    findings: dict[str, Finding]
    seconds: float

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings.values())


def claim(condition: bool, seen: str) -> str:
    """What was seen. Raises ValueError with it if the claim does not hold."""
    if not condition:
        raise ValueError(seen)
    return seen


def find(check: Callable[[], str]) -> Finding:
    """Runs one check. Whatever goes wrong in it is what the row has to say, and no reason to stop
    before the others are checked."""
    try:
        return Finding(True, check())
    except Exception as error:
        return Finding(False, f"{type(error).__name__}: {error}")


def key_of(experiment: Experiment) -> str:
    return f"r{experiment.model.depth}_{experiment.model.num_classes}"


def check_parameters(experiment: Experiment) -> str:
    """As many as the reference has, with and without the auxiliary head."""
    expected = reference_costs()[key_of(experiment)]
    counts = parameters_by_part(experiment.model)
    total = sum(counts.values())
    without = total - counts["auxiliary"]
    wanted = (expected["parameters"], expected["without_auxiliary"])
    return claim((total, without) == wanted, f"{total:,} ({without:,} without auxiliary head)")


def saved_gflops(experiment: Experiment) -> float:
    """Of APNB's shared projection, which the reference computes twice, as query and as key.

    A convolution of 1 x 1 on the map at 1/8: 2 x C_in x C_out a position.
    """
    height, width = experiment.data.crop_size
    positions = -(-height // 8) * -(-width // 8)
    model = experiment.model
    return 2 * model.hidden_channels * model.key_channels * positions / 1e9


def check_gflops(experiment: Experiment) -> str:
    """Of one crop: the reference's, less the projection that is computed once here."""
    height, width = experiment.data.crop_size
    expected = reference_costs()[key_of(experiment)]
    gflops = gflops_by_part(experiment.model, 1, (height, width))
    aux = gflops.pop("auxiliary")
    main, saved = sum(gflops.values()), saved_gflops(experiment)
    theirs = expected["gflops"][f"{height}x{width}"]
    theirs_aux = expected["gflops_auxiliary"][f"{height}x{width}"]
    agrees = abs(main + saved - theirs) <= 0.0051 and abs(aux - theirs_aux) <= 0.0051
    return claim(agrees, f"{main:.2f} = {theirs:.2f} - {saved:.2f}; auxiliary {aux:.2f}")


def check_loading(experiment: Experiment, model: nn.Module) -> str:
    """All names and shapes of a released file fit, and none is left."""
    weights = reference_weights(experiment.model.depth, experiment.model.num_classes)
    load_strictly(model, from_mmseg(weights), Path("a file in the released layout"))
    return f"{len(weights)} tensors"


def check_logits(experiment: Experiment, model: ANN) -> str:
    """The reference's logits at 1/8 of both heads; its classes at full size where stored."""
    config = experiment.model
    stored = reference_logits(config.depth)
    images = make_input(1, 97, 129)
    with inference_of(model):
        c4, _ = model.backbone(images)
        aux, main = model.auxiliary(c4), logits_at_an_eighth(model, images)
        classes = resize_bilinear(main, (97, 129), config.align_corners).argmax(1)
    known = min(config.num_classes, stored["logits"].shape[1])
    apart = max(
        difference(ours[:, :known], stored[name][:, :known])
        for name, ours in (("logits", main), ("aux", aux))
    )
    seen = f"{apart:.1e} apart, {known} of {config.num_classes} classes"
    claim(apart <= TOLERANCE[config.depth], seen)
    key = f"classes_{config.num_classes}_ac{int(config.align_corners)}"
    if key in stored:
        claim(torch.equal(classes, stored[key].long()), f"{key} differ")
        seen += ", all pixels"
    return seen
