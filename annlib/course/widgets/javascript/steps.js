// One key, step by step: dot product, score, weight, weighted value, and the sum that is the output.

const SHOWN = 4; // of the products, and of the weighted values, that are listed; the rest is a sum
const QUERY = "query", KEY = "key";

// Three digits: enough to follow a product by hand.
function number(value) {
  const [digits, exponent] = (Math.abs(value) < 100 ? value.toPrecision(3) : value.toFixed(0)).split("e");
  const power = exponent?.replace(/./g, (one) => "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"["0123456789+-".indexOf(one)]);
  return digits.replace("-", "−") + (power ? ` · 10${power}` : "");
}

// What the steps need besides the explorer's own state; null while they are closed.
function stepsOf(explorer) {
  const { view, subject, found, x, y, key, levels, channel, factor } = explorer;
  if (!explorer.steps || explorer.silent) return null;
  const position = positionOf(view, subject, x, y);
  const index = key.length ? keyAt(view, found, positionOf(view, subject, ...key), levels) : found.strongest[0];
  return { index, cell: view.cells[index], numKeys: found.numKeys, ...stepsAt(view, found, position, index, channel, factor) };
}

// The pixel in the middle of a key's cell: where arrow keys move it from.
function middleOf(view, subject, { top, left, bottom, right }) {
  const across = subject.width / view.columns, down = subject.height / view.rows;
  return [Math.floor((across * (left + right)) / 2), Math.floor((down * (top + bottom)) / 2)];
}

// A dashed frame around the key's cell, and a line from the query to its middle.
function drawKey({ canvas, context, zoom }, view, cell, x, y) {
  const { left, top, width, height } = boxOn(canvas, view, cell);
  for (const [colour, thick, dashes] of [["#1b1b1b", 5, []], ["white", 2.5, [8, 6]]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.setLineDash(dashes);
    context.strokeRect(left, top, width, height);
    context.beginPath();
    context.moveTo((x + 0.5) * zoom, (y + 0.5) * zoom);
    context.lineTo(left + width / 2, top + height / 2);
    context.stroke();
  }
  context.setLineDash([]);
}

// A table of numbers; the last line is their sum.
function sumTable(title, head, lines) {
  const cell = (tag, one, attributes) => element(tag, attributes, one);
  const line = ([name, ...numbers], tag, scope) =>
    element("tr", {}, cell("th", name, { scope }), ...numbers.map((one) => cell(tag, one, { class: "number" })));
  return element(
    "table",
    {},
    element("caption", {}, title),
    element("thead", {}, line(head, "th", "col")),
    element("tbody", {}, ...lines.map((one) => line(one, "td", "row"))),
  );
}

function largestProducts({ products, dot }) {
  const order = [...products].sort((one, other) => Math.abs(other[3]) - Math.abs(one[3]));
  const shown = order.slice(0, SHOWN).sort((one, other) => one[0] - other[0]);
  const rest = order.slice(SHOWN).reduce((sum, one) => sum + one[3], 0);
  const lines = shown.map(([at, ...three]) => [String(at), ...three.map(number)]);
  if (order.length > SHOWN) lines.push([`${order.length - SHOWN} others`, "", "", number(rest)]);
  return sumTable("The largest products", ["channel", "query", "key", "product"], [...lines, ["sum", "", "", number(dot)]]);
}

function largestParts(view, { parts, index, output, numKeys }) {
  const order = [...parts.keys()].sort((one, other) => Math.abs(parts[other]) - Math.abs(parts[one]));
  const shown = order.slice(0, Math.min(SHOWN, numKeys));
  if (!shown.includes(index)) shown.splice(-1, 1, index);
  const rest = output - shown.reduce((sum, at) => sum + parts[at], 0);
  const lines = shown.map((at) => [view.cells[at].name + (at === index ? " (this key)" : ""), number(parts[at])]);
  if (numKeys > shown.length) lines.push([`${numKeys - shown.length} others`, number(rest)]);
  return sumTable("The largest parts of the sum", ["key", "weight x value"], [...lines, ["sum", number(output)]]);
}

// [title, result, how it is computed, a table or nothing] of each step.
function stepTexts(view, steps, factor) {
  const { channel, value, weight, score, dot, parts, index, output } = steps;
  const times = factor === 1 ? "" : ` x ${factor}`;
  const all = [
    ["Dot product", number(dot), `query · key: the sum over ${view.channels} channels`, largestProducts(steps)],
    [
      "Attention score",
      number(score),
      `${number(dot)} x ${number(view.scale)}${times} (dot product x 1/√C, C = ${view.channels}` +
        `${times && ", x the factor chosen above"})`,
    ],
    [
      "Attention weight",
      number(weight),
      `softmax: exp(score − largest score) / sum over all keys = exp(${number(score)} − ` +
        `${number(steps.highest)}) / ${number(steps.total)} = ${number(steps.exponential)} / ${number(steps.total)}`,
    ],
  ];
  if (!parts) return all;
  return [
    ...all,
    [
      "Weight x value",
      number(parts[index]),
      `${number(weight)} x ${number(value)} (value of this key in channel ${channel})`,
    ],
    ["Output", number(output), `channel ${channel}, at the query: the sum over all keys`, largestParts(view, steps)],
  ];
}

// All steps in a sentence, for those who hear them.
function saySteps(view, steps) {
  const start =
    `Key ${steps.cell.name}: dot product ${number(steps.dot)}, attention score ${number(steps.score)}, ` +
    `attention weight ${number(steps.weight)}`;
  if (!steps.parts) return `${start}.`;
  return (
    `${start}, times value ${number(steps.value)} in channel ${steps.channel} is ` +
    `${number(steps.parts[steps.index])}. Output in channel ${steps.channel}, the sum over all keys: ` +
    `${number(steps.output)}.`
  );
}

// The part of the page with the steps; `show` fills it.
function makeSteps(explorer) {
  const group = unique();
  const radio = (value) => {
    const input = element("input", { type: "radio", name: group, value, checked: value === QUERY });
    input.addEventListener("change", () => explorer.move(value));
    return element("label", {}, input, ` ${value}`);
  };
  const strongest = element("button", { type: "button" }, "Key of the largest weight");
  strongest.addEventListener("click", () => explorer.choose({ key: [] }));
  const channels = element("select", { "aria-label": "value channel" });
  channels.addEventListener("change", () => explorer.choose({ channel: Number(channels.value) }));
  const channelLabel = element("label", {}, "value channel ", channels);
  const legend = element("legend", {}, "Click and arrow keys move the");
  const said = element("p"), list = element("ol");
  const root = element(
    "details",
    { class: "steps", open: explorer.steps },
    element("summary", {}, "One key, step by step: from query and key to the output"),
    element("div", { class: "controls" }, element("fieldset", {}, legend, radio(QUERY), radio(KEY)), strongest, channelLabel),
    said,
    list,
  );
  root.addEventListener("toggle", () => root.open !== explorer.steps && explorer.choose({ steps: root.open }));
  const show = (view, steps, x, y, factor) => {
    root.open = explorer.steps;
    if (!steps) return list.replaceChildren();
    const numbers = Array.from({ length: steps.numValues ?? 0 }, (_, at) => at);
    channelLabel.hidden = !steps.parts;
    if (channels.options.length !== numbers.length + 1) {
      const choices = [[-1, "of the largest product"], ...numbers.map((at) => [at, String(at)])];
      channels.replaceChildren(...choices.map(([value, text]) => element("option", { value: String(value) }, text)));
    }
    channels.value = String(explorer.channel);
    said.textContent = `Query: row ${y}, column ${x} (ring). Key: ${steps.cell.name} (dashed frame).`;
    list.replaceChildren(
      ...stepTexts(view, steps, factor).map(([title, result, how, more]) =>
        element(
          "li",
          {},
          element("strong", {}, title),
          element("div", { class: "result" }, `= ${result}`),
          element("p", {}, how),
          ...(more ? [more] : []),
        ),
      ),
    );
  };
  return { root, show };
}
