"""The machinery of the browser tests, and the settings that JupyterLab gets."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from annlib.__main__ import read_command
from annlib.course.authoring import sources
from tests.browser.gallery import ENTRIES
from tests.browser.lab import SETTINGS, jupyterlab, stop

ROOT = Path(__file__).parents[2]
IMPORTED = re.compile(r"\bwidgets\.(\w+)\(")
KERNELS = "@jupyterlab/apputils-extension:kernels-settings"
WIDGETS = "@jupyter-widgets/jupyterlab-manager:plugin"

pytestmark = pytest.mark.browser

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def test_server_that_does_not_end_is_killed() -> None:
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n"
        stop(server, patience=0.1)
        assert server.returncode == -signal.SIGKILL


def served(address: str, plugin: str) -> dict:
    """The settings of a part of JupyterLab, as its page asks the server for them."""
    url = address.format("").replace("/lab/tree/", f"/lab/api/settings/{plugin}")
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


@pytest.mark.timeout(120)
def test_jupyterlab_has_the_courses_defaults_and_leaves_a_users_own_settings_alone(
    tmp_path: Path,
) -> None:
    own = tmp_path / "settings/@jupyterlab/apputils-extension/kernels-settings.jupyterlab-settings"
    own.parent.mkdir(parents=True)
    own.write_text('{"commsOverSubshells": "perComm"}')
    with jupyterlab(tmp_path, tmp_path) as address:
        kernels, widgets = served(address, KERNELS), served(address, WIDGETS)
    assert kernels["schema"]["properties"]["commsOverSubshells"]["default"] == "disabled"
    assert kernels["settings"] == {"commsOverSubshells": "perComm"}
    assert widgets["schema"]["properties"]["saveState"]["default"] is True
    assert widgets["settings"] == {}


def test_make_lab_starts_jupyterlab_with_the_settings_that_are_tested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["make", "--dry-run", "--always-make", "--no-print-directory", "lab"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    program, *words = shlex.split(said.strip().splitlines()[-1])
    assert program == ".venv/bin/annlib"
    started = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.extend(command))
    monkeypatch.chdir(ROOT)
    read_command(words).run()
    assert f"--LabApp.app_settings_dir={SETTINGS}" in started
    assert (SETTINGS / "overrides.json").exists()


def test_gallery_has_every_widget_of_the_lessons() -> None:
    used = {
        name
        for path in sources(ROOT)
        for name in IMPORTED.findall(path.read_text(encoding="utf-8"))
    }
    assert len(used) > 20 and used <= {entry.name for entry in ENTRIES}
