// Keeps the page as the server says it is: one stream of whole states, and forms that are sent without leaving.

import { fill as fillText } from "/static/compose.js";
import { showHeld } from "/static/held.js";

const stream = new EventSource("/events");
stream.addEventListener("state", (event) => show(JSON.parse(event.data)));
stream.addEventListener("error", () => connected(false));
addEventListener("pagehide", () => stream.close());
addEventListener("submit", submit);
addEventListener("keydown", ({ key, target }) => {
  if (key === "Escape") close(target.closest("details"));
});
document.querySelectorAll(".chat").forEach(toEnd);
const inView = new IntersectionObserver((seats) => seats.forEach(showTab), { threshold: 0.6 });
document.querySelectorAll(".seat").forEach((seat) => inView.observe(seat));

function connected(yes) {
  document.body.dataset.connected = yes ? "yes" : "no";
  say("link", yes ? "" : "Not connected: convoq dev has stopped or is starting.");
}

function show(state) {
  // The page may be older than the run that it is connected to.
  for (const input of document.querySelectorAll("input[name=token]")) input.value = state.token;
  // Not as soon as the stream is open: a form that was sent before this would bear the older run's token.
  if (document.body.dataset.connected !== "yes") connected(true);
  for (const [name, value] of Object.entries(state.counters)) showCounter(name, value);
  for (const [name, value] of Object.entries(state.faults)) showFault(name, value);
  for (const [name, text] of Object.entries(state.facts)) say(name, text);
  showHeld(state.held);
  showWorker(state.worker);
  for (const phone of state.phones) showPhone(phone);
}

function showCounter(name, value) {
  const tile = document.querySelector(`[data-counter="${name}"]`);
  write(tile.querySelector("dd"), value);
  tile.hidden = name === "undelivered" && value === 0; // so rare that its place is better left to the others
  tile.dataset.bad = (name === "lost" || name === "doubled") && value > 0 ? "yes" : "no";
}

function showFault(name, value) {
  const button = document.querySelector(`[data-fault="${name}"]`);
  if (button.hasAttribute("aria-pressed")) {
    button.setAttribute("aria-pressed", String(value > 0));
    return;
  }
  button.dataset.left = value;
  write(button.querySelector(".left"), value ? `${value} left` : "");
}

function showWorker(worker) {
  document.querySelector("[data-worker]").dataset.worker = worker.state;
  say("worker-state", worker.state);
  say("worker-pid", worker.pid);
  say("restarts", worker.restarts);
  say("news", worker.news);
}

function showPhone(phone) {
  const seat = document.querySelector(`[data-phone="${phone.number}"]`);
  const chat = seat.querySelector(".chat");
  for (const name of document.querySelectorAll(`[data-owner="${phone.number}"]`)) write(name, phone.owner);
  write(seat.querySelector(`[data-initial]`), [...phone.owner][0]);
  write(seat.querySelector(".address"), phone.address);
  showDesk(seat.querySelector(".desk"), phone.desk);
  const following = chat.scrollHeight - chat.scrollTop - chat.clientHeight < 80;
  chat.querySelector(".empty").hidden = phone.items.length > 0;
  chat.querySelector(".typing").hidden = !phone.typing;
  showItems(chat.querySelector(".items"), phone.items);
  if (following) toEnd(chat);
}

// What can be done depends on who answers.
function showDesk(desk, { owner, sentence }) {
  desk.dataset.answers = owner;
  write(desk.querySelector("[data-sentence]"), sentence);
  for (const form of desk.querySelectorAll("form[data-owners]")) form.hidden = !form.dataset.owners.split(" ").includes(owner);
}

// Where one phone fills the screen, its tab says which.
function showTab({ target, isIntersecting }) {
  document.querySelector(`.tabs a[href="#${target.id}"]`).setAttribute("aria-current", String(isIntersecting));
}

function showItems(list, items) {
  const known = new Map([...list.children].map((node) => [node.dataset.key, node]));
  let place = list.firstElementChild;
  for (const item of items) {
    const node = known.get(item.key) ?? create(item.kind);
    known.delete(item.key);
    fill(node, item);
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
  }
  for (const gone of known.values()) gone.remove();
}

function create(kind) {
  const node = document.getElementById(`item-${kind}`).content.firstElementChild.cloneNode(true);
  node.classList.add("fresh");
  return node;
}

function fill(node, item) {
  Object.assign(node.dataset, { key: item.key, tone: item.tone, ticks: item.ticks, brief: item.brief ? "yes" : "no" });
  for (const part of node.querySelectorAll("[data-field]")) write(part, item[part.dataset.field]);
  node.querySelectorAll(".steps > li").forEach((stop, index) => {
    stop.dataset.state = item.steps[index].state;
    write(stop.querySelector("span"), item.steps[index].took);
  });
}

async function submit(event) {
  const form = event.target;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form));
  const text = form.querySelector("[name=text]");
  const written = text?.value;
  if (text) {
    if (!written.trim()) return;
    fillText(text, "");
    toEnd(form.closest(".seat").querySelector(".chat"));
  }
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { "X-Requested-With": "fetch" } });
    say("link", answer.ok ? "" : (await answer.text()).trim());
    if (answer.ok) return close(form.closest("details"));
  } catch {
    say("link", "Not sent: convoq dev does not answer.");
  }
  // Unless the next message has been begun meanwhile.
  if (text && !text.value) fillText(text, written);
}

function close(details) {
  if (!details?.open) return;
  details.open = false;
  details.querySelector("summary").focus();
}

function toEnd(chat) {
  chat.scrollTop = chat.scrollHeight;
}

function say(id, text) {
  write(document.getElementById(id), text);
}

// Only what differs is touched: screen readers and selections are left in peace.
function write(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}
