"""Exercise checkers: properties that a right answer has, with no answers inside."""


class NotYet(AssertionError):
    """An answer that is not started or not right yet; the message says what to look at next."""
