"use strict";
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

function dot(svg, x, y, event) {
  const circle = document.createElementNS(SVG, "circle");
  circle.setAttribute("cx", x);
  circle.setAttribute("cy", y);
  circle.setAttribute("r", event.is_alert ? 5 : 3);
  circle.setAttribute("class", event.is_alert ? "alert" : "flag");
  const title = document.createElementNS(SVG, "title");
  title.textContent = `${event.user_id} at ${event.item_id}: ${event.reasons.join(", ")}`;
  circle.append(title);
  svg.append(circle);
}

function scale(values, low, high) {
  const least = Math.min(...values), most = Math.max(...values);
  return (value) => most > least ? low + (high - low) * (value - least) / (most - least) : (low + high) / 2;
}

function draw(events) {
  const timeline = byId("timeline"), map = byId("map");
  timeline.replaceChildren();
  map.replaceChildren();
  if (!events.length) return;
  const times = events.map((event) => Date.parse(event.occurred_at));
  const x = scale(times, 15, 625), y = scale(events.map((event) => event.score), 185, 15);
  events.forEach((event, index) => dot(timeline, x(times[index]), y(event.score), event));
  const placed = events.filter((event) => event.lat !== null && event.lon !== null);
  if (!placed.length) return;
  const east = scale(placed.map((event) => event.lon), 15, 305);
  const north = scale(placed.map((event) => event.lat), 185, 15);
  placed.forEach((event) => dot(map, east(event.lon), north(event.lat), event));
}

async function postLabel(event, label, cell) {
  const reply = await fetch("/labels", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ key: event.key, label }),
  });
  cell.textContent = reply.ok ? `labelled ${label}` : `not stored: ${reply.status}`;
}

function row(event) {
  const line = document.createElement("tr");
  const time = new Date(event.occurred_at).toLocaleString();
  for (const text of [time, event.user_id, event.item_id, event.score.toFixed(1), event.reasons.join(", ")]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    line.append(cell);
  }
  const cell = document.createElement("td");
  for (const label of ["genuine", "fraud"]) {
    const button = document.createElement("button");
    button.textContent = label;
    button.addEventListener("click", () => postLabel(event, label, cell));
    cell.append(button);
  }
  line.append(cell);
  return line;
}

function stateText(anomalies) {
  if (anomalies.version === null) return "No detector: run chronotope anomalies train";
  const drift = anomalies.drift;
  const scores = drift === null ? "" : ` · ${drift.n_scores} latest scores, ` +
    `${(100 * drift.flagged_share).toFixed(1)} % flagged` + (drift.has_drifted ? " · the scores have drifted" : "");
  return `Detector version ${anomalies.version} · ${anomalies.events.length} flagged events${scores}`;
}

async function load() {
  const reply = await fetch("/anomalies?limit=200");
  if (!reply.ok) {
    byId("state").textContent = `The service answered ${reply.status}`;
    return;
  }
  const anomalies = await reply.json();
  byId("state").textContent = stateText(anomalies);
  draw(anomalies.events);
  byId("events").replaceChildren(...anomalies.events.map(row));
}

load();
