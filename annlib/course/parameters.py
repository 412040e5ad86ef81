"""The parameters that every lesson has, and the refusal of others: papermill takes any name."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MODES = ("quick", "learn", "full")
PARAMETERS = ("mode", "device", "seed", "data_root", "experiment")


def refuse_unknown(given: Iterable[str], known: Sequence[str], where: str) -> None:
    """Raises ValueError for a parameter that no cell of a notebook reads.

    where: the notebook, as the message calls it.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise ValueError(
                f"{where} has no parameter {name!r}, so it would have no effect."
                f"{f' Did you mean {near[0]!r}?' if near else ''} Known: {', '.join(known)}."
            )


def refuse_mode(mode: object) -> None:
    """Raises ValueError for a mode that no cell knows."""
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}, so no cell knows how long to run. Use one of {MODES}.")
