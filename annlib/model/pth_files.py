"""Files of torch.save from others: fetched, checked by the hash in their name, never executed."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor, nn
from torch.serialization import safe_globals

from annlib.downloads import checksum, download, home
from annlib.model.reference_weights import state_dict_of
from annlib.transfer import Progress

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")  # the publishers' convention


def weights_folder() -> Path:
    """Where fetched weights are kept."""
    return home() / "weights"


def kept_at(url: str) -> Path:
    """Where the file of that address lies once it is fetched."""
    return weights_folder() / url.rpartition("/")[2]


def fetch_file(url: str, progress: Progress | None = None) -> Path:
    """The file of that address, from the cache or from the network; errors as `download`.

    ANNLIB_WEIGHTS_HOST: another server (https://...) or folder (file://...) with the same paths.
    """
    path, host = kept_at(url), os.environ.get("ANNLIB_WEIGHTS_HOST")
    source = host.rstrip("/") + urlsplit(url).path if host else url
    return download(source, path, hash_in(path.name), progress=progress)


def hash_in(name: str) -> str:
    """The first 8 hexadecimal digits of the file's SHA-256, "" for a name that holds none."""
    found = HASH_IN_NAME.search(name)
    return found[1] if found else ""


def check_hash(path: Path) -> str:
    """The SHA-256 of a file. Raises ValueError if its name promises another."""
    promised, actual = hash_in(path.name), checksum(path, "SHA-256")
    if not actual.startswith(promised):
        raise ValueError(
            f"{path} is damaged or another file: its SHA-256 begins with {actual[:8]}, not with "
            f"{promised} as in its name. Fetch it again."
        )
    return actual


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of torch.save, by their names there. Nothing in it is executed.

    Raises FileNotFoundError, or ValueError for a file that is damaged, that needs more than
    tensors and plain values, or that holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_globals(harmless()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch's reader stumbles over damage in many ways
        raise unreadable(path, error) from error
    return only_tensors(content, path)


def harmless() -> list[Callable | tuple[Callable, str]]:
    """Beside tensors: numbers and arrays of numpy, dates. Their making runs no code of a file."""
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?", "U")]
    number, array = np.float64(0).__reduce__()[0], np.empty(0).__reduce__()[0]
    named = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")  # before and since numpy 2
        for function, name in ((number, "scalar"), (array, "_reconstruct"))
    ]
    return [np.dtype, np.ndarray, date, datetime, *kinds, *named]


def unreadable(path: Path, error: Exception) -> ValueError:
    """What to say of a file that torch did not read."""
    refused = re.search(r"GLOBAL (\S+)|got <class '(.+?)'>|unrecognized function (.+)", str(error))
    if refused:
        wanted = refused[1] or refused[2] or refused[3]
        return ValueError(
            f"{path} is not read: besides tensors and plain values it wants {wanted}, and making "
            "such things can run any code. If you trust where it is from, load it there and keep "
            "the weights alone: torch.save(model.state_dict(), ...)."
        )
    said = re.split(r"\. |\n", str(error) or type(error).__name__)[0]
    return ValueError(
        f"{path} is damaged, only half there, or no file of torch.save ({said}). Fetch it again."
    )


def only_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in a file. Raises ValueError when there are none, or other things among them."""
    weights = state_dict_of(content) if isinstance(content, Mapping) else {}
    others = [str(key) for key, value in weights.items() if not isinstance(value, Tensor)]
    if others or not weights:
        found = f"it holds {', '.join(others[:4])}" if others else type(content).__name__
        raise ValueError(
            f"{path} holds no table of weights, neither itself nor as 'state_dict': {found}."
        )
    return dict(weights)


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Puts weights into a network. Raises ValueError, with nothing changed, if any does not fit."""
    ours = module.state_dict()
    missing = [k for k in ours if k not in weights and not k.endswith("num_batches_tracked")]
    unknown = [k for k in weights if k not in ours]
    differing = [
        f"{k} {tuple(weights[k].shape)} there, {tuple(v.shape)} here"
        for k, v in ours.items()
        if k in weights and weights[k].shape != v.shape
    ]
    for kind, names in (("lacks", missing), ("has unknown", unknown), ("differs:", differing)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(
                f"{path} belongs to another network: it {kind} {', '.join(names[:3])}{more}."
            )
    module.load_state_dict(weights, strict=True)
