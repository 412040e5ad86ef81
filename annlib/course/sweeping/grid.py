"""A grid of runs: one notebook, and every combination of its parameter values."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from annlib.course.lesson import Parameters, check_parameters, known_parameters, refuse_unknown

SEED = "seed"


class Combination(NamedTuple):
    number: int  # of this run in its grid, from 1
    label: str  # how it differs from the others: "head ann, seed 0"
    name: str  # of its files; another notebook or another value gives another name
    parameters: Parameters


class Grid(NamedTuple):
    notebook: Path
    varied: tuple[str, ...]  # the parameters by which runs differ, the seed last
    combinations: tuple[Combination, ...]

    def number(self, number: int) -> Combination:
        """Raises ValueError unless 1 <= number <= how many there are."""
        if not 1 <= number <= len(self.combinations):
            size = len(self.combinations)
            raise ValueError(f"No combination {number}: this grid has {size}, counted from 1.")
        return self.combinations[number - 1]


def read_grid(path: Path) -> Grid:
    """The grid of a JSON file, its notebook sought here or beside it.  Raises ValueError."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not JSON: {error}. (A frequent cause: a comma after the last entry.)"
        ) from error
    if not isinstance(told, dict) or "notebook" not in told:
        raise ValueError(
            f'{path} must hold {{"notebook": "...ipynb", "base": {{}}, "grid": {{}}}}.'
        )
    refuse_unknown(told, ("notebook", "base", "grid", "runs"), path.name)
    places = [Path(told["notebook"]), path.parent / told.pop("notebook")]
    found = [place for place in places if place.is_file()]
    if not found:
        raise FileNotFoundError(f"The notebook is neither {' nor '.join(map(str, places))}.")
    return make_grid(found[0], **({"grid": {}} | told))


def make_grid(
    notebook: Path,
    grid: Mapping[str, Sequence[Any]],
    base: Mapping[str, Any] | None = None,
    runs: Sequence[Mapping[str, Any]] = (),
) -> Grid:
    """All combinations of the grid's values, then the extra runs; `base` goes for all of them.

    Raises ValueError, before anything runs, for a parameter that the notebook does not have, and
    for a combination that comes twice: one run would count as two.
    """
    base, known = dict(base or {}), known_parameters(notebook)
    for given in (grid, base, *runs):
        refuse_unknown(given, list(known), notebook.name)
    for name, values in grid.items():
        if not isinstance(values, list | tuple) or not values:
            raise ValueError(f"grid: {name} is {values!r}; it takes a list of values: [0, 1, 2].")
    points = [zip(grid, values, strict=True) for values in product(*grid.values())]
    given = [base | dict(one) for one in [*(points if grid or not runs else []), *runs]]
    for parameters in given:
        check_parameters(notebook, parameters)
    everything = [known | parameters for parameters in given]
    texts = [json.dumps(parameters, sort_keys=True) for parameters in everything]
    for number, text in enumerate(texts, 1):
        if (first := texts.index(text) + 1) != number:
            raise ValueError(
                f"Combinations {first} and {number} are the same, so one run would count as two. "
                "Is a value twice in the grid, or an extra run already part of it?"
            )
    names = {name for parameters in given for name in parameters}
    varied = [n for n in everything[0] if n in names and len({show(e[n]) for e in everything}) > 1]
    varied.sort(key=lambda name: name == SEED)  # the others in the order of the notebook
    # What the notebook does: its code, without its outputs and its text.
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    combinations = []
    for number, (text, parameters) in enumerate(zip(texts, everything, strict=True), 1):
        identity = hashlib.sha256((text + code).encode()).hexdigest()[:8]
        words = [f"{name} {show(parameters[name])}" for name in varied]
        readable = re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")[:60]
        name = "-".join(filter(None, (readable, identity)))
        label = ", ".join(words) or "the only run"
        combinations.append(Combination(number, label, name, parameters))
    return Grid(notebook, tuple(varied), tuple(combinations))


def show(value: object) -> str:
    """A value in a table: lists without brackets."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
