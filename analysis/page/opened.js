"use strict";
// Recorded weights of one run over training: a heat map and, of modular addition, waves and stars.

const MOST_FREQUENCIES = 8;

// One snapshot of an array, as so many rows of numbers.
function matrix(page, run, name, snapshot, count) {
  const flat = page.arrays[`${name} ${run.run}`];
  const [size, columns] = [flat.length / run.steps.length, flat.length / run.steps.length / count];
  return Array.from({ length: count }, (_, row) =>
    Array.from({ length: columns }, (_, k) => run[name].unit * flat[snapshot * size + row * columns + k]),
  );
}

// (cos, sin) of some numbers at a frequency, in the orthonormal basis.
function coefficients(values, frequency) {
  const parts = [Math.cos, Math.sin].map((wave) =>
    values.reduce((sum, value, p) => sum + value * wave((2 * Math.PI * frequency * p) / values.length), 0),
  );
  return parts.map((sum) => sum * Math.sqrt(2 / values.length));
}

function drawOpened(page) {
  const run = page.about.weights.find(({ run }) => run === byId("run").value);
  if (!run) return;
  byId("snapshot").max = String(run.steps.length - 1);
  const snapshot = Number(byId("snapshot").value);
  byId("opened_step").textContent = `step ${number(run.steps[snapshot])}`;
  const w_in = matrix(page, run, "w_in", snapshot, run.inputs.length);
  const end = 1.1 * run.w_in.end; // the scale is that of the last step: the initial weights may be larger
  const heat = {
    type: "heatmap", z: w_in, y: run.inputs, x: run.neurons.map((k) => `neuron ${k}`), zmin: -end, zmax: end,
    colorscale: "RdBu", hovertemplate: "%{y} · %{x}: %{z:.3f}<extra></extra>", colorbar: { thickness: 12 },
  };
  const title = { text: "input weights", x: 0, xref: "paper", font: { size: 13 } };
  const layout = {
    ...bare(), title, height: 360, margin: { l: 90, r: 10, t: 26, b: 24 },
    xaxis: { showticklabels: false, fixedrange: true, title: { text: "neurons", font: { size: 12 }, standoff: 4 } },
    yaxis: { autorange: "reversed", fixedrange: true, nticks: 12 },
  };
  Plotly.react("heat", [heat], layout, { displayModeBar: false, responsive: true });
  byId("waves").hidden = byId("waves_hint").hidden = !run.modulus;
  page.remember();
  if (run.modulus) drawWaves(run, w_in, matrix(page, run, "w_out", snapshot, run.neurons.length), end);
}

// Each column a frequency: its neurons' waves, and their cosines and sines in the input and the output weights.
function drawWaves(run, w_in, w_out, end) {
  let start = 0;
  const groups = run.groups.map(([frequency, count]) => {
    start += count;
    return { frequency, members: Array.from({ length: count }, (_, k) => start - count + k) };
  });
  const waves = groups.filter(({ frequency }) => frequency > 0).sort((a, b) => b.members.length - a.members.length);
  const without = groups.find(({ frequency }) => frequency === 0)?.members.length;
  const room = Math.max(1, Math.min(MOST_FREQUENCIES, Math.floor((byId("waves").clientWidth || 900) / 150)));
  const shown = waves.slice(0, room).sort((a, b) => a.frequency - b.frequency);
  byId("waves_left").textContent =
    (waves.length > room ? ` Of ${waves.length} frequencies the ${room} with most neurons are drawn.` : "") +
    (without ? ` ${plural(without, "neuron")} of no frequency: none holds more of them than it would in noise.` : "");
  const sides = run.inputs.length > run.modulus ? [0, run.modulus] : [0];
  const column = (k, from) => w_in.slice(from, from + run.modulus).map((row) => row[k]);
  const layout = { ...bare(), height: 470, margin: { l: 44, r: 10, t: 26, b: 20 }, showlegend: false, annotations: [] };
  layout.grid = { rows: 3, columns: Math.max(1, shown.length), pattern: "independent", xgap: 0.12, ygap: 0.12 };
  // A wave of height h has coefficients of size h sqrt(P / 2).
  const star = [end, 1.1 * run.w_out.end].map((height) => 1.1 * height * Math.sqrt(run.modulus / 2));
  const hues = [colour("--accent"), "#FF6D00"];
  const data = [];
  shown.forEach(({ frequency, members }, i) => {
    ["weights", "in: cos, sin", "out: cos, sin"].forEach((title, row) => {
      const id = row * shown.length + i + 1;
      const axis = { showgrid: false, fixedrange: true, zerolinecolor: colour("--rule") };
      const high = row ? star[row - 1] : end;
      const square = { ...axis, range: [-high, high], showticklabels: false };
      layout[`xaxis${id}`] = row ? square : { ...axis, nticks: 4, zeroline: false };
      layout[`yaxis${id}`] = row ? { ...square, scaleanchor: `x${id}` } : { ...square, showticklabels: i === 0 };
      if (i === 0) layout[`yaxis${id}`].title = { text: title, font: { size: 11 }, standoff: 2 };
      const on = { xaxis: `x${id}`, yaxis: `y${id}`, type: "scatter", hoverinfo: "skip" };
      if (!row) {
        layout.annotations.push(heading(`frequency ${frequency} · ${plural(members.length, "neuron")}`, on.xaxis, on.yaxis));
        sides.forEach((from, side) =>
          members.forEach((k) => data.push({ ...on, mode: "lines", y: column(k, from), line: { width: 1, color: hues[side] } })),
        );
        return;
      }
      const stars = row === 1 ? sides.map((from) => members.map((k) => column(k, from))) : [members.map((k) => w_out[k])];
      stars.forEach((each, side) => {
        const points = [...each, each[0]].map((values) => coefficients(values, frequency));
        const [x, y] = [0, 1].map((k) => points.map((point) => point[k]));
        const line = { width: 0.8, color: colour("--pale") };
        data.push({ ...on, mode: "lines+markers", x, y, line, marker: { size: 6, color: hues[side] } });
      });
    });
  });
  Plotly.react("waves", data, layout, { displayModeBar: false, responsive: true });
}
