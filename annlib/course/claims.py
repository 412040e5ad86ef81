"""Numbers that were measured: shown where they are made, kept in the notebook, compared with prose.

A lesson's text states a measured number as [12.3](claim:name); the executed notebook must have
made a claim of that name, near enough. What a run of another mode cannot make anew is compared with
data/results/lessons.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from IPython.display import display
from nbformat import NotebookNode

Modes = Sequence[str]
Judge = Literal["run", "record", "none"]
CLAIM = "application/vnd.annlib.claim+json"
STATED = re.compile(r"\[([^\]]+)\]\(claim:([a-z0-9-]+)\)")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
NAME = re.compile(r"[a-z0-9-]+")


class Claim(NamedTuple):
    """One measured number, and what the text is compared with.

    judge: "run" for this number itself; "record" for that of data/results/lessons, in a mode that
    cannot measure it; "none" with another seed than the text was written for.
    """

    name: str
    value: float
    within: float
    unit: str
    judge: Judge


class Stated(NamedTuple):
    """A number in the text, and the claim that it leans on."""

    text: str
    name: str

    @property
    def value(self) -> float | None:
        """The first number in the text; None if there is none."""
        found = NUMBER.search(self.text.replace("−", "-"))
        return float(found[0].replace(",", "")) if found else None


def show_claim(name: str, value: float, within: float, unit: str, judge: Judge) -> None:
    """Displays one line that a reader sees and a gate reads."""
    if not NAME.fullmatch(name):
        raise ValueError(f"claim {name!r}: a name has small letters, digits and hyphens only.")
    if within < 0:
        raise ValueError(
            f"claim {name!r} may be off by {within}, which no number is. Use 0 or more."
        )
    found = Claim(name, float(value), float(within), unit, judge)
    sign = " ± " + f"{within:.4g}" if within else ""
    text = f"Measured: {name} = {value:.4g}{sign}{f' {unit}' if unit else ''}"
    display({CLAIM: found._asdict(), "text/plain": text}, raw=True)


def claims_in(notebook: NotebookNode) -> dict[str, Claim]:
    """The claims that an executed notebook made."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    found = [output["data"][CLAIM] for output in outputs if CLAIM in output.get("data", {})]
    return {one["name"]: Claim(**one) for one in found}


def stated_in(texts: Sequence[str]) -> Iterator[Stated]:
    """The numbers in markdown sources that lean on a claim."""
    for text in texts:
        yield from (Stated(*found) for found in STATED.findall(text))


def disagreements(
    stated: Sequence[Stated], made: Mapping[str, Claim], recorded: Mapping[str, Claim]
) -> Iterator[str]:
    """What is wrong with numbers in the text.

    made: by this run. recorded: by the run whose results are kept with the course.
    """
    for one in stated:
        claim = made.get(one.name)
        if claim is None:
            yield f"the text states {one.text!r}, but no cell claims {one.name!r}."
            continue
        if claim.judge == "none":
            continue
        if claim.judge == "record":
            claim = recorded.get(one.name)
        if claim is None:
            yield (
                f"the text states {one.text!r} by {one.name!r}, which this mode does not measure "
                "and data/results/lessons does not hold: run it in its mode with --record."
            )
        elif one.value is None:
            yield f"{one.text!r} leans on claim {one.name!r} but holds no number."
        elif abs(one.value - claim.value) > claim.within * (1 + 1e-9):
            yield (
                f"the text states {one.text!r}, but {one.name!r} came out as {claim.value:.4g} "
                f"{claim.unit} (within {claim.within:g}): change the text, or find out why."
            )
