"""The learner's predictions: made before a cell runs, compared on screen with what came out."""

from annlib.course.checks import NotYet

Answer = str | float | int


class Predictions:
    """What was predicted in a lesson and what came out; printed, so it needs no widgets."""

    def __init__(self) -> None:
        self.as_expected: dict[str, bool] = {}

    def compare(
        self,
        name: str,
        guess: Answer,
        outcome: Answer,
        options: tuple[str, ...] = (),
        tolerance: float = 0.0,
        between: tuple[float, float] | None = None,
    ) -> None:
        """Prints prediction and outcome side by side.

        options: the words to choose from. tolerance: how far off a number may be, as a share of it.
        between: the smallest and the largest number that makes sense.
        Raises NotYet while there is no prediction, so that nobody sees the answer first.
        """
        if guess is ... or guess is None:
            raise NotYet(
                f"Prediction {name} comes first: go back to its cell, put your guess in place of "
                "the three dots, run that cell, then this one. A wrong guess costs nothing."
            )
        if options and guess not in options:
            raise NotYet(f"Prediction {name}: choose one of {options}; you wrote {guess!r}.")
        if not options and not isinstance(guess, int | float):
            raise NotYet(f"Prediction {name} is a number; you wrote {guess!r}.")
        if between and not between[0] <= guess <= between[1]:
            low, high = between
            percent = " (33 percent is 0.33.)" if between == (0, 1) else ""
            raise NotYet(
                f"Prediction {name} is a number from {low} to {high}; you wrote {guess!r}.{percent}"
            )
        agrees = guess == outcome if options else abs(guess - outcome) <= tolerance * abs(outcome)
        self.as_expected[name] = agrees
        print(f"Prediction {name}: you said {say(guess)}; it is {say(outcome)}.", end=" ")
        print("As you expected." if agrees else "A surprise: say why before you read on.")

    def summary(self) -> None:
        """Prints how the predictions went, and which deserve a second look."""
        surprises = [name for name, agrees in self.as_expected.items() if not agrees]
        print(f"{len(self.as_expected)} predictions, {len(surprises)} with a surprise.")
        if surprises:
            print(f"Worth a second look: {', '.join(surprises)}.")


def say(answer: Answer) -> str:
    """Numbers short, words as they are."""
    return answer if isinstance(answer, str) else f"{answer:.4g}"
