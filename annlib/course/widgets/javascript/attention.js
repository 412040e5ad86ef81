// One row of attention, from queries and keys. Pure functions; a test holds each against Python.
//
// A view: { queries (N, C), keys (S, C), channels, rows, columns, levels: null or [1, 3, 6, 8] }.
// N = rows * columns query positions, S keys: all N positions, or the cells of the pyramid levels.

// Where the cells of a level begin and end, in positions along a side, as adaptive pooling cuts.
function cellEdges(side, level) {
  return Array.from({ length: level }, (_, cell) => [
    Math.floor((cell * side) / level),
    Math.ceil(((cell + 1) * side) / level),
  ]);
}

// The cell of each of the S keys: { name, level, top, left, bottom, right }, in positions.
function cellsOf(view) {
  const cells = [];
  if (!view.levels) {
    for (let row = 0; row < view.rows; row++) {
      for (let column = 0; column < view.columns; column++) {
        const name = `position row ${row} column ${column}`;
        cells.push({ name, level: 0, top: row, left: column, bottom: row + 1, right: column + 1 });
      }
    }
    return cells;
  }
  for (const level of view.levels) {
    const across = cellEdges(view.columns, level);
    cellEdges(view.rows, level).forEach(([top, bottom], row) => {
      across.forEach(([left, right], column) => {
        const name = `level ${level} row ${row} column ${column}`;
        cells.push({ name, level, top, left, bottom, right });
      });
    });
  }
  return cells;
}

// softmax(factor * query . keys) for one position, 0 for the anchors of levels that are off, with the
// largest score and the sum that it divides by: weight = exp(score - highest) / total.
// A plain loop over float32: 8192 keys of 256 channels take a few milliseconds.
function weightsOf(view, position, levels, factor) {
  const { queries, keys, channels, cells } = view;
  const weights = new Float32Array(cells.length);
  const query = queries.subarray(position * channels, (position + 1) * channels);
  let highest = -Infinity;
  for (let index = 0, at = 0; index < cells.length; index++, at += channels) {
    if (view.levels && !levels.includes(cells[index].level)) {
      weights[index] = -Infinity;
      continue;
    }
    let a = 0, b = 0, c = 0, d = 0; // four sums that need not wait for one another
    let channel = 0;
    for (; channel + 3 < channels; channel += 4) {
      a += query[channel] * keys[at + channel];
      b += query[channel + 1] * keys[at + channel + 1];
      c += query[channel + 2] * keys[at + channel + 2];
      d += query[channel + 3] * keys[at + channel + 3];
    }
    for (; channel < channels; channel++) a += query[channel] * keys[at + channel];
    weights[index] = factor * (a + b + c + d);
    if (weights[index] > highest) highest = weights[index];
  }
  let total = 0;
  for (let index = 0; index < weights.length; index++) {
    weights[index] = Math.exp(weights[index] - highest);
    total += weights[index];
  }
  for (let index = 0; index < weights.length; index++) weights[index] /= total;
  return { weights, highest, total };
}

// The key at a position: the position itself, or of the cells that hold it that of most weight.
function keyAt(view, { weights }, position, levels) {
  if (!view.levels) return position;
  const row = Math.floor(position / view.columns), column = position % view.columns;
  let best = -1;
  view.cells.forEach(({ level, top, left, bottom, right }, index) => {
    const holds = top <= row && row < bottom && left <= column && column < right;
    if (!holds || !levels.includes(level)) return;
    if (best < 0 || weights[index] > weights[best]) best = index;
  });
  return best;
}

// Each step from one query and one key to one channel of the output. products: [channel, query, key,
// product], parts: weight x value of all keys. channel -1: where this key's value is largest.
function stepsAt(view, { weights, highest, total }, position, index, channel, factor) {
  const { queries, keys, values, channels, scale } = view;
  const row = (array, at, width) => array.subarray(at * width, (at + 1) * width);
  const key = row(keys, index, channels).map((one) => one / scale);
  const products = [...row(queries, position, channels)].map((one, at) => [at, one, key[at], one * key[at]]);
  const dot = products.reduce((sum, [, , , product]) => sum + product, 0);
  const score = factor * scale * dot, exponential = Math.exp(score - highest);
  const steps = { products, dot, score, highest, exponential, total, weight: weights[index] };
  if (!values) return steps;
  const numValues = values.length / weights.length, own = row(values, index, numValues);
  const largest = (best, one, at) => (Math.abs(one) > Math.abs(own[best]) ? at : best);
  if (channel < 0 || channel >= numValues) channel = own.reduce(largest, 0);
  const parts = weights.map((weight, at) => weight * values[at * numValues + channel]);
  const output = parts.reduce((sum, part) => sum + part, 0);
  return { ...steps, numValues, channel, value: own[channel], parts, output };
}

// Each anchor's weight, spread evenly over its cell: how much ends up at each position.
function spreadOver(view, weights) {
  if (!view.levels) return weights;
  const heat = new Float32Array(view.rows * view.columns);
  view.cells.forEach(({ top, left, bottom, right }, index) => {
    const each = weights[index] / ((bottom - top) * (right - left));
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) heat[row * view.columns + column] += each;
    }
  });
  return heat;
}

// In bits: 0 for a single choice, log2 S for none.
function entropyOf(weights) {
  let bits = 0;
  for (const weight of weights) if (weight > 0) bits -= weight * Math.log2(weight);
  return bits;
}

// [[level, weight], ...] of the levels that are on.
function levelWeights(view, weights, levels) {
  if (!view.levels) return [];
  const sums = new Map(view.levels.filter((l) => levels.includes(l)).map((l) => [l, 0]));
  view.cells.forEach(({ level }, index) => {
    if (sums.has(level)) sums.set(level, sums.get(level) + weights[index]);
  });
  return [...sums];
}

// The indices of the `count` largest weights, largest first; the earlier of two equal ones first.
function strongestOf(weights, count) {
  const best = [];
  for (let index = 0; index < weights.length; index++) {
    if (best.length === count && weights[index] <= weights[best[count - 1]]) continue;
    let place = best.length;
    while (place > 0 && weights[best[place - 1]] < weights[index]) place--;
    best.splice(place, 0, index);
    if (best.length > count) best.pop();
  }
  return best;
}

// For each class in an image, how much of each position it covers: [[name, Float32Array N], ...].
// The pixels of a position are a cell of a grid as large as the map.
function coverOf(view, image) {
  const covers = new Map();
  const { height, width, labels, names } = image;
  const across = cellEdges(width, view.columns);
  cellEdges(height, view.rows).forEach(([top, bottom], row) => {
    across.forEach(([left, right], column) => {
      const each = 1 / ((bottom - top) * (right - left));
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) {
          const label = labels[y * width + x];
          if (!covers.has(label)) covers.set(label, new Float32Array(view.rows * view.columns));
          covers.get(label)[row * view.columns + column] += each;
        }
      }
    });
  });
  return [...covers].map(([label, cover]) => [names[label] ?? "border", cover]);
}

// [[class, weight], ...], largest first; they sum to 1.
function classMasses(covers, heat) {
  const masses = covers.map(([name, cover]) => {
    let mass = 0;
    for (let at = 0; at < heat.length; at++) mass += heat[at] * cover[at];
    return [name, mass];
  });
  return masses.sort((one, other) => other[1] - one[1]);
}

// Which position stands for a pixel.
function positionOf(view, image, x, y) {
  const row = Math.floor((y * view.rows) / image.height);
  return row * view.columns + Math.floor((x * view.columns) / image.width);
}

const percent = (weight, digits = 0) => `${(100 * weight).toFixed(digits)}%`;

// What a pixel attends to, in words: the same sentence as annlib.course.plots.scenes.say_attention.
function sayAttention(found, x, y) {
  const bits = found.bits;
  const given = found.masses.slice(0, 3).filter(([, mass]) => mass >= 0.005);
  const to = given.map(([name, mass]) => `${percent(mass)} to ${name}`).join(", ");
  const label = found.label ? ` (${found.label})` : "";
  const start = `Row ${y}, column ${x}${label}${to && ` attends ${to}`}. `;
  return (
    `${start}Entropy ${bits.toFixed(1)} bits: as if it attended evenly to ` +
    `${(2 ** bits).toFixed(0)} of ${found.numKeys}.`
  );
}

// All that is shown for one state, in numbers.
function attentionAt(view, image, { x, y, levels, factor }) {
  view.cells ??= cellsOf(view);
  const found = weightsOf(view, positionOf(view, image, x, y), levels, factor);
  const { weights } = found;
  const heat = spreadOver(view, weights);
  let covers = [];
  if (image.labels) {
    image.covers ??= new Map(); // of one map size each
    const size = `${view.rows} x ${view.columns}`;
    if (!image.covers.has(size)) image.covers.set(size, coverOf(view, image));
    covers = image.covers.get(size);
  }
  const label = image.labels?.[y * image.width + x];
  const numKeys = view.levels
    ? view.cells.filter(({ level }) => levels.includes(level)).length
    : weights.length;
  return {
    ...found,
    heat,
    numKeys,
    bits: entropyOf(weights),
    masses: classMasses(covers, heat),
    byLevel: levelWeights(view, weights, levels),
    strongest: strongestOf(weights, 6).filter((index) => weights[index] > 0),
    label: image.labels ? (image.names[label] ?? "a border") : "",
  };
}
