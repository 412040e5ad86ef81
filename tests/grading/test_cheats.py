"""Nothing a submission does in the sandbox gets it points, or reaches beyond it."""

import socket
import subprocess
from pathlib import Path

import pytest
from cheats import CHEATS

from annlib.course.assignments.a1 import A1
from annlib.course.grading.confine import Limits
from annlib.course.grading.intake import Submission
from annlib.course.grading.marking import mark
from annlib.course.grading.releasing import public_checks
from annlib.course.grading.sandbox import Sandbox, open_sandbox, stage_worker, why_not

SHORT = Limits(call_seconds=2, cpu_seconds=15, wall_seconds=15, memory_gib=2)
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
    secret, outside = tmp_path / "secret.txt", tmp_path / "outside.txt"
    secret.write_text("the answers")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        words = {"SECRET": str(secret), "OUTSIDE": str(outside)}
        words["PORT"] = str(server.getsockname()[1])
        cells = CHEATS[name]
        for word, meant in words.items():
            cells = tuple(cell.replace(word, meant) for cell in cells)
        one = Submission("eve", ("eve.ipynb",), cells, {}, "", "")
        result = mark(A1, one, 1, sandbox, SHORT, public_checks(A1))
        with pytest.raises(BlockingIOError):
            server.accept()
    assert result.points == 0
    assert secret.read_text() == "the answers"
    assert not outside.exists()
    running = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True).stdout
    assert "sleep 4242" not in running
    assert next(word for word in sandbox.command if "/stage" in word) not in running
