// Why an item is shown: the events that made its score, and the list without some of them.

const N_WITHOUT = 10, N_FIRST = 3;

// The counterfactual takes the item out of the first three, or off its own place below.
async function showWhy(item, place) {
  const time = encodeURIComponent(iso(shown.at));
  const response = await call(`/explain?user_id=${encodeURIComponent(state.user)}` +
    `&item_id=${encodeURIComponent(item.id)}&request_time=${time}&k=${Math.max(place, N_FIRST)}`);
  const [explained] = response.items;
  byId("why-title").textContent = `Why ${nameOf(explained)}?`;
  byId("why-text").textContent = explained.why;
  byId("why-rank").textContent = `${percent(explained.probability)}, number ${explained.rank} of all items`;
  byId("why-events-title").hidden = !explained.events.length;
  byId("why-events").replaceChildren(...explained.events.map((event) => eventRow(event,
    `without it: ${percent(event.probability_without)}, number ${event.rank_without}`)));
  showCounterfactual(explained.counterfactual);
  if (!byId("why").open) byId("why").showModal();
}

function eventRow(event, consequence) {
  const time = clock(Date.parse(event.occurred_at), event.utc_offset_min, "minute");
  return html("li", {}, html("span", {}, nameOf(event)), " ",
    html("time", { datetime: event.occurred_at }, time),
    html("div", { class: "about" }, consequence));
}

function showCounterfactual(counterfactual) {
  byId("why-without").hidden = !counterfactual;
  if (!counterfactual) return;
  byId("why-without-title").textContent =
    `Without ${counterfactual.events.length === 1 ? "this event" : `these ${counterfactual.events.length} events`} ` +
    `it would be number ${counterfactual.rank}`;
  byId("why-without-events").replaceChildren(...counterfactual.events.slice(0, N_WITHOUT).map((event) => eventRow(event, "")));
}
