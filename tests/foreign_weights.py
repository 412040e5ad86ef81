"""Files as MMSegmentation writes them, made from networks of ours with random weights.

The names come from a table of its own, written from the reference's key list, not from annlib's.
"""

import hashlib
from collections import OrderedDict
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import wake
from torch import Tensor, nn

from annlib.config import ModelConfig
from annlib.model.ann import ANN
from annlib.published_experiments import ROWS, Published

SLIM = dict(
    key_channels=6,
    value_channels=7,
    hidden_channels=12,
    pool_scales=(1, 2),
    width=4,
    aux_channels=8,
)
OURS_TO_THEIRS = (  # the first that fits the beginning of a name
    ("backbone.", "backbone."),
    ("afnb.attention.to_key.0.", "decode_head.fusion.stages.0.key_project.conv."),
    ("afnb.attention.to_key.1.", "decode_head.fusion.stages.0.key_project.bn."),
    ("afnb.attention.to_query.0.", "decode_head.fusion.stages.0.query_project.conv."),
    ("afnb.attention.to_query.1.", "decode_head.fusion.stages.0.query_project.bn."),
    ("afnb.attention.to_value.", "decode_head.fusion.stages.0.value_project."),
    ("afnb.attention.to_output.", "decode_head.fusion.stages.0.out_project."),
    ("afnb.fuse.0.", "decode_head.fusion.bottleneck.conv."),
    ("afnb.fuse.1.", "decode_head.fusion.bottleneck.bn."),
    ("apnb.attention.to_key.0.", "decode_head.context.stages.0.key_project.conv."),
    ("apnb.attention.to_key.1.", "decode_head.context.stages.0.key_project.bn."),
    ("apnb.attention.to_value.", "decode_head.context.stages.0.value_project."),
    ("apnb.attention.to_output.", "decode_head.context.stages.0.out_project."),
    ("apnb.fuse.0.", "decode_head.context.bottleneck.conv."),
    ("apnb.fuse.1.", "decode_head.context.bottleneck.bn."),
    ("reduce.0.", "decode_head.bottleneck.conv."),
    ("reduce.1.", "decode_head.bottleneck.bn."),
    ("classifier.", "decode_head.conv_seg."),
    ("auxiliary.reduce.0.", "auxiliary_head.convs.0.conv."),
    ("auxiliary.reduce.1.", "auxiliary_head.convs.0.bn."),
    ("auxiliary.classifier.", "auxiliary_head.conv_seg."),
)


def slim_row(index: int) -> Published:
    """A published row with a network that has all its layers, but few channels."""
    row = ROWS[index]
    model = replace(row.experiment.model, **SLIM)
    return replace(row, experiment=replace(row.experiment, model=model))


def random_model(config: ModelConfig, seed: int = 0) -> ANN:
    """A network none of whose numbers is left at its beginning."""
    torch.manual_seed(seed)
    model = wake(ANN(config)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
            module.num_batches_tracked.fill_(40_000)
    return model


def in_the_reference(model: ANN) -> "OrderedDict[str, Tensor]":
    """The weights under the reference's names, APNB's one projection under two of them."""
    theirs: OrderedDict[str, Tensor] = OrderedDict()
    for key, tensor in model.state_dict().items():
        start, name = next(pair for pair in OURS_TO_THEIRS if key.startswith(pair[0]))
        renamed = name + key.removeprefix(start)
        theirs[renamed] = tensor
        if renamed.startswith("decode_head.context.stages.0.key_project."):
            theirs[renamed.replace("key_project", "query_project")] = tensor
    theirs._metadata = model.state_dict()._metadata
    return theirs


def whole_file(weights: "OrderedDict[str, Tensor]") -> dict[str, Any]:
    """What mmcv writes around the weights."""
    meta = {
        "mmseg_version": "0.5.0+8a1f0b6",
        "time": "Fri Jun  5 09:52:11 2020",
        "seed": None,
        "iter": 40_000,
        "config": "norm_cfg = dict(type='SyncBN', requires_grad=True)\n",
        "CLASSES": ["road", "sidewalk"],
        "PALETTE": np.array([[128, 64, 128], [244, 35, 232]]),
        "hook_msgs": {
            "best_mIoU": np.float64(0.774),
            "at": np.int64(40_000),
            "on": date(2020, 6, 5),
        },
    }
    return {"meta": meta, "state_dict": weights, "optimizer": {"state": {}, "param_groups": []}}


def save_published(folder: Path, row: Published, content: Any, zipped: bool = False) -> Published:
    """Writes a .pth at the end of the row's address.  -> the row, with its hash in the address

    In 2020 files were pickles one after the other; torch 1.6 has made them zips.
    """
    path = folder / "new.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    start = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    row = replace(row, stamp=f"20200605_095211-{start}")
    place = folder / row.weights_url.partition("://")[2].partition("/")[2]
    place.parent.mkdir(parents=True)
    path.rename(place)
    return row


def same(ours: nn.Module, theirs: nn.Module) -> bool:
    """Whether all numbers of two networks are equal, counters included."""
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[k], theirs[k]) for k in ours)
