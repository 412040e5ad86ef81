"""Nothing a submission does in the sandbox gets it points, or reaches beyond it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cheats import CHEATS, SHORT, Attempt, attempted
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
    pytest.mark.timeout(900),  # the first test waits for all attempts
    pytest.mark.skipif(bool(MISSING), reason=f"no sandbox here: {MISSING}"),
]

# Their cells raise an error and the worker goes on, so one worker tries all of them.
TOGETHER = (
    "reads the teacher's files",
    "writes outside its folder",
    "deletes outside its folder",
    "looks for annlib's own blocks",
    "opens a socket",
    "forks a bomb",
    "leaves a daemon behind",
    "asks for input",
    "has the kernel signal its parent",
)
SEVERAL = "several cheats in one notebook"
ATTEMPTS = {name: cells for name, cells in CHEATS.items() if name not in TOGETHER}
ATTEMPTS[SEVERAL] = tuple(cell for name in TOGETHER for cell in CHEATS[name])
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


def sandbox_in(folder: Path) -> Sandbox:
    return open_sandbox(stage_worker(folder / "stage"), unsafe=False, user=AS_USER)


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Attempt]:
    """What comes of each, three at a time: many only wait for a limit."""

    def attempt(cells: Sequence[str], folder: Path) -> Attempt:
        return attempted(cells, sandbox_in(folder), folder)

    folders = [tmp_path_factory.mktemp("cheat") for _ in ATTEMPTS]
    with ThreadPoolExecutor(3) as pool:
        return dict(zip(ATTEMPTS, pool.map(attempt, ATTEMPTS.values(), folders), strict=True))


@pytest.mark.parametrize("name", ATTEMPTS)
def test_cheat_gets_nothing_and_reaches_nothing(name: str, attempts: Mapping[str, Attempt]) -> None:
    result, reached = attempts[name]
    assert (result.points, reached) == (0, [])


def test_each_of_several_cheats_in_one_notebook_is_stopped(attempts: Mapping[str, Attempt]) -> None:
    result, _ = attempts[SEVERAL]
    failed = {failure["cell"]: failure["type"] for failure in result.failures}
    assert result.ended == "finished"
    assert [*failed] == [*range(1, 1 + len(ATTEMPTS[SEVERAL]))], failed


@pytest.mark.all
@pytest.mark.parametrize("name", TOGETHER)
def test_cheat_alone_gets_nothing_and_reaches_nothing(name: str, tmp_path: Path) -> None:
    result, reached = attempted(CHEATS[name], sandbox_in(tmp_path), tmp_path)
    assert (result.points, reached) == (0, [])


@pytest.mark.parametrize("as_root", [False, True], ids=["as it is", "as if root kept its rights"])
def test_a_submission_finds_no_way_out_of_the_sandbox(
    as_root: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if as_root:
        monkeypatch.setattr(sandboxes, "started_by_root", lambda: False)
        sandbox = open_sandbox(stage_worker(tmp_path / "stage"), unsafe=False)
    else:
        sandbox = sandbox_in(tmp_path)
    nothing = Message({"calls": []}, {})
    for ways in (WAYS_OUT[:MOST_FAILURES], WAYS_OUT[MOST_FAILURES:]):
        found = run_worker(sandbox, SHORT, PRELUDE, ways, {}, nothing)
        failed = {failure["cell"]: failure["type"] for failure in found.failures}
        assert found.ended == "finished" and [*failed] == [*range(1, 1 + len(ways))]
        assert set(failed.values()) <= {"OSError", "PermissionError"}


def test_feedback_tells_nothing_of_what_was_asked(attempts: Mapping[str, Attempt]) -> None:
    tells = [name for name in ATTEMPTS if name.startswith("tells")]
    assert len(tells) == 3
    for name in tells:
        result, _ = attempts[name]
        page = feedback(A1, result, {})
        assert "carried" not in page and "carried" not in result.ended
        assert "an error of its own" in page or "cannot be read" in page or not result.failures
