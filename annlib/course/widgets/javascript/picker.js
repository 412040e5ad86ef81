// A picture on which a pixel is chosen; overlays can be laid on it, each with a box to tick.

class Picker {
  constructor(model, root) {
    this.model = model;
    root.classList.add("annlib-picker");
    keepKeys(root);
    this.boxes = element("div", { class: "controls" });
    this.under = element("p", { class: "under", "aria-hidden": "true" }, "\u00a0");
    this.said = element("p", { class: "said" });
    this.teller = makeTeller();
    this.hidden = new Set();
    const size = { width: model.get("width"), height: model.get("height") };
    this.bitmap = this.bitmapOf(model.get("pixels"));
    const labels = model.get("labels");
    this.labels = labels && new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength);
    this.stage = makeStage(size, model.get("title"), [1, 1], () => model.get("xy"), {
      choose: (x, y) => this.choose(x, y),
      hover: (x, y) => (this.under.textContent = x === undefined ? "\u00a0" : `Under the pointer: ${this.place(x, y)}`),
    });
    root.append(this.stage.canvas, this.boxes, this.said, this.under, this.teller.region);
    this.follow = () => this.draw();
    this.renew = () => this.readOverlays();
    model.on("change:xy", this.follow);
    model.on("change:overlay_pixels", this.renew);
    this.readOverlays();
  }

  leave() {
    this.model.off("change:xy", this.follow);
    this.model.off("change:overlay_pixels", this.renew);
  }

  bitmapOf(data) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return bitmapOf(bytes, this.model.get("width"), this.model.get("height"));
  }

  // Python is told at once, every drawn frame of a drag at most once.
  choose(x, y) {
    this.model.set("xy", [x, y]);
    this.draw();
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = undefined;
      this.model.save_changes();
    });
  }

  readOverlays() {
    const names = this.model.get("overlay_names");
    this.overlays = this.model
      .get("overlay_pixels")
      .map((data, index) => [names[index], this.bitmapOf(data)]);
    const shown = [...this.boxes.querySelectorAll("input")].map(({ name }) => name);
    if (shown.join("\n") !== names.join("\n")) this.boxes.replaceChildren(...names.map((one) => this.box(one)));
    this.draw();
  }

  box(name) {
    const box = element("input", { type: "checkbox", name, checked: !this.hidden.has(name) });
    box.addEventListener("change", () => {
      this.hidden[box.checked ? "delete" : "add"](name);
      this.draw();
    });
    return element("label", {}, box, ` ${name}`);
  }

  place(x, y) {
    const label = this.labels?.[y * this.model.get("width") + x];
    const name = this.labels ? `, ${this.model.get("class_names")[label] ?? "border"}` : "";
    return `row ${y}, column ${x}${name}`;
  }

  draw() {
    const [x, y] = this.model.get("xy");
    const { canvas, context } = this.stage;
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const [name, bitmap] of [["", this.bitmap], ...this.overlays]) {
      if (!this.hidden.has(name)) context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    }
    drawRing(this.stage, x, y);
    this.said.textContent = `Chosen: ${this.place(x, y)}`;
    this.teller.tell(this.said.textContent);
  }
}

export default {
  render({ model, el }) {
    const root = element("div");
    const picker = new Picker(model, root);
    el.append(root);
    return () => picker.leave();
  },
};
