"use strict";
// The table of runs: those of the filters, of one phase, of the kept cell; and pandas code that gives the same rows.

const ROWS = 200; // drawn; the code gives all

// What of a run is in a column, as analysis has it.
function valueOf(page, name, i) {
  const { about, arrays, phases } = page;
  if (name === "run_id") return runId(arrays, i);
  if (name === "phase") return about.phases[phases[i]].name;
  const values = page.axis(name)?.values;
  return values ? values[arrays[`axis ${name}`][i]] : arrays[name][i];
}

// The conditions on rows: whether a run passes, and pandas for the same.
function conditions(page) {
  const { about, arrays, cells, phases, state } = page;
  const json = JSON.stringify;
  const found = page.filters().map(([name, place]) => {
    const value = json(page.axis(name).values[place]);
    const selected = arrays[`anywhere ${name}`] && `table.index.isin(analysis.select(table, ${name}=${value}).index)`;
    return { test: filterOf(page, name, place), code: selected || equals(name, value) };
  });
  const kept = page.kept();
  if (kept >= 0) {
    const run = page.run.get(state.kept);
    const used = [cells.x, cells.y, cells.panel].filter(({ name }) => name);
    const code = used.map(({ name }) => equals(name, json(valueOf(page, name, run)))).join(" & ");
    if (code) found.push({ test: (i) => cells.cellOf[i] === kept, code });
  }
  if (state.rows) {
    const code = about.phases.findIndex(({ name }) => name === state.rows);
    found.push({ test: (i) => phases[i] === code, code: equals("phase", json(state.rows)) });
  }
  return found;
}

function equals(name, value) {
  const column = `table[${JSON.stringify(name)}]`;
  return value === "null" ? `${column}.isna()` : `(${column} == ${value})`;
}

// The runs that are shown, in order: what is missing last, either way.
function tableRows(page) {
  const asked = conditions(page);
  const rows = Array.from({ length: page.about.runs }, (_, i) => i).filter((i) => asked.every(({ test }) => test(i)));
  const [name, down] = page.sort();
  if (!name) return rows;
  const missing = (value) => value === null || Number.isNaN(value);
  const keys = rows.map((i) => [name === "phase" ? page.phases[i] : valueOf(page, name, i), i]);
  keys.sort(([a], [b]) => missing(a) - missing(b) || (missing(a) ? 0 : (down ? -1 : 1) * ((a > b) - (a < b))));
  return keys.map(([, i]) => i);
}

function pandasCode(page) {
  const { about, state } = page;
  const folder = JSON.stringify(about.folder);
  const { definition, min_loss, max_ratio } = state;
  const pair = `analysis.classify(runs, min_loss=${Number(min_loss)}, max_ratio=${Number(max_ratio)})`;
  const built_in = definition === "pair" ? pair : `analysis.classify(runs, definition="${definition}", curves=curves)`;
  // The user's own file, which says how, is not run to look at results.
  const own = `analysis.load_phases(${folder}, runs, ${JSON.stringify(definition)})`;
  const [name, down] = page.sort();
  const asked = conditions(page).map(({ code }) => code);
  return [
    "import analysis",
    "",
    `runs, curves = analysis.load_runs(${folder}), analysis.load_curves(${folder})`,
    `table = ${"pair" in about.definitions ? built_in : own}`,
    'steps = analysis.steps(runs, curves)[["run_id", "memorize_step", "generalize_step", "grok_delay"]]',
    'table = table.merge(steps, on="run_id")',
    `shown = table${asked.length ? `[${asked.join(" & ")}]` : ""}`,
    ...(name ? [`shown = shown.sort_values(${JSON.stringify(name)}, ascending=${down ? "False" : "True"}, kind="stable")`] : []),
    `print(shown[${JSON.stringify(about.columns).replace(/,/g, ", ")}])`,
    "",
  ].join("\n");
}

function drawTable(page) {
  const rows = tableRows(page);
  const [sorted, down] = page.sort();
  const said = rows.length > ROWS ? `, of which ${ROWS} are shown` : "";
  byId("rows_said").textContent = `· ${number(rows.length)} of ${number(page.about.runs)}${said}`;
  byId("code").hidden = true;
  const heads = page.about.columns.map((name) => {
    const arrow = sorted !== name ? "" : down ? " ▼" : " ▲";
    const next = sorted !== name ? name : down ? "" : `-${name}`;
    const button = element("button", { type: "button", onclick: () => page.set("sort", next) }, name + arrow);
    return element("th", { ariaSort: sorted !== name ? "none" : down ? "descending" : "ascending" }, button);
  });
  const text = (value) => (value === null || Number.isNaN(value) ? "" : words(value));
  const body = rows.slice(0, ROWS).map((i) =>
    element("tr", {}, ...page.about.columns.map((name) => element("td", {}, text(valueOf(page, name, i))))),
  );
  byId("table").tHead.replaceChildren(element("tr", {}, ...heads));
  byId("table").tBodies[0].replaceChildren(...body);
}
