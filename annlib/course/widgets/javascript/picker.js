// An image on which a pixel is chosen.

class Picker {
  constructor(model, root) {
    this.model = model;
    root.classList.add("annlib-picker");
    keepKeys(root);
    this.under = element("p", { class: "under", "aria-hidden": "true" }, "\u00a0");
    this.said = element("p", { class: "said" });
    this.teller = makeTeller();
    const size = { width: model.get("width"), height: model.get("height") };
    const bytes = (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.bitmap = bitmapOf(bytes(model.get("pixels")), size.width, size.height);
    this.labels = bytes(model.get("labels"));
    this.stage = makeStage(size, model.get("title"), [1, 1], () => model.get("xy"), {
      choose: (x, y) => this.choose(x, y),
      hover: (x, y) => (this.under.textContent = x === undefined ? "\u00a0" : `Under the pointer: ${this.place(x, y)}`),
    });
    root.append(this.stage.canvas, this.said, this.under, this.teller.region);
    this.follow = () => this.draw();
    model.on("change:xy", this.follow);
    this.draw();
  }

  leave() {
    this.model.off("change:xy", this.follow);
  }

  // Python gets the pixel at most once for each frame that is drawn in a drag.
  choose(x, y) {
    this.model.set("xy", [x, y]);
    this.draw();
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = undefined;
      this.model.save_changes();
    });
  }

  place(x, y) {
    const label = this.labels[y * this.model.get("width") + x];
    return `row ${y}, column ${x}, ${this.model.get("class_names")[label] ?? "border"}`;
  }

  draw() {
    const [x, y] = this.model.get("xy");
    const { canvas, context } = this.stage;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.bitmap, 0, 0, canvas.width, canvas.height);
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
