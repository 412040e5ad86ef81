"""What the command line says when something cannot be done."""


def at_least_one(option: str, value: int) -> None:
    """Raises ValueError for an option that counts something, but nothing."""
    if value < 1:
        raise ValueError(f"{option} is {value}: at least one is needed. Give {option} 1 or more.")


def message_of(error: Exception) -> str:
    """An error in words: without a KeyError's quotes and an OSError's number."""
    if isinstance(error, KeyError):
        return str(error.args[0])
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed, but needed here: pip install -e '.[course]'"
    return str(error)
