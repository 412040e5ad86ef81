"""What torchrun needs: who this process is, and sums over all processes. Alone, all of it is free.

torchrun starts one process for each GPU and tells it its number by environment variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

# Its default arguments hold on to the group that exists when it is first imported. Torchvision does
# that; later than `joined`, the group would outlive its end, and gloo could abort at exit.
import torch.distributed.nn.functional  # noqa: F401
from torch import Tensor

PATIENCE = timedelta(minutes=30)  # of a process that waits for the others: rank 0 evaluates, saves


def rank() -> int:
    """The number of this process, 0 when it is alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the one process that prints and writes files."""
    return rank() == 0


def was_restarted() -> bool:
    """Whether torchrun started this process again, after one of the group had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def restarts_here() -> int:
    """How often torchrun started the group again, where its processes all count alike.

    A restarted group may find the addresses of the dead one in the store (torch 2.14). On one
    machine this number tells the two apart; machines count for themselves, so there torchrun needs
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, which gives every start a store of its own.
    """
    one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) if one_machine else 0


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of every process's tensor, the same in all of them. Alone: the tensor itself."""
    if world_size() == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def mean_over_ranks(tensor: Tensor) -> Tensor:
    """The mean of every process's tensor, the same in all of them."""
    return sum_over_ranks(tensor) / world_size()


def any_rank(claim: bool) -> bool:
    """Whether it holds in any process; all of them get the same answer."""
    if world_size() == 1:
        return claim
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    return bool(sum_over_ranks(torch.tensor(float(claim), device=device)) > 0)


def wait_for_all() -> None:
    """Returns once every process has come here."""
    if world_size() > 1:
        dist.barrier()


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Inside, the processes that torchrun started know each other; yields this one's device.

    Alone (not started by torchrun) nothing happens. On GPUs each process takes the one of its
    local number. Raises ValueError when there are more processes than GPUs.
    """
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = own_gpu()
        torch.cuda.set_device(device)
    store, number, count = next(dist.rendezvous("env://", timeout=PATIENCE))
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore(f"restart-{restarts_here()}", store),
        rank=number,
        world_size=count,
        timeout=PATIENCE,
        device_id=device if device.type == "cuda" else None,
    )
    try:
        yield device
    finally:
        dist.destroy_process_group()


def own_gpu() -> torch.device:
    """The GPU of this process among those of its machine."""
    local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > gpus:
        raise ValueError(
            f"torchrun started {processes} processes on this machine, which has {gpus} GPU"
            f"{'s' if gpus != 1 else ''}. Two on one GPU would only wait for each other's memory: "
            f"use --nproc-per-node={gpus}, and --accumulate to keep the batch (or --device cpu)."
        )
    return torch.device("cuda", local)
