"use strict";
// Recorded weights of one run over training: a heat map and, of modular addition, waves and stars.

const MOST_FREQUENCIES = 8;

// The weights of snapshot `s`, as rows of numbers.
function matrix(page, index, name, s) {
  const run = page.about.weights[index];
  const flat = page.arrays[`${name} ${index}`];
  const shape = run[name];
  const columns = shape.length > 1 ? shape[1] : 1;
  const scale = run[`${name}_largest`] / 32767;
  const start = s * shape[0] * columns;
  return Array.from({ length: shape[0] }, (_, row) =>
    Array.from({ length: columns }, (_, k) => scale * flat[start + row * columns + k]),
  );
}

// In the order of their frequencies and phases; of parity the largest at the last step first.
function neuronOrder(page, index) {
  const run = page.about.weights[index];
  if (run.groups) return run.groups.flatMap(([, members]) => members);
  const last = matrix(page, index, "w_in", run.steps.length - 1);
  const norm = last[0].map((_, k) => last.reduce((sum, row) => sum + row[k] ** 2, 0));
  return norm.map((_, k) => k).sort((a, b) => norm[b] - norm[a]);
}

// (cos, sin) of a column over the numbers 0, ..., P - 1 at a frequency, in the orthonormal basis.
function coefficients(column, frequency) {
  const size = column.length;
  let [cos, sin] = [0, 0];
  column.forEach((value, p) => {
    cos += value * Math.cos((2 * Math.PI * frequency * p) / size);
    sin += value * Math.sin((2 * Math.PI * frequency * p) / size);
  });
  return [cos * Math.sqrt(2 / size), sin * Math.sqrt(2 / size)];
}

// The scale of a picture is that of the last step: the initial weights may be larger.
function largest(rows) {
  return 1.1 * rows.reduce((most, row) => row.reduce((high, value) => Math.max(high, Math.abs(value)), most), 1e-9);
}

function drawOpened(page, heat, waves) {
  const { state, about } = page;
  const run = about.weights[state.opened];
  const w_in = matrix(page, state.opened, "w_in", state.snapshot);
  const order = neuronOrder(page, state.opened);
  const ink = { color: page.colour("--ink") };
  const clear = { paper_bgcolor: "transparent", plot_bgcolor: "transparent", font: ink, dragmode: false };
  const end = largest(matrix(page, state.opened, "w_in", run.steps.length - 1));
  const rowName = (row) => {
    if (run.modulus) return run.w_in[0] > run.modulus ? `${row < run.modulus ? "a" : "b"} = ${row % run.modulus}` : `input ${row}`;
    return row < run.n_parity_bits ? `signal ${row}` : row === run.w_in[0] - 1 ? "bias" : `distractor ${row}`;
  };
  Plotly.react(
    heat,
    [{
      type: "heatmap", z: w_in.map((row) => order.map((k) => row[k])), y: w_in.map((_, row) => rowName(row)),
      x: order.map((k) => `neuron ${k}`), zmin: -end, zmax: end, colorscale: "RdBu", // to plotly red is high
      hovertemplate: "%{y} · %{x}: %{z:.3f}<extra></extra>", colorbar: { thickness: 12 },
    }],
    {
      ...clear, height: 360, margin: { l: 90, r: 10, t: 26, b: 24 },
      title: { text: "input weights", x: 0, xref: "paper", font: { size: 13 } },
      xaxis: { showticklabels: false, fixedrange: true, title: { text: "neurons", font: { size: 12 }, standoff: 4 } },
      yaxis: { autorange: "reversed", fixedrange: true, nticks: 12 },
    },
    { displayModeBar: false, responsive: true },
  );
  if (run.groups) drawWaves(page, waves, run, w_in, end, clear);
}

function drawWaves(page, div, run, w_in, high, clear) {
  const groups = run.groups.filter(([frequency]) => frequency > 0);
  groups.sort((a, b) => b[1].length - a[1].length);
  const room = Math.max(1, Math.min(MOST_FREQUENCIES, Math.floor((div.clientWidth || 900) / 150)));
  const shown = groups.slice(0, room).sort((a, b) => a[0] - b[0]);
  const without = run.groups.filter(([frequency]) => frequency === 0).reduce((count, [, members]) => count + members.length, 0);
  document.getElementById("waves_left").textContent =
    (groups.length > room ? ` Of ${groups.length} frequencies the ${room} with most neurons are drawn.` : "") +
    (without ? ` ${plural(without, "neuron")} of no frequency: none holds more of them than it would in noise.` : "");
  const w_out = matrix(page, page.state.opened, "w_out", page.state.snapshot);
  const column = (k, from) => w_in.slice(from, from + run.modulus).map((row) => row[k]);
  const inputs = run.w_in[0] > run.modulus ? [0, run.modulus] : [0];
  const colours = [page.colour("--accent"), "#FF6D00"];
  const layout = { ...clear, height: 470, margin: { l: 44, r: 10, t: 26, b: 20 }, showlegend: false, annotations: [] };
  const data = [];
  const last = matrix(page, page.state.opened, "w_out", run.steps.length - 1);
  // A wave of height h has coefficients of size h sqrt(P / 2).
  const star = [high, largest(last)].map((height) => 1.1 * height * Math.sqrt(run.modulus / 2));
  shown.forEach(([frequency, members], i) => {
    const domain = [(i + 0.06) / shown.length, (i + 0.94) / shown.length];
    const title = `frequency ${frequency} · ${plural(members.length, "neuron")}`;
    layout.annotations.push({ text: title, x: domain[0], y: 1.05, xref: "paper", yref: "paper", xanchor: "left", showarrow: false, font: { size: 12 } });
    [[0.7, 1], [0.36, 0.64], [0.0, 0.28]].forEach((range, row) => {
      const id = String(3 * i + row + 1).replace(/^1$/, "");
      const bare = { showgrid: false, fixedrange: true, zerolinecolor: page.colour("--rule") };
      const end = row === 0 ? high : star[row - 1];
      layout[`xaxis${id}`] = { ...bare, domain, anchor: `y${id}`, showticklabels: row === 0, ...(row ? { range: [-end, end] } : { nticks: 4, zeroline: false }) };
      layout[`yaxis${id}`] = {
        ...bare, domain: range, anchor: `x${id}`, range: [-end, end], showticklabels: i === 0 && row === 0,
        ...(row ? { scaleanchor: `x${id}` } : {}),
        ...(i ? {} : { title: { text: ["weights", "in: cos, sin", "out: cos, sin"][row], font: { size: 11 }, standoff: 2 } }),
      };
      const axes = { xaxis: `x${id}`, yaxis: `y${id}`, type: "scatter", hoverinfo: "skip" };
      if (row === 0)
        inputs.forEach((from, a) =>
          members.forEach((k) => data.push({ ...axes, mode: "lines", y: column(k, from), line: { width: 1, color: colours[a] } })),
        );
      else {
        const sets = row === 1 ? inputs.map((from) => members.map((k) => column(k, from))) : [members.map((k) => w_out[k])];
        sets.forEach((columns, a) => {
          const points = columns.map((values) => coefficients(values, frequency));
          points.push(points[0]);
          data.push({
            ...axes, mode: "lines+markers", x: points.map(([cos]) => cos), y: points.map(([, sin]) => sin),
            line: { width: 0.8, color: page.colour("--pale") }, marker: { size: 6, color: colours[a] },
          });
        });
      }
    });
  });
  Plotly.react(div, data, layout, { displayModeBar: false, responsive: true });
}
