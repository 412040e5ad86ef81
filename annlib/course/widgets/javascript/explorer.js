// Image, network, block and pixel: the attention weights, as brightness and in words. All of it is computed
// here from queries and keys that were sent once, so it goes on after the kernel is gone.

const CELLS_LABELLED = 0.25; // of the strongest: weaker cells often lie on it, numbers would collide

// The blob of numbers behind what `spec` describes; pieces are found by offset and length in bytes.
function reader(data) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice(); // aligned
  return {
    floats: ([offset, length]) => new Float32Array(bytes.buffer, offset, length / 4),
    bytes: ([offset, length]) => bytes.subarray(offset, offset + length),
  };
}

function readSpec(model) {
  const spec = model.get("spec");
  const read = reader(model.get("data"));
  const images = spec.images.map((image) => ({
    ...image,
    labels: image.labels && read.bytes(image.labels),
    bitmap: bitmapOf(read.bytes(image.pixels), image.width, image.height),
  }));
  const views = spec.views.map((view) => ({
    ...view,
    queries: read.floats(view.queries),
    keys: read.floats(view.keys),
    values: view.values && read.floats(view.values),
    query_map: view.query_map && read.floats(view.query_map),
  }));
  return { ...spec, images, views, colours: read.bytes(spec.colours) };
}

// A map of weights as a small image: `paint(light, rgba, at)` writes four bytes for light, the root
// of a weight over the largest, 0 to 1, so that weak weights show, too.
const scratch = element("canvas"); // drawn from immediately, so one is enough for all
function mapPicture(heat, rows, columns, paint) {
  scratch.width = columns;
  scratch.height = rows;
  const data = new ImageData(columns, rows);
  const most = heat.reduce((one, other) => Math.max(one, other), 0) || 1;
  for (let at = 0; at < heat.length; at++) paint(Math.sqrt(heat[at] / most), data.data, 4 * at);
  scratch.getContext("2d").putImageData(data, 0, 0);
  return scratch;
}

function upsample({ canvas, context }, bitmap) {
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

// The image at the size of a canvas: scaled once, for that takes longer than all the rest.
function fitted(image, { width, height }) {
  const size = `${width} x ${height}`;
  image.fitted ??= new Map();
  if (!image.fitted.has(size)) {
    const canvas = element("canvas", { width, height });
    canvas.getContext("2d").drawImage(image.bitmap, 0, 0, width, height);
    image.fitted.set(size, canvas);
  }
  return image.fitted.get(size);
}

// The image, bright where the attention weight is large, with the strongest cells of a pyramid.
function drawAttention(stage, image, view, found, x, y) {
  stage.context.drawImage(fitted(image, stage.canvas), 0, 0);
  const shade = (light, rgba, at) => (rgba[at + 3] = 255 * 0.6 * (1 - light)); // black, in part
  upsample(stage, mapPicture(found.heat, view.rows, view.columns, shade));
  if (view.levels) drawCells(stage, view, found);
  drawRing(stage, x, y);
}

// Weakest first, so that the strongest lies on top.
function drawCells({ canvas, context }, view, found) {
  const most = found.weights[found.strongest[0]];
  for (const index of [...found.strongest].reverse()) {
    const strength = found.weights[index] / most;
    const { left, top, width, height } = boxOn(canvas, view, view.cells[index]);
    context.globalAlpha = 0.25 * strength;
    context.fillStyle = view.colour;
    context.fillRect(left, top, width, height);
    context.globalAlpha = 1;
    for (const [colour, thick] of [["white", 2 + 3 * strength], [view.colour, 1 + 2 * strength]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick;
      context.strokeRect(left, top, width, height);
    }
  }
  labelCells(canvas, context, view, found);
}

function boxOn(canvas, view, { top, left, bottom, right }) {
  const across = canvas.width / view.columns, down = canvas.height / view.rows;
  return {
    left: left * across,
    top: top * down,
    width: (right - left) * across,
    height: (bottom - top) * down,
  };
}

// The weight in the middle of each cell that counts, unless a stronger one is written there.
function labelCells(canvas, context, view, found) {
  const most = found.weights[found.strongest[0]];
  context.font = "bold 17px sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const taken = [];
  for (const index of found.strongest) {
    if (found.weights[index] < CELLS_LABELLED * most) break;
    const box = boxOn(canvas, view, view.cells[index]);
    const x = clamp(box.left + box.width / 2, canvas.width - 24);
    const y = Math.max(12, box.top + box.height / 2);
    if (taken.some(([u, v]) => Math.abs(x - u) < 46 && Math.abs(y - v) < 22)) continue;
    taken.push([x, y]);
    context.strokeStyle = "white";
    context.lineWidth = 4;
    context.strokeText(percent(found.weights[index]), x, y);
    context.fillStyle = "#1b1b1b";
    context.fillText(percent(found.weights[index]), x, y);
  }
}

// A map in the colours of the course, with the ring.
function drawHeat(stage, heat, view, colours, x, y) {
  const paint = (light, rgba, at) => {
    const colour = 3 * Math.round(255 * light);
    for (let channel = 0; channel < 3; channel++) rgba[at + channel] = colours[colour + channel];
    rgba[at + 3] = 255;
  };
  upsample(stage, mapPicture(heat, view.rows, view.columns, paint));
  drawRing(stage, x, y);
}
