// Requests predictions for one user at one time and shows them.

const K = 8, N_HISTORY = 300, N_PLACES = 60, STALE_MS = 7 * DAY_MS, MAP_HEIGHT = 330;
const state = { user: "", at: null, offset: 0, ahead: 0, busy: false };
state.offset = -new Date().getTimezoneOffset();
let shown = null, mapPoints = [], hasPictures = false;

const nameOf = (item) => item.title || item.id || item.item_id;

// A category that a classifier predicted is never shown like a given one.
const categoryOf = (item) => (item.category && item.category_confidence != null
  ? `${item.category} (${predicted(item.category_confidence)})` : item.category);
const predicted = (confidence) => `predicted, ${confidence.toFixed(2)}`;

let apiKey = "";  // prompted for after status 401; lost with the page

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
  const response = await reply.json().catch(() => ({}));
  if (reply.ok) return response;
  const fields = (response.fields ?? []).map((problem) => `${problem.field}: ${problem.message}`);
  const parts = [response.detail ?? `The service returned status ${reply.status}`, ...fields, response.hint];
  throw new Error(parts.filter(Boolean).join(". "));
}

function showProblem(problem) {
  byId("problem").hidden = !problem;
  byId("problem").textContent = problem;
}

// Shows errors; a second action while the first is running is ignored.
async function runExclusive(work) {
  if (state.busy) return;
  state.busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    showProblem("");
    await work();
  } catch (error) {
    const away = error instanceof TypeError;
    showProblem(away ? "The service cannot be reached. Is it running?" : error.message);
  } finally {
    state.busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

const iso = (ms) => (ms === null ? null : new Date(ms).toISOString());

const requestBody = (user, at) => ({ user_id: user, request_time: iso(at), k: K });
const predict = (user, at) =>
  call("/predict", { ...requestBody(user, at), n_history: N_HISTORY, n_places: N_PLACES });

// For a log that ended long ago, the request time is its end. The recommendation comes last,
// because the service logs it as an impression.
async function show(user, at, { before = null, mayMove = false } = {}) {
  let prediction = await predict(user, at);
  const last = prediction.history.at(-1);
  const moved = mayMove && at === null && last &&
    Date.parse(prediction.request_time) - Date.parse(last.occurred_at) > STALE_MS;
  if (moved) {
    at = Date.parse(last.occurred_at) + 60_000;
    prediction = await predict(user, at);
  }
  if (at === null) state.ahead = Date.parse(prediction.request_time) - 1000 - Date.now();
  const wish = byId("wish").value.trim();
  const recommendation = await call("/recommend",
    { ...requestBody(user, at), exclude_seen: byId("unseen").checked, ...(wish ? { wish } : {}) });
  Object.assign(state, { user, at, offset: last ? last.utc_offset_min : state.offset });
  shown = { recommendation, prediction, at: Date.parse(prediction.request_time), before };
  const notes = [...prediction.notes];
  if (moved) notes.unshift("The request time is the minute after the user's latest event.");
  byId("status").textContent = notes.join(" ");
  showRequest();
  showResponse();
}

function showRequest() {
  const { prediction } = shown;
  byId("user").value = state.user;
  byId("at").value = forInput(shown.at, state.offset);
  byId("now").setAttribute("aria-pressed", state.at === null);
  byId("dataset").textContent = prediction.dataset;
  byId("version").textContent = `version ${prediction.version}`;
  document.title = `${state.user} \u00b7 Chronotope`;
  const timeFragment = state.at === null ? "" : `&at=${iso(state.at)}`;
  history.replaceState(null, "", `#user=${encodeURIComponent(state.user)}${timeFragment}`);
}

function showResponse() {
  byId("answer").hidden = false;
  showShort();
  showItems();
  showPast();
  drawAll();
}

function showShort() {
  const { recommendation, prediction, at } = shown, first = recommendation.items[0], when = prediction.time_forecast;
  byId("short-what").textContent = first ? nameOf(first) : "No item";
  byId("more-what").textContent = first
    ? [chance(first), categoryOf(first)].filter(Boolean).join(" \u00b7 ") : "";
  const then = (hours) => clock(at + 3_600_000 * hours, state.offset, "minute");
  byId("short-when").textContent = when ? `In ${inAbout(when.median_h)}` : "No forecast";
  byId("more-when").textContent = when
    ? `${then(when.median_h)} \u00b7 80 %: ${span(when.low_h)} to ${span(when.high_h)}`
    : "no history, or the latest event is too long ago";
  const place = named(prediction.place_forecasts)[0], last = prediction.history.at(-1);
  byId("short-where").textContent = place ? place.name : "No places";
  byId("more-where").textContent = place ? wherePhrase(place, last) : "in this log";
}

const inAbout = (hours) => (60 * hours < 0.5 ? span(hours) : `about ${span(hours)}`);

function wherePhrase(place, last) {
  const parts = [percent(place.probability)];
  if (last && located(last) && located(place)) {
    const { far, wind } = between(last, place);
    parts.push(far < 0.05 ? "at the latest place" : `${km(far)} ${wind} of the latest`);
  }
  return parts.join(" \u00b7 ");
}

// Places that are items have the items' names.
function named(places) {
  const names = new Map([...shown.prediction.history, ...shown.prediction.items, ...shown.recommendation.items]
    .map((item) => [item.id ?? item.item_id, nameOf(item)]));
  return places.map((place) => ({ ...place, name: names.get(place.id) ?? `Place ${place.id}` }));
}

function showItems() {
  const { items } = shown.recommendation, top = Math.max(...items.map((item) => item.probability ?? 0));
  byId("items").replaceChildren(...items.map((item, n) => itemRow(item, n, top)));
  if (!items.length) byId("items").append(html("li", {}, "No item matches."));
}

function itemRow(item, n, top) {
  const about = [categoryOf(item), item.distance_km === null ? "" : km(item.distance_km), item.reason];
  const did = html("button", { type: "button", "data-did": item.id,
    "aria-label": `${state.user} did this: ${nameOf(item)}` }, "Did this");
  did.addEventListener("click", () => runExclusive(() => post(item)));
  const name = html("button", { type: "button", class: "name", "data-item-page": item.id }, nameOf(item));
  name.addEventListener("click", () => runExclusive(() => showItem(item.id)));
  const why = html("button", { type: "button", class: "why", "data-why": item.id,
    "aria-label": `Why ${nameOf(item)}?` }, "Why?");
  why.addEventListener("click", () => runExclusive(() => showWhy(item, n + 1)));
  const row = html("li", {},
    html("span", { class: "rank" }, `${n + 1}`),
    html("div", { class: "entry" },
      pictureOf(item.id, nameOf(item)),
      html("div", {},
        html("div", {}, name, moveOf(item, n)),
        barOf(item, top),
        html("div", { class: "about" }, about.filter(Boolean).join(" \u00b7 "), " ", why))),
    did);
  for (const [kind, lit] of [["mouseenter", true], ["mouseleave", false], ["focusin", true],
    ["focusout", false]]) row.addEventListener(kind, () => light(item.id, lit));
  return row;
}

// A picture appears when it has arrived; of a dataset without any, none is asked for.
function pictureOf(id, name) {
  const box = html("div", { class: "picture" });
  if (!hasPictures) return box;
  pictureUrl(id).then((url) => url && box.replaceChildren(html("img", { src: url, alt: name })));
  return box;
}

const pictures = new Map(), MAX_PICTURES = 200;

// Fetched, since an image element cannot send the API key.
function pictureUrl(id) {
  if (!pictures.has(id)) {
    if (pictures.size >= MAX_PICTURES) {
      const [oldest, address] = pictures.entries().next().value;
      pictures.delete(oldest);
      address.then((url) => url && URL.revokeObjectURL(url));
    }
    const headers = apiKey ? { "X-API-Key": apiKey } : {};
    pictures.set(id, fetch(`/pictures/${encodeURIComponent(id)}`, { headers })
      .then((reply) => (reply.ok ? reply.blob() : null))
      .then((blob) => blob && URL.createObjectURL(blob))
      .catch(() => null));
  }
  return pictures.get(id);
}

const itemPath = (id) => `/items/${encodeURIComponent(id)}`;

async function showItem(id) {
  const item = await call(itemPath(id)), place = located(item) ? `${item.lat.toFixed(4)}, ${item.lon.toFixed(4)}` : "";
  byId("item-title").textContent = nameOf(item);
  byId("item-about").textContent = [categoryOf(item), ...otherLabels(item),
    plural(item.n_events, "event"), place, `id ${item.id}`].filter(Boolean).join(" \u00b7 ");
  showItemText(item);
  byId("item-picture").replaceChildren(pictureOf(id, nameOf(item)));
  byId("similar-title").textContent = item.similar.length
    ? "Most similar by content" : "No content of this item is known.";
  byId("similar").replaceChildren(...item.similar.map((other) => {
    const name = html("button", { type: "button", class: "name" }, nameOf(other));
    name.addEventListener("click", () => runExclusive(() => showItem(other.id)));
    return html("li", {}, pictureOf(other.id, nameOf(other)), name,
      html("div", { class: "about" }, [categoryOf(other), `similarity ${other.similarity.toFixed(2)}`]
        .filter(Boolean).join(" \u00b7 ")));
  }));
  if (!byId("item").open) byId("item").showModal();
}

const otherLabels = (item) => item.predicted_labels.filter((label) => label.column !== "category")
  .map((label) => `${label.column} ${label.label} (${predicted(label.confidence)})`);

// The summary of a long text comes first, and the text folds away.
function showItemText(item) {
  const { summary, text } = item, writer = summary?.writer;
  byId("item-summary").textContent = summary?.text ?? "";
  byId("item-summary-by").textContent = !summary ? ""
    : writer === "extractive" ? "Summary: sentences of the description" : `Summary written by ${writer}`;
  byId("item-full").hidden = !text;
  byId("item-full").open = !summary;
  byId("item-full-title").hidden = !summary;
  byId("item-text").textContent = text ?? "";
}

// An index of a large catalogue gives no probabilities.
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
    utc_offset_min: state.offset, answer_id: shown.recommendation.answer_id };
  const receipt = await call("/events", event);
  const before = shown.recommendation.items;
  await show(state.user, state.at === null ? null : at + 60_000, { before });
  const again = [...document.querySelectorAll("[data-did]")].find((b) => b.dataset.did === item.id);
  (again ?? byId("list-title")).focus();
  const counts = receipt.n_unknown_items ? "is stored, but the model does not know its item" : "counts from now on";
  byId("status").textContent = `${nameOf(item)} ${counts}.`;
}

function showPast() {
  const { n_history: n, history: events } = shown.prediction;
  const part = n > events.length ? `, the latest ${events.length} shown` : "";
  byId("n-history").textContent = n ? `${plural(n, "event")}${part}` : "no events";
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
  const { prediction, at } = shown, events = prediction.history;
  const paragraph = (words) => html("p", { class: "soft" }, words);
  const silent = prediction.time_forecast ? `, ${span(prediction.time_forecast.since_last_event_h)} after the latest event` : "";
  put("when", (width) => prediction.time_forecast
    ? [drawWhen(width, prediction.time_forecast, at, state.offset),
      paragraph(`From ${clock(at, state.offset, "full")}${silent}. Times are ${zone(state.offset)}, ` +
        "the axis is logarithmic; equal areas are equally likely, the darker one holds 80 %.")]
    : paragraph("No forecast of the next event."));
  put("line", (width) => events.length
    ? [drawLine(width, events, prediction.time_forecast, at, state.offset),
      paragraph(`Each dot is an event, by day and by hour on the user's clock.${prediction.time_forecast
        ? " The band is when the next one comes, with 80 % in the darker part." : ""}`)]
    : paragraph("No events before the request time."));
  drawMaps();
}

function drawMaps() {
  const { prediction } = shown, events = prediction.history.filter(located);
  const places = named(prediction.place_forecasts).filter(located);
  put("where", (width) => places.length ? whereMap(width, places, events) : placeList(prediction));
  put("map", (width) => {
    if (!events.length) return html("p", { class: "soft" }, "No coordinates are known.");
    const frame = frameOf(events, width, MAP_HEIGHT);
    const out = events.filter((event) => !frame.holds(event)).length;
    const label = `Map of ${plural(events.length, "event")}.`;
    return [drawMap(width, MAP_HEIGHT, frame, mapPoints, label, pastMarks(frame, events)),
      legend([["p", "visited places, larger if visited more often"], ["l", "the latest"]], out,
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
  return [drawMap(width, MAP_HEIGHT, frame, mapPoints, label, marks), legend(keys, 0)];
}

function placeList(prediction) {
  const places = named(prediction.place_forecasts).slice(0, 8);
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
  (await call(`/users?limit=50&prefix=${encodeURIComponent(start)}`)).users;

async function suggest() {
  const start = byId("user").value, found = await users(start);
  if (byId("user").value !== start) return;
  byId("users").replaceChildren(...found.map((user) =>
    html("option", { value: user.user_id }, plural(user.n_events, "event"))));
}

async function showAnotherUser() {
  const all = (await users("")).filter((user) => user.user_id !== state.user);
  const chosen = all[Math.floor(Math.random() * all.length)];
  if (chosen) await show(chosen.user_id, null, { mayMove: true });
}

async function begin() {
  const [fragment, background] = [new URLSearchParams(location.hash.slice(1)), await call("/map-points")];
  mapPoints = background.points.map(([lat, lon]) => ({ lat, lon }));
  hasPictures = background.has_pictures;
  await suggest();
  const user = fragment.get("user") ?? (await users(""))[0]?.user_id;
  const at = Date.parse(fragment.get("at") ?? "");
  if (user) await show(user, Number.isNaN(at) ? null : at, { mayMove: true });
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const user = byId("user").value, value = byId("at").value, same = user === state.user;
  const kept = value === (shown && forInput(shown.at, state.offset));
  const at = kept || !value ? state.at : fromInput(value, state.offset);
  runExclusive(() => (same || !kept ? show(user, at) : show(user, null, { mayMove: true })));
});
byId("now").addEventListener("click", () => runExclusive(() => show(byId("user").value, null)));
byId("unseen").addEventListener("change", () => runExclusive(() => show(state.user, state.at)));
byId("another").addEventListener("click", () => runExclusive(showAnotherUser));
byId("user").addEventListener("input", () => suggest().catch(() => {}));
new ResizeObserver(() => shown && drawAll()).observe(document.querySelector("main"));
runExclusive(begin);
