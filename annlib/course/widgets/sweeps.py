"""The table of a sweep that fills while its runs end, with menus to look at a part of it."""

from html import escape

import ipywidgets
from IPython.display import HTML

from annlib.course.controls.explorer import menu
from annlib.course.controls.shown import Piece, Shown, in_this_thread
from annlib.course.figures.spread import dots
from annlib.course.sweeping.grid import SEED, Combination, Grid, show
from annlib.course.sweeping.running import Outcome
from annlib.course.sweeping.tables import reason

ALL = "all"


class ResultsTable(Shown):
    """Every run of a grid: waiting, finished or failed; menus for one parameter each.

    Keyboard: Tab to a menu, then the arrow keys. The same is told as a table and as a picture.
    """

    def __init__(self, grid: Grid, number: str) -> None:
        super().__init__()
        self.grid, self.number = grid, number
        self.outcomes: dict[int, Outcome] = {}
        self.menus = {name: self.menu(name) for name in grid.varied}
        redraw = in_this_thread(self.redraw)
        for one in self.menus.values():
            one.observe(redraw, "value")
        self.place(*self.menus.values())
        self.redraw()

    def menu(self, name: str) -> ipywidgets.Dropdown:
        """All values of one parameter, and `all`."""
        values = [show(one.parameters[name]) for one in self.grid.combinations]
        return menu(name, [ALL, *dict.fromkeys(values)])

    def add(self, outcome: Outcome) -> None:
        """A run has ended: the table shows it."""
        self.outcomes[outcome.number] = outcome
        self.redraw()

    def redraw(self, change: object = None) -> None:
        self.refresh(self.draw)

    def is_chosen(self, one: Combination) -> bool:
        """Whether every menu says `all`, or the value of this run."""
        return all(
            chosen.value in (ALL, show(one.parameters[name])) for name, chosen in self.menus.items()
        )

    def draw(self) -> list[Piece]:
        """The part of the table that the menus choose."""
        rows = [one for one in self.grid.combinations if self.is_chosen(one)]
        if not rows:
            return ["No run of the grid has all of these values: set a menu back to `all`."]
        shown: list[Piece] = [HTML(self.html(rows))]
        groups = self.groups(rows)
        if groups:
            heads = [name.partition(" ")[0] for name in groups]
            shown.append(dots(groups, self.number.replace("_", " "), heads))
        ended_here = sum(one.number in self.outcomes for one in rows)
        num_runs = len(self.grid.combinations)
        return [*shown, f"{ended_here} of {len(rows)} runs have ended; {num_runs} in all."]

    def html(self, rows: list[Combination]) -> str:
        """One line a run."""
        head = "".join(
            f'<th scope="col">{escape(name)}</th>'
            for name in (*self.grid.varied, self.number, "seconds", "state")
        )
        lines = "".join(f"<tr>{self.cells(one)}</tr>" for one in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"

    def cells(self, one: Combination) -> str:
        outcome = self.outcomes.get(one.number)
        told = ["", "", "waiting"]
        if outcome:
            found = outcome.result.get(self.number)
            state = f"✗ failed: {reason(outcome.error)}" if outcome.failed else "✓ finished"
            told = ["" if found is None else f"{found:.3f}", f"{outcome.seconds:.0f}", state]
        values = [show(one.parameters[name]) for name in self.grid.varied]
        return "".join(f"<td>{escape(text)}</td>" for text in (*values, *told))

    def groups(self, rows: list[Combination]) -> dict[str, list[float | None]]:
        """The number of the ended runs, by all that they have in common but the seed."""
        found: dict[str, list[float | None]] = {}
        for one in rows:
            if outcome := self.outcomes.get(one.number):
                names = [name for name in self.grid.varied if name != SEED]
                group = "  ".join(show(one.parameters[name]) for name in names) or "all"
                found.setdefault(group, []).append(outcome.result.get(self.number))
        return found


def results_table(grid: Grid, number: str) -> ResultsTable:
    """An empty table of a grid's runs; `add` an outcome when a run has ended.

    number: which of the results is shown ("house_accuracy").
    """
    return ResultsTable(grid, number)
