"""The table of a lesson's predictions, which fills while cells run."""

from collections.abc import Mapping
from html import escape

import ipywidgets
from IPython.display import HTML

from annlib.course.guesses import Compared, Predictions, say
from annlib.course.widgets.base import Explorer, Piece

HEAD = ("prediction", "you said", "it is", "so it was")


class PredictionLedger(Explorer):
    """What was guessed, what came out, and a box that leaves the surprises alone in sight.

    Keyboard: Tab to the box, then Space.
    """

    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions  # first: one that cannot be drawn is closed, too
        box = ipywidgets.Checkbox(
            False, description="only surprises", indent=False,
            layout={"margin": "4px"},  # room for the ring that shows the focus
        )  # fmt: skip
        super().__init__({"only_surprises": box}, self.draw)
        predictions.listeners.add(self.redraw)

    def draw(self, only_surprises: bool) -> tuple[Piece, ...]:
        """The table and how it went, or why there is no table."""
        known = self.predictions
        if not known.compared:
            return ("No prediction has come out yet. Each will stand here once its cell has run.",)
        rows = known.surprises if only_surprises else known.compared
        if not rows:
            return (f"{known.summary()} Clear the box to see them.",)
        return HTML(table(rows)), known.summary()

    def close(self) -> None:
        """Removes the widget; later predictions no longer reach it."""
        self.predictions.listeners.discard(self.redraw)
        super().close()


def table(rows: Mapping[str, Compared]) -> str:
    """One line a prediction, as HTML."""
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    lines = "".join(line(name, one) for name, one in rows.items())
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def line(name: str, one: Compared) -> str:
    verdict = "✓ as expected" if one.as_expected else "≠ a surprise"
    told = (say(one.guess), say(one.outcome), verdict)
    cells = "".join(f"<td>{escape(text)}</td>" for text in told)
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'


def prediction_ledger(predictions: Predictions) -> PredictionLedger:
    """All predictions of a lesson, those included that are compared after it is shown."""
    return PredictionLedger(predictions)
