"""Out of memory, told apart from other errors, on a GPU and on a CPU."""

import torch

CPU_MESSAGES = ("can't allocate memory", "not enough memory")  # torch has no class for these


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not get memory for a tensor."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(message in str(error) for message in CPU_MESSAGES)
