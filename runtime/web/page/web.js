// What the pages of a unit and of a site share: words, elements, and the truth about being live.
export const body = document.body;
export const byId = (id) => document.getElementById(id);
const CONTACT_LIMIT_MS = 10_000;
export const MINUTE_MS = 60_000;

export const text = await words();
export const locale = navigator.languages.find((tag) => tag.startsWith(body.dataset.language)) ?? text["locale.tag"];
const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium" });

async function words() {
  for (;;) {
    try {
      const answer = await fetch(`/text/${body.dataset.language}.json`);
      if (answer.ok) return await answer.json();
    } catch { /* the server is starting, or was restarted under us */ }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

export function t(key, values = {}) {
  return (text[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// el("p", {class: "x"}, "text", child): an element; text is never read as HTML.
export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

const shown = new Map();

// Replaces what `place` shows if it would differ; the keyboard stays where it was.
export function put(place, state, make) {
  const key = JSON.stringify(state);
  if (shown.get(place) === key) return;
  shown.set(place, key);
  const held = place.contains(document.activeElement) ? document.activeElement.dataset.hold : null;
  place.replaceChildren(...make());
  if (held) place.querySelector(`[data-hold="${held}"]`)?.focus();
}

export function since(ms) {
  return el("time", { "data-since": ms, datetime: new Date(ms).toISOString() });
}

// --- time ---------------------------------------------------------------------------------------

// Contact is counted from the moment of which the server says "nothing before this is missing", not
// from when the message came: a message that lay in a buffer does not make the page live.
let asOfMs = null;
let arrivedAt = 0;
let shortestWay = Infinity;
let lastTick = Date.now();
let slept = false;

function heard(ms) {
  if (asOfMs === null || ms < asOfMs) shortestWay = Infinity; // the server's clock was set back
  asOfMs = ms;
  arrivedAt = performance.now();
  shortestWay = Math.min(shortestWay, arrivedAt - ms);
  slept = false;
}

export const boxNow = () => asOfMs + performance.now() - arrivedAt;
const silenceMs = () => performance.now() - asOfMs - shortestWay;

// Another reason to doubt what is shown: a function that gives a sentence, or null.
let doubt = () => null;

export function doubtBy(found) {
  doubt = found;
}

function tick() {
  slept ||= Date.now() - lastTick > CONTACT_LIMIT_MS; // the machine was asleep
  lastTick = Date.now();
  const heardNow = asOfMs !== null && !slept && silenceMs() < CONTACT_LIMIT_MS;
  const doubted = heardNow ? doubt() : null;
  const live = heardNow && doubted === null;
  const lost = !live && (asOfMs !== null || performance.now() > CONTACT_LIMIT_MS);
  body.classList.toggle("waiting", asOfMs === null);
  body.classList.toggle("stale", lost);
  byId("lost").hidden = !lost;
  const time = asOfMs === null ? "" : clock.format(asOfMs);
  if (lost) {
    const said = doubted ?? (asOfMs === null ? t("live.never") : t("live.lost", { time }));
    if (byId("lost").firstChild.textContent !== said) byId("lost").firstChild.textContent = said;
    byId("live").textContent = said;
  } else if (live) {
    byId("live").textContent = t("live.as_of", { time });
  }
  if (asOfMs === null) return;
  for (const place of document.querySelectorAll("time[data-since]")) {
    const minutes = Math.max(0, Math.floor((boxNow() - place.dataset.since) / MINUTE_MS));
    const values = { n: minutes % 60, h: Math.floor(minutes / 60) };
    const said = t(minutes < 1 ? "since.now" : minutes < 60 ? "since.minutes" : "since.hours", values);
    if (place.textContent !== said) place.textContent = said;
  }
}

// Hands each frame's board to `show`; the page says by itself when it hears nothing.
export function follow(address, show) {
  const source = new EventSource(address);
  source.addEventListener("board", (event) => {
    const frame = JSON.parse(event.data);
    heard(frame.as_of_ms);
    show(frame.board);
    tick();
  });
  source.addEventListener("pulse", (event) => {
    heard(JSON.parse(event.data).as_of_ms);
    tick();
  });
  // A browser tries again by itself, except after an answer that is no stream.
  source.addEventListener("error", async () => {
    if (source.readyState !== EventSource.CLOSED) return;
    setTimeout(() => follow(address, show), 2000);
    const answer = await fetch(`/text/${body.dataset.language}.json`).catch(() => null);
    if (answer?.status === 401) location.assign("/sign-in"); // the session has ended
  });
}

export function startTicking() {
  document.addEventListener("visibilitychange", tick);
  setInterval(tick, 500);
}
