"use strict";
const the = (id) => document.getElementById(id);
const TOKEN = location.hash.slice(1); // a fragment is never sent, nor passed on to another page
const LONGEST = Number(document.body.dataset.longest); // characters of a message
const SHORT = 180; // characters of a passage that stand beside an answer without being cut
const FILTERED = 8; // memories from which a filter helps
const SHOWN = 200; // rows; the filter finds the others
const HINT = the("notice").textContent;
const known = new Set(); // what the panel showed before, to mark what is new
let drawn = false;
let panel = null;
let waiting = false;

// Everything that comes from a person or a model goes through here, as text and never as markup.
function element(tag, style, ...children) {
  const made = document.createElement(tag);
  made.className = style;
  made.append(...children);
  return made;
}

function button(label, name, press, style = "") {
  const made = element("button", style, label);
  made.type = "button";
  made.setAttribute("aria-label", name);
  made.addEventListener("click", press);
  return made;
}

async function call(path, body) {
  const headers = { "X-Perennial-Token": TOKEN, ...(body && { "Content-Type": "application/json" }) };
  let response;
  try {
    response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Error("Perennial can't be reached. Start it again in the terminal, and open the address it shows.");
  }
  const reply = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(reply.error ?? `Perennial refused this (${response.status}). Reload the page.`);
  return reply;
}

async function send() {
  const message = the("message").value.trim();
  const length = [...message].length;
  if (!message || waiting) return;
  if (length > LONGEST) {
    notice(`A message has at most ${LONGEST} characters; this one has ${length}.`);
    return;
  }
  wait(true);
  const turn = begin(message);
  write("");
  try {
    answer(turn, await call("/api/turns", { message }));
  } catch (error) {
    turn.append(element("p", "answer bad", error.message));
    if (!the("message").value) write(message); // to be sent again
  }
  turn.querySelector(".thinking").remove();
  turn.scrollIntoView({ block: "nearest" });
  wait(false);
  await refresh();
}

function begin(message) {
  the("empty").hidden = true;
  const said = element("p", "said", message);
  said.dir = "auto";
  const turn = element("article", "", element("span", "unseen", "You: "), said, element("p", "thinking", "Thinking"));
  the("turns").append(turn);
  turn.scrollIntoView({ block: "end" });
  return turn;
}

function answer(turn, { answer, retrieved, saved, instructions }) {
  const said = element("p", "answer", answer);
  said.dir = "auto";
  const sources = retrieved.map((each) => source(each));
  if (!sources.length) sources.push(element("li", "soft", "answered without a memory"));
  for (const [name, value] of Object.entries(instructions)) {
    sources.push(element("li", "good", element("p", "from", name), value));
  }
  if (saved) sources.push(element("li", "good", element("p", "from", "remembered"), `${saved.key}: ${saved.value}`));
  turn.append(said, element("ul", "sources", ...sources));
}

function source({ text, score, source }) {
  const memory = source === "memory";
  const number = element("span", "", `score ${score.toFixed(2)}`);
  number.title = "How well it fits the message: the higher, the better";
  const passage = element("p", "passage", memory ? text.replace(/^\[|\]$/g, "") : text);
  const made = element("li", "", element("p", "from", memory ? "from memory" : source, number), passage);
  if (text.length > SHORT) {
    passage.classList.add("cut");
    const more = button("show all", `Show all of the passage from ${source}`, () => {
      more.setAttribute("aria-expanded", passage.classList.toggle("cut") ? "false" : "true");
      more.textContent = passage.classList.contains("cut") ? "show all" : "show less";
    });
    more.setAttribute("aria-expanded", "false");
    made.append(more);
  }
  return made;
}

async function refresh() {
  try {
    const now = await call("/api/memories");
    if (JSON.stringify(now) === JSON.stringify(panel)) return; // or a half-made choice would be lost
    panel = now;
    draw();
  } catch (error) {
    notice(error.message);
  }
}

function draw() {
  const wanted = the("filter").value.trim().toLowerCase();
  const fits = ({ key, value }) => `${key}: ${value}`.toLowerCase().includes(wanted);
  const found = panel.memories.filter(fits).sort((one, two) => two.pinned - one.pinned || two.id - one.id);
  const count = panel.memories.length;
  const hidden = found.length - SHOWN;
  the("filter").hidden = count < FILTERED && !wanted;
  the("count").textContent = count || "";
  the("toggle").textContent = count ? `Memory (${count})` : "Memory";
  the("none").hidden = count > 0;
  the("more").hidden = hidden <= 0;
  the("more").textContent = `and ${hidden} more`;
  the("memories").replaceChildren(...found.slice(0, SHOWN).map(memoryRow));
  the("documents").replaceChildren(...panel.documents.map(documentRow));
  the("papers").hidden = !panel.documents.length;
  panel.memories.forEach(({ id }) => known.add(id));
  drawn = true;
}

function memoryRow({ id, key, value, created, expires, pinned }) {
  const name = element("p", "key", key, ...(pinned ? [element("b", "", "pinned")] : []));
  const dates = element("span", "", expires ? `until ${lastDay(expires)}` : `since ${moment(created)}`);
  dates.title = `Said on ${moment(created)}${expires ? `, over on ${moment(expires)}` : ""}`;
  const pin = button(pinned ? "Unpin" : "Pin", `${pinned ? "Unpin" : "Pin"} ${key}`, () =>
    change("/api/memories/pin", { key, pinned: !pinned }, `${key} is ${pinned ? "no longer pinned" : "pinned"}.`));
  pin.title = "A pinned memory is never dropped to make room";
  const forget = () => change("/api/memories/forget", { key }, `${key} is forgotten.`);
  const made = element("li", "", name, element("p", "", value), row(dates, key, forget, pin));
  made.dataset.key = key;
  if (drawn && !known.has(id)) made.classList.add("fresh");
  return made;
}

function documentRow({ source, passages }) {
  const size = element("span", "", passages === 1 ? "1 passage" : `${passages} passages`);
  const forget = () => change("/api/documents/forget", { source }, `${source} is forgotten.`);
  return element("li", "", element("p", "", source), row(size, source, forget));
}

// Deleting is for good, so it asks once more, in place.
function row(label, name, forget, ...others) {
  const ask = button("Delete", `Delete ${name}`, () => {
    label.hidden = true;
    actions.replaceChildren(sure, keep);
    keep.focus();
  });
  const sure = button("Delete for good", `Delete ${name} for good`, forget, "bad");
  const keep = button("Keep", `Keep ${name}`, () => {
    label.hidden = false;
    actions.replaceChildren(...others, ask);
    ask.focus();
  });
  const actions = element("span", "", ...others, ask);
  actions.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || ask.isConnected) return;
    event.stopPropagation();
    keep.click();
  });
  return element("div", "row", label, actions);
}

async function change(path, body, done) {
  let failure = "";
  try {
    await call(path, body);
  } catch (error) {
    failure = error.message;
  }
  await refresh();
  news(failure || done, Boolean(failure));
  if (document.activeElement !== document.body) return;
  const row = [...the("memories").children].find((each) => each.dataset.key === body.key); // gone if it was deleted
  (row?.querySelector("button") ?? the("news")).focus();
}

function moment(stamp, time = { hour: "2-digit", minute: "2-digit" }) {
  const year = new Date(stamp).getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return new Date(stamp).toLocaleString([], { day: "numeric", month: "short", year, ...time });
}

function lastDay(expires) {
  return moment(Date.parse(expires) - 1, {}); // over at midnight: the day before it is the last one
}

function news(text, bad = false) {
  the("news").textContent = text;
  the("news").className = bad ? "bad" : "soft";
}

function notice(text) {
  the("notice").textContent = text || HINT;
  the("notice").className = text ? "bad" : "soft";
}

function wait(on) {
  waiting = on;
  the("send").setAttribute("aria-disabled", String(on));
}

function write(text) {
  the("message").value = text;
  grow();
}

function grow() {
  const box = the("message");
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

function open(on) {
  the("panel").classList.toggle("open", on);
  the("toggle").setAttribute("aria-expanded", String(on));
  document.querySelector("main").inert = on;
}

the("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
  the("message").focus();
});
the("message").addEventListener("input", () => {
  grow();
  notice("");
});
the("message").addEventListener("keydown", (event) => {
  // while a Hangul syllable is being composed, Enter ends the syllable; Safari says so by 229 alone
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send();
});
the("filter").addEventListener("input", draw);
the("toggle").addEventListener("click", () => open(!the("panel").classList.contains("open")));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !the("panel").classList.contains("open")) return;
  open(false);
  the("toggle").focus();
});
matchMedia("(min-width: 64.01rem)").addEventListener("change", () => open(false));
addEventListener("hashchange", () => location.reload()); // the address of a new start, in the same tab
document.addEventListener("visibilitychange", () => document.hidden || refresh()); // what has expired, goes
refresh();
