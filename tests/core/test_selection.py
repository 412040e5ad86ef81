"""Files that `pytest -m` does not import hold no test that it would choose."""

import pytest
from selection import can_match

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
