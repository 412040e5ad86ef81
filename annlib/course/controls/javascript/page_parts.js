// Parts of the explorer's page: menus, tables, and what leaves it as a file.

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

function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Every answering place with its pixels and its share: one line each, one column for each network.
function sharesAsCsv(picture, view, columns) {
  const across = picture.width / view.columns, down = picture.height / view.rows;
  const head = ["place", "top", "left", "bottom", "right", ...columns.map(([name]) => `share ${name}`)];
  const lines = view.cells.map((cell, index) => [
    cell.name,
    ...[cell.top * down, cell.left * across, cell.bottom * down, cell.right * across],
    ...columns.map(([, found]) => found.shares[index]),
  ]);
  const quoted = (value) => (typeof value === "number" ? value : `"${value.replaceAll('"', '""')}"`);
  return [head, ...lines].map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
}

// The panels side by side with their titles and the sentence below, on white.
function pageAsPicture(panels, sentence) {
  const gap = 16, line = 30;
  const { width, height } = panels[0].stage.canvas;
  const page = element("canvas", { width: 2 * width + 3 * gap, height: height + 4 * line });
  const context = page.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, page.width, page.height);
  context.fillStyle = "#1b1b1b";
  context.font = "20px sans-serif";
  panels.forEach(({ stage, title }, index) => {
    const left = gap + index * (width + gap);
    context.fillText(title.textContent, left, line * 0.8, width);
    context.drawImage(stage.canvas, left, line);
  });
  context.font = "16px sans-serif";
  const words = sentence.split(" ");
  let text = "", y = height + line * 2;
  for (const word of words) {
    if (context.measureText(`${text} ${word}`).width > page.width - 2 * gap) {
      context.fillText(text, gap, y);
      [text, y] = [word, y + line * 0.8];
    } else text = text ? `${text} ${word}` : word;
  }
  context.fillText(text, gap, y);
  return new Promise((done) => page.toBlob(done, "image/png"));
}
