// DOM elements; numbers and times as text. Data becomes text nodes and attributes, never HTML.

const SVG = "http://www.w3.org/2000/svg";
const SPANS_H = [1 / 60, 5 / 60, 0.25, 1, 3, 6, 12, 24, 48, 96, 168, 336, 672, 2016, 8766];

const byId = (id) => document.getElementById(id);

function fill(node, about, children) {
  for (const [name, value] of Object.entries(about)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

const html = (tag, about = {}, ...children) => fill(document.createElement(tag), about, children);
const svg = (tag, about = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), about, children);
const write = (x, y, words, about = {}) => svg("text", { x, y, ...about }, words);

function drawing(width, height, label, ...parts) {
  const about = { class: "draw", role: "img", "aria-label": label, height };
  return svg("svg", { ...about, viewBox: `0 0 ${width} ${height}` }, ...parts);
}

const plural = (n, one) => `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;

function percent(share) {
  const value = 100 * share;
  if (value < 0.01) return "<0.01 %";
  return `${value < 0.1 ? value.toFixed(2) : value < 9.95 ? value.toFixed(1) : value.toFixed(0)} %`;
}

function span(hours) {
  const minutes = Math.round(60 * hours);
  if (minutes < 1) return "under a minute";
  if (minutes < 60) return `${minutes} min`;
  if (hours < 23.75) return two(Math.round(4 * hours) / 4, "h", 60, "min");
  if (hours < 24 * 13.5) return two(Math.round(hours) / 24, "d", 24, "h");
  if (hours < 24 * 75) return `${Math.round(hours / 168)} weeks`;
  return `${Math.round(hours / 730.5)} months`;
}

function two(value, large, size, small) {
  const whole = Math.floor(value + 1e-9), rest = Math.round((value - whole) * size);
  return whole < 7 && rest ? `${whole} ${large} ${rest} ${small}` : `${Math.round(value)} ${large}`;
}

function tickSpan(hours) {
  if (hours < 0.99) return `${Math.round(60 * hours)} min`;
  if (hours < 24) return `${hours} h`;
  if (hours < 168) return `${hours / 24} d`;
  return hours < 2016 ? `${hours / 168} wk` : hours < 8766 ? "12 wk" : "1 yr";
}

const km = (far) => `${far < 10 ? far.toFixed(1) : Math.round(far)} km`;

// A moment is UTC milliseconds; a clock is the minutes to add to it.
const FORMATS = {
  day: { weekday: "short", day: "numeric", month: "short" },
  dated: { day: "numeric", month: "short", year: "numeric" },
  month: { month: "short", year: "numeric" },
  year: { year: "numeric" },
  hour: { weekday: "short", hour: "2-digit", minute: "2-digit" },
  minute: { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" },
  full: { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit",
    minute: "2-digit" },
};
for (const [name, options] of Object.entries(FORMATS)) {
  FORMATS[name] = new Intl.DateTimeFormat("en-GB", { ...options, hourCycle: "h23", timeZone: "UTC" });
}
const clock = (ms, offsetMin, format) => FORMATS[format].format(ms + 60_000 * offsetMin);

function zone(offsetMin) {
  const minutes = Math.abs(offsetMin), sign = offsetMin < 0 ? "\u2212" : "+";
  const rest = minutes % 60 ? `:${String(minutes % 60).padStart(2, "0")}` : "";
  return minutes ? `UTC${sign}${Math.floor(minutes / 60)}${rest}` : "UTC";
}

const forInput = (ms, offsetMin) => new Date(ms + 60_000 * offsetMin).toISOString().slice(0, 16);
const fromInput = (value, offsetMin) => Date.parse(`${value}Z`) - 60_000 * offsetMin;

// Degrees to kilometres, good within a region.
function between(from, to) {
  const y = 110.57 * (to.lat - from.lat);
  const x = 111.32 * Math.cos((Math.PI * from.lat) / 180) * (to.lon - from.lon);
  const winds = ["north", "north-east", "east", "south-east", "south", "south-west", "west",
    "north-west"];
  const wind = winds[(Math.round((4 * Math.atan2(x, y)) / Math.PI) + 8) % 8];
  return { far: Math.hypot(x, y), wind };
}

const located = (thing) => thing.lat !== null && thing.lon !== null;
