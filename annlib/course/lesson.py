"""What every lesson begins with: its parameters, checked, and what follows from them."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from IPython import get_ipython

from annlib.course.claims import Judge, Modes, show_claim
from annlib.course.parameters import MODES, PARAMETERS, refuse_mode, refuse_unknown
from annlib.experiments import find_experiment

INJECTED = "# Parameters\n"  # how the cell begins that papermill puts in
TEXT_SEED = 0  # that the text of the lessons speaks of
Value = TypeVar("Value")


@dataclass(frozen=True)
class OpenedLesson:
    """The parameters of a run, as a lesson uses them."""

    mode: str
    device: torch.device
    seed: int
    data_root: Path | None
    experiment: str | None

    def pick(self, quick: Value, learn: Value, full: Value) -> Value:
        """The value for this mode: quick for tests, learn for a laptop, full for a GPU."""
        return {"quick": quick, "learn": learn, "full": full}[self.mode]

    def claim(
        self, name: str, value: float, within: float, unit: str = "", modes: Modes = MODES
    ) -> None:
        """Shows and keeps a measured number that the text states as [12.3](claim:name).

        within: how far from it, in the same unit, the number in the text may be. modes: those whose
        run must agree with the text; in others it is compared with data/results/lessons.
        """
        judge: Judge = "run" if self.mode in modes else "record"
        show_claim(name, value, within, unit, judge if self.seed == TEXT_SEED else "none")


def open_lesson(
    mode: str,
    device: str,
    seed: int,
    data_root: str = "",
    experiment: str = "",
    uses: Sequence[str] = (),
) -> OpenedLesson:
    """Checks the parameters, seeds torch, and says what the run will use.

    uses: which of "data_root" and "experiment" the lesson knows what to do with. Raises ValueError
    for anything that would have no effect, or another one than was meant.
    """
    refuse_unknown(injected_names(), PARAMETERS, "This lesson")
    refuse_unused({"data_root": data_root, "experiment": experiment}, uses)
    refuse_mode(mode)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}; runs are told apart by a whole number from 0 up.")
    lesson = OpenedLesson(
        mode, chosen_device(device), seed, existing(data_root), known(experiment) or None
    )
    torch.manual_seed(seed)
    print(f"Mode {mode}, seed {seed}, on {described(lesson.device)}.")
    return lesson


def injected_names() -> list[str]:
    """The parameters that papermill was given: it takes any name, known or not."""
    shell = get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    given = [cell for cell in cells if cell.startswith(INJECTED)]
    statements = [node for cell in given for node in ast.parse(cell).body]
    return [node.targets[0].id for node in statements if isinstance(node, ast.Assign)]


def refuse_unused(values: Mapping[str, str], uses: Sequence[str]) -> None:
    """Raises ValueError for a parameter that was set, but that this lesson does not use."""
    for name, value in values.items():
        if value and name not in uses:
            raise ValueError(
                f"{name} is {value!r}, but this lesson works on what comes with annlib, so it "
                "would have no effect. Leave it empty; lessons 6, 9 and 10 use it."
            )


def chosen_device(device: str) -> torch.device:
    """auto takes a GPU where there is one.  Raises ValueError for one that is not there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device is {device!r}. Use 'auto', 'cpu', 'cuda' or 'cuda:1'.") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {device!r}, but torch finds {torch.cuda.device_count()} CUDA GPUs here. "
            "Use 'auto' or 'cpu', or check the driver (nvidia-smi)."
        )
    return chosen


def existing(data_root: str) -> Path | None:
    """The folder of real data.  Raises FileNotFoundError if there is none."""
    if data_root and not Path(data_root).is_dir():
        raise FileNotFoundError(
            f"data_root is {data_root!r}, which is no folder here ({Path(data_root).resolve()}). "
            "Leave it empty to rehearse on data made by annlib."
        )
    return Path(data_root) if data_root else None


def known(experiment: str) -> str:
    """The name of an experiment.  Raises ValueError for one that does not exist."""
    try:
        return find_experiment(experiment).name if experiment else ""
    except KeyError as error:
        raise ValueError(f"experiment: {error.args[0]} `annlib list` shows all.") from error


def described(device: torch.device) -> str:
    """A device as people call it."""
    if device.type == "cuda":
        return f"{device}, {torch.cuda.get_device_name(device)}"
    return f"the CPU with {torch.get_num_threads()} threads"
