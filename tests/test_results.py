"""The files that measurements leave: what they say, and that they say where they come from."""

import json
import os
import platform
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import pytest
import torch

from annlib.engine.results import (
    Result,
    slug,
    summary,
    write_comparison,
    write_measured,
    write_results,
)

EXAMPLE = Result("ann", 0, 600, 12345, 0.5, 0.75, 0.25, 61.0, 100, 11.0)


def test_row_of_a_head_shows_mean_worst_and_how_often_the_goal_was_met() -> None:
    bad = replace(EXAMPLE, seed=1, house_accuracy=0.25, goal_step=None, goal_seconds=None)
    row = summary([EXAMPLE, bad]).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "ann",
        "12,345",
        "0.500 ±0.000",
        "0.500 ±0.354 (0.250)",
        "0.250 ±0.000",
        "61",
        "11 (11)",
        "1 of 2",
    ]


def test_head_that_never_meets_the_goal_is_said_to() -> None:
    never = replace(EXAMPLE, goal_step=None, goal_seconds=None)
    assert "never |" in summary([never])


def test_table_and_single_results_are_written(tmp_path: Path) -> None:
    text = write_comparison([EXAMPLE], tmp_path / "out" / "town.md", "the command")
    assert (tmp_path / "out" / "town.md").read_text() == text
    assert json.loads((tmp_path / "out" / "town.json").read_text()) == [asdict(EXAMPLE)]
    assert "600 steps of batch 8 on one CPU thread, 1 seeds" in text


def test_results_say_when_where_and_how_they_were_made(tmp_path: Path) -> None:
    text = write_results("the table", tmp_path / "a.md", "annlib town attention --houses 7")
    table, where = text.split("\n\n")
    assert table == "the table"
    assert where.endswith("Remake: `annlib town attention --houses 7`\n")
    for fact in (date.today(), platform.machine(), f"{os.cpu_count()} CPUs", torch.__version__):
        assert str(fact) in where


def test_numbers_are_written_with_all_that_they_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "out" / "race.md"
    text = write_measured("the table", {"slope": 1.5}, path, "annlib benchmark growth")
    assert path.read_text() == text and "Remake: `annlib benchmark growth`" in text
    values = json.loads(path.with_suffix(".json").read_text())
    assert values["slope"] == 1.5 and values["made"]["versions"]["torch"] == torch.__version__


def test_words_make_a_file_name_that_is_valid_everywhere() -> None:
    assert slug("blocks", "AMD EPYC (TM) 9/4") == "blocks_amd-epyc-tm-9-4"


def test_results_are_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    before = write_results("old", tmp_path / "a.md", "the command")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_results("new", tmp_path / "a.md", "the command")
    assert (tmp_path / "a.md").read_text() == before
