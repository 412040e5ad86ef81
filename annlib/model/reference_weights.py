"""Weights of the reference implementation (MMSegmentation) -> weights of annlib."""

import torch
from torch import Tensor

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
SHARED = "apnb.attention.to_query"  # the reference lists APNB's one projection under two names


def from_mmseg(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of MMSegmentation's ANN -> names of annlib's, tensors untouched.

    Raises KeyError for a name the table does not know, ValueError where the two copies of APNB's
    shared projection differ: neither may be dropped in silence.
    """
    renamed = {rename(key): tensor for key, tensor in state_dict.items()}
    for key in [key for key in renamed if key.startswith(SHARED)]:
        query, shared = renamed.pop(key), renamed[key.replace("to_query", "to_key")]
        if not torch.equal(query, shared):
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
            f"{key!r} is no weight of MMSegmentation's ANN: is this the checkpoint of another "
            "model, or the whole file instead of its 'state_dict'?"
        )
    return f"{RENAMES[prefix]}.{last}"
