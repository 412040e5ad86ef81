// Parts of the explorer's page: menus, tables, the scale of colours.

const MAP = "weights as a map";

function menu(name, options, chosen, onChange) {
  const choices = options.map((one) => element("option", { value: one }, one));
  const select = element("select", { "aria-label": name }, ...choices);
  select.value = chosen;
  select.addEventListener("change", () => onChange(select.value));
  const label = element("label", {}, `${name} `, select);
  label.hidden = options.length < 2;
  return label;
}

const FACTORS = [0, 0.25, 0.5, 1, 2, 4];

// All menus of the explorer; those with one entry hide themselves.
function menus(explorer, networks, beside) {
  const take = (name) => (value) => explorer.take({ [name]: value });
  const { spec, image, network, block, factor } = explorer;
  return [
    menu("image", spec.images.map(({ name }) => name), image, take("image")),
    menu("network", networks, network, take("network")),
    menu("block", explorer.blocksOf(network), block, take("block")),
    menu("beside it", beside, explorer.beside, take("beside")),
    menu("scores x", FACTORS.map(String), String(factor), (value) =>
      explorer.take({ factor: Number(value) }),
    ),
  ];
}

function panelTitles({ view, block, network, beside }) {
  if (view.query_map) return view.titles;
  return [`${block}, ${network}`, beside === MAP ? "Weights on the map" : `${block}, ${beside}`];
}

// One box for each pyramid level; the ticked ones are keys.
function levelBoxes(explorer) {
  const boxes = explorer.view.levels.map((level) => {
    const box = element("input", { type: "checkbox", checked: explorer.levels.includes(level) });
    box.addEventListener("change", () => {
      const others = explorer.levels.filter((one) => one !== level);
      explorer.levels = (box.checked ? [...others, level] : others).sort((a, b) => a - b);
      explorer.draw();
      explorer.write();
    });
    return element("label", {}, box, ` ${level}`);
  });
  return element("fieldset", {}, element("legend", {}, "pyramid levels"), ...boxes);
}

function sayUnder(subject, view, found, x, y) {
  const weight = found?.heat[positionOf(view, subject, x, y)] ?? 0;
  const label = subject.labels?.[y * subject.width + x];
  const name = subject.labels ? `, ${subject.names[label] ?? "border"}` : "";
  return `Under the pointer: row ${y}, column ${x}${name}, weight ${percent(weight, 2)}`;
}

// One line of a bar chart that is also text: name, weight, and a bar as wide as the weight.
function barLine(name, weight) {
  const bar = element("span", { class: "bar", style: `width: ${(100 * weight).toFixed(1)}%` });
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, name),
    element("td", { class: "number" }, percent(weight, 1)),
    element("td", { class: "room", "aria-hidden": "true" }, bar),
  );
}

function table(title, lines) {
  const rows = lines.map(([name, weight]) => barLine(name, weight));
  return element("table", {}, element("caption", {}, title), element("tbody", {}, ...rows));
}

function tables(view, found) {
  const named = found.strongest.map((index) => [view.cells[index].name, found.weights[index]]);
  const all = [table("The strongest", named)];
  if (found.byLevel.length) {
    all.push(table("By pyramid level", found.byLevel.map(([level, weight]) => [`level ${level}`, weight])));
  }
  const seen = found.masses.filter(([, mass]) => mass >= 0.005);
  if (seen.length) all.push(table("By class", seen));
  return all;
}

function column(name, view, found) {
  return element("div", {}, element("strong", {}, name), ...tables(view, found));
}

// The bar below a map of weights: its colours, and the weight that each stands for.
function fillScale(scale, most, colours) {
  const stops = [0, 0.25, 0.5, 0.75, 1];
  const colour = (stop) => {
    const at = 3 * Math.round(255 * stop);
    return `rgb(${colours.slice(at, at + 3).join(" ")})`;
  };
  const bar = element("div", { style: `background: linear-gradient(to right, ${stops.map(colour)})` });
  const ticks = stops.map((stop) => element("span", {}, percent(most * stop * stop, most < 0.01 ? 2 : 1)));
  scale.replaceChildren(bar, ...ticks);
}
