"""All that one GPU can tell in eight minutes: one report, each part in a process of its own.

A part that fails or takes too long is reported with its reason, and the others still count.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from annlib.cli.common import Device
from annlib.config import RuntimeConfig
from annlib.engine.inference import choose_device
from annlib.engine.metrics import table
from annlib.engine.results import provenance, to_json
from annlib.model.checkpoint import write_atomically
from annlib.published_experiments import Published, published
from annlib.seeds import seeded
from benchmarks.common import main, remake
from benchmarks.network import Variant, inference, training

CITYSCAPES = "cityscapes"
SIZES = ((512, 1024), (769, 769))
SLOWER = 5  # how much more time a part gets on a CPU
TINY = 8  # divides all sides with --tiny
TAIL = 6000  # characters of a part's output that the report keeps


class Part(NamedTuple):
    """A program to run, and the most seconds that it may take."""

    name: str
    seconds: float
    words: tuple[str, ...]  # after `python -m`


class Done(NamedTuple):
    """How a part ended: "done", or the reason why it has no result, or only a part of it."""

    name: str
    state: str
    seconds: float
    output: str


def row_name(depth: int, size: tuple[int, int]) -> str:
    """The published row of that depth that is trained on crops of that size."""
    return f"ann_r{depth}-d8_{size[0]}x{size[1]}_40k_{CITYSCAPES}"


def parts(device: str, tiny: bool, minutes: float, camvid: Path | None) -> Iterator[Part]:
    """In the order of their importance: what is left out at the end is missed least.

    The paths are those below the report's folder, which the programs run in.
    """
    divide, few = (TINY, "2") if tiny else (1, "10")
    on = ("--device", device, "--repeat", few, "--out", "tables")
    yield Part("agreement", 60, ("benchmarks.gpu", "--part", "agreement", "--device", device))

    def step(depth: int, size: tuple[int, int], *more: str) -> tuple[str, ...]:
        crop = [str(side // divide) for side in size]
        words = ("benchmarks.network", "step", "--row", row_name(depth, size), "--crop")
        options = ("--batch", "2", "--precision", "bf16", "--no-processes")
        return (*words, *crop, *options, *more, *on)

    both = [(depth, size) for size in SIZES for depth in ((50,) if tiny else (50, 101))]
    for depth, size in both:
        yield Part(f"step R-{depth} {size[0]}x{size[1]}", 40, step(depth, size))
    shrink = ("--shrink", str(2 * divide)) if tiny else ()
    names = (row_name(50, SIZES[0]),) if tiny else ("--all",)
    rows = ("benchmarks.published_rows", *names, "--no-training", *shrink, *on)
    yield Part("frames per second", 90, rows)
    maps = [str(side // divide) for side in (64, 128)], [str(side // divide) for side in (256, 128)]
    blocks = ("benchmarks.implementations", "--sizes", *maps[0], "--attention-sizes", *maps[1])
    yield Part("blocks", 60, (*blocks, "--divide", str(2 * divide if tiny else 1), *on))
    yield Part("profile", 40, ("benchmarks.gpu", "--part", "profile", "--device", device))
    runs = [("balloon_ann" if tiny else "balloon_r50", ())]
    if camvid is not None:
        runs.append(
            ("photos_ann" if tiny else "photos_r50", ("--data", str(camvid), "--classes", "camvid"))
        )
    for name, data in runs:
        length = 0.3 * minutes / len(runs)  # of the minutes that are left after the other parts
        words = ("annlib", "train", name, *data, "--device", device, "--out", f"runs/{name}")
        steps = ("--iterations", "2") if tiny else ("--minutes", f"{length:.2f}")
        precision = () if tiny else ("--precision", "bf16", "--workers", "4")
        yield Part(f"train {name}", 60 * length + 60, (*words, *steps, *precision))
    if not tiny:
        for depth, size in both:
            name = f"compiled step R-{depth} {size[0]}x{size[1]}"
            yield Part(name, 80, step(depth, size, "--compile"))


def run_part(part: Part, folder: Path, seconds: float) -> Done:
    """Runs a part in the report's folder, for so many seconds at the most."""
    path = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *part.words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
        code = process.returncode
        state = "done" if code == 0 else f"failed with exit code {code}: see its output below"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # with its workers
        output, _ = process.communicate()
        state = f"stopped after {seconds:.0f} s: its time was over"
    return Done(part.name, state, time.perf_counter() - started, output[-TAIL:])


def learning_curves(folder: Path) -> str:
    """Loss over the steps of each run, ten points of each, as a table."""
    rows = []
    for path in sorted(folder.glob("runs/*/history.jsonl")):
        records = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        losses = [record for record in records if "loss" in record]
        chosen = losses[:: max(1, len(losses) // 10)]
        rows += [[path.parent.name, str(r["step"]), f"{r['loss']:.3f}"] for r in chosen]
        scored = [record for record in records if "miou" in record]
        rows += [[path.parent.name, str(r["step"]), f"mIoU {r['miou']:.4f}"] for r in scored]
    return table(["run", "step", "loss"], rows) if rows else ""


def report(folder: Path, done: list[Done]) -> str:
    """States of all parts, then every table that was written, then the ends of their outputs."""
    made = provenance()
    hardware = made["hardware"]
    names = ", ".join(hardware["gpus"]) or hardware["cpu"]
    states = [[each.name, f"{each.seconds:.0f}", each.state] for each in done]
    texts = [
        f"# {names}",
        f"{made['started'][:10]}, torch {torch.__version__}, CUDA {torch.version.cuda}, "
        f"{hardware['cores']} CPU cores. Remake: `{remake()}`",
        table(["part", "seconds", "state"], states),
    ]
    for path in sorted(folder.glob("tables/*.md")):
        texts += [f"## {path.stem}", path.read_text().strip()]
    if curves := learning_curves(folder):
        texts += ["## Loss over training", curves]
    own = ("agreement", "profile", "train")
    for each in done:
        if each.name.startswith(own) or each.state != "done":
            texts += [f"## Output of {each.name}", f"```text\n{each.output.strip()}\n```"]
    values = {"made": made, "parts": [each._asdict() for each in done]}
    write_atomically(folder / "gpu.json", to_json(values))
    text = "\n\n".join(texts) + "\n"
    write_atomically(folder / "gpu.md", text.encode())
    return text


def own_row(tiny: bool) -> tuple[Published, tuple[int, int]]:
    row = published(row_name(50, SIZES[0]))
    height, width = SIZES[0]
    return row, (height // TINY, width // TINY) if tiny else (height, width)


def agreement(device: torch.device, tiny: bool) -> str:
    """How far logits of one image differ: CPU and this device, fp32 and bf16."""
    row, size = own_row(tiny)
    fp32, bf16 = RuntimeConfig(), RuntimeConfig("bf16")
    here, cpu = device, torch.device("cpu")
    variants = {
        "CPU, fp32": (Variant("frozen", fp32), cpu),
        f"this device ({here.type}), fp32": (Variant("frozen", fp32), here),
        "this device, fp32, as written": (Variant("as written", fp32), here),
        "this device, bf16": (Variant("frozen", bf16), here),
    }
    logits = {
        name: inference(variant, row, size, where).call().float().cpu()
        for name, (variant, where) in variants.items()
    }
    first, rows = next(iter(logits.values())), []
    for name, own in logits.items():
        difference = float((own - first).abs().max() / first.abs().max())
        same = float((own.argmax(1) == first.argmax(1)).float().mean())
        rows.append([name, f"{difference:.1e}", f"{100 * same:.3f}"])
    return table(["logits of", "largest relative difference", "same class %"], rows)


def kernels(device: torch.device, tiny: bool) -> str:
    """The operations of one training step that take most of the time."""
    row, size = own_row(tiny)
    with seeded("profile"):
        workload = training(Variant("folded", RuntimeConfig("bf16")), row, size, 2, device)
    for _ in range(3):
        workload.call()
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    with profile(activities=activities) as profiler:
        workload.call()
        if on_gpu:
            torch.cuda.synchronize(device)
    by = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, by))
    total = sum(getattr(event, by) for event in events)
    rows = [
        [
            event.key[:70],
            str(event.count),
            f"{getattr(event, by) / 1000:.2f}",
            f"{100 * getattr(event, by) / total:.1f}",
        ]
        for event in islice(events, 25)
    ]
    return table(["operation", "calls", "ms", "%"], rows)


OWN = {"agreement": agreement, "profile": kernels}


@dataclass(frozen=True)
class Gpu:
    """Measure a GPU: steps, frames per second, blocks, a short training, a profile, agreement.

    Writes gpu.md and gpu.json after each part, with date and hardware. It needs neither a network
    nor Jupyter.
    """

    out: Path = Path("data/results/gpu")
    """Folder of the report; its tables and runs lie below it."""
    device: Device = "auto"
    """auto takes a GPU if there is one."""
    minutes: float = 8.0
    """All parts together; the last ones are left out when the time is over."""
    camvid: Path | None = None
    """A folder made by `annlib data prepare camvid`: train on it, too."""
    tiny: bool = False
    """Small images and few steps: a rehearsal, for example on a CPU."""
    part: Literal["agreement", "profile"] | None = None
    """Only this one, printed and not written."""

    def run(self) -> None:
        device = choose_device(self.device)
        if self.part is not None:
            print(OWN[self.part](device, self.tiny))
            return
        if self.minutes <= 0:
            raise ValueError(f"--minutes {self.minutes} leaves no time: give a number above 0.")
        camvid = self.camvid.resolve() if self.camvid else None
        if camvid is not None and not (camvid / "train" / "images").is_dir():
            raise FileNotFoundError(
                f"{self.camvid} holds no train/images: annlib data prepare camvid {self.camvid}"
            )
        folder, done = self.out.resolve(), []
        folder.mkdir(parents=True, exist_ok=True)
        deadline = time.perf_counter() + 60 * self.minutes
        for part in parts(device.type, self.tiny, self.minutes, camvid):
            left = deadline - time.perf_counter()
            words = (*part.words, "--tiny") if self.tiny and part.name in OWN else part.words
            if left < 1:
                done.append(Done(part.name, "left out: the time was over", 0.0, ""))
            else:
                seconds = part.seconds * (1 if device.type == "cuda" else SLOWER)
                done.append(run_part(part._replace(words=words), folder, min(seconds, left)))
            report(folder, done)
            print(f"{done[-1].name}: {done[-1].state} ({done[-1].seconds:.0f} s)", flush=True)
        print(f"\nSaved {self.out / 'gpu.md'}")
        if all(each.state != "done" for each in done):
            raise ValueError(f"No part has a result; the reasons are in {self.out / 'gpu.md'}.")


if __name__ == "__main__":
    main("benchmarks.gpu", Gpu, __doc__, "--out gpu-report")
