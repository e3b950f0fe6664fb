"use strict";
// The table of runs: filtered, sorted, and as pandas code that gives the same rows.

const ROWS = 200; // at first, and with each "more"
const STEPS = ["memorize_step", "generalize_step", "grok_delay", "diverged_step"]; // <NA> in pandas where never
const LOSSES = ["min_train_loss", "min_eval_loss", "max_loss_ratio", "final_eval_accuracy"];

// name -> {of: run -> number or text, text: is it one, sort: run -> number}
function tableColumns(page) {
  const { about, arrays } = page;
  const step = (name) => (i) => (arrays[name][i] === NEVER ? NaN : arrays[name][i]);
  const columns = new Map();
  columns.set("run_id", { of: (i) => runId(arrays, i), text: true });
  about.axes.forEach((axis) => {
    const codes = arrays[`axis ${axis.name}`];
    const text = axis.values.some((value) => typeof value === "string");
    const missing = text ? null : NaN;
    columns.set(axis.name, { of: (i) => axis.values[codes[i]] ?? missing, text, sort: text ? (i) => (axis.values[codes[i]] === null ? NaN : codes[i]) : undefined });
  });
  columns.set("seed", { of: (i) => arrays.seed[i] });
  columns.set("phase", { of: (i) => about.phases[page.phases[i]], text: true, sort: (i) => page.phases[i] });
  const [losses, steps] = withAccuracy(about) ? [LOSSES, STEPS] : [LOSSES.slice(0, 3), STEPS.slice(3)];
  [...losses, ...about.finals].forEach((name) => columns.set(name, { of: (i) => arrays[name][i], measured: true }));
  steps.forEach((name) => columns.set(name, { of: name === "grok_delay" ? (i) => grokDelay(arrays, i) : step(name) }));
  return columns;
}

// What was typed above a column: {test: value -> whether, code: pandas}, or null where it is nothing that it takes.
function condition(name, column, typed) {
  const [, sign, rest] = typed.trim().match(/^(<=|>=|!=|==|=|<|>)?\s*(.*)$/);
  const operator = !sign || sign === "=" ? "==" : sign;
  const of = `table[${JSON.stringify(name)}]`;
  if (name === "run_id") {
    if (sign && operator !== "==") return null;
    return { test: (value) => value.startsWith(rest), code: `${of}.str.startswith(${JSON.stringify(rest)})` };
  }
  if (column.text) {
    if (!["==", "!="].includes(operator)) return null;
    return { test: (value) => (value === rest) === (operator === "=="), code: `${of} ${operator} ${JSON.stringify(rest)}` };
  }
  const number = Number(rest);
  if (rest === "" || !Number.isFinite(number)) return null;
  const compare = {
    "==": (value) => value === number, "!=": (value) => value !== number, "<": (value) => value < number,
    ">": (value) => value > number, "<=": (value) => value <= number, ">=": (value) => value >= number,
  }[operator];
  // In pandas <NA> is in no comparison, nan in !=.
  const test = STEPS.includes(name) ? (value) => !Number.isNaN(value) && compare(value) : compare;
  return { test, code: `${of} ${operator} ${JSON.stringify(number)}` };
}

// All conditions on the rows: of the table's own fields, of the diagram's filters, of the kept cell; {of, test, code}:
// what of a run is tested, whether it passes, and pandas for the same.
function conditions(page) {
  const found = [];
  const exactly = (name, value) => {
    const column = `table[${JSON.stringify(name)}]`;
    const { of } = page.columns.get(name);
    if (value === null) found.push({ of, test: (is) => is === null || Number.isNaN(is), code: `${column}.isna()` });
    else found.push({ of, test: (is) => is === value, code: `${column} == ${JSON.stringify(value)}` });
  };
  Object.entries(page.state.filters).forEach(([name, place]) => {
    const value = page.axis(name).values[place];
    if (!page.arrays[`anywhere ${name}`]) exactly(name, value);
    else {
      const selected = `analysis.select(table, ${name}=${JSON.stringify(value)})`;
      found.push({ of: (i) => i, test: filterOf(page.arrays, name, place), code: `table.index.isin(${selected}.index)` });
    }
  });
  const cell = page.state.pinned;
  if (page.state.only && cell) {
    const { x, y, panel, valuesX } = page.cells;
    if (x.name) exactly(x.name, valuesX[cell.x]);
    if (y.name) exactly(y.name, y.values[cell.y]);
    if (panel.name) exactly(panel.name, panel.values[cell.panel]);
  }
  Object.entries(page.state.find).forEach(([name, typed]) => {
    const column = page.columns.get(name);
    const one = column && condition(name, column, typed);
    if (one) found.push({ of: column.of, ...one });
  });
  return found;
}

// The runs that are shown, in order.
function tableRows(page) {
  const asked = conditions(page);
  const rows = [];
  for (let i = 0; i < page.about.runs; i++) if (asked.every(({ of, test }) => test(of(i)))) rows.push(i);
  const [name, ascending] = page.state.sort || [];
  if (!page.columns.has(name)) return rows;
  const column = page.columns.get(name);
  const key = column.sort || column.of;
  const keys = new Map(rows.map((i) => [i, key(i)]));
  const missing = (value) => value === null || Number.isNaN(value);
  return rows.sort((i, j) => {
    const [a, b] = [keys.get(i), keys.get(j)];
    if (missing(a) || missing(b)) return missing(a) - missing(b); // last, either way
    return (a < b ? -1 : a > b ? 1 : 0) * (ascending ? 1 : -1);
  });
}

function pandasCode(page) {
  const { about, state } = page;
  const folder = JSON.stringify(about.folder);
  // The user's own file, which says how, is not run to look at results.
  const how = about.computed ? "" :
    state.definition !== "pair"
      ? `definition="${state.definition}", curves=curves`
      : `min_loss=${JSON.stringify(state.min_loss)}, max_ratio=${JSON.stringify(state.max_ratio)}`;
  const lines = [
    "import analysis",
    "",
    `runs, curves = analysis.load_runs(${folder}), analysis.load_curves(${folder})`,
    about.computed
      ? `table = analysis.load_phases(${folder}, runs, ${JSON.stringify(about.own.definition)})`
      : `table = analysis.classify(runs, ${how})`,
    'steps = analysis.steps(runs, curves)[["run_id", "memorize_step", "generalize_step", "grok_delay"]]',
    'table = table.merge(steps, on="run_id")',
  ];
  const asked = conditions(page).map((one) => `(${one.code})`);
  lines.push(asked.length ? `shown = table[${asked.join(" & ")}]` : "shown = table");
  const [name, ascending] = state.sort || [];
  if (page.columns.has(name))
    lines.push(`shown = shown.sort_values(${JSON.stringify(name)}, ascending=${ascending ? "True" : "False"}, kind="stable")`);
  lines.push(`print(shown[${JSON.stringify([...page.columns.keys()]).replace(/,/g, ", ")}])`);
  return lines.join("\n") + "\n";
}

function drawTable(page, table) {
  const rows = tableRows(page);
  const names = [...page.columns.keys()];
  const [head, body] = [table.tHead, table.tBodies[0]];
  if (!head.rows.length) tableHead(page, head, names);
  names.forEach((name, k) => {
    const [sorted, ascending] = page.state.sort || [];
    const cell = head.rows[0].cells[k];
    cell.setAttribute("aria-sort", sorted !== name ? "none" : ascending ? "ascending" : "descending");
    cell.firstChild.textContent = name + (sorted !== name ? "" : ascending ? " ▲" : " ▼");
    const typed = page.state.find[name];
    const input = head.rows[1].cells[k].firstChild;
    input.setAttribute("aria-invalid", String(Boolean(typed) && !condition(name, page.columns.get(name), typed)));
  });
  const drawn = rows.slice(0, page.rowsShown).map((i) => {
    const row = document.createElement("tr");
    names.forEach((name) => {
      const value = page.columns.get(name).of(i);
      const cell = row.insertCell();
      if (value === null || Number.isNaN(value)) return;
      cell.textContent =
        !page.columns.get(name).measured ? words(value)
        : value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5) ? value.toExponential(3)
        : String(Number(value.toPrecision(5)));
    });
    return row;
  });
  body.replaceChildren(...drawn);
  return rows.length;
}

function tableHead(page, head, names) {
  const [titles, fields] = [head.insertRow(), head.insertRow()];
  names.forEach((name) => {
    const title = document.createElement("th");
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => {
      const [sorted, ascending] = page.state.sort || [];
      page.set({ sort: sorted !== name ? [name, true] : ascending ? [name, false] : null });
    });
    title.append(button);
    titles.append(title);
    const field = document.createElement("th");
    const input = document.createElement("input");
    input.setAttribute("aria-label", `rows by ${name}`);
    input.title = "a value, or a comparison such as > 0.1 or != grok";
    input.placeholder = page.columns.get(name).text ? "all" : "e.g. > 1";
    input.value = page.state.find[name] || "";
    input.addEventListener("input", () => {
      const find = { ...page.state.find };
      if (input.value.trim()) find[name] = input.value;
      else delete find[name];
      page.set({ find });
    });
    field.append(input);
    fields.append(field);
  });
}
