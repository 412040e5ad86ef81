"""Benchmarks in process: their command lines, run in a folder of their own."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from annlib.course import profiler
from benchmarks.common import main

COMMANDS = {
    "implementations": "Implementations",
    "scaling": "Scaling",
    "network": "COMMANDS",
    "evaluation": "Evaluation",
    "dataloading": "DataLoading",
    "published_rows": "Rows",
    "compare_heads": "COMMANDS",
    "verify_zoo": "VerifyZoo",
}


@pytest.fixture
def benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., str]:
    """Runs `python -m benchmarks.NAME WORDS`.  -> what it printed"""
    monkeypatch.delenv("ANNLIB_TRACEBACK", raising=False)
    monkeypatch.setattr(profiler, "WARM_UP_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: object) -> str:
        module = import_module(f"benchmarks.{name}")
        monkeypatch.setattr(sys, "argv", [str(module.__file__), *map(str, words)])
        main(f"benchmarks.{name}", getattr(module, COMMANDS[name]), module.__doc__)
        return capsys.readouterr().out

    return run
