// An image on which one pixel is chosen: by click, by dragging, by arrow keys. Shared by all
// widgets that show one; they are joined to one module, for a widget has to be one file.

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};

const unique = () => `annlib-${Math.random().toString(36).slice(2)}`; // an id, or the name of a group
const clamp = (value, last) => Math.min(last, Math.max(0, value));
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const WIDTH = 576; // canvas pixels that an image is drawn with, about

// Keys that are pressed in a widget are not commands of the notebook, where `d d` deletes a cell.
// Tab and Escape go on, and so do keys with Ctrl or Cmd: people expect Ctrl+S to save.
function keepKeys(root) {
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !["Tab", "Escape"].includes(event.key)) {
      event.stopPropagation();
    }
  });
}

// { canvas, context, zoom }; hear.choose(x, y, dragging) gets the pixel, hear.hover(x, y, dragging)
// one under the pointer or nothing. step: pixels that an arrow key moves by; where(): the pixel that is chosen.
function makeStage({ width, height }, label, step, where, hear) {
  const zoom = Math.min(4, Math.max(0.5, WIDTH / width));
  const canvas = element("canvas", {
    width: Math.round(width * zoom),
    height: Math.round(height * zoom),
    tabIndex: 0,
    role: "application",
    "aria-roledescription": "image",
    "aria-label": `${label}. Arrow keys move the pixel, with Shift five times as far.`,
  });
  const pixelUnder = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * height);
    return [clamp(x, width - 1), clamp(y, height - 1)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    hear.choose(...pixelUnder(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const pixel = pixelUnder(event), dragging = Boolean(event.buttons & 1);
    if (dragging) hear.choose(...pixel, dragging);
    hear.hover(...pixel, dragging);
  });
  canvas.addEventListener("pointerleave", () => hear.hover());
  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault(); // the page does not scroll
    const far = event.shiftKey ? 5 : 1;
    const [x, y] = where();
    const to = (at, move, size, pixels) =>
      move ? clamp(Math.floor(at / size) * size + Math.floor(size / 2) + move * far * size, pixels - 1) : at;
    hear.choose(to(x, arrow[0], step[0], width), to(y, arrow[1], step[1], height));
  });
  return { canvas, context: canvas.getContext("2d"), zoom };
}

// A ring around the query pixel.
function drawRing({ context, zoom }, x, y) {
  for (const [colour, thick] of [["#1b1b1b", 5], ["white", 2.5]]) {
    context.beginPath();
    context.arc((x + 0.5) * zoom, (y + 0.5) * zoom, Math.max(7, 4 * zoom), 0, 2 * Math.PI);
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.stroke();
  }
}

// RGB or RGBA bytes as a canvas of their own, to be drawn at any size.
function bitmapOf(bytes, width, height) {
  const canvas = element("canvas", { width, height });
  const data = new ImageData(width, height);
  const channels = bytes.length / (width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < 4; channel++) {
      data.data[4 * pixel + channel] = channel < channels ? bytes[channels * pixel + channel] : 255;
    }
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

// `work`, done immediately, but not again before `pause` milliseconds are over. Words that change with
// every frame can't be read, and laying them out takes longer than the image.
function paced(work, pause = 100) {
  let last = -Infinity, waiting;
  const run = () => {
    [last, waiting] = [performance.now(), undefined];
    work();
  };
  return () => {
    const rest = last + pause - performance.now();
    if (rest <= 0 && !waiting) run();
    else waiting ??= setTimeout(run, rest);
  };
}

// Hands text to screen readers once it has stood still for a moment, not on every move of a drag.
function makeTeller() {
  const region = element("p", { class: "annlib-unseen", "aria-live": "polite" });
  let waiting;
  return {
    region,
    tell(text) {
      clearTimeout(waiting);
      waiting = setTimeout(() => (region.textContent = text), 400);
    },
  };
}
