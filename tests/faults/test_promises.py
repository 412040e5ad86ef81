"""What SECURITY.md promises about commands, as the Makefile and JupyterLab have it."""

import re
import shlex
from pathlib import Path

import pytest

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
    command = recipe("audit")[-1]
    assert "--requirement requirements.lock" in command
    assert {"--no-deps", "--disable-pip"} <= {*command.split()}, "it executes no package"


def test_every_file_and_folder_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:tests|annlib)/[\w/.]+|test_\w+\.py)`", SECURITY)
    assert named
    for name in named:
        assert (ROOT / name).exists() or list((ROOT / "tests").rglob(name)), name


@pytest.mark.parametrize("part", ["Trusted", "Bounded", "Not bounded", "How to report"])
def test_the_page_has_its_parts(part: str) -> None:
    assert f"## {part}" in SECURITY
