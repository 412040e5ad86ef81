"""Checkpoints that outlive the next save: the best one, and the latest few by their numbers.

A run saves into last.safetensors and replaces that each time. Here the file gets further names, as
hard links where the disk knows those, so that keeping one costs no time and, until it is the only
name left, no space. A link shares its bytes: write a new file rather than over one of these.
"""

import json
import os
import re
from math import isnan
from pathlib import Path
from typing import NamedTuple

from annlib.engine.headers import read_header
from annlib.engine.lines import parse
from annlib.engine.records import read_validations
from annlib.model.checkpoints import write_atomically

BEST, BEST_FACTS = "best.safetensors", "best.json"
NUMBERED = re.compile(r"step-(\d{6,})\.safetensors")


class Best(NamedTuple):
    """Of which step best.safetensors is, and what that scored on the validation half."""

    step: int
    miou: float


def keep(folder: Path, checkpoint: Path, step: int, miou: float | None, most: int) -> None:
    """Keeps a checkpoint just written, under names of its own in the folder of the run.

    miou: of this step on the validation half, None if it was not scored; a step that beats all
    before it becomes best.safetensors. most: so many of the latest are kept by their numbers, and
    older ones deleted; 0 keeps none and deletes none.
    It may be killed anywhere: every name holds a whole checkpoint, and the next call tidies up.
    """
    if most > 0:
        give_name(checkpoint, folder / f"step-{step:06}.safetensors")
        earlier = [number for number in numbered(folder) if number <= step]
        for number in earlier[:-most]:
            (folder / f"step-{number:06}.safetensors").unlink()
    before = best(folder)
    if miou is not None and not isnan(miou) and (before is None or miou > before.miou):
        give_name(checkpoint, folder / BEST)
        facts = json.dumps(Best(step, miou)._asdict()) + "\n"
        write_atomically(folder / BEST_FACTS, facts.encode())


def give_name(checkpoint: Path, target: Path) -> None:
    """A second name for the same bytes, which stays when `checkpoint` is replaced."""
    temporary = target.with_name(".kept.part")
    temporary.unlink(missing_ok=True)  # of a process that was killed here
    try:
        os.link(checkpoint, temporary)
        os.replace(temporary, target)
    except OSError:  # this disk knows no hard links: FAT, some network drives
        write_atomically(target, checkpoint.read_bytes())
    finally:
        temporary.unlink(missing_ok=True)  # stays if both names were of one file already


def numbered(folder: Path) -> list[int]:
    """The steps whose checkpoints are kept by their numbers, in order."""
    names = [NUMBERED.fullmatch(path.name) for path in folder.iterdir()]
    return sorted(int(name[1]) for name in names if name)


def best(folder: Path) -> Best | None:
    """What best.safetensors is worth. None if there is none, or it is damaged: any is better.

    Which step it is, the file itself says: best.json may be older, if the run was killed between
    the two; then the record of the validations tells the score.
    """
    try:
        step = read_header(folder / BEST).step
    except (FileNotFoundError, ValueError):
        return None
    facts = folder / BEST_FACTS
    told = parse(facts.read_bytes()) if facts.exists() else None
    for line in [told or {}, *read_validations(folder)]:
        if line.get("step") == step:
            return Best(step, line["miou"])
    return None
