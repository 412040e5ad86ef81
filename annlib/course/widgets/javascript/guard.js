// What a box of controls needs from the page: keys that stay inside, and names for all.

const GUARDED = "annlib-keys"; // class of the boxes, see base.py

// Lab listens at the document, when the event has bubbled up to it; the body comes just before. Keys
// with Ctrl or Cmd go on: they are not single letters, and people expect Ctrl+S to save.
function keepInside(event) {
  if (event.target.closest?.(`.${GUARDED}`) && !event.ctrlKey && !event.metaKey) {
    event.stopPropagation();
  }
}

// A slider's handle gets the name of its label, an image the text that Python has for it.
function giveNames(box, alts) {
  for (const handle of box.querySelectorAll(".noUi-handle:not([aria-label])")) {
    const label = handle.closest(".widget-inline-hbox")?.querySelector(".widget-label");
    if (label?.textContent) handle.setAttribute("aria-label", label.textContent);
  }
  [...box.querySelectorAll(".jp-OutputArea-output img")].forEach((image, index) => {
    if (alts[index] !== undefined && image.alt !== alts[index]) image.alt = alts[index];
  });
}

export default {
  initialize() {
    if (document.body.dataset.annlibKeys) return;
    document.body.dataset.annlibKeys = "kept inside";
    document.body.addEventListener("keydown", keepInside);
  },
  render({ model, el }) {
    const watching = new MutationObserver(() => name());
    let box;
    const name = () => box && giveNames(box, model.get("alts"));
    const attach = () => { // the box is put on the page after its parts
      box = el.closest(`.${GUARDED}`);
      if (!box) return void (waiting = requestAnimationFrame(attach));
      watching.observe(box, { childList: true, subtree: true });
      name();
    };
    let waiting = requestAnimationFrame(attach);
    model.on("change:alts", name);
    return () => {
      cancelAnimationFrame(waiting);
      watching.disconnect();
      model.off("change:alts", name);
    };
  },
};
