/* The console: reads the head of the log every second, and the read models when the log or the marks changed. */

import { Down, Refused, key, read } from "./api.js";
import { shown } from "./decimal.js";
import { byId } from "./dom.js";
import { clock, drawBreaks, drawExposure, drawLimits, drawLog, drawOrders, drawPnl } from "./panels.js";

const BEAT_MS = 1000;
const MARKS_MS = 5000;
const RETRY_MS = 3000;
const SLIDING_MS = 150;
const ROWS_MAX = 200;
const EVENTS_MAX = 60;

const state = { folded: "", asOf: null, drawnAt: 0, orders: [], isPaused: false, timer: 0, turn: 0 };

/* ---- status line and notices ---- */

function vital(id, words, title) {
  byId(id).textContent = words;
  if (title) byId(id).title = title;
}

function health(condition, words) {
  byId("vital-health").dataset.state = condition;
  byId("vital-health").textContent = words;
}

function notice(words, kind = "error") {
  byId("notice").hidden = !words;
  byId("notice").dataset.kind = kind;
  if (byId("notice").textContent !== words) byId("notice").textContent = words;
}

/* ---- log and read models ---- */

/** Draws the head of the log and how far the read models are behind it. A stopped one is shown, the others go on. */
async function drawReady() {
  const answer = await read("/ready").catch((error) => {
    if (error instanceof Refused && (error.problem.projections || error.problem.code === "NOT_READY")) return error.problem;
    throw error;
  });
  if (!answer.projections) throw new Refused(401, { detail: "this API key is not valid, or was revoked" });
  const stopped = answer.projections.filter((projection) => projection.error);
  const seq = answer.seq ?? Math.max(...answer.projections.map((projection) => projection.seq + projection.lag));
  vital("vital-seq", shown(String(seq)));
  vital("vital-recorded", answer.recorded_at ? `${clock(answer.recorded_at)} UTC` : "–", answer.recorded_at);
  vital("vital-lag", shown(String(Math.max(0, ...answer.projections.map((projection) => projection.lag)))));
  health(stopped.length ? "warn" : "ok", stopped.length ? "degraded" : "ok");
  notice(stopped.map((projection) => `Read model ${projection.projection} has stopped: ${projection.error}`).join(" "), "warn");
  return { seq, folded: answer.projections.map((projection) => projection.seq).join() };
}

async function drawEvents(seq) {
  try {
    drawLog((await read(`/v1/events?after=${Math.max(0, seq - EVENTS_MAX)}&limit=${EVENTS_MAX}`)).items.reverse());
  } catch (error) {
    if (!(error instanceof Refused && error.status === 403)) throw error;
    drawLog([], "Reading the log needs a key with the scope audit");
  }
}

/** Runs the queries of one drawing: together for the present; one by one for a past moment, which is replayed. */
async function readAll(paths, at) {
  if (at === null) return Promise.all(paths.map(read));
  const answers = [];
  for (const path of paths) answers.push(await read(`${path}${path.includes("?") ? "&" : "?"}as_of=${at}`));
  return answers;
}

async function drawPanels(head) {
  const at = state.asOf;
  const by = byId("exposure-by").value;
  const paths = ["/v1/pnl", `/v1/exposure?by=${by}`, "/v1/limits", `/v1/orders?limit=${ROWS_MAX}`, `/v1/breaks?limit=${ROWS_MAX}`];
  const [[pnl, exposure, limits, orders, breaks]] = await Promise.all([readAll(paths, at), drawEvents(at ?? head)]);
  if (at !== state.asOf) return; // the reader has moved the slider
  drawPnl(pnl, at !== null);
  drawExposure(exposure.totals, by);
  drawLimits(limits.items);
  state.orders = orders.items;
  drawOrders(state.orders, byId("orders-show").value);
  drawBreaks(breaks.items);
  drawTime(head, at, pnl.recorded_at);
  state.drawnAt = Date.now();
  byId("book").hidden = byId("time").hidden = false;
}

function drawTime(head, at, recordedAt) {
  byId("time-slider").max = head;
  if (at === null) byId("time-slider").value = head;
  byId("time-now").hidden = at === null;
  byId("time").classList.toggle("past", at !== null);
  byId("time-words").textContent = at === null ? "now" : `seq ${shown(String(at))}, as recorded ${recordedAt ? `at ${clock(recordedAt)} UTC` : ""}`;
  byId("time-words").title = recordedAt ?? "";
}

/* ---- the loop ---- */

async function beat(isForced = false) {
  clearTimeout(state.timer);
  const turn = ++state.turn;
  let pause = BEAT_MS;
  try {
    const { seq, folded } = await drawReady();
    const isMoved = state.asOf === null && (folded !== state.folded || Date.now() - state.drawnAt > MARKS_MS);
    if (isForced || isMoved) await drawPanels(seq);
    state.folded = folded;
    byId("book").classList.remove("stale");
  } catch (error) {
    pause = RETRY_MS;
    if (!failed(error)) return;
  }
  if (turn === state.turn && !state.isPaused) state.timer = setTimeout(beat, pause);
}

/** Shows an error; returns whether to try again. */
function failed(error) {
  byId("book").classList.add("stale");
  if (error instanceof Refused && error.status === 401) {
    health("wait", "locked");
    byId("book").hidden = true;
    showKeyDialog(key.get() ? error.message : "");
    return false;
  }
  if (error instanceof Refused) {
    health("warn", `HTTP ${error.status}`);
    notice(`The API answered: ${error.message}. Figures below may be old; trying again.`);
    return true;
  }
  if (error instanceof Down) {
    health("down", "down");
    notice(`The API cannot be reached (${error.message}). Figures below are the last ones received; trying again.`);
    return true;
  }
  health("down", "error");
  notice(`This page could not read an answer: ${error.message}`);
  console.error(error);
  return true;
}

/* ---- keys, buttons and the slider ---- */

function showKeyDialog(words) {
  byId("key-error").textContent = words;
  byId("key-forget").hidden = !key.get();
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(byId("key-input").value.trim());
  byId("key-input").value = "";
  byId("key-dialog").close();
  byId("tool-key").hidden = false;
  beat(true);
});
byId("key-forget").addEventListener("click", () => {
  key.forget();
  location.reload();
});
byId("tool-key").addEventListener("click", () => showKeyDialog(""));
byId("time-slider").addEventListener("input", () => {
  const at = Number(byId("time-slider").value);
  state.asOf = at >= Number(byId("time-slider").max) ? null : at;
  byId("time-words").textContent = state.asOf === null ? "now" : `seq ${shown(String(at))}, replaying`;
  clearTimeout(state.sliding);
  state.sliding = setTimeout(() => beat(true), SLIDING_MS);
});
byId("time-now").addEventListener("click", () => {
  state.asOf = null;
  byId("time-slider").focus();
  beat(true);
});
byId("exposure-by").addEventListener("change", () => beat(true));
byId("orders-show").addEventListener("change", () => drawOrders(state.orders, byId("orders-show").value));

function pause() {
  state.isPaused = !state.isPaused;
  byId("tool-pause").setAttribute("aria-pressed", String(state.isPaused));
  byId("tool-pause").textContent = state.isPaused ? "Resume" : "Pause";
  if (state.isPaused) clearTimeout(state.timer);
  else beat(true);
}
byId("tool-pause").addEventListener("click", pause);

const SCHEMES = ["", "dark", "light"];
function scheme(chosen) {
  document.documentElement.dataset.scheme = chosen;
  byId("tool-scheme").textContent = `Theme: ${chosen || "auto"}`;
  localStorage.setItem("daybook.scheme", chosen);
}
function nextScheme() {
  scheme(SCHEMES[(SCHEMES.indexOf(document.documentElement.dataset.scheme) + 1) % SCHEMES.length]);
}
byId("tool-scheme").addEventListener("click", nextScheme);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  if (event.key === "p") pause();
  if (event.key === "t") nextScheme();
  if (event.key === "k" && !byId("tool-key").hidden) showKeyDialog("");
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !state.isPaused) beat();
});

scheme(SCHEMES.includes(localStorage.getItem("daybook.scheme")) ? localStorage.getItem("daybook.scheme") : "");
byId("tool-key").hidden = document.documentElement.dataset.demo === "yes" || !key.get();
beat(true);
