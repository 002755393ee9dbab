// The console's module: shows what the unit says, and says when the unit says nothing.
import { MINUTE_MS, body, byId, el, follow, icon, locale, put, since, startTicking, t, text } from "./web.js";

const shortClock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
const dayAndTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(locale, { dateStyle: "short", timeStyle: "medium" });
const number = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });

// While views are only awaited there is no result yet; an image that could not be judged is one.
function flagOf(exam) {
  const onlyAwaited = exam.flag === "not_assessed" && !exam.final && (exam.reasons ?? ["unknown"]).every((reason) => reason === "awaiting_views");
  return onlyAwaited ? "not_yet" : exam.flag ?? "not_yet";
}
const viewName = (code) => `${text[`side.${code[0]}`] ?? code[0]} ${code.slice(1)}`;
const unseen = (exam) => exam.flag === "priority" && exam.acknowledged_at_ms === null;

function studyTime(exam) {
  const parts = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)/.exec(exam.study_time);
  if (!parts) return "";
  const [, year, month, day, hour, minute] = parts.map(Number);
  return shortClock.format(new Date(year, month - 1, day, hour, minute));
}

// --- the board ----------------------------------------------------------------------------------

let board = null;
let chosen = null;
let newest = null;
let heardUnseen = null;

function show() {
  const exams = board.exams;
  if (exams[0]?.key !== newest) {
    newest = exams[0]?.key;
    chosen = null; // a new exam has begun: she looks at this one
  }
  const exam = exams.find((one) => one.key === chosen) ?? exams[0];
  byId("current-heading").textContent = t(exam && exam !== exams[0] ? "chosen.heading" : "current.heading");
  put(byId("exam"), [exam, exam === exams[0]], () => (exam ? examParts(exam, exam === exams[0]) : [el("p", { class: "empty" }, t("today.none"))]));
  const spoken = exam ? `${exam.accession_number} ${exam.initials}: ${t(`flag.${flagOf(exam)}`)}` : "";
  if (byId("spoken").textContent !== spoken) byId("spoken").textContent = spoken; // for screen readers
  put(byId("exams"), [exams, exam?.key], () => exams.map((one) => listItem(one, one === exam)));
  put(byId("troubles"), board.system_status.large, () => board.system_status.large.map(troubleParts));
  put(byId("box"), board.system_status, () => boxParts(board.system_status));
  sound(exams);
}

function examParts(exam, isCurrent) {
  const flag = flagOf(exam);
  const name = [exam.accession_number, exam.initials, studyTime(exam)].filter(Boolean);
  return [
    el("p", { class: "identity" }, ...(name.length ? name.map((part, n) => el(n ? "span" : "strong", {}, part)) : [el("span", {}, t("identity.unknown"))]),
      isCurrent ? null : el("button", { class: "back", "data-hold": "back", click: () => choose(null) }, t("chosen.back"))),
    el("div", { class: `flag flag-${flag}` }, icon(flag),
      el("div", {}, el("p", { class: "word" }, t(`flag.${flag}`)), el("p", {}, t(`flag.${flag}.means`)), el("p", { class: "state" }, stateWords(exam), " · ", since(exam.decided_at_ms ?? exam.first_received_ms))),
      seenPart(exam)),
    ...reasonParts(exam),
    el("div", { class: "tiles" }, ...exam.tiles.map(tilePart)),
    ...(exam.others.length ? [el("h2", {}, t("others.heading")), el("div", { class: "tiles others" }, ...exam.others.map(tilePart))] : []),
  ];
}

function stateWords(exam) {
  if (!exam.final) return t("flag.provisional");
  return `${t("flag.final")}: ${t(`completed.${exam.completed_by}`)}`;
}

function seenPart(exam) {
  if (exam.flag !== "priority") return "";
  if (exam.acknowledged_at_ms !== null) {
    return el("p", { class: "seen" }, icon("seen"), t("seen.at", { time: shortClock.format(exam.acknowledged_at_ms) }));
  }
  const button = el("button", { class: "see", "data-hold": "see", "aria-label": `${t("seen.button")}: ${t("seen.button.long")}` }, icon("seen"), t("seen.button"));
  button.addEventListener("click", () => acknowledge(exam.key, button));
  return el("div", { class: "seen" }, button, exam.overdue ? el("p", {}, t("seen.overdue")) : "");
}

async function acknowledge(key, button) {
  button.disabled = true;
  try {
    const answer = await fetch(`/exams/${key}/seen`, { method: "POST", headers: { "X-Mammoedge": "1" } });
    if (!answer.ok) throw new Error(String(answer.status));
  } catch {
    button.disabled = false;
    button.parentNode.querySelector("p")?.remove();
    button.after(el("p", { role: "alert" }, t("seen.failed")));
  }
}

// What she can do: the reasons of the exam that no tile below tells already. That two patients are
// in one exam is said in large letters, and before the exam is over.
function reasonParts(exam) {
  if (exam.reasons.includes("identity_conflict")) return [el("div", { class: "alarm", role: "alert" }, icon("trouble"), el("div", {}, el("h2", {}, t("reason.identity_conflict.what")), el("p", {}, t("reason.identity_conflict.do"))))];
  if (!exam.final || exam.flag !== "not_assessed") return [];
  const told = new Set([...exam.tiles, ...exam.others].flatMap((tile) => tile.reasons));
  if (exam.tiles.some((tile) => tile.state === "missing")) told.add("view_not_received");
  const rest = exam.reasons.filter((reason) => !told.has(reason));
  return rest.length ? [el("ul", { class: "reasons" }, ...rest.map((reason) => el("li", {}, t(`reason.${reason}.what`), ". ", t(`reason.${reason}.do`))))] : [];
}

const TILE_ICONS = { awaited: "not_yet", not_expected: "none", received: "not_yet", missing: "missing", not_assessed: "not_assessed" };

function tilePart(tile) {
  const judged = tile.state === "judged";
  const symbol = judged ? tile.flag : TILE_ICONS[tile.state];
  const state = judged && tile.flag === "priority" ? "judged.priority" : tile.state;
  const lines = tile.reasons.map((reason) => el("p", { class: "reason" }, el("strong", {}, `${t(`reason.${reason}.what`)}. `), t(`reason.${reason}.do`)));
  if (tile.state === "missing") lines.push(el("p", { class: "reason" }, t("tile.missing.do")));
  if (tile.retaken) lines.push(el("p", {}, t("tile.retaken")));
  const view = viewName(tile.view);
  return el("article", { class: `tile tile-${tile.state} mark-${symbol}`, "aria-label": view },
    el("div", { class: "said" }, el("h2", {}, view), el("p", { class: "outcome" }, icon(symbol), t(`tile.${state}`)), ...lines),
    tile.preview === null ? "" : el("img", { src: `/previews/${tile.preview}.jpg`, alt: t("tile.preview", { view }), loading: "lazy" }));
}

function listItem(exam, isShown) {
  const flag = flagOf(exam);
  const name = [exam.accession_number || exam.key.slice(0, 6), exam.initials].filter(Boolean).join(" ");
  return el("li", {}, el("button", { class: `item item-${flag}`, "aria-current": isShown ? "true" : null, "data-hold": exam.key, click: () => choose(exam.key) },
    icon(flag),
    el("span", { class: "word" }, t(`flag.${flag}`)), el("span", { class: "when" }, shortClock.format(exam.first_received_ms)),
    el("span", { class: "name" }, name),
    unseen(exam) ? el("span", { class: "unseen" }, t("seen.not_yet")) : exam.final ? "" : el("span", { class: "open" }, t("flag.provisional"))));
}

function choose(key) {
  chosen = key;
  show();
}

function troubleParts(code) {
  return el("div", { class: "alarm" }, icon("trouble"), el("div", {}, el("h2", {}, t(`trouble.${code}.what`)), el("p", {}, t(`trouble.${code}.do`))), el("p", { class: "code" }, t("box.code", { code })));
}

function boxParts(box) {
  const entry = (name, value, bad) => el("div", { class: bad ? "bad" : null }, el("dt", {}, name), el("dd", {}, value));
  const waiting = box.messages_waiting && !box.broker_connected
    ? `${t("box.broker.away")}, ${t("box.waiting", { n: box.messages_waiting, time: shortClock.format(box.waiting_since_ms) })}`
    : t(box.broker_connected ? "box.broker.connected" : "box.broker.away");
  const device = box.actual_device === null ? t("box.device.none")
    : box.requested_device === box.actual_device ? box.actual_device
    : t("box.device.asked", { actual: box.actual_device, requested: box.requested_device.replaceAll(",", ", ") });
  const troubles = box.small.map((code) => el("div", { class: "bad" }, el("dt", {}, t("box.code", { code })), el("dd", {}, t(`trouble.${code}.what`), el("small", {}, t(`trouble.${code}.do`)))));
  const well = box.large.length + box.small.length === 0;
  return [
    well ? entry(t("box.heading"), t("box.well")) : "", ...troubles,
    entry(t("box.site"), waiting, !box.broker_connected),
    entry(t("box.model"), `${box.model} ${box.model_version}`),
    entry(t("box.device"), device, box.actual_device === null),
    entry(t("box.restarts"), String(box.worker_restarts)),
    entry(t("box.disk"), `${number.format(box.disk_free_mb / 1024)} GB`),
  ].filter(Boolean);
}

// --- sound --------------------------------------------------------------------------------------

let audio = null;

function sound(exams) {
  const now = new Set(exams.filter(unseen).map((exam) => exam.key));
  if (heardUnseen && audio && [...now].some((key) => !heardUnseen.has(key))) chime();
  heardUnseen = now;
}

function chime() {
  for (const [n, hertz] of [660, 880].entries()) {
    const tone = new OscillatorNode(audio, { frequency: hertz });
    const volume = new GainNode(audio, { gain: 0.2 });
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + n * 0.25);
    tone.stop(audio.currentTime + n * 0.25 + 0.2);
  }
}

function startBoard() {
  if (body.dataset.sound === "on") {
    byId("sound").hidden = false;
    byId("sound").addEventListener("click", () => {
      audio ??= new AudioContext(); // browsers give sound to a page that was touched only
      byId("sound").textContent = t("sound.is_on");
      byId("sound").disabled = true;
      chime();
    });
  }
  byId("exams").addEventListener("keydown", (event) => {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const next = step && document.activeElement.closest("li")?.[step];
    if (next) {
      next.firstChild.focus();
      event.preventDefault();
    }
  });
  startTicking();
  follow("/live", (news) => {
    if (board && board.system_status.software_version !== news.system_status.software_version) location.reload();
    board = news;
    show();
  });
}

// --- history ------------------------------------------------------------------------------------

async function search() {
  const asked = new FormData(byId("search"));
  const query = new URLSearchParams({ accession: asked.get("accession").trim() });
  if (asked.get("from")) query.set("since_ms", new Date(asked.get("from")).getTime());
  if (asked.get("to")) query.set("until_ms", new Date(asked.get("to")).getTime() + MINUTE_MS);
  try {
    const answer = await fetch(`/history.json?${query}`);
    if (!answer.ok) throw new Error(String(answer.status));
    showPast(await answer.json());
  } catch {
    byId("count").textContent = t("history.failed");
  }
}

function showPast(exams) {
  byId("count").textContent = exams.length ? t("history.count", { n: exams.length }) : t("history.none");
  byId("past").hidden = exams.length === 0;
  byId("past").tBodies[0].replaceChildren(...exams.map((exam) => {
    const flag = flagOf(exam);
    const seen = exam.flag !== "priority" ? "" : exam.acknowledged_at_ms === null ? t("seen.not_yet") : shortClock.format(exam.acknowledged_at_ms);
    const when = dayAndTime.format(exam.first_received_ms);
    return el("tr", { class: `row-${flag}` },
      el("th", { scope: "row" }, when), el("td", {}, exam.accession_number), el("td", {}, exam.initials),
      el("td", { class: "word" }, icon(flag), exam.final ? t(`flag.${flag}`) : `${t(`flag.${flag}`)} (${t("flag.provisional")})`), el("td", {}, seen),
      el("td", {}, el("button", { "aria-label": `${t("history.open")}: ${exam.accession_number || when}`, click: () => tell(exam) }, t("history.open"))));
  }));
}

async function tell(exam) {
  const answer = await fetch(`/exams/${exam.key}.json`);
  if (!answer.ok) {
    byId("count").textContent = t("history.failed");
    return;
  }
  const story = await answer.json();
  byId("links").replaceChildren(el("a", { href: `/exams/${exam.key}.json`, download: true }, t("history.export")),
    body.dataset.evidence === "on" ? el("a", { href: `/evidence?exam=${exam.key}` }, t("history.evidence")) : "");
  byId("told").replaceChildren(el("p", {}, [exam.accession_number, exam.initials].filter(Boolean).join(" ")),
    el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, t("story.time")), el("th", { scope: "col" }, t("story.what")))),
      el("tbody", {}, ...story.happenings.map((one) => el("tr", {}, el("td", { class: "exact" }, milliseconds(one.at_ms)), el("td", {}, happening(one)))))));
  byId("story").hidden = false;
  byId("story").focus();
}

const milliseconds = (ms) => `${exact.format(ms)}.${String(ms % 1000).padStart(3, "0")}`;

function happening({ what, facts }) {
  if (what === "decided") {
    return t("story.decided", { revision: facts.revision, flag: t(`flag.${facts.flag}`), final: t(facts.final ? "flag.final" : "flag.provisional") });
  }
  const key = what === "judged" && facts.outcome === "not_assessed" ? "not_assessed" : what;
  const reasons = (facts.reasons ?? []).map((reason) => t(`reason.${reason}.what`)).join(", ");
  const took = facts.stage_ms?.total ? ` · ${number.format(facts.stage_ms.total)} ms${facts.actual_device ? ` · ${facts.actual_device}` : ""}` : "";
  return t(`story.${key}`, { ...facts, view: facts.view ? viewName(facts.view) : "", reasons }) + took;
}

function startHistory() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  search();
}

// --- evidence, for readers; off by default ------------------------------------------------------

async function startEvidence() {
  const key = new URLSearchParams(location.search).get("exam");
  const story = await (await fetch(`/exams/${key}.json`)).json();
  const judged = new Map(story.happenings.filter((one) => one.what === "judged").map((one) => [one.facts.image, one.facts.view]));
  for (const [image, view] of judged) {
    const answer = await fetch(`/evidence/${image}.json`);
    const figure = el("figure", {}, el("figcaption", {}, viewName(view)));
    if (answer.ok) figure.append(el("img", { src: `/previews/${image}.jpg`, alt: t("tile.preview", { view: viewName(view) }) }), painted((await answer.json()).rows));
    else figure.append(el("p", {}, t("evidence.none")));
    byId("maps").append(figure);
  }
}

function painted(rows) {
  const canvas = el("canvas", { width: rows[0].length, height: rows.length });
  const pen = canvas.getContext("2d");
  rows.forEach((row, y) => row.forEach((value, x) => {
    const light = Math.round(255 * Math.min(1, Math.max(0, value)));
    pen.fillStyle = `rgb(${light} ${light} ${light})`;
    pen.fillRect(x, y, 1, 1);
  }));
  return canvas;
}

({ board: startBoard, history: startHistory, evidence: startEvidence })[body.dataset.page]();
