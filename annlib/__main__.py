"""The command `annlib`, also `python -m annlib`: imports and runs one of the commands."""

import difflib
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from annlib import __version__
from annlib.cli.common import exit_codes, parse

TABLES = Path(__file__).with_name("cli").joinpath("commands.toml").read_text(encoding="utf-8")
HELP, COMMANDS, SUCCESSORS = tomllib.loads(TABLES).values()


def read_command(words: list[str]) -> Any:
    """The command that words ask for; exits with 0 after --help, with 2 for wrong words."""
    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:10} {about}" for name, (_, about, _) in COMMANDS.items()]
        print(HELP.format(commands="\n".join(lines)), file=sys.stdout if words else sys.stderr)
        sys.exit(0 if words else 2)
    name, *rest = words
    if name == "--version":
        print(f"annlib {__version__}")
        sys.exit(0)
    if name not in COMMANDS:
        old = next((o for o in (" ".join(words[:2]), name) if o in SUCCESSORS), None)
        nearest = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        text = f"There is no command {name!r}.{hint} `annlib --help` lists all commands."
        text = f"`annlib {old}` was replaced by `{SUCCESSORS[old]}`." if old else text
        print(f"annlib: {text}", file=sys.stderr)
        sys.exit(2)
    place, about, example = COMMANDS[name]
    module, _, attribute = place.partition(":")
    commands = getattr(import_module(f"annlib.cli.{module}"), attribute)
    return parse(commands, f"annlib {name}", about, example, rest)


def main() -> None:
    """Runs the command that sys.argv asks for. Exit codes: see `exit_codes`."""
    with exit_codes():
        read_command(sys.argv[1:]).run()


if __name__ == "__main__":
    main()
