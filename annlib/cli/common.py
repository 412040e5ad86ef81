"""Out of memory: which knob to turn, and how far."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from annlib.config import Compute, Experiment


@contextmanager
def memory_advice(
    experiment: "Experiment", compute: "Compute", device: "torch.device", processes: int
) -> Iterator[None]:
    """Inside, running out of memory becomes an OSError that says what to do about it."""
    from annlib.engine.memory import is_out_of_memory

    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(used_up(error, device), experiment, compute, processes) from error


def used_up(error: RuntimeError, device: "torch.device") -> str:
    """Whose memory, and how much of it."""
    import torch

    if not isinstance(error, torch.OutOfMemoryError):
        return f"The machine's memory is used up ({str(error).splitlines()[0]})"
    held = torch.cuda.max_memory_allocated(device) / 2**30
    total = torch.cuda.get_device_properties(device).total_memory / 2**30
    return f"The GPU's memory is used up ({held:.1f} of {total:.1f} GiB by this process)"


def out_of_memory(
    told: str, experiment: "Experiment", compute: "Compute", processes: int
) -> OSError:
    """What was attempted, and what would need less, in the order of what it costs."""
    share = experiment.data.batch_size // processes
    at_once = share // compute.accumulate
    crop = experiment.data.crop_size
    size = f" of {crop[0]} x {crop[1]} pixels" if crop else ""
    return OSError(
        errno.ENOMEM,
        f"{told}, working on {at_once} pictures{size} at once. "
        + " ".join([*knobs(share, at_once, compute), "A smaller crop_size in the experiment."]),
    )


def knobs(share: int, at_once: int, compute: "Compute") -> list[str]:
    """Options that lessen memory and leave the recipe as it is, with their numbers."""
    found = []
    if at_once > 1:
        fewer = next(n for n in range(at_once - 1, 0, -1) if share % n == 0)
        found.append(
            f"Try --accumulate {share // fewer}: {fewer} at a time, the same batch for the "
            "gradient (batch norm then sees the smaller ones)."
        )
    if compute.precision == "fp32":
        found.append("Try --precision bf16: most maps then take 2 bytes a number instead of 4.")
    return found
