"""What SECURITY.md promises about commands, as the Makefile and JupyterLab have it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from guards import GUARDS, Guard

pytestmark = pytest.mark.fault("promise of SECURITY.md")
ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def recipe(target: str) -> list[str]:
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1].splitlines()


def test_jupyterlab_listens_on_this_computer_only_and_asks_for_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from jupyter_server.auth.identity import IdentityProvider
    from jupyter_server.serverapp import ServerApp

    (command,) = recipe("lab")
    given = [word for word in shlex.split(command) if word.startswith("--")]
    assert "--ServerApp.ip=127.0.0.1" in given
    assert not [word for word in given if "token" in word or "password" in word or "origin" in word]
    monkeypatch.delenv("JUPYTER_TOKEN", raising=False)
    monkeypatch.delenv("JUPYTER_TOKEN_FILE", raising=False)
    drawn = {IdentityProvider().token for _ in range(2)}  # no option of ours changes the default
    assert len(drawn) == 2 and min(map(len, drawn)) >= 40
    assert ServerApp.allow_remote_access.default_value in (None, False)
    assert ServerApp.ip.default_value == "localhost"


def test_the_audit_looks_up_the_locked_versions_and_nothing_else() -> None:
    command = " ".join(recipe("audit"))
    assert "--requirement requirements.lock" in command
    assert {"--no-deps", "--disable-pip"} <= {*command.split()}, "it executes no package"
    assert "--strict" in command, "a package that could not be looked up is not passed over"


@pytest.mark.parametrize("reason", ["a.py: Dependency not found on PyPI", "Traceback\nNo route"])
def test_an_audit_that_could_not_ask_fails_with_a_message(tmp_path: Path, reason: str) -> None:
    program = tmp_path / ".venv/audit/bin/pip-audit"
    program.parent.mkdir(parents=True)
    command = "\n".join(recipe("audit")).partition("\t@")[2].replace("\n\t", "\n")
    for code in (1, 0):
        program.write_text(f"#!/bin/sh\nprintf '{reason}' >&2; exit {code}\n")
        program.chmod(0o755)
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code and not done.stderr
        assert (reason.splitlines()[-1] in done.stdout) == (code == 1)
        assert ("could not be asked" in done.stdout) == (code == 1)
        assert "Traceback" not in done.stdout


def test_every_file_and_folder_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:tests|annlib)/[\w/.]+|test_\w+\.py)`", SECURITY)
    assert named
    for name in named:
        assert (ROOT / name).exists() or list((ROOT / "tests").rglob(name)), name


@pytest.mark.parametrize("part", ["Trusted", "Bounded", "Not bounded", "How to report"])
def test_the_page_has_its_parts(part: str) -> None:
    assert f"## {part}" in SECURITY


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.fault)
def test_each_guard_of_the_list_is_where_it_says(guard: Guard) -> None:
    text = (ROOT / guard.file).read_text(encoding="utf-8")
    assert text.count(guard.line) == 1
    assert guard.place.rpartition(":")[2].rpartition(".")[2] in text
    file, _, name = guard.test.partition("::")
    source = (ROOT / "tests/faults" / file).read_text(encoding="utf-8")
    called = name.partition("[")[0].partition(" ")[0]
    assert f"def {called}(" in source
