"""One image and one training step: the reference and our networks, with the same weights."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from annlib.cli.common import able, at_least_one
from annlib.config import Experiment, ModelConfig, Precision, RuntimeConfig
from annlib.course.profiler import Timing, operation_counter, peak_bytes, synchronise
from annlib.course.row_costs import (
    REST,
    Measuring,
    Size,
    gflops_by_part,
    image_size,
    meta_model,
    noise_batch,
    shrunk,
    steps_on_batch,
)
from annlib.engine.inference import autocast, fit, inference_of
from annlib.engine.metrics import percent, table
from annlib.engine.results import device_name
from annlib.engine.trainer import prepare_model, wrap_model
from annlib.model.ann import ANN, resize_bilinear
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_inference, fuse_for_training
from annlib.model.resnet import Bottleneck
from annlib.published_experiments import Published, published
from annlib.seeds import seeded
from benchmarks.common import (
    DevicePeak,
    Machine,
    ProcessMemory,
    Results,
    Workload,
    device_peak,
    main,
    process_memory,
    time_interleaved,
)
from benchmarks.mmseg_reference import (
    HOW_TO_INSTALL,
    installed,
    reference_logits,
    reference_model,
    reference_steps,
)
from benchmarks.published_rows import Choice

Network = Literal["reference", "as written", "folded", "frozen"]
Column = tuple[str, list[str]]  # header, one cell for each variant
PLAIN = RuntimeConfig(channels_last=False)
LOSSES = 3  # that are compared; each depends on all weights after the step before
LEGEND = """Times are medians (fastest to slowest), {repeat} calls each, interleaved. The others are
compared with the first variant of a table: how much faster; the largest difference, relative to the
largest number; the percentage of pixels with the same best class. Tensors: their peak memory,
beyond what they held before the call. Process: the peak memory of a process of its own, including
libraries; before: until its first call. GFLOPs: convolutions and products, 2 for a multiply-add;
peak: of what this device reaches in a matrix product, {products} GFLOP/s. It copies
{gigabytes:.1f} GB/s, read and written together. {device}, {threads} threads."""


@dataclass(frozen=True)
class Variant:
    """A network and its runtime options."""

    network: Network
    compute: RuntimeConfig = PLAIN

    @property
    def name(self) -> str:
        words: list[str] = [self.network]
        words += ["channels last"] * self.compute.channels_last
        words += [self.compute.precision] * (self.compute.precision != "fp32")
        words += ["compiled"] * self.compute.compile
        words += ["CUDA graphs"] * self.compute.cuda_graphs
        return ", ".join(words)


def variants(best: Network, compute: RuntimeConfig) -> list[Variant]:
    """All networks in fp32, and the best of ours with more and more of the options in `compute`.

    The others are compared with the first one: the reference if it is installed.
    """
    ours = ("folded", "frozen") if best == "frozen" else ("folded",)
    found = [Variant("reference")] if installed() else []
    found += [Variant("as written"), *(Variant(network, RuntimeConfig()) for network in ours)]
    steps = (
        replace(compute, compile=False, cuda_graphs=False),
        replace(compute, cuda_graphs=False),
        compute,
    )
    return list(dict.fromkeys([*found, *(Variant(best, step) for step in steps)]))


def our_network(row: Published) -> ANN:
    """ANN with reproducible weights, in which every part has an effect.

    Training starts from zeros at the end of each residual block and of each attention: with them
    networks would agree whatever those parts compute.
    """
    with seeded("speed", row.name):
        model = ANN(row.experiment.model)
        for module in model.modules():
            if isinstance(module, Bottleneck):
                nn.init.uniform_(module.bn3.weight, 0.0, 0.5)
            if isinstance(module, AsymmetricAttention):
                module.to_output.reset_parameters()
    return model


def make_network(variant: Variant, row: Published, device: torch.device) -> nn.Module:
    """The network of a variant on its device, in its memory layout, not compiled yet."""
    match variant.network:
        case "reference":
            model = reference_model(row, our_network(row))
        case "as written":
            model = our_network(row)
        case "folded":
            model = fuse_for_training(our_network(row))
        case "frozen":
            model = fuse_for_inference(our_network(row))
    return prepare_model(model, device, variant.compute)


def make_image(size: Size, device: torch.device) -> Tensor:
    """Noise over smooth regions, because in noise alone all anchors would be the same.

    -> float32 (1, 3, *size), normalised
    """
    with seeded("picture"):
        regions = resize_bilinear(torch.randn(1, 3, 8, 8), size, align_corners=False)
        return (regions + 0.5 * torch.randn(1, 3, *size)).to(device)


def number_of_parameters(model: nn.Module) -> int:
    """A parameter that two parts share counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def inference(variant: Variant, row: Published, size: Size, device: torch.device) -> Workload:
    """An image to logits (1, K, *size). In fp32 all variants return the same."""
    model = make_network(variant, row, device).eval()
    runs = wrap_model(model, device, variant.compute)
    images, precision = make_image(size, device), variant.compute.precision

    def logits(runs: nn.Module, precision: Precision) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            if variant.network == "reference":
                return reference_logits(runs, images)
            return runs(images).main

    return Workload(
        partial(logits, runs, precision),
        partial(logits, model, "fp32"),
        number_of_parameters(model),
        precision,
    )


def training(
    variant: Variant, row: Published, size: Size, num_images: int, device: torch.device
) -> Workload:
    """A step by the row's recipe -> its loss. Each call is the next step, on the same batch.

    Dropout is off, because the variants would draw different random numbers.
    """
    model = without_dropout(make_network(variant, row, device))
    data = replace(row.experiment.data, crop_size=size, batch_size=num_images)
    with seeded("batch"):
        images, labels = noise_batch(replace(row.experiment, data=data), torch.device("cpu"))
    batch = images.to(device), labels.to(device)

    def steps(compute: RuntimeConfig) -> Iterator[Tensor]:
        if variant.network == "reference":
            return reference_steps(model, *batch, row.experiment.train)
        return (step.loss for step in steps_on_batch(batch, model, row.experiment.train, compute))

    return Workload(
        partial(next, steps(variant.compute)),
        lambda: next(steps(PLAIN)),
        number_of_parameters(model),
        variant.compute.precision,
    )


def without_dropout(model: nn.Module) -> nn.Module:
    """The same network with dropout 0; the reference cannot be built like that."""
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return model


@dataclass(frozen=True)
class Measured:
    """What was measured of one variant; the others are compared with the first.

    difference: largest, relative to the largest number of the first one's results. agreement: share
    of pixels with the same best class; None where results are not scores. peak_mib: of tensors
    during a call, beyond those before. gflops: of one call.
    """

    name: str
    timing: Timing  # milliseconds
    times_faster: float
    difference: float
    agreement: float | None
    peak_mib: float
    process: ProcessMemory | None  # None: not asked for, or on a GPU
    parameters: int
    precision: Precision
    gflops: float

    @property
    def gflops_per_second(self) -> float:
        return 1000 * self.gflops / self.timing.median

    def as_json(self) -> dict[str, Any]:
        process = self.process._asdict() if self.process else None
        return asdict(self) | {"process": process, "gflops_per_second": self.gflops_per_second}


def compare_workloads(
    prepare: Mapping[str, Callable[[], Workload]],
    device: torch.device,
    repeat: int,
    num_results: int = 1,
    processes: Mapping[str, ProcessMemory | None] | None = None,
) -> list[Measured]:
    """Runs all workloads in turn.

    num_results: first calls whose results are compared. processes: see `process_memory`, measured
    before this, because its processes need the memory for themselves.
    """
    workloads = {name: make() for name, make in prepare.items()}
    results = {
        # Copies, because compiled networks write into the same memory each time.
        name: torch.stack(
            [each.call().detach().to("cpu", torch.float32, copy=True) for _ in range(num_results)]
        )
        for name, each in workloads.items()
    }
    calls = {name: each.call for name, each in workloads.items()}
    timings = time_interleaved(calls, device, repeat)
    first = next(iter(workloads))
    expected, found = results[first], []
    for name, each in workloads.items():
        own = results[name]
        agreement = None
        if expected.ndim == 5:  # scores (num_results, B, K, H, W)
            agreement = float((own.argmax(2) == expected.argmax(2)).float().mean())
        with operation_counter() as counter:
            each.plain()
        found.append(
            Measured(
                name=name,
                timing=timings[name],
                times_faster=timings[first].median / timings[name].median,
                difference=float((own - expected).abs().max() / expected.abs().max()),
                agreement=agreement,
                peak_mib=peak_bytes(each.call, device) / 2**20,
                process=(processes or {}).get(name),
                parameters=each.parameters,
                precision=each.precision,
                gflops=counter.get_total_flops() / 1e9,
            )
        )
    return found


@dataclass(frozen=True)
class Report:
    """All comparisons of one run, by their titles."""

    comparisons: Mapping[str, Sequence[Measured]]
    peak: DevicePeak
    device: torch.device
    repeat: int

    def text(self) -> str:
        """A table for each comparison, and a legend."""
        products = ", ".join(f"{rate:.0f} in {name}" for name, rate in self.peak.gflops.items())
        legend = LEGEND.format(
            repeat=self.repeat,
            products=products,
            gigabytes=self.peak.gigabytes,
            device=device_name(self.device),
            threads=torch.get_num_threads(),
        )
        tables = [
            f"{title}:\n\n{variants_table(found, self.peak)}"
            for title, found in self.comparisons.items()
        ]
        return "\n\n".join([*tables, legend])

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "settings": {
                "device": device_name(self.device),
                "threads": torch.get_num_threads(),
                "repeat": self.repeat,
            },
            "device_peak": self.peak._asdict(),
            "comparisons": {
                title: [each.as_json() for each in found]
                for title, found in self.comparisons.items()
            },
        }


def variants_table(found: Sequence[Measured], peak: DevicePeak) -> str:
    """A line for each variant; columns that would be empty are left out."""
    columns: list[Column] = [
        ("ms", [str(each.timing) for each in found]),
        ("times faster", [f"{each.times_faster:.2f}" for each in found]),
        ("difference", [f"{each.difference:.0e}" for each in found]),
    ]
    agreements = [percent(each.agreement) for each in found if each.agreement is not None]
    if agreements:
        columns.append(("same class %", agreements))
    columns.append(("tensors MiB", [f"{each.peak_mib:.1f}" for each in found]))
    if processes := [each.process for each in found if each.process is not None]:
        first = processes[0].peak
        columns += [
            ("process MiB", [f"{each.peak:.0f} ({each.peak / first:.2f}x)" for each in processes]),
            ("before", [f"{each.before:.0f}" for each in processes]),
        ]
    if all(each.gflops for each in found):
        rates = [(each.gflops_per_second, peak.gflops[each.precision]) for each in found]
        columns += [
            ("parameters", [f"{each.parameters:,}" for each in found]),
            ("GFLOPs", [f"{each.gflops:.1f}" for each in found]),
            ("GFLOP/s", [f"{rate:.0f}" for rate, _ in rates]),
            ("peak %", [percent(rate / most) for rate, most in rates]),
        ]
    cells = zip(*(cells for _, cells in columns), strict=True)
    rows = [[each.name, *row] for each, row in zip(found, cells, strict=True)]
    return table(["variant", *(header for header, _ in columns)], rows)


@dataclass(frozen=True)
class Variants:
    """Which networks are compared, with the same weights, and what is measured of them."""

    row: str = "ann_r50-d8_512x1024_40k_cityscapes"
    """A published row (`annlib list`): its network and recipe."""
    precision: Precision = "fp32"
    """Measure the best of ours in this precision, too."""
    compile: bool = False
    """Measure the best of ours compiled, too. Its first call takes minutes."""
    cuda_graphs: bool = False
    """With --compile, on a GPU: measure it with CUDA graphs, too."""
    processes: bool = True
    """Measure the memory of processes, too, one for each variant (on a CPU)."""

    def all(self, best: Network, device: torch.device) -> list[Variant]:
        """Those that can be measured here; prints which one cannot, and why."""
        if not installed():
            print(f"The reference is not installed: only ours are measured. {HOW_TO_INSTALL}")
        asked = RuntimeConfig(self.precision, compile=self.compile, cuda_graphs=self.cuda_graphs)
        return variants(best, able(asked, device))

    def compare(
        self,
        prepare: Mapping[str, Callable[[], Workload]],
        device: torch.device,
        repeat: int,
        num_results: int = 1,
    ) -> list[Measured]:
        """Prints what is measured, because it takes minutes."""
        processes: dict[str, ProcessMemory | None] = {}
        if self.processes and device.type == "cpu":  # a GPU's memory is not the process's
            print(f"Memory of {len(prepare)} processes ...", flush=True)
            processes = {name: process_memory(make) for name, make in prepare.items()}
        print(f"{repeat} rounds of: {'; '.join(prepare)} ...", flush=True)
        return compare_workloads(prepare, device, repeat, num_results, processes)

    def report(
        self, comparisons: Mapping[str, list[Measured]], device: torch.device, repeat: int
    ) -> Report:
        """The comparisons, and what the device can do at most, measured now."""
        return Report(
            comparisons, device_peak(device, sorted({"fp32", self.precision})), device, repeat
        )

    def words(self) -> list[str]:
        """Settings for the file name: the row, and what is not the default."""
        words = [self.row] + [self.precision] * (self.precision != "fp32")
        return words + ["compiled"] * self.compile + ["cuda-graphs"] * self.cuda_graphs


@dataclass(frozen=True)
class Image:
    """Compare with the reference: one image, from its pixels to logits of its size.

    Without the reference (pip install -e '.[reference]') ours are compared with each other.
    """

    variants: Variants = Variants()
    machine: Machine = Machine()
    results: Results = Results()
    size: tuple[int, int] | None = None
    """Height and width of the image; the row's crop if not given."""

    def run(self) -> None:
        row, device = published(self.variants.row), self.machine.ready()
        size = self.size or row.experiment.data.crop_size
        at_least_one("--size", min(size))
        prepare = {
            each.name: partial(inference, each, row, size, device)
            for each in self.variants.all("frozen", device)
        }
        found = self.variants.compare(prepare, device, self.machine.repeat)
        title = f"One image of {size[0]} x {size[1]} to logits of its size"
        report = self.variants.report({title: found}, device, self.machine.repeat)
        path = self.results.path(device, "model", *self.variants.words(), f"{size[0]}x{size[1]}")
        print(f"\n{self.results.save(report.text(), report.values(), path)}", flush=True)


@dataclass(frozen=True)
class Step:
    """Compare with the reference: training steps by the same recipe on one batch.

    Forward, loss, backward, SGD; without data loading, and without dropout, so that losses can be
    compared. Without the reference (pip install -e '.[reference]') only ours are measured.
    """

    variants: Variants = Variants()
    machine: Machine = Machine()
    results: Results = Results()
    crop: tuple[int, int] = (256, 256)
    """Height and width of the images."""
    batch: int = 2
    """Images in a batch."""

    def run(self) -> None:
        row, device = published(self.variants.row), self.machine.ready()
        at_least_one("--crop", min(self.crop))
        at_least_one("--batch", self.batch)
        prepare = {
            each.name: partial(training, each, row, self.crop, self.batch, device)
            for each in self.variants.all("folded", device)
        }
        found = self.variants.compare(prepare, device, self.machine.repeat, LOSSES)
        batch = f"{self.batch}x{self.crop[0]}x{self.crop[1]}"
        title = f"A training step on {batch.replace('x', ' x ')} (its result: the loss)"
        report = self.variants.report({title: found}, device, self.machine.repeat)
        path = self.results.path(device, "train", *self.variants.words(), batch)
        print(f"\n{self.results.save(report.text(), report.values(), path)}", flush=True)


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """The stages of the backbone and the blocks of the head, in the order of the forward pass."""
    children = dict(model.backbone.named_children()) | dict(model.named_children())
    del children["backbone"]
    return {name: part for name, part in children.items() if any(True for _ in part.parameters())}


def spent_by_part(model: nn.Module, images: Tensor, clock: Callable[[], float]) -> dict[str, float]:
    """How far a clock advances in each part, and in the rest, while images are segmented.

    The auxiliary head, which only training runs, is run once on c4 after the forward pass. The sum
    is what the clock advanced in total.
    """
    spent, started, c4 = dict.fromkeys(parts_of(model), 0.0), {}, []

    def enter(name: str, *call: object) -> None:
        started[name] = clock()

    def leave(name: str, *call: object) -> None:
        spent[name] += clock() - started[name]

    handles = [model.backbone.register_forward_hook(lambda *call: c4.append(call[2][0]))]
    for name, part in parts_of(model).items():
        handles.append(part.register_forward_pre_hook(partial(enter, name)))
        handles.append(part.register_forward_hook(partial(leave, name)))
    try:
        with inference_of(model):
            begun = clock()
            model(images)
            model.auxiliary(c4[0])
            total = clock() - begun
    finally:
        for handle in handles:
            handle.remove()
    return spent | {REST: total - sum(spent.values())}


def milliseconds_by_part(config: ModelConfig, size: Size, how: Measuring) -> dict[str, float]:
    """Of the forward pass whose time is the median of all."""
    model = prepare_model(fuse_for_training(build_model(config)), how.device, how.compute)
    images = torch.randn(1, 3, *size, device=how.device)

    def clock() -> float:
        synchronise(how.device)
        return 1000 * time.perf_counter()

    with autocast(how.device, how.compute.precision):
        runs = [spent_by_part(model, images, clock) for _ in range(how.repeat + 2)][2:]
    return sorted(runs, key=lambda run: sum(run.values()))[len(runs) // 2]


def network_input(experiment: Experiment, how: Measuring) -> Size:
    """Size of the network's input when an image is tested: the whole image, or a window."""
    test = shrunk(experiment, how.shrink).test
    return test.window or fit(image_size(experiment, how.shrink), test.base_size)


def parameters_by_part(config: ModelConfig) -> dict[str, int]:
    """Parameters of each part, and of the rest."""

    def count(part: nn.Module) -> int:
        return sum(parameter.numel() for parameter in part.parameters())

    model = meta_model(config, True)
    counts = {name: count(part) for name, part in parts_of(model).items()}
    return counts | {REST: count(model) - sum(counts.values())}


def parts_table(experiment: Experiment, how: Measuring) -> str:
    """Parameters, GFLOPs and time of each part; the last line is their sum."""
    config, size = experiment.model, network_input(experiment, how)
    columns = (
        parameters_by_part(config),
        gflops_by_part(config, 1, size),
        milliseconds_by_part(config, size, how),
    )
    numbers = {name: [column[name] for column in columns] for name in columns[2]}
    numbers["all"] = [sum(column.values()) for column in columns]
    rows = [
        [name, f"{parameters:,}", f"{gflops:.2f}", f"{milliseconds:.2f}"]
        for name, (parameters, gflops, milliseconds) in numbers.items()
    ]
    text = table(["part", "parameters", "GFLOPs", "ms"], rows)
    return f"{text}\n\nOne forward pass of 1 x 3 x {size[0]} x {size[1]}, and the auxiliary head."


@dataclass(frozen=True)
class Parts:
    """Show parameters, FLOPs and time of each part of a network, in inference."""

    choice: Choice = Choice()
    machine: Machine = Machine()
    shrink: int = 1
    """Divide all sides of images by this."""
    precision: Precision = "fp32"
    """Of convolutions and products."""

    def run(self) -> None:
        rows = self.choice.rows()
        compute = RuntimeConfig(self.precision)
        how = Measuring(self.machine.ready(), compute, self.shrink, self.machine.repeat)
        for row in rows:
            print(f"{row.name}\n\n{parts_table(row.experiment, how)}\n", flush=True)


COMMANDS = {"image": Image, "step": Step, "parts": Parts}
if __name__ == "__main__":
    main("benchmarks.network", COMMANDS, __doc__, "image")
