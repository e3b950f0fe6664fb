"use strict";
// The page itself. Its state is what its controls say; whenever one changes, what depends on it is drawn again.

const QUIET = 30000; // ms without a pointer, key or wheel before the page of a running sweep loads itself again
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// plotly takes some tags in its texts; what comes from a config is text.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
}

// What all pictures have in common.
function bare() {
  const [clear, font] = ["transparent", { color: colour("--ink"), size: 12 }];
  return { paper_bgcolor: clear, plot_bgcolor: clear, font, dragmode: false };
}

// A text above a plot.
function heading(text, xaxis, yaxis) {
  const at = { x: 0, y: 1, xref: `${xaxis} domain`, yref: `${yaxis} domain`, xanchor: "left", yanchor: "bottom" };
  return { ...at, text: plain(text), showarrow: false, font: { size: 13 } };
}

class Page {
  constructor(about, arrays) {
    Object.assign(this, { about, arrays, at: -1, state: { ...about.own }, first: {} }); // at: the cell that is pointed at
    this.run = new Map(Array.from({ length: about.runs }, (_, i) => [runId(arrays, i), i]));
  }

  axis(name) {
    return this.about.axes.find((one) => one.name === name);
  }

  // The axes that the diagram leaves over: they are filtered or pooled.
  others() {
    const { x, y, panel } = this.state;
    return this.about.axes.filter(({ name }) => ![x, y, panel].includes(name));
  }

  // The filters: name and place of the value.
  filters() {
    const place = ({ name, values }) => values.map((value) => JSON.stringify(value)).indexOf(this.state[`only ${name}`]);
    return this.others().map((axis) => [axis.name, place(axis)]).filter(([, at]) => at >= 0);
  }

  // The cell that is kept, as that of one of its runs, which it is in a sweep that has grown too; -1 for none.
  kept() {
    return this.cells.cellOf[this.run.get(this.state.kept)] ?? -1;
  }

  sort() {
    const name = this.state.sort.replace(/^-/, "");
    return this.about.columns.includes(name) ? [name, name !== this.state.sort] : [];
  }

  // The cell whose curves are shown: the one that is kept, or pointed at, or the first that has runs.
  current() {
    if (this.kept() >= 0) return this.kept();
    return this.at >= 0 ? this.at : Math.max(0, this.cells.cells.findIndex((runs) => runs.length));
  }

  set(name, value) {
    byId("page").elements.namedItem(name).value = value;
    this.draw();
  }

  keep(cell) {
    this.at = cell;
    const [first] = cell < 0 || cell === this.kept() ? [] : this.cells.cells[cell];
    this.set("kept", first === undefined ? "" : runId(this.arrays, first));
  }

  point(cell) {
    if (cell === this.at) return;
    this.at = cell;
    Plotly.relayout("diagram", { shapes: frames(this) });
    if (this.kept() < 0) this.cell();
  }

  // What the controls say; a threshold that is no number stays what it was.
  read() {
    const before = this.state;
    this.state = Object.fromEntries(new FormData(byId("page")));
    for (const name of ["min_loss", "max_ratio"]) if (!byId(name).validity.valid) this.state[name] = before[name];
  }

  // A link shows what is seen: what is not as at first stands in the address.
  remember() {
    this.read();
    const changed = Object.entries(this.state).filter(([name, value]) => value !== this.first[name]);
    clearTimeout(this.written);
    // Not with every move of a slider: some browsers refuse a hundred in half a minute.
    this.written = setTimeout(() => history.replaceState(null, "", `#${new URLSearchParams(changed)}`), 200);
  }

  draw() {
    this.read();
    this.phases = classify(this);
    this.cells = arrange(this);
    if (this.at >= this.cells.cells.length) this.at = -1;
    for (const axis of this.about.axes) byId(`only ${axis.name}`).parentElement.hidden = !this.others().includes(axis);
    byId("thresholds").hidden = this.state.definition !== "pair";
    for (const name of ["min_loss", "max_ratio"]) byId(`${name}_slider`).value = Math.log10(this.state[name]);
    drawDiagram(this);
    this.legend();
    this.cell();
    // Thousands of rows may be sorted: after what a slider moves.
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => drawTable(this));
    this.remember();
  }

  counts(runs) {
    const counts = this.about.phases.map(() => 0);
    for (const i of runs) counts[this.phases[i]]++;
    return counts;
  }

  cell() {
    const { x, y, panel, nx, ny, cells } = this.cells;
    const cell = this.current();
    const places = [cell % nx, Math.floor(cell / nx) % ny, Math.floor(cell / nx / ny)];
    const where = [x, y, panel].map(({ name, values }, k) => name && `${name} ${words(values[places[k]])}`);
    const said = (count, code) => `${number(count)} ${this.about.phases[code].name} (${wilson(count, cells[cell].length)} %)`;
    const found = this.counts(cells[cell]).map((count, code) => count && said(count, code)).filter(Boolean).join(", ");
    const runs = found ? `${plural(cells[cell].length, "run")}: ${found}` : "no runs";
    byId("cell").textContent = [where.filter(Boolean).join(" · "), runs].filter(Boolean).join(" — ");
    drawCurves(this, cells[cell]);
  }

  legend() {
    const { about, cells, state } = this;
    const keys = this.counts(cells.cells.flat()).map((count, code) => {
      const { name, glyph } = about.phases[code];
      const [fill, edge] = state.colour === "phase" ? colours(this, code) : ["transparent", "transparent"];
      const mark = element("span", { className: "mark" }, glyph);
      Object.assign(mark.style, { color: fill, webkitTextStroke: `1px ${edge}` });
      const share = `${((100 * count) / (cells.shown || 1)).toFixed(1)} %`;
      const texts = [["name", name], ["count", number(count)], ["share", share]];
      const spans = texts.map(([className, text]) => element("span", { className }, text));
      return element("div", { className: "key" }, mark, ...spans);
    });
    byId("legend").replaceChildren(...keys);
    const pooled = this.others().filter(({ name }) => !state[`only ${name}`]);
    const lines = [];
    if (pooled.length) lines.push(`A cell pools all values of ${pooled.map(({ name }) => name).join(", ")}.`);
    const of = state.colour === "phase" ? "most common phase" : state.colour.startsWith("share ") ? "share" : "median";
    if (!cells.dots) lines.push(`A ${cells.fine ? "pixel" : "mark"} is a cell, in the colour of its ${of}.`);
    if (cells.fine && state.colour === "phase")
      for (const { name, shade } of about.phases) if (shade) lines.push(`${name}: the darker the higher ${shade} ranks.`);
    byId("shown").textContent = lines.join(" ");
  }
}

function listen(page) {
  const form = byId("page");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    const [, threshold] = target.id.match(/(.*)_slider$/) ?? [];
    if (threshold) byId(threshold).value = exactly(Number((10 ** target.value).toPrecision(3)));
    const roles = ["x", "y", "panel"];
    if (roles.includes(target.name)) {
      // The axis that is chosen leaves where it stood, which gets the one that was here.
      const other = roles.find((role) => role !== target.name && target.value && byId(role).value === target.value);
      if (other) byId(other).value = page.state[target.name];
      if (other && byId(other).selectedIndex < 0) byId(other).value = ""; // too many values for that
      page.at = -1;
    }
    if (!target.closest("#opened")) page.draw();
    else drawOpened(page);
  });
  byId("article").addEventListener("click", () => {
    enter(page.about.article);
    page.draw();
  });
  const diagram = byId("diagram");
  diagram.addEventListener("pointermove", (event) => {
    const cell = event.pointerType === "mouse" ? cellAt(page, event) : -1;
    if (cell >= 0) page.point(cell); // beside all cells the last one stays
  });
  diagram.addEventListener("click", (event) => cellAt(page, event) >= 0 && page.keep(cellAt(page, event)));
  diagram.addEventListener("keydown", (event) => {
    const { nx, ny, panels } = page.cells;
    const at = page.at >= 0 ? page.at : page.current();
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (move) {
      // Past the side of a panel is the next one.
      const across = Math.min(Math.max(Math.floor(at / nx / ny) * nx + (at % nx) + move[0], 0), panels * nx - 1);
      const up = Math.min(Math.max((Math.floor(at / nx) % ny) + move[1], 0), ny - 1);
      page.point((Math.floor(across / nx) * ny + up) * nx + (across % nx));
    } else if (event.key === "Enter") page.keep(at);
    else if (event.key === "Escape") page.set("kept", "");
    else return;
    event.preventDefault();
  });
  byId("copy").addEventListener("click", async () => {
    byId("code").textContent = pandasCode(page);
    byId("code").hidden = false;
    getSelection().selectAllChildren(byId("code"));
    await navigator.clipboard?.writeText(pandasCode(page)).catch(() => {}); // selected at least
  });
  const again = () => {
    page.draw();
    drawOpened(page);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) again();
    width = innerWidth;
  });
}

// What may colour the diagram: key -> title.
function titles({ about }) {
  const unit = about.loss_unit && `, ${about.loss_unit}`;
  return {
    phase: "phase",
    log_eval_loss: `log10 of the least test loss${unit}`,
    ...(about.columns.includes("grok_delay") ? { grok_delay: "grok delay, steps" } : {}),
    ...Object.fromEntries(about.phases.map(({ name }) => [`share ${name}`, `share of ${name}`])),
  };
}

// What is filled in once: texts and choices.
function fill(page) {
  const { about } = page;
  const { kept, thinned } = about.curves;
  const missing = about.expected - about.runs;
  const parts = [
    plural(about.runs, "run"),
    missing > 0 && `${number(missing)} of ${number(about.expected)} are missing or crashed`,
    about.live && `the sweep is running; this page is of ${about.live} and loads itself again`,
    kept < about.runs && `curves of ${number(kept)} of them`,
    thinned && "not every logged step is drawn",
  ];
  byId("summary").textContent = parts.filter(Boolean).join(" · ");
  byId("unit").textContent = about.loss_unit && ` (${about.loss_unit})`;
  byId("article").hidden = !("pair" in about.definitions);
  for (const [name, text] of Object.entries(about.same)) byId("same").append(element("dt", {}, name), element("dd", {}, text));
  const names = (list) => list.map((name) => [name, name.replaceAll("_", " ")]);
  for (const role of ["x", "y", "panel"]) {
    const some = about.axes.filter(({ values }) => values.length <= about.most[role]);
    choices(byId(role), [["", "none"], ...some.map(({ name }) => [name, name])]);
  }
  for (const { name, values } of about.axes) {
    const list = choices(element("select", { name: `only ${name}`, id: `only ${name}` }), [["", "all"]]);
    byId("colour").parentElement.before(element("label", {}, `${name} `, list));
    choices(list, values.map((value) => [JSON.stringify(value), words(value)]));
  }
  choices(byId("colour"), Object.entries(titles(page)));
  choices(byId("metric"), names(Object.keys(about.metrics)));
  choices(byId("definition"), Object.entries(about.definitions));
  choices(byId("rows"), [["", "all"], ...names(about.phases.map(({ name }) => name))]);
  choices(byId("run"), about.weights.map(({ run }) => [run, `${run} · seed ${page.arrays.seed[page.run.get(run)]}`]));
  byId("opened").hidden = !about.weights.length;
}

async function start() {
  const about = JSON.parse(byId("about").textContent);
  byId("title").textContent = about.title;
  const [library, data] = await Promise.all([unpack("plotly"), unpack("data")]);
  document.head.append(element("script", { textContent: new TextDecoder().decode(library) }));
  const page = new Page(about, arraysOf(about, data));
  byId("page").hidden = false;
  fill(page);
  enter({ ...about.own, ...about.start });
  drawOpened(page);
  page.read();
  page.first = page.state;
  enter(Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
  page.draw();
  drawOpened(page);
  listen(page);
  performance.mark("usable");
  window.grokPage = page; // for who looks into it
  setTimeout(() => (document.documentElement.dataset.ready = "yes"));
  if (about.live) again();
}

// While the sweep runs: load the page again, but not under the hands of a reader, and stay where it was.
function again() {
  scrollTo(0, sessionStorage.getItem("grok_sweep report") ?? 0);
  const reload = () => {
    sessionStorage.setItem("grok_sweep report", scrollY);
    location.reload();
  };
  let timer = setTimeout(reload, QUIET);
  for (const event of ["pointermove", "pointerdown", "keydown", "wheel", "touchmove", "input"])
    addEventListener(event, () => [clearTimeout(timer), (timer = setTimeout(reload, QUIET))], { passive: true });
}

start().catch((error) => {
  byId("summary").textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or newer.`;
  throw error;
});
