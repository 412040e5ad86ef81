"""What is committed names no folder of the machine that it was made on."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Not part of an address, a variable or a longer path; tests make folders up to test with.
OF_A_MACHINE = re.compile(rb"(?<![\w.$}~:/-])/(?:home|Users|root|work|mnt|scratch|opt)/\w")
BINARY = (".png", ".jpg", ".npz", ".pt", ".safetensors", ".zip")


def lines_with_folders(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if OF_A_MACHINE.search(line)]


def test_no_committed_file_names_a_machines_folder() -> None:
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, capture_output=True, check=True)
    names = [name for name in listed.stdout.decode().split("\0") if name]
    assert len(names) > 500
    read = [n for n in names if not n.startswith("tests/") and not n.endswith(BINARY)]
    found = {name: lines_with_folders((ROOT / name).read_bytes()) for name in read}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("before", [b'Path("', b"cd ", b"="])
@pytest.mark.parametrize("top", [b"work", b"home", b"mnt"])
def test_folders_of_a_machine_are_found(before: bytes, top: bytes) -> None:
    line = b"/".join([before, top, b"annlib"])
    assert lines_with_folders(line) == [line]


@pytest.mark.parametrize("line", [b"$HOME/mnt/x", b"https://a.org/home/x", b"~/opt/x", b"a/root/b"])
def test_addresses_and_variables_are_none(line: bytes) -> None:
    assert lines_with_folders(line) == []
