"""Nothing a submission does in the sandbox gets it points, or reaches beyond it."""

from pathlib import Path

import pytest
from cheats import CHEATS, attempted

from annlib.course.assignments.a1 import A1
from annlib.course.grading.feedback import feedback
from annlib.course.grading.sandbox import Sandbox, open_sandbox, stage_worker, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=f"no sandbox here: {why_not()}"),
]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return open_sandbox(stage_worker(tmp_path_factory.mktemp("stage")), unsafe=False)


@pytest.mark.parametrize("name", CHEATS)
def test_cheat_gets_nothing_and_reaches_nothing(
    name: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    result, reached = attempted(name, sandbox, tmp_path)
    assert (result.points, reached) == (0, [])


def test_feedback_tells_nothing_of_what_was_asked(sandbox: Sandbox, tmp_path: Path) -> None:
    for name in filter(lambda name: name.startswith("tells"), CHEATS):
        result, _ = attempted(name, sandbox, tmp_path)
        page = feedback(A1, result, {})
        assert "carried" not in page and "carried" not in result.ended
        assert "an error of its own" in page or "cannot be read" in page
