// The explorer's page: menus, two panels, words and tables, all following one state.

const STATE = "image network block beside factor levels steps key channel".split(" "); // and xy, as in Python

class Explorer {
  constructor(model, root) {
    this.model = model;
    this.root = root;
    root.classList.add("annlib-attention");
    keepKeys(root);
    this.teller = makeTeller();
    this.wordsSoon = paced(() => {
      this.writeWords();
      this.hover(this.x, this.y);
    });
    this.controls = element("div", { class: "controls" });
    this.sentence = element("p", { class: "said" });
    this.under = element("p", { class: "under", "aria-hidden": "true" }, "\u00a0");
    this.facts = element("div", { class: "facts" });
    this.panelsBox = element("div", { class: "panels" });
    this.note = element("p", { class: "note", role: "status" });
    [this.moved, this.steps] = [QUERY, model.get("steps")];
    this.stepsBox = makeSteps(this);
    root.append(this.controls, this.panelsBox, this.under, this.sentence, this.stepsBox.root, this.facts);
    root.append(fileButtons(this), this.note, this.teller.region);
    const follow = () => this.read();
    model.on(["spec", "xy", ...STATE].map((name) => `change:${name}`).join(" "), follow);
    const tell = () => (this.note.textContent = model.get("message") || this.note.textContent);
    model.on("change:message", tell);
    this.leave = () => [follow, tell].forEach((one) => model.off(null, one));
    this.read();
    this.warmUp();
  }

  // The first rows are slow until the browser has compiled the loops: better now than on a click.
  warmUp() {
    for (let turn = 0; turn < 5; turn++) this.look(this.view);
  }

  // Takes over the state that Python holds: at the start, and when it was set from there.
  read() {
    if (this.writing) return;
    if (this.known !== this.model.get("data")) {
      this.spec = readSpec(this.model);
      this.known = this.model.get("data");
    }
    for (const name of STATE) this[name] = this.model.get(name);
    [this.x, this.y] = this.model.get("xy");
    this.renew();
  }

  // Hands the state to Python, if one listens, once it has stood still for a moment.
  write() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.writeNow(), 100);
  }

  writeNow() {
    clearTimeout(this.later);
    this.writing = true;
    for (const name of STATE) this.model.set(name, this[name]);
    this.model.set("xy", [this.x, this.y]);
    this.model.save_changes();
    this.writing = false;
  }

  viewOf(network) {
    return this.spec.views.find(
      (view) =>
        view.image === this.image && view.network === network && view.block === this.block,
    );
  }

  get view() {
    return this.viewOf(this.network);
  }

  get subject() {
    return this.spec.images.find(({ name }) => name === this.image);
  }

  blocksOf(network) {
    const here = this.spec.views.filter((view) => view.network === network);
    return [...new Set(here.map((view) => view.block))];
  }

  // After a menu: other menus, other panels.
  renew() {
    const names = (key) => [...new Set(this.spec.views.map((view) => view[key]))];
    if (!this.blocksOf(this.network).includes(this.block)) [this.block] = this.blocksOf(this.network);
    const others = names("network").filter(
      (one) => one !== this.network && this.blocksOf(one).includes(this.block),
    );
    if (!others.includes(this.beside)) this.beside = MAP;
    const focused = this.controls.contains(document.activeElement)
      ? [...this.controls.querySelectorAll("select, input")].indexOf(document.activeElement)
      : -1;
    this.controls.replaceChildren(...menus(this, names("network"), [MAP, ...others]));
    if (this.view.levels) this.controls.append(levelBoxes(this));
    if (focused >= 0) this.controls.querySelectorAll("select, input")[focused]?.focus();
    this.makePanels();
    this.draw();
  }

  makePanels() {
    const { subject, view } = this;
    const step = [subject.width / view.columns, subject.height / view.rows];
    const hear = {
      choose: (x, y, dragging) => {
        if (this.movesKey) this.key = [x, y];
        else [this.x, this.y] = [x, y];
        this.paint();
        if (dragging) this.wordsSoon();
        else this.writeWords();
        this.write();
      },
      hover: (x, y, dragging) => dragging || this.hover(x, y), // a drag's words follow it
    };
    const had = this.panels?.findIndex(({ stage }) => stage.canvas === document.activeElement) ?? -1;
    this.panels = panelTitles(this).map((text) => {
      const stage = makeStage(subject, text, step, () => this.where(), hear);
      const title = element("figcaption", {}, text);
      return { stage, title, figure: element("figure", {}, title, stage.canvas) };
    });
    this.scale = element("div", { class: "scale" });
    if (this.beside === MAP && !view.query_map) this.panels[1].figure.append(this.scale);
    this.panelsBox.replaceChildren(...this.panels.map(({ figure }) => figure));
    if (had >= 0) this.panels[had].stage.canvas.focus();
  }

  look(view) {
    return attentionAt(view, this.subject, this);
  }

  draw() {
    this.paint();
    this.writeWords();
  }

  // What clicks and arrow keys move: the query pixel or, in the steps, the pixel of the key.
  move(what) {
    this.moved = what;
  }

  get movesKey() {
    return this.steps && this.moved === KEY;
  }

  where() {
    if (!this.movesKey) return [this.x, this.y];
    if (this.key.length) return this.key;
    return middleOf(this.view, this.subject, this.view.cells[this.found.strongest[0]]);
  }

  // The steps are opened or closed, or show another key or channel.
  choose(change) {
    Object.assign(this, change);
    this.draw();
    this.write();
  }

  get silent() {
    return this.view.levels && !this.view.levels.some((level) => this.levels.includes(level));
  }

  paint() {
    const { view, subject, x, y } = this;
    if (this.silent) return; // the image stays, the words say why
    const found = (this.found = this.look(view));
    const [left, right] = this.panels.map(({ stage }) => stage);
    if (view.query_map) {
      drawHeat(left, view.query_map.map((one) => one * one), view, this.spec.colours, x, y);
      drawAttention(right, subject, view, found, x, y);
    } else {
      drawAttention(left, subject, view, found, x, y);
      if (this.beside === MAP) drawHeat(right, found.heat, view, this.spec.colours, x, y);
    }
    const steps = (this.found.steps = stepsOf(this));
    const marked = view.query_map ? [right] : this.beside === MAP ? [left, right] : [left];
    if (steps) for (const stage of marked) drawKey(stage, view, steps.cell, x, y);
    if (steps && view.levels) labelCells(marked[0].canvas, marked[0].context, view, found); // above the line
    const other = this.beside !== MAP && this.viewOf(this.beside);
    this.other = other && this.look(other);
    if (other) drawAttention(right, subject, other, this.other, x, y);
  }

  // What the image shows, in words and tables.
  writeWords() {
    const { view, found, other, x, y } = this;
    if (this.silent) {
      this.say("S = 0: there are no keys. Tick at least one level.");
      this.facts.replaceChildren();
      this.stepsBox.show(view, null);
      return;
    }
    this.stepsBox.show(view, found.steps, x, y, this.factor);
    const sentence = sayAttention(found, x, y);
    if (!other) {
      this.say(sentence);
      this.facts.replaceChildren(...tables(view, found));
      fillScale(this.scale, Math.max(...found.heat), this.spec.colours);
      return;
    }
    this.say(`${this.network}: ${sentence} ${this.beside}: ${sayAttention(other, x, y)}`);
    this.facts.replaceChildren(
      column(this.network, view, found),
      column(this.beside, this.viewOf(this.beside), other),
    );
  }

  say(sentence) {
    this.sentence.textContent = sentence;
    const steps = !this.silent && this.found.steps;
    this.teller.tell(steps ? `${sentence} ${saySteps(this.view, steps)}` : sentence);
  }

  hover(x, y) {
    if (x === undefined) {
      this.under.textContent = "\u00a0";
      return;
    }
    this.under.textContent = sayUnder(this.subject, this.view, this.found, x, y);
  }

  // A menu has changed.
  take(change) {
    Object.assign(this, change);
    const { subject } = this;
    const inside = ([x, y]) => [clamp(x, subject.width - 1), clamp(y, subject.height - 1)];
    [this.x, this.y] = inside([this.x, this.y]);
    if (this.key.length) this.key = inside(this.key);
    this.renew();
    this.write();
  }
}

export default {
  render({ model, el }) {
    const explorer = new Explorer(model, element("div"));
    el.append(explorer.root);
    return () => explorer.leave();
  },
};
