"""What cannot be compiled runs as it is, and says so."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from annlib import __main__
from annlib.config import RuntimeConfig
from annlib.engine.train import possible
from annlib.engine.trainer import wrap_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
ALL = RuntimeConfig(compile=True, cuda_graphs=True)


def no_compiler(call: Callable) -> Callable:
    """What torch.compile gives where there is none: the error comes with the first call."""

    def fail(*arguments: object) -> None:
        raise RuntimeError("No working C++ compiler found\nand more lines")

    return fail


def test_what_is_not_asked_for_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    assert possible(RuntimeConfig(), CPU) == (RuntimeConfig(), None)
    model = nn.Linear(2, 2)
    assert wrap_model(model, CPU, RuntimeConfig()) is model


def test_missing_compiler_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    compute, obstacle = possible(RuntimeConfig("bf16", compile=True), CPU)
    assert compute == RuntimeConfig("bf16")
    assert obstacle.endswith("nothing is compiled. No working C++ compiler found")


def test_cuda_graphs_go_with_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    monkeypatch.setattr(torch, "ones", lambda *size, device: None)  # there may be no GPU here
    assert possible(ALL, CUDA)[0] == RuntimeConfig()


def test_a_cpu_has_no_cuda_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda call: call)
    monkeypatch.setattr(torch, "ones", lambda *size, device: 1)  # there may be no GPU here
    compute, obstacle = possible(ALL, CPU)
    assert compute == RuntimeConfig(compile=True)
    assert obstacle == "There are no CUDA graphs on a cpu: going on without."
    assert possible(ALL, CUDA) == (ALL, None)


@pytest.mark.parametrize(
    ("compute", "told"),
    [
        (RuntimeConfig(cuda_graphs=True), "give --compile"),
        (RuntimeConfig(accumulate=4, compile=True, cuda_graphs=True), "gradients of 4 parts"),
    ],
)
def test_what_contradicts_itself_is_refused(compute: RuntimeConfig, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        possible(compute, CUDA)


def test_graphs_are_what_torch_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, mode: mode)
    assert wrap_model(nn.Linear(2, 2), CPU, RuntimeConfig(compile=True)) == "default"
    assert wrap_model(nn.Linear(2, 2), CPU, ALL) == "reduce-overhead"


def test_training_goes_on_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "compile", no_compiler)
    words = ["balloon_fcn", "--iterations", 1, "--compile", "--device", "cpu"]
    words += ["--out", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", ["annlib", "train", *map(str, words)])
    __main__.main()
    assert "torch.compile does not work here" in capsys.readouterr().out
    assert (tmp_path / "run" / "last.safetensors").exists()
