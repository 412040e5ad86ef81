"""Reads weights of mmseg and torchvision, and maps their names to annlib's and back."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import safe_globals

from annlib.config import Stem
from annlib.files import first_bytes, what_came_instead

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
PACKED = {b"PK": "ZIP", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
PACKED |= {b"7z\xbc\xaf": "7-Zip", b"Rar!": "RAR", b"\x28\xb5\x2f\xfd": "zstd"}
SHARED = "apnb.attention.to_query"  # the reference lists APNB's one projection under two names
ONCE = "apnb.attention.to_key"  # and we under one


def from_mmseg(weights: Mapping[str, Any]) -> dict[str, Tensor]:
    """Names of MMSegmentation's ANN -> names of annlib's, tensors untouched.

    weights: the content of a file, or the "state_dict" in it. Raises KeyError for an unknown name,
    ValueError where the two copies of APNB's shared projection differ.
    """
    renamed = {rename(key): tensor for key, tensor in state_dict_of(weights).items()}
    for key in [key for key in renamed if key.startswith(SHARED)]:
        query, shared = renamed.pop(key), renamed.get(key.replace(SHARED, ONCE))
        if shared is None or not torch.equal(query, shared):
            said = f"{key} differs from the key projection, but the published APNB shares them: "
            raise ValueError(f"{said}these weights belong to another model.")
    return renamed


def rename(key: str) -> str:
    """One reference name -> ours."""
    if key.startswith("backbone."):
        return key
    prefix, _, last = key.rpartition(".")
    if prefix not in RENAMES:
        said = f"{key!r} is not a weight of MMSegmentation's ANN: this is the checkpoint of "
        raise KeyError(f"{said}another model. `annlib weights list` names the published ones.")
    return f"{RENAMES[prefix]}.{last}"


def from_imagenet(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of an ImageNet classifier -> names of annlib's ResNet, without its last layer `fc`."""
    parts = [(*key.partition(".")[::2], tensor) for key, tensor in weights.items()]
    return {f"{PLAIN_STEM.get(p, p)}.{rest}": tensor for p, rest, tensor in parts if p != "fc"}


def stem_of(weights: Mapping[str, Tensor], path: Path) -> Stem:
    """The kind of ResNet whose ImageNet weights a file holds. Raises ValueError for no ResNet."""
    stems: dict[str, Stem] = {"stem.0.weight": "deep", "conv1.weight": "plain"}
    for key, stem in stems.items():
        if key in weights:
            return stem
    said = f"{path} holds no ResNet that annlib knows, with {' or '.join(stems)}: here are "
    raise ValueError(f"{said}{', '.join([*weights][:3])} ...")


def state_dict_of(content: Mapping[str, Any]) -> Mapping[str, Tensor]:
    """The weights in a file of MMSegmentation, which also says how they were made."""
    inside = content.get("state_dict")
    return inside if isinstance(inside, Mapping) else content


def other_weights(path: Path) -> str:
    """A sentence on a file, or folder, that is not PyTorch's or annlib's own; or nothing."""
    start, names = first_bytes(path), [path.name, *map(str, path.glob("*"))]
    if instead := what_came_instead(start):
        return instead
    packed = next((form for mark, form in PACKED.items() if start.startswith(mark)), None)
    is_torch = packed == "ZIP" and (len(start) < 80 or b"/data" in start[:80])
    if packed and not is_torch:
        return f" It is packed ({packed}): unpack it, and give the file of weights inside."
    if start.lstrip()[:1] == b"{":
        return " It is JSON, such as the index of weights in several files: save them as one file."
    if path.suffix == ".onnx" or re.match(rb"\x08[\x03-\x20][\x12\x1a\x22\x2a\x3a\x42]", start):
        return " It is an ONNX network: for training, give the weights that it was exported from."
    if any(re.search(r"\.(pb|index|meta|tflite|data-\d+-of-\d+)$", name) for name in names):
        return " It is TensorFlow's: convert its weights to PyTorch first."
    return ""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of torch.save, executing nothing; ValueError for any other file."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    # Besides tensors: numbers and arrays of numpy, dates. Making these runs no code of a file.
    safe = [np.dtype, np.ndarray, date, datetime]
    safe += [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?", "U")]
    for core in ("core", "_core"):  # before and since numpy 2
        safe.append((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar"))
        safe.append((np.empty(0).__reduce__()[0], f"numpy.{core}.multiarray._reconstruct"))
    try:
        with safe_globals(safe):
            is_plain = path.suffix == ".safetensors"  # such as timm's
            content = load_file(path) if is_plain else torch.load(path, "cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch's reader fails on damage in many ways
        if instead := other_weights(path):
            raise ValueError(f"{path} holds no weights.{instead}") from error
        said = str(error) or type(error).__name__
        if wants := re.search(r"(?:GLOBAL |got <class '|unrecognized function )([^\s'>]+)", said):
            raise ValueError(
                f"{path} is not read: besides tensors and plain values it wants {wants[1]}, and "
                "making such things can run any code. If you trust where it is from, load it there "
                "and torch.save its state_dict alone."
            ) from error
        raise ValueError(
            f"{path} is damaged, only half there, or no file of torch.save "
            f"({re.split(r'[.] |[^ -~]', said)[0]}). Fetch it again."
        ) from error
    weights = state_dict_of(content) if isinstance(content, Mapping) else {}
    others = [str(key) for key, value in weights.items() if not isinstance(value, Tensor)]
    if others or not weights:
        found = f"it holds {', '.join(others[:4])}" if others else type(content).__name__
        raise ValueError(
            f"{path} holds no table of weights, neither itself nor as 'state_dict': {found}."
        )
    broken = [k for k, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        said = f"{path} holds NaN or infinite weights ({', '.join(broken[:3])}): its training "
        raise ValueError(f"{said}failed, or it is damaged. Take an earlier checkpoint.")
    for prefix in ("module.", "_orig_mod."):  # saved from DataParallel or DDP, from torch.compile
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return dict(weights)


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Loads weights, all or none. Raises ValueError if any does not fit, or is missing."""
    ours = module.state_dict()
    shapes = {k: (tuple(weights[k].shape), tuple(v.shape)) for k, v in ours.items() if k in weights}
    for kind, names in {
        "lacks": [k for k in ours if k not in weights and not k.endswith("num_batches_tracked")],
        "has unknown": [k for k in weights if k not in ours],
        "differs:": [f"{k} {a} there, {b} here" for k, (a, b) in shapes.items() if a != b],
    }.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            said = f"{path} belongs to another network: it {kind} {', '.join(names[:3])}{more}."
            raise ValueError(said)
    module.load_state_dict(weights, strict=True)
