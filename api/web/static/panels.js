/* The panels: each draws the rows of one API answer as a table, independent of the others. */

import { add, negate, parse, share, shown, sign, sum, text } from "./decimal.js";
import { byId, cell, el, exposureBar, figure, fill, limitBar, money } from "./dom.js";

const OPEN = new Set(["PENDING_NEW", "NEW", "PARTIALLY_FILLED", "PENDING_CANCEL"]);
const SHORT = { PENDING_NEW: "PENDING", PARTIALLY_FILLED: "PARTIAL", PENDING_CANCEL: "CANCELING" };
const GONE = new Set(["CANCELED", "EXPIRED"]);

const several = (rows, field) => new Set(rows.map((row) => row[field])).size > 1;
const less = (a, b) => text(add(parse(a), negate(parse(b))));
const clock = (time) => (time ? time.slice(11, 19) : "–");

/* ---- profit and loss ---- */

const PARTS = [["realized", "Realized"], ["unrealized", "Unrealized"], ["paid", "Fees"], ["funding", "Funding"], ["income", "Income"]];

/** Add `paid`: fees in settlement currency, in totals those in other currencies too, as a negative amount. */
const withPaid = (row) => {
  const fees = [row.fee_cost, row.fees_settle, ...(row.fees_converted ? [row.fees_converted] : [])];
  return { ...row, paid: text(negate(parse(sum(fees)))) };
};
const namedAmounts = (amounts) => Object.entries(amounts ?? {}).map(([currency, amount]) => `${amount} ${currency}`);

export function drawPnl({ items, totals }, isPast) {
  const rows = items.map(withPaid);
  const named = several(rows, "account_id");
  const sums = totals.map(withPaid).sort((a, b) => b.settle.localeCompare(a.settle));
  byId("pnl-cards").replaceChildren(...sums.map((all) => pnlCard(all.settle, all)));
  const lines = sums.flatMap((all) => {
    const held = rows.filter((row) => (row.settle ?? "") === all.settle);
    return [...held.map((row) => pnlRow(row, named)), ...(held.length > 1 ? [pnlSum(all.settle, all)] : [])];
  });
  fill("pnl-table", lines, "No positions yet");
  const missing = sums.flatMap((all) => all.missing_marks);
  const leftOut = sums.flatMap((all) => namedAmounts(all.left_out));
  const basis = missing.length ? `no mark for ${missing.join(", ")}`
    : isPast ? "unrealized at the marks of that moment" : "unrealized at the newest marks";
  byId("pnl-aside").textContent = leftOut.length ? `${basis}; not in net, without a rate: fees of ${leftOut.join(", ")}` : basis;
}

function pnlCard(currency, all) {
  return el("div", { class: "card", "data-currency": currency },
    el("div", {}, el("h3", {}, `Net, ${currency}`), money(all.net, currency, { coloured: true, tag: "div", className: "net" })),
    el("dl", {}, PARTS.map(([field, label]) => {
      return el("div", {}, el("dt", {}, label), money(all[field], currency, { coloured: true, tag: "dd" }));
    })));
}

function pnlRow(row, named) {
  const strategy = named ? `${row.account_id} / ${row.strategy_id}` : row.strategy_id;
  const leg = row.position_side === "BOTH" ? "" : ` ${row.position_side}`;
  const place = row.kind === "CASH" ? `CASH/${row.settle}` : `${row.strategy_id}/${row.instrument_id}${leg.replace(" ", "/")}`;
  return el("tr", { "data-row": `${row.account_id}/${place}` },
    el("th", { scope: "row" }, strategy), cell("id", row.kind === "CASH" ? "cash" : row.instrument_id + leg),
    figure(row.quantity, { className: "roomy" }), figure(row.avg_px, { className: "roomy", places: 2 }), figure(row.mark, { className: "roomy" }),
    money(row.realized, row.settle, { coloured: true, className: "roomy" }), money(row.unrealized, row.settle, { coloured: true, className: "roomy" }),
    money(row.paid, row.settle, { className: "roomy" }),
    money(row.funding, row.settle, { className: "roomy" }), money(row.income, row.settle, { className: "roomy" }),
    money(row.net, row.settle, { coloured: true }),
    cell("quiet", row.settle), cell("num quiet roomy", shown(String(row.seq))));
}

function pnlSum(currency, all) {
  return el("tr", { class: "sum" }, el("th", { scope: "row", colspan: 2 }, `Total, ${currency}`),
    cell("num roomy"), cell("num roomy"), cell("num roomy"),
    money(all.realized, currency, { coloured: true, className: "roomy" }), money(all.unrealized, currency, { coloured: true, className: "roomy" }),
    money(all.paid, currency, { className: "roomy" }), money(all.funding, currency, { className: "roomy" }),
    money(all.income, currency, { className: "roomy" }),
    money(all.net, currency, { coloured: true }), cell("quiet", currency), cell("roomy"));
}

/* ---- exposure ---- */

export function drawExposure(rows, by) {
  const widest = new Map();
  for (const { quote, gross } of rows) {
    if (gross !== null && sign(less(gross, widest.get(quote) ?? "0")) > 0) widest.set(quote, gross);
  }
  fill("exposure-table", rows.map((row) => {
    const bar = row.gross === null ? el("span", { class: "quiet" }, `no mark for ${row.missing_marks.join(", ")}`)
      : exposureBar(row.net, row.gross, widest.get(row.quote) ?? "0", `net ${row.net} of gross ${row.gross} ${row.quote}`);
    return el("tr", { "data-row": row[by] },
      el("th", { scope: "row", class: "id" }, row[by] || "–"), cell("graph", bar),
      money(row.net, row.quote), money(row.gross, row.quote, { className: "roomy" }), cell("quiet", row.quote));
  }), "No positions");
}

/* ---- limits ---- */

/** What a limit covers: the part of its account, or of the firm. */
const scopeOf = (row) => [row.instrument_id ?? (row.asset ? `any in ${row.asset}` : "each instrument"),
  row.venue && !row.instrument_id ? `at ${row.venue}` : "", row.subject && row.subject !== row.instrument_id ? `: ${row.subject}` : ""].join(" ").trim();

/** The measure in words: "MAX_ORDER_NOTIONAL" as "max order notional". */
const measureOf = (row) => row.measure.toLowerCase().replaceAll("_", " ");

function usageOf(row) {
  if (row.used === null) return el("span", { class: "quiet", title: row.unassessed ?? "" }, row.unassessed ? "cannot be measured" : "no usage");
  const percent = `${Math.floor(share(row.used, row.limit) * 100)} %`;
  const note = row.unassessed ? ` at marks that are too old: ${row.unassessed}` : "";
  return limitBar(row.used, row.limit, `${row.is_breached ? "breached: " : ""}${percent} of the limit used${note}`);
}

export function drawLimits(rows) {
  fill("limits-table", rows.map((row) => {
    const what = [row.account_id, row.strategy_id ?? "all strategies", measureOf(row)].join(" \u00b7 ");
    const since = row.breached_at ? `, breached since ${row.breached_at}` : "";
    const where = [row.account_id, row.measure, row.strategy_id, row.instrument_id, row.venue, row.asset, row.subject].map((part) => part ?? "").join("/");
    const refuses = row.would_refuse ? `, would refuse ${row.would_refuse}` : "";
    const beside = row.status && row.status !== "ACTIVE" ? el("div", { class: "quiet small" }, `${row.status}${refuses}`) : null;
    return el("tr", { "data-row": where, title: `limit version ${row.version}, ${row.measure}, ${row.status ?? "ACTIVE"}${since}` },
      el("th", { scope: "row" }, el("div", { class: "id" }, scopeOf(row)), el("div", { class: "quiet small" }, what), beside),
      cell("graph", usageOf(row)),
      figure(row.used, { className: "roomy" }), figure(row.limit, { className: "roomy" }), figure(row.headroom),
      cell("quiet", row.currency ?? ""),
      el("td", {}, row.is_breached ? el("span", { class: "status bad" }, "BREACHED") : row.unassessed ? el("span", { class: "quiet" }, "unknown") : ""));
  }), "No limits set");
}

/* ---- orders ---- */

function status(row) {
  const kind = row.rule ? "bad" : OPEN.has(row.status) ? "open" : GONE.has(row.status) ? "gone" : row.status === "REJECTED" ? "bad" : "done";
  return el("span", { class: `status ${kind}` }, row.rule ? "REFUSED" : (SHORT[row.status] ?? row.status));
}

const FACTS = { "asked": "requested" };  // names that are shown otherwise

function reason(row) {
  const facts = Object.entries(row.facts ?? {}).filter(([, value]) => value !== "None").map(([name, value]) => `${FACTS[name] ?? name} ${value}`).join(", ");
  return facts ? `${row.rule} (${facts})` : row.rule;
}

export function drawOrders(rows, show) {
  const chosen = rows.filter((row) => !show || (show === "open" ? OPEN.has(row.status) : show === "refused" ? row.rule : row.status === show && !row.rule));
  fill("orders-table", chosen.map((row) => el("tr", { title: row.rule ? reason(row) : null },
    el("th", { scope: "row", class: "id" }, row.cl_ord_id), cell("roomy", row.strategy_id), cell("id roomy", row.instrument_id),
    row.side ? cell(`side-${row.side.toLowerCase()}`, row.position_side === "BOTH" ? row.side : `${row.side} ${row.position_side}`) : cell("quiet", "–"),
    figure(row.order_qty), row.price === null ? cell("num quiet roomy", "market") : figure(row.price, { className: "roomy" }),
    figure(row.cum_qty, { className: "roomy" }), figure(row.avg_px, { className: "roomy", places: 2 }),
    cell("cut", status(row), row.rule ? el("span", { class: "why" }, row.code ?? row.rule) : null), cell("num quiet roomy", shown(String(row.seq))),
  )), show ? "No such order among the newest" : "No orders yet");
}

/* ---- log and breaks ---- */

export function drawLog(events, empty = "The log is empty") {
  fill("log-table", events.map((event) => el("tr", { title: `recorded ${event.recorded_at} by ${event.actor}` },
    cell("num", shown(String(event.seq))), cell(null, event.topic), cell("id cut", event.stream))), empty);
}

export function drawBreaks(rows) {
  fill("breaks-table", rows.map((row) => el("tr", {},
    cell("num", shown(String(row.break_seq))), cell("warn", row.kind.toLowerCase()),
    cell("id cut", row.cl_ord_id ? `${row.report_type} of ${row.account_id} ${row.cl_ord_id}` : `${row.source}: ${row.raw}`),
    cell(null, row.rule))), "No breaks");
}

export { clock };
