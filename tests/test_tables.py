"""Tables of plain text."""

from math import nan

import torch
from hypothesis import given
from hypothesis import strategies as st

from annlib.engine.metrics import Scores, percent, score_table, summary_line, table

WORD = st.text("abcdefgh 0123456789.", max_size=9)
SCORES = Scores(torch.tensor([0.5, nan, 0.25]), torch.tensor([1.0, nan, 0.125]), 0.756)


def cells(text: str) -> list[list[str]]:
    """Read back as Markdown does, the rule left out."""
    header, _, *rows = text.splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, *rows)]


@given(rows=st.lists(st.tuples(WORD, WORD, WORD), max_size=4))
def test_cells_can_be_read_back(rows: list[tuple[str, str, str]]) -> None:
    expected = [[text.strip() for text in row] for row in [("a", "b", "c"), *rows]]
    assert cells(table(["a", "b", "c"], rows)) == expected


@given(rows=st.lists(st.tuples(WORD, WORD), max_size=4))
def test_columns_are_aligned(rows: list[tuple[str, str]]) -> None:
    lines = table(["name", "number"], rows).splitlines()
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in lines}) == 1


def test_names_stand_left_and_numbers_right() -> None:
    assert table(["a", "b"], [["xyz", "1"], ["x", "100"]]).splitlines() == [
        "| a   |   b |",
        "|-----|----:|",
        "| xyz |   1 |",
        "| x   | 100 |",
    ]


def test_share_has_two_decimals_of_a_percent() -> None:
    assert [percent(share) for share in (0.774, 1.0, 0.0, nan)] == ["77.40", "100.00", "0.00", "-"]


def test_scores_of_each_class_and_their_means_are_shown() -> None:
    expected = [
        ["class", "IoU %", "accuracy %"],
        ["sky", "50.00", "100.00"],
        ["cat", "-", "-"],
        ["car", "25.00", "12.50"],
        ["mean", "37.50", "56.25"],
    ]
    classes, below = score_table(SCORES, ["sky", "cat", "car"]).split("\n\n")
    assert cells(classes) == expected
    assert below == "mIoU 37.50  mAcc 56.25  aAcc 75.60"


def test_scores_of_nothing_are_dashes() -> None:
    nothing = Scores(torch.tensor([nan]), torch.tensor([nan]), nan)
    assert summary_line(nothing) == "mIoU -  mAcc -  aAcc -"
