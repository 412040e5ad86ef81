// A grid of pixels whose classes are painted: by pointer, or by arrow keys and Space; one tab stop.

class Grid {
  constructor(model, root) {
    this.model = model;
    this.at = [0, 0]; // row, column of the active pixel
    root.classList.add("annlib-grid");
    keepKeys(root);
    this.teller = makeTeller();
    const size = `${model.get("rows").length} x ${model.get("rows")[0].length} pixels`;
    const keys = "Arrow keys move, Space paints with the brush, the first letter of a class paints that class.";
    this.table = element("table", { role: "grid", tabIndex: 0, "aria-label": `Prediction, ${size}. ${keys}` });
    this.table.append(element("caption", {}, "Prediction: paint here (x: incorrect)"));
    this.cells = model.get("rows").map((row, y) => {
      const cells = [...row].map((_, x) => element("td", { role: "gridcell", id: unique() }));
      this.table.append(element("tr", { role: "row" }, ...cells));
      return cells;
    });
    this.table.addEventListener("pointerdown", (event) => this.point(event));
    this.table.addEventListener("pointermove", (event) => event.buttons & 1 && this.point(event));
    this.table.addEventListener("keydown", (event) => this.press(event));
    root.append(this.table, this.teller.region);
    this.follow = () => this.draw();
    model.on("change:rows", this.follow);
    this.draw();
  }

  leave() {
    this.model.off("change:rows", this.follow);
  }

  // A finger holds the pointer of the pixel where it began, so the pixel under it is looked up.
  point(event) {
    const under = document.elementFromPoint(event.clientX, event.clientY);
    this.cells.forEach((row, y) => row.forEach((cell, x) => cell === under && this.paint([y, x])));
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key], letter = event.key.toUpperCase(), [y, x] = this.at;
    if (arrow) this.at = [clamp(y + arrow[1], this.cells.length - 1), clamp(x + arrow[0], this.cells[0].length - 1)];
    else if ([" ", "Enter"].includes(event.key)) this.paint(this.at);
    else if (this.model.get("classes").some(([one]) => one === letter)) this.paint(this.at, letter);
    else return;
    event.preventDefault(); // the page does not scroll
    this.draw();
  }

  paint([y, x], letter = this.model.get("brush")) {
    this.at = [y, x];
    const rows = [...this.model.get("rows")];
    if (rows[y][x] !== letter) {
      rows[y] = rows[y].slice(0, x) + letter + rows[y].slice(x + 1);
      this.model.set("rows", rows);
      this.model.save_changes();
    }
    this.draw();
    this.teller.tell(this.cells[y][x].getAttribute("aria-label"));
  }

  draw() {
    const classes = new Map(this.model.get("classes").map(([letter, ...more]) => [letter, more]));
    const rows = this.model.get("rows"), truth = this.model.get("truth");
    this.cells.forEach((row, y) =>
      row.forEach((cell, x) => {
        const letter = rows[y][x], label = truth[y][x];
        const [name, colour, ink] = classes.get(letter), labelled = classes.get(label)?.[0];
        const wrong = labelled && letter !== label;
        cell.textContent = letter + (wrong ? " x" : labelled ? "" : " (255)");
        cell.style.background = colour;
        cell.style.color = ink;
        cell.classList.toggle("active", this.at[0] === y && this.at[1] === x);
        const said = labelled ? `labelled ${labelled}, ${wrong ? "incorrect" : "correct"}` : "not labelled (255)";
        cell.setAttribute("aria-label", `row ${y + 1}, column ${x + 1}: ${name}, ${said}`);
      }),
    );
    this.table.setAttribute("aria-activedescendant", this.cells[this.at[0]][this.at[1]].id);
  }
}

export default {
  render({ model, el }) {
    const root = element("div");
    const grid = new Grid(model, root);
    el.append(root);
    return () => grid.leave();
  },
};
