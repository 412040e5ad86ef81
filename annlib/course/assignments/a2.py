"""Assignment A2, after lesson 05: anchors of any pyramid, asked from another level."""

from annlib.course.assignments import a2_block, a2_cost, a2_sampling
from annlib.course.assignments.a1 import A1
from annlib.course.grading.assignment import Assignment, OpenQuestion, task

A2 = Assignment(
    name="A2",
    title="Asymmetric attention with any pyramid",
    prelude=A1.prelude,
    public=("not_yet", "a2_checks"),
    tasks=(
        task(a2_sampling.NAME, "Anchors of any pyramid", a2_sampling.draw),
        task(a2_block.NAME, "One level asks another", a2_block.draw),
        task(a2_cost.NAME, "What it costs", a2_cost.draw),
    ),
    questions=(
        OpenQuestion(
            "design-change",
            "A change of the design",
            {
                "One change is described so that somebody else could build it": 1,
                "What it costs is measured: operations or times, repeated, with their spread": 1,
                "What it does to the output is measured, too, with a number": 1,
                "The claim says no more than the measurement, and for which sizes": 1,
                "What would have to be measured before a network is built this way": 1,
            },
        ),
    ),
)
