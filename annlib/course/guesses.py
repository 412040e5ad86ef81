"""The learner's predictions: made before a cell runs, compared with its result."""

from collections.abc import Callable
from typing import NamedTuple

from annlib.course.checks.base import NotYet

Answer = str | float | int


class Compared(NamedTuple):
    guess: Answer
    outcome: Answer
    as_expected: bool


class Predictions:
    """The guesses of a lesson and what came out; printed, so it needs no widgets."""

    def __init__(self) -> None:
        self.compared: dict[str, Compared] = {}  # in the order of comparison
        self.listeners: set[Callable[[], object]] = set()  # called after each comparison

    @property
    def surprises(self) -> dict[str, Compared]:
        """Those that differ from the guess."""
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
        """Prints guess and outcome next to each other, and keeps both.

        options: the words to choose from. tolerance: how far off a number may be, relative to the
        outcome. between: the smallest and the largest number that makes sense.
        Raises NotYet while there is no guess, so that nobody sees the answer first.
        """
        if guess is ... or guess is None:
            raise NotYet(
                f"Prediction {name} comes first: go back to its cell, put your guess in place of "
                "the three dots, run that cell, then this one. A wrong guess costs nothing."
            )
        wrote = f"; you wrote {guess!r}."
        if options and guess not in options:
            raise NotYet(f"Prediction {name}: choose one of {options}{wrote}")
        if not options and not isinstance(guess, int | float):
            raise NotYet(f"Prediction {name} is a number{wrote}")
        if between and not between[0] <= guess <= between[1]:
            low, high = between
            percent = " (33 percent is 0.33.)" if between == (0, 1) else ""
            raise NotYet(f"Prediction {name} is a number from {low} to {high}{wrote}{percent}")
        agrees = guess == outcome if options else abs(guess - outcome) <= tolerance * abs(outcome)
        self.compared[name] = Compared(guess, outcome, bool(agrees))
        print(f"Prediction {name}: you said {say(guess)}; it is {say(outcome)}.", end=" ")
        print("As you expected." if agrees else "A surprise: say why before you read on.")
        for listener in tuple(self.listeners):  # one of them may stop listening
            listener()

    def summary(self) -> str:
        """How the predictions went, and which deserve a second look."""
        many = "prediction" if len(self.compared) == 1 else "predictions"
        odd = self.surprises
        told = f"{len(self.compared)} {many}, {len(odd) or 'none'} with a surprise."
        again = [f"{n} (you said {say(a)}; it is {say(b)})" for n, (a, b, _) in odd.items()]
        return f"{told}\nWorth a second look: {', '.join(again)}." if again else told


def say(answer: Answer) -> str:
    return answer if isinstance(answer, str) else f"{answer:.4g}"
