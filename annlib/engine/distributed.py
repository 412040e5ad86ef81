"""torch.distributed helpers and batch norm over all processes; no-ops in a single process.

torchrun starts one process for each GPU and tells it its rank by environment variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Imported here: the default arguments of this module hold on to the group that exists when it is
# first imported. Torchvision imports it; later than `init_distributed`, the group would outlive its
# end, and gloo could abort at exit.
from torch.distributed.nn.functional import all_reduce

TIMEOUT = timedelta(minutes=30)  # of a process that waits for the others: rank 0 evaluates, saves


def rank() -> int:
    """The number of this process; 0 in a single process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is rank 0, which alone prints and writes files."""
    return rank() == 0


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum over all processes, the same in all of them; alone, the tensor itself."""
    if world_size() == 1:
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def mean_over_ranks(tensor: Tensor) -> Tensor:
    """The mean over all processes, the same in all of them."""
    return sum_over_ranks(tensor) / world_size()


def any_rank(claim: bool) -> bool:
    """Whether it is True in any process; all of them get the same result."""
    if world_size() == 1:
        return claim
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    return bool(sum_over_ranks(torch.tensor(float(claim), device=device)) > 0)


def wait_for_all() -> None:
    """Returns once every process has called it."""
    if world_size() > 1:
        dist.barrier()


@contextmanager
def init_distributed(device: torch.device) -> Iterator[torch.device]:
    """Inside, the processes that torchrun started form a group; yields this one's device.

    A no-op without torchrun. On GPUs each process takes the one of its local rank. Raises
    ValueError when there are more processes than GPUs.
    """
    if not {"RANK", "WORLD_SIZE"} <= os.environ.keys() or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = own_gpu()
        torch.cuda.set_device(device)
    store, number, count = next(dist.rendezvous("env://", timeout=TIMEOUT))
    # A restarted group may find the addresses of the dead one in the store (torch 2.14). On one
    # machine the number of restarts distinguishes them. Machines count separately: there torchrun
    # needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, which gives every start a store of its own.
    one_machine = os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if one_machine else "0"
    options = {"store": dist.PrefixStore(f"restart-{restarts}", store), "timeout": TIMEOUT}
    on_gpu = {"device_id": device} if device.type == "cuda" else {}
    backend = "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, rank=number, world_size=count, **options, **on_gpu)
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


class SharedBatchNorm(nn.BatchNorm2d):
    """SyncBatchNorm for CPUs, where torch's own refuses to run. Same parameters, same names."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same, with the mean and variance of all processes' B"""
        if not self.training:
            return super().forward(x)
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        # This all_reduce, unlike the one of torch.distributed, has a gradient.
        mean = all_reduce(exact.mean((0, 2, 3))) / world_size()
        centred = exact - mean[:, None, None]
        variance = all_reduce(centred.square().mean((0, 2, 3))) / world_size()
        with torch.no_grad():  # the running variance is unbiased, as in BatchNorm2d
            count = x.numel() // x.shape[1] * world_size()
            unbiased = variance * (count / max(1, count - 1))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def share_statistics(model: nn.Module, device: torch.device) -> nn.Module:
    """Makes every batch norm see the batches of all processes; parameters and names stay."""
    if world_size() == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for parent in list(model.modules()):
        for name, norm in parent.named_children():
            if type(norm) is nn.BatchNorm2d:
                shared = SharedBatchNorm(norm.num_features, norm.eps, norm.momentum)
                shared.weight, shared.bias = norm.weight, norm.bias
                for key, buffer in norm.named_buffers():
                    shared.register_buffer(key, buffer)
                setattr(parent, name, shared.train(norm.training))
    return model
