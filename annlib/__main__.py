"""The command `annlib`, also `python -m annlib`: imports and runs one of the commands."""

import difflib
import sys
from importlib import import_module
from typing import Any

from annlib.cli.common import exit_codes, parse

COMMANDS = {  # name: (its place in annlib.cli, what it does, an example)
    "list": ("list:ListExperiments", "list all experiments that have a name", "annlib list"),
    "predict": (
        "predict:Predict",
        "segment images with a trained network",
        "annlib predict street.jpg --weights runs/photos_ann-seed0/last.safetensors",
    ),
    "train": (
        "train:Train",
        "train a network, validate it, save it, resume it",
        "annlib train balloon_ann --iterations 100",
    ),
    "evaluate": (
        "evaluate:Evaluate",
        "score a network on labelled images: IoU of each class, mIoU",
        "annlib evaluate runs/balloon_ann-seed0/last.safetensors",
    ),
    "data": (
        "data:COMMANDS",
        "check, download or imitate a data set; render Balloon Town",
        "annlib data check folder my_streets",
    ),
    "weights": (
        "weights:COMMANDS",
        "list, download, verify and import weights",
        "annlib weights fetch resnet50_v1c",
    ),
    "runs": (
        "runs:Runs",
        "list the runs in a folder, compare them, draw their curves",
        "annlib runs",
    ),
    "lessons": (
        "lessons:COMMANDS",
        "build, check and execute the notebooks of the course",
        "annlib lessons run 04",
    ),
    "sweep": (
        "sweep:Sweep",
        "run a notebook once for each combination of a grid",
        "annlib sweep notebooks/jobs/heads_and_seeds.json --jobs 2",
    ),
    "assign": (
        "assignments:COMMANDS",
        "make the files of an assignment, for students or nbgrader",
        "annlib assign release A1",
    ),
    "grade": ("assignments:Grade", "grade submissions in a sandbox", "annlib grade A1 submissions"),
    "reproduce": (
        "reproduce:Reproduce",
        "evaluate a published row and print its row of the table",
        "annlib reproduce ann_r50-d8_512x1024_40k_cityscapes --data cityscapes",
    ),
}
SUCCESSORS = {  # of commands that had another name in version 0.1
    "scenes": "annlib data scenes",
    "town pictures": "python -m tools.readme_figures",  # prose: the old name
    "town": "python -m benchmarks.compare_heads",
    "zoo": "python -m benchmarks.verify_zoo",
    "widgets": "python -m tests.browser.latency",
    "benchmark rows": "python -m benchmarks.published_rows",
    "benchmark blocks": "python -m benchmarks.implementations",
    "benchmark growth": "python -m benchmarks.scaling",
    "benchmark model": "python -m benchmarks.network image",
    "benchmark train": "python -m benchmarks.network step",
    "benchmark parts": "python -m benchmarks.network parts",
    "benchmark data": "python -m benchmarks.dataloading",
    "benchmark evaluate": "python -m benchmarks.evaluation",
    "benchmark": "python -m benchmarks.NAME; benchmarks/README.md lists the names",
}
HELP = """\
usage: annlib COMMAND [OPTIONS]

Asymmetric Non-local Neural Networks for semantic segmentation.

{commands}

annlib COMMAND --help shows the options of a command and an example.
To begin: annlib train balloon_ann --iterations 100"""


def read_command(words: list[str]) -> Any:
    """The command that words ask for; exits with 0 after --help, with 2 for wrong words."""
    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:10} {about}" for name, (_, about, _) in COMMANDS.items()]
        print(HELP.format(commands="\n".join(lines)), file=sys.stdout if words else sys.stderr)
        sys.exit(0 if words else 2)
    name, *rest = words
    if name not in COMMANDS:
        old = next((o for o in (" ".join(words[:2]), name) if o in SUCCESSORS), None)
        nearest = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        text = f"There is no command {name!r}.{hint} `annlib --help` lists all commands."
        text = f"`annlib {old}` was replaced by `{SUCCESSORS[old]}`." if old else text
        print(f"annlib: {text}", file=sys.stderr)
        sys.exit(2)
    place, about, example = COMMANDS[name]
    module, _, attribute = place.partition(":")
    commands = getattr(import_module(f"annlib.cli.{module}"), attribute)
    return parse(commands, f"annlib {name}", about, example, rest)


def main() -> None:
    """Runs the command that sys.argv asks for. Exit codes: see `exit_codes`."""
    with exit_codes():
        read_command(sys.argv[1:]).run()


if __name__ == "__main__":
    main()
