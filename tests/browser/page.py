"""The gallery notebook in JupyterLab, opened and run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Locator, Page

from tests.browser.controls import SHOWING, Shown
from tests.browser.gallery import ENTRIES, FILE, Entry, write_gallery
from tests.browser.lab import READY, Watch, jupyterlab, opened_browser, run_all_cells

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


class Lab(NamedTuple):
    """A page that shows a notebook in JupyterLab, and what went wrong on it."""

    page: Page
    watch: Watch
    address: str

    def open(self, name: str, run: bool) -> None:
        """Opens a notebook, and runs all of its cells if told to."""
        self.page.goto(self.address.format(name))
        self.page.wait_for_function(READY)
        if run:
            run_all_cells(self.page)
        self.page.evaluate(MARK)
        # JupyterLab lays out only what is in sight, so all of a page could not be checked together.
        # Colours that fade would be compared half way.
        still = "* { content-visibility: visible !important; transition: none !important }"
        self.page.add_style_tag(content=still)

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


@contextmanager
def opened_lab(root: Path, config: Path, browser: Browser) -> Iterator[Lab]:
    """A server for the notebooks in a folder, and a page, 1400 x 1000 pixels, to open them in."""
    with jupyterlab(root, config) as address:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(60_000)
        page.add_init_script(SHOWING)
        yield Lab(page, Watch(page), address)
        page.close()


@contextmanager
def opened_gallery(entries: tuple[Entry, ...] = ENTRIES) -> Iterator[Lab]:
    """A server, a browser, and the gallery in it, all cells run.

    Raises FileNotFoundError without a browser, RuntimeError for a cell that fails.
    """
    with tempfile.TemporaryDirectory(prefix="annlib-lab-") as folder, opened_browser() as browser:
        root, config = Path(folder, "notebooks"), Path(folder, "jupyter")
        root.mkdir()
        write_gallery(root, entries)
        with opened_lab(root, config, browser) as gallery:
            gallery.open(FILE, run=True)
            yield gallery
