"""The table of the 16 rows, and the command that makes it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_zoo import ADE20K, CITYSCAPES, CITYSCAPES_769, SHRINK, tiny_row

from annlib import __main__, zoo
from benchmarks import verify_zoo
from benchmarks.verify_zoo import Finding, RowCheck, check_rows, find, write_zoo, zoo_table

GOOD = RowCheck("good", {"builds": Finding(True, "R-50"), "slide": Finding(True, "mIoU 1")}, 2.0)
BAD = RowCheck("bad", {"builds": Finding(True, "R-9"), "slide": Finding(False, "no pixel")}, 3.0)
UNBUILT = RowCheck("unbuilt", {"builds": Finding(False, "no such depth")}, 0.0)


def cells(text: str, number: int) -> list[list[str]]:
    """The table of that number, without its rule."""
    tables = [part for part in text.split("\n\n") if part.startswith("| name")]
    header, _, *lines = tables[number].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in (header, *lines)]


def refuse() -> str:
    raise KeyError("no such key")


def test_error_becomes_a_finding() -> None:
    assert find(lambda: "seen") == Finding(True, "seen")
    assert find(refuse) == Finding(False, "KeyError: 'no such key'")


def test_row_holds_when_all_its_claims_do() -> None:
    assert GOOD.holds and not BAD.holds and not UNBUILT.holds


def test_table_says_what_holds_and_below_it_what_does_not() -> None:
    text = zoo_table([GOOD, BAD, UNBUILT], shrink=8)
    assert cells(text, 0) == [
        ["name", "builds", "slide"],
        ["good", "yes", "yes"],
        ["bad", "yes", "NO"],
        ["unbuilt", "NO", "NO"],
    ]
    assert cells(text, 1)[2] == ["bad", "R-9", "see below"]
    assert "1 of 3 rows hold in every claim." in text
    assert "- bad, slide: no pixel\n- unbuilt, builds: no such depth" in text
    assert "all sides divided by 8" in text


def test_table_of_good_rows_has_no_list_of_failures() -> None:
    text = zoo_table([GOOD], shrink=1)
    assert "Does not hold" not in text and "of the real sizes" in text


def test_findings_are_written_with_the_machine(tmp_path: Path) -> None:
    write_zoo([GOOD, BAD], 8, tmp_path / "zoo.md", "annlib zoo")
    values = json.loads((tmp_path / "zoo.json").read_text())
    assert [row["holds"] for row in values["rows"]] == [True, False]
    assert values["rows"][1]["findings"]["slide"] == {"holds": False, "seen": "no pixel"}
    assert values["shrink"] == 8 and values["made"]["hardware"]["cores"] >= 1


def test_row_of_another_network_fails_where_it_differs_and_works_where_it_does_not() -> None:
    (check,) = check_rows([tiny_row()], SHRINK)
    holding = [name for name, finding in check.findings.items() if finding.holds]
    # The reference knows no numbers of TINY, and no weights of it were loaded: as at the start of a
    # training, output projections are zero, and keys, queries and values get no gradient.
    assert holding == ["builds", "whole", "slide", "ms+flip"]
    assert "r9_19" in check.findings["parameters"].seen
    assert "53 of 66 weights moved" in check.findings["training step"].seen


def test_row_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    check = verify_zoo.check_row(tiny_row(), tmp_path / "nothing", SHRINK)
    assert list(check.findings) == ["builds"]
    assert "FileNotFoundError" in check.findings["builds"].seen


@pytest.fixture
def annlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Runs a command line on two small rows, in a folder of our own."""
    rows = tuple(tiny_row(name) for name in (CITYSCAPES, ADE20K))
    monkeypatch.setattr(zoo, "ROWS", rows)
    monkeypatch.setattr(zoo, "NAMES", {row.name: row for row in rows})
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["annlib", "zoo", *map(str, words)])
        __main__.main()

    return run


def test_claims_that_do_not_hold_end_in_exit_code_1(annlib, capsys) -> None:
    with pytest.raises(SystemExit, match="1 of 1 rows do not hold") as stop:
        annlib("--rows", ADE20K, "--shrink", SHRINK)
    assert isinstance(stop.value.code, str)  # Python prints it and exits with 1
    assert f"{ADE20K}: does not hold: parameters" in capsys.readouterr().out
    assert (
        f"annlib zoo --rows {ADE20K} --shrink {SHRINK}" in Path("data/results/zoo.md").read_text()
    )


def test_claims_that_hold_end_well(annlib, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = {"slide": lambda: "mIoU 1"}
    monkeypatch.setattr(verify_zoo, "checks_of", lambda row, root, shrink: checks)
    annlib("--shrink", SHRINK, "--out", "all.md")
    printed = capsys.readouterr().out
    assert f"{CITYSCAPES}: all true" in printed and f"{ADE20K}: all true" in printed
    assert "2 of 2 rows hold in every claim" in Path("all.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"), [(("--shrink", 0), "--shrink"), (("--rows", "ann"), "No published row")]
)
def test_what_cannot_be_checked_is_told_first(annlib, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        annlib(*words)
    assert not Path("data").exists()


@pytest.mark.slow
def test_published_row_holds_in_every_claim() -> None:
    (check,) = check_rows([zoo.published(CITYSCAPES_769)], SHRINK)
    assert {name: finding for name, finding in check.findings.items() if not finding.holds} == {}
    assert len(check.findings) == 9
