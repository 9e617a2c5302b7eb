/* The panels: rows of the API in, tables out. Each draws one section and knows nothing of the others. */

import { add, negate, parse, share, shown, sign, sum, text } from "./decimal.js";
import { byId, cell, el, exposureBar, figure, fill, limitBar, money, placesOf } from "./dom.js";

const OPEN = new Set(["PENDING_NEW", "NEW", "PARTIALLY_FILLED", "PENDING_CANCEL"]);
const SHORT = { PENDING_NEW: "PENDING", PARTIALLY_FILLED: "PARTIAL", PENDING_CANCEL: "CANCELING" };
const GONE = new Set(["CANCELED", "EXPIRED"]);

const several = (rows, field) => new Set(rows.map((row) => row[field])).size > 1;
const clock = (time) => (time ? time.slice(11, 19) : "–");
const grouped = (rows, key) => rows.reduce((groups, row) => groups.set(key(row), [...(groups.get(key(row)) ?? []), row]), new Map());

/* ---- profit and loss ---- */

const PARTS = [["realized", "Realized"], ["unrealized", "Unrealized"], ["fee_cost", "Fees"], ["funding", "Funding"]];

/** The exact sums of rows in one currency; a sum over an unknown part is unknown. */
function totals(rows) {
  const known = (field) => (rows.some((row) => row[field] === null) ? null : sum(rows.map((row) => row[field])));
  return Object.fromEntries([...PARTS.map(([field]) => field), "net"].map((field) => [field, known(field)]));
}

const cost = (value) => (value === null ? null : text(negate(parse(value))));

export function drawPnl(rows) {
  const named = several(rows, "account_id");
  const currencies = [...grouped(rows, (row) => row.settle).entries()].sort(([a], [b]) => b.localeCompare(a));
  byId("pnl-cards").replaceChildren(...currencies.map(([currency, held]) => pnlCard(currency, totals(held))));
  const lines = [];
  for (const [currency, held] of currencies) {
    lines.push(...held.map((row) => pnlRow(row, named)));
    if (held.length > 1) lines.push(pnlSum(currency, totals(held)));
  }
  fill("pnl-table", lines, "No position yet");
  const missing = rows.filter((row) => row.unrealized === null).map((row) => row.instrument_id);
  byId("pnl-aside").textContent = missing.length ? `no mark for ${[...new Set(missing)].join(", ")}` : "unrealized at the newest marks";
}

function pnlCard(currency, all) {
  return el("div", { class: "card", "data-currency": currency },
    el("div", {}, el("h3", {}, `Net, ${currency}`), money(all.net, currency, { coloured: true, tag: "div", className: "net" })),
    el("dl", {}, PARTS.map(([field, label]) => {
      const value = field === "fee_cost" ? cost(all[field]) : all[field];
      return el("div", {}, el("dt", {}, label), money(value, currency, { coloured: true, tag: "dd" }));
    })));
}

function pnlRow(row, named) {
  const strategy = named ? `${row.account_id} / ${row.strategy_id}` : row.strategy_id;
  return el("tr", { "data-row": `${row.account_id}/${row.strategy_id}/${row.instrument_id}` },
    el("th", { scope: "row" }, strategy), cell("id", row.instrument_id),
    figure(row.quantity), figure(row.avg_px, { className: "roomy", places: 2 }), figure(row.mark, { className: "roomy" }),
    money(row.realized, row.settle, { coloured: true, className: "roomy" }), money(row.unrealized, row.settle, { coloured: true, className: "roomy" }),
    money(cost(row.fee_cost), row.settle, { className: "roomy" }),
    money(row.funding, row.settle, { className: "roomy" }), money(row.net, row.settle, { coloured: true }),
    cell("quiet", row.settle), cell("num quiet roomy", shown(String(row.seq))));
}

function pnlSum(currency, all) {
  return el("tr", { class: "sum" }, el("th", { scope: "row", colspan: 2 }, `Together, ${currency}`),
    cell("num"), cell("num roomy"), cell("num roomy"),
    money(all.realized, currency, { coloured: true, className: "roomy" }), money(all.unrealized, currency, { coloured: true, className: "roomy" }),
    money(cost(all.fee_cost), currency, { className: "roomy" }), money(all.funding, currency, { className: "roomy" }),
    money(all.net, currency, { coloured: true }), cell("quiet", currency), cell("roomy"));
}

/* ---- exposure ---- */

export function drawExposure(rows) {
  const widest = new Map();
  for (const row of rows) {
    const known = widest.get(row.currency);
    if (row.gross !== null && (!known || sign(text(add(parse(row.gross), negate(parse(known))))) > 0)) widest.set(row.currency, row.gross);
  }
  fill("exposure-table", rows.map((row) => {
    const figures = [money(row.net, row.currency, { coloured: false }), money(row.gross, row.currency, { className: "roomy" }), cell("quiet", row.currency)];
    const bar = row.gross === null ? null
      : exposureBar(row.net, row.gross, widest.get(row.currency), `net ${row.net} of gross ${row.gross} ${row.currency}`);
    return el("tr", { "data-row": row.group }, el("th", { scope: "row", class: "id" }, row.group), cell("graph", bar), ...figures);
  }), "Nothing held");
}

/* ---- limits ---- */

const MEASURES = { MAX_POSITION: "position", MAX_ORDER_NOTIONAL: "order notional" };

export function drawLimits(rows) {
  fill("limits-table", rows.map((row) => {
    const where = [row.strategy_id ?? "all strategies", row.instrument_id ?? "each instrument"].join(" · ");
    const isUsed = row.used !== null && row.used !== undefined;
    const percent = isUsed ? `${Math.floor(share(row.used, row.limit) * 100)} %` : "";
    return el("tr", { title: `limit version ${row.version}, ${row.measure}` },
      el("th", { scope: "row" }, el("div", {}, where), el("div", { class: "quiet small" }, MEASURES[row.measure] ?? row.measure)),
      cell("graph", isUsed ? limitBar(row.used, row.limit, `${percent} of the limit used`) : el("span", { class: "quiet" }, "each order by itself")),
      figure(isUsed ? row.used : null, { className: "roomy" }), figure(row.limit, { className: "roomy" }), figure(isUsed ? row.headroom : null));
  }), "No limit set");
}

/* ---- orders ---- */

function status(row) {
  const kind = row.rule ? "bad" : OPEN.has(row.status) ? "open" : GONE.has(row.status) ? "gone" : row.status === "REJECTED" ? "bad" : "done";
  return el("span", { class: `status ${kind}` }, row.rule ? "REFUSED" : (SHORT[row.status] ?? row.status));
}

function reason(row) {
  const facts = Object.entries(row.facts ?? {}).map(([name, value]) => `${name} ${value}`).join(", ");
  return facts ? `${row.rule} (${facts})` : row.rule;
}

export function drawOrders(rows, show) {
  const chosen = rows.filter((row) => !show || (show === "open" ? OPEN.has(row.status) : show === "refused" ? row.rule : row.status === show && !row.rule));
  fill("orders-table", chosen.map((row) => el("tr", { title: row.rule ? reason(row) : null },
    el("th", { scope: "row", class: "id" }, row.cl_ord_id), cell("roomy", row.strategy_id), cell("id roomy", row.instrument_id),
    row.side ? cell(`side-${row.side.toLowerCase()}`, row.side) : cell("quiet", "–"),
    figure(row.order_qty), row.price === null ? cell("num quiet roomy", "market") : figure(row.price, { className: "roomy" }),
    figure(row.cum_qty, { className: "roomy" }), figure(row.avg_px, { className: "roomy", places: 2 }),
    cell("cut", status(row), row.rule ? el("span", { class: "why" }, row.rule) : null), cell("num quiet roomy", shown(String(row.seq))),
  )), show ? "No such order among the newest" : "No order yet");
}

/* ---- log and breaks ---- */

export function drawLog(events) {
  fill("log-table", events.map((event) => el("tr", { title: `recorded ${event.recorded_at} by ${event.actor}` },
    cell("num", shown(String(event.seq))), cell(null, event.topic), cell("id cut", event.stream))), "The log is empty");
}

export function drawBreaks(rows) {
  fill("breaks-table", rows.map((row) => el("tr", {},
    cell("num", shown(String(row.seq))), cell("warn", row.kind), cell("id", row.subject), cell(null, row.rule))), "None");
}

export { clock, placesOf };
