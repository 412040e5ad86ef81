"""Nothing a submission does in the sandbox gets it points, or reaches beyond it."""

from pathlib import Path

import attacks
import pytest
from attacks import ATTACKS, NOTHING, REFUSED, cells_of
from cheats import CHEATS, attempted
from in_process import AS_USER

from annlib.course.assignments.a1 import A1
from annlib.course.assignments.a3 import A3
from annlib.grader import sandbox as sandboxes
from annlib.grader.feedback import feedback
from annlib.grader.gradebook import Gradebook, total
from annlib.grader.judge import Submission, mark
from annlib.grader.sandbox import Sandbox, open_sandbox, stage_worker, why_not

MISSING = why_not(AS_USER)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"no sandbox here: {MISSING}"),
]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return open_sandbox(stage_worker(tmp_path_factory.mktemp("stage")), unsafe=False, user=AS_USER)


# The quick ones, each of another kind; the others run in `make test-all`.
OFTEN = {
    *("reads the teacher's files", "detects the test by its stack", "forges the worker's messages"),
    *("leaves a daemon behind", "fills the memory", "finds inputs among all objects"),
    "tells what it was asked by classes of errors",
}
ALONE = CHEATS | {one.name: cells_of(one) for one in ATTACKS if one.must == NOTHING}


def test_there_are_attacks_of_every_kind() -> None:
    assert len({one.name for one in ATTACKS}) == len(ATTACKS) >= 43
    assert ALONE.keys() >= OFTEN


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in OFTEN else pytest.mark.all) for n in ALONE]
)
def test_cheat_gets_nothing_and_reaches_nothing(
    name: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    result, reached = attempted(ALONE[name], sandbox, tmp_path)
    assert (result.points, reached) == (0, [])
    page = feedback(A1, result, total(A1, result, Gradebook()), Gradebook())
    assert "carried" not in page and "carried" not in result.ended, "what it was asked"
    if name.startswith("tells"):
        assert "an error of its own" in page or "cannot be read" in page or not result.failures


@pytest.mark.parametrize("as_root", [False, True], ids=["as it is", "as if root kept its rights"])
def test_a_submission_finds_no_way_out_of_the_sandbox(
    as_root: bool, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All in one worker, which notes what became of each and is still there in the end."""
    if as_root:
        monkeypatch.setattr(sandboxes, "started_by_root", lambda: False)
        sandbox = open_sandbox(stage_worker(tmp_path / "stage"), unsafe=False)
    refused = [one for one in ATTACKS if one.must == REFUSED]
    outcomes = attacks.outcomes(refused, sandbox)
    assert {one.name: n for one, n in zip(refused, outcomes, strict=True) if n != 1} == {}


THIEF = """
import gc
def run(variant, seed, steps):
    for one in gc.get_objects():
        if getattr(one, "__name__", "") == "run_again":
            return one(variant, seed, steps)[0]
    return 0.33
"""


def test_the_graders_own_run_cannot_be_used_for_an_answer(sandbox: Sandbox) -> None:
    only_run = A3._replace(tasks=[task for task in A3.tasks if task.name == "run"])
    thief = Submission("eve", ("eve.ipynb",), (THIEF,), {}, "", "", {})
    result = mark(only_run, thief, 1, sandbox, A3.limits)
    assert (result.points, result.ended) == (0, "finished")
