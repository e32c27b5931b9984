// Writing at a phone: lines, their length, and what was written before.

for (const text of document.querySelectorAll(".compose textarea")) {
  text.addEventListener("input", () => measure(text));
  text.addEventListener("keydown", (event) => press(event, text));
  measure(text); // a browser may have kept what was being written
}

// Every change by script goes through here: it fires no input event.
export function fill(text, value) {
  text.value = value;
  if (text.form.querySelector(".count")) measure(text);
}

function measure(text) {
  const form = text.form;
  const longest = Number(text.dataset.longest);
  const length = text.value.length; // in UTF-16 units, as Twilio counts
  const count = form.querySelector(".count");
  const number = (value) => value.toLocaleString("en");
  count.hidden = length === 0;
  count.dataset.over = length > longest ? "yes" : "no";
  count.textContent =
    length > longest ? `${number(length - longest)} too many of ${number(longest)}` : `${number(length)} of ${number(longest)}`;
  if (!CSS.supports("field-sizing", "content")) {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
  }
}

function press(event, text) {
  // The Enter that ends an input method's word sends nothing; Safari tells by the key code alone.
  if (event.isComposing || event.keyCode === 229) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    text.form.requestSubmit();
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    recall(event, text);
  }
}

// As in a shell, but only where nothing was begun: the arrows also move in a text of several lines.
function recall(event, text) {
  const written = [...text.closest(".screen").querySelectorAll(".mine .bubble [data-field=text]")].map((one) => one.textContent)
    .filter(Boolean);
  const shown = Number(text.dataset.back ?? 0);
  const back = text.value === "" ? 0 : text.value === written.at(-shown) ? shown : -1;
  const wanted = event.key === "ArrowUp" ? back + 1 : back - 1;
  if (back < 0 || wanted < 0 || wanted > written.length) return;
  event.preventDefault();
  text.dataset.back = wanted;
  fill(text, wanted ? written.at(-wanted) : "");
}
