"""Executes lessons with papermill: offline, in parallel, resumable."""

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import Any, NamedTuple
from unittest.mock import patch

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type

from annlib.course import lesson
from annlib.course.lesson import Parameters, check_parameters, known_parameters
from annlib.course.running import offline
from annlib.files import write_atomically

POLL_SECONDS = 0.5
SAVE_SECONDS = 2  # between saves of a notebook that runs; papermill's two for each cell take longer
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class PollingChannel(AsyncZMQSocketChannel):
    """A channel that polls for a message every half second, in case a wake-up was lost.

    Measured: 10 of 240 cells with an `interactive` slept until their time limit. nbclient answers a
    widget on the socket on which it awaits the end of the cell, which can swallow its wake-up.
    """

    async def get_msg(self, timeout: float | None = None) -> dict:
        """The next message; raises Empty after `timeout` seconds, or never for None."""
        deadline = float("inf") if timeout is None else monotonic() + timeout
        while True:
            left = deadline - monotonic()
            try:
                return await super().get_msg(max(0, min(POLL_SECONDS, left)))
            except Empty:
                if left <= POLL_SECONDS:
                    raise


class PollingClient(AsyncKernelClient):
    shell_channel_class = Type(PollingChannel)


class PollingKernelManager(AsyncKernelManager):
    client_factory = Type(PollingClient)


@contextmanager
def lesson_kernel(threads: int) -> Iterator[None]:
    """Within it, `python3` is a kernel of this interpreter that refuses the network."""
    with tempfile.TemporaryDirectory(prefix="annlib-kernel-") as folder:
        paths = [folder, str(lesson.ROOT), os.environ.get("PYTHONPATH")]
        places = [folder, os.environ.get("JUPYTER_PATH")]
        shutil.copy(offline.__file__, Path(folder, "sitecustomize.py"))
        spec = get_kernel_dict(["--log-level=50"])  # or it warns of plain TCP, harmless on loopback
        spec["env"] = {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": str(threads),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
        target = Path(folder, "kernels/python3/kernel.json")
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(spec))
        with patch.dict(os.environ, JUPYTER_PATH=os.pathsep.join(filter(None, places))):
            yield


class Run(NamedTuple):
    notebook: Path
    output: Path
    seconds: float
    error: str | None  # what stopped it


def describe_run(notebook: Path, parameters: Parameters) -> dict[str, object]:
    """Which cells are run with which values, as JSON keeps it."""
    sha256 = hashlib.sha256(notebook.read_bytes()).hexdigest()
    described = {"notebook_sha256": sha256, "parameters": parameters}
    return json.loads(json.dumps(described, default=str))


def finished_seconds(notebook: Path, output: Path, parameters: Parameters) -> float | None:
    """How long the same notebook took with the same parameters; None if it has to be run."""
    with suppress(ValueError):  # damaged: it is run again
        note, now = lesson.read_note(output), describe_run(notebook, parameters)
        if note and note["error"] is None and all(note.get(key) == now[key] for key in now):
            return note["seconds"]
    return None


def run(
    notebook: Path,
    output: Path,
    parameters: Parameters,
    timeout: int = 600,
    threads: int = 1,
    resume: bool = False,
) -> Run:
    """Execute one lesson into `output`, which is kept when it fails.  timeout: seconds per cell

    resume: what ended well before, with these parameters, is not run again. A learner edition goes
    on after an error; `gates.only_not_started` judges what was raised.
    """
    parameters = check_parameters(notebook, parameters)
    if resume and (before := finished_seconds(notebook, output, parameters)) is not None:
        return Run(notebook, output, before, None)
    if output.resolve() == notebook.resolve():
        raise ValueError(f"{notebook} would be overwritten by its own run: name another folder.")
    content = lesson.read_notebook(notebook)
    values, skipped = known_parameters(notebook) | parameters, {}
    if values.get("mode") == "quick":
        skipped["slow"] = "slow, and the mode is quick"
    if not str(values.get("device")).startswith("cuda"):
        skipped["gpu"] = "gpu, without a CUDA device"
    for cell in content.cells:
        for tag in filter(skipped.get, cell.metadata.get("tags", [])):
            cell.source = f"# Skipped in this run: tagged {skipped[tag]}."
    for part in output.parent.glob(f".{output.name}.*.part"):  # of a run that was killed
        part.unlink()
    save_text(output, nbformat.writes(content))
    note = output.with_suffix(".run.json")
    note.unlink(missing_ok=True)  # nothing is known of this run until it has ended
    started = time.perf_counter()
    with lesson_kernel(threads):
        error = execute(output.resolve(), parameters, timeout)
    seconds = time.perf_counter() - started
    told = describe_run(notebook, parameters) | {"seconds": round(seconds, 2), "error": error}
    write_atomically(note, f"{json.dumps(told, indent=1)}\n".encode())
    return Run(notebook, output, seconds, error and f"{notebook.name} {error}")


def save_text(path: str | Path, text: str) -> None:
    write_atomically(Path(path), text.encode())


def execute(output: Path, parameters: Parameters, timeout: int) -> str | None:
    """Run the cells of a notebook in place; returns what stopped them."""
    import papermill  # takes seconds, which the process that only waits need not spend
    from papermill.iorw import LocalHandler, write_ipynb

    saved = [monotonic()]

    def save_now_and_then(notebook: nbformat.NotebookNode, path: str) -> None:
        if notebook.metadata.papermill["end_time"] or monotonic() > saved[0] + SAVE_SECONDS:
            write_ipynb(notebook, path)
            saved[0] = monotonic()

    learner = is_learner(nbformat.read(output, as_version=4))
    options = {"kernel_name": "python3", "language": "python", "progress_bar": False}
    options |= {"cwd": str(output.parent), "execution_timeout": timeout, "allow_errors": learner}
    options["kernel_manager_class"] = PollingKernelManager
    whole = patch.object(LocalHandler, "write", lambda self, text, path: save_text(path, text))
    try:
        with whole, patch.object(papermill.engines, "write_ipynb", save_now_and_then):
            papermill.execute_notebook(str(output), str(output), parameters, **options)
    except papermill.PapermillExecutionError as error:
        if not learner:
            return explain(output, "\n".join(error.traceback))
        executed = nbformat.read(output, as_version=4)
        save_text(output, nbformat.writes(papermill.execute.remove_error_markers(executed)))
    except Exception as error:  # a dead kernel, a time limit: the other lessons still run
        return explain(output, f"{type(error).__name__}: {error}")
    return None


def is_learner(notebook: nbformat.NotebookNode) -> bool:
    return notebook.metadata.get("annlib", {}).get("edition") == "learner"


def explain(output: Path, traceback: str) -> str:
    """Where it stopped, the end of the traceback as a student sees it, and where to look."""
    code = [cell for cell in nbformat.read(output, as_version=4).cells if cell.cell_type == "code"]
    cells = [cell for cell in code if "injected-parameters" not in cell.metadata.get("tags", [])]
    states = [(n, cell.metadata.get("papermill", {})) for n, cell in enumerate(cells)]
    failed = [n for n, state in states if state.get("exception")]
    started = [n for n, state in states if state.get("start_time")]  # all end as "completed"
    number = [*failed, *started[-1:], 0][0]
    name = (cells[number].metadata.get("tags") or [cells[number].source.partition("\n")[0]])[0]
    tail = "\n".join(f"    {line}" for line in ANSI.sub("", traceback).splitlines()[-8:])
    where = f"stopped in code cell {number + 1} ({name})"
    return f"{where}:\n{tail}\n    It is kept up to there: {output}"


def run_all(
    places: Mapping[Path, Path],
    parameters: Parameters,
    jobs: int = 2,
    progress: Callable[[Run], None] = lambda finished: None,
    timeout: int = 600,
    resume: bool = False,
) -> list[Run]:
    """Execute each lesson into its folder in `jobs` processes; `progress` gets each Run."""
    for notebook in places:
        check_parameters(notebook, parameters)
    options = parameters, timeout, max(1, (os.cpu_count() or 1) // max(1, jobs)), resume
    runs, calls = {}, [(one, folder / one.name, *options) for one, folder in places.items()]
    with closing(in_processes(run, calls, jobs)) as ended:
        for one in ended:
            progress(one)
            runs[one.notebook] = one
    return [runs[notebook] for notebook in places]


def end_with(parent: int, call: Callable = int, *arguments: object) -> None:
    """Ends this process once its parent is gone, even by kill -9; its kernel then ends as well.

    call: what else to do first.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    call(*arguments)


def in_processes(function: Callable, calls: list[tuple], jobs: int, *first: Any) -> Iterator[Any]:
    """The results of calls in `jobs` processes, each as it ends; closed, it begins no other.

    first: a function that each process calls first, and its arguments.
    """
    if jobs < 1:
        raise ValueError(f"{jobs} notebooks at a time would never end: use 1 or more jobs.")
    watched = end_with, (os.getpid(), *first)
    pool = ProcessPoolExecutor(min(jobs, len(calls) or 1), get_context("spawn"), *watched)
    try:
        for task in as_completed([pool.submit(function, *call) for call in calls]):
            yield task.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
