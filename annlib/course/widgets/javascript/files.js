// What leaves the explorer as a file, and the photo that comes in as one.

function save(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Every key with its pixels and its weight: one line each, one column for each network.
function weightsAsCsv(image, view, columns) {
  const across = image.width / view.columns, down = image.height / view.rows;
  const head = ["place", "top", "left", "bottom", "right", ...columns.map(([name]) => `weight ${name}`)];
  const lines = view.cells.map((cell, index) => [
    cell.name,
    ...[cell.top * down, cell.left * across, cell.bottom * down, cell.right * across],
    ...columns.map(([, found]) => found.weights[index]),
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

function fileButtons(explorer) {
  const button = (text, press) => {
    const made = element("button", { type: "button" }, text);
    made.addEventListener("click", press);
    return made;
  };
  const savePicture = async () => {
    save("attention.png", await pageAsPicture(explorer.panels, explorer.sentence.textContent));
  };
  const saveWeights = () => {
    const columns = [[explorer.network, explorer.found]];
    if (explorer.other) columns.push([explorer.beside, explorer.other]);
    const text = weightsAsCsv(explorer.subject, explorer.view, columns);
    save("attention.csv", new Blob([text], { type: "text/csv" }));
  };
  const bar = element(
    "div",
    { class: "buttons" },
    button("Save as PNG", savePicture),
    button("Save weights as CSV", saveWeights),
  );
  if (explorer.model.get("spec").takes_photos) bar.append(photoButton(explorer), inpainting(explorer));
  return bar;
}

// A rectangle around the chosen pixel gets the mean colour of the image, in Python.
function inpainting(explorer) {
  const side = (name) =>
    element("input", { type: "number", min: "1", value: "40", "aria-label": `rectangle's ${name}` });
  const height = side("height"), width = side("width");
  const button = element("button", { type: "button" }, "Inpaint around the pixel");
  button.addEventListener("click", () => {
    explorer.note.textContent = "Inpainting ...";
    explorer.writeNow(); // the pixel, before the message that needs it
    explorer.model.send({ inpaint: [Number(height.value) | 0, Number(width.value) | 0] });
  });
  return element("span", {}, "Rectangle of ", height, " x ", width, " pixels ", button);
}

// The photo goes to Python as it is: only there is the network.
function photoButton({ model, root, note }) {
  const input = element("input", { type: "file", accept: "image/*" });
  const send = async (file) => {
    note.textContent = `Looking at ${file.name} ...`;
    model.send({ photo: file.name }, undefined, [await file.arrayBuffer()]);
  };
  input.addEventListener("change", () => input.files[0] && send(input.files[0]));
  root.addEventListener("paste", (event) => {
    const [file] = [...event.clipboardData.files].filter(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    event.stopPropagation(); // Lab would paste a cell
    send(file);
  });
  return element("label", {}, "Your own photo (choose, or paste here) ", input);
}
