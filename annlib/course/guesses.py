"""The learner's predictions: made before a cell runs, compared with its result."""

import re
from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

from IPython import get_ipython
from IPython.display import Markdown, display

from annlib.course.checks.base import NotYet
from annlib.course.lesson import show_box, wrapped

Answer = str | float | int


class Compared(NamedTuple):
    guess: Answer  # the first one: whoever has seen the outcome predicts it well
    outcome: Answer
    as_expected: bool  # by the first guess
    latest: Answer


class Predictions:
    """The guesses of a lesson and what came out; shown as text, so it needs no widgets."""

    def __init__(self) -> None:
        self.compared: dict[str, Compared] = {}  # in the order of comparison
        self.listeners: set[Callable[[], object]] = set()  # called after each comparison
        if shell := get_ipython():
            shell.set_custom_exc((NameError,), explain_unquoted)

    @property
    def surprises(self) -> dict[str, Compared]:
        """Those that differ from the first guess."""
        return {name: one for name, one in self.compared.items() if not one.as_expected}

    def compare(
        self,
        name: str,
        guess: Answer,
        outcome: Answer,
        options: tuple[str, ...] = (),
        tolerance: float = 0.0,
        between: tuple[float, float] | None = None,
    ) -> None:
        """Shows guess and outcome next to each other, and keeps the first guess.

        options: the words to choose from, in any case. tolerance: how far off a number may be,
        relative to the outcome. between: the smallest and the largest number that makes sense.
        Raises NotYet while there is no guess, so that nobody sees the answer first.
        """
        if guess is ... or guess is None:
            raise NotYet(
                f"Prediction {name} comes first: go back to its cell, replace the three dots with "
                f"your prediction{wanted(options, between)}, run that cell, then this one. An "
                "incorrect prediction costs nothing."
            )
        wrote = f"; you wrote {guess!r}."
        if options:
            cased = {option.casefold(): option for option in options}
            if (guess := cased.get(str(guess).strip().casefold())) is None:
                raise NotYet(f"Prediction {name}: choose one of {options}{wrote}")
        elif not isinstance(guess, int | float) or isinstance(guess, bool) or not isfinite(guess):
            raise NotYet(f"Prediction {name} is a number{wanted(options, between)}{wrote}")
        elif between and not between[0] <= guess <= between[1]:
            percent = " (33 percent is 0.33.)" if between == (0, 1) else ""
            raise NotYet(f"Prediction {name} is a number{wanted((), between)}{wrote}{percent}")
        first = self.compared[name].guess if name in self.compared else guess
        agrees = first == outcome if options else abs(first - outcome) <= tolerance * abs(outcome)
        self.compared[name] = one = Compared(first, outcome, bool(agrees), guess)
        verdict = "As expected." if agrees else "A surprise: explain it before you read on."
        told = f"Prediction {name}: you said {said(one)}; it is {say(outcome)}. {verdict}"
        show_box(told, "pass" if agrees else "differs")
        for listener in tuple(self.listeners):  # one of them may stop listening
            listener()

    def reveal(self, name: str, text: str) -> None:
        """Shows the text (Markdown) that explains an outcome, once its prediction is compared."""
        if name not in self.compared:
            show_box(f"The explanation appears here after prediction {name}.")
        elif get_ipython():
            display(Markdown(text.strip()))
        else:
            print(text.strip())

    def summary(self) -> str:
        """How the predictions went, and which deserve a second look."""
        many = "prediction" if len(self.compared) == 1 else "predictions"
        odd = self.surprises
        told = f"{len(self.compared)} {many}, {len(odd) or 'none'} with a surprise."
        again = [f"{n} (you said {said(one)}; it is {say(one.outcome)})" for n, one in odd.items()]
        return f"{told}\nWorth a second look: {', '.join(again)}." if again else told


def say(answer: Answer) -> str:
    return answer if isinstance(answer, str) else f"{answer:.4g}"


def said(one: Compared) -> str:
    """The first guess, and the latest if it is another one."""
    changed = one.latest != one.guess
    return say(one.guess) + (f" first, {say(one.latest)} now" if changed else "")


def wanted(options: tuple[str, ...], between: tuple[float, float] | None) -> str:
    """What may be predicted, as the end of a phrase."""
    if options:
        return f" (one of {options})"
    return f" from {between[0]:g} to {between[1]:g}" if between else ""


def explain_unquoted(shell, kind: type, error: NameError, trace: object, tb_offset=None) -> None:
    """A NameError in a cell that only assigns a guess is a word without its quotation marks."""
    if re.fullmatch(rf"guess\w* *=.*\b{error.name}\b.*", shell.user_ns["In"][-1].strip()):
        advice = f'{error.name} is a word, so it needs quotation marks: "{error.name}".'
        error._render_traceback_ = lambda: [wrapped(f"✗ Not yet. {advice}")]
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
