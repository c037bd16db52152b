// The drawings, each as wide as the element it is put into.

const DAY_MS = 86_400_000, N_TRAIL = 40;

// A smooth line that rises and falls only where its points do (Fritsch and Carlson, 1980).
function smooth(points) {
  const n = points.length - 1, slope = [], tangent = [];
  for (let i = 0; i < n; i++) {
    slope.push((points[i + 1][1] - points[i][1]) / (points[i + 1][0] - points[i][0]));
  }
  for (let i = 0; i <= n; i++) {
    const [left, right] = [slope[Math.max(0, i - 1)], slope[Math.min(n - 1, i)]];
    tangent.push(left * right <= 0 ? 0 : (2 * left * right) / (left + right));
  }
  return points.map(([x, y], i) => {
    if (!i) return `${x.toFixed(1)} ${y.toFixed(1)}`;
    const third = (x - points[i - 1][0]) / 3;
    const a = [points[i - 1][0] + third, points[i - 1][1] + third * tangent[i - 1]];
    const b = [x - third, y - third * tangent[i]];
    return `C${[...a, ...b, x, y].map((value) => value.toFixed(1)).join(" ")}`;
  }).join("");
}

function interpolate(curve, hours) {
  const i = Math.min(curve.length - 1, Math.max(1, curve.findIndex((p) => p.hours >= hours)));
  const [a, b] = [curve[i - 1], curve[i]];
  const share = Math.log(hours / a.hours) / Math.log(b.hours / a.hours);
  return (key) => a[key] + Math.min(1, Math.max(0, share)) * (b[key] - a[key]);
}

// The density over the logarithm of time, so that equal areas are equal probabilities.
function drawWhen(width, when, at, offset) {
  const curve = when.curve.filter((p, i, all) => p.hours > 0 && (!i || p.hours > all[i - 1].hours));
  if (curve.length < 3) return html("p", {}, "The forecast is too narrow to draw.");
  const left = 62, right = 12, base = 176, top = 30, height = base + 64;
  const [first, end] = [curve[0].hours, curve.at(-1).hours].map(Math.log);
  const x = (hours) => left + ((Math.log(hours) - first) / (end - first)) * (width - left - right);
  const peak = Math.max(...curve.map((p) => p.hours * p.density));
  const y = (hours, density) => base - (hours * density * (base - top)) / peak;
  const dots = curve.map((p) => [x(p.hours), y(p.hours, p.density)]);
  const line = smooth(dots), area = `M${dots[0][0]} ${base}L${line}L${dots.at(-1)[0]} ${base}Z`;
  const low = x(Math.max(when.low_h, curve[0].hours)), high = x(when.high_h);
  const middle = Math.max(left, Math.min(width - right, x(when.median_h)));
  const words = `50 % within ${span(when.median_h)}`;
  const label = `The next event comes within ${span(when.median_h)} with 50 %, and between ` +
    `${span(when.low_h)} and ${span(when.high_h)} with 80 %.`;
  const clip = svg("clipPath", { id: "core" },
    svg("rect", { x: low, y: 0, width: Math.max(1, high - low), height: base }));
  return drawing(width, height, label, clip,
    svg("path", { class: "tail", d: area }),
    svg("path", { class: "core", d: area, "clip-path": "url(#core)" }),
    svg("path", { class: "curve", d: `M${line}` }),
    svg("line", { class: "median", x1: middle, x2: middle, y1: top - 8, y2: base }),
    write(Math.max(left + 60, Math.min(width - 75, middle)), top - 14, words,
      { class: "strong", "text-anchor": "middle" }),
    svg("line", { class: "axis", x1: left, x2: width - right, y1: base, y2: base }),
    ...whenAxis(width, base, x, curve, at, offset),
    ...["in", "at", "by then"].map((row, i) =>
      write(0, base + 18 + 18 * i, row, { class: "strong" })));
}

function whenAxis(width, base, x, curve, at, offset) {
  const parts = [];
  let free = 90;
  for (const hours of SPANS_H) {
    const place = x(hours);
    if (hours < curve[0].hours * 0.999 || place < free || place > width - 22) continue;
    free = place + 68;
    const then = at + 3_600_000 * hours;
    const by = percent(interpolate(curve, hours)("cdf"));
    const about = { "text-anchor": "middle" };
    parts.push(svg("line", { class: "axis", x1: place, x2: place, y1: base, y2: base + 5 }),
      write(place, base + 18, tickSpan(hours), { ...about, class: "strong" }),
      write(place, base + 36, clock(then, offset, hours < 72 ? "hour" : "day"), about),
      write(place, base + 54, by, about));
  }
  return parts;
}

// Each event by its day, across, and its hour, upwards; then when the next one is expected.
function drawLine(width, history, when, at, offset) {
  const left = 46, right = 16, top = 22, base = 172, first = Date.parse(history[0].occurred_at);
  const start = Math.min(first, at - DAY_MS / 4), past = at - start;
  const ahead = when ? Math.min(when.high_h * 3_600_000, past / 3) : 0;
  const x = (ms) => left + ((ms - start) / (past + ahead)) * (width - left - right);
  const y = (ms, minutes) => base - ((((ms / DAY_MS + minutes / 1440) % 1) + 1) % 1) * (base - top);
  const parts = [];
  for (const hour of [0, 6, 12, 18, 24]) {
    const level = base - (hour / 24) * (base - top);
    parts.push(svg("line", { class: "grid", x1: left, x2: width - right, y1: level, y2: level }),
      write(left - 8, level + 4, `${String(hour).padStart(2, "0")}:00`, { "text-anchor": "end" }));
  }
  if (when) {
    const [low, high] = [when.low_h, when.high_h].map((h) => x(at + 3_600_000 * h));
    const to = Math.min(high, width - right);
    parts.push(svg("rect", { class: "tail", x: x(at), y: top, height: base - top,
      width: Math.max(2, to - x(at)) }));
    if (to > low) {
      parts.push(svg("rect", { class: "tail", x: low, y: top, height: base - top, width: to - low },
        svg("title", {}, "The next event, with 80 %")));
    }
  }
  const dots = history.map((event) => {
    const ms = Date.parse(event.occurred_at);
    const about = { class: "then", "data-item": event.item_id, r: history.length > 150 ? 3 : 4 };
    const [cx, cy] = [x(ms).toFixed(1), y(ms, event.utc_offset_min).toFixed(1)];
    return svg("circle", { ...about, cx, cy },
      svg("title", {}, `${nameOf(event)}, ${clock(ms, event.utc_offset_min, "full")}`));
  });
  const requestX = x(at), anchor = requestX > width - 60 ? "end" : "middle";
  parts.push(svg("line", { class: "median", x1: requestX, x2: requestX, y1: top - 4, y2: base }),
    write(requestX, top - 9, "request time", { class: "strong", "text-anchor": anchor }),
    ...dateAxis(width, base, x, start, at + ahead, offset), ...dots);
  const label = `${plural(history.length, "event")} from ${clock(first, offset, "dated")} on, by ` +
    "day and by hour of the day.";
  return drawing(width, base + 24, label, ...parts);
}

function dateAxis(width, base, x, from, to, offset) {
  return datesOf(from, to, offset, (width - 60) / 78).flatMap(({ ms, words }) => {
    const place = x(ms);
    if (place > width - 40 || place < 60) return [];
    return [svg("line", { class: "axis", x1: place, x2: place, y1: base, y2: base + 5 }),
      write(place, base + 19, words, { "text-anchor": "middle" })];
  });
}

// At most so many dates: days, Mondays, begins of months or of years.
function datesOf(from, to, offset, most) {
  const shift = 60_000 * offset, days = (to - from) / DAY_MS, dates = [];
  const step = [1, 2, 7, 14].find((n) => days / n < most);
  if (step) {
    const monday = 4, first = Math.ceil((from + shift) / DAY_MS - monday);
    let ms = (Math.ceil(first / step) * step + monday) * DAY_MS - shift;
    for (; ms < to; ms += step * DAY_MS) dates.push({ ms, words: clock(ms, offset, "day") });
    const within = { ms: (from + to) / 2, words: clock(to, offset, "day") };
    return dates.length ? dates : [within];
  }
  const months = [1, 2, 3, 6, 12, 24, 60, 120].find((n) => days / 30.4 / n < most) ?? 240;
  const begin = new Date(from + shift), n = 12 * begin.getUTCFullYear() + begin.getUTCMonth();
  for (let month = Math.ceil(n / months) * months; ; month += months) {
    const ms = Date.UTC(Math.floor(month / 12), month % 12) - shift;
    if (ms >= to) return dates;
    dates.push({ ms, words: clock(ms, offset, months < 12 ? "month" : "year") });
  }
}

// A frame of kilometres around points; north is up. Few outliers do not make the rest small.
function frameOf(points, width, height) {
  const mid = (values, q) => values[Math.min(values.length - 1, Math.floor(q * values.length))];
  const sorted = (key) => points.map((p) => p[key]).sort((a, b) => a - b);
  const [lats, lons] = [sorted("lat"), sorted("lon")];
  const q = points.length > 40 ? 0.02 : 0;
  const [south, north, west, east] =
    [mid(lats, q), mid(lats, 1 - q), mid(lons, q), mid(lons, 1 - q)];
  const lat = (south + north) / 2, lon = (west + east) / 2;
  const kmLon = 111.32 * Math.cos((Math.PI * lat) / 180), kmLat = 110.57;
  const wide = Math.max((east - west) * kmLon * 1.16, 1);
  const tall = Math.max((north - south) * kmLat * 1.2, 1);
  const pxKm = Math.min(width / wide, height / tall);
  return {
    pxKm,
    x: (p) => width / 2 + (p.lon - lon) * kmLon * pxKm,
    y: (p) => height / 2 - (p.lat - lat) * kmLat * pxKm,
    holds(p) { return Math.abs(this.x(p) - width / 2) <= width / 2 &&
      Math.abs(this.y(p) - height / 2) <= height / 2; },
  };
}

let nMaps = 0;

function drawMap(width, height, frame, mapPoints, label, marks) {
  const id = `clip-${++nMaps}`;
  const dots = mapPoints.filter((p) => frame.holds(p)).map((p) =>
    `M${frame.x(p).toFixed(1)} ${frame.y(p).toFixed(1)}h.01`).join("");
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000];
  const far = steps.findLast((step) => step * frame.pxKm < Math.min(150, width / 3)) ?? 0.1;
  const length = far * frame.pxKm, foot = height - 14;
  const middle = { class: "strong halo", "text-anchor": "middle" };
  return drawing(width, height, label,
    svg("clipPath", { id }, svg("rect", { width, height, rx: 8 })),
    svg("rect", { class: "land", x: 0.5, y: 0.5, width: width - 1, height: height - 1, rx: 8 }),
    svg("g", { "clip-path": `url(#${id})` },
      svg("path", { class: "dots", d: dots }), ...marks),
    svg("path", { class: "scale", d: `M14 ${foot - 5}v5h${length.toFixed(1)}v-5` }),
    write(14 + length / 2, foot - 8, `${far} km`, middle),
    svg("path", { class: "scale", d: `M${width - 20} 40V18m-4 6l4 -6l4 6` }),
    write(width - 20, 54, "N", middle));
}

function pastMarks(frame, history) {
  const path = history.slice(-N_TRAIL)
    .map((p) => `${frame.x(p).toFixed(1)} ${frame.y(p).toFixed(1)}`).join("L");
  const visits = new Map();
  for (const event of history) {
    const visit = visits.get(event.item_id) ?? { event, n: 0 };
    visits.set(event.item_id, { event, n: visit.n + 1 });
  }
  const dots = [...visits.values()].sort((a, b) => b.n - a.n).map(({ event, n }) =>
    svg("circle", { class: "then", "data-item": event.item_id, cx: frame.x(event),
      cy: frame.y(event), r: Math.min(18, 2.5 + 1.5 * Math.sqrt(n)).toFixed(1) },
    svg("title", {}, `${nameOf(event)}, ${plural(n, "time")}`)));
  return [svg("path", { class: "trail", d: `M${path}` }), ...dots, lastMark(frame, history.at(-1))];
}

const lastMark = (frame, event) =>
  svg("circle", { class: "last", cx: frame.x(event), cy: frame.y(event), r: 9 },
    svg("title", {}, `The latest: ${nameOf(event)}`));

const radius = (place, top) => 2.5 + 19.5 * Math.sqrt(place.probability / top);

function whereMarks(frame, places, top) {
  const circles = places.map((place) => svg("circle", { class: "here", "data-item": place.id,
    cx: frame.x(place), cy: frame.y(place),
    r: radius(place, top).toFixed(1) },
  svg("title", {}, `${place.name}, ${percent(place.probability)}`)));
  return circles;
}

function whereLabels(width, frame, places, top) {
  const taken = [], labels = [];
  for (const place of places.slice(0, 5)) {
    const far = radius(place, top) + 4, left = frame.x(place) + far > width - 44;
    const x = frame.x(place) + (left ? -far : far), y = frame.y(place) + 4;
    if (place.probability < top / 50 || !frame.holds(place)) continue;
    if (taken.some((other) => Math.abs(other.x - x) < 44 && Math.abs(other.y - y) < 15)) continue;
    taken.push({ x, y });
    labels.push(write(x, y, percent(place.probability),
      { class: "strong halo", "text-anchor": left ? "end" : "start" }));
  }
  return labels;
}
