"""Heads on street images (CamVid): at equal steps and equal time, by class and by context."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import ceil, inf, isnan, nan
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev

import torch
from scipy.ndimage import label as connected
from torch import nn

from annlib.cli.common import at_least_one
from annlib.config import IGNORE_INDEX, Experiment, Head, Precision, RuntimeConfig, TestConfig
from annlib.course.profiler import pace
from annlib.course.statistics import Interval, half_width, paired_interval, t_quantile
from annlib.data.datasets import open_data
from annlib.engine.inference import inference_of, make_label_predictor
from annlib.engine.metrics import ConfusionMatrix, percent, table
from annlib.engine.results import to_json, write_results
from annlib.engine.trainer import Trainer, fit_classes, read_experiment
from annlib.experiments import find_experiment
from annlib.model.build import SHIPPED, load_model
from annlib.model.checkpoint import load, save, write_atomically

RESULT = "result.json"  # in the folder of a finished run
BASELINE, OURS = "fcn", "ann"
NOTICE = "Trained on CamVid (Brostow, Fauqueur, Cipolla 2009): for research and teaching."
EFFECT = 0.01  # one point of mIoU
POWER = 0.8
SIZES = {
    "small": 1e-3,
    "medium": 1e-2,
    "large": inf,
}  # of an object: at most this part of the image


@dataclass(frozen=True)
class Result:
    """One finished run, scored on the validation split. Scores are between 0 and 1."""

    head: Head
    seed: int
    depth: int
    iterations: int
    seconds: float  # of training alone
    miou: float
    iou: tuple[float, ...]  # of each class; NaN if it does not occur
    windows: dict[str, float]  # mIoU with windows of this part of the image's sides
    found: dict[str, float]  # share of correct pixels, by the size of the object they belong to


def experiment_of(head: Head, seed: int, depth: int, iterations: int) -> Experiment:
    """streets_HEAD with another seed, length and depth of the backbone."""
    base = find_experiment(f"streets_{head}")
    recipe = replace(base.train, seed=seed, iterations=iterations)
    return replace(base, model=replace(base.model, depth=depth), train=recipe)


def finished(
    wanted: Experiment, data: Path, classes: str | None, folder: Path, precision: Precision
) -> Result:
    """The result of a run: read from its folder, or trained (resumed if it was interrupted)."""
    torch.set_num_threads(1)
    name, recipe = wanted.name, wanted.train
    run = folder / f"{name}-depth{wanted.model.depth}-{recipe.iterations}-seed{recipe.seed}"
    splits = open_data(wanted.data, data, classes)
    wanted = fit_classes(wanted, splits)
    if (run / RESULT).is_file() and read_experiment(run) == wanted:
        return Result(**json.loads((run / RESULT).read_text(encoding="utf-8")))
    options = (torch.device("cpu"), (run / "last.safetensors").exists(), RuntimeConfig(precision))
    trainer = Trainer(wanted, splits.spec, run, *options)
    trainer.fit(splits.train)
    without_class_weights(trainer.model, wanted.train.class_weights)
    scores = trainer.evaluate(splits.val).scores()
    result = Result(
        wanted.model.head,
        recipe.seed,
        wanted.model.depth,
        recipe.iterations,
        trainer.seconds,
        scores.miou,
        tuple(scores.iou.tolist()),
        {part: window_score(trainer, splits.val, float(part)) for part in ("0.5", "0.25")},
        correct_by_size(trainer, splits.val),
    )
    write_atomically(run / RESULT, (json.dumps(asdict(result)) + "\n").encode())
    return result


def without_class_weights(model: nn.Module, class_weights: Sequence[float]) -> None:
    """Takes the class weights of the loss out of the scores, for the frequencies that classes have.

    A loss with weights w learns scores that are log(w) too high, because a class of weight 2 counts
    as if it were twice as frequent. Rare classes are then predicted too often.
    """
    if class_weights:
        with torch.no_grad():
            model.classifier.bias -= torch.tensor(class_weights).log()


def finished_runs(runs: Sequence[Experiment], options: tuple, jobs: int) -> Iterator[Result]:
    """The results in the order of the runs, several trained at a time."""
    if jobs == 1:
        yield from (finished(run, *options) for run in runs)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(finished, run, *options) for run in runs]
        yield from (task.result() for task in tasks)


def window_score(trainer: Trainer, dataset: torch.utils.data.Dataset, part: float) -> float:
    """mIoU when the network sees windows of this part of the image's sides, half overlapping."""
    sides = trainer.experiment.test.base_size
    window = tuple(max(8, round(side * part)) for side in sides)
    stride = tuple(max(1, side // 2) for side in window)
    test = TestConfig("slide", window, stride, base_size=sides)
    label, matrix = (
        make_label_predictor(trainer.model, test),
        ConfusionMatrix(trainer.spec.num_classes),
    )
    for image, labels in dataset:
        matrix.update(label(image[None])[0], labels)
    return matrix.scores().miou


def correct_by_size(trainer: Trainer, dataset: torch.utils.data.Dataset) -> dict[str, float]:
    """Share of correct pixels among objects of each size: connected pixels of one class."""
    label = make_label_predictor(trainer.model, trainer.experiment.test)
    correct, total = dict.fromkeys(SIZES, 0), dict.fromkeys(SIZES, 0)
    with inference_of(trainer.model):
        for image, labels in dataset:
            hits = (label(image[None])[0] == labels).flatten()
            for each in set(labels.unique().tolist()) - {IGNORE_INDEX}:
                parts = torch.from_numpy(connected((labels == each).numpy())[0]).flatten().long()
                pixels, right = parts.bincount(), parts.bincount(hits.double())
                for count, good in zip(pixels[1:].tolist(), right[1:].tolist(), strict=True):
                    size = next(s for s, most in SIZES.items() if count <= most * labels.numel())
                    correct[size] += int(good)
                    total[size] += count
    return {size: correct[size] / total[size] if total[size] else nan for size in SIZES}


Value = Callable[[Result], float]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds, in points."""
    return f"{100 * mean(values):.1f}" + (f" ± {100 * stdev(values):.1f}" if values[1:] else "")


def points(found: Interval) -> str:
    """An interval in points of mIoU."""
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def difference(ours: Sequence[Result], theirs: Sequence[Result], value: Value) -> str:
    """Of the mean over the seeds that both have, with its 95 % interval; a dash below two seeds."""
    by_seed = [{r.seed: value(r) for r in own if not isnan(value(r))} for own in (ours, theirs)]
    if len(by_seed[0].keys() & by_seed[1].keys()) < 2:
        return "-"
    return points(paired_interval(*by_seed))


def seeds_needed(sd: float, effect: float = EFFECT) -> int:
    """Smallest number of seeds whose 95 % interval excludes 0 in 80 % of studies of that effect."""
    count = 2
    while half_width(sd, count) + t_quantile(POWER, count - 1) * sd / count**0.5 > effect:
        count += 1
    return count


def summary(results: Mapping[str, Sequence[Result]], class_names: Sequence[str]) -> str:
    """The report: heads, classes, windows and sizes of objects."""
    plain, ours = results[BASELINE], results[OURS]
    rows = [
        [
            name,
            f"{own[0].iterations:,}",
            str(len(own)),
            f"{mean(r.seconds for r in own) / 60:.1f}",
            spread([r.miou for r in own]),
            "" if name == BASELINE else difference(own, plain, lambda r: r.miou),
        ]
        for name, own in results.items()
    ]
    header = ("head", "steps", "seeds", "minutes", "mIoU, %", f"minus {BASELINE}, points [95 %]")
    parts = [table(header, rows)]
    shared = sorted({r.seed for r in plain} & {r.seed for r in ours})
    if len(shared) > 1:
        by_seed = [{r.seed: r.miou for r in own} for own in (ours, plain)]
        sd = stdev(by_seed[0][seed] - by_seed[1][seed] for seed in shared)
        parts.append(
            f"The paired difference {OURS} - {BASELINE} has a standard deviation of {100 * sd:.2f} "
            f"points over the seeds. To see a true difference of one point in {POWER:.0%} of "
            f"studies, {seeds_needed(sd)} seeds of each would be needed; here: {len(shared)}."
        )
    columns = (BASELINE, OURS, f"{OURS} - {BASELINE} [95 %]")

    def compared(title: str, names: Sequence[str], value) -> str:
        lines = []
        for index, name in enumerate(names):
            each = lambda result, key=index, label=name: value(result, key, label)  # noqa: E731
            means = [percent(mean(map(each, own))) for own in (plain, ours)]
            lines.append([name, *means, difference(ours, plain, each)])
        return table((title, *columns), lines)

    parts.append(compared("IoU of the class, %", class_names, lambda r, index, _: r.iou[index]))
    windows = ["1", *plain[0].windows]
    parts.append(
        compared(
            "mIoU by window (part of each side), %",
            windows,
            lambda r, _, part: r.miou if part == "1" else r.windows[part],
        )
    )
    sizes = "correct pixels of objects, %"
    parts.append(compared(sizes, list(SIZES), lambda r, _, size: r.found[size]))
    return "\n\n".join(parts)


@dataclass(frozen=True)
class Streets:
    """Compare heads on street images: FCN and ANN with several seeds, PPM and APNB beside them.

    Equal steps, then FCN once more with as many steps as take ANN's time, then both with more
    steps. Finished runs are kept.
    """

    data: Path
    """Folder of CamVid as `annlib data prepare camvid` writes it."""
    classes: str | None = None
    """Name of a built-in class list (camvid), instead of a file classes.txt in the data folder."""
    seeds: int = 3
    """Seeds of FCN and ANN: 0, 1, ..."""
    other_seeds: int = 1
    """Seeds of PPM and APNB."""
    iterations: int = 2000
    """Steps of each run."""
    depth: int = 25
    """Of the backbone: 9 has a receptive field of 47 pixels, 25 one of 159."""
    precision: Precision = "bf16"
    """Of training."""
    jobs: int = 1
    """Runs at a time, one CPU thread each."""
    equal_time: bool = True
    """Train FCN again for as long as ANN takes."""
    longer: int = 0
    """Train FCN and ANN once more, with seed 0 and this many steps (0: not)."""
    runs: Path = Path("runs/streets")
    """Folder of the runs."""
    out: Path = Path("data/results/streets.md")
    """The tables; the scores of each run go to a JSON file of the same name."""

    def run(self) -> None:
        for option in ("seeds", "iterations", "jobs"):
            at_least_one(f"--{option}", getattr(self, option))
        heads = {BASELINE: self.seeds, OURS: self.seeds}
        heads |= {head: self.other_seeds for head in ("ppm", "apnb") if self.other_seeds}
        results = self.train({h: (h, self.iterations, n) for h, n in heads.items()})
        if self.equal_time:
            steps = ceil(self.iterations * self.time_ratio())
            results |= self.train({f"{BASELINE}, equal time": (BASELINE, steps, self.seeds)})
        if self.longer:
            more = {f"{head}, longer": (head, self.longer, 1) for head in (BASELINE, OURS)}
            results |= self.train(more)
        names = open_data(find_experiment("streets_fcn").data, self.data, self.classes).spec
        words = ["streets", "--data", "CAMVID", "--seeds", str(self.seeds)]
        words += ["--iterations", str(self.iterations), "--depth", str(self.depth)]
        words += ["--longer", str(self.longer)] if self.longer else []
        command = " ".join(["python -m benchmarks.compare_heads", *words])
        runs = {name: [asdict(result) for result in own] for name, own in results.items()}
        write_atomically(self.out.with_suffix(".json"), to_json(runs))
        print(write_results(summary(results, names.class_names), self.out, command))

    def time_ratio(self) -> float:
        """Seconds of a step of ANN over those of FCN, timed in turns: other load meets both.

        It is kept with the runs, so that a repeated study asks for the same number of steps.
        """
        kept = self.runs / f"time_ratio-depth{self.depth}-{self.precision}.json"
        if kept.is_file():
            return json.loads(kept.read_text(encoding="utf-8"))
        runs = [experiment_of(head, 0, self.depth, self.iterations) for head in (OURS, BASELINE)]
        data = [open_data(run.data, self.data, self.classes).train for run in runs]
        where = (torch.device("cpu"), 0, RuntimeConfig(self.precision))
        rounds = [
            [pace(*each, *where).seconds for each in zip(runs, data, strict=True)] for _ in range(3)
        ]
        ours, plain = map(min, zip(*rounds, strict=True))
        write_atomically(kept, f"{ours / plain}\n".encode())
        return ours / plain

    def train(self, wanted: dict[str, tuple[Head, int, int]]) -> dict[str, list[Result]]:
        """Runs of (head, steps, seeds) by name, several at a time."""
        names, runs = [], []
        for seed in range(max(n for *_, n in wanted.values())):
            for name, (head, steps, seeds) in wanted.items():
                if seed < seeds:
                    names.append(name)
                    runs.append(experiment_of(head, seed, self.depth, steps))
        options = (self.data, self.classes, self.runs, self.precision)
        results: dict[str, list[Result]] = {name: [] for name in wanted}
        for name, result in zip(names, finished_runs(runs, options, self.jobs), strict=True):
            results[name].append(result)
            minutes = f"{result.seconds / 60:.1f} minutes"
            print(f"{name} seed {result.seed}: mIoU {result.miou:.3f}, {minutes}", flush=True)
        return results


@dataclass(frozen=True)
class StreetWeights:
    """Write the network of a finished run of `annlib train streets_ann` to data/weights/.

    Kernels are stored in float16, and the class weights of the loss are taken out of the scores.
    The validation scores in the file are measured with these weights.
    """

    data: Path
    """Folder of CamVid as `annlib data prepare camvid` writes it."""
    run_folder: Path = Path("runs/streets_ann-seed0")
    """Folder of the run."""
    classes: str | None = None
    """Name of a built-in class list (camvid), instead of a file classes.txt in the data folder."""
    out: Path = SHIPPED / "streets_ann.safetensors"
    """The file."""

    def run(self) -> None:
        checkpoint, experiment = (
            load(self.run_folder / "last.safetensors"),
            read_experiment(self.run_folder),
        )
        if checkpoint.step != experiment.train.iterations:
            raise ValueError(
                f"{self.run_folder} stands at step {checkpoint.step} of "
                f"{experiment.train.iterations}: annlib train --resume {self.run_folder}"
            )
        splits = open_data(experiment.data, self.data, self.classes)
        train = f"annlib train {experiment.name} --data CAMVID --seed {experiment.train.seed}"
        precision = checkpoint.notes["compute"]["precision"]
        command = (
            f"{train} --precision {precision}; python -m benchmarks.compare_heads street-weights"
        )
        notes = {**checkpoint.notes, "command": f"{command} --data CAMVID", "notice": NOTICE}
        model = load_model(checkpoint)
        without_class_weights(model, experiment.train.class_weights)
        for weights in model.parameters():
            if weights.ndim == 4:  # as in the file
                weights.data = weights.half().float()
        label = make_label_predictor(model, experiment.test)
        matrix = ConfusionMatrix(splits.spec.num_classes)
        for image, labels in splits.val:
            matrix.update(label(image[None])[0], labels)
        scores = matrix.scores()
        notes["scores"] = {"miou": scores.miou, "iou": scores.iou.tolist(), "split": "val"}
        save(self.out, model, None, checkpoint.step, notes, half=True)
        print(f"{self.out}: mIoU {scores.miou:.4f}, {self.out.stat().st_size / 1e6:.2f} MB")
