"""data/cluster: the files are run here, with stand-ins for the commands of a cluster."""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from annlib.__main__ import read_command
from annlib.cli.sweep import Sweep
from annlib.cli.train import Train
from annlib.course.sweeping import read_grid
from annlib.engine.trainer import SAVE_EVERY
from annlib.experiments import find_experiment

FOLDER = Path(__file__).parents[2] / "data" / "cluster"
SLURM, SWEEP = FOLDER / "slurm.sh", FOLDER / "sweep.sbatch"
SERVICE, JOB = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text(encoding="utf-8"))
POD = JOB["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
SETTINGS = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
README = (FOLDER / "README.md").read_text(encoding="utf-8")
NOTE = '#!/bin/bash\n{ printf "%q " "$@"; echo; } >> "calls.$(basename "$0")"\n'  # a line a call
WAITING_SRUN = "trap 'exit {code}' TERM; echo $$ > step; for i in {{1..400}}; do sleep 0.05; done\n"


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Makes a command that notes how it is called and then does what is given."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").touch()

    def make(name: str, lines: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(NOTE + lines)
        path.chmod(0o755)

    make("scontrol", '[ "$1" != show ] || printf "node%s\\n" 7 9\n')
    make("scancel", "kill -TERM $(cat step)\n")
    for name in ("srun", "torchrun"):
        make(name, "")
    return make


def calls(name: str) -> list[list[str]]:
    """The words of every call of a stand-in."""
    path = Path(f"calls.{name}")
    return [shlex.split(line) for line in path.read_text().splitlines()] if path.exists() else []


def environment(**others: object) -> dict[str, str]:
    home = str(Path.cwd())
    known = {"PATH": f"{home}/bin:{os.environ['PATH']}", "HOME": home} | others
    return {name: str(value) for name, value in known.items()}


def parsed(words: list[str]) -> tuple[dict[str, str], Train]:
    """torchrun's options, and the command that it starts as annlib reads it."""
    own, launched = words[: words.index("-m")], words[words.index("-m") + 1 :]
    assert launched[0] == "annlib"
    command = read_command(launched[1:])
    assert isinstance(command, Train)
    assert command.resume or find_experiment(command.experiment)
    options = [word[2:].split("=", 1) for word in own if word.startswith("--") and "=" in word]
    return dict(options), command


def submit(**others: object) -> subprocess.Popen:
    facts = {"SLURM_JOB_ID": 4711, "SLURM_NNODES": 2, "SLURM_GPUS_ON_NODE": 4, "RUN": "run"}
    facts |= {"SLURM_CPUS_PER_TASK": 24, "SLURM_JOB_NODELIST": "node[7,9]"}
    return subprocess.Popen(["bash", str(SLURM)], env=environment(**facts | others))


def signalled() -> int:
    """Submits, sends SIGUSR1 once the step runs, as SLURM does.  -> exit code"""
    job, deadline = submit(), time.monotonic() + 20
    while not Path("step").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    return job.wait(timeout=30)


def test_slurm_starts_one_torchrun_a_machine_that_meet_on_the_first() -> None:
    assert submit().wait(timeout=30) == 0
    (words,) = calls("srun")
    assert words[:2] == ["--cpus-per-task=24", "torchrun"]
    options, command = parsed(words)
    assert (options["nnodes"], options["nproc-per-node"]) == ("2", "4")
    assert options["rdzv-endpoint"] == "node7:24711"
    assert (command.data, command.out) == (Path.cwd() / "cityscapes", Path("run"))
    assert not command.resume


def test_slurm_passes_names_with_blanks_on_whole() -> None:
    submit(DATA="my data", EXPERIMENT="balloon_ann", RUN="a run").wait(timeout=30)
    _, command = parsed(calls("srun")[0])
    assert (command.experiment, command.data) == ("balloon_ann", Path("my data"))
    assert command.out == Path("a run")


def test_slurm_goes_on_from_a_checkpoint() -> None:
    Path("run").mkdir()
    Path("run/last.safetensors").touch()
    submit().wait(timeout=30)
    command = parsed(calls("srun")[0])[1]
    assert (command.resume, command.experiment, command.workers) == ((Path("run"),), None, 4)


def test_slurm_reports_a_failure_and_does_not_queue_it_again(stand_in) -> None:
    stand_in("srun", "exit 3\n")
    assert submit().wait(timeout=30) == 3
    assert not any("requeue" in words for words in calls("scontrol"))


def test_slurm_queues_a_job_again_whose_time_is_up(stand_in) -> None:
    stand_in("srun", WAITING_SRUN.format(code=143))
    assert signalled() == 143
    assert calls("scancel") == [["--signal=TERM", "4711.0"]]
    assert calls("scontrol")[-1] == ["requeue", "4711"]


def test_slurm_does_not_queue_a_job_again_that_ended_in_time(stand_in) -> None:
    stand_in("srun", WAITING_SRUN.format(code=0))
    assert signalled() == 0
    assert not any("requeue" in words for words in calls("scontrol"))


def pod(index: int, **others: object) -> tuple[dict[str, str], Train]:
    """Runs the container's command in the pod of that index."""
    known = environment(**SETTINGS, JOB_COMPLETION_INDEX=index) | others
    subprocess.run([*CONTAINER["command"], *CONTAINER["args"]], env=known, check=True, timeout=30)
    return parsed(calls("torchrun")[-1])


@pytest.mark.parametrize("index", [0, 1])
def test_pod_0_is_where_the_others_meet(index: int) -> None:
    options, _ = pod(index)
    job, service = JOB["metadata"]["name"], SERVICE["metadata"]["name"]
    assert options["rdzv-endpoint"] == f"{job}-0.{service}:29500"
    assert f"is_host={int(index == 0)}," in options["rdzv-conf"]


def test_pod_trains_what_its_settings_say() -> None:
    options, command = pod(0)
    assert command.experiment == SETTINGS["EXPERIMENT"]
    assert (str(command.data), str(command.out)) == (SETTINGS["DATA"], SETTINGS["RUN"])
    assert options["nproc-per-node"] == SETTINGS["GPUS"]
    assert not command.resume


def test_pod_goes_on_from_a_checkpoint() -> None:
    Path("last.safetensors").touch()
    command = pod(0, RUN=str(Path.cwd()))[1]
    assert (command.resume, command.experiment, command.workers) == ((Path.cwd(),), None, 4)


def test_pods_find_each_other_by_the_service() -> None:
    assert SERVICE["spec"]["clusterIP"] == "None"
    assert SERVICE["spec"]["selector"] == {"job-name": JOB["metadata"]["name"]}
    assert POD["subdomain"] == SERVICE["metadata"]["name"]


def test_numbers_that_stand_in_two_places_agree() -> None:
    spec = JOB["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(SETTINGS["MACHINES"])
    assert CONTAINER["resources"]["limits"]["nvidia.com/gpu"] == int(SETTINGS["GPUS"])


def test_volumes_are_those_that_are_mounted_and_the_data_cannot_be_changed() -> None:
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    assert volumes[mounts["/dev/shm"]["name"]]["emptyDir"]["medium"] == "Memory"
    assert mounts["/data"]["readOnly"] and not mounts["/runs"].get("readOnly")
    for name in ("DATA", "RUN", "ANNLIB_HOME"):
        assert any(SETTINGS[name].startswith(f"{path}/") for path in mounts)


def test_there_is_time_to_save_before_the_end() -> None:
    text = SLURM.read_text()
    notice = int(re.search(r"--signal=B:USR1@(\d+)", text)[1])
    patience = int(re.search(r"TORCH_ELASTIC_SHUTDOWN_TIMEOUT=(\d+)", text)[1])
    assert notice - patience >= 60  # SLURM's own clock may be a minute off
    grace = POD["terminationGracePeriodSeconds"]
    assert grace - int(SETTINGS["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) >= 60


def test_restarted_groups_meet_anew_on_every_machine() -> None:
    name = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
    assert f"export {name}=1 " in SLURM.read_text()
    assert SETTINGS[name] == "1"


def test_commands_of_the_readme_are_read_by_annlib() -> None:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).replace("\\\n", "")
    launched = [line for line in blocks.splitlines() if line.startswith("torchrun ")]
    assert launched
    for line in launched:
        parsed(shlex.split(line))


def test_readme_says_how_much_is_lost_at_most() -> None:
    assert f"at most {SAVE_EVERY} steps back" in " ".join(README.split())


@pytest.mark.parametrize("path", sorted(set(re.findall(r"data/cluster/[\w.]+", README))))
def test_file_that_is_named_exists(path: str) -> None:
    assert (FOLDER.parents[1] / path).is_file()


# data/cluster/sweep.sbatch


def submit_sweep(folder: Path, *arguments: str, **others: str) -> subprocess.CompletedProcess:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / ".venv/bin").mkdir(parents=True, exist_ok=True)
    (folder / ".venv/bin/activate").touch()
    srun = folder / "bin/srun"
    srun.write_text('#!/bin/bash\nprintf "%q " "$@" > call; echo "$IPYTHONDIR" > scratch\n')
    srun.chmod(0o755)
    known = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "7"}
    known |= {"SLURM_CPUS_PER_TASK": "1"} | others
    return subprocess.run(
        ["bash", str(SWEEP), *arguments], env=known, cwd=folder, capture_output=True, text=True
    )


def called_sweep(folder: Path) -> Sweep:
    """The command of the step, as annlib reads it."""
    words = shlex.split((folder / "call").read_text())
    assert words[:4] == ["--cpus-per-task=1", "python", "-m", "annlib"]
    command = read_command(words[4:])
    assert isinstance(command, Sweep)
    return command


def test_task_n_of_the_array_runs_combination_n(tmp_path: Path) -> None:
    assert submit_sweep(tmp_path, "my grids/bins.json").returncode == 0
    command = called_sweep(tmp_path)
    assert (command.grid, command.only) == (Path("my grids/bins.json"), 7)
    assert command.out == command.folder == Path("runs/sweep-bins")
    assert not Path((tmp_path / "scratch").read_text().strip()).parent.exists()


def test_another_folder_can_be_named(tmp_path: Path) -> None:
    submit_sweep(tmp_path, "bins.json", OUT="a folder")
    assert called_sweep(tmp_path).out == Path("a folder")


def test_script_without_a_grid_says_how_to_call_it(tmp_path: Path) -> None:
    found = submit_sweep(tmp_path)
    assert found.returncode != 0 and "name the grid" in found.stderr


@pytest.mark.parametrize("form", ["--count", "--table"])
def test_commands_in_the_readme_parse(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parents[1])
    lines = re.findall(rf"annlib (sweep notebooks/\S+ {form})", README)
    assert lines
    for line in lines:
        command = read_command(shlex.split(line))
        assert len(read_grid(command.grid).combinations) == 12


def test_grid_in_the_readme_is_the_one_in_the_file() -> None:
    (told,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert told == (FOLDER.parents[1] / "notebooks/jobs/bins.json").read_text()
