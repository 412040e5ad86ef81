"""The kernel that runs lessons: this interpreter, offline, plotting inline, with few threads."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annlib.course.running import offline

ROOT = Path(__file__).parents[3]


def kernel_spec(folder: str, threads: int) -> dict[str, object]:
    """What jupyter_client reads; `folder` holds the sitecustomize that refuses the network."""
    paths = [folder, str(ROOT), os.environ.get("PYTHONPATH", "")]
    launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": str(threads),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    quiet = (
        "--log-level=50"  # ipykernel 7.4 warns of plain TCP at every start, harmless on loopback
    )
    spec = {"display_name": "Python 3", "language": "python", "env": environment}
    return spec | {"argv": [*launch, quiet]}


@contextmanager
def lesson_kernel(threads: int) -> Iterator[None]:
    """Within it, `python3` is this kernel, whatever kernels the machine has."""
    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory(prefix="annlib-kernel-") as folder:
        shutil.copy(offline.__file__, Path(folder, "sitecustomize.py"))
        target = Path(folder, "kernels/python3/kernel.json")
        target.parent.mkdir(parents=True)
        target.write_text(json.dumps(kernel_spec(folder, threads)))
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (folder, before)))
        try:
            yield
        finally:
            del os.environ["JUPYTER_PATH"]
            if before is not None:
                os.environ["JUPYTER_PATH"] = before
