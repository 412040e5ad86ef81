"""Assignment A1, after lesson 03: the non-local block and its cost."""

from annlib.course.assignments import a1_block, a1_cost, a1_weights
from annlib.course.grading.assignment import Assignment, OpenQuestion, task

A1 = Assignment(
    name="A1",
    title="The non-local block and its cost",
    prelude=(
        "import math\nimport time\nfrom math import sqrt\n\nimport torch\n"
        "import torch.nn.functional as F\nfrom torch import Tensor, nn\n"
    ),
    public=("not_yet", "a1_checks"),
    tasks=(
        task(a1_weights.NAME, "Weights, and keys to be ignored", a1_weights.draw),
        task(a1_block.NAME, "The block", a1_block.draw),
        task(a1_cost.NAME, "What it costs", a1_cost.draw),
    ),
    questions=(
        OpenQuestion(
            "measured-ratio",
            "Why the measured ratio differs",
            {
                "Both ratios stand there, with size, machine and number of repetitions": 1,
                "The spread of the measured times is given, and looked at": 1,
                "A reason is named that the formula leaves out": 2,
                "A second measurement would show it wrong if it were wrong": 1,
            },
        ),
    ),
)
