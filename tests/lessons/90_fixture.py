# %% [markdown] tags=["header"]
# # 90. What one number says about many
#
# *Is the mean of a picture a good summary of it?*
#
# - **Before:** nothing
# - **Time:** 29 min: reading 4, exercises 24, running 1
# - **Runs in:** 20 s (quick), 20 s (learn), on 2 CPU cores
# - **Needs:** CPU; no network
#
# ## After this lesson you can
#
# 1. write a mean over positions ([Exercise 90.1](exercise:mean))
# 2. predict what a constant picture gives ([Prediction 90.1](predict:constant))
# 3. explain what a mean cannot say ([Quiz 90.1](quiz:lost))

# %% tags=["parameters"]
mode = "learn"  # "quick" for tests, "learn" for a laptop, "full" for a GPU and real data
device = "auto"
seed = 0
data_root = ""
experiment = ""

# %% tags=["setup"]
import base64
import io
import random

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure

from annlib.course import widgets
from annlib.course.checks.base import NotYet
from annlib.course.lesson import open_lesson

lesson = open_lesson(mode, device, seed, data_root, experiment)

# %% [markdown] tags=["instructor"]
# Ten minutes in all. Usual mistake: the sum instead of the mean.
#
# Stop here when late.

# %% [markdown]
# ## A picture of six values
#
# The height of a bar is the value $x_i$; their mean is
#
# $$\bar{x} = \frac{1}{N} \sum_{i=1}^{N} x_i$$

# %%
generator = random.Random(seed)
values = [generator.random() for _ in range(6)]
assert len(values) == 6


def show(heights: list[float]) -> None:
    """A bar chart with its alt text."""
    figure = Figure(figsize=(3, 2))
    figure.subplots().bar(range(len(heights)), heights)
    alt = f"Bar chart of {len(heights)} values from {min(heights):.2f} to {max(heights):.2f}."
    figure.savefig(buffer := io.BytesIO(), format="png")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": alt}
    display(data, metadata={"image/png": {"alt": alt}}, raw=True)


show(values)
lesson.claim("most", max(values), within=0.005)

# %% [markdown]
# No bar is higher than [0.84](claim:most) with seed 0 ([0.99](given:rule) is the most there can be).

# %% [markdown]
# ### Prediction 90.1: constant values

# %% tags=["predict:constant"]
guess_constant = 7  # solution

# %% tags=["predict:outlier"]
guess_outlier = "moves"  # solution

# %% [markdown] tags=["exercise:mean"]
# ### Exercise 90.1: The mean
#
# *Difficulty 1/5, importance 3/5, about 5 min, objective 1*
#
# Write `mean`, then run the check.


# %% tags=["answer:mean"]
def mean(numbers: list[float]) -> float:
    """(N,) -> scalar"""
    # Think of N.
    # solution
    total_of_everything = sum(numbers)
    return total_of_everything / len(numbers)


# %% [markdown] tags=["hint:mean:1"]
# How much does each value count?

# %% [markdown] tags=["hint:mean:2"]
# Python has `sum` and `len`.

# %% [markdown] tags=["hint:mean:3"]
# `total_of_everything = sum(numbers)`

# %% tags=["check:mean"]
if mean([1.0, 3.0]) is None:
    raise NotYet("`mean` returns None: replace the `...` by your answer.")
assert mean([1.0, 3.0]) == 2
print("A constant gives itself:", mean([7, 7, 7]), "and you said", guess_constant)

# %% [markdown]
# ## Move the outlier


# %%
def with_outlier(outlier: float) -> None:
    """The picture when the last value changes."""
    show([*values[:-1], outlier])


display(ipywidgets.interactive(with_outlier, outlier=(0.0, 10.0)))

# %% [markdown]
# Try this, and say what changes:
#
# 1. Press the button.
# 2. Press it again.

# %%
widgets.SetUp()

# %%
widgets.SetUp()

# %% tags=["slow"]
raise RuntimeError("Slow cells are skipped in quick mode.")

# %% tags=["gpu"]
if lesson.device.type == "cuda":
    print("A GPU")
else:
    raise RuntimeError("GPU cells are skipped on the CPU.")

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz:lost"]
# ### Quiz 90.1: What does the mean not say?
#
# - [ ] Where the **centre** of gravity is.
#   It says exactly that.
# - [x] How far the values `x` lie apart, $x_i < \bar{x}$ or not.
#   Many pictures share one mean.

# %% [markdown] tags=["quiz:sum"]
# ### Quiz 90.2: How is the sum related?
#
# - [x] It is N times the mean.
#   By definition.
# - [ ] It is the mean.
#   Only for N = 1.

# %% [markdown] tags=["quiz:order"]
# ### Quiz 90.3: Does the order matter?
#
# - [ ] Yes.
#   Addition commutes, so it cannot.
# - [x] No.
#   A sum does not know the order.

# %% [markdown] tags=["recap"]
# ## Recap
#
# You wrote a mean, predicted its value on a constant picture, and explained what it hides.
#
# Read more: any book on statistics.
#
# Next: [this lesson once more](90_fixture.ipynb)
