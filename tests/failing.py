"""Commands that cannot be done."""

import pytest


def failure(run, *words: object) -> str:
    """The message with which the fixture `annlib`, given these words, ends."""
    with pytest.raises(SystemExit) as stop:
        run(*words)
    assert isinstance(stop.value.code, str)  # Python prints it and exits with 1
    return stop.value.code
