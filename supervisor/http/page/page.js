// The status page: asks /status, shows it. Words from there are hostile: textContent, never HTML.
"use strict";

const kEvery = 1000;
const kHiddenEvery = 15000;
const kPatience = 5000;
const kWaitMax = 15000;
const kSvg = "data:image/svg+xml,";
const kColours = {ok: "1a7f4b", degraded: "d07a10", draining: "2f6fb5", gone: "c22f2f"};

const byId = id => document.getElementById(id);
const cards = new Map();
let timer = 0;
let misses = 0;
let lastAnswer = null;
let asking = false;

// Only what changed: a screen reader reads what is set.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function make(name, text, into) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (into) into.append(element);
  return element;
}

const plural = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const words = name => name.replaceAll("_", " ");

function milliseconds(value) {
  if (value === undefined) return "–";
  if (value >= 10000) return `${(value / 1000).toFixed(1)} s`;
  return `${value >= 100 ? value.toFixed(0) : value.toPrecision(value < 0.01 ? 1 : 3)} ms`;
}
function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
}
const rate = value => value >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toFixed(1));

function cardOf(name) {
  let card = cards.get(name);
  if (!card) {
    card = byId("card").content.firstElementChild.cloneNode(true);
    card.dataset.function = name;
    say(card.querySelector("h3"), name);
    cards.set(name, card);
  }
  return card;
}
const field = (card, name) => card.querySelector(`[data-field="${name}"]`);

function drawBar(card, name, parts) {
  const bar = card.querySelector(`[data-bar="${name}"]`);
  for (const part of bar.children) {
    const count = parts[part.dataset.part] || 0;
    part.style.flexGrow = count;
    part.hidden = count === 0;
  }
}

// One bar a second; what failed stands in front.
function drawSpark(card, f) {
  const top = Math.max(1, ...f.ended_by_second);
  const path = counts => counts.map((count, at) => {
    const height = 23 * count / top;
    return count ? `M${at} 24h.85v${-height.toFixed(2)}h-.85z` : "";
  }).join("");
  card.querySelector(".ended").setAttribute("d", path(f.ended_by_second));
  card.querySelector(".failed").setAttribute("d", path(f.failed_by_second));
  const most = Math.max(...f.ended_by_second);
  const failed = f.failed_by_second.reduce((sum, count) => sum + count, 0);
  card.querySelector(".spark").setAttribute("aria-label",
    `Calls in each second of the last minute: at most ${most}; ${failed} failed in all`);
  say(field(card, "peak"), `peak ${most}/s`);
}

function drawCounts(card, name, counts, isBad) {
  const table = card.querySelector(`[data-table="${name}"]`);
  const body = table.tBodies[0];
  const entries = Object.entries(counts);
  const rows = new Map([...body.rows].map(row => [row.dataset.name, row]));
  for (const [key, count] of entries) {
    let row = rows.get(key);
    if (!row) {
      row = make("tr", undefined, body);
      row.dataset.name = key;
      row.dataset.kind = isBad(key) ? "bad" : "good";
      make("th", words(key), row).scope = "row";
      make("td", "", row);
    }
    say(row.lastElementChild, count.toLocaleString("en"));
  }
  table.hidden = entries.length === 0;
}

function drawFailures(card, failures) {
  const details = card.querySelector(".failures");
  details.hidden = failures.length === 0;
  if (details.hidden) return;
  const ago = failure => duration((Date.now() - failure.time_ms) / 1000);
  say(details.querySelector("summary"), `Recent failures: ${plural(failures.length, "kind", "kinds")}, ` +
    `the last one ${words(failures[0].outcome)}, ${ago(failures[0])} ago`);
  const key = JSON.stringify(failures);
  if (details.dataset.shown === key) return;  // A list that somebody reads stays where it is.
  details.dataset.shown = key;
  const list = details.querySelector("ol");
  list.replaceChildren();
  for (const failure of failures) {
    const item = make("li", undefined, list);
    const when = make("p", undefined, item);
    when.className = "when";
    make("b", words(failure.outcome), when);
    const time = make("time", new Date(failure.time_ms).toLocaleTimeString(), when);
    time.dateTime = new Date(failure.time_ms).toISOString();
    if (failure.times > 1) make("span", `${failure.times.toLocaleString("en")} times`, when);
    if (failure.request_id) make("span", failure.request_id, when);
    make("p", failure.description, item).className = "text";
  }
}

function drawLayers(card, layers) {
  const details = card.querySelector(".layers");
  const entries = Object.entries(layers);
  details.hidden = entries.length === 0;
  const key = JSON.stringify(entries);
  if (details.dataset.shown === key) return;
  details.dataset.shown = key;
  say(details.querySelector("summary"),
    `${plural(entries.length, "layer", "layers")} of the sandbox not in full force`);
  const list = details.querySelector("dl");
  list.replaceChildren();
  for (const [layer, why] of entries) {
    make("dt", words(layer), list);
    make("dd", why, list);
  }
}

function drawFunction(f) {
  const card = cardOf(f.name);
  card.dataset.state = stateOf(f);
  say(card.querySelector(".badge"), stateOf(f) === "failing" ? "failing calls" : f.state);
  say(card.querySelector(".of"), [`policy ${f.policy}`, f.protocol, `generation ${f.generation}`, f.handler].join(" · "));
  const why = card.querySelector(".why");
  why.hidden = !f.degraded;
  if (f.degraded)
    say(why, `${f.degraded_because || "the handler fails to start"} — next attempt in ${duration(f.retry_in_ms / 1000)}`);

  say(field(card, "rate"), rate(f.per_second));
  drawSpark(card, f);
  for (const part of ["p50", "p90", "p99"]) say(field(card, part), milliseconds(f.latency_ms?.[part]));

  const serving = f.in_flight - f.waiting;
  say(field(card, "places"), `${serving} of ${f.concurrency}` +
    (f.waiting_max ? `, ${f.waiting} of ${f.waiting_max} waiting` : ""));
  drawBar(card, "places", {busy: serving, waiting: f.waiting, free: Math.max(0, f.concurrency - serving)});
  const slots = Object.entries(f.slots).filter(([, count]) => count);
  say(field(card, "slots"), slots.map(([state, count]) => `${count} ${state}`).join(", ") || "none");
  const all = slots.reduce((sum, [, count]) => sum + count, 0);
  drawBar(card, "slots", {...f.slots, free: Math.max(0, f.concurrency - all)});

  drawCounts(card, "invocations", f.invocations, key => key !== "ok" && key !== "cancelled");
  drawCounts(card, "kills", f.kills, () => true);
  drawFailures(card, f.recent_failures);
  drawLayers(card, f.degraded_layers);
  return card;
}

function banner(state, headline, subline) {
  byId("banner").dataset.state = state;
  say(byId("headline"), headline);
  say(byId("subline"), subline);
  document.title = state === "ok" ? "fnrun" : `${headline} · fnrun`;
  const icon = kSvg + encodeURIComponent('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8">' +
    `<circle cx="4" cy="4" r="3.5" fill="#${kColours[state] || kColours.degraded}"/></svg>`);
  const link = document.querySelector("link[rel=icon]");
  if (link.getAttribute("href") !== icon) link.href = icon;
}

// Where over a tenth of the calls failed in the last half minute, all is not well.
function stateOf(f) {
  const sum = counts => counts.slice(-30).reduce((all, count) => all + count, 0);
  return f.state === "ok" && sum(f.failed_by_second) * 10 > sum(f.ended_by_second) ? "failing" : f.state;
}

function headlineOf(status) {
  const those = state => status.functions.filter(f => stateOf(f) === state).map(f => f.name);
  const [troubled, failing] = [those("degraded"), those("failing")];
  const are = names => names.length === 1 ? `${names[0]} is` : `${names.length} functions are`;
  if (status.state === "draining") return ["draining", "Draining: no further calls"];
  if (troubled.length) return ["degraded", `${are(troubled)} degraded`];
  if (failing.length) return ["failing", `${are(failing)} failing calls`];
  return ["ok", "All is well"];
}

function draw(status) {
  const [state, headline] = headlineOf(status);
  const rates = status.functions.reduce((sum, f) => sum + f.per_second, 0);
  banner(state, headline, `${plural(status.functions.length, "function", "functions")}, ` +
    `${rate(rates)} calls/s, up ${duration(status.uptime_s)}`);
  const rank = f => ["degraded", "failing", "draining", "ok"].indexOf(stateOf(f));
  const sorted = [...status.functions].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  const shown = sorted.map(drawFunction);
  const grid = byId("functions");
  // Moved only when the order changed: whoever has the focus in a card keeps it.
  if (shown.some((card, at) => grid.children[at] !== card) || grid.children.length !== shown.length)
    grid.replaceChildren(...shown);
  for (const name of [...cards.keys()]) if (!sorted.some(f => f.name === name)) cards.delete(name);
  drawHttp(status.http);
  say(byId("service"), `fnrun-supervise ${status.version}`);
}

function drawHttp(http) {
  const list = byId("http-facts");
  for (const [name, count] of Object.entries(http)) {
    let fact = list.querySelector(`[data-fact="${CSS.escape(name)}"]`);
    if (!fact) {
      fact = make("div", undefined, list);
      fact.dataset.fact = name;
      make("dt", name === "connections" ? "open" : words(name), fact);
      make("dd", "", fact);
    }
    say(fact.lastElementChild, count.toLocaleString("en"));
  }
  byId("http").hidden = false;
}

function gone(error, wait) {
  document.body.classList.add("stale");
  const since = lastAnswer ? `the last answer came at ${lastAnswer.toLocaleTimeString()}` : "there was none so far";
  banner("gone", "The service does not answer", `${since}; asking again in ${duration(wait / 1000)} (${error.message})`);
}

async function ask() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  let wait = kEvery;
  try {
    const answer = await fetch("/status", {cache: "no-store", signal: AbortSignal.timeout(kPatience)});
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    draw(await answer.json());
    misses = 0;
    lastAnswer = new Date();
    document.body.classList.remove("stale");
  } catch (error) {
    wait = Math.min(kWaitMax, kEvery * 2 ** misses++);
    gone(error, wait);
  }
  asking = false;
  timer = setTimeout(ask, document.hidden ? Math.max(wait, kHiddenEvery) : wait);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
ask();
