"""Where to compute, as chosen on the command line."""

from typing import TYPE_CHECKING, Literal

from annlib.commands.errors import at_least_one
from annlib.config import Compute

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]


def choose_device(device: Device) -> "torch.device":
    """auto takes a GPU if there is one. Raises ValueError for a GPU that is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "--device cuda, but torch finds no CUDA GPU here. Use --device cpu, or check the "
            "driver (nvidia-smi) and that this torch was built for CUDA."
        )
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def use_threads(threads: int | None) -> None:
    """Limits the CPU threads of one operation; None leaves torch's own choice."""
    import torch

    if threads is None:
        return
    at_least_one("--threads", threads)
    torch.set_num_threads(threads)


def able(compute: Compute, device: "torch.device") -> Compute:
    """What the device can do of it; what it cannot is said, and done without."""
    from annlib.engine.compiling import possible

    compute, obstacle = possible(compute, device)
    if obstacle:
        print(obstacle, flush=True)
    return compute
