"use strict";
const KEPT = 200, ALERT_MS = 12000;
const at = (id) => document.getElementById(id);
const lines = at("lines"), open = at("open"), sounds = at("sounds"), alarm = at("alert");
const badges = new Map();
let hide = 0;

function caption(record, live) {
  if (!record.final) {
    open.replaceChildren(made("span", record.text.slice(0, record.committed)), made("span", record.text.slice(record.committed), "tentative"));
    open.classList.toggle("priority", Boolean(record.priority));
    return;
  }
  open.replaceChildren();
  if (!record.text.trim()) { return; }
  const stays = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
  const line = made("li", undefined, record.priority ? "priority" : "");
  line.append(made("time", clock(record.start)), made("span", record.text));
  lines.append(line);
  while (lines.children.length > KEPT) { lines.firstChild.remove(); }
  if (stays) { lines.scrollTop = lines.scrollHeight; }
  if (live) { at("said").textContent = record.text; }
}

function sound(record, live) {
  if (record.state === "end") {
    badges.get(record.id)?.remove();
    badges.delete(record.id);
    return;
  }
  badges.get(record.id)?.remove();
  const badge = made("li", undefined, record.priority ? "priority" : "");
  badge.append(made("span", record.label), document.createTextNode(` ${clock(record.start)}`));
  badges.set(record.id, badge);
  sounds.append(badge);
  if (record.priority && live) {
    alarm.textContent = record.label;
    alarm.hidden = false;
    clearTimeout(hide);
    hide = setTimeout(() => { alarm.hidden = true; }, ALERT_MS);
  }
}

function take(record, live) {
  if (record.type === "snapshot" && !record.resumed) {
    sounds.replaceChildren();
    badges.clear();
    open.replaceChildren();
    lines.replaceChildren();
    record.sounds.forEach((one) => sound(one, true));
    if (record.caption) { caption(record.caption, true); }
  } else if (record.type === "caption") {
    caption(record, live);
  } else if (record.type === "sound") {
    sound(record, live);
  } else if (record.type === "session") {
    sounds.replaceChildren();
    badges.clear();
    open.replaceChildren();
  } else if (record.type === "status") {
    at("state").textContent = record.lag >= 1 ? `listening, ${record.lag.toFixed(0)} s behind` : "listening";
  } else if (record.type === "device" && record.state !== "open") {
    at("state").textContent = `microphone: ${record.state}`;
  }
}

let size = Number(localStorage.getItem("size")) || 0;
function resize(step) {
  size = Math.max(-3, Math.min(8, size + step));
  localStorage.setItem("size", String(size));
  document.documentElement.style.removeProperty("--size");
  if (size) {
    const usual = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--size"));
    document.documentElement.style.setProperty("--size", `${usual * 1.2 ** size}rem`);
  }
}
function contrast(on) {
  document.documentElement.classList.toggle("contrast", on);
  at("contrast").setAttribute("aria-pressed", String(on));
  localStorage.setItem("contrast", on ? "1" : "");
}
at("smaller").onclick = () => resize(-1);
at("larger").onclick = () => resize(1);
at("contrast").onclick = () => contrast(!document.documentElement.classList.contains("contrast"));
resize(0);
contrast(Boolean(localStorage.getItem("contrast")));

at("ask").onsubmit = async (event) => {
  event.preventDefault();
  const question = at("question").value;
  if (!question.trim()) { return; }
  at("answer").textContent = "…";
  try {
    const told = await (await fetch("/ask", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ question }) })).json();
    at("answer").textContent = told.type === "answer" ? `${told.text} (${clock(told.start)} to ${clock(told.end)})` : told.message;
  } catch {
    at("answer").textContent = "the server did not answer";
  }
};
follow(take, (text) => { at("state").textContent = text; });
