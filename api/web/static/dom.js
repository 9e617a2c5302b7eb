/* Elements, figures and bars. Text is set as text, never as HTML; bars are SVG, so no style attribute is needed. */

import { negate, parse, share, shown, sign, sum, text } from "./decimal.js";

const SVG = "http://www.w3.org/2000/svg";
const CENTS = new Set(["USD", "EUR", "GBP", "CHF", "USDT", "USDC", "BUSD", "FDUSD", "DAI", "TUSD"]);

export const byId = (id) => document.getElementById(id);

/** Create an element with attributes and children; null children are left out. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Return the decimal places at which sums of a currency are shown; every digit is in the title. */
export const placesOf = (currency) => (CENTS.has(currency) ? 2 : 8);

/** Create a table cell with money: rounded, with every digit in its title and `data-exact`. Null is a dash. */
export function money(value, currency, { coloured = false, tag = "td", className = "" } = {}) {
  if (value === null || value === undefined) {
    return el(tag, { class: `num quiet ${className}`, title: "unknown: no mark" }, "–");
  }
  const tone = !coloured ? "" : sign(value) > 0 ? "gain" : sign(value) < 0 ? "loss" : "quiet";
  const attributes = { class: `num ${tone} ${className}`.trim(), title: `${value} ${currency ?? ""}`.trim(), "data-exact": value };
  return el(tag, attributes, shown(value, placesOf(currency), coloured));
}

/** Create a table cell with a quantity or price: every digit, or rounded at `places` with every digit in the title. */
export function figure(value, { className = "", places = null } = {}) {
  if (value === null || value === undefined) return el("td", { class: `num quiet ${className}` }, "–");
  return el("td", { class: `num ${className}`.trim(), "data-exact": value, title: places === null ? null : value }, shown(value, places));
}

export const cell = (className, ...children) => el("td", { class: className || null }, ...children);

/** Replace the rows of a table, only if something changed, so that selection and scrolling survive. */
export function fill(tableId, rows, empty) {
  const table = byId(tableId);
  const body = table.tBodies[0];
  const columns = table.tHead.rows[0].cells.length;
  const fresh = rows.length ? rows : [el("tr", {}, el("td", { class: "none", colspan: columns }, empty))];
  const next = el("tbody", {}, ...fresh);
  if (next.innerHTML !== body.innerHTML) body.replaceWith(next);
}

function plot(label, ...shapes) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "plot");
  svg.setAttribute("viewBox", "0 0 1000 12");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  for (const [className, x, width, y, height] of shapes.filter(Boolean)) {
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("class", className);
    for (const [name, value] of Object.entries({ x, y, width: Math.max(width, 0), height })) rect.setAttribute(name, value);
    svg.append(rect);
  }
  return svg;
}

/** Draw short exposure to the left of the middle, long to the right, a tick at net; half the plot is `widest`. */
export function exposureBar(net, gross, widest, label) {
  const half = 496;
  const scale = sum([widest, widest]);
  const long = share(sum([gross, net]), scale) * half; // long = (gross + net) / 2
  const short = share(sum([gross, text(negate(parse(net)))]), scale) * half;
  const tick = 500 + sign(net) * share(net, widest) * half;
  return plot(
    label,
    ["track", 0, 1000, 5.5, 1],
    ["short", 500 - short, short, 2, 8],
    ["long", 500, long, 2, 8],
    ["axis", 499, 2, 0, 12],
    short && long ? ["net", tick - 4, 8, 0, 12] : null,
  );
}

/** Draw the utilisation of a limit: fine, near from 80 % on, full at the limit. */
export function limitBar(used, limit, label) {
  const part = share(used, limit);
  const tone = part >= 1 ? "full" : part >= 0.8 ? "near" : "fine";
  return plot(label, ["track", 0, 1000, 3, 6], [tone, 0, part * 1000, 3, 6]);
}
