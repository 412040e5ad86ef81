# %% [markdown]
# # One network of Balloon Town
#
# A job, not a lesson: `annlib sweep` runs it once for each combination of its parameters and collects
# the numbers of the last cell. It runs alone as well.

# %% tags=["parameters"]
head = "ann"  # fcn, ppm, nonlocal, apnb or ann
pool_scales = "1,3,6,8"  # sides of the grids of anchors, for apnb and ann
iterations = 1000
seed = 0
num_scenes = 400  # to train on
val_scenes = 200  # to score on; none is trained on
device = "cpu"
threads = 1

# %%
import torch

from annlib.config import TestConfig
from annlib.course import plots
from annlib.course.attention import house_answer, predict_labels
from annlib.course.lesson import open_job
from annlib.course.sweeping import show_result
from annlib.course.training import (
    experiment,
    fit_with_progress,
    town_scores,
    trainer_in_memory,
    training_scenes,
)
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.classes import BALLOON_TOWN
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.engine.inference import choose_device

open_job()
torch.set_num_threads(threads)
plan = experiment(head, pool_scales, iterations, seed)
print(f"{plan.name} with anchors {plan.model.pool_scales}, {iterations} steps, seed {seed}")

# %%
trainer = trainer_in_memory(plan, BALLOON_TOWN, choose_device(device))
history = fit_with_progress(trainer, training_scenes(plan, num_scenes), "steps")
model = trainer.model

# %%
plots.training_curve(history, head)

# %%
scores = town_scores(model, TestConfig(), val_scenes)

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
labels = predict_labels(model, scene.image)
right = sum(house_answer(labels, scene, house) == house.label for house in scene.houses)
print(f"{right} of {len(scene.houses)} houses of scene {scene.seed} are right.")
plots.predictions([scene], {head: [labels]})

# %%
show_result(scores | {"last_loss": history[-1][1], "train_seconds": trainer.seconds})
