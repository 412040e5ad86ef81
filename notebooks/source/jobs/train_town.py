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
import time

import torch

from annlib.course import plots
from annlib.course.attention_metrics import house_answer, predict_labels
from annlib.course.lesson import chosen_device, progress
from annlib.course.sweeping.run import show_result
from annlib.course.training import batches, experiment, scores_on
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.engine.train import make_optimizer, train
from annlib.model.build import build_model

torch.set_num_threads(threads)
target = chosen_device(device)
plan = experiment(head, pool_scales, iterations, seed)
print(f"{plan.name} with anchors {plan.model.pool_scales}, {iterations} steps, seed {seed}")

# %%
torch.manual_seed(seed)
model = build_model(plan.model).to(target, memory_format=torch.channels_last)
data = batches(plan, num_scenes)
steps = train(model, make_optimizer(model, plan.train), data, plan.train)
history, started = [], time.perf_counter()
for step in progress(steps, iterations, "steps"):
    history.append((step.number, float(step.loss)))
seconds = time.perf_counter() - started

# %%
plots.training_curve(history, head)

# %%
matrix = scores_on(model, plan, val_scenes)

# %%
scene = make_scene(FIRST_VAL_SEED + 21)
labels = predict_labels(model, scene.image)
right = sum(house_answer(labels, scene, house) == house.label for house in scene.houses)
print(f"{right} of {len(scene.houses)} houses of scene {scene.seed} are right.")
plots.predictions([scene], {head: [labels]})

# %%
show_result(
    {
        "house_accuracy": matrix.house_accuracy,
        "miou": matrix.miou,
        "last_loss": history[-1][1],
        "train_seconds": seconds,
    }
)
