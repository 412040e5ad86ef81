"""The start of each lesson: parameters, device, progress bars, and claims about measured numbers.

A lesson's text states a measured number as [12.3](claim:name); `running.gates` compares it with the
claim of that name in the executed notebook, or with that in data/results/lessons.
"""

import ast
import html
import json
import re
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from math import floor, isfinite, log10
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import torch
from IPython import get_ipython
from IPython.display import display

from annlib.config import fits
from annlib.engine.inference import choose_device
from annlib.experiments import find_experiment
from annlib.files import PROJECT, read_json

if TYPE_CHECKING:  # importing it takes a second, which lessons can spare
    from nbformat import NotebookNode

ROOT = PROJECT  # with data/ and notebooks/
LINE = 88  # letters
MODES = ("quick", "learn", "full")
PARAMETERS = ("mode", "device", "seed", "data_root", "experiment")
DEVICE = re.compile(r"cpu|auto|cuda(:\d+)?")
Parameters = dict[str, object]
PROGRESS = "application/vnd.annlib.progress+json"
EVERY_SECONDS = 0.5
Item = TypeVar("Item")
BOXES = {"pass": ("✓", "#009E73"), "differs": ("≠", "#D55E00"), "note": ("", "#8a8a8a")}
CLAIM = "application/vnd.annlib.claim+json"
COUNT = re.compile(r"\s*(0|[1-9][0-9]*)\s*")  # not 007, which may be a name
STATED = re.compile(r"\[([^\]]+)\]\(claim:([a-z0-9-]+)\)")
INJECTED = "# Parameters\n"  # the first line of the cell that papermill inserts
TEXT_SEED = 0  # of the runs that the text of the lessons describes
TEXTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
PLACES = TEXTS["places"]  # of numbers that others published


def wrapped(text: str) -> str:
    """Broken between words; line breaks of the text stay."""
    return "\n".join(fill(line, LINE, break_long_words=False) for line in text.splitlines())


def say(text: str) -> None:
    print(wrapped(text))


def show_box(text: str, kind: str = "note", **more: object) -> None:
    """Shows text in a box; prints it where no notebook is.  more: other forms of it, by MIME type

    kind: "pass", "differs" or "note", each with a sign and a colour of its own.
    """
    sign, colour = BOXES[kind]
    plain = wrapped(f"{sign} {text}".strip())
    if get_ipython() is None and not more:
        print(plain)
        return
    style = f"border-left: 4px solid {colour}; padding: 0.3em 0.8em; margin: 0.3em 0"
    lines = "<br>".join(html.escape(line) for line in f"{sign} {text}".strip().splitlines())
    page = f'<div class="annlib-box" style="{style}">{lines}</div>'
    display({"text/html": page, "text/plain": plain, **more}, raw=True)


@cache
def recorded_claims() -> dict[str, float]:
    """The values in data/results/lessons that the text was written for, by the claim's name."""
    files = sorted((ROOT / "data/results/lessons").glob("*.json"))
    found = [json.loads(one.read_text(encoding="utf-8"))["claims"] for one in files]
    count = Counter(name for claims in found for name in claims)
    values = {name: one["value"] for claims in found for name, one in claims.items()}
    return {name: value for name, value in values.items() if count[name] == 1}


def refuse_unknown(given: Iterable[str], known: Sequence[str], where: str) -> None:
    """Raises ValueError for a name that nobody reads.  where: the notebook or file"""
    for name in given:
        if name not in known:
            near = "".join(f" Did you mean {one!r}?" for one in get_close_matches(name, known, 1))
            told = TEXTS["parameters"]["unknown"].format(where, name, near, ", ".join(known))
            raise ValueError(told)


def refuse_mode(mode: object) -> None:
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, so no cell knows how long to run. Use one of {MODES}.")


def read_notebook(path: Path) -> "NotebookNode":
    """A notebook, executed or not. Raises ValueError for a file that is damaged."""
    import nbformat

    try:
        content = nbformat.read(path, as_version=4)
        outputs = [one for cell in content.cells for one in cell.get("outputs", [])]
        _ = [cell.metadata.get("tags") for cell in content.cells if cell.source and cell.cell_type]
        _ = [dict(one.get("data", {})) for one in outputs]
        return content
    except OSError:
        raise
    except Exception as error:  # they have no common name
        said = f"{path} is damaged, or no notebook ({error!r:.80}): write or run it again."
        raise ValueError(said) from error


def read_note(executed: Path) -> dict[str, Any] | None:
    """How the run of a notebook ended: "seconds", "error" (None: well); None if it has not."""
    note, told = executed.with_suffix(".run.json"), {}
    if not (note.exists() and executed.is_file()):
        return None
    with suppress(ValueError):  # not JSON, which is said below
        told = read_json(note)
    kinds = tuple[float, str | None]
    if not (fits(told, dict) and fits((told.get("seconds"), told.get("error", ...)), kinds)):
        raise ValueError(f"{note} is not as a run writes it. Delete it to run that again.")
    return told


def known_parameters(notebook: Path) -> dict[str, object]:
    """Names and defaults in the cell tagged `parameters`."""
    cells = read_notebook(notebook).cells
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(TEXTS["parameters"]["cells"].format(notebook.name, len(tagged)))
    return literals(tagged[0].source, notebook.name)


def literals(code: str, where: str) -> Parameters:
    """What a cell assigns; ValueError for what is not a plain value.  where: the notebook or job"""
    try:
        return {name: ast.literal_eval(value) for name, value in assignments(code).items()}
    except (SyntaxError, ValueError) as error:
        said = f"parameters are plain, finite values, as 3 or [1, 3]: {error}".partition(": <")[0]
        raise ValueError(f"{where}: {said}") from error


def assignments(code: str) -> dict[str, ast.expr]:
    """By name, also `seed: int = 0`."""
    found = [one for one in ast.parse(code).body if isinstance(one, ast.Assign | ast.AnnAssign)]
    return {re.search(r"\w+", ast.unparse(one))[0]: one.value for one in found}


def in_normal_form(known: Parameters, given: Parameters, where: str) -> Parameters:
    """The values as the defaults are written, so that "1, 3" and [1, 3] are the same.

    Raises ValueError for an unknown name, another type than the default's, NaN and infinity.
    """
    refuse_unknown(given, list(known), where)
    found = {}
    for name, value in given.items():
        kind, default = type(value), known[name]
        whole = kind is float and value.is_integer()
        fits = kind is type(default) or default is None
        if isinstance(default, str):
            words = value if kind in (list, tuple) else [value] if kind is int else ()
            words = value.split(",") if kind is str else list(map(str, words))
            fits = bool(words)
            is_list = all(map(COUNT.fullmatch, words)) and not re.search(r"\b0\d", default)
            value = ",".join(str(int(w)) for w in words) if is_list else ",".join(words)
        wider = {(int, float): whole, (float, int): True, (list, tuple): True}
        if wider.get((type(default), kind)):
            value, fits = type(default)(value), True
        text = "" if kind is str else json.dumps(value)
        if not fits or "NaN" in text or "Infinity" in text:
            said = f"{where}: {name} is {given[name]!r}, but it has to be of the type "
            raise ValueError(f"{said}{type(default).__name__}, such as {default!r}.")
        found[name] = value
    return found


def open_job() -> None:
    """Brings what papermill injected to the types of the defaults, or refuses it.

    For the cell of a job after its parameters.
    """
    shell, this = get_ipython(), "This job"
    for before, cell in pairwise(shell.user_ns.get("In", []) if shell else []):
        if cell.startswith(INJECTED):
            shell.user_ns |= in_normal_form(literals(before, this), literals(cell, this), this)


def check_parameters(notebook: Path, parameters: Parameters) -> Parameters:
    """Parameters in normal form; ValueError for those that would have no effect.

    Papermill passes on a name that the notebook does not know.
    """
    parameters = in_normal_form(known_parameters(notebook), parameters, notebook.name)
    refuse_mode(parameters.get("mode", "learn"))
    device = parameters.get("device", "cpu")
    if not DEVICE.fullmatch(str(device)):
        raise ValueError(f"device is {device!r}. Use 'cpu', 'auto', 'cuda' or 'cuda:0'.")
    return parameters


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yields the items and shows how many of `total` are done, and the time that is left."""
    # tqdm's bar is a widget, which would stand at 0 % in the page of an executed notebook.
    started = shown = time.perf_counter()
    done, handle = 0, display(bundle(0, total, what, 0.0), raw=True, display_id=True)
    for done, item in enumerate(items, 1):
        yield item
        now = time.perf_counter()
        if handle and now - shown > EVERY_SECONDS:
            handle.update(bundle(done, total, what, now - started), raw=True)
            shown = now
    if handle:
        handle.update(bundle(done, total, what, time.perf_counter() - started), raw=True)


def bundle(done: int, total: int, what: str, seconds: float) -> dict[str, object]:
    """One state of the bar, as HTML with a native element and as text."""
    text = f"{done} of {total} {what}, {seconds:.0f} s"
    if 0 < done < total:
        text += f", about {seconds / done * (total - done):.0f} s to go"
    element = f'<progress value="{done}" max="{total}" aria-label="{what}"></progress> {text}'
    return {PROGRESS: {"done": done, "total": total}, "text/html": element, "text/plain": text}


class Claim(NamedTuple):
    """One measured number."""

    name: str
    value: float
    within: float  # how far from it the number in the text may be
    unit: str
    # What the text is compared with: this number; that of data/results/lessons, in a mode that
    # cannot measure it; nothing, with another seed than the text was written for.
    judge: Literal["run", "record", "none"]


def claims_in(notebook: "NotebookNode") -> dict[str, Claim]:
    """The claims that an executed notebook made."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    found = [output["data"][CLAIM] for output in outputs if CLAIM in output.get("data", {})]
    return {one["name"]: Claim(**one) for one in found}


@dataclass(frozen=True)
class OpenedLesson:
    mode: str
    device: torch.device
    seed: int
    data_root: Path | None
    experiment: str | None

    def pick(self, quick: Item, learn: Item, full: Item) -> Item:
        """The value for this mode: quick for tests, learn for a laptop, full for a GPU."""
        return {"quick": quick, "learn": learn, "full": full}[self.mode]

    def claim(
        self, name: str, value: float, within: float, unit: str = "", modes: Sequence[str] = MODES
    ) -> None:
        """Shows and keeps a measured number that the text states as [12.3](claim:name).

        within: how far from it, in the same unit, the number in the text may be. modes: those whose
        run must agree with the text; in others it is compared with data/results/lessons.
        """
        if not re.fullmatch("[a-z0-9-]+", name):
            raise ValueError(f"claim {name!r}: a name has small letters, digits and hyphens only.")
        if not isfinite(within) or within < 0:
            raise ValueError(f"claim {name!r} may be off by {within}. Use 0 or more.")
        judge = "none" if self.seed != TEXT_SEED else "run" if self.mode in modes else "record"
        found = Claim(name, float(value), float(within), unit, judge)
        digits = f".{max(0, -floor(log10(within)))}f" if within else ".4g"
        text, kind = f"{name}: yours {value:{digits}}", "note"
        if (stated := recorded_claims().get(name)) is not None:
            text += f", text {stated:{digits}}"
        text = f"{text} {unit}".rstrip()
        if stated is not None and judge != "record" and not abs(value - stated) <= within:
            text, kind = f"{text}: they differ", "differs"
        if judge == "record":
            text += f" (mode {self.mode} cannot measure it)"
        show_box(text, kind, **{CLAIM: found._asdict()})


def open_lesson(
    mode: str, device: str, seed: int, data_root: str = "", experiment: str = "", uses: tuple = ()
) -> OpenedLesson:
    """Checks the parameters, seeds torch, and prints what the run will use.

    uses: which of "data_root" and "experiment" the lesson uses. Raises ValueError for anything that
    would have no effect, or another one than was meant, FileNotFoundError for a missing data_root.
    """
    shell = get_ipython()  # papermill takes any name, known or not, and injects a cell with it
    for cell in shell.user_ns.get("In", []) if shell else []:
        if cell.startswith(INJECTED):
            refuse_unknown(assignments(cell), PARAMETERS, "This lesson")
    for name, value in {"data_root": data_root, "experiment": experiment}.items():
        if value and name not in uses:
            raise ValueError(TEXTS["parameters"]["not used"].format(name, value))
    refuse_mode(mode)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}; it is a whole number from 0 up.")
    chosen = choose_device(device)
    if data_root and not Path(data_root).is_dir():
        told = TEXTS["parameters"]["no folder"].format(data_root, Path(data_root).resolve())
        raise FileNotFoundError(told)
    try:
        name = find_experiment(experiment).name if experiment else None
    except KeyError as error:
        raise ValueError(f"experiment: {error.args[0]} `annlib list` shows all.") from error
    torch.manual_seed(seed)
    where = f"the CPU with {torch.get_num_threads()} threads"
    if chosen.type == "cuda":
        where = f"{chosen}, {torch.cuda.get_device_name(chosen)}"
    print(f"Mode {mode}, seed {seed}, on {where}.")
    return OpenedLesson(mode, chosen, seed, Path(data_root) if data_root else None, name)
