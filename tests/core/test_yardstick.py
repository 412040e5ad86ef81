"""tools/yardstick.py: its adapters lead to what is there, and it counts as it says."""

import ast
import runpy
from pathlib import Path

import pytest
from PIL import Image

import annlib
from annlib.engine.optimization import train

ROOT = Path(annlib.__file__).parents[1]
YARDSTICK = runpy.run_path(str(ROOT / "tools/yardstick.py"))
CLASS = """class Block:
    '''Two lines
    of text.'''

    size = 1

    # A comment.
    def forward(self, x):
        '''A docstring.'''
        y = x  # a line of code
        return y
"""


def test_adapters_lead_to_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "val/images").mkdir(parents=True)
    Image.new("RGB", (24, 16)).save(tmp_path / "val/images/0.png")
    YARDSTICK["image_to_logits"](tmp_path)
    assert YARDSTICK["is_training_loop"](train.__code__)


def test_name_that_has_moved_is_refused_with_all_its_places() -> None:
    with pytest.raises(
        ImportError, match="None of annlib.gone.away, annlib.published_experiments.away exists"
    ):
        YARDSTICK["first_of"]("annlib.gone.away", "annlib.published_experiments.away")


def test_lines_of_code_leave_out_blanks_comments_and_docstrings() -> None:
    assert YARDSTICK["code_lines"](ast.parse(CLASS).body[0], CLASS) == 5


@pytest.mark.parametrize(
    ("body", "expected"),
    [("return 1", True), ("'''Text.'''\n    return 1", True), ("x = 1\n    return x", False)],
)
def test_function_of_one_return_is_found(body: str, expected: bool) -> None:
    node = ast.parse(f"def f():\n    {body}\n").body[0]
    assert YARDSTICK["is_one_return"](node) is expected


def test_values_stand_beside_those_of_an_earlier_table() -> None:
    before = YARDSTICK["table"]({"files": ("375", "150")})
    after = YARDSTICK["table"]({"files": ("149", "150"), "new": ("1", "")}, before)
    assert "| files | 375 | 149 | 150 |" in after.splitlines()
    assert "| new |  | 1 |  |" in after.splitlines()
