// The fleet and one unit: shows what the site has heard, and says when it hears nothing.
import { body, boxNow, byId, doubtBy, el, follow, icon, locale, put, since, startTicking, t, text } from "./web.js";

const DEAF_AFTER_MS = 30_000;
const LEVEL_ICONS = { critical: "trouble", warning: "warning", away: "away", well: "well", retired: "away" };
const shortClock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const dayAndTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const number = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const twoDigits = new Intl.NumberFormat(locale, { maximumFractionDigits: 2, minimumFractionDigits: 2 });
const byName = new Intl.Collator(locale, { numeric: true });
const share = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });

let board = null;

// A code that a unit sent has words, or is "other (CODE)": units may be newer than this page.
const named = (family, code, part = "") => text[`${family}.${code}${part}`] ?? t("code.other", { code });
const keyOf = (unit) => `${unit.site}/${unit.unit}`;

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// --- a tile -------------------------------------------------------------------------------------

// Rate against limits on one scale: the band is what chance does, the mark is today.
function gauge(rate) {
  const top = 1.3 * Math.max(rate.high ?? 0, rate.rate ?? 0, 0.05);
  const x = (value) => (100 * Math.min(1, value / top)).toFixed(1);
  const parts = [svg("rect", { class: "track", x: 0, y: 0, width: 100, height: 10 })];
  if (rate.low !== null && rate.high !== null) parts.push(svg("rect", { class: "limits", x: x(rate.low), y: 0, width: (x(rate.high) - x(rate.low)).toFixed(1), height: 10 }));
  if (rate.rate !== null) parts.push(svg("rect", { class: rate.beyond ? "mark beyond" : "mark", x: Math.max(0, x(rate.rate) - 2), y: 0, width: 4, height: 10 }));
  return svg("svg", { class: "gauge", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, ...parts);
}

function limitWords(rate) {
  if (rate.low === null) return t("rate.learning", { n: rate.baseline_exams });
  return t(rate.beyond ? "rate.beyond" : "rate.within", { low: share.format(rate.low), high: share.format(rate.high) });
}

function ratePart(measure, rate) {
  const said = rate.rate === null ? t("rate.none") : share.format(rate.rate);
  return el("p", { class: rate.beyond ? "rate beyond" : "rate", title: `${t(`flag.${measure}`)}: ${said}, ${limitWords(rate)}` },
    icon(measure), gauge(rate), el("span", { class: "share" }, rate.rate === null ? "–" : said),
    el("span", { class: "unseen-text" }, `${t(`flag.${measure}`)}, ${limitWords(rate)}`));
}

function count(flag, value) {
  return el("span", { class: flag, title: t(`flag.${flag}`) }, icon(flag), String(value), el("span", { class: "unseen-text" }, t(`flag.${flag}`)));
}

function driftPart(unit) {
  const alarmed = alarmsOf(unit).some((alarm) => alarm.kind === "drift");
  const words = unit.drift === null ? t("tile.drift.none") : t("tile.drift", { psi: twoDigits.format(unit.drift.psi) });
  const what = unit.drift === null ? "" : named("descriptor", unit.drift.largest);
  return el("span", { class: alarmed ? "bad" : null, title: what || null }, words);
}

function backlogPart(unit) {
  const bad = unit.troubles.includes("backlog") || unit.troubles.includes("parked");
  return el("span", { class: bad ? "bad" : null }, unit.backlog === null ? t("tile.backlog.none") : t("tile.backlog", { n: number.format(unit.backlog) }));
}

const alarmsOf = (unit) => board.alarms.filter((alarm) => unit.alarms.includes(alarm.number));

// What is the matter, each with what to do about it where somebody can; each once.
function whyWords(unit) {
  const words = new Map();
  if (unit.standing === "silent") words.set(t("why.silent"), text["alarm.unit_silent.do"]);
  for (const reason of unit.reasons) words.set(named("degraded", reason), "");
  for (const alarm of alarmsOf(unit).filter((one) => one.kind !== "unit_silent")) words.set(named("alarm", alarm.kind, ".what"), text[`alarm.${alarm.kind}.do`] ?? alarm.advice);
  for (const trouble of unit.troubles) words.set(t(`why.${trouble}`, { n: unit.missing, s: number.format((unit.clock_offset_ms ?? 0) / 1000), device: unit.actual_device }), t(`why.${trouble}.do`));
  return [...words];
}

function whyPart([what, advice], { advised }) {
  return el("li", {}, what, advised && advice ? el("span", { class: "do" }, advice) : "");
}

function tileParts(unit, options) {
  const { detailed } = options;
  const why = whyWords(unit);
  const state = unit.level === "well" ? "" : el("span", { class: "state" }, named("standing", unit.standing), " ", unit.standing === "silent" ? since(unit.last_heard_ms) : "");
  return [
    el("h3", {}, icon(LEVEL_ICONS[unit.level]), el("span", { class: "unseen-text" }, t(`level.${unit.level}`)), manySites() ? el("small", {}, `${unit.site} `) : "", unit.unit, state),
    el("p", { class: "counts" }, count("priority", unit.today.priority), count("none", unit.today.none), count("not_assessed", unit.today.not_assessed)),
    ratePart("priority", unit.priority),
    ratePart("not_assessed", unit.not_assessed),
    el("p", { class: "foot" }, driftPart(unit), backlogPart(unit)),
    detailed && why.length ? el("ul", { class: "why" }, ...why.map((one) => whyPart(one, options))) : "",
  ];
}

const manySites = () => new Set(board.units.map((unit) => unit.site)).size > 1;

// --- the fleet ----------------------------------------------------------------------------------

const tiles = new Map();

// A tile is made anew only where its unit changed, so that the keyboard and the eye keep their place.
function tileOf(unit, options) {
  const state = JSON.stringify([unit, alarmsOf(unit), options, manySites()]);
  const kept = tiles.get(keyOf(unit));
  if (kept?.state === state) return kept.node;
  const link = kept?.node.firstChild ?? el("a", { href: `/units/${encodeURIComponent(unit.site)}/${encodeURIComponent(unit.unit)}` });
  link.className = `tile level-${unit.level}`;
  link.replaceChildren(...tileParts(unit, options).filter(Boolean));
  const node = kept?.node ?? el("li", {}, link);
  tiles.set(keyOf(unit), { state, node });
  return node;
}

function fill(place, nodes) {
  const same = place.children.length === nodes.length && nodes.every((node, n) => place.children[n] === node);
  if (same) return;
  const held = place.contains(document.activeElement) ? document.activeElement : null;
  place.replaceChildren(...nodes);
  held?.focus();
}

function showFleet() {
  const asked = byId("find").value.trim().toLowerCase();
  const units = board.units.filter((unit) => keyOf(unit).toLowerCase().includes(asked));
  const rank = Object.keys(LEVEL_ICONS);
  units.sort((a, b) => rank.indexOf(a.level) - rank.indexOf(b.level) || byName.compare(keyOf(a), keyOf(b)));
  const troubled = units.filter((unit) => unit.level === "critical" || unit.level === "warning");
  const well = units.filter((unit) => !troubled.includes(unit));
  fill(byId("trouble"), troubled.map((unit) => tileOf(unit, { detailed: true })));
  fill(byId("well"), well.map((unit) => tileOf(unit, { detailed: false })));
  byId("trouble-part").hidden = troubled.length === 0;
  byId("well-part").hidden = well.length === 0;
  byId("nothing").hidden = units.length > 0;
  byId("nothing").textContent = t(board.units.length ? "fleet.none_found" : "fleet.none");
  const counted = ["critical", "warning", "away", "well", "retired"].map((level) => [level, board.units.filter((unit) => unit.level === level).length]);
  const said = counted.filter(([, n]) => n).map(([level, n]) => t(`count.${level}`, { n })).join(" · ");
  if (byId("counts").textContent !== said) byId("counts").textContent = said;
  byId("alarms-part").hidden = board.alarms.length === 0;
  put(byId("alarms"), board.alarms, () => board.alarms.map(alarmPart));
  put(byId("foreign"), board.foreign, () => board.foreign.map((one) => el("li", {}, `${one.place}: ${named("foreign", one.why)} (${one.messages}, ${dayAndTime.format(one.last_ms)})`)));
  byId("foreign-part").hidden = board.foreign.length === 0;
  byId("foreign-count").textContent = t("foreign.heading", { n: board.foreign.reduce((sum, one) => sum + one.messages, 0) });
  put(byId("key"), "key", keyParts);
}

function alarmPart(alarm) {
  const where = [alarm.site, alarm.unit].filter(Boolean).join("/");
  const name = alarm.unit ? el("a", { href: `/units/${encodeURIComponent(alarm.site)}/${encodeURIComponent(alarm.unit)}`, "data-hold": alarm.number }, where) : where;
  return el("li", { class: `severity-${alarm.severity}` }, icon(alarm.severity === "critical" ? "trouble" : "warning"),
    el("p", {}, el("strong", {}, named("severity", alarm.severity)), ": ", name, " · ", el("strong", {}, named("alarm", alarm.kind, ".what")), " · ", t("alarm.since", { time: dayAndTime.format(alarm.since_ms) })),
    el("p", { class: "do" }, sawPart(alarm), " ", text[`alarm.${alarm.kind}.do`] ?? el("span", { lang: "en" }, alarm.advice)));
}

// In the reader's language; in English where the alarm's facts do not fill its sentence.
function sawPart(alarm) {
  const sentence = text[`alarm.${alarm.kind}.saw`];
  const filled = {};
  for (const fact of alarm.facts) (filled[fact.place] ??= []).push(factWords(fact));
  const places = sentence?.match(/\{\w+\}/g) ?? [];
  if (!sentence || places.some((place) => !filled[place.slice(1, -1)])) return el("span", { lang: "en" }, alarm.saw);
  return sentence.replace(/\{(\w+)\}/g, (_, place) => filled[place].join(", "));
}

function factWords(fact) {
  if (fact.kind === "share") return share.format(fact.value);
  if (fact.kind === "figure") return number.format(fact.value);
  const words = fact.family ? named(fact.family, fact.code) : fact.code;
  return fact.kind === "index" ? `${words} ${twoDigits.format(fact.value)}` : words;
}

function keyParts() {
  const levels = Object.entries(LEVEL_ICONS).flatMap(([level, name]) => [el("dt", {}, icon(name)), el("dd", {}, t(`level.${level}`))]);
  const flags = ["priority", "none", "not_assessed"].flatMap((flag) => [el("dt", {}, icon(flag)), el("dd", {}, t(`key.${flag}`))]);
  const rate = { rate: 0.05, low: 0.03, high: 0.09, beyond: false };
  return [...levels, ...flags, el("dt", {}, gauge(rate)), el("dd", {}, t("key.gauge")), el("dt", {}, "PSI"), el("dd", {}, t("key.psi"))];
}

// --- one unit -----------------------------------------------------------------------------------

function showUnit() {
  const unit = board.units.find((one) => one.site === body.dataset.site && one.unit === body.dataset.unit);
  put(byId("now"), [unit, unit && alarmsOf(unit)], () => (unit ? [el("div", { class: `tile level-${unit.level}` }, ...tileParts(unit, { detailed: true, advised: true }).filter(Boolean)), factParts(unit)] : [el("p", {}, t("fleet.none_found"))]));
}

function factParts(unit) {
  const facts = [
    ["standing", `${named("standing", unit.standing)}${unit.state_since_ms ? `, ${t("alarm.since", { time: dayAndTime.format(unit.state_since_ms) })}` : ""}`],
    ["heard", dayAndTime.format(unit.last_heard_ms)],
    ["model", `${unit.model} · ${unit.operating_point}`],
    ["software", unit.software],
    ["device", unit.requested_device === unit.actual_device ? unit.actual_device : t("box.device.asked", { actual: unit.actual_device, requested: unit.requested_device })],
    ["latency", unit.latency_p95_ms === null ? "–" : `${number.format(unit.latency_p95_ms)} ms`],
    ["backlog", unit.backlog === null ? "–" : `${unit.backlog}${unit.backlog_oldest_s ? ` (${number.format(unit.backlog_oldest_s)} s)` : ""}`],
    ["missing", String(unit.missing)],
    ["clock", unit.clock_offset_ms === null ? "–" : `${number.format(unit.clock_offset_ms / 1000)} s`],
    ["drift", unit.drift === null ? "–" : `${twoDigits.format(unit.drift.psi)} (${named("descriptor", unit.drift.largest)}, ${unit.drift.day})`],
  ];
  return el("dl", { class: "facts" }, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, t(`fact.${name}`)), el("dd", {}, value || "–"))));
}

function localTimes() {
  for (const place of document.querySelectorAll("#story time[data-at]")) place.textContent = dayAndTime.format(Number(place.dataset.at));
}

// Charts and story are the server's own page; once a minute they are fetched anew, but not from
// under somebody who is reading them.
async function renewStory() {
  const story = byId("story");
  if (story.contains(document.activeElement) || story.querySelector("details[open]")) return;
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("story");
  story.replaceChildren(...fresh.childNodes);
  localTimes();
}

// ------------------------------------------------------------------------------------------------

// The page is live, but is the site? A database that nobody writes to is true of the past only.
doubtBy(() => {
  if (board.heard_ms === null) return t("live.no_service");
  return boxNow() - board.heard_ms > DEAF_AFTER_MS ? t("live.deaf", { time: shortClock.format(board.heard_ms) }) : null;
});

const show = { fleet: showFleet, unit: showUnit }[body.dataset.page];
if (body.dataset.page === "fleet") {
  byId("find").addEventListener("input", () => board && showFleet());
} else {
  localTimes();
  setInterval(renewStory, 60_000);
}
startTicking();
follow("/live", (news) => {
  if (board && board.software !== news.software) location.reload();
  board = news;
  show();
});
