"use strict";
// The curves of the runs of a cell.

const MOST_LINES = 40; // runs whose curves can be told apart

function drawCurves(page, runs) {
  const { about, arrays, phases, state } = page;
  const there = runs.filter((run) => arrays.curve_length[run]).slice(0, MOST_LINES);
  const lines = about.metrics[state.metric];
  const hues = lines.length > 1 ? ["--train", "--test"] : ["--accent"];
  const log = state.metric === "loss";
  const data = lines.flatMap(([metric, name], k) =>
    there.map((run, first) => {
      const part = [arrays.curve_start[run], arrays.curve_start[run] + arrays.curve_length[run]];
      const seen = (value) => (Number.isFinite(value) && !(log && value <= 0) ? value : null);
      return {
        type: "scatter", mode: "lines", name, legendgroup: name, showlegend: first === 0, meta: { run, metric },
        x: Array.from(arrays.curve_step.subarray(...part)),
        y: Array.from(arrays[`curve ${metric}`].subarray(...part), seen),
        line: { color: colour(hues[k]), width: there.length > 12 ? 1 : 1.5 },
        hovertemplate: `seed ${arrays.seed[run]} · ${about.phases[phases[run]].name} · ${name} %{y:.3g}<extra></extra>`,
      };
    }),
  );
  const axis = { gridcolor: colour("--rule"), linecolor: colour("--rule"), zeroline: false, fixedrange: true };
  const layout = {
    ...bare(), height: 330, margin: { l: 58, r: 12, t: 8, b: 38 }, hovermode: "closest", shapes: [],
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { ...axis, title: { text: "step", standoff: 6 }, rangemode: "tozero" },
    yaxis: { ...axis, type: log ? "log" : "linear", exponentformat: "power", nticks: 7 },
  };
  if (log) layout.yaxis.title = { text: about.loss_unit };
  if (state.metric === "accuracy") Object.assign(layout.yaxis, { range: [-0.02, 1.02], tickformat: ".0%" });
  if (log && state.definition === "pair") {
    const [y, line] = [Number(state.min_loss), { dash: "dot", width: 1, color: colour("--pale") }];
    layout.shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line });
  }
  Plotly.react("curves", data, layout, { displayModeBar: false, responsive: true });
  byId("sample").textContent = there.length < runs.length ? `curves of ${there.length} of ${plural(runs.length, "run")}` : "";
}
