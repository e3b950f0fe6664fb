"use strict";
// What Python wrote (analysis/page/__init__.py): unpacked, and made into runs and curves. No drawing here.

const NEVER = -1; // a step that there is not

async function unpack(id) {
  const text = atob(document.getElementById(id).textContent);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(whole).arrayBuffer();
}

// Arrays by name, views of one buffer.
function arraysOf(about, buffer) {
  const kinds = { Float32Array, Float64Array, Int32Array, Int16Array, Uint8Array };
  return Object.fromEntries(
    Object.entries(about.arrays).map(([name, [kind, start, length]]) => [name, new kinds[kind](buffer, start, length)]),
  );
}

// The index in about.phases of every run: by the rule of analysis.classify, or as Python found it by another.
function classify(about, arrays, how) {
  if (about.computed) return arrays.phase;
  const [memorize, grok, generalize, fail] = ["memorize", "grok", "generalize", "fail"].map((name) =>
    about.phases.indexOf(name),
  );
  const { min_train_loss: train, min_eval_loss: test, max_loss_ratio: ratio, diverged_step: diverged } = arrays;
  const [liu_train, liu_eval] = ["train", "eval"].map((side) => arrays[`${how.definition}_${side}`]);
  const pair = (i) => {
    if (Number.isNaN(train[i]) || Number.isNaN(test[i]) || Number.isNaN(ratio[i])) return fail;
    if (train[i] > how.min_loss) return fail;
    if (test[i] > how.min_loss) return memorize;
    return ratio[i] < how.max_ratio ? generalize : grok;
  };
  const liu = (i) => {
    if (liu_train[i] === NEVER) return fail;
    if (liu_eval[i] === NEVER) return memorize;
    return liu_eval[i] - liu_train[i] < about.liu_apart ? generalize : grok;
  };
  const rule = how.definition === "pair" ? pair : liu;
  return Uint8Array.from({ length: about.runs }, (_, i) => (diverged[i] === NEVER ? rule(i) : fail));
}

function runId(arrays, i) {
  let text = "";
  for (let k = 8 * i; k < 8 * i + 8; k++) text += arrays.run_id[k].toString(16).padStart(2, "0");
  return text;
}

function grokDelay(arrays, i) {
  const { memorize_step: from, generalize_step: to } = arrays;
  return from[i] === NEVER || to[i] === NEVER ? NaN : to[i] - from[i];
}

// run -> [first, last + 1] in the arrays of curves, of those that are in the page.
function curvePlaces(arrays) {
  const places = new Map();
  let start = 0;
  arrays.curve_run.forEach((run, k) => {
    places.set(run, [start, start + arrays.curve_length[k]]);
    start += arrays.curve_length[k];
  });
  return places;
}

// A number or text of a config or table, for people.
function words(value) {
  if (value === null || Number.isNaN(value)) return "none";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential().replace("e+", "e");
  return String(value);
}

// plotly takes some tags in its texts; what comes from a config is text.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;");
}

function plural(count, name) {
  return `${count.toLocaleString("en")} ${name}${count === 1 ? "" : "s"}`;
}
