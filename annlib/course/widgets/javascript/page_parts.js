// Parts of the explorer's page: menus, tables, the scale of colours.

const SHARES = "shares as a map";

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
  const { spec, picture, network, block, factor } = explorer;
  return [
    menu("picture", spec.pictures.map(({ name }) => name), picture, take("picture")),
    menu("network", networks, network, take("network")),
    menu("block", explorer.blocksOf(network), block, take("block")),
    menu("beside it", beside, explorer.beside, take("beside")),
    menu("scores x", FACTORS.map(String), String(factor), (value) =>
      explorer.take({ factor: Number(value) }),
    ),
  ];
}

function panelTitles({ view, block, network, beside }) {
  if (view.asking) return [view.asks, view.answers];
  return [`${block}, ${network}`, beside === SHARES ? "Shares on the map" : `${block}, ${beside}`];
}

// One box for each pyramid level; the ticked ones answer.
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
  const share = found?.heat[positionOf(view, subject, x, y)] ?? 0;
  const label = subject.labels?.[y * subject.width + x];
  const name = subject.labels ? `, ${subject.names[label] ?? "border"}` : "";
  return `Under the pointer: row ${y}, column ${x}${name}, share ${percent(share, 2)}`;
}

// One line of a bar chart that is also text: name, share, and a bar as wide as the share.
function barLine(name, share) {
  const bar = element("span", { class: "bar", style: `width: ${(100 * share).toFixed(1)}%` });
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, name),
    element("td", { class: "number" }, percent(share, 1)),
    element("td", { class: "room", "aria-hidden": "true" }, bar),
  );
}

function table(title, lines) {
  const rows = lines.map(([name, share]) => barLine(name, share));
  return element("table", {}, element("caption", {}, title), element("tbody", {}, ...rows));
}

function tables(view, found) {
  const named = found.strongest.map((index) => [view.cells[index].name, found.shares[index]]);
  const all = [table("The strongest", named)];
  if (found.byLevel.length) {
    all.push(table("By pyramid level", found.byLevel.map(([level, share]) => [`level ${level}`, share])));
  }
  const seen = found.masses.filter(([, mass]) => mass >= 0.005);
  if (seen.length) all.push(table("By class", seen));
  return all;
}

function column(name, view, found) {
  return element("div", {}, element("strong", {}, name), ...tables(view, found));
}

// The bar below a map of shares: its colours, and the share that each stands for.
function fillScale(scale, most, colours) {
  const stops = [0, 0.25, 0.5, 0.75, 1];
  const colour = (stop) => {
    const at = 3 * Math.round(255 * stop);
    return `rgb(${colours.slice(at, at + 3).join(" ")})`;
  };
  const bar = element("div", { style: `background: linear-gradient(to right, ${stops.map(colour)})` });
  const ticks = stops.map((stop) => element("span", {}, percent(most * stop * stop, 1)));
  scale.replaceChildren(bar, ...ticks);
}
