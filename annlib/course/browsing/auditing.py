"""Whether everybody can use a widget: rules of axe-core, a focus that is seen, a narrow window."""

import json
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator

from annlib.course.browsing.driving import Control

SERIOUS = ("serious", "critical")
FOCUS_STYLES = ("outline", "boxShadow", "borderColor", "backgroundColor")

# What is in a box that scrolls can be reached. ipywidgets' controls have a margin of 2 px on top
# of their width: no more may stick out.
WIDER = """area => {
    const edge = area.getBoundingClientRect().right + 2;
    const scrolls = one => one !== area && one !== null && (
        ['auto', 'scroll'].includes(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
    const out = [...area.querySelectorAll('*')].filter(one => one.offsetParent
        && !scrolls(one.parentElement)
        && one.getBoundingClientRect().width > 0 && one.getBoundingClientRect().right > edge);
    return out.map(one => `${one.tagName.toLowerCase()}.${[...one.classList].join('.')} ends `
        + `${Math.round(one.getBoundingClientRect().right - edge)} px outside`);
}"""
STYLE = """(element, names) => {
    const found = [];
    for (let one = element, depth = 0; one && depth < 3; one = one.parentElement, depth += 1)
        found.push(...names.map(name => getComputedStyle(one)[name]));
    return found;
}"""


def violations(widget: Locator) -> list[str]:
    """What axe-core finds serious or critical in a widget's area: rule, element, what to do."""
    widget.evaluate("area => area.setAttribute('data-annlib-audited', '')")
    context = {"include": [["[data-annlib-audited]"]]}
    options = {"resultTypes": ["violations"]}
    page = widget.page
    page.evaluate(Axe().axe_script + ";0")
    found = page.evaluate(f"() => axe.run({json.dumps(context)}, {json.dumps(options)})")
    widget.evaluate("area => area.removeAttribute('data-annlib-audited')")
    return [
        described(violation, node)
        for violation in found["violations"]
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]


def described(violation: dict[str, Any], node: dict[str, Any]) -> str:
    """One finding in one line."""
    summary = " ".join(node["failureSummary"].split())
    return f"{violation['id']} ({violation['impact']}): {node['html'][:150]} {summary}"


def too_wide(widget: Locator) -> list[str]:
    """The elements that stick out of the area of their cell on the right."""
    return widget.evaluate(WIDER)


def focus_is_seen(control: Control, widget: Locator) -> bool:
    """Whether a control, or a box close around it, looks different while it has the focus."""
    element = control.focused(widget)
    element.evaluate("element => element.blur()")
    before = element.evaluate(STYLE, list(FOCUS_STYLES))
    element.focus()
    return element.evaluate(STYLE, list(FOCUS_STYLES)) != before
