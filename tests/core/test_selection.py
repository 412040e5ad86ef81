"""pytest imports every file with a chosen test, and keeps tests together that share something."""

from pathlib import Path

import pytest
from selection import can_match, cost, kept_together

FAST = "not slow and not browser and not all"


@pytest.mark.parametrize(
    ("expression", "source", "imported"),
    [
        (FAST, "def test_a(): ...", True),
        (FAST, "@pytest.mark.slow\ndef test_a(): ...\ndef test_b(): ...", True),
        (FAST, "pytestmark = pytest.mark.slow\n\ndef test_a(): ...", False),
        (FAST, "pytestmark = [\n    pytest.mark.browser,\n]\n\ndef test_a(): ...", False),
        (FAST, "skip = pytest.mark.skipif(1)\npytestmark = skip\nmarks = pytest.mark.all", True),
        ("slow and not all", "def test_a(): ...", False),
        ("slow and not all", "@pytest.mark.slow\ndef test_a(): ...", True),
        ("slow and not all", "pytestmark = pytest.mark.all\n\n@pytest.mark.slow\n", False),
        ("(browser or all) and not slow", "marks = pytest.mark.all if x else []", True),
    ],
)
def test_file_is_imported_if_one_of_its_tests_can_be_chosen(
    expression: str, source: str, imported: bool
) -> None:
    assert can_match(expression, source) == imported


def test_tests_that_share_something_stay_in_one_process() -> None:
    def together(*nodeids: str) -> bool:
        return len(set(map(kept_together, nodeids))) == 1

    assert together("core/test_ann.py::test_a[b::c]", "core/test_ann.py::test_d")
    assert together("browser/test_lab.py::test_a", "browser/test_gallery.py::test_b")
    assert together("core/test_parity.py::test_a", "benchmarks/test_verify_zoo.py::test_b")
    assert not together("course/test_notebooks.py::a[0]", "course/test_notebooks.py::a[1]")
    assert not together("core/test_ann.py::test_a", "data/test_ann.py::test_a")


def test_every_file_that_opens_a_browser_lies_in_the_folder_that_shares_one() -> None:
    tests = {*Path(__file__).parents[1].rglob("test_*.py")} - {Path(__file__)}
    marked = [path for path in tests if "mark.browser" in path.read_text("utf-8")]
    opening = [path for path in tests if "import Browser" in path.read_text("utf-8")]
    assert len(marked) > 4 and {path.parent.name for path in marked + opening} == {"browser"}


def test_what_takes_long_begins_first() -> None:
    names = ["core/test_ann.py", "course/test_notebooks.py::a[0]", "grader/test_cheats.py"]
    names = [*names, kept_together("browser/test_lab.py::test_a")]
    assert sorted(names, key=lambda name: cost(name, 20)) == names
    assert cost("core/test_ann.py", 9) < cost("core/test_ann.py", 10)
