"""Out of memory, told apart from other errors, and how much there is, on a GPU and on a CPU."""

import re
from math import inf
from pathlib import Path

import torch

LISTING = Path("/proc/meminfo")
CPU_MESSAGES = ("can't allocate memory", "not enough memory")  # torch has no class for these


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not get memory for a tensor."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(message in str(error) for message in CPU_MESSAGES)


def available_bytes(device: torch.device) -> float:
    """What could be had now without swapping; infinite where the system does not tell.

    A CPU's allocations hardly ever fail: the process is killed when it writes to what there is not.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    listing = LISTING.read_text() if LISTING.exists() else ""
    told = re.search(r"^MemAvailable:\s*(\d+) kB", listing, re.MULTILINE)
    return int(told[1]) * 1024 if told else inf
