"""Which files `pytest -m` has to import, and which tests one process of `pytest -n 2` runs."""

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


SHARED = {  # files that need the same, which takes seconds to make
    "test_parity": "weights of the reference",
    "test_parity_inference": "weights of the reference",
    "test_verify_zoo": "weights of the reference",
}
APART = ("test_notebooks", "test_lesson_runs", "test_sweep")  # long tests that share nothing


def kept_together(nodeid: str) -> str:
    """A name for the tests that stay in one process: those of a file, which makes things once."""
    path = Path(nodeid.partition("::")[0])
    if path.parent.name == "browser":
        return "browser"  # one JupyterLab, one browser
    return nodeid if path.stem in APART else SHARED.get(path.stem, str(path))
