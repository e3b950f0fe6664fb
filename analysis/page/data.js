"use strict";
// What Python wrote (analysis/page/__init__.py): unpacked, and the phases of runs. No drawing here.

async function unpack(id) {
  const text = atob(byId(id).textContent);
  const bytes = new Uint8Array(text.length); // filled letter by letter: Uint8Array.from takes 0.3 s longer
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(whole).arrayBuffer();
}

// Arrays by name, views of one buffer.
function arraysOf(about, buffer) {
  return Object.fromEntries(
    Object.entries(about.arrays).map(([name, [kind, start, length]]) => [name, new globalThis[kind](buffer, start, length)]),
  );
}

// The place in about.phases of every run: as Python found it, or by "pair" at any thresholds, as analysis.classify.
function classify({ about, arrays, state }) {
  if (state.definition !== "pair") return arrays[`phase ${state.definition}`];
  const [memorize, grok, generalize, fail] = ["memorize", "grok", "generalize", "fail"].map((name) =>
    about.phases.findIndex((phase) => phase.name === name),
  );
  const { min_train_loss: train, min_eval_loss: test, max_loss_ratio: ratio, diverged_step: diverged } = arrays;
  const [min_loss, max_ratio] = [Number(state.min_loss), Number(state.max_ratio)];
  return Uint8Array.from({ length: about.runs }, (_, i) => {
    if (!Number.isNaN(diverged[i]) || Number.isNaN(train[i] + test[i] + ratio[i]) || train[i] > min_loss) return fail;
    if (test[i] > min_loss) return memorize;
    return ratio[i] < max_ratio ? generalize : grok;
  });
}

// In percent the interval of 95 % for the share hits / runs, as analysis.wilson.
function wilson(hits, runs) {
  const z = 1.959964;
  const share = hits / runs;
  const middle = share + z ** 2 / (2 * runs);
  const half = z * Math.sqrt((share * (1 - share)) / runs + z ** 2 / (4 * runs ** 2));
  const ends = [Math.max(0, middle - half), middle + half];
  return ends.map((end) => Math.round((100 * end) / (1 + z ** 2 / runs))).join(" to ");
}

function runId(arrays, i) {
  return String.fromCharCode(...arrays.run_id.subarray(16 * i, 16 * i + 16));
}

function exactly(number) {
  const size = Math.abs(number);
  return size !== 0 && (size < 1e-3 || size >= 1e7) ? number.toExponential().replace("e+", "e") : String(number);
}

// A number or text of a config or table, for people: 0.001 as float32 is 0.0010000000474974513.
function words(value) {
  if (value === null || Number.isNaN(value)) return "none";
  return typeof value === "number" ? exactly(Number(value.toPrecision(6))) : String(value);
}

function number(count) {
  return count.toLocaleString("en");
}

function plural(count, name) {
  return `${number(count)} ${name}${count === 1 ? "" : "s"}`;
}
