"""Batch norm over the batches of all processes, so that two halves train as the whole would."""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx

from annlib.engine.distributed import mean_over_ranks, world_size


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
