"""The 16 published rows, gone through from their names to scores, each claim checked by itself."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch

from annlib.config import Compute
from annlib.data.sources import open_data
from annlib.engine.costs import share_of_one_gpu
from annlib.engine.machine import placed
from annlib.engine.provenance import cpu_name, provenance
from annlib.engine.results import write_results
from annlib.engine.settings import to_json
from annlib.engine.shrinking import shrunk
from annlib.engine.tables import table
from annlib.engine.zoo_claims import check_gflops, check_loading, check_logits, check_parameters
from annlib.engine.zoo_runs import (
    CPU,
    check_evaluation,
    check_step,
    imitate,
    multi_scale,
    slide,
    whole,
)
from annlib.model.baselines import build_model
from annlib.model.checkpoints import write_atomically
from annlib.zoo import Published

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
    model = placed(build_model(small.model), CPU, Compute())
    halves = open_data(small.data, root)
    return {
        "parameters": lambda: check_parameters(row.experiment),
        "GFLOPs": lambda: check_gflops(row.experiment),
        "strict load": lambda: check_loading(row.experiment, model),
        "golden logits": lambda: check_logits(row.experiment, model),
        "training step": lambda: check_step(small, model, halves.train),
        "whole": lambda: check_evaluation(model, whole(test), halves.val),
        "slide": lambda: check_evaluation(model, slide(test, crop_size), halves.val),
        "ms+flip": lambda: check_evaluation(model, multi_scale(test), halves.val),
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
mIoU: of that network, which has learnt nothing, on {pictures}:
it says that evaluation runs, and that every pixel was counted."""


def zoo_table(checks: Sequence[RowCheck], shrink: int) -> str:
    """Two Markdown tables, what holds and what was seen; then all that does not hold."""
    texts = [
        grid(checks, lambda finding: "yes" if finding.holds else "NO"),
        summary(checks, shrink),
        grid(checks, lambda finding: finding.seen if finding.holds else "see below"),
        LEGEND.format(pictures=pictures(shrink)),
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


def pictures(shrink: int) -> str:
    small = f" with all sides divided by {shrink}" if shrink > 1 else " of the real sizes"
    return f"painted imitations of the data sets{small}"


def summary(checks: Sequence[RowCheck], shrink: int) -> str:
    holding = sum(check.holds for check in checks)
    seconds = sum(check.seconds for check in checks)
    return (
        f"{holding} of {len(checks)} rows hold in every claim. {cpu_name()}, {seconds:.0f} s, "
        f"--shrink {shrink}."
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
