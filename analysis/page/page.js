"use strict";
// The page itself: its state, its controls, and what is drawn again when something changes.

const RELOAD = 15000; // ms, while the sweep is running
const QUIET = 30000; // ms without a pointer, key or wheel before a page loads itself again
const LEFT = "grok_sweep report"; // where a page leaves word for the one after it
const byId = (id) => document.getElementById(id);

class Page {
  constructor(about, arrays) {
    this.about = about;
    this.arrays = arrays;
    this.places = curvePlaces(arrays);
    this.at = null; // the cell that is pointed at
    this.rowsShown = ROWS;
    this.state = { ...this.start(), ...this.fromHash() };
    for (const key of ["x", "y", "panel"]) delete this.state.filters[this.state[key]];
    this.phases = classify(about, arrays, this.state);
    this.columns = tableColumns(this);
    this.cells = arrange(this);
    this.state.pinned = this.state.pinned && this.cellOf(this.state.pinned);
  }

  // The cell of some values, of which a sweep that has grown has more; null where there is none.
  cellOf(values) {
    const { x, y, panel, valuesX, nx, ny, panels } = this.cells;
    const place = (list, axis, key) => (axis.name ? list.indexOf(values[key]) : 0);
    const cell = { x: place(valuesX, x, "x"), y: place(y.values, y, "y"), panel: place(panel.values, panel, "panel") };
    const inside = cell.x < nx && cell.y < ny && cell.panel < panels && Math.min(cell.x, cell.y, cell.panel) >= 0;
    return inside ? cell : null;
  }

  // And the other way round.
  valuesOf(cell) {
    const { y, panel, valuesX } = this.cells;
    return { x: valuesX[cell.x], y: y.values[cell.y], panel: panel.values[cell.panel] };
  }

  // What the page shows at first: the article's axes where they vary, and the sweep's own phases.
  start() {
    const { definition, min_loss, max_ratio } = this.about.own;
    return {
      ...this.about.start, filters: {}, colour: "phase", definition, min_loss, max_ratio, metric: "loss", safe: false, theme: "auto",
      pinned: null, sort: null, find: {}, only: false, opened: 0, snapshot: Infinity,
    };
  }

  // What the address says, as far as it fits this sweep: a link, or the page before it loaded itself again.
  fromHash() {
    let given;
    try {
      given = JSON.parse(decodeURIComponent(location.hash.slice(1)));
    } catch {
      return {};
    }
    const axis = (name) => name === "" || Boolean(this.axis(name));
    const number = (value) => Number.isFinite(value) && value > 0;
    const whole = (value) => Number.isInteger(value) && value >= 0;
    const has = (value, ...keys) => keys.every((key) => Object.hasOwn(value, key));
    const object = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
    const allowed = {
      x: axis, y: axis, panel: axis, min_loss: number, max_ratio: number, colour: (value) => typeof value === "string" && has(colourings(this.about), value),
      definition: (value) => !this.about.computed && ["pair", "liu", "liu_lasting"].includes(value), metric: (value) => this.metrics().includes(value),
      safe: (value) => value === true && this.about.safe !== null, only: (value) => value === true, theme: (value) => ["light", "dark"].includes(value),
      pinned: (value) => object(value) && has(value, "x", "y", "panel"),
      sort: (value) => Array.isArray(value) && value.length === 2,
      find: (value) => object(value) && Object.values(value).every((one) => typeof one === "string"),
      filters: (value) => object(value) && Object.entries(value).every(([name, one]) => this.axis(name)?.values.includes(one)),
      opened: (value) => this.openedOf(value) >= 0, snapshot: whole,
    };
    if (!object(given)) return {};
    const found = Object.fromEntries(Object.entries(given).filter(([key, value]) => has(allowed, key) && allowed[key](value)));
    if (found.filters) found.filters = Object.fromEntries(Object.entries(found.filters).map(([name, one]) => [name, this.axis(name).values.indexOf(one)]));
    if (found.opened) found.opened = this.openedOf(found.opened);
    return found;
  }

  // What the curves can show: losses, accuracies where the task has some, and each other number that is logged.
  metrics() {
    const { metrics } = this.about.curves;
    const sided = ["loss", "accuracy"].filter((of) => metrics.includes(`train_${of}`));
    return [...sided, ...metrics.filter((name) => !/^(train|eval)_(loss|accuracy)$/.test(name))];
  }

  openedOf(id) {
    return this.about.weights.findIndex(({ run }) => runId(this.arrays, run) === id);
  }

  // By values, not places: a sweep that grows gets more of them.
  toHash() {
    const start = this.start();
    const changed = Object.fromEntries(Object.entries(this.state).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(start[key])));
    if (changed.pinned) changed.pinned = this.valuesOf(changed.pinned);
    if (changed.filters) changed.filters = Object.fromEntries(Object.entries(changed.filters).map(([name, place]) => [name, this.axis(name).values[place]]));
    if (changed.opened) changed.opened = runId(this.arrays, this.about.weights[changed.opened].run);
    const hash = Object.keys(changed).length ? `#${encodeURIComponent(JSON.stringify(changed))}` : " ";
    clearTimeout(this.written);
    // Not with every move of a slider: some browsers refuse a hundred in half a minute.
    this.written = setTimeout(() => history.replaceState(null, "", hash), 200);
  }

  axis(name) {
    return this.about.axes.find((one) => one.name === name);
  }

  colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // Change the state, and draw again what depends on it.
  set(changes) {
    const has = (...keys) => keys.some((key) => key in changes);
    Object.assign(this.state, changes);
    if (has("filters")) for (const key of ["x", "y", "panel"]) delete this.state.filters[this.state[key]];
    if (has("x", "y", "panel", "filters", "colour")) {
      if (has("x", "y", "panel", "filters")) [this.state.pinned, this.at] = [null, null];
      this.cells = arrange(this);
      this.controls();
      drawDiagram(this, byId("diagram"));
    }
    if (has("definition", "min_loss", "max_ratio")) {
      this.phases = classify(this.about, this.arrays, this.state);
      this.thresholds();
      recolour(this, byId("diagram"));
    }
    if (has("safe")) recolour(this, byId("diagram"));
    if (has("theme")) this.theme();
    if (has("pinned")) this.frames();
    if (!has("sort", "find", "opened", "snapshot")) {
      this.legend();
      this.cell();
    }
    if (has("opened", "snapshot") || has("theme")) this.opened();
    if (!has("opened", "snapshot", "metric", "colour", "safe", "theme")) this.tableSoon();
    this.toHash();
  }

  theme() {
    const { theme } = this.state;
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    drawDiagram(this, byId("diagram"));
  }

  frames() {
    Plotly.relayout(byId("diagram"), { shapes: cursors(this) });
  }

  point(cell) {
    const same = this.at && cell && ["x", "y", "panel"].every((key) => this.at[key] === cell[key]);
    if (same || (!cell && !this.at)) return;
    this.at = cell;
    this.frames();
    if (!this.state.pinned) this.cell();
  }

  pin(cell) {
    const { pinned } = this.state;
    const same = pinned && cell && ["x", "y", "panel"].every((key) => pinned[key] === cell[key]);
    this.at = cell || pinned;
    this.set({ pinned: same ? null : cell });
  }

  // The cell whose curves are shown: the one that is kept, or pointed at, or the first that has runs.
  current() {
    if (this.state.pinned) return this.state.pinned;
    if (this.at) return this.at;
    const { nx, ny, cells } = this.cells;
    const first = Math.max(0, cells.findIndex((runs) => runs.length));
    return { x: first % nx, y: Math.floor(first / nx) % ny, panel: Math.floor(first / nx / ny) };
  }

  cell() {
    const cell = this.current();
    const runs = runsAt(this, cell);
    const counts = this.counts(runs).filter(([, count]) => count);
    const found = counts.map(([phase, count]) => `${count.toLocaleString("en")} ${phase}`).join(", ");
    const name = cellName(this, cell);
    byId("cell").textContent = [name, runs.length ? `${plural(runs.length, "run")}: ${found}` : "no runs"].filter(Boolean).join(" — ");
    byId("unpin").hidden = !this.state.pinned;
    byId("only_label").hidden = !this.state.pinned;
    const drawn = drawCurves(this, byId("curves"), runs);
    byId("sample").textContent = drawn < runs.length ? `curves of ${drawn} of ${plural(runs.length, "run")}` : "";
  }

  counts(runs) {
    const counts = this.about.phases.map(() => 0);
    for (const i of runs) counts[this.phases[i]]++;
    return this.about.phases.map((phase, k) => [phase, counts[k]]);
  }

  legend() {
    const box = byId("legend");
    const runs = this.cells.cells.flat();
    const keys = this.counts(runs).map(([phase, count]) => {
      const key = document.createElement("div");
      key.className = "key";
      key.dataset.phase = phase;
      key.append(swatch(this, phase));
      for (const [name, text] of [["name", phase], ["count", count.toLocaleString("en")], ["share", `${((100 * count) / (runs.length || 1)).toFixed(1)} %`]]) {
        const span = document.createElement("span");
        span.className = name;
        span.textContent = text;
        key.append(span);
      }
      return key;
    });
    const scale = measure(this);
    if (scale) {
      const [bar, ends, title] = ["bar", "ends", ""].map((name) => Object.assign(document.createElement("div"), { className: name }));
      bar.style.background = `linear-gradient(to right, ${VIRIDIS.join(",")})`;
      const unit = this.state.colour === "min_eval_loss" && this.about.loss_unit;
      title.textContent = colourings(this.about)[this.state.colour].title + (unit ? `, ${unit}` : "");
      ends.append(...scale.ends.map((end) => Object.assign(document.createElement("span"), { textContent: scale.text(end) })));
      keys.forEach((key) => (key.firstChild.style.visibility = "hidden")); // phases have no colours now
      keys.unshift(title, bar, ends, Object.assign(document.createElement("div"), { className: "hint", textContent: "empty: no value" }));
    }
    box.replaceChildren(...keys);
    const { shown, beyond, most, cells } = this.cells;
    const lines = [];
    if (beyond) lines.push(`${plural(beyond, "run")} beyond the first ${MOST_PIXELS} values or ${MOST_PANELS} panels are not drawn: choose other axes.`);
    const pooled = this.about.axes.filter(({ name, values }) => values.length > 1 && ![this.state.x, this.state.y, this.state.panel].includes(name) && !(name in this.state.filters));
    if (pooled.length) lines.push(`A cell pools all values of ${pooled.map((axis) => axis.name).join(", ")}.`);
    if (!this.cells.dots) lines.push(`A ${this.cells.fine ? "pixel" : "square"} is a cell, in the colour of its ${!scale ? "most common phase" : colourings(this.about)[this.state.colour].counted ? "share" : "median"}.`);
    if (this.cells.fine && !scale)
      for (const [name, column] of Object.entries(this.about.shades)) lines.push(`${name}: the darker the higher ${column} ranks.`);
    byId("shown").textContent = lines.join(" ");
  }

  // After what a slider moves: thousands of rows may be sorted.
  tableSoon() {
    cancelAnimationFrame(this.waiting);
    this.waiting = requestAnimationFrame(() => setTimeout(() => this.table()));
  }

  table() {
    const rows = drawTable(this, byId("table"));
    byId("rows").textContent = `· ${rows.toLocaleString("en")} of ${this.about.runs.toLocaleString("en")}`;
    byId("more").hidden = rows <= this.rowsShown;
    byId("code").hidden = true;
    byId("copied").textContent = "";
  }

  opened() {
    const { weights } = this.about;
    if (!weights.length) return;
    byId("opened").hidden = false;
    const run = weights[this.state.opened];
    const last = run.steps.length - 1;
    if (!(this.state.snapshot <= last)) this.state.snapshot = last;
    byId("snapshot").max = String(last);
    byId("snapshot").value = String(this.state.snapshot);
    byId("opened_step").textContent = `step ${run.steps[this.state.snapshot].toLocaleString("en")}`;
    byId("waves").hidden = byId("waves_hint").hidden = !run.groups;
    drawOpened(this, byId("heat"), byId("waves"));
  }

  thresholds() {
    const { definition, min_loss, max_ratio } = this.state;
    if (this.about.computed) return;
    byId("definition").value = definition;
    byId("thresholds").hidden = definition !== "pair";
    for (const [name, value] of [["min_loss", min_loss], ["max_ratio", max_ratio]]) {
      byId(name).value = String(Math.log10(value));
      const number = byId(`${name}_number`);
      if (document.activeElement === number && Number(number.value) !== value) continue; // being typed
      if (document.activeElement !== number) number.value = words(value);
      number.setAttribute("aria-invalid", "false");
    }
  }

  // The choices of axes, filters and colours, made anew: they depend on each other.
  controls() {
    const select = (label, id, options, value, change) => {
      const box = document.createElement("label");
      const list = Object.assign(document.createElement("select"), { id });
      list.append(...options.map(([key, text]) => Object.assign(document.createElement("option"), { value: key, textContent: text })));
      list.value = value;
      list.addEventListener("change", () => change(list.value));
      box.append(`${label} `, list);
      return box;
    };
    const { state } = this;
    const focused = document.activeElement?.id;
    const varying = this.about.axes.filter((axis) => axis.values.length > 1);
    const names = [["", "none"], ...varying.map(({ name }) => [name, name])];
    const choose = (key) => (name) => {
      const other = ["x", "y", "panel"].find((one) => one !== key && name && state[one] === name);
      const filters = { ...state.filters };
      delete filters[name];
      this.set({ [key]: name, ...(other ? { [other]: state[key] } : {}), filters });
    };
    const boxes = [["across", "x"], ["up", "y"], ["panels", "panel"]].map(([label, key]) => select(label, `axis_${key}`, names, state[key], choose(key)));
    for (const { name, values } of varying)
      if (![state.x, state.y, state.panel].includes(name)) {
        const options = [["", "all"], ...values.map((value, place) => [String(place), words(value)])];
        boxes.push(
          select(name, `filter_${name}`, options, String(state.filters[name] ?? ""), (place) => {
            const filters = { ...state.filters };
            if (place === "") delete filters[name];
            else filters[name] = Number(place);
            this.set({ filters });
          }),
        );
      }
    boxes.push(select("colour", "colour", Object.entries(colourings(this.about)).map(([key, { title }]) => [key, title]), state.colour, (colour) => this.set({ colour })));
    byId("axes").replaceChildren(...boxes);
    if (focused && byId("axes").querySelector(`#${CSS.escape(focused)}`)) byId(focused).focus();
  }
}

function swatch(page, phase) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  const paths = { circle: "M8 2a6 6 0 1 0 .01 0z", square: "M2.5 2.5h11v11h-11z", "triangle-up": "M8 1.5l7 12.5h-14z", x: "M3 1l5 5 5-5 2 2-5 5 5 5-2 2-5-5-5 5-2-2 5-5-5-5z", "square-x": "M2.5 2.5h11v11h-11zl11 11m0-11l-11 11",
    diamond: "M8 1l7 7-7 7-7-7z", pentagon: "M8 1l7 5-2.7 8.5H3.7L1 6z", star: "M8 1l2.1 4.6 5 .6-3.700 3.400 1 5L8 12.100l-4.400 2.500 1-5L.9 6.200l5-.6z",
    cross: "M6 1.500h4V6h4.500v4H10v4.500H6V10H1.500V6H6z", hexagon: "M8 1l6 3.500v7L8 15l-6-3.500v-7z", "triangle-down": "M8 14.500l7-12.500h-14z",
    "triangle-left": "M1.500 8l12.500-7v14z", "triangle-right": "M14.500 8l-12.500-7v14z", "square-cross": "M2.500 2.500h11v11h-11zM8 2.500v11M2.500 8h11" };
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", paths[shapeOf(page, phase)]);
  path.setAttribute("fill", page.state.safe ? page.about.safe[phase] : page.about.colours[phase]);
  path.setAttribute("stroke", page.state.safe ? page.colour("--ink") : page.about.outlines[phase]);
  svg.append(path);
  return svg;
}

function listen(page) {
  const diagram = byId("diagram");
  const cellOf = (event) => {
    const box = diagram.getBoundingClientRect();
    return cellAt(page, event.clientX - box.left, event.clientY - box.top);
  };
  diagram.addEventListener("pointermove", (event) => {
    const cell = event.pointerType === "mouse" && cellOf(event);
    if (cell) page.point(cell); // beside all cells the last one stays
  });
  diagram.addEventListener("click", (event) => {
    const cell = cellOf(event);
    if (cell) page.pin(cell);
  });
  diagram.addEventListener("keydown", (event) => {
    const { nx, ny, panels } = page.cells;
    const cell = { ...page.current(), ...(page.at || {}) };
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (move) {
      cell.x += move[0];
      cell.y = Math.min(Math.max(cell.y + move[1], 0), ny - 1);
      // Past the side of a panel is the next one.
      if (cell.x < 0 || cell.x >= nx) {
        const panel = cell.panel + move[0];
        if (panel >= 0 && panel < panels) [cell.panel, cell.x] = [panel, cell.x < 0 ? nx - 1 : 0];
        else cell.x = Math.min(Math.max(cell.x, 0), nx - 1);
      }
      page.point(cell);
    } else if (event.key === "Enter" || event.key === " ") page.pin(cell);
    else if (event.key === "Escape") page.set({ pinned: null });
    else return;
    event.preventDefault();
  });
  byId("unpin").addEventListener("click", () => page.set({ pinned: null }));
  byId("theme").addEventListener("change", (event) => page.set({ theme: event.target.value }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page.set({ theme: page.state.theme }));
  byId("safe").addEventListener("change", (event) => page.set({ safe: event.target.checked }));
  byId("definition").addEventListener("change", (event) => page.set({ definition: event.target.value }));
  byId("article").addEventListener("click", () => page.set({ ...page.about.article }));
  for (const name of ["min_loss", "max_ratio"]) {
    byId(name).addEventListener("input", (event) => page.set({ [name]: Number((10 ** Number(event.target.value)).toPrecision(3)) }));
    byId(`${name}_number`).addEventListener("input", (event) => {
      const value = Number(event.target.value);
      if (Number.isFinite(value) && value > 0) page.set({ [name]: value });
      else event.target.setAttribute("aria-invalid", "true");
    });
  }
  byId("only").addEventListener("change", (event) => page.set({ only: event.target.checked }));
  byId("more").addEventListener("click", () => {
    page.rowsShown += ROWS;
    page.table();
  });
  byId("copy").addEventListener("click", async () => {
    const code = pandasCode(page);
    byId("code").textContent = code;
    byId("code").hidden = false;
    try {
      await navigator.clipboard.writeText(code);
      byId("copied").textContent = "copied";
    } catch {
      getSelection().selectAllChildren(byId("code"));
      byId("copied").textContent = "selected below: copy it from there";
    }
  });
  byId("opened_run").addEventListener("change", (event) => page.set({ opened: Number(event.target.value), snapshot: Infinity }));
  byId("snapshot").addEventListener("input", (event) => page.set({ snapshot: Number(event.target.value) }));
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    drawDiagram(page, diagram);
    page.cell();
  });
}

// What is filled in once.
function fill(page) {
  const { about, state, arrays } = page;
  byId("title").textContent = about.title;
  const missing = about.expected - about.runs;
  const parts = [plural(about.runs, "run")];
  if (missing > 0) parts.push(`${missing.toLocaleString("en")} of ${about.expected.toLocaleString("en")} are missing or failed`);
  if (about.live) parts.push(`the sweep is running; this page is of ${about.live} and loads itself again`);
  if (about.curves.kept < about.runs) parts.push(`curves of ${about.curves.kept.toLocaleString("en")} of them`);
  if (about.curves.thinned) parts.push("not every logged step is drawn");
  byId("summary").textContent = parts.join(" · ");
  byId("theme").value = state.theme;
  byId("safe").checked = state.safe;
  byId("safe").parentElement.hidden = about.safe === null;
  byId("computed").hidden = !about.computed;
  byId("computed").textContent = `phases as computed by ${about.computed}`;
  for (const id of ["definition_label", "thresholds", "article"]) byId(id).hidden = Boolean(about.computed);
  byId("only").checked = state.only;
  byId("unit").textContent = about.loss_unit && ` (${about.loss_unit})`;
  const same = Object.entries(about.same).flatMap(([name, value]) => [
    Object.assign(document.createElement("dt"), { textContent: name }),
    Object.assign(document.createElement("dd"), { textContent: words(value) }),
  ]);
  byId("same").replaceChildren(...same);
  // A slider spans what the runs have and the value that is set.
  const span = (id, values, set) => {
    let [low, high] = [Math.log10(set), Math.log10(set)];
    for (const value of values) {
      if (!(value > 0 && Number.isFinite(value))) continue;
      low = Math.min(low, Math.log10(value));
      high = Math.max(high, Math.log10(value));
    }
    byId(id).min = String(Math.floor(low));
    byId(id).max = String(Math.ceil(high) + 1);
  };
  span("min_loss", [...arrays.min_train_loss, ...arrays.min_eval_loss], state.min_loss);
  span("max_ratio", arrays.max_loss_ratio, state.max_ratio);
  for (const value of page.metrics()) {
    const label = document.createElement("label");
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "metric", value, checked: value === state.metric });
    radio.addEventListener("change", () => page.set({ metric: value }));
    label.append(radio, ` ${value.replaceAll("_", " ")}`);
    byId("metrics").append(label);
  }
  byId("opened_run").replaceChildren(
    ...about.weights.map((one, k) =>
      Object.assign(document.createElement("option"), { value: String(k), textContent: `${runId(arrays, one.run)} · seed ${arrays.seed[one.run]}` }),
    ),
  );
  byId("opened_run").value = String(state.opened);
}

async function start() {
  const about = JSON.parse(byId("about").textContent);
  byId("title").textContent = about.title;
  const [library, data] = await Promise.all([unpack("plotly"), unpack("data")]);
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(library);
  document.head.append(script);
  const page = new Page(about, arraysOf(about, data));
  document.querySelector("main").hidden = false;
  fill(page);
  page.controls();
  page.thresholds();
  page.theme();
  page.legend();
  page.cell();
  page.opened();
  listen(page);
  performance.mark("usable");
  window.grokPage = page; // for who looks into it
  setTimeout(() => {
    page.table();
    document.documentElement.dataset.ready = "yes";
  });
  if (about.live) again(page);
}

// While the sweep runs: load the page again, but not under the hands of a reader, and stay where it was.
function again(page) {
  let touched = -QUIET;
  for (const event of ["pointermove", "pointerdown", "keydown", "wheel", "touchmove", "input"])
    addEventListener(event, () => (touched = performance.now()), { passive: true });
  const left = JSON.parse(sessionStorage.getItem(LEFT) || "null");
  if (left) {
    page.rowsShown = left.rows;
    scrollTo(0, left.y);
  }
  setInterval(() => {
    if (document.hidden || performance.now() - touched < QUIET) return;
    sessionStorage.setItem(LEFT, JSON.stringify({ y: scrollY, rows: page.rowsShown }));
    location.reload();
  }, RELOAD);
}

start().catch((error) => {
  byId("summary").textContent = `This page cannot be shown: ${error.message}. It needs a browser of 2023 or newer.`;
  throw error;
});
