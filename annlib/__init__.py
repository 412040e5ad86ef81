"""annlib: Asymmetric Non-local Neural Networks for semantic segmentation, to be read and taught.

The names that a notebook starts with, listed in __init__.pyi. Each is imported on first use, so
that `import annlib` costs nothing. What needs matplotlib or Jupyter is imported from its own
module. docs/recipes.md uses the names.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"
STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
HOMES = {
    name: home for home, name in re.findall(r"^from (\S+) import (\w+) as", STUB, re.MULTILINE)
}
__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"module 'annlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
