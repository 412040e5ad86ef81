"""What a checkpoint says of itself, read without its tensors: at once, however large it is."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors

from annlib.model.checkpoints import refuse_pickle


class Header(NamedTuple):
    """See annlib.model.checkpoints.Checkpoint."""

    step: int
    notes: dict[str, Any]


def read_header(path: Path) -> Header:
    """Step and notes of a checkpoint. A file that was cut short is noticed, a flipped bit is not.

    Raises FileNotFoundError, or ValueError for a file that is damaged or not ours.
    """
    refuse_pickle(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})["annlib"])
        return Header(facts["step"], facts["notes"])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged, only half written, or no checkpoint of annlib ({error})."
        ) from error
