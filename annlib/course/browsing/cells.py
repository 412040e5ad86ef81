"""The gallery's cells of lessons 0 to 5: each makes one widget as its lesson does, small, quick."""

SETUP = """
import json
from functools import partial
import numpy as np
import torch
from annlib.course.running.kernel import ROOT
from annlib.data.scenes import CLASS_NAMES, make_scene
from annlib.data.sources import FIRST_VAL_SEED
from annlib.model.checkpoints import shipped_model
scene = make_scene(FIRST_VAL_SEED + 21)
names = ("balloon_ann", "balloon_apnb", "balloon_nonlocal")
ann, apnb_net, nonlocal_net = map(shipped_model, names)
records = json.loads((ROOT / "data/results/balloon_town.json").read_text(encoding="utf-8"))
"""

SET_UP = """
from annlib.course.controls.set_up import SetUp
SetUp()
"""

ATTENTION_EXPLORER = """
from annlib.course.controls.attention_explorer import attention_explorer
from annlib.course.intervening import untrained
networks = {"trained": ann, "random weights": untrained(ann), "non-local": nonlocal_net}
attention_explorer(networks, scene)
"""

PIXEL_PICKER = """
from annlib.course.controls.pixel_picker import PixelPicker
lit = np.zeros((*scene.labels.shape, 4), np.uint8)
lit[scene.mask(scene.houses[0])] = (255, 255, 0, 160)
PixelPicker(scene.image, scene.labels, CLASS_NAMES, {"first house": lit})
"""

LARGE_EXPLORER = """
from annlib.course.controls.attention_explorer import explorer
from annlib.course.projections import Projections
from annlib.course.views import Subject, View
generator = torch.Generator().manual_seed(0)
queries, keys = torch.randn(2, 64 * 128, 256, generator=generator) / 4
large = View(Projections(queries, keys, (64, 128), (512, 1024), None), "nonlocal")
street = np.kron(np.random.default_rng(0).integers(0, 255, (8, 16, 3)), np.ones((64, 64, 1)))
explorer(
    {"squares": Subject(street.astype(np.uint8), None, ())},
    lambda image: {"random projections": {"non-local": large}},
    (512, 256),
)
"""

CHOOSE_SCENES = """
from annlib.course.controls.choose_scenes import choose_scenes
from annlib.course.predicting import predict_labels
from annlib.engine.evaluate import ConfusionMatrix
def matrix(model, one):
    found = ConfusionMatrix(len(CLASS_NAMES))
    labels = torch.from_numpy(predict_labels(model, one.image)).long()
    found.update(labels, torch.from_numpy(one.labels).long())
    return found.counts
eight = [make_scene(FIRST_VAL_SEED + index) for index in range(8)]
counts = torch.stack([matrix(ann, one) for one in eight])
choose_scenes({"ANN": ("ann", counts)}, CLASS_NAMES)
"""

PAINT_PREDICTION = """
from annlib.course.controls.paint_prediction import paint_prediction
paint_prediction()
"""

SIX_POSITIONS = """
from annlib.course.controls.six_positions import SixPositions
features = torch.tensor([[6.0, 0, 0, 0, 6, 0], [0, 6.0, 0, 0, 0, 6], [1.0, 1, 0, 0, 1, 1]])
names = ["blue balloon", "red balloon", "sky", "road", "blue house", "red house"]
SixPositions(features, ["how blue", "how red", "a thing"], names)
"""

RECEPTIVE_FIELD = """
from annlib.course.controls.receptive_field import ReceptiveField
ReceptiveField(nonlocal_net, scene)
"""

COST_EXPLORER = """
from annlib.course.controls.cost_explorer import CostExplorer
CostExplorer(8 * 2**30)
"""

NETWORK_BILL = """
from annlib.course.controls.network_bill import NetworkBill
NetworkBill()
"""

ANCHOR_MAP = """
from annlib.course.controls.anchor_map import anchor_map
anchor_map(apnb_net, scene)
"""

CELL_MAP = """
from annlib.course.controls.cell_map import cell_map
cell_map(scene)
"""

CONTEXT_VOLUME = """
from annlib.course.controls.context_volume import context_volume
context_volume(ann, scene)
"""

TWO_MAPS = """
from annlib.course.controls.two_maps import two_maps
two_maps(ann, scene)
"""
