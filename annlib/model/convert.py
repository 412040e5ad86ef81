"""Maps the parameter names of mmseg and torchvision to annlib's names, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from annlib.config import Stem

# Reference prefix -> ours. The remaining names of a layer (weight, bias, running_mean ...) agree.
ATTENTION = {
    "stages.0.key_project.conv": "attention.to_key.0",
    "stages.0.key_project.bn": "attention.to_key.1",
    "stages.0.query_project.conv": "attention.to_query.0",
    "stages.0.query_project.bn": "attention.to_query.1",
    "stages.0.value_project": "attention.to_value",
    "stages.0.out_project": "attention.to_output",
    "bottleneck.conv": "fuse.0",
    "bottleneck.bn": "fuse.1",
}
HEADS = {
    "decode_head.bottleneck.conv": "reduce.0",
    "decode_head.bottleneck.bn": "reduce.1",
    "decode_head.conv_seg": "classifier",
    "auxiliary_head.convs.0.conv": "auxiliary.reduce.0",
    "auxiliary_head.convs.0.bn": "auxiliary.reduce.1",
    "auxiliary_head.conv_seg": "auxiliary.classifier",
}
BLOCKS = {"decode_head.fusion": "afnb", "decode_head.context": "apnb"}
RENAMES = HEADS | {
    f"{theirs_block}.{theirs}": f"{ours_block}.{ours}"
    for theirs_block, ours_block in BLOCKS.items()
    for theirs, ours in ATTENTION.items()
}
PLAIN_STEM = {"conv1": "stem.0", "bn1": "stem.1"}  # torchvision's
SHARED = "apnb.attention.to_query"  # the reference lists APNB's one projection under two names
ONCE = "apnb.attention.to_key"  # and we under one


def from_mmseg(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names of MMSegmentation's ANN -> names of annlib's, tensors untouched.

    weights: the content of a file, or the "state_dict" in it. Raises KeyError for a name the table
    does not know, ValueError where the two copies of APNB's shared projection differ: neither may
    be dropped in silence.
    """
    renamed = {rename(key): tensor for key, tensor in state_dict_of(weights).items()}
    for key in [key for key in renamed if key.startswith(SHARED)]:
        query, shared = renamed.pop(key), renamed.get(key.replace("to_query", "to_key"))
        if shared is None or not torch.equal(query, shared):
            raise ValueError(
                f"{key} differs from the key projection, but the published APNB shares them: "
                "these weights belong to another model."
            )
    return renamed


def rename(key: str) -> str:
    """One reference name -> ours."""
    if key.startswith("backbone."):
        return key
    prefix, _, last = key.rpartition(".")
    if prefix not in RENAMES:
        raise KeyError(
            f"{key!r} is no weight of MMSegmentation's ANN: this is the checkpoint of another "
            "model. The published ones are named by `annlib weights list`."
        )
    return f"{RENAMES[prefix]}.{last}"


def to_mmseg(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back: names of annlib's ANN -> names of MMSegmentation's, tensors untouched.

    APNB's one projection gets both of its names again. Raises KeyError for an unknown name.
    """
    theirs = {ours: name for name, ours in RENAMES.items()}
    renamed = {}
    for key, tensor in weights.items():
        prefix, _, last = key.rpartition(".")
        if key.startswith("backbone."):
            renamed[key] = tensor
            continue
        if prefix not in theirs or prefix.startswith(SHARED):
            raise KeyError(f"{key!r} is no weight of annlib's ANN: the reference has none like it.")
        renamed[f"{theirs[prefix]}.{last}"] = tensor
        if prefix.startswith(ONCE):
            renamed[f"{theirs[prefix.replace(ONCE, SHARED)]}.{last}"] = tensor
    return renamed


def stem_of(weights: Mapping[str, Tensor], path: Path) -> Stem:
    """The kind of ResNet whose ImageNet weights a file holds. Raises ValueError for no ResNet."""
    if "stem.0.weight" in weights:
        return "deep"  # the reference's ResNetV1c
    if "conv1.weight" in weights:
        return "plain"  # torchvision's ResNet
    raise ValueError(
        f"{path} holds no ResNet that annlib knows: the reference's has a weight stem.0.weight, "
        f"torchvision's a conv1.weight, but here are {', '.join([*weights][:3])} ..."
    )


def from_imagenet(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of an ImageNet classifier of either kind -> names of annlib's ResNet, without `fc`."""
    renamed = {}
    for key, tensor in weights.items():
        part, _, rest = key.partition(".")
        if part != "fc":  # tells 1000 classes apart, but not ours
            renamed[f"{PLAIN_STEM.get(part, part)}.{rest}"] = tensor
    return renamed


def state_dict_of(content: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights in a file of MMSegmentation, beside which it says how they were made."""
    inside = content.get("state_dict")
    return inside if isinstance(inside, Mapping) else content
