"""JupyterLab on this machine and a browser page in it, for tests that use it as a person would."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, Request

QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
ENDED = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cells = panel.content.widgets.filter(
        cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().trim());
    const failed = cells.flatMap(cell => cell.model.sharedModel.getOutputs())
        .find(output => output.output_type === 'error');
    if (failed) return failed.ename + ': ' + failed.evalue;
    const idle = panel.sessionContext.session?.kernel?.status === 'idle';
    return idle && cells.every(cell => cell.model.executionCount) && 'all ran';
}"""


def chromium() -> str:
    """The browser. Without one the test is skipped, on a CI machine it fails."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    message = "No Chromium here: sudo apt-get install chromium"
    pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@contextmanager
def jupyterlab(root: Path, config: Path) -> Iterator[str]:
    """A server for the notebooks in `root`; yields its address with a fresh token."""
    settings = config / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps(QUIET))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    environment = os.environ | {name: str(config / folder) for name, folder in folders.items()}
    environment.pop("MPLBACKEND", None)  # Agg would drop every figure without a word
    options = (
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True",
    )
    with (config / "lab.log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_until_served(f"http://127.0.0.1:{port}/api?token={token}", server)
            yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}&reset"
        finally:
            stop(server)


def stop(server: subprocess.Popen, patience: float = 30) -> None:
    """Asks it to end, and ends it if it does not."""
    server.terminate()
    try:
        server.wait(patience)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def wait_until_served(address: str, server: subprocess.Popen) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            time.sleep(0.2)
    pytest.fail("JupyterLab did not start: see lab.log")


class Watch:
    """What a page must not do: raise errors, or ask other machines for anything."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.strangers: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self.note_message)
        page.on("request", self.note_request)

    def note_message(self, message: ConsoleMessage) -> None:
        # Lab polls, and a page that is left cuts its last poll off: no fault of ours.
        if message.type == "error" and "ERR_ABORTED" not in message.text:
            self.errors.append(message.text)

    def note_request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")):
            self.strangers.append(request.url)


def run_all_cells(page: Page) -> None:
    """Run > Run All Cells, and wait until the kernel is done. Fails with a cell that fails."""
    page.wait_for_function(
        "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
    )
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    ended = page.wait_for_function(ENDED, timeout=240_000, polling=500)
    assert ended.json_value() == "all ran"
