"""What a widget shows below its controls, as tests read it."""

from annlib.course.widgets.base import Explorer


def alts(widget: Explorer) -> list[str]:
    """The alternative texts of its pictures, from top to bottom."""
    found = [one.get("metadata", {}).get("image/png") for one in widget.output.outputs]
    return [one["alt"] for one in found if one]


def alt(widget: Explorer) -> str:
    """Of its only picture."""
    (only,) = alts(widget)
    return only


def errors(widget: Explorer) -> list[str]:
    """What is shown as an error."""
    return [one["evalue"] for one in widget.output.outputs if one["output_type"] == "error"]
