"""Which files `pytest -m` has to import, by the marks in their source."""

import re
from itertools import product

MARKS = ("all", "browser", "notebooks", "slow")
OF_THE_FILE = re.compile(r"^pytestmark = (?:\[.*?^\]|.*?$)", re.MULTILINE | re.DOTALL)


def can_match(expression: str, source: str) -> bool:
    """Whether -m may choose a test of this file, whichever of its marks each test has."""
    always = "".join(OF_THE_FILE.findall(source))
    values = [
        (True,) if f"mark.{mark}" in always else (False, True) if f"mark.{mark}" in source else (0,)
        for mark in MARKS
    ]
    return any(eval(expression, {}, dict(zip(MARKS, one, strict=True))) for one in product(*values))
