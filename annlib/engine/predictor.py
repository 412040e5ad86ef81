"""What a word on the command line means: a checkpoint file, or a published row."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from annlib.config import TestConfig, experiment_from, with_tuples
from annlib.data.classes import DatasetSpec, folder_spec
from annlib.data.sources import BUILT_IN
from annlib.engine.distributed import wait_for_all
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline, build_model
from annlib.model.checkpoints import Checkpoint, load, restore
from annlib.model.published import load_published
from annlib.transfer import Progress
from annlib.zoo import published


class Network(NamedTuple):
    """Weights that can be had, with the classes they tell apart and the way they are tested."""

    name: str
    spec: DatasetSpec
    test: TestConfig
    load: Callable[[Progress | None], ANN | Baseline]  # reads the weights, or fetches them first


def find_network(what: str) -> Network:
    """The network of a .safetensors file, or of the published row of that name.

    Raises FileNotFoundError for a missing file, KeyError with the nearest names for an unknown row.
    """
    path = Path(what)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return network_of(load(path))
    row = published(what).experiment
    return Network(
        row.name,
        BUILT_IN[row.data.dataset],
        row.test,
        lambda progress: load_published(row.name, progress=progress),
    )


def network_of(checkpoint: Checkpoint) -> Network:
    """The network of a checkpoint, with the classes and the way of testing of its training."""
    return Network(
        checkpoint.path.name,
        classes_of(checkpoint),
        test_config(checkpoint),
        lambda progress: restored(checkpoint),
    )


def load_in_turn(network: Network, progress: Progress | None = None) -> ANN | Baseline:
    """Its model; the first process of a machine goes ahead, the others find what it fetched."""
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    model = network.load(progress) if is_first else None
    wait_for_all()
    return model if model is not None else network.load(progress)


def restored(checkpoint: Checkpoint) -> ANN | Baseline:
    model = build_model(checkpoint.config)
    restore(checkpoint, model)
    return model


def test_config(checkpoint: Checkpoint) -> TestConfig:
    """How the run that wrote the checkpoint tests; a bare one gets the whole picture as it is."""
    if "experiment" not in checkpoint.notes:
        return TestConfig()
    return experiment_from(checkpoint.notes["experiment"]).test


def classes_of(checkpoint: Checkpoint) -> DatasetSpec:
    """The class names and colours that were trained on."""
    dataset = checkpoint.notes.get("experiment", {}).get("data", {}).get("dataset")
    if "classes" not in checkpoint.notes and dataset in BUILT_IN:  # fetched, not trained here
        return BUILT_IN[dataset]
    if "classes" not in checkpoint.notes:
        raise ValueError(
            f"{checkpoint.path} does not say what its {checkpoint.config.num_classes} classes are. "
            "Checkpoints written by `annlib train` do."
        )
    values = with_tuples(checkpoint.notes["classes"])
    spec = DatasetSpec(**values | {"palette": tuple(map(tuple, values["palette"]))})
    if spec.num_classes != checkpoint.config.num_classes:
        raise ValueError(
            f"{checkpoint.path} tells {checkpoint.config.num_classes} classes apart, but names "
            f"{spec.num_classes} of {spec.name}: a prediction could not be given its name. It was "
            "not written by `annlib train`; train it again, or save it with its own class list."
        )
    return spec


def check_folder_classes(spec: DatasetSpec, root: Path | None) -> None:
    """Raises ValueError when a folder's classes.txt is not the list that a network learnt."""
    if root is None or not (root / "classes.txt").is_file():
        return
    learnt, there = spec.class_names, folder_spec(root).class_names
    if learnt == there:
        return
    places = range(max(len(learnt), len(there)))
    differing = [
        f"{place}: {name_at(learnt, place)} / {name_at(there, place)}"
        for place in places
        if name_at(learnt, place) != name_at(there, place)
    ]
    raise ValueError(
        f"The network learnt {len(learnt)} classes of {spec.name}, {root / 'classes.txt'} names "
        f"{len(there)}. They differ at {', '.join(differing[:5])}"
        f"{' and further on' if len(differing) > 5 else ''} (network / folder). Labels would be "
        "taken for other classes: name the folder that it was trained for, or train on this one."
    )


def name_at(names: tuple[str, ...], place: int) -> str:
    return names[place] if place < len(names) else "none"
