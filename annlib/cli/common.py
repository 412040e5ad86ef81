"""What the commands share: parsing, exit codes, device, threads, memory advice, download bars."""

import errno
import inspect
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from textwrap import fill
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from annlib.config import Precision, Runtime, TestConfig
from annlib.files import message_of

if TYPE_CHECKING:
    import torch

    from annlib.config import Experiment, RuntimeConfig
    from annlib.engine.predictor import Network

Device = Literal["auto", "cpu", "cuda"]
BaseSize = tuple[int, int] | Literal["none"] | None  # None: the network's own
USER_ERRORS = (ValueError, KeyError, OSError, FloatingPointError)  # their messages tell the remedy


def parse(
    commands: type | Mapping[str, type], prog: str, about: str, example: str, words: list[str]
) -> Any:
    """The command that words ask for; its options are the fields of a dataclass.

    commands: one class, or several by their names. Exits with 0 after --help, 2 for wrong words.
    """
    import tyro

    # --resume without a --no-resume; --repeat, not --machine.repeat; PATH, not {None}|PATH
    conf = tyro.conf
    options = {"config": (conf.FlagCreatePairsOff, conf.OmitArgPrefixes, conf.DisallowNone)}
    single = isinstance(commands, type)
    text = single and inspect.getdoc(commands) or f"{about[0].upper()}{about[1:].strip()}"
    options |= {"prog": prog, "description": f"{text}\n\nExample: {example}", "args": words}
    shown = io.TextIOWrapper(io.BytesIO(), sys.stdout.encoding)
    shown.isatty = sys.stdout.isatty  # for the colours
    try:
        with redirect_stdout(shown):
            if single:
                return tyro.cli(commands, **options)
            return tyro.extras.subcommand_cli_from_dict(dict(commands), **options)
    finally:
        shown.seek(0)
        for line in shown.read().splitlines():  # tyro breaks no lines but those in its boxes
            print(line if line[:1] in "│╭╰ \x1b" else fill(line, 80, break_on_hyphens=False))


@contextmanager
def exit_codes() -> Iterator[None]:
    """Inside, errors end the program. Exit code 1: one message says what could not be done.

    130: stopped by Ctrl-C. ANNLIB_TRACEBACK=1 shows where an error came from. A module of annlib
    that is missing is a programming error, which is raised.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # annlib list | head: the reader has stopped
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (*USER_ERRORS, ModuleNotFoundError) as error:
        missing = error.name or "annlib" if isinstance(error, ModuleNotFoundError) else ""
        if os.environ.get("ANNLIB_TRACEBACK") or missing.startswith("annlib"):
            raise
        sys.exit(f"annlib: {message_of(error)}")
    except (MemoryError, RuntimeError) as error:
        from annlib.engine.optimization import is_out_of_memory

        if os.environ.get("ANNLIB_TRACEBACK") or not is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
        sys.exit(f"annlib: The memory is used up: smaller images, or fewer together. {reason}")
    except KeyboardInterrupt:
        sys.exit(130)


def at_least_one(option: str, value: int) -> None:
    """Raises ValueError if the value of an option is below 1."""
    if value < 1:
        raise ValueError(f"{option} is {value}: at least one is needed. Give {option} 1 or more.")


def escape_letters(errors: str = "backslashreplace") -> None:
    """Standard output shows letters that it cannot encode by a code, where it has a choice."""
    with suppress(AttributeError):  # that of Jupyter, and io.StringIO
        sys.stdout.reconfigure(errors=errors)


def use_threads(threads: int | None) -> None:
    """Limits the CPU threads of one operation; None leaves torch's own choice."""
    import torch

    if threads is not None:
        at_least_one("--threads", threads)
        torch.set_num_threads(threads)


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """On what a network runs."""

    device: Device = "auto"  # auto takes a GPU if there is one.
    threads: int | None = None  # Of the CPU, for one operation.
    precision: Precision = "fp32"
    """Of convolutions and products; with bf16 and fp16 most feature maps take 2 bytes a number."""


@dataclass(frozen=True, kw_only=True)
class TestOptions(OnDevice):
    """How a network is tested, and on what it runs."""

    base_size: BaseSize = None  # Height and width of the box to scale into; none: keep it.
    mode: Literal["whole", "slide"] | None = None  # The whole image, or by windows.
    window: tuple[int, int] | None = None  # Height and width, with --mode slide.
    stride: tuple[int, int] | None = None  # Between windows, with --mode slide.
    scales: tuple[float, ...] | None = None  # Mean over copies, relative to the base size.
    flip: bool = False  # Mean over each image and its mirror image.
    runtime: Runtime | None = None  # Of an exported file; by its suffix if not given.

    def find(self, what: str) -> "tuple[Network, torch.device]":
        """The network of that name or file, and where it runs."""
        from annlib.engine.inference import choose_device
        from annlib.engine.predictor import find_network

        use_threads(self.threads)
        network = find_network(what, self.runtime)
        if network.is_exported and (self.precision != "fp32" or self.device == "cuda"):
            where = "runs on the CPU, in the precision that it was exported in"
            raise ValueError(f"{what} {where}: leave out --precision and --device.")
        return network, choose_device("cpu" if network.is_exported else self.device)

    def changed(self, test: TestConfig) -> TestConfig:
        """A network's test with what these options say."""
        mode, base_size = self.mode or test.mode, self.base_size or test.base_size
        is_sliding = mode == "slide"
        if not is_sliding and (self.window or self.stride):
            raise ValueError("--window and --stride say how windows slide: add --mode slide.")
        if base_size and base_size != "none" and min(base_size) < 1:
            raise ValueError(f"--base-size is {base_size}: give height and width, 1 or more each.")
        window, stride = self.window or test.window, self.stride or test.stride
        options = {"window": window, "stride": stride} if is_sliding else {}
        options |= {"scales": self.scales or test.scales, "flip": self.flip or test.flip}
        return TestConfig(mode, base_size=None if base_size == "none" else base_size, **options)


def able(compute: "RuntimeConfig", device: "torch.device") -> "RuntimeConfig":
    """The options that the device supports; prints which one it does not."""
    from annlib.engine.optimization import possible

    compute, obstacle = possible(compute, device)
    if obstacle:
        print(obstacle, flush=True)
    return compute


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C and SIGTERM are noted instead of raised; a second Ctrl-C stops immediately."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)
        print("\nStopping after this step ...", file=sys.stderr)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def memory_advice(
    experiment: "Experiment", compute: "RuntimeConfig", device: "torch.device", processes: int
) -> Iterator[None]:
    """Inside, running out of memory becomes an OSError that names the options that need less."""
    import torch

    from annlib.engine.optimization import is_out_of_memory

    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if isinstance(error, torch.OutOfMemoryError):
            held = torch.cuda.max_memory_allocated(device) / 2**30
            total = torch.cuda.get_device_properties(device).total_memory / 2**30
            text = f"The GPU's memory is used up ({held:.1f} of {total:.1f} GiB by this process)"
        else:
            text = f"The machine's memory is used up ({str(error).splitlines()[0]})"
        crop, share = experiment.data.crop_size, experiment.data.batch_size // processes
        microbatch = share // compute.accumulate
        size = f" of {crop[0]} x {crop[1]} pixels" if crop else ""
        text += f", working on {microbatch} images{size} at the same time."
        if microbatch > 1:
            smaller = next(n for n in range(microbatch - 1, 0, -1) if share % n == 0)
            text += f" Try --accumulate {share // smaller}: {smaller} at a time, the same batch for"
            text += " the gradient (batch norm then sees the smaller ones)."
        if compute.precision == "fp32":
            text += " Try --precision bf16: most feature maps then take 2 bytes a number, not 4."
        text += " A smaller crop_size in the experiment."
        raise OSError(errno.ENOMEM, text) from error
