"""JupyterLab on this machine, and a browser page in it."""

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

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What `make lab` starts JupyterLab with instead of its defaults; a user's own settings stay.
# Messages of widgets come between cells, not in a thread beside them, and a saved notebook keeps
# its widgets.
SETTINGS = Path(__file__).parents[2] / "annlib/course/jupyterlab"
QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
PATIENCE = 90  # seconds that the server may take to start
RUN_PATIENCE = 240  # seconds for all cells of a notebook
READY = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
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
    """Where the browser is. Raises FileNotFoundError without one."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError(
            f"None of {', '.join(BROWSERS)} is installed, and widgets are looked at in a real "
            "browser: sudo apt-get install chromium"
        )
    return found


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(config: Path) -> dict[str, str]:
    """That of a server which neither reads nor changes the settings of this user."""
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    found = os.environ | {name: str(config / folder) for name, folder in folders.items()}
    found.pop("MPLBACKEND", None)  # Agg would drop every figure without a word
    return found


@contextmanager
def jupyterlab(root: Path, config: Path) -> Iterator[str]:
    """A server for the notebooks in `root`; yields its address, {} for the notebook's name.

    config: a folder for a user's settings and the server's log. Raises TimeoutError.
    """
    settings = config / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(QUIET))
    port, token = free_port(), secrets.token_hex(16)
    options = (
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        f"--LabApp.app_settings_dir={SETTINGS}",
        "--LabApp.expose_app_in_browser=True",
    )
    with (config / "lab.log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *options]
        server = subprocess.Popen(command, env=environment(config), stdout=log, stderr=log)
        try:
            wait_until_served(f"http://127.0.0.1:{port}/api?token={token}", server, config)
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


def wait_until_served(address: str, server: subprocess.Popen, config: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except urllib.error.URLError:
            time.sleep(0.2)
    raise TimeoutError(
        f"JupyterLab did not answer within {PATIENCE} s, so no widget can be looked at. It said:\n"
        f"{(config / 'lab.log').read_text(encoding='utf-8')[-2000:]}"
    )


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """Raises FileNotFoundError without a browser."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=options)
        yield browser
        browser.close()


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

    def findings(self) -> list[str]:
        """All that happened since this was called last."""
        found = [f"asked {url}" for url in self.strangers] + self.errors
        self.strangers, self.errors = [], []
        return found


def run_all_cells(page: Page) -> None:
    """Run > Run All Cells, and wait until they ended. Raises RuntimeError if a cell does."""
    page.wait_for_function(READY)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    ended = page.wait_for_function(ENDED, timeout=1000 * RUN_PATIENCE, polling=200).json_value()
    if ended != "all ran":
        raise RuntimeError(f"A cell of the notebook failed in JupyterLab with {ended}")
