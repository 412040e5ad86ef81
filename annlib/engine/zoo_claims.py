"""What is claimed of a published row's network, held to numbers counted on the reference.

Each check tells what it saw, and raises ValueError with it where the claim does not hold.
"""

from pathlib import Path

from torch import nn

from annlib.config import Experiment
from annlib.engine.golden import (
    difference,
    make_input,
    reference_costs,
    reference_logits,
    reference_weights,
)
from annlib.engine.inference import inference_of
from annlib.engine.parts import gflops_by_part, parameters_by_part
from annlib.engine.tables import percent
from annlib.model.ann import ANN
from annlib.model.pth_files import load_strictly
from annlib.model.reference_weights import from_mmseg

TOLERANCE = {50: 2e-5, 101: 1e-4}  # of single precision, relative to the largest logit, by depth
SAME_CLASSES = 0.999  # share of pixels: where two logits tie, rounding decides


def claim(condition: bool, seen: str) -> str:
    """What was seen. Raises ValueError with it if the claim does not hold."""
    if not condition:
        raise ValueError(seen)
    return seen


def costs_of_reference(experiment: Experiment) -> dict:
    return reference_costs()[f"r{experiment.model.depth}_{experiment.model.num_classes}"]


def check_parameters(experiment: Experiment) -> str:
    """As many as the reference has, with and without the auxiliary head."""
    expected = costs_of_reference(experiment)
    counts = parameters_by_part(experiment.model)
    total = sum(counts.values())
    without = total - counts["auxiliary"]
    wanted = (expected["parameters"], expected["without_auxiliary"])
    return claim((total, without) == wanted, f"{total:,}")


def saved_gflops(experiment: Experiment) -> float:
    """Of APNB's shared projection, which the reference computes twice, as query and as key.

    A convolution of 1 x 1 on the map at 1/8: 2 x C_in x C_out for each position.
    """
    height, width = experiment.data.crop_size
    positions = -(-height // 8) * -(-width // 8)
    model = experiment.model
    return 2 * model.hidden_channels * model.key_channels * positions / 1e9


def check_gflops(experiment: Experiment) -> str:
    """Of one crop, in the readable form: the reference's, less a projection computed once here."""
    height, width = experiment.data.crop_size
    expected, size = costs_of_reference(experiment), f"{height}x{width}"
    gflops = gflops_by_part(experiment.model, 1, (height, width), folded=False)
    aux = gflops.pop("auxiliary")
    main, saved = sum(gflops.values()), saved_gflops(experiment)
    theirs, theirs_aux = expected["gflops"][size], expected["gflops_auxiliary"][size]
    same = rounds_to(main + saved, theirs) and rounds_to(aux, theirs_aux)
    return claim(same, f"{main:.2f} = {theirs:.2f} - {saved:.2f}, + {aux:.2f}")


def rounds_to(number: float, two_decimals: float) -> bool:
    return abs(number - two_decimals) < 0.00501  # the reference's are stored with two


def check_loading(experiment: Experiment, model: nn.Module) -> str:
    """All names and shapes of a released file fit the network, and none is left over."""
    weights = reference_weights(experiment.model.depth, experiment.model.num_classes)
    load_strictly(model, from_mmseg(weights), Path("a file in the released layout"))
    return f"{len(weights)} tensors"


def check_logits(experiment: Experiment, model: ANN) -> str:
    """Both heads give the reference's logits at 1/8, and its classes at full size where stored."""
    config, stored = experiment.model, reference_logits(experiment.model.depth)
    images = make_input(1, 97, 129)
    with inference_of(model):
        c4, _ = model.backbone(images)
        ours = {"logits": model(images, size=c4.shape[2:]).main, "aux": model.auxiliary(c4)}
        classes = model(images).main.argmax(1)
    known = min(config.num_classes, stored["logits"].shape[1])
    apart = max(difference(ours[head][:, :known], stored[head][:, :known]) for head in ours)
    seen = f"{apart:.1e} apart, {known} of {config.num_classes} classes"
    claim(apart <= TOLERANCE[config.depth], seen)
    key = f"classes_{config.num_classes}_ac{int(config.align_corners)}"
    if key not in stored:
        return seen
    same = float((classes == stored[key]).double().mean())
    return claim(same >= SAME_CLASSES, f"{seen}, {percent(same)} % of the pixels")
