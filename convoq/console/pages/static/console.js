// The console's pages, made lively: everything here works without it, only later and with the mouse.

const LATE = 20_000; // ms without a stream, until the page says that it is out of date
const HIDDEN = 60_000; // ms that a hidden tab keeps its stream
const own = () => document.querySelector("[data-self]")?.dataset.self ?? location.pathname;
const talk = () => document.getElementById("talk");

let stream = null;
let seen = document.querySelector("[data-marks]")?.dataset.marks; // what the page shows already
let lost = 0;
let leaving = 0;
let busy = false;
let again = false;

// --- What is on the screen follows what is in the database.

function listen() {
  if (stream) return;
  stream = new EventSource("/events");
  stream.addEventListener("open", () => show(true));
  stream.addEventListener("state", (event) => {
    show(true);
    const { marks } = JSON.parse(event.data);
    if (marks !== seen) refresh();
    seen = marks;
  });
  stream.addEventListener("error", () => {
    if (stream?.readyState === EventSource.CLOSED) { hush(); setTimeout(listen, 3000); refresh(); } // signed out, perhaps
    lost ||= setTimeout(() => show(false), LATE);
  });
}

function hush() {
  stream?.close();
  stream = null;
}

function show(live) {
  clearTimeout(lost);
  lost = 0;
  const strip = document.querySelector("[data-strip]");
  if (strip && live !== strip.hidden) {
    strip.hidden = live;
    strip.textContent = `No connection since ${new Date(Date.now() - LATE).toTimeString().slice(0, 5)}: what stands here may be old. It is tried again.`;
    if (live) refresh();
  }
  for (const place of document.querySelectorAll("[data-live-state]")) {
    place.hidden = false;
    place.querySelector(".dot").dataset.tone = live ? "" : "bad";
    place.querySelector("span").textContent = live ? "Live" : "Not up to date: no connection";
  }
}

async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(own(), { headers: { "X-Requested-With": "fetch" } });
    if (answer.status === 401) { location.reload(); return; }
    if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The stream says that there is no connection, and comes back with it.
  } finally {
    busy = false;
    if (again) { again = false; refresh(); }
  }
}

function swap(fresh) {
  document.title = fresh.title;
  for (const there of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(there.id);
    if (!next || shape(next) === shape(there)) continue;
    if (there.dataset.live === "still" && (there.matches(":hover") || there.contains(document.activeElement))) {
      there.addEventListener("pointerleave", refresh, { once: true }); // nothing moves under the pointer
      continue;
    }
    const at = there.scrollTop;
    there.replaceWith(next);
    next.scrollTop = at;
  }
  swapTalk(fresh);
  swapComposer(fresh);
}

// Without what is another each time that a page is made.
const shape = (place) => place.outerHTML.replace(/name="key" value="[^"]*"/g, "");

function swapTalk(fresh) {
  const here = talk(), next = fresh.getElementById("talk");
  if (!here || !next) return;
  const atEnd = here.scrollHeight - here.scrollTop - here.clientHeight < 40;
  const end = here.querySelector("#newest");
  for (const item of [...next.children]) {
    if (!item.id || item.id === "newest" || item.id === "older") continue;
    const known = here.querySelector(`:scope > #${CSS.escape(item.id)}`);
    if (!known) here.insertBefore(item, end);
    else if (known.outerHTML !== item.outerHTML && !known.contains(document.activeElement)) known.replaceWith(item);
  }
  if (atEnd) toEnd();
}

// A window that closes, or opens again, while somebody writes: what was written stays in the draft.
function swapComposer(fresh) {
  const here = document.querySelector("[data-composer]"), next = fresh.querySelector("[data-composer]");
  if (!here || !next || here.dataset.composer === next.dataset.composer) return;
  here.replaceWith(next);
  fillDraft();
}

function toEnd() {
  const here = talk();
  if (here) here.scrollTop = here.scrollHeight;
}

async function older(link) {
  const here = talk(), answer = await fetch(link.href, { headers: { "X-Requested-With": "fetch" } });
  if (!answer.ok) { location.reload(); return; }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const before = here.scrollHeight - here.scrollTop;
  const found = [...page.getElementById("talk").children].filter((item) => item.id && item.id !== "newest");
  link.replaceWith(...found.filter((item) => item.id === "older" || !document.getElementById(item.id)));
  here.scrollTop = here.scrollHeight - before;
}

// --- Drafts: what is not sent yet stays, in this tab alone.

const draftKey = (form) => `draft:${form.dataset.draft}`;

function fillDraft() {
  for (const form of document.querySelectorAll("form[data-draft]")) {
    const box = form.elements.namedItem("text");
    box.value ||= sessionStorage.getItem(draftKey(form)) ?? "";
  }
}

// Only the page that a send leads to shows that it was done: after a refusal, or none, the text is still wanted.
function forgetSent() {
  if (location.hash !== "#newest") return;
  const sent = sessionStorage.getItem("sent");
  if (sent) sessionStorage.removeItem(sent);
  sessionStorage.removeItem("sent");
  history.replaceState(null, "", location.pathname + location.search);
}

document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-draft]");
  if (form) sessionStorage.setItem(draftKey(form), event.target.value);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) { event.preventDefault(); return; } // the second press; the key makes it harmless anyway
  if (form.method !== "post") return;
  form.dataset.sent = "yes";
  sessionStorage.removeItem("sent");
  if (form.dataset.draft) sessionStorage.setItem("sent", draftKey(form));
  event.submitter?.setAttribute("aria-busy", "true");
});

window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-sent]")) delete form.dataset.sent;
});

// --- Keys: each stands on its button's title. None in a field, none with a modifier.

document.addEventListener("keydown", (event) => {
  const field = event.target.closest("input, textarea, select");
  if (field && event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    field.form?.requestSubmit(field.form.querySelector("[data-send]") ?? undefined);
  } else if (field && event.key === "Escape") {
    field.blur();
  } else if (!field && !event.ctrlKey && !event.metaKey && !event.altKey && !event.isComposing) {
    press(event);
  }
});

function press(event) {
  const rows = [...document.querySelectorAll("#people a")];
  if ((event.key === "j" || event.key === "k") && rows.length) {
    const at = rows.indexOf(document.activeElement);
    const step = event.key === "j" ? 1 : -1;
    rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))].focus();
    return;
  }
  if (!/^[a-z/]$/.test(event.key)) return;
  const place = document.querySelector(`[data-key="${event.key}"]`);
  if (!place) return;
  event.preventDefault();
  if (place.matches("input, textarea")) place.focus();
  else place.click();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a#older");
  if (link && !event.ctrlKey && !event.metaKey) { event.preventDefault(); older(link); }
});

document.addEventListener("visibilitychange", () => {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(hush, HIDDEN);
  else if (!stream) { listen(); refresh(); }
});

// What comes with time alone shows as well, though nothing was written: a worker that died, a window that closed.
setInterval(() => { if (!document.hidden && document.querySelector("[data-self]")) refresh(); }, 30_000);

forgetSent();
fillDraft();
toEnd();
listen();
