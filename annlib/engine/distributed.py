"""torch.distributed helpers and batch norm over all processes; no-ops in a single process.

torchrun starts one process for each GPU and tells it its number by environment variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx

# Its default arguments hold on to the group that exists when it is first imported. Torchvision does
# that; later than `joined`, the group would outlive its end, and gloo could abort at exit.
# noqa: F401


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
def init_distributed(device: torch.device) -> Iterator[torch.device]:
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


class MeanOfAll(Function):
    """The mean over processes; a gradient goes back to each of them."""

    @staticmethod
    def forward(context: FunctionCtx, tensor: Tensor) -> Tensor:
        return mean_over_ranks(tensor)

    @staticmethod
    def backward(context: FunctionCtx, gradient: Tensor) -> Tensor:
        return mean_over_ranks(gradient)


class SharedBatchNorm(nn.BatchNorm2d):
    """SyncBatchNorm for CPUs, where torch's own refuses to run. Same parameters, same names."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same, with the mean and variance of all processes' B"""
        if not self.training:
            return super().forward(x)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = MeanOfAll.apply(exact.mean((0, 2, 3)))
        centred = exact - mean[:, None, None]
        variance = MeanOfAll.apply(centred.square().mean((0, 2, 3)))
        self.follow(mean.detach(), variance.detach(), x.numel() // x.shape[1] * world_size())
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running statistics; the variance without bias, as BatchNorm2d does."""
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        unbiased = variance * (count / max(1, count - 1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        self.num_batches_tracked += 1


def share_statistics(model: nn.Module, device: torch.device) -> nn.Module:
    """Makes every batch norm of a model see the batches of all processes; alone it changes nothing.

    Parameters, buffers and their names stay the same.
    """
    if world_size() == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, shared_copy(child))
    return model


def shared_copy(norm: nn.BatchNorm2d) -> SharedBatchNorm:
    """The same parameters and buffers in a norm that looks at all processes."""
    shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum)
    shared.weight, shared.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers():
        shared.register_buffer(name, buffer)
    return shared.train(norm.training)
