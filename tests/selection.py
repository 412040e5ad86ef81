"""Which files `pytest -m` has to import, and what one process of `pytest -n 2` runs, and when."""

import re
from itertools import product
from pathlib import Path

MARKS = ("all", "browser", "fault", "notebooks", "slow")
OF_THE_FILE = re.compile(r"^pytestmark = (?:\[.*?^\]|.*?$)", re.MULTILINE | re.DOTALL)


def can_match(expression: str, source: str) -> bool:
    """Whether -m may choose a test of this file, whichever of its marks each test has."""
    always = "".join(OF_THE_FILE.findall(source))
    values = [
        (True,) if f"mark.{mark}" in always else (False, True) if f"mark.{mark}" in source else (0,)
        for mark in MARKS
    ]
    return any(eval(expression, {}, dict(zip(MARKS, one, strict=True))) for one in product(*values))


SHARED = {  # files that need the same, which takes seconds to make or to import
    "test_backbones": "torchvision",
    "test_classes": "torchvision",
    "test_hub": "torchvision",
    "test_transforms": "torchvision",
    "test_parity": "weights of the reference",
    "test_parity_inference": "weights of the reference",
    "test_verify_zoo": "weights of the reference",
}
COSTS = {  # processor seconds, roughly, where a test takes far more than others
    "browser": 120,
    "test_cheats": 60,
    "test_answers": 60,
    "test_interrupts": 20,
    "test_distributed": 20,
    "test_batch": 20,
    "test_resources": 20,
    "test_parity_training": 20,
}
APART = ("test_notebooks", "test_lesson_runs", "test_sweep")  # long tests that share nothing


def kept_together(nodeid: str) -> str:
    """A name for the tests that stay in one process: those of a file, which makes things once."""
    path = Path(nodeid.partition("::")[0])
    if path.parent.name == "browser":
        return "browser"  # one JupyterLab, one browser
    return nodeid if path.stem in APART else SHARED.get(path.stem, str(path))


def cost(name: str, tests: int) -> float:
    """Of the tests that stay together under a name, to begin the most expensive ones first."""
    if "::" in name:  # one of those that share nothing: a notebook
        return 15
    return COSTS.get(Path(name).stem, 0) + 0.06 * tests
