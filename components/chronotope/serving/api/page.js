// Asks the service about one user at one moment, and shows what it says.

const K = 8, N_HISTORY = 300, N_PLACES = 60, STALE_MS = 7 * DAY_MS, MAP_HEIGHT = 330;
const state = { user: "", at: null, offset: 0, ahead: 0, busy: false };
state.offset = -new Date().getTimezoneOffset();
let shown = null, ground = [];

const nameOf = (item) => item.title || item.id || item.item_id;

let apiKey = "";  // asked for once, where the service wants one; forgotten with the page

async function call(path, body) {
  const headers = apiKey ? { "X-API-Key": apiKey } : {};
  const posted = { method: "POST", body: JSON.stringify(body),
    headers: { ...headers, "Content-Type": "application/json" } };
  const reply = await fetch(path, body === undefined ? { headers } : posted);
  if (reply.status === 401) {
    const given = prompt("API key of this service");
    if (given) {
      apiKey = given;
      return call(path, body);
    }
  }
  const said = await reply.json().catch(() => ({}));
  if (reply.ok) return said;
  const fields = (said.fields ?? []).map((found) => `${found.field}: ${found.problem}`);
  const parts = [said.what ?? `The service answers ${reply.status}`, ...fields, said.way_out];
  throw new Error(parts.filter(Boolean).join(". "));
}

function tell(problem) {
  byId("problem").hidden = !problem;
  byId("problem").textContent = problem;
}

// Whatever goes wrong is said; a second press while the first is under way does nothing.
async function doing(work) {
  if (state.busy) return;
  state.busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    tell("");
    await work();
  } catch (error) {
    const away = error instanceof TypeError;
    tell(away ? "The service cannot be reached. Is it running?" : error.message);
  } finally {
    state.busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

const iso = (ms) => (ms === null ? null : new Date(ms).toISOString());

const question = (user, at) => ({ user_id: user, at: iso(at), k: K });
const predict = (user, at) =>
  call("/predict", { ...question(user, at), n_history: N_HISTORY, n_places: N_PLACES });

// A log that ended long ago is asked about at its end, not about a silence of years. The list is
// asked for last, because the service logs what was shown.
async function show(user, at, { before = null, mayMove = false } = {}) {
  let told = await predict(user, at);
  const last = told.history.at(-1);
  const moved = mayMove && at === null && last &&
    Date.parse(told.at) - Date.parse(last.occurred_at) > STALE_MS;
  if (moved) {
    at = Date.parse(last.occurred_at) + 60_000;
    told = await predict(user, at);
  }
  if (at === null) state.ahead = Date.parse(told.at) - 1000 - Date.now();
  const listed = await call("/recommend",
    { ...question(user, at), exclude_seen: byId("unseen").checked });
  Object.assign(state, { user, at, offset: last ? last.utc_offset_min : state.offset });
  shown = { listed, told, at: Date.parse(told.at), before };
  const notes = [...told.notes];
  if (moved) notes.unshift("Asked for the minute after their latest event.");
  byId("status").textContent = notes.join(" ");
  showQuestion();
  showAnswer();
}

function showQuestion() {
  const { told } = shown;
  byId("user").value = state.user;
  byId("at").value = forInput(shown.at, state.offset);
  byId("now").setAttribute("aria-pressed", state.at === null);
  byId("dataset").textContent = told.dataset;
  byId("version").textContent = `version ${told.version} answers`;
  document.title = `${state.user} \u00b7 Chronotope`;
  const told_at = state.at === null ? "" : `&at=${iso(state.at)}`;
  history.replaceState(null, "", `#user=${encodeURIComponent(state.user)}${told_at}`);
}

function showAnswer() {
  byId("answer").hidden = false;
  showShort();
  showItems();
  showPast();
  drawAll();
}

function showShort() {
  const { listed, told, at } = shown, first = listed.items[0], when = told.when;
  byId("short-what").textContent = first ? nameOf(first) : "Nothing fits";
  byId("more-what").textContent = first
    ? [chance(first), first.category].filter(Boolean).join(" \u00b7 ") : "";
  const then = (hours) => clock(at + 3_600_000 * hours, state.offset, "minute");
  byId("short-when").textContent = when ? `In about ${span(when.median_h)}` : "No telling";
  byId("more-when").textContent = when
    ? `${then(when.median_h)} \u00b7 80 %: ${span(when.low_h)} to ${span(when.high_h)}`
    : "without a past, or after a very long silence";
  const place = named(told.where)[0], last = told.history.at(-1);
  byId("short-where").textContent = place ? place.name : "No places";
  byId("more-where").textContent = place ? wherePhrase(place, last) : "in this log";
}

function wherePhrase(place, last) {
  const parts = [percent(place.probability)];
  if (last && located(last) && located(place)) {
    const { far, wind } = between(last, place);
    parts.push(far < 0.05 ? "where they are" : `${km(far)} ${wind} of the latest`);
  }
  return parts.join(" \u00b7 ");
}

// Places that are items have the items' names.
function named(places) {
  const names = new Map([...shown.told.history, ...shown.told.items, ...shown.listed.items]
    .map((item) => [item.id ?? item.item_id, nameOf(item)]));
  return places.map((place) => ({ ...place, name: names.get(place.id) ?? `Place ${place.id}` }));
}

function showItems() {
  const { items } = shown.listed, top = Math.max(...items.map((item) => item.probability ?? 0));
  byId("items").replaceChildren(...items.map((item, n) => itemRow(item, n, top)));
  if (!items.length) byId("items").append(html("li", {}, "No item fits."));
}

function itemRow(item, n, top) {
  const about = [item.category, item.distance_km === null ? "" : km(item.distance_km), item.reason];
  const did = html("button", { type: "button", "data-did": item.id,
    "aria-label": `${state.user} did this: ${nameOf(item)}` }, "Did this");
  did.addEventListener("click", () => doing(() => post(item)));
  const row = html("li", {},
    html("span", { class: "rank" }, `${n + 1}`),
    html("div", {},
      html("div", {}, html("span", { class: "name" }, nameOf(item)), moveOf(item, n)),
      barOf(item, top),
      html("div", { class: "about" }, about.filter(Boolean).join(" \u00b7 "))),
    did);
  for (const [kind, lit] of [["mouseenter", true], ["mouseleave", false], ["focusin", true],
    ["focusout", false]]) row.addEventListener(kind, () => light(item.id, lit));
  return row;
}

// Of a large catalogue nobody has summed over, no probability is known.
const chance = (item) => (item.probability === null ? "" : percent(item.probability));

function barOf(item, top) {
  if (item.probability === null) return null;
  const width = `${Math.max(0.5, top ? (100 * item.probability) / top : 0)}%`;
  const bar = svg("svg", { "aria-hidden": "true" },
    svg("rect", { class: "fill", width, height: 8, rx: 4 }));
  return html("div", { class: "bar" }, bar, html("span", {}, chance(item)));
}

function moveOf(item, n) {
  if (!shown.before) return null;
  const was = shown.before.findIndex((other) => other.id === item.id);
  const badge = (words) => html("span", { class: "moved" }, words);
  if (was < 0) return badge("new here");
  if (was !== n) return badge(`${was > n ? "\u25b2" : "\u25bc"} from ${was + 1}`);
  const then = shown.before[was].probability;
  if (then === null || item.probability === null) return null;
  return Math.abs(Math.log(item.probability / then)) > 0.1 ? badge(`was ${percent(then)}`) : null;
}

function light(id, lit) {
  for (const mark of document.querySelectorAll("[data-item]")) {
    if (mark.dataset.item === id) mark.classList.toggle("lit", lit);
  }
}

async function post(item) {
  const at = state.at ?? Date.now() + Math.min(0, state.ahead);
  const key = `page-${[...crypto.getRandomValues(new Uint32Array(4))].join("-")}`;
  const event = { kind: "event", key, user_id: state.user, item_id: item.id, occurred_at: iso(at),
    utc_offset_min: state.offset, answer_id: shown.listed.answer_id };
  const kept = await call("/events", event);
  const before = shown.listed.items;
  await show(state.user, state.at === null ? null : at + 60_000, { before });
  const again = [...document.querySelectorAll("[data-did]")].find((b) => b.dataset.did === item.id);
  (again ?? byId("list-title")).focus();
  const counts = kept.n_unknown ? "is kept, but the model does not know it" : "counts from now on";
  byId("status").textContent = `${nameOf(item)} ${counts}.`;
}

function showPast() {
  const { n_history: n, history: events } = shown.told;
  const part = n > events.length ? `, the latest ${events.length} shown` : "";
  byId("n-history").textContent = n ? `${plural(n, "event")}${part}` : "nothing";
  byId("latest").replaceChildren(...events.slice(-9).reverse().map((event) => {
    const ms = Date.parse(event.occurred_at);
    return html("li", {},
      html("time", { datetime: event.occurred_at }, clock(ms, event.utc_offset_min, "minute")),
      html("span", {}, nameOf(event)));
  }));
}

function put(id, draw) {
  const box = byId(id), width = Math.floor(box.clientWidth);
  if (width > 0) box.replaceChildren(...[draw(width)].flat());
}

function drawAll() {
  const { told, at } = shown, events = told.history;
  const soft = (words) => html("p", { class: "soft" }, words);
  const silent = told.when ? `, ${span(told.when.silent_h)} after the latest event` : "";
  put("when", (width) => told.when
    ? [drawWhen(width, told.when, at, state.offset),
      soft(`From ${clock(at, state.offset, "full")}${silent}. Times are ${zone(state.offset)}, ` +
        "the axis is logarithmic; equal areas are equally likely, the darker one holds 80 %.")]
    : soft("No forecast of the next event."));
  put("line", (width) => events.length
    ? [drawLine(width, events, told.when, at, state.offset),
      soft(`Each dot is an event, by day and by hour on the user's clock.${told.when
        ? " The band is when the next one comes, with 80 % in the darker part." : ""}`)]
    : soft("No events before this moment."));
  drawMaps();
}

function drawMaps() {
  const { told } = shown, events = told.history.filter(located);
  const places = named(told.where).filter(located);
  put("where", (width) => places.length ? whereMap(width, places, events) : placeList(told));
  put("map", (width) => {
    if (!events.length) return html("p", { class: "soft" }, "No coordinates are known.");
    const frame = frameOf(events, width, MAP_HEIGHT);
    const out = events.filter((event) => !frame.holds(event)).length;
    const label = `Map of ${plural(events.length, "event")}.`;
    return [drawMap(width, MAP_HEIGHT, frame, ground, label, pastMarks(frame, events)),
      legend([["p", "where they were, larger if often"], ["l", "the latest"]], out,
        `the line joins the latest ${Math.min(N_TRAIL, events.length)}`)];
  });
}

function whereMap(width, places, events) {
  const last = events.at(-1), top = places[0].probability;
  const frame = frameOf([...places.slice(0, 10), ...events.slice(-1)], width, MAP_HEIGHT);
  const marks = whereMarks(frame, places, top);
  if (last) marks.push(lastMark(frame, last));
  marks.push(...whereLabels(width, frame, places, top));
  const label = `Map of the next place: ${places.slice(0, 3)
    .map((place) => `${place.name} ${percent(place.probability)}`).join(", ")}.`;
  const keys = [["n", "probability of the next event, by area"]];
  if (last) keys.push(["l", "the latest event"]);
  return [drawMap(width, MAP_HEIGHT, frame, ground, label, marks), legend(keys, 0)];
}

function placeList(told) {
  const places = named(told.where).slice(0, 8);
  if (!places.length) return html("p", { class: "soft" }, "This log has no places.");
  return html("ol", { id: "places" }, ...places.map((place) => html("li", { class: "bar" },
    html("b", {}, place.name),
    svg("svg", { "aria-hidden": "true" }, svg("rect", { class: "track", width: "100%", height: 8 }),
      svg("rect", { class: "fill", width: `${100 * place.probability}%`, height: 8, rx: 4 })),
    html("span", {}, percent(place.probability)))));
}

function legend(keys, out, more = "") {
  const parts = keys.map(([kind, words]) =>
    html("span", {}, html("i", { class: `key ${kind}` }), words));
  if (more) parts.push(html("span", {}, more));
  if (out) parts.push(html("span", {}, `${plural(out, "event")} outside the map`));
  return html("p", { class: "soft legend" }, ...parts);
}

const users = async (start) =>
  (await call(`/users?n=50&start=${encodeURIComponent(start)}`)).users;

async function suggest() {
  const start = byId("user").value, found = await users(start);
  if (byId("user").value !== start) return;
  byId("users").replaceChildren(...found.map((user) =>
    html("option", { value: user.user_id }, plural(user.n_events, "event"))));
}

async function another() {
  const all = (await users("")).filter((user) => user.user_id !== state.user);
  const chosen = all[Math.floor(Math.random() * all.length)];
  if (chosen) await show(chosen.user_id, null, { mayMove: true });
}

async function begin() {
  const [asked, places] = [new URLSearchParams(location.hash.slice(1)), await call("/ground")];
  ground = places.points.map(([lat, lon]) => ({ lat, lon }));
  await suggest();
  const user = asked.get("user") ?? (await users(""))[0]?.user_id;
  const at = Date.parse(asked.get("at") ?? "");
  if (user) await show(user, Number.isNaN(at) ? null : at, { mayMove: true });
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = byId("user").value, value = byId("at").value, same = user === state.user;
  const kept = value === (shown && forInput(shown.at, state.offset));
  const at = kept || !value ? state.at : fromInput(value, state.offset);
  doing(() => (same || !kept ? show(user, at) : show(user, null, { mayMove: true })));
});
byId("now").addEventListener("click", () => doing(() => show(byId("user").value, null)));
byId("unseen").addEventListener("change", () => doing(() => show(state.user, state.at)));
byId("another").addEventListener("click", () => doing(another));
byId("user").addEventListener("input", () => suggest().catch(() => {}));
new ResizeObserver(() => shown && drawAll()).observe(document.querySelector("main"));
doing(begin);
