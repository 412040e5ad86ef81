"""The gallery notebook in JupyterLab, opened and run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Locator, Page

from tests.browser.controls import SHOWING, Shown
from tests.browser.gallery import ENTRIES, FILE, Entry, write_gallery
from tests.browser.lab import Watch, browser_page, chromium, jupyterlab, run_all_cells

# Marks each cell by its id, so that a widget can be found by its name.
MARK = """() => {
    for (const cell of window.jupyterapp.shell.currentWidget.content.widgets)
        cell.node.dataset.annlib = cell.model.sharedModel.id;
}"""
RUN_AGAIN = """async name => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = notebook.widgets.findIndex(
        cell => cell.model.sharedModel.id === name);
    await window.jupyterapp.commands.execute('notebook:run-cell');
}"""
EXECUTE = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    let text = '';
    const future = kernel.requestExecute({code, store_history: false});
    future.onIOPub = message => { text += message.content.text ?? ''; };
    await future.done;
    return text;
}"""
RESIDENT = "import psutil; print(psutil.Process().memory_info().rss)"


class Gallery(NamedTuple):
    """A page that shows the gallery, and what was noted about it."""

    page: Page
    watch: Watch

    def widget(self, name: str) -> Locator:
        """What the cell of a widget puts out, scrolled into sight."""
        area = self.page.locator(f"[data-annlib='{name}'] .jp-Cell-outputWrapper")
        area.scroll_into_view_if_needed()
        return area

    def use(self, entry: Entry, by_key: bool) -> tuple[Shown, Shown]:
        """One use of a control.  -> what was shown before, and after"""
        if entry.once:
            self.run_again(entry.name)
        widget = self.widget(entry.name)
        before = Shown(widget)
        (entry.keys.by_key if by_key else entry.pointer.by_pointer)(widget)
        before.wait_for_change(self.page)
        return before, Shown(widget)

    def run_again(self, name: str) -> None:
        """Runs the cell of a widget once more, and waits for what it shows."""
        self.page.evaluate(RUN_AGAIN, name)
        self.page.locator(f"[data-annlib='{name}'] .jp-OutputArea-output").first.wait_for()

    def in_kernel(self, code: str) -> str:
        """Runs code in the notebook's kernel, outside of all cells.  -> what it printed"""
        return self.page.evaluate(EXECUTE, code)

    def kernel_bytes(self) -> int:
        """Memory that the notebook's kernel holds."""
        return int(self.in_kernel(RESIDENT))

    def theme(self, name: str) -> None:
        """Changes the theme of JupyterLab: "JupyterLab Light" or "JupyterLab Dark"."""
        self.page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name
        )
        light = "true" if "Light" in name else "false"
        self.page.locator(f"body[data-jp-theme-light='{light}']").wait_for(state="attached")


def open_notebook(page: Page, address: str) -> Watch:
    """Opens a notebook, runs all of its cells, and notes from the beginning what goes wrong."""
    watch = Watch(page)
    page.add_init_script(SHOWING)
    page.goto(address)
    run_all_cells(page)
    page.evaluate(MARK)
    return watch


@contextmanager
def opened_gallery(entries: tuple[Entry, ...] = ENTRIES) -> Iterator[Gallery]:
    """A server, a browser, and the gallery in it, all cells run.

    Raises FileNotFoundError without a browser, RuntimeError for a cell that fails.
    """
    executable = chromium()
    with tempfile.TemporaryDirectory(prefix="annlib-lab-") as folder:
        root, config = Path(folder, "notebooks"), Path(folder, "jupyter")
        root.mkdir()
        write_gallery(root, entries)
        with jupyterlab(root, config) as address, browser_page(executable) as page:
            yield Gallery(page, open_notebook(page, address.format(FILE)))
