"""annlib widgets: every widget in a real browser, timed, and a picture of each."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Widgets:
    """Measure how fast widgets follow the hand, in JupyterLab and a Chromium on this machine."""

    out: Path = Path("data/results/widgets")
    """Folder of the table, README.md, and of one small picture a widget."""
    only: str | None = None
    """One widget, by its name in the table; all if none is named."""
    repeat: int = 10
    """Changes that count for each widget."""

    def run(self) -> None:
        from annlib.commands.errors import at_least_one
        from annlib.commands.measuring import remake

        at_least_one("--repeat", self.repeat)
        try:
            from annlib.course.browsing.report import measure_widgets
        except ModuleNotFoundError as error:
            if error.name not in ("playwright", "axe_playwright_python"):
                raise
            raise FileNotFoundError(
                f"{error.name} is not installed, and drives the browser: pip install -e '.[test]'"
            ) from error
        print(measure_widgets(self.out, self.only, self.repeat, remake()))
