"use strict";
// What every page here is made of: elements, lists of choices, controls.

const byId = (id) => document.getElementById(id);

function element(tag, given, ...children) {
  const made = Object.assign(document.createElement(tag), given);
  made.append(...children);
  return made;
}

function choices(list, options) {
  list.append(...options.map(([value, text]) => element("option", { value }, text)));
  return list;
}

// Sets the controls that there are to values that they take.
function enter(values) {
  for (const [name, given] of Object.entries(values)) {
    const value = typeof given === "number" ? exactly(given) : given;
    const control = byId("page").elements.namedItem(name);
    if (control?.type === "checkbox") control.checked = value === "on";
    else if (control && Array.from(control.options ?? [{ value }], (one) => one.value).includes(value)) control.value = value;
  }
}
