"""annlib town: the measurements that the README quotes, each remade by one command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import subcommand

from annlib.commands.errors import at_least_one
from annlib.commands.pictures import Pictures


@dataclass(frozen=True)
class Compare:
    """Train every head with several seeds and write the table of scores, times and parameters.

    A run takes one to two minutes on one core. Finished runs are kept: after an interruption the
    same command goes on.
    """

    seeds: int = 5
    """How many seeds: 0, 1, ..."""
    iterations: int = 1000
    """Steps of each run."""
    jobs: int = 2
    """Runs at a time, one CPU thread each: as many as there are cores."""
    runs: Path = Path("runs/compare")
    """Folder of the runs."""
    out: Path = Path("data/results/balloon_town.md")
    """The table; the single results lie beside it as JSON."""

    def run(self) -> None:
        from annlib.engine.compare import compare
        from annlib.engine.results import write_comparison
        from annlib.experiments import HEADS

        at_least_one("--seeds", self.seeds)
        at_least_one("--iterations", self.iterations)
        at_least_one("--jobs", self.jobs)
        results = []
        seeds = range(self.seeds)
        for result in compare(HEADS, seeds, self.iterations, self.runs, self.jobs):
            results.append(result)
            print(
                f"{result.head} seed {result.seed}: house accuracy {result.house_accuracy:.3f}, "
                f"mIoU {result.miou:.3f}, {result.seconds:.0f} s",
                flush=True,
            )
        command = f"annlib town compare --seeds {self.seeds} --iterations {self.iterations}"
        print(write_comparison(results, self.out, command))


@dataclass(frozen=True)
class Attention:
    """Count where houses look, and whether they follow their balloon when it is repainted."""

    houses: int = 500
    """How many rightly classified houses are asked, on scenes no training has seen."""
    weights: Path | None = None
    """Folder of checkpoints balloon_*.safetensors; the shipped ones if not given."""
    out: Path = Path("data/results/attention.md")
    """The table."""

    def run(self) -> None:
        from annlib.course.counting import attention_table, count_attention
        from annlib.engine.results import write_results
        from annlib.experiments import HEADS
        from annlib.model.checkpoints import SHIPPED, load_model

        at_least_one("--houses", self.houses)
        folder = self.weights or SHIPPED
        tallies = {
            name: count_attention(load_model(folder / f"{name}.safetensors"), self.houses)
            for name in (f"balloon_{head}" for head in HEADS)
        }
        command = f"annlib town attention --houses {self.houses}"
        if self.weights:
            command += f" --weights {self.weights}"
        print(write_results(attention_table(tallies), self.out, command))


@dataclass(frozen=True)
class Plateau:
    """Say why some runs of `compare` stay with the vote: can attention read the paints there?"""

    runs: Path = Path("runs/compare")
    """Folder of the runs of `annlib town compare`."""
    iterations: int = 1000
    """Steps of the runs that are asked."""
    out: Path = Path("data/results/plateau.md")
    """The table."""

    def run(self) -> None:
        from annlib.course.probing import probe, probe_table
        from annlib.engine.compare import finished_runs
        from annlib.engine.results import write_results
        from annlib.model.checkpoints import load_model

        at_least_one("--iterations", self.iterations)
        probes = {}
        for run, result in finished_runs(self.runs, self.iterations).items():
            if result.head in ("nonlocal", "apnb", "ann"):
                for block, found in probe(load_model(run / "last.safetensors")).items():
                    probes[run.name, block] = (result.house_accuracy, found)
        if not probes:
            raise FileNotFoundError(
                f"No finished run of {self.iterations} steps in {self.runs}: make them with "
                f"annlib town compare --iterations {self.iterations} --runs {self.runs}"
            )
        command = f"annlib town plateau --iterations {self.iterations}"
        print(write_results(probe_table(probes), self.out, command))


@dataclass(frozen=True)
class Weights:
    """Remake the small networks of data/weights/ by training them again."""

    seed: int = 0
    """The seed of all five."""
    iterations: int = 1500
    """Steps of each training."""
    runs: Path = Path("runs/weights")
    """Folder of the runs; finished ones are kept."""
    jobs: int = 2
    """Runs at a time, one CPU thread each."""
    out: Path = Path("data/weights")
    """Where the weights go."""

    def run(self) -> None:
        from annlib.engine.compare import compare, release
        from annlib.experiments import HEADS

        at_least_one("--iterations", self.iterations)
        at_least_one("--jobs", self.jobs)
        command = f"annlib town weights --seed {self.seed} --iterations {self.iterations}"
        for result in compare(HEADS, [self.seed], self.iterations, self.runs, self.jobs):
            path = release(result, self.runs, self.out, command)
            print(f"{path}: house accuracy {result.house_accuracy:.3f}, mIoU {result.miou:.3f}")


@dataclass(frozen=True)
class Town:
    """Measure on Balloon Town: compare heads, count attention, remake the weights."""

    what: (
        Annotated[Compare, subcommand("compare", prefix_name=False)]
        | Annotated[Attention, subcommand("attention", prefix_name=False)]
        | Annotated[Plateau, subcommand("plateau", prefix_name=False)]
        | Annotated[Pictures, subcommand("pictures", prefix_name=False)]
        | Annotated[Weights, subcommand("weights", prefix_name=False)]
    )

    def run(self) -> None:
        self.what.run()
