"""Nothing a submission does in the sandbox gets it points, or reaches beyond it."""

from pathlib import Path

import pytest
from cheats import CHEATS, SHORT, attempted
from in_process import AS_USER

from annlib.course.assignments.a1 import A1
from annlib.grader import sandbox as sandboxes
from annlib.grader.feedback import feedback
from annlib.grader.protocol import Message
from annlib.grader.sandbox import Sandbox, open_sandbox, run_worker, stage_worker, why_not
from annlib.grader.worker import MOST_FAILURES

MISSING = why_not(AS_USER)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"no sandbox here: {MISSING}"),
]

WAYS_OUT = (
    "open('/proc/1/mem', 'r+b')",
    "open('/proc/self/oom_score_adj', 'w')",
    "open('/proc/sys/kernel/core_pattern', 'r+')",
    "open('/proc/sys/vm/overcommit_memory', 'r+')",
    "open('own', 'w'); os.chmod('own', 0o4777)",
    "os.utime('own')",
    "os.symlink('/etc', 'link')",
    "socket.sethostname('eve')",
    "call('unshare', 0x10000000)",
    "call('mount', b'none', b'/tmp', b'tmpfs', 0, None)",
    "call('umount2', b'/proc', 2)",
    "call('ptrace', 16, 1, 0, 0)",
    "call('process_vm_writev', 1, None, 0, None, 0, 0)",
)
PRELUDE = """
import ctypes, os, socket
def call(name, *arguments):
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return open_sandbox(stage_worker(tmp_path_factory.mktemp("stage")), unsafe=False, user=AS_USER)


@pytest.mark.parametrize("name", CHEATS)
def test_cheat_gets_nothing_and_reaches_nothing(
    name: str, sandbox: Sandbox, tmp_path: Path
) -> None:
    result, reached = attempted(name, sandbox, tmp_path)
    assert (result.points, reached) == (0, [])


@pytest.mark.parametrize("as_root", [False, True], ids=["as it is", "as if root kept its rights"])
def test_a_submission_finds_no_way_out_of_the_sandbox(
    as_root: bool, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if as_root:
        monkeypatch.setattr(sandboxes, "started_by_root", lambda: False)
        sandbox = open_sandbox(stage_worker(tmp_path / "stage"), unsafe=False)
    nothing = Message({"calls": [], "number": 0, "own": ""}, {})
    for ways in (WAYS_OUT[:MOST_FAILURES], WAYS_OUT[MOST_FAILURES:]):
        found = run_worker(sandbox, SHORT, PRELUDE, ways, {}, [], nothing, nothing)
        failed = {failure["cell"]: failure["type"] for failure in found.failures}
        assert found.ended == "finished" and [*failed] == [*range(1, 1 + len(ways))]
        assert set(failed.values()) <= {"OSError", "PermissionError"}


def test_feedback_tells_nothing_of_what_was_asked(sandbox: Sandbox, tmp_path: Path) -> None:
    for name in filter(lambda name: name.startswith("tells"), CHEATS):
        result, _ = attempted(name, sandbox, tmp_path)
        page = feedback(A1, result, {})
        assert "carried" not in page and "carried" not in result.ended
        assert "an error of its own" in page or "cannot be read" in page or not result.failures
