"""What a widget shows below its controls, as tests read it."""

from annlib.course.widgets.base import Shown


def alts(widget: Shown) -> list[str]:
    """The alternative texts of its pictures, from top to bottom."""
    found = [one.get("metadata", {}).get("image/png") for one in widget.output.outputs]
    return [one["alt"] for one in found if one]


def alt(widget: Shown) -> str:
    """Of its only picture."""
    (only,) = alts(widget)
    return only


def errors(widget: Shown) -> list[str]:
    """What is shown as an error."""
    return [one["evalue"] for one in widget.output.outputs if one["output_type"] == "error"]
