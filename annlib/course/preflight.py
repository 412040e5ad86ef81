"""Estimates time and memory of a published training run on a GPU before it starts."""

from functools import cache
from typing import NamedTuple

from annlib.course.row_costs import IMAGE_SIZES, gflops_by_part, parameters_by_part, same_cost
from annlib.published_experiments import ROWS, ZOO, Published

TRAINING_BYTES = 12  # of a parameter: weight, gradient and momentum, 4 each
HALF_MAPS = 0.5  # of the bytes of feature maps, if they are bf16 or fp16
BACKWARD = 3  # a step computes about three times what a forward pass does
HALF_SHARE = 0.35  # of its peak, that a GPU reaches on 16 bits: set by us, not measured
V100_TFLOPS = 15.7
ARCHIVES_GB = {"cityscapes": 11.2, "ade20k": 0.9, "voc12aug": 3.4}


class Gpu(NamedTuple):
    """Peak TFLOPS as in NVIDIA's data sheets; V100, A100 and H100 are the SXM form."""

    memory_gb: float
    fp32: float  # without TF32; a fused multiply-add counts as two
    half: float  # fp16 (T4, V100) or bf16 on tensor cores, added up in fp32, dense


GPUS = {
    "Tesla T4, 16 GB": Gpu(16, 8.1, 65),
    "RTX 3090, 24 GB": Gpu(24, 35.6, 71),
    "V100, 32 GB (published table)": Gpu(32, V100_TFLOPS, 125),
    "A100, 80 GB": Gpu(80, 19.5, 312),
    "H100, 80 GB": Gpu(80, 67, 989),
}
PRECISIONS = ("fp32", "bf16 or fp16")


class Estimate(NamedTuple):
    fixed_gb: float  # weights, gradients, momentum
    maps_gb: float
    gpu_gb: float
    hours: float
    disk_gb: float

    @property
    def memory_gb(self) -> float:
        return self.fixed_gb + self.maps_gb

    @property
    def verdict(self) -> str:
        share = self.memory_gb / self.gpu_gb
        if share > 1:
            return "✗ does not fit"
        return "! tight: other programs and fragmentation need room" if share > 0.85 else "✓ fits"


def published_memory(row: Published) -> float:
    """Training memory in GB: of the row, or of the one that differs only in its steps."""
    wanted = same_cost(row.experiment)
    return next(r.memory_gb for r in ROWS if same_cost(r.experiment) == wanted and r.memory_gb)


@cache
def size_of(name: str) -> tuple[int, float]:
    """Parameters, and GFLOPs of one forward pass of one crop."""
    plan = ZOO[name].experiment
    gflops = sum(gflops_by_part(plan.model, 1, plan.data.crop_size).values())
    return sum(parameters_by_part(plan.model).values()), gflops


def share_reached() -> float:
    """Of its peak, that the V100 of the published table reached: from its frames a second."""
    row = ROWS[0]
    crop, image = row.experiment.data.crop_size, IMAGE_SIZES["cityscapes"]
    pixels = image[0] * image[1] / (crop[0] * crop[1])
    return row.frames_per_second * size_of(row.name)[1] * pixels / (1000 * V100_TFLOPS)


def estimate(name: str, gpu: Gpu, batch: int, precision: str) -> Estimate:
    """Of training a row on one GPU with `batch` images at a time.

    Memory follows from the published one, hours from the counted operations and the speed of the
    GPU of the published table.
    """
    if precision not in PRECISIONS or batch < 1:
        raise ValueError(f"batch {batch}, precision {precision!r}: 1 or more, one of {PRECISIONS}.")
    row, (parameters, gflops), half = ZOO[name], size_of(name), precision != "fp32"
    fixed = TRAINING_BYTES * parameters / 1e9
    per_image = (published_memory(row) - fixed) / row.batch_per_gpu
    maps = batch * per_image * (HALF_MAPS if half else 1)
    images = row.experiment.train.iterations * row.experiment.data.batch_size
    rate = gpu.half * HALF_SHARE if half else gpu.fp32 * share_reached()
    hours = BACKWARD * gflops * images / (1000 * rate) / 3600
    disk = 2 * ARCHIVES_GB[row.experiment.data.dataset] + 2 * 8 * parameters / 1e9
    return Estimate(fixed, maps, gpu.memory_gb, hours, disk)
