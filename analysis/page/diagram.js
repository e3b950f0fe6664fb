"use strict";
// The phase diagram: which runs stand in which cell, and how plotly draws them; and the curves of a cell.

const MOST_VALUES = 64; // of x or y; of more a cell is a pixel
const MOST_PIXELS = 1024;
const MOST_TICKS = 6; // of an axis of pixels
const [LIGHTEST, DARKEST] = [0.75, 0.5]; // how far shades go to white, and to black: as in analysis/pixels.py
const MOST_PANELS = 30;
const MOST_DOTS = 4000; // of more runs a cell is one square
const MOST_SLOTS = 150; // dots of a cell that can be told apart
const MOST_LETTERS = 14; // of a value beside an axis
const MOST_LINES = 40; // runs whose curves can
const ROOM = {
  square: 0.88, "triangle-up": 0.84, x: 0.92, diamond: 0.84, cross: 0.92, star: 0.72, pentagon: 0.95, hexagon: 0.95,
  "triangle-down": 0.84, "triangle-left": 0.84, "triangle-right": 0.84,
}; // shapes that are larger than a circle of their size
const VIRIDIS = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"];

// Whether the task says which rows are right.
function withAccuracy(about) {
  return about.curves.metrics.includes("eval_accuracy");
}

// What may colour the diagram: key -> {title, counted: the phases whose share of a cell it is, if it is one}.
function colourings(about) {
  const plain = { phase: { title: "phase" }, min_eval_loss: { title: "least test loss" }, grok_delay: { title: "grok delay" } };
  if (!withAccuracy(about)) delete plain.grok_delay;
  if (about.computed)
    return { ...plain, ...Object.fromEntries(about.phases.map((name) => [`share ${name}`, { title: `share of ${name}`, counted: [name] }])) };
  return {
    ...plain,
    grok: { title: "share of seeds that grok", counted: ["grok"] },
    generalizes: { title: "share that generalize, at once or late", counted: ["grok", "generalize"] },
  };
}

// Whether a run passes a filter: one that the hyperparameter has no effect on is at any of its values.
function filterOf(arrays, name, place) {
  const [code, anywhere] = [arrays[`axis ${name}`], arrays[`anywhere ${name}`]];
  return (i) => code[i] === place || Boolean(anywhere && anywhere[i]);
}

// Where each run stands: its panel, x and y, those runs left out that the filters or the room leave out.
function arrange(page) {
  const { about, arrays, state } = page;
  const axis = (name) => about.axes.find((one) => one.name === name) || { name: "", values: [""] };
  const [x, y, panel] = [axis(state.x), axis(state.y), axis(state.panel)];
  const codes = (one) => arrays[`axis ${one.name}`] || null;
  const [codeX, codeY, codePanel] = [x, y, panel].map(codes);
  const nx = Math.min(x.values.length, MOST_PIXELS);
  const ny = Math.min(y.values.length, MOST_PIXELS);
  const fine = Math.max(nx, ny) > MOST_VALUES;
  const panels = Math.min(panel.values.length, MOST_PANELS);
  const filters = Object.entries(state.filters).map(([name, place]) => filterOf(arrays, name, place));
  const cells = Array.from({ length: panels * nx * ny }, () => []);
  let shown = 0;
  let beyond = 0;
  for (let i = 0; i < about.runs; i++) {
    if (!filters.every((passes) => passes(i))) continue;
    const [a, b, c] = [codeX ? codeX[i] : 0, codeY ? codeY[i] : 0, codePanel ? codePanel[i] : 0];
    if (a >= nx || b >= ny || c >= panels) beyond++;
    else {
      // As in the article the widest networks stand first.
      cells[(c * ny + b) * nx + (x.name === "hidden_size" ? nx - 1 - a : a)].push(i);
      shown++;
    }
  }
  const bySeed = (i, j) => arrays.seed[i] - arrays.seed[j];
  cells.forEach((runs) => runs.sort(bySeed));
  const most = cells.reduce((count, runs) => Math.max(count, runs.length), 1);
  const valuesX = x.values.slice(0, nx);
  if (x.name === "hidden_size") valuesX.reverse();
  const dots = !fine && shown <= MOST_DOTS && most <= MOST_SLOTS && !colourings(about)[state.colour].counted;
  return { x, y, panel, nx, ny, panels, valuesX, cells, most, shown, beyond, dots, fine };
}

function median(values) {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  return sorted.length ? sorted[(sorted.length - 1) >> 1] : NaN;
}

function viridis(share) {
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const part = (colour, k) => parseInt(colour.slice(1 + 2 * k, 3 + 2 * k), 16);
  const mix = (k) => {
    const [from, to] = [part(VIRIDIS[low], k), part(VIRIDIS[low + 1], k)];
    return Math.round(from + (place - low) * (to - from));
  };
  return `rgb(${mix(0)},${mix(1)},${mix(2)})`;
}

// The number that colours runs, and its range; null for phases. A share is that of the cell.
function measure(page) {
  const { about, arrays, state, phases } = page;
  const counted = colourings(about)[state.colour].counted?.map((name) => about.phases.indexOf(name));
  if (counted) {
    return {
      of: (runs) => runs.filter((i) => counted.includes(phases[i])).length / runs.length,
      ends: [0, 1],
      text: (value) => `${Math.round(100 * value)} %`,
    };
  }
  const one = {
    min_eval_loss: (i) => Math.log10(arrays.min_eval_loss[i]), // of 0 the least there is
    grok_delay: (i) => grokDelay(arrays, i),
  }[state.colour];
  if (!one) return null;
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < about.runs; i++) {
    const value = one(i);
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const text = (value) =>
    state.colour === "grok_delay" ? `${Math.round(value).toLocaleString("en")} steps` : (10 ** value).toExponential(1);
  return { of: (runs) => median(runs.map(one)), ends: low <= high ? [low, high] : [0, 1], text };
}

// Shapes as well as colours, of which two are one grey in print; a cell that fails is crossed out.
function shapeOf(page, phase) {
  const shape = page.about.shapes[phase];
  if (page.cells.dots) return shape;
  return { x: "square-x", cross: "square-cross" }[shape] ?? "square";
}

// The most common phase of some runs, of equals the one that is tested first.
function mostCommon(page, runs) {
  const { about, phases } = page;
  const counts = about.phases.map(() => 0);
  for (const i of runs) counts[phases[i]]++;
  const most = Math.max(...counts);
  return about.ties.find((phase) => counts[about.phases.indexOf(phase)] === most);
}

// What a dot (one run) or a square (the runs of a cell) looks like: [colour, outline, shape].
function look(page, runs, scale) {
  const { about, state } = page;
  if (scale) {
    const shape = page.cells.dots ? "circle" : "square";
    const value = scale.of(runs);
    const [low, high] = scale.ends;
    // Empty: there is no number. The outline shows dark colours on a dark page.
    const colour = Number.isNaN(value) ? "transparent" : viridis((value - low) / (high - low || 1));
    return [colour, page.colour("--pale"), shape];
  }
  const name = mostCommon(page, runs);
  if (state.safe) return [about.safe[name], page.colour("--ink"), shapeOf(page, name)];
  return [about.colours[name], about.outlines[name], shapeOf(page, name)];
}

// The marks of one panel, in the order in which they are drawn.
function marks(page, panel) {
  const { cells, nx, ny, most, dots } = page.cells;
  const side = Math.ceil(Math.sqrt(most));
  const found = [];
  for (let y = 0; y < ny; y++)
    for (let x = 0; x < nx; x++) {
      const runs = cells[(panel * ny + y) * nx + x];
      if (!dots && runs.length) found.push({ x, y, runs });
      if (dots)
        runs.forEach((run, k) => {
          const at = (place) => 0.86 * ((place + 0.5) / side - 0.5);
          found.push({ x: x + at(k % side), y: y - at(Math.floor(k / side)), runs: [run] });
        });
    }
  return found;
}

function looks(page, panel) {
  const scale = measure(page);
  const drawn = marks(page, panel).map((mark) => look(page, mark.runs, scale));
  const part = (k) => drawn.map((one) => one[k]);
  const sizes = part(2).map((shape) => page.markSize * (page.cells.dots ? ROOM[shape] ?? 1 : 1));
  return { "marker.color": part(0), "marker.line.color": part(1), "marker.symbol": part(2), "marker.size": sizes };
}

// The pixels of one panel: a heat map in which a whole number is a phase and what is beyond it its shade.
function pixels(page, panel) {
  const { about, arrays, state } = page;
  const { cells, nx, ny } = page.cells;
  const scale = measure(page);
  const shade = (runs) => (arrays.shade ? runs.reduce((sum, i) => sum + arrays.shade[i], 0) / runs.length / 255 : 0.5);
  const value = (runs) => {
    if (!runs.length) return null;
    if (!scale) return about.phases.indexOf(mostCommon(page, runs)) + 0.001 + 0.998 * shade(runs);
    const found = scale.of(runs); // log10 of 0 is the least there is
    return Number.isNaN(found) ? null : Math.min(Math.max(found, scale.ends[0]), scale.ends[1]);
  };
  const z = Array.from({ length: ny }, (_, y) => Array.from({ length: nx }, (_, x) => value(cells[(panel * ny + y) * nx + x])));
  if (scale) return { z, zmin: scale.ends[0], zmax: scale.ends[1], colorscale: VIRIDIS.map((colour, k) => [k / (VIRIDIS.length - 1), colour]) };
  const count = about.phases.length;
  const mixed = (colour, to, share) =>
    `rgb(${[1, 3, 5].map((k) => Math.round(parseInt(colour.slice(k, k + 2), 16) * (1 - share) + to * share)).join(",")})`;
  const colorscale = about.phases.flatMap((phase, k) => {
    const colour = (state.safe ? about.safe : about.colours)[phase];
    return [[k / count, mixed(colour, 255, LIGHTEST)], [(k + 0.5) / count, colour], [(k + 1) / count, mixed(colour, 0, DARKEST)]];
  });
  return { z, zmin: 0, zmax: count, colorscale };
}

function drawDiagram(page, div) {
  const { cells, state } = page;
  const { x, y, panel, nx, ny, panels, valuesX, most, dots, fine } = cells;
  const width = Math.max(div.clientWidth, 260);
  const short = (value) => {
    const text = words(value);
    return text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS - 1)}…` : text;
  };
  // Of very many values some round ones, wherever they are.
  const ticksOf = (axis, count, values) => {
    if (fine && axis.ticks && axis.values.length <= count) return axis.ticks;
    const step = fine ? Math.max(1, Math.ceil(values.length / MOST_TICKS)) : 1;
    const places = values.map((_, i) => i).filter((i) => i % step === 0);
    return [places, places.map((i) => short(values[i]))];
  };
  const [placesY, labels] = ticksOf(y, ny, y.values.slice(0, ny));
  let [placesX, across] = ticksOf(x, nx, valuesX);
  const round = fine && x.ticks && x.values.length <= nx;
  if (round && x.name === "hidden_size") placesX = placesX.map((place) => nx - 1 - place);
  const letters = Math.max(...across.map((text) => text.length));
  const left = 30 + 7.2 * Math.max(...labels.map((text) => text.length));
  const [gap, top, head] = [18, 6, 24];
  const room = (columns) => (width - left - 10 - gap * (columns - 1)) / (columns * nx);
  const fits = (columns) => (fine ? room(columns) : Math.floor(room(columns)));
  let columns = panels;
  while (columns > 1 && fits(columns) < Math.min(26, 300 / nx)) columns--;
  // A few cells may be large, for the dots of many seeds.
  const size = fine ? Math.min(fits(columns), 600 / ny) : Math.max(2, Math.min(fits(columns), nx * ny * panels <= 6 ? 240 : 58, Math.floor(460 / Math.min(ny, 12))));
  const upright = !fine && 7.2 * letters > 1.1 * size && letters > 3;
  const below = 62 + (upright ? 7.2 * letters - 14 : 0);
  const every = fine ? 1 : Math.max(1, Math.ceil(upright ? 13 / size : (7 * letters) / size / 1.6));
  const rows = Math.ceil(panels / columns);
  const high = ny * size;
  const wide = nx * size;
  const height = top + rows * (head + high) + (rows - 1) * 30 + below;
  const ink = page.colour("--ink");
  const layout = {
    width, height, margin: { l: 0, r: 0, t: 0, b: 0 }, showlegend: false, hovermode: "closest", dragmode: false,
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: { color: ink, size: 12 }, annotations: [], shapes: [],
  };
  const side = Math.ceil(Math.sqrt(most));
  page.markSize = dots ? Math.max(2, (0.86 * size) / side - 1.5) : Math.max(2, size - 2);
  const data = [];
  for (let p = 0; p < panels; p++) {
    const [column, row] = [p % columns, Math.floor(p / columns)];
    const x0 = left + column * (wide + gap);
    const y0 = top + head + row * (head + high + 30);
    const id = p ? String(p + 1) : "";
    const bottom = p + columns >= panels;
    layout[`xaxis${id}`] = {
      domain: [x0 / width, (x0 + wide) / width], anchor: `y${id}`, range: [-0.5, nx - 0.5], fixedrange: true, zeroline: false,
      showgrid: false, tickvals: placesX, ticktext: across.map((text, i) => (i % every ? "" : plain(text))),
      showticklabels: bottom, tickangle: upright ? -90 : 0, ticks: "",
    };
    layout[`yaxis${id}`] = {
      domain: [1 - (y0 + high) / height, 1 - y0 / height], anchor: `x${id}`, range: [-0.5, ny - 0.5], fixedrange: true,
      zeroline: false, showgrid: false, tickvals: placesY, ticktext: labels.map(plain),
      showticklabels: column === 0, ticks: "",
    };
    const name = panel.name ? `${panel.name} ${words(panel.values[p])}` : "";
    const fraction = (px, of) => px / of;
    const write = (text, px, py, more) =>
      layout.annotations.push({
        text: plain(text), x: fraction(px, width), y: 1 - fraction(py, height), xref: "paper", yref: "paper", showarrow: false,
        xanchor: "left", yanchor: "bottom", ...more,
      });
    if (name) write(name, x0, y0 - 2, { font: { size: 13 } });
    if (bottom && x.name && column === 0) write(x.name, x0, y0 + high + below - 22, { font: { size: 12 } });
    if (p === 0 && y.name) write(y.name, 12, y0 + high / 2, { textangle: -90, xanchor: "center", yanchor: "middle" });
    if (fine) {
      layout.plot_bgcolor = page.colour("--rule"); // where no run is: a phase may be white
      data.push({ type: "heatmap", ...pixels(page, p), xaxis: `x${id}`, yaxis: `y${id}`, showscale: false, hoverinfo: "none" });
      continue;
    }
    // The tiles.
    data.push({
      type: "heatmap", z: Array.from({ length: ny }, () => new Array(nx).fill(0)), xaxis: `x${id}`, yaxis: `y${id}`, xgap: 2,
      ygap: 2, showscale: false, colorscale: [[0, page.colour("--tile")], [1, page.colour("--tile")]], hoverinfo: "none",
    });
    const drawn = marks(page, p);
    const styled = looks(page, p);
    data.push({
      type: "scatter", mode: "markers", x: drawn.map((mark) => mark.x), y: drawn.map((mark) => mark.y), xaxis: `x${id}`,
      yaxis: `y${id}`, hoverinfo: "skip",
      marker: {
        size: styled["marker.size"], opacity: 1, color: styled["marker.color"], symbol: styled["marker.symbol"],
        line: { width: (dots ? size / side > 7 : size > 4) ? 1 : 0, color: styled["marker.line.color"] },
      },
    });
  }
  page.geometry = { left, top: top + head, right: wide + gap, down: head + high + 30, columns, size };
  page.dotTraces = Array.from({ length: panels }, (_, p) => 2 * p + 1);
  layout.shapes = cursors(page);
  // Static: plotly would need a pointer that hovers before it clicks, which a finger does not.
  return Plotly.react(div, data, layout, { staticPlot: true });
}

// The cell at a place of the diagram, in pixels from its corner; null beside all.
function cellAt(page, px, py) {
  const { left, top, right, down, columns, size } = page.geometry;
  const { nx, ny, panels } = page.cells;
  const [column, row] = [Math.floor((px - left) / right), Math.floor((py - top) / down)];
  const x = Math.floor((px - left - column * right) / size);
  const y = ny - 1 - Math.floor((py - top - row * down) / size);
  const panel = row * columns + column;
  const inside = column >= 0 && column < columns && row >= 0 && panel < panels && x < nx && y >= 0 && y < ny;
  return inside ? { x, y, panel } : null;
}

// New colours for what is drawn already.
function recolour(page, div) {
  if (page.cells.fine) return drawDiagram(page, div);
  const every = page.dotTraces.map((_, panel) => looks(page, panel));
  const update = Object.fromEntries(Object.keys(every[0]).map((key) => [key, every.map((one) => one[key])]));
  return Plotly.restyle(div, update, page.dotTraces);
}

// Frames around the cell that is pointed at and the one that is kept.
function cursors(page) {
  const frame = (cell, line) => {
    const id = cell.panel ? String(cell.panel + 1) : "";
    return {
      type: "rect", xref: `x${id}`, yref: `y${id}`, x0: cell.x - 0.48, x1: cell.x + 0.48, y0: cell.y - 0.48, y1: cell.y + 0.48, line,
    };
  };
  const found = [];
  if (page.at) found.push(frame(page.at, { color: page.colour("--pale"), width: 1.5 }));
  if (page.state.pinned) found.push(frame(page.state.pinned, { color: page.colour("--accent"), width: 3 }));
  return found;
}

function runsAt(page, cell) {
  const { nx, ny, panels, cells } = page.cells;
  if (!cell || cell.x >= nx || cell.y >= ny || cell.panel >= panels) return [];
  return cells[(cell.panel * ny + cell.y) * nx + cell.x];
}

function cellName(page, cell) {
  const { x, y, panel, valuesX } = page.cells;
  return [
    [x.name, valuesX[cell.x]],
    [y.name, y.values[cell.y]],
    [panel.name, panel.values[cell.panel]],
  ]
    .filter(([name]) => name)
    .map(([name, value]) => `${name} ${words(value)}`)
    .join(" · ");
}

// The curves of the runs of a cell; how many runs are drawn.
function drawCurves(page, div, runs) {
  const { about, arrays, state } = page;
  const there = runs.filter((run) => page.places.has(run)).slice(0, MOST_LINES);
  const [train, test] = [page.colour("--train"), page.colour("--test")];
  const own = [[state.metric, state.metric === "weight_norm" ? "norm of all weights" : state.metric, page.colour("--accent")]];
  const sided = {
    loss: [["train_loss", "train", train], ["eval_loss", "test", test]],
    accuracy: [["train_accuracy", "train", train], ["eval_accuracy", "test", test]],
  };
  const lines = Object.hasOwn(sided, state.metric) ? sided[state.metric] : own;
  const log = state.metric === "loss";
  const data = lines.flatMap(([metric, name, colour]) =>
    there.map((run, k) => {
      const [from, to] = page.places.get(run);
      const values = Array.from(arrays[`curve ${metric}`].subarray(from, to), (value) =>
        Number.isFinite(value) && !(log && value <= 0) ? value : null,
      );
      return {
        type: "scatter", mode: "lines", x: Array.from(arrays.curve_step.subarray(from, to)), y: values, name,
        legendgroup: name, showlegend: k === 0, line: { color: colour, width: there.length > 12 ? 1 : 1.5 },
        meta: { run, metric },
        hovertemplate: `seed ${arrays.seed[run]} · ${about.phases[page.phases[run]]} · ${name} %{y:.3g}<extra></extra>`,
      };
    }),
  );
  const drawn = data.flatMap((line) => line.y).filter((value) => value !== null);
  const decades = log ? Math.log10(drawn.reduce((a, b) => Math.max(a, b), 0) / drawn.reduce((a, b) => Math.min(a, b), Infinity)) : 0;
  const quiet = { gridcolor: page.colour("--rule"), zeroline: false, linecolor: page.colour("--rule") };
  const layout = {
    height: 330, margin: { l: 58, r: 12, t: 8, b: 38 }, hovermode: "closest", dragmode: false, font: { color: page.colour("--ink") },
    paper_bgcolor: "transparent", plot_bgcolor: "transparent", legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { ...quiet, title: { text: "step", standoff: 6 }, fixedrange: true, rangemode: "tozero" },
    yaxis: {
      ...quiet, type: log ? "log" : "linear", exponentformat: "power", fixedrange: true,
      ...(decades > 5 ? { dtick: 2 } : {}),
      ...(log && about.loss_unit ? { title: { text: about.loss_unit } } : {}),
      ...(state.metric === "accuracy" ? { range: [-0.02, 1.02], tickformat: ".0%" } : {}),
      ...(state.metric === "weight_norm" ? { rangemode: "tozero" } : {}),
    },
    shapes:
      log && state.definition === "pair"
        ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: state.min_loss, y1: state.min_loss, line: { dash: "dot", width: 1, color: page.colour("--pale") } }]
        : [],
  };
  Plotly.react(div, data, layout, { displayModeBar: false, responsive: true });
  return there.length;
}
