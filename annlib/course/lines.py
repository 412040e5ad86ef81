"""Text as cells show it: JupyterLab breaks a longer line anywhere, also inside a word."""

from textwrap import fill

LINE = 88  # letters


def wrapped(text: str) -> str:
    """Broken between words; line breaks of the text stay."""
    return "\n".join(fill(line, LINE, break_long_words=False) for line in text.splitlines())


def say(text: str) -> None:
    """Prints a sentence or more."""
    print(wrapped(text))
