"""Every published row checked, from its name to its scores.

Weights and images follow a rule from names and shapes, so they are not stored; the reference's
numbers are in data/reference. Each check returns what it saw, and raises ValueError with it if the
claim does not hold.
"""

import ast
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from annlib.cli.common import use_threads
from annlib.config import IGNORE_INDEX, Experiment, RuntimeConfig, TestConfig
from annlib.course.row_costs import (
    IMAGE_SIZES,
    gflops_by_part,
    share_of_one_gpu,
    shrunk,
    shrunk_size,
)
from annlib.data.datasets import open_data
from annlib.data.loader import make_loader
from annlib.data.synthetic import mimic
from annlib.engine.inference import MULTI_SCALE, inference_of, make_predictor
from annlib.engine.metrics import ConfusionMatrix, percent, table
from annlib.engine.optimization import make_optimizer, train
from annlib.engine.results import device_name, provenance, to_json, write_results
from annlib.engine.trainer import batches, prepare_model
from annlib.model.ann import ANN
from annlib.model.build import build_model
from annlib.model.checkpoint import write_atomically
from annlib.model.convert import from_mmseg, load_strictly
from annlib.published_experiments import ROWS, Published, published
from benchmarks.common import main
from benchmarks.network import parameters_by_part

REFERENCE = Path(__file__).parents[1] / "data" / "reference"
KEYS = {50: "state_dict_keys_r50_19.txt", 101: "state_dict_keys_r101_150.txt"}
SHARED = "decode_head.context.stages.0."


def reference_file(name: str) -> Path:
    """A file of data/reference. Raises FileNotFoundError where annlib came without it."""
    path = REFERENCE / name
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {path}: the reference's numbers lie in a checkout of annlib. Run this "
            "from one, installed by pip install -e ."
        )
    return path


def reference_costs() -> dict[str, dict[str, Any]]:
    """Parameters and GFLOPs as counted on the reference, by "r50_19" and the like."""
    return json.loads(reference_file("costs.json").read_text(encoding="utf-8"))["models"]


def reference_logits(depth: int) -> dict[str, Tensor]:
    """What the reference makes of weights and an image that follow the rule.

    logits, aux: (1, K, 13, 17), of as many classes as are stored. classes_ac0, classes_ac1: the
    predicted classes (97, 129) for align_corners False and True, by number of classes.
    """
    with np.load(reference_file(f"logits_r{depth}.npz")) as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored}


def shapes(depth: int, num_classes: int) -> dict[str, tuple[int, ...]]:
    """Reference key -> shape; only the classifiers depend on the number of classes."""
    lines = reference_file(KEYS[depth]).read_text(encoding="utf-8").splitlines()[1:]
    table = {
        key: ast.literal_eval(shape) for key, shape, *_ in (line.split("\t") for line in lines)
    }
    return {
        key: (num_classes, *shape[1:]) if ".conv_seg." in key else shape
        for key, shape in table.items()
    }


def random_state(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode("ascii")))


def fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor that belongs to a reference key: float32, or int64 for the batch counter.

    The classifier of fewer classes is the beginning of that of more.
    """
    # APNB's query and key projection are one module that the reference lists twice.
    random = random_state(key.replace(f"{SHARED}query_project.", f"{SHARED}key_project."))
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    if last in ("running_mean", "bias"):
        values = 0.1 * random.standard_normal(shape)
    elif last == "running_var":
        values = 0.5 + random.random_sample(shape)
    elif len(shape) == 1:
        values = (0.5 + random.random_sample(shape)) * (0.3 if ".bn3." in key else 1.0)
    else:
        values = random.standard_normal(shape)
        values -= values.mean(axis=(1, 2, 3), keepdims=True)
        values *= np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32))


def reference_weights(depth: int, num_classes: int) -> dict[str, Tensor]:
    """Weights that follow the rule, under the reference's names: what a released file holds."""
    return {key: fill(key, shape) for key, shape in shapes(depth, num_classes).items()}


def make_input(batch: int, height: int, width: int) -> Tensor:
    """Images with large and small structure.  -> (batch, 3, height, width) float32"""
    random = random_state(f"input_{batch}x3x{height}x{width}")
    noise = random.standard_normal((batch, 3, height, width))
    coarse = random.standard_normal((batch, 3, -(-height // 32), -(-width // 32)))
    channel = np.arange(3)[:, None, None]
    row, column = np.arange(height)[:, None], np.arange(width)
    waves = np.sin(0.05 * (channel + 1) * row) + np.cos(0.03 * (channel + 2) * column)
    images = 1.5 * coarse[:, :, row // 32, column // 32] + 0.3 * noise + 0.5 * waves
    return torch.from_numpy(images.astype(np.float32))


def difference(ours: Tensor, reference: Tensor) -> float:
    """Largest difference, relative to the reference's largest absolute value."""
    if ours.shape != reference.shape:
        raise ValueError(f"Shapes differ: {tuple(ours.shape)} and {tuple(reference.shape)}.")
    return float((ours.double() - reference.double()).abs().max() / reference.double().abs().max())


TOLERANCE = {50: 2e-5, 101: 1e-4}  # of single precision, relative to the largest logit, by depth
SAME_CLASSES = 0.999  # share of pixels: where two logits tie, rounding decides


def claim(condition: bool, seen: str) -> str:
    """What was seen. Raises ValueError with it if the claim does not hold."""
    if not condition:
        raise ValueError(seen)
    return seen


def costs_of_reference(experiment: Experiment) -> dict:
    return reference_costs()[f"r{experiment.model.depth}_{experiment.model.num_classes}"]


def check_parameters(experiment: Experiment) -> str:
    """As many as the reference has, with and without the auxiliary head."""
    expected = costs_of_reference(experiment)
    counts = parameters_by_part(experiment.model)
    total = sum(counts.values())
    without = total - counts["auxiliary"]
    wanted = (expected["parameters"], expected["without_auxiliary"])
    return claim((total, without) == wanted, f"{total:,}")


def saved_gflops(experiment: Experiment) -> float:
    """Of APNB's shared projection, which the reference computes twice, as query and as key.

    A convolution of 1 x 1 on the map at 1/8: 2 x C_in x C_out for each position.
    """
    height, width = experiment.data.crop_size
    positions = -(-height // 8) * -(-width // 8)
    model = experiment.model
    return 2 * model.hidden_channels * model.key_channels * positions / 1e9


def check_gflops(experiment: Experiment) -> str:
    """Of one crop, in the readable form: the reference's, less a projection computed once here."""
    height, width = experiment.data.crop_size
    expected, size = costs_of_reference(experiment), f"{height}x{width}"
    gflops = gflops_by_part(experiment.model, 1, (height, width), folded=False)
    aux = gflops.pop("auxiliary")
    main, saved = sum(gflops.values()), saved_gflops(experiment)
    theirs, theirs_aux = expected["gflops"][size], expected["gflops_auxiliary"][size]
    same = rounds_to(main + saved, theirs) and rounds_to(aux, theirs_aux)
    return claim(same, f"{main:.2f} = {theirs:.2f} - {saved:.2f}, + {aux:.2f}")


def rounds_to(number: float, two_decimals: float) -> bool:
    return abs(number - two_decimals) < 0.00501  # the reference's are stored with two


def check_loading(experiment: Experiment, model: nn.Module) -> str:
    """All names and shapes of a released file fit the network, and none is left over."""
    weights = reference_weights(experiment.model.depth, experiment.model.num_classes)
    load_strictly(model, from_mmseg(weights), Path("a file in the released layout"))
    return f"{len(weights)} tensors"


def check_logits(experiment: Experiment, model: ANN) -> str:
    """Both heads give the reference's logits at 1/8, and its classes at full size where stored."""
    config, stored = experiment.model, reference_logits(experiment.model.depth)
    images = make_input(1, 97, 129)
    with inference_of(model):
        c4, _ = model.backbone(images)
        ours = {"logits": model(images, size=c4.shape[2:]).main, "aux": model.auxiliary(c4)}
        classes = model(images).main.argmax(1)
    known = min(config.num_classes, stored["logits"].shape[1])
    apart = max(difference(ours[head][:, :known], stored[head][:, :known]) for head in ours)
    seen = f"{apart:.1e} apart, {known} of {config.num_classes} classes"
    claim(apart <= TOLERANCE[config.depth], seen)
    key = f"classes_{config.num_classes}_ac{int(config.align_corners)}"
    if key not in stored:
        return seen
    same = float((classes == stored[key]).double().mean())
    return claim(same >= SAME_CLASSES, f"{seen}, {percent(same)} % of the pixels")


CPU = torch.device("cpu")
TRAIN_IMAGES, VAL_IMAGES = 4, 2  # of an imitation
WINDOW, STRIDE = 769, 513  # of the rows that slide: the others get the same overlap


def imitate(dataset: str, root: Path, shrink: int) -> None:
    """Writes an imitation with images of the real sizes, or of a typical size divided."""
    size = shrunk_size(IMAGE_SIZES[dataset], shrink) if shrink > 1 else None
    mimic(dataset, root, TRAIN_IMAGES, VAL_IMAGES, size)


def check_step(experiment: Experiment, model: nn.Module, dataset: Dataset) -> str:
    """One step of the recipe: the loss is a number, and every weight moves along a gradient."""
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = make_optimizer(model, experiment.train)
    loader = batches(experiment, dataset, CPU, workers=0)
    step = next(train(model, optimizer, loader, experiment.train))
    moved = sum(
        is_gradient(parameter.grad) and not torch.equal(parameter, old)
        for parameter, old in zip(model.parameters(), before, strict=True)
    )
    loss = float(step.loss)
    seen = f"loss {loss:.2f}, {moved} of {len(before)} weights moved"
    return claim(isfinite(loss) and moved == len(before), seen)


def is_gradient(gradient: Tensor | None) -> bool:
    """Whether anything came back. Weight decay alone moves weights that nothing flows into."""
    return gradient is not None and bool(gradient.isfinite().all() and gradient.any())


def whole(test: TestConfig) -> TestConfig:
    return replace(test, mode="whole", window=None, stride=None)


def slide(test: TestConfig, crop_size: tuple[int, int]) -> TestConfig:
    """The row's own windows, or such of the size of a crop with the same overlap."""
    if test.mode == "slide":
        return test
    height, width = (max(1, side * STRIDE // WINDOW) for side in crop_size)
    return replace(test, mode="slide", window=crop_size, stride=(height, width))


def multi_scale(test: TestConfig) -> TestConfig:
    """The row's own mode at six scales, with mirror images."""
    return replace(test, scales=MULTI_SCALE, flip=True)


def check_evaluation(model: nn.Module, test: TestConfig, dataset: Dataset) -> str:
    """Every pixel with a label is counted once, under its label; no score is NaN."""
    predict = make_predictor(model, test)
    matrix = ConfusionMatrix(model.config.num_classes)
    expected = torch.zeros(256, dtype=torch.int64)
    for images, labels in make_loader(dataset, 1, training=False):
        logits = predict(images)
        claim(not logits.isnan().any(), "some logits are NaN")
        matrix.update(logits.argmax(1), labels)
        expected += labels.flatten().bincount(minlength=256)
    expected[IGNORE_INDEX] = 0
    counted = torch.equal(matrix.counts.sum(1), expected[: matrix.num_classes])
    miou, pixels = matrix.scores().miou, int(expected.sum())
    claim(counted and 0 <= miou <= 1, f"mIoU {miou}, {int(matrix.counts.sum())} of {pixels} pixels")
    return f"mIoU {percent(miou)}"


Check = Callable[[], str]  # tells what it saw, or raises


class Finding(NamedTuple):
    """Whether a claim holds, and what was seen."""

    holds: bool
    seen: str


@dataclass(frozen=True)
class RowCheck:
    """All findings about one row, by the name of the claim."""

    name: str
    findings: dict[str, Finding]
    seconds: float

    @property
    def holds(self) -> bool:
        return all(finding.holds for finding in self.findings.values())


def find(check: Check) -> Finding:
    """Runs one check. Whatever goes wrong becomes the finding: the others are still to be made."""
    try:
        return Finding(True, check())
    except Exception as error:
        return Finding(False, f"{type(error).__name__}: {error}")


def checks_of(row: Published, root: Path, shrink: int) -> dict[str, Check]:
    """The claims about a row, in the order in which they are to be checked.

    root: an imitation of its data set, of sides divided by `shrink`.
    """
    small = shrunk(share_of_one_gpu(row), shrink)
    test, crop_size = small.test, small.data.crop_size
    model = prepare_model(build_model(small.model), CPU, RuntimeConfig())
    splits = open_data(small.data, root)
    return {
        "parameters": lambda: check_parameters(row.experiment),
        "GFLOPs": lambda: check_gflops(row.experiment),
        "strict load": lambda: check_loading(row.experiment, model),
        "golden logits": lambda: check_logits(row.experiment, model),
        "training step": lambda: check_step(small, model, splits.train),
        "whole": lambda: check_evaluation(model, whole(test), splits.val),
        "slide": lambda: check_evaluation(model, slide(test, crop_size), splits.val),
        "ms+flip": lambda: check_evaluation(model, multi_scale(test), splits.val),
    }


def check_row(row: Published, root: Path, shrink: int) -> RowCheck:
    """Builds a row and checks all that is claimed about it."""
    started = time.perf_counter()
    torch.manual_seed(0)
    checks: dict[str, Check] = {}

    def build() -> str:
        checks.update(checks_of(row, root, shrink))
        return row.backbone

    findings = {"builds": find(build)}
    findings |= {name: find(check) for name, check in checks.items()}
    return RowCheck(row.name, findings, time.perf_counter() - started)


def check_rows(rows: Sequence[Published], shrink: int) -> Iterator[RowCheck]:
    """Checks rows one after the other, on imitations that are gone afterwards."""
    with TemporaryDirectory() as folder:
        for row in rows:
            root = Path(folder) / row.experiment.data.dataset
            if not root.exists():
                imitate(row.experiment.data.dataset, root, shrink)
            yield check_row(row, root, shrink)


LEGEND = """Parameters: all, the auxiliary head included. GFLOPs: of one crop, the reference's less
the one projection of APNB that it computes twice; then the auxiliary head. Strict load: every name
and shape of a released file. Golden logits: largest difference to the reference's, relative to the
largest, on weights and an image that follow a rule. Training step: one GPU's share of the batch.
mIoU: of that network, which was not trained, on {images}:
it shows that evaluation runs, and that every pixel was counted."""


def zoo_table(checks: Sequence[RowCheck], shrink: int) -> str:
    """Two Markdown tables, what holds and what was seen; then all that does not hold."""
    texts = [
        grid(checks, lambda finding: "yes" if finding.holds else "NO"),
        summary(checks, shrink),
        grid(checks, lambda finding: finding.seen if finding.holds else "see below"),
        LEGEND.format(images=imitations(shrink)),
    ]
    failures = [
        f"- {check.name}, {name}: {finding.seen}"
        for check in checks
        for name, finding in check.findings.items()
        if not finding.holds
    ]
    if failures:
        texts.append("Does not hold:\n\n" + "\n".join(failures))
    return "\n\n".join(texts)


def grid(checks: Sequence[RowCheck], say: Callable[[Finding], str]) -> str:
    """A line for each row, a column for each claim. What was never checked does not hold."""
    claims = list(dict.fromkeys(name for check in checks for name in check.findings))
    unchecked = Finding(False, "-")
    rows = [
        [check.name, *(say(check.findings.get(name, unchecked)) for name in claims)]
        for check in checks
    ]
    return table(["name", *claims], rows)


def imitations(shrink: int) -> str:
    small = f" with all sides divided by {shrink}" if shrink > 1 else " of the real sizes"
    return f"synthetic imitations of the data sets{small}"


def summary(checks: Sequence[RowCheck], shrink: int) -> str:
    holding = sum(check.holds for check in checks)
    seconds = sum(check.seconds for check in checks)
    return (
        f"{holding} of {len(checks)} rows hold in every claim. "
        f"{device_name(torch.device('cpu'))}, {seconds:.0f} s, --shrink {shrink}."
    )


def write_zoo(checks: Sequence[RowCheck], shrink: int, path: Path, command: str) -> str:
    """Writes the tables, and the findings beside them as JSON.  -> the tables"""
    rows = [
        {
            "name": check.name,
            "holds": check.holds,
            "seconds": round(check.seconds, 1),
            "findings": {name: finding._asdict() for name, finding in check.findings.items()},
        }
        for check in checks
    ]
    values = {"made": provenance(), "shrink": shrink, "rows": rows}
    write_atomically(path.with_suffix(".json"), to_json(values))
    return write_results(zoo_table(checks, shrink), path, command)


@dataclass(frozen=True)
class VerifyZoo:
    """Check all 16 published rows on the CPU and write the table of what holds.

    Each is built, counted, loaded from the released layout, compared with the reference's logits,
    trained for one step and evaluated on an imitation of its data set. Exit code 1 if any claim
    does not hold. All rows take minutes with --shrink 8, hours at the real sizes.
    """

    rows: tuple[str, ...] = ()
    """Names of rows; all if none is given."""
    shrink: int = 8
    """Divide all sides of images, crops and windows by this; 1 for the real sizes."""
    out: Path = Path("data/results/zoo.md")
    """The table, next to a JSON file of the findings."""
    threads: int | None = None
    """CPU threads of one operation."""

    def run(self) -> None:
        rows = [published(name) for name in self.rows] if self.rows else list(ROWS)
        shrunk(rows[0].experiment, self.shrink)  # refuses a wrong factor before hours of work
        use_threads(self.threads)
        names = f" --rows {' '.join(self.rows)}" if self.rows else ""
        command = f"python -m benchmarks.verify_zoo{names} --shrink {self.shrink}"
        checks, text = [], ""
        for check in check_rows(rows, self.shrink):
            checks.append(check)
            text = write_zoo(checks, self.shrink, self.out, command)
            failed = [name for name, finding in check.findings.items() if not finding.holds]
            verdict = f"does not hold: {', '.join(failed)}" if failed else "all true"
            print(f"{check.name}: {verdict} ({check.seconds:.0f} s)", flush=True)
        print(f"\n{text}\nSaved {self.out}")
        failing = sum(not check.holds for check in checks)
        if failing:
            sys.exit(f"{failing} of {len(checks)} rows do not hold in every claim: see {self.out}")


if __name__ == "__main__":
    main("benchmarks.verify_zoo", VerifyZoo, __doc__, "--shrink 8")
