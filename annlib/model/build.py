"""Builds a network from a configuration, from a checkpoint, or from the weights that come along."""

from pathlib import Path

import torch

from annlib.config import ModelConfig
from annlib.files import PROJECT
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.checkpoint import Checkpoint, load

SHIPPED = PROJECT / "data" / "weights"


def build_model(config: ModelConfig) -> ANN | Baseline:
    """The network of a configuration, with random weights."""
    return ANN(config) if config.head == "ann" else Baseline(config)


def load_model(source: Path | Checkpoint) -> ANN | Baseline:
    """The model of a checkpoint or of its file, in evaluation mode, on the CPU."""
    checkpoint = source if isinstance(source, Checkpoint) else load(source)
    try:
        with torch.device("meta"):  # takes no memory, whatever sizes a file claims
            ours = build_model(checkpoint.config).state_dict()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{checkpoint.path}: no network has these sizes ({error}).") from error
    shapes = [{key: v.shape for key, v in one.items()} for one in (ours, checkpoint.model)]
    if shapes[0] != shapes[1]:
        said = f"{checkpoint.path} is damaged or was changed: the shapes of its weights are not "
        raise ValueError(f"{said}those of the network that it describes.")
    model = build_model(checkpoint.config)
    model.load_state_dict(checkpoint.model)
    return model.eval()


def shipped_model(name: str) -> ANN | Baseline:
    """A small model that comes with the project, for example "balloon_ann", in evaluation mode."""
    path = SHIPPED / f"{name}.safetensors"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors"))) or "none here"
        raise KeyError(f"No shipped weights {name!r}; there are: {known}.")
    return load_model(path)
