"use strict";
const at = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg", WIDTH = 1000, LEFT = 170, LANE = 30, KEPT = 2000, SHOWN = 100;
const COLOURS = { speech: "#2563eb", caption: "#0f766e", sound: "#7c3aed", priority: "#dc2626", gap: "#6b7280" };
const QUIETEST = -90, LEVELS = 4000;
let events = [], now = 0, late = [], levels = [];

function drawn(tag, given, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(given)) { element.setAttribute(name, value); }
  if (text !== undefined) { element.textContent = text; }
  return element;
}

function lanes() {
  const span = Number(at("span").value), from = Math.max(0, now - span), wide = (WIDTH - LEFT) / span;
  const labels = [...new Set(events.filter((e) => e.lane === "sound" && (e.end ?? now) >= from).map((e) => e.label))].sort();
  const rows = ["level", "speech", ...labels, "caption", "gap"];
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${rows.length * LANE + 24}` });
  rows.forEach((row, index) => {
    const y = index * LANE;
    svg.append(drawn("text", { x: LEFT - 8, y: y + 19, "text-anchor": "end" }, row.length > 20 ? `${row.slice(0, 19)}…` : row));
    svg.append(drawn("line", { x1: LEFT, x2: WIDTH, y1: y + LANE - 1, y2: y + LANE - 1, stroke: "#8884" }));
    for (const event of events) {
      const end = event.end ?? now;
      if (end < from || (event.lane === "sound" ? event.label : event.lane) !== row) { continue; }
      const x = LEFT + (Math.max(event.start, from) - from) * wide, width = Math.max(2, (end - Math.max(event.start, from)) * wide);
      const bar = drawn("rect", { x, y: y + 5, width, height: LANE - 11, rx: 4, fill: COLOURS[event.priority ? "priority" : event.lane] });
      bar.append(drawn("title", {}, `${clock(event.start)} ${event.text}`));
      svg.append(bar);
    }
  });
  for (const [name, colour] of [["floor", "#9ca3af"], ["level", "#b45309"]]) {
    const points = levels.filter((l) => l.at >= from && l[name] !== null)
      .map((l) => `${LEFT + (l.at - from) * wide},${2 + (LANE - 4) * Math.min(1, Math.max(0, l[name] / QUIETEST))}`);
    svg.append(drawn("polyline", { id: name, points: points.join(" "), fill: "none", stroke: colour, "stroke-width": 1.5 }));
  }
  const y = rows.length * LANE + 16;
  for (let tick = 0; tick <= 4; tick += 1) {
    const x = LEFT + ((WIDTH - LEFT) * tick) / 4;
    svg.append(drawn("text", { x, y, "text-anchor": tick === 4 ? "end" : tick ? "middle" : "start" }, clock(from + (span * tick) / 4)));
  }
  at("lanes").replaceChildren(svg);
}

function row(record, what, details) {
  const line = made("tr");
  line.append(made("td", clock(record.start ?? record.at ?? 0)), made("td", what), made("td", details));
  at("events").prepend(line);
  while (at("events").children.length > SHOWN) { at("events").lastChild.remove(); }
}

function condition(status) {
  const rows = [["lag", `${status.lag.toFixed(2)} s`], ["waiting", String(status.waiting)], ["views left out", String(status.shed)]];
  for (const [step, share] of Object.entries(status.duty ?? {})) { rows.push([`duty of ${step}`, `${(100 * share).toFixed(1)} %`]); }
  if (late.length) {
    const sorted = [...late].sort((a, b) => a - b);
    rows.push(["latency of captions, median", `${(1000 * sorted[Math.floor(sorted.length / 2)]).toFixed(0)} ms (n = ${sorted.length})`]);
  }
  at("condition").replaceChildren(...rows.flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
}

function take(record) {
  if (record.type === "session" || (record.type === "snapshot" && !record.resumed)) {
    events = []; late = []; levels = []; now = 0;
    at("events").replaceChildren();
    (record.sounds ?? []).forEach(take);
    if (record.status) { take(record.status); }
    return;
  }
  now = Math.max(now, record.end ?? 0, record.start ?? 0, record.at ?? 0);
  if (record.type === "speech") {
    events.push({ lane: "speech", start: record.start, end: record.end, text: "speech" });
  } else if (record.type === "sound") {
    const known = events.find((e) => e.lane === "sound" && e.id === record.id);
    if (known) { known.end = record.end; } else {
      events.push({ lane: "sound", id: record.id, label: record.label, start: record.start, end: record.end, text: record.label, priority: record.priority });
    }
    if (record.state === "start" && !known) { row(record, record.label, `score ${record.score.toFixed(2)}`); }
  } else if (record.type === "caption") {
    late.push(record.latency);
    late = late.slice(-500);
    if (record.final) {
      events.push({ lane: "caption", start: record.start, end: record.end, text: record.text });
      row(record, "caption", record.text);
    }
  } else if (record.type === "gap") {
    events.push({ lane: "gap", start: record.start, end: record.end, text: record.reason });
    row(record, "gap", `${(record.end - record.start).toFixed(3)} s lost (${record.reason})`);
  } else if (record.type === "device") {
    row(record, "microphone", `${record.state} ${record.detail ?? ""}`);
  } else if (record.type === "status") {
    condition(record);
  }
  events = events.slice(-KEPT);
}
async function measure() {
  try {
    const told = await (await fetch("/health")).json();
    now = Math.max(now, told.processed_s);
    levels.push({ at: told.processed_s, level: told.level_dbfs, floor: told.floor_dbfs });
    levels = levels.slice(-LEVELS);
  } catch { /* the server is away: the stream says so */ }
}

at("span").onchange = lanes;
setInterval(measure, 500);
setInterval(lanes, 500);
follow(take, (text) => { at("state").textContent = text; });
