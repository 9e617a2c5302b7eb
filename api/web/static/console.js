/* The console: asks for the head of the log every second, and for the read models when the log or the marks moved. */

import { Down, Refused, key, read } from "./api.js";
import { shown } from "./decimal.js";
import { byId } from "./dom.js";
import { clock, drawBreaks, drawExposure, drawLimits, drawLog, drawOrders, drawPnl } from "./panels.js";

const BEAT_MS = 1000;
const MARKS_MS = 5000;
const RETRY_MS = 3000;
const ROWS_MAX = 200;
const EVENTS_MAX = 60;

const state = { head: -1, drawnAt: 0, orders: [], isPaused: false, timer: 0, turn: 0 };

/* ---- what the page says about itself ---- */

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

/* ---- the book ---- */

async function drawHealth() {
  const answer = await read("/health");
  const lag = Math.max(0, ...answer.projections.map((projection) => projection.lag));
  const broken = answer.projections.filter((projection) => projection.error);
  vital("vital-seq", shown(String(answer.seq)));
  vital("vital-recorded", answer.recorded_at ? `${clock(answer.recorded_at)} UTC` : "–", answer.recorded_at);
  vital("vital-lag", shown(String(lag)));
  health(broken.length ? "warn" : "ok", broken.length ? "degraded" : "ok");
  notice(broken.map((projection) => `Read model ${projection.projection} has stopped: ${projection.error}`).join(" "), "warn");
  return answer.seq;
}

async function drawEvents() {
  try {
    drawLog((await read(`/v1/events?order=desc&limit=${EVENTS_MAX}`)).items);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 403)) throw error;
    drawLog([]);
    byId("log-table").tBodies[0].rows[0].cells[0].textContent = "Reading the log needs a key with the scope audit";
  }
}

async function drawBook() {
  const by = byId("exposure-by").value;
  const [pnl, exposure, limits, orders, breaks] = await Promise.all([
    read("/v1/pnl"), read(`/v1/exposure?by=${by}`), read("/v1/limits"),
    read(`/v1/orders?limit=${ROWS_MAX}`), read(`/v1/breaks?limit=${ROWS_MAX}`), drawEvents(),
  ]);
  drawPnl(pnl.items);
  drawExposure(exposure.items);
  drawLimits(limits.items);
  state.orders = orders.items;
  drawOrders(state.orders, byId("orders-show").value);
  drawBreaks(breaks.items);
  state.drawnAt = Date.now();
  byId("book").hidden = false;
}

/* ---- the loop ---- */

async function beat(isForced = false) {
  clearTimeout(state.timer);
  const turn = ++state.turn;
  let pause = BEAT_MS;
  try {
    const head = await drawHealth();
    if (isForced || head !== state.head || Date.now() - state.drawnAt > MARKS_MS) await drawBook();
    state.head = head;
    byId("book").classList.remove("stale");
  } catch (error) {
    pause = RETRY_MS;
    if (!failed(error)) return;
  }
  if (turn === state.turn && !state.isPaused) state.timer = setTimeout(beat, pause);
}

/** Shows what went wrong; whether it is worth asking again. */
function failed(error) {
  byId("book").classList.add("stale");
  if (error instanceof Refused && error.status === 401) {
    health("wait", "locked");
    byId("book").hidden = true;
    askKey(key.get() ? error.message : "");
    return false;
  }
  if (error instanceof Refused) {
    health("warn", `HTTP ${error.status}`);
    notice(`The API answered: ${error.message}. Figures below may be old; asking again.`);
    return true;
  }
  if (error instanceof Down) {
    health("down", "down");
    notice(`The API cannot be reached (${error.message}). Figures below are the last ones received; asking again.`);
    return true;
  }
  health("down", "error");
  notice(`This page could not read an answer: ${error.message}`);
  console.error(error);
  return true;
}

/* ---- the reader ---- */

function askKey(words) {
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
byId("tool-key").addEventListener("click", () => askKey(""));
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
  if (event.key === "k" && !byId("tool-key").hidden) askKey("");
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !state.isPaused) beat();
});

scheme(SCHEMES.includes(localStorage.getItem("daybook.scheme")) ? localStorage.getItem("daybook.scheme") : "");
byId("tool-key").hidden = document.documentElement.dataset.demo === "yes" || !key.get();
beat(true);
