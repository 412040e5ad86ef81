"""Checkpoints: one safetensors file holds weights, optimiser, step and metadata; never pickle."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import safetensors
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from annlib.config import ModelConfig, from_json
from annlib.files import first_bytes, write_atomically
from annlib.model.convert import load_strictly, other_weights

PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # zip (torch.save) and bare pickle


class Checkpoint(NamedTuple):
    """What a checkpoint file holds."""

    path: Path
    config: ModelConfig
    step: int
    notes: dict[str, Any]  # command, seed, scores, versions: whatever the writer added
    model: dict[str, Tensor]
    optimizer: dict[str, Any] | None  # as optimizer.state_dict() gave it; None in shipped weights


class Header(NamedTuple):
    """The part of a checkpoint that is read without its tensors."""

    step: int
    notes: dict[str, Any]


def save(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    step: int = 0,
    notes: Mapping[str, Any] | None = None,
    half: bool = False,
) -> None:
    """Writes a checkpoint of an ANN or Baseline, see `write_atomically`.

    half: kernels are stored as float16, half the file; `load_state_dict` makes them float32.
    """
    tensors = {f"model.{key}": tensor for key, tensor in model.state_dict().items()}
    if half:
        tensors = {key: t.half() if t.ndim == 4 else t for key, t in tensors.items()}
    config = asdict(cast(ModelConfig, model.config))
    facts: dict[str, Any] = {"config": config, "step": step, "notes": dict(notes or {})}
    if optimizer is not None:
        state = optimizer.state_dict()
        facts["param_groups"] = state["param_groups"]
        facts["optimizer_keys"] = {str(i): list(values) for i, values in state["state"].items()}
        for index, values in state["state"].items():
            for key, value in values.items():
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    text = json.dumps(facts)
    content = to_bytes(tensors, {"annlib": text, "crc32": checksum(text, tensors)})
    write_atomically(Path(path), content)


def checksum(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of the facts and of all names and bytes, in hexadecimal digits."""
    crc = zlib.crc32(facts.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(name.encode(), crc)
        crc = zlib.crc32(tensors[name].flatten().view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint onto the CPU, executes nothing; ValueError for other or damaged files."""
    path = Path(path)
    check_there(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, no mapping
    except safetensors.SafetensorError as error:
        refuse_others(path)
        said = f"{path} is damaged or only half written ({error}). Use another: annlib replaces "
        raise ValueError(f"{said}checkpoints whole, so the one before is often intact.") from error
    if "annlib" not in metadata:
        raise ValueError(f"{path} holds tensors, but no annlib configuration: not our checkpoint.")
    if checksum(metadata["annlib"], tensors) != metadata.get("crc32"):
        raise ValueError(f"{path} is damaged: its bytes do not match its checksum.")
    model = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    if bad := [k for k, v in model.items() if v.is_floating_point() and not v.isfinite().all()]:
        said = f"{path} holds NaN or infinity in {', '.join(bad[:3])}: every prediction with it "
        raise ValueError(f"{said}would be wrong. Use a checkpoint from before.")
    try:
        facts = json.loads(metadata["annlib"])
        config, step, notes = from_json(ModelConfig, facts["config"]), facts["step"], facts["notes"]
        state = {
            int(index): {key: tensors[f"optimizer.{index}.{key}"] for key in keys}
            for index, keys in facts.get("optimizer_keys", {}).items()
        }
        optimizer = {"state": state, "param_groups": facts.get("param_groups")}
        if type(step) is not int or not isinstance(notes, dict):
            raise TypeError(f"step {step}")
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        said = f"{path} was changed, or is of another version of annlib ({error}): use that."
        raise ValueError(said) from error
    optimizer = optimizer if optimizer["param_groups"] else None
    return Checkpoint(path, config, step, notes, model, optimizer)


def read_header(path: Path) -> Header:
    """Step and notes of a checkpoint; ValueError for a file that was cut short or is not ours."""
    check_there(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["annlib"])
        return Header(facts["step"], facts["notes"])
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        refuse_others(path)
        said = f"{path} is damaged, only half written, or no checkpoint of annlib ({error})."
        raise ValueError(said) from error


def check_there(path: Path) -> None:
    if not path.is_file():
        hint = f" It is a folder: name {path}/last.safetensors, say." if path.is_dir() else ""
        raise FileNotFoundError(f"There is no checkpoint {path}.{other_weights(path) or hint}")


def refuse_others(path: Path) -> None:
    """Raises ValueError for a file that is known to be another one than safetensors."""
    if instead := other_weights(path):
        raise ValueError(f"{path} is not a checkpoint.{instead}")
    if first_bytes(path).startswith(PICKLE_STARTS):
        raise ValueError(
            f"{path} is a pickle (torch.save). Loading one can run any code, so annlib never does. "
            "Released weights of MMSegmentation are taken in by `annlib weights import FILE NAME`, "
            "which reads tensors alone. For others you trust: torch.load(path, weights_only=True) "
            "and annlib.model.checkpoint.save."
        )


def refuse_other_model(model: nn.Module, checkpoint: Checkpoint, *free: str) -> None:
    """Raises ValueError for weights of another network.  free: settings that may differ"""
    ours, theirs = asdict(cast(ModelConfig, model.config)), asdict(checkpoint.config)
    differing = [name for name in ours if name not in free and ours[name] != theirs[name]]
    if listed := [f"{name} {theirs[name]} there, {ours[name]} here" for name in differing]:
        said = f"{checkpoint.path} belongs to another model: {', '.join(listed)}. Choose the "
        raise ValueError(f"{said}experiment that it was trained by, or --set model.NAME=VALUE.")


def initialise(model: nn.Module, checkpoint: Checkpoint, other_classes: bool = False) -> list[str]:
    """Loads all weights but those of classifiers for other classes.  -> their names

    other_classes: also of the same number. Raises ValueError for weights of another network.
    """
    refuse_other_model(model, checkpoint, "num_classes", "dropout", "align_corners")
    state, fresh = model.state_dict(), []
    if other_classes or model.config.num_classes != checkpoint.config.num_classes:
        fresh = [name for name in state if "classifier" in name.split(".")]
    load_strictly(model, checkpoint.model | {name: state[name] for name in fresh}, checkpoint.path)
    return fresh


def restore(
    checkpoint: Checkpoint, model: nn.Module, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Loads weights (and optimiser state). Raises ValueError if they are of another model."""
    refuse_other_model(model, checkpoint)
    model.load_state_dict(checkpoint.model, strict=True)
    if optimizer is None:
        return
    if checkpoint.optimizer is None:
        said = f"{checkpoint.path} holds weights only: good for prediction, but training cannot go "
        raise ValueError(f"{said}on from it without the optimiser's state.")
    optimizer.load_state_dict(checkpoint.optimizer)
    # Fused AdamW checks no strides: moments in another layout than their weights' (channels last,
    # say) would silently be taken for those of other weights.
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter).copy_(value)
