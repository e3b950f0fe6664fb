"use strict";
// The phase diagram: which runs stand in which cell, and how plotly draws them.

const MOST_DOTS = 4000; // of more runs a mark is a cell
const MOST_SLOTS = 150; // dots of a cell that can be told apart
const LARGEST = 40; // pixels of a mark

// The runs of each cell that pass the filters, panel by panel and row by row; and the cell of each run.
function arrange(page) {
  const { about, arrays, state } = page;
  const [x, y, panel] = ["x", "y", "panel"].map((key) => page.axis(state[key]) ?? { name: "", values: [""], ticks: [[], []] });
  const [nx, ny, panels] = [x, y, panel].map((axis) => axis.values.length);
  const [placeX, placeY, placeP] = [x, y, panel].map(({ name }) => arrays[`axis ${name}`]);
  const filters = page.filters().map(([name, place]) => filterOf(page, name, place));
  const cells = Array.from({ length: panels * nx * ny }, () => []);
  const cellOf = Int32Array.from({ length: about.runs }, (_, i) => {
    const cell = ((placeP?.[i] ?? 0) * ny + (placeY?.[i] ?? 0)) * nx + (placeX?.[i] ?? 0);
    if (filters.every((passes) => passes(i))) cells[cell].push(i);
    return cell;
  });
  const most = cells.reduce((count, runs) => Math.max(count, runs.length), 1);
  const shown = cells.reduce((count, runs) => count + runs.length, 0);
  const fine = Math.max(nx, ny) > about.most.cells;
  const dots = !fine && shown <= MOST_DOTS && most <= MOST_SLOTS && !state.colour.startsWith("share ");
  return { x, y, panel, nx, ny, panels, cells, cellOf, most, shown, fine, dots };
}

// Whether a run passes a filter: one that the hyperparameter has no effect on is at any of its values.
function filterOf({ arrays }, name, place) {
  const [places, anywhere] = [arrays[`axis ${name}`], arrays[`anywhere ${name}`]];
  return (i) => places[i] === place || Boolean(anywhere?.[i]);
}

// What colours the runs of a cell or dot: the share of a phase, or the median of a number; null for their phase.
function measure({ about, arrays, phases, state }) {
  if (state.colour === "phase") return null;
  if (state.colour in arrays) {
    return (runs) => {
      const sorted = runs.map((i) => arrays[state.colour][i]).filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
      return sorted.length ? sorted[(sorted.length - 1) >> 1] : null;
    };
  }
  const code = about.phases.findIndex(({ name }) => state.colour === `share ${name}`);
  return (runs) => runs.filter((i) => phases[i] === code).length / runs.length;
}

// The most common phase of some runs, of equals the one that is tested first.
function mostCommon(page, runs) {
  const counts = page.counts(runs);
  const most = Math.max(...counts);
  return page.about.ties.find((code) => counts[code] === most);
}

// The colour and the outline of a phase.
function colours({ about, state }, code) {
  const phase = about.phases[code];
  return state.safe ? [phase.colours[1][1], colour("--ink")] : [phase.colours[0][1], phase.outline];
}

// The marks of one panel: a run each, in rows within its cell, or a cell each. `across` and `up`: how many a cell has.
function marks(page, panel, across, up, size) {
  const { cells, nx, ny, dots } = page.cells;
  let found = [];
  cells.slice(panel * nx * ny, (panel + 1) * nx * ny).forEach((runs, cell) => {
    const [x, y] = [cell % nx, Math.floor(cell / nx)];
    const inside = (place, count) => 0.9 * ((place + 0.5) / count - 0.5);
    if (!dots && runs.length) found.push({ x, y, runs });
    for (const [k, run] of dots ? runs.entries() : [])
      found.push({ x: x + inside(k % across, across), y: y - inside(Math.floor(k / across), up), runs: [run] });
  });
  const marker = { size, line: { width: size > 4 ? 1 : 0 } };
  const value = measure(page);
  if (value) {
    found = found.map((mark) => ({ ...mark, value: value(mark.runs) })).filter((mark) => mark.value !== null);
    Object.assign(marker, { color: found.map((mark) => mark.value), coloraxis: "coloraxis", symbol: dots ? "circle" : "square" });
  } else {
    const codes = found.map(({ runs }) => mostCommon(page, runs));
    [marker.color, marker.line.color] = [0, 1].map((k) => codes.map((code) => colours(page, code)[k]));
    marker.symbol = codes.map((code) => page.about.phases[code].shape);
  }
  const [x, y] = ["x", "y"].map((key) => found.map((mark) => mark[key]));
  return { type: "scatter", mode: "markers", x, y, marker, hoverinfo: "skip" };
}

// The pixels of one panel; by phases a whole number is a phase, and what is beyond it its shade.
function pixels(page, panel) {
  const { about, arrays, state } = page;
  const { cells, nx, ny } = page.cells;
  const shade = (runs) => runs.reduce((sum, i) => sum + arrays.shade[i], 0) / runs.length / 255;
  const found = measure(page) ?? ((runs) => mostCommon(page, runs) + 0.001 + 0.998 * shade(runs));
  const value = (runs) => (runs.length ? found(runs) : null);
  const z = Array.from({ length: ny }, (_, y) => {
    const start = (panel * ny + y) * nx;
    return cells.slice(start, start + nx).map(value);
  });
  if (state.colour !== "phase") return { z, coloraxis: "coloraxis" };
  const count = about.phases.length;
  const colorscale = about.phases.flatMap(({ colours }, code) =>
    colours[Number(Boolean(state.safe))].map((one, k) => [(code + k / 2) / count, one]),
  );
  return { z, zmin: 0, zmax: count, colorscale, showscale: false };
}

function drawDiagram(page) {
  const { x, y, panel, nx, ny, panels, most, fine, dots } = page.cells;
  const width = byId("diagram").clientWidth;
  const longest = Math.max(...panel.values.map((value) => `${panel.name} ${words(value)}`.length));
  const least = Math.max(Math.min(300, 30 * nx), panel.name ? 8 * longest : 0); // a panel is as wide as its heading
  const columns = Math.min(panels, Math.max(1, Math.floor(width / least)));
  const rows = Math.ceil(panels / columns);
  page.cells.columns = columns;
  // Of a panel, about: cells are square where there is room, and as wide as there is.
  const wide = (width - 70) / columns - 20;
  const high = Math.max(40 * Math.min(ny, 3), Math.min((wide * ny) / nx, fine ? 700 : 140 * ny, fine ? 700 : 460));
  const across = dots ? Math.min(most, Math.max(1, Math.round(Math.sqrt((most * wide * ny) / (high * nx))))) : 1;
  const up = dots ? Math.ceil(most / across) : 1;
  const size = Math.min(LARGEST, (0.7 * wide) / nx / across, (0.7 * high) / ny / up);
  const axis = ({ name, values, ticks }, room, first) => {
    const every = Math.ceil((14 * values.length) / room);
    const few = values.map((_, place) => place).filter((place) => place % every === 0);
    const [tickvals, texts] = ticks[0].length ? ticks : [few, few.map((place) => words(values[place]))];
    const [range, title] = [[-0.5, values.length - 0.5], { text: first ? plain(name) : "", standoff: 8 }];
    const plainly = { showgrid: false, zeroline: false, automargin: true, ticks: "" };
    return { ...plainly, range, title, tickvals, ticktext: texts.map(plain) };
  };
  const layout = {
    ...bare(), height: rows * (high + 34) + 50, margin: { l: 10, r: 10, t: 24, b: 10 }, showlegend: false, annotations: [],
    grid: { rows, columns, pattern: "coupled", xgap: 20 / wide, ygap: 34 / high },
    coloraxis: { colorscale: "Viridis", colorbar: { thickness: 12 } },
    plot_bgcolor: colour(fine ? "--rule" : "--back"), // where no run is: a phase may be white
    shapes: frames(page),
  };
  if (page.state.colour.startsWith("share ")) Object.assign(layout.coloraxis, { cmin: 0, cmax: 1 });
  for (let k = 0; k < columns; k++) layout[`xaxis${k + 1}`] = axis(x, wide, k === 0);
  for (let k = 0; k < rows; k++) layout[`yaxis${k + 1}`] = axis(y, high, k === 0);
  const tile = { z: Array.from({ length: ny }, () => new Array(nx).fill(0)), xgap: 2, ygap: 2, showscale: false };
  tile.colorscale = [[0, colour("--tile")], [1, colour("--tile")]];
  const data = panel.values.flatMap((value, p) => {
    const [xaxis, yaxis] = axesOf(page, p);
    if (panel.name) layout.annotations.push(heading(`${panel.name} ${words(value)}`, xaxis, yaxis));
    const image = { type: "heatmap", ...(fine ? pixels(page, p) : tile), hoverinfo: "skip" };
    return (fine ? [image] : [image, marks(page, p, across, up, size)]).map((trace) => ({ ...trace, xaxis, yaxis }));
  });
  // Static: plotly would need a pointer that hovers before it clicks, which a finger does not.
  return Plotly.react("diagram", data, layout, { staticPlot: true, responsive: true });
}

// The names of the axes of a panel: those of a column are one, and those of a row.
function axesOf({ cells: { columns } }, panel) {
  return [`x${(panel % columns) + 1}`, `y${Math.floor(panel / columns) + 1}`].map((name) => name.replace(/^(.)1$/, "$1"));
}

// The cell under a pointer; -1 beside all.
function cellAt(page, event) {
  const { nx, ny, panels } = page.cells;
  const box = byId("diagram").getBoundingClientRect();
  const drawn = byId("diagram")._fullLayout;
  for (let panel = 0; panel < panels; panel++) {
    const [across, up] = axesOf(page, panel).map((name) => drawn[name.replace(/^./, "$&axis")]);
    const x = Math.round(across.p2l(event.clientX - box.x - across._offset));
    const y = Math.round(up.p2l(event.clientY - box.y - up._offset));
    if (x >= 0 && x < nx && y >= 0 && y < ny) return (panel * ny + y) * nx + x;
  }
  return -1;
}

// Frames around the cell that is pointed at and the one that is kept.
function frames(page) {
  const { nx, ny } = page.cells;
  const frame = (cell, line) => {
    const [x, y, [xref, yref]] = [cell % nx, Math.floor(cell / nx) % ny, axesOf(page, Math.floor(cell / nx / ny))];
    return { type: "rect", xref, yref, x0: x - 0.48, x1: x + 0.48, y0: y - 0.48, y1: y + 0.48, line };
  };
  const pointed = frame(page.at, { color: colour("--pale"), width: 1.5 });
  const kept = frame(page.kept(), { color: colour("--accent"), width: 3 });
  return [...(page.at < 0 ? [] : [pointed]), ...(page.kept() < 0 ? [] : [kept])];
}
