"""A file of JSON lines survives a kill at any byte, and hides no other damage."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annlib.engine.runs import append_line, keep_until, read_lines

LINES = [{"step": step, "loss": 1.5, "note": "Häuser\n"} for step in (20, 40, 60)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for line in LINES:
        append_line(tmp_path / "a.jsonl", line)
    return tmp_path / "a.jsonl"


def test_lines_come_back_as_they_were_written(path: Path) -> None:
    assert read_lines(path) == LINES
    assert [json.loads(text) for text in path.read_text().splitlines()] == LINES


def test_file_that_is_missing_or_empty_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "a.jsonl") == []
    (tmp_path / "a.jsonl").touch()
    assert read_lines(tmp_path / "a.jsonl") == []


@given(st.data())
def test_file_cut_at_any_byte_keeps_all_whole_lines_and_goes_on(tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    for line in LINES:
        append_line(path, line)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    ends = [i for i, byte in enumerate(whole) if byte == ord("\n")]
    kept = [line for line, end in zip(LINES, ends, strict=True) if cut >= end]
    assert read_lines(path) == kept
    append_line(path, {"step": 80})
    assert read_lines(path) == [*kept, {"step": 80}]
    assert path.read_bytes().count(b"\n") == len(kept) + 1


def test_end_that_a_power_failure_left_as_zeros_is_left_out(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0" * 50)
    assert read_lines(path) == LINES
    append_line(path, {"step": 80})
    assert read_lines(path) == [*LINES, {"step": 80}]


@pytest.mark.parametrize("garbage", [b'{"step": 40, "lo', b"\xff\xfe", b"", b"40", b"[1]"])
def test_damage_in_the_middle_is_told_with_its_line(path: Path, garbage: bytes) -> None:
    first, _, third, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([first, garbage, third, b""]))
    with pytest.raises(ValueError, match=r"a\.jsonl is damaged: its line 2 is no JSON object"):
        read_lines(path)


def test_lines_of_later_steps_are_dropped(path: Path) -> None:
    keep_until(path, 40)
    assert read_lines(path) == LINES[:2]
    keep_until(path, 0)
    assert read_lines(path) == []


def test_dropping_lines_of_no_file_makes_none(tmp_path: Path) -> None:
    keep_until(tmp_path / "a.jsonl", 40)
    assert list(tmp_path.iterdir()) == []
