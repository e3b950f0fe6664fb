"use strict";
// Two sweeps beside each other: a grid of cells by how far apart they are, and of one cell what it is in either.

const ROLES = ["x", "y", "panel"];
const MOST_ROWS = 200; // of the table of cells

const about = JSON.parse(byId("about").textContent);
const axisOf = (name) => about.axes.find((axis) => axis.name === name) ?? { name: "", values: [""] };
const cellAt = new Map(about.places.map((places, cell) => [places.join(), cell]));
const stateOf = () => Object.fromEntries(new FormData(byId("page")));
let first; // the state that is not in the address

// The cell at a value of each axis, by its place in the axis; undefined where one of the two has no run there.
function found(places) {
  return cellAt.get(about.axes.map(({ name }) => places[name]).join());
}

function settingOf(cell) {
  return about.axes.map(({ name, values }, k) => `${name} ${words(values[about.places[cell][k]])}`).join(", ");
}

function button(cell, text, given) {
  const made = element("button", { type: "button", ...given }, text);
  made.addEventListener("pointerenter", () => stateOf().kept || tell(cell));
  made.addEventListener("focus", () => stateOf().kept || tell(cell));
  made.addEventListener("click", () => {
    const { kept } = byId("page").elements;
    kept.value = kept.value === String(cell) ? "" : cell;
    draw();
    tell(cell);
    byId(`cell ${cell}`)?.focus(); // the square is another one now
  });
  return made;
}

function square(cell, kept) {
  const distance = about.distance[cell];
  const differs = about.q[cell] < about.sure;
  const title = `${settingOf(cell)}: ${words(distance)} apart, q ${words(about.q[cell])}`;
  const made = button(cell, differs ? "○" : "", { id: `cell ${cell}`, className: "square", title, ariaLabel: title });
  made.style.background = about.scale[Math.round(distance * (about.scale.length - 1))];
  made.style.color = distance > 0.5 ? "#ffffff" : "#333333";
  if (kept === String(cell)) made.ariaPressed = "true";
  return made;
}

// The cells of one value of the axis of panels, as a table: the first value of y is the lowest row.
function panelOf(state, at) {
  const [x, y, panel] = ROLES.map((role) => axisOf(state[role]));
  const others = about.axes.filter(({ name }) => ![x, y, panel].some((axis) => axis.name === name));
  const chosen = Object.fromEntries(others.map(({ name }) => [name, Number(state[`only ${name}`])]));
  const rows = y.values.map((value, up) => {
    const cells = x.values.map((_, across) => {
      const cell = found({ ...chosen, [panel.name]: at, [y.name]: up, [x.name]: across });
      return element("td", {}, ...(cell === undefined ? [] : [square(cell, state.kept)]));
    });
    return element("tr", {}, element("th", { scope: "row" }, words(value)), ...cells);
  });
  const heads = x.values.map((value) => element("th", { scope: "col" }, words(value)));
  const caption = panel.name && `${panel.name} ${words(panel.values[at])}`;
  const corner = [y.name && `${y.name} ↑`, x.name && `${x.name} →`].filter(Boolean).join(" ");
  const foot = element("tr", {}, element("th", {}, corner), ...heads);
  return element("table", { className: "cells" }, element("caption", {}, caption), ...rows.reverse(), foot);
}

// What one cell is in either sweep.
function tell(cell) {
  if (cell === undefined) return;
  byId("cell").textContent = settingOf(cell) || "all runs";
  const sides = about.names.map((name, side) => {
    const [runs, counts] = [about.runs[side][cell], about.counts[side][cell]];
    const parts = about.phases.map((phase, code) => {
      const part = element("span", { title: phase.name });
      Object.assign(part.style, { width: `${(100 * counts[code]) / runs}%`, background: phase.colour, boxShadow: `inset 0 0 0 1px ${phase.edge}` });
      return part;
    });
    const said = about.phases.map((phase, code) => counts[code] && `${counts[code]} ${phase.name} (${wilson(counts[code], runs)} %)`);
    const text = `${name}, ${plural(runs, "run")}: ${said.filter(Boolean).join(", ")}`;
    return element("div", {}, element("p", {}, text), element("div", { className: "bar" }, ...parts));
  });
  byId("sides").replaceChildren(...sides);
  const [apart, chance, p, q] = ["distance", "by_chance", "p", "q"].map((name) => words(Number(about[name][cell].toPrecision(2))));
  byId("chance").textContent = `${apart} apart, ${chance} by chance: p ${p}, q ${q}`;
}

function tableOf(id, heads, rows) {
  byId(id).tHead.replaceChildren(element("tr", {}, ...heads.map((head) => element("th", {}, head))));
  byId(id).tBodies[0].replaceChildren(
    ...rows.map((row) => element("tr", {}, ...row.map((value) => element("td", {}, value instanceof Node ? value : words(value))))),
  );
}

// The controls as they may be: a link may be of another comparison, or an axis be asked for twice.
function mend() {
  const { kept } = byId("page").elements;
  if (!Object.hasOwn(about.places, kept.value)) kept.value = "";
  ROLES.forEach((role, k) => {
    if (ROLES.slice(0, k).some((other) => byId(other).value === byId(role).value)) byId(role).value = "";
  });
}

// One that is shown: the one that is kept, else the surest to differ of those that are drawn.
function tellOne() {
  const { kept } = stateOf();
  const drawn = about.order.find((cell) => byId(`cell ${cell}`));
  tell(kept ? Number(kept) : drawn);
}

function draw() {
  const state = stateOf();
  for (const { name } of about.axes) byId(`only ${name}`).parentElement.hidden = ROLES.some((role) => state[role] === name);
  byId("panels").replaceChildren(...axisOf(state.panel).values.map((_, at) => panelOf(state, at)));
  const changed = Object.entries(state).filter(([name, value]) => value !== first?.[name]);
  if (first) history.replaceState(null, "", `#${new URLSearchParams(changed)}`);
}

function begin() {
  byId("title").textContent = about.title;
  byId("summary").textContent = about.lines.join("\n");
  byId("scale").append("0 ", ...about.scale.map((colour) => element("i", { style: `background: ${colour}` })), " 1.");
  for (const role of ROLES) {
    const some = about.axes.filter(({ values }) => values.length <= about.most[role]);
    choices(byId(role), [["", "none"], ...some.map(({ name }) => [name, name])]);
  }
  for (const { name, values } of about.axes) {
    const list = choices(element("select", { name: `only ${name}`, id: `only ${name}` }), values.map((value, at) => [String(at), words(value)]));
    byId("panel").parentElement.after(element("label", {}, `${name} `, list));
  }
  const names = about.axes.map(({ name }) => name);
  about.order = about.distance.map((_, cell) => cell).sort((a, b) => about.q[a] - about.q[b] || about.distance[b] - about.distance[a]);
  const rows = about.order.slice(0, MOST_ROWS).map((cell) => {
    const values = about.axes.map((axis, k) => axis.values[about.places[cell][k]]);
    const numbers = ["distance", "by_chance", "p", "q"].map((name) => Number(about[name][cell].toPrecision(3)));
    return [button(cell, "show", { ariaLabel: settingOf(cell) }), ...values, about.runs[0][cell], about.runs[1][cell], ...numbers];
  });
  tableOf("table", ["", ...names, ...about.names.map((name) => `runs of ${name}`), "distance", "by chance", "p", "q"], rows);
  if (about.order.length > MOST_ROWS) byId("rows_said").textContent = `· ${MOST_ROWS} of ${number(about.order.length)}`;
  byId("moved").hidden = !about.shifts;
  if (about.shifts) tableOf("shifts", about.shifts.columns, about.shifts.rows);
  enter(about.start);
  first = stateOf();
  enter(Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
  mend();
  draw();
  tellOne();
  byId("page").addEventListener("submit", (event) => event.preventDefault());
  byId("page").addEventListener("input", ({ target }) => {
    // An axis that is chosen leaves where it stood.
    for (const role of ROLES) if (role !== target.name && ROLES.includes(target.name) && byId(role).value === target.value) byId(role).value = "";
    draw();
    tellOne();
  });
  document.documentElement.dataset.ready = "yes";
}

begin();
