"""Time that passes only when somebody sleeps: a busy machine changes nothing."""

from types import ModuleType

import pytest


class StandingClock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def stop_the_time(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> StandingClock:
    """In modules that `import time`."""
    clock = StandingClock()
    for module in modules:
        monkeypatch.setattr(module, "time", clock)
    return clock
