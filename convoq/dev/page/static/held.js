// What rules hold back now: a line each, kept while it stays the same.

const section = document.getElementById("held");
const list = section.querySelector("ul");
const blank = document.getElementById("held-line").content.firstElementChild;
let shown = "";

export function showHeld(held) {
  const now = JSON.stringify(held);
  if (now === shown) return;
  shown = now;
  section.hidden = held.length === 0;
  list.replaceChildren(...held.map(line));
}

function line({ rule, detail, resume }) {
  const node = blank.cloneNode(true);
  Object.assign(node.dataset, { rule, resume });
  node.querySelector("[data-field=rule]").textContent = rule;
  node.querySelector("[data-field=detail]").textContent = detail;
  const form = node.querySelector("form");
  form.hidden = resume === "";
  form.action = `/conversations/${resume || 0}/resume`;
  // The template's is of the run in which the page was loaded.
  form.querySelector("[name=token]").value = document.querySelector("main [name=token]").value;
  return node;
}
