"""python -m benchmarks network: one image and one training step, the reference and ours."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from annlib.cli.common import able, at_least_one
from annlib.config import Precision, RuntimeConfig
from annlib.course.timing import speedup, time_interleaved
from annlib.engine.metrics import percent, table
from annlib.engine.profiler import Timing, operation_counter, peak_bytes
from annlib.engine.row_costs import device_name, noise, steps_on
from annlib.engine.train import autocast
from annlib.engine.trainer import prepare_model, wrap_model
from annlib.model.ann import ANN, resize_bilinear
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.fused import fuse_for_inference, fuse_for_training
from annlib.model.resnet import Bottleneck
from annlib.seeds import seeded
from annlib.zoo import Published
from benchmarks.common import DevicePeak, Machine, Ready, Resident, Results, resident
from benchmarks.mmseg_reference import installed, reference_logits, reference_model, reference_steps
from benchmarks.published_rows import Choice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.common import Ready, Resident


Network = Literal["reference", "as written", "folded", "frozen"]
AS_IT_COMES = RuntimeConfig(channels_last=False)


@dataclass(frozen=True)
class Contestant:
    """A network, and how the machine computes it."""

    network: Network
    compute: RuntimeConfig = AS_IT_COMES

    @property
    def name(self) -> str:
        """Of its line in a table."""
        words: list[str] = [self.network]
        words += ["channels last"] * self.compute.channels_last
        words += [self.compute.precision] * (self.compute.precision != "fp32")
        words += ["compiled"] * self.compute.compile
        words += ["CUDA graphs"] * self.compute.cuda_graphs
        return ", ".join(words)


def field(best: Network, compute: RuntimeConfig) -> list[Contestant]:
    """All that take part in fp32, and the best of ours with more and more of what `compute` asks.

    The first of them is who the others are compared with: the reference where it is installed.
    """
    ours = ("folded", "frozen") if best == "frozen" else ("folded",)
    found = [Contestant("reference")] if installed() else []
    found += [Contestant("as written"), *(Contestant(network, RuntimeConfig()) for network in ours)]
    steps = (
        replace(compute, compile=False, cuda_graphs=False),
        replace(compute, cuda_graphs=False),
        compute,
    )
    return list(dict.fromkeys([*found, *(Contestant(best, step) for step in steps)]))


def our_network(row: Published) -> ANN:
    """ANN with weights that are the same whenever it is built, and of which none is idle.

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


def network(contestant: Contestant, row: Published, device: torch.device) -> nn.Module:
    """The network of a contestant on its device, in its layout, not compiled yet."""
    match contestant.network:
        case "reference":
            model = reference_model(row, our_network(row))
        case "as written":
            model = our_network(row)
        case "folded":
            model = fuse_for_training(our_network(row))
        case "frozen":
            model = fuse_for_inference(our_network(row))
    return prepare_model(model, device, contestant.compute)


Size = tuple[int, int]  # height, width


def picture(size: Size, device: torch.device) -> Tensor:
    """Noise over regions that are alike: of noise alone all anchors would be the same.

    -> float32 (1, 3, *size), normalised
    """
    with seeded("picture"):
        regions = resize_bilinear(torch.randn(1, 3, 8, 8), size, align_corners=False)
        return (regions + 0.5 * torch.randn(1, 3, *size)).to(device)


def inference(contestant: Contestant, row: Published, size: Size, device: torch.device) -> Ready:
    """A picture to logits (1, K, *size). In fp32 all contestants return the same."""
    model = network(contestant, row, device).eval()
    runs = wrap_model(model, device, contestant.compute)
    images, precision = picture(size, device), contestant.compute.precision

    def logits(runs: nn.Module, precision: Precision) -> Tensor:
        with torch.inference_mode(), autocast(device, precision):
            if contestant.network == "reference":
                return reference_logits(runs, images)
            return runs(images).main

    return Ready(
        partial(logits, runs, precision),
        partial(logits, model, "fp32"),
        number_of_parameters(model),
        precision,
    )


def training(
    contestant: Contestant, row: Published, size: Size, num_images: int, device: torch.device
) -> Ready:
    """A step by the row's recipe -> its loss. Each call is the next step, on the same batch.

    Dropout is off: the contestants would draw different random numbers.
    """
    model = without_dropout(network(contestant, row, device))
    data = replace(row.experiment.data, crop_size=size, batch_size=num_images)
    with seeded("batch"):
        images, labels = noise(replace(row.experiment, data=data), torch.device("cpu"))
    batch = images.to(device), labels.to(device)

    def steps(compute: RuntimeConfig) -> Iterator[Tensor]:
        if contestant.network == "reference":
            return reference_steps(model, *batch, row.experiment.train)
        return (step.loss for step in steps_on(batch, model, row.experiment.train, compute))

    return Ready(
        partial(next, steps(contestant.compute)),
        lambda: next(steps(AS_IT_COMES)),
        number_of_parameters(model),
        contestant.compute.precision,
    )


def without_dropout(model: nn.Module) -> nn.Module:
    """The same network, which drops nothing; the reference cannot be built like that."""
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return model


def number_of_parameters(model: nn.Module) -> int:
    """A parameter that two parts share counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True)
class Entry:
    """What was found out about one contestant; the first one is who the others are compared with.

    difference: largest, relative to the largest number of the first one's results. agreement: share
    of pixels whose highest score is of the same class; None where results are no scores. peak_mib:
    of tensors during a call, beyond those held before. gflops: counted in one call.
    """

    name: str
    timing: Timing  # milliseconds
    times_faster: float
    difference: float
    agreement: float | None
    peak_mib: float
    resident: Resident | None  # None: not asked for, or a GPU's work
    parameters: int
    precision: Precision
    gflops: float

    @property
    def gflops_per_second(self) -> float:
        return 1000 * self.gflops / self.timing.median

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        process = self.resident._asdict() if self.resident else None
        return asdict(self) | {"resident": process, "gflops_per_second": self.gflops_per_second}


def contest(
    works: Mapping[str, Callable[[], Ready]],
    device: torch.device,
    repeat: int,
    looks: int = 1,
    processes: Mapping[str, Resident | None] | None = None,
) -> list[Entry]:
    """Lets all do their work turn by turn.

    works: what prepares each. looks: calls at the start whose results are compared. processes: see
    `processes_of`, asked for before as its processes want the memory to themselves.
    """
    ready = {name: prepare() for name, prepare in works.items()}
    results = {name: first_results(each.call, looks) for name, each in ready.items()}
    timings = time_interleaved({name: each.call for name, each in ready.items()}, device, repeat)
    first = next(iter(ready))
    return [
        Entry(
            name=name,
            timing=timings[name],
            times_faster=speedup(timings, name, of=first),
            difference=difference(results[name], results[first]),
            agreement=agreement(results[name], results[first]),
            peak_mib=peak_bytes(each.call, device) / 2**20,
            resident=(processes or {}).get(name),
            parameters=each.parameters,
            precision=each.precision,
            gflops=counted_gflops(each.plain),
        )
        for name, each in ready.items()
    ]


def processes_of(
    works: Mapping[str, Callable[[], Ready]], device: torch.device
) -> dict[str, Resident | None]:
    """What each work needs in a process of its own. A GPU's memory is not the process's: None."""
    if device.type != "cpu":
        return dict.fromkeys(works)
    return {name: resident(prepare) for name, prepare in works.items()}


def first_results(call: Callable[[], Tensor], looks: int) -> Tensor:
    """Copies of what the first calls return, in one tensor."""
    # Compiled networks write into the same memory each time.
    copies = [call().detach().to("cpu", torch.float32, copy=True) for _ in range(looks)]
    return torch.stack(copies)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest, relative to the largest number expected."""
    return float((found - expected).abs().max() / expected.abs().max())


def agreement(found: Tensor, expected: Tensor) -> float | None:
    """Share of the pixels with the same class.  2 x (looks, B, K, H, W); of other results None"""
    if expected.ndim != 5:
        return None
    return float((found.argmax(2) == expected.argmax(2)).float().mean())


def counted_gflops(call: Callable[[], Tensor]) -> float:
    """10^9 operations of convolutions and products, 2 for a multiply-add."""
    with operation_counter() as counter:
        call()
    return counter.get_total_flops() / 1e9


Column = tuple[str, list[str]]  # header, one cell a contestant

LEGEND = """Times are medians (fastest to slowest), {repeat} calls each, taken turn by turn. The
first of a table is who the others are compared with: how much faster; the largest difference, as a
share of the largest number; the share of pixels whose best class is the same. Tensors: the most
that they held at once, beyond what they held before the call. Process: the most memory of a process
of its own, libraries included; before: until its first call. GFLOPs: convolutions and products, 2
for a multiply-add; peak: of what this device reaches in a product of matrices, {products} GFLOP/s.
It copies {gigabytes:.1f} GB/s, read and written together. {device}, {threads} threads."""


@dataclass(frozen=True)
class Report:
    """All contests of one run, by what was to be done."""

    contests: Mapping[str, Sequence[Entry]]
    peak: DevicePeak
    device: torch.device
    repeat: int

    def text(self) -> str:
        """A table for each, and what its columns are."""
        products = ", ".join(f"{rate:.0f} in {name}" for name, rate in self.peak.gflops.items())
        legend = LEGEND.format(
            repeat=self.repeat,
            products=products,
            gigabytes=self.peak.gigabytes,
            device=device_name(self.device),
            threads=torch.get_num_threads(),
        )
        tables = [
            f"{title}:\n\n{contest_table(entries, self.peak)}"
            for title, entries in self.contests.items()
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
            "contests": {
                title: [entry.as_json() for entry in entries]
                for title, entries in self.contests.items()
            },
        }


def contest_table(entries: Sequence[Entry], peak: DevicePeak) -> str:
    """A line for each contestant; columns for what there is something to say about."""
    columns = [*time_columns(entries), *memory_columns(entries)]
    if all(entry.gflops for entry in entries):
        columns += work_columns(entries, peak)
    cells = zip(*(cells for _, cells in columns), strict=True)
    rows = [[entry.name, *row] for entry, row in zip(entries, cells, strict=True)]
    return table(["contestant", *(header for header, _ in columns)], rows)


def spread(timing: Timing) -> str:
    return f"{timing.median:.1f} ({timing.fastest:.1f} to {timing.slowest:.1f})"


def time_columns(entries: Sequence[Entry]) -> list[Column]:
    columns = [
        ("ms", [spread(entry.timing) for entry in entries]),
        ("times faster", [f"{entry.times_faster:.2f}" for entry in entries]),
        ("difference", [f"{entry.difference:.0e}" for entry in entries]),
    ]
    agreements = [entry.agreement for entry in entries if entry.agreement is not None]
    return columns + ([("same class %", [*map(percent, agreements)])] if agreements else [])


def memory_columns(entries: Sequence[Entry]) -> list[Column]:
    columns = [("tensors MiB", [f"{entry.peak_mib:.1f}" for entry in entries])]
    processes = [entry.resident for entry in entries if entry.resident is not None]
    if not processes:
        return columns
    first = processes[0].peak
    return [
        *columns,
        ("process MiB", [f"{each.peak:.0f} ({each.peak / first:.2f}x)" for each in processes]),
        ("before", [f"{each.before:.0f}" for each in processes]),
    ]


def work_columns(entries: Sequence[Entry], peak: DevicePeak) -> list[Column]:
    rates = [entry.gflops_per_second for entry in entries]
    peaks = [peak.gflops[entry.precision] for entry in entries]
    return [
        ("parameters", [f"{entry.parameters:,}" for entry in entries]),
        ("GFLOPs", [f"{entry.gflops:.1f}" for entry in entries]),
        ("GFLOP/s", [f"{rate:.0f}" for rate in rates]),
        ("peak %", [percent(rate / peak) for rate, peak in zip(rates, peaks, strict=True)]),
    ]


@dataclass(frozen=True)
class Rivals:
    """Who races, with the same weights, and what is measured of them."""

    row: str = "ann_r50-d8_512x1024_40k_cityscapes"
    """A published row (`annlib list`): its network and recipe."""
    precision: Precision = "fp32"
    """The best of ours takes part in this precision, too."""
    compile: bool = False
    """The best of ours takes part compiled, too. Its first call takes minutes."""
    cuda_graphs: bool = False
    """With --compile, on a GPU: it takes part with its kernels replayed, too."""
    processes: bool = True
    """Measure the memory of processes, too, one for each (on a CPU)."""

    def published(self) -> "Published":
        """Raises KeyError for an unknown row."""
        from annlib.zoo import published

        return published(self.row)

    def field(self, best: "Network", device: "torch.device") -> "list[Contestant]":
        """Those that can take part; says who cannot, and why."""
        from benchmarks.mmseg_reference import HOW_TO_INSTALL, installed

        if not installed():
            print(f"The reference is not installed: ours race alone. {HOW_TO_INSTALL}", flush=True)
        asked = RuntimeConfig(self.precision, compile=self.compile, cuda_graphs=self.cuda_graphs)
        return field(best, able(asked, device))

    def race(
        self,
        works: "Mapping[str, Callable[[], Ready]]",
        device: "torch.device",
        repeat: int,
        looks: int = 1,
    ) -> "list[Entry]":
        """Says what is being done, for it takes minutes."""

        processes: dict[str, Resident | None] = {}
        if self.processes:
            print(f"Memory of {len(works)} processes ...", flush=True)
            processes = processes_of(works, device)
        print(f"{repeat} rounds of: {'; '.join(works)} ...", flush=True)
        return contest(works, device, repeat, looks, processes)

    def report(
        self, contests: "Mapping[str, list[Entry]]", device: "torch.device", repeat: int
    ) -> "Report":
        """The contests beside what the device can do at most, measured now."""
        from benchmarks.common import device_peak

        peak = device_peak(device, sorted({"fp32", self.precision}))
        return Report(contests, peak, device, repeat)

    def words(self) -> list[str]:
        """Settings for the name of a file: the row, and what is not the usual."""
        words = [self.row] + [self.precision] * (self.precision != "fp32")
        return words + ["compiled"] * self.compile + ["cuda-graphs"] * self.cuda_graphs


@dataclass(frozen=True)
class Model:
    """Race the reference: one picture, from its pixels to logits of its size.

    Without the reference (pip install -e '.[reference]') ours are compared with each other.
    """

    rivals: Rivals = Rivals()
    machine: Machine = Machine()
    results: Results = Results()
    size: tuple[int, int] | None = None
    """Height and width of the picture; the row's crop if not given."""

    def run(self) -> None:
        from functools import partial

        row, device = self.rivals.published(), self.machine.ready()
        size = self.size or row.experiment.data.crop_size
        at_least_one("--size", min(size))
        field = self.rivals.field("frozen", device)
        works = {each.name: partial(inference, each, row, size, device) for each in field}
        entries = self.rivals.race(works, device, self.machine.repeat)
        contests = {f"One picture of {size[0]} x {size[1]} to logits of its size": entries}
        report = self.rivals.report(contests, device, self.machine.repeat)
        path = self.results.path(device, "model", *self.rivals.words(), f"{size[0]}x{size[1]}")
        self.results.keep(report.text(), report.values(), path)


LOOKS = 3  # losses that are compared; each depends on all weights after the step before


@dataclass(frozen=True)
class Train:
    """Race the reference: a step of training by the same recipe, on the same batch, over and over.

    Forward, loss, backward, SGD; without the loading of data, and with dropout off, so that losses
    can be compared. Without the reference (pip install -e '.[reference]') ours race alone.
    """

    rivals: Rivals = Rivals()
    machine: Machine = Machine()
    results: Results = Results()
    crop: tuple[int, int] = (256, 256)
    """Height and width of the pictures."""
    batch: int = 2
    """Pictures in a batch."""

    def run(self) -> None:
        from functools import partial

        row, device = self.rivals.published(), self.machine.ready()
        at_least_one("--crop", min(self.crop))
        at_least_one("--batch", self.batch)
        works = {
            each.name: partial(training, each, row, self.crop, self.batch, device)
            for each in self.rivals.field("folded", device)
        }
        entries = self.rivals.race(works, device, self.machine.repeat, LOOKS)
        batch = f"{self.batch}x{self.crop[0]}x{self.crop[1]}"
        title = f"A step of training on {batch.replace('x', ' x ')} (its result: the loss)"
        report = self.rivals.report({title: entries}, device, self.machine.repeat)
        path = self.results.path(device, "train", *self.rivals.words(), batch)
        self.results.keep(report.text(), report.values(), path)


@dataclass(frozen=True)
class Parts:
    """Show parameters, multiply-adds and time of each part of a network, in inference."""

    choice: Choice = Choice()
    machine: Machine = Machine()
    shrink: int = 1
    """Divide all sides of pictures by this."""
    precision: Precision = "fp32"
    """Of convolutions and products."""

    def run(self) -> None:
        from annlib.engine.row_costs import Measuring, parts_table

        rows = self.choice.rows()
        compute = RuntimeConfig(self.precision)
        how = Measuring(self.machine.ready(), compute, self.shrink, self.machine.repeat)
        for row in rows:
            print(f"{row.name}\n\n{parts_table(row.experiment, how)}\n", flush=True)
