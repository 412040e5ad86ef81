"""A widget of ours as one HTML page: the same module, and a stand-in for the model behind it."""

import base64
import json
from collections.abc import Mapping
from html import escape

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{css}
body {{ margin: .5rem; }}</style></head><body><main></main>
<script type="application/json" id="state">{state}</script>
<script type="module">
const state = JSON.parse(document.getElementById("state").textContent, (key, value) =>
  value?.base64 === undefined ? value : bytesOf(value.base64));
function bytesOf(text) {{
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new DataView(bytes.buffer);
}}
const model = {{ // no kernel behind it: what is set stays in this page
  get: (name) => state[name],
  set: (name, value) => {{ state[name] = value; }},
  save_changes() {{}}, on() {{}}, off() {{}}, send() {{}},
}};
const source = {module};
const address = URL.createObjectURL(new Blob([source], {{ type: "text/javascript" }}));
const {{ default: widget }} = await import(address);
widget.render({{ model, el: document.querySelector("main") }});
</script></body></html>
"""


def standalone_page(esm: str, css: str, state: Mapping[str, object], title: str) -> str:
    """HTML that shows a widget without a kernel.  state: its synced traits"""
    kept = {
        name: value
        for name, value in state.items()
        if not name.startswith("_") and name not in ("layout", "tabbable", "tooltip")
    }
    if "spec" in kept:
        kept["spec"] = kept["spec"] | {"takes_photos": False}  # nobody could look at them
    return PAGE.format(title=escape(title), css=css, state=for_script(kept), module=for_script(esm))


def saved_page(saved: Mapping[str, object], title: str) -> str | None:
    """The page of a widget as a notebook keeps it; None for one without a module of its own.

    saved: {"state": ..., "buffers": [{"path": ["data"], "data": base64}, ...]} of one model.
    """
    state = dict(saved["state"])
    if "_esm" not in state or "spec" not in state:
        return None
    for buffer in saved.get("buffers", []):
        (name,) = buffer["path"]
        state[name] = base64.b64decode(buffer["data"])
    return standalone_page(state["_esm"], state.get("_css", ""), state, title)


def for_script(value: object) -> str:
    """JSON that cannot end the <script> it stands in; bytes as {"base64": ...}."""
    return json.dumps(value, default=as_base64).replace("<", "\\u003c")


def as_base64(value: object) -> dict[str, str]:
    return {"base64": base64.b64encode(bytes(value)).decode()}
