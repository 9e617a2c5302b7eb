/* Exact decimals for display: text in, text out, integer arithmetic on BigInt. No number is a float here. */

/** Parse `text` into { units, places }: value = units / 10^places. Throws unless it is a finite decimal. */
export function parse(text) {
  const parts = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(String(text).trim());
  if (!parts || !(parts[2] || parts[3])) throw new TypeError(`not a decimal: ${text}`);
  const fraction = parts[3] || "";
  let units = BigInt((parts[2] || "0") + fraction);
  let places = fraction.length - Number(parts[4] || 0);
  if (places < 0) {
    units *= 10n ** BigInt(-places);
    places = 0;
  }
  return { units: parts[1] === "-" ? -units : units, places };
}

function scaled(value, places) {
  return value.units * 10n ** BigInt(places - value.places);
}

/** Add two parsed numbers. */
export function add(a, b) {
  const places = Math.max(a.places, b.places);
  return { units: scaled(a, places) + scaled(b, places), places };
}

export function negate(a) {
  return { units: -a.units, places: a.places };
}

/** Add decimals given as text, exactly. */
export function sum(texts) {
  return text(texts.map(parse).reduce(add, { units: 0n, places: 0 }));
}

/** Return the sign: -1, 0 or 1. */
export function sign(value) {
  const { units } = parse(value);
  return units > 0n ? 1 : units < 0n ? -1 : 0;
}

/** Return the canonical text: no exponent, no trailing zeros, no negative zero. */
export function text({ units, places }) {
  const digits = (units < 0n ? -units : units).toString().padStart(places + 1, "0");
  const whole = digits.slice(0, digits.length - places);
  const fraction = places ? digits.slice(-places).replace(/0+$/, "") : "";
  return (units < 0n ? "-" : "") + whole + (fraction ? `.${fraction}` : "");
}

/** Round `value` half to even at `places`; thousands grouped, true minus; `signed` adds a plus above zero. */
export function shown(value, places = null, signed = false) {
  const exact = parse(value);
  const rounded = places === null ? parse(text(exact)) : round(exact, places);
  const size = rounded.units < 0n ? -rounded.units : rounded.units;
  const digits = size.toString().padStart(rounded.places + 1, "0");
  const whole = digits.slice(0, digits.length - rounded.places).replace(/\B(?=(\d{3})+$)/g, ",");
  const fraction = rounded.places ? `.${digits.slice(-rounded.places)}` : "";
  const mark = rounded.units < 0n ? "\u2212" : signed && rounded.units > 0n ? "+" : "";
  return mark + whole + fraction;
}

function round(value, places) {
  if (value.places <= places) return { units: scaled(value, places), places };
  const step = 10n ** BigInt(value.places - places);
  let units = value.units / step;
  const rest = value.units - units * step;
  const twice = (rest < 0n ? -rest : rest) * 2n;
  if (twice > step || (twice === step && units % 2n !== 0n)) units += rest < 0n ? -1n : 1n;
  return { units, places };
}

/** Return `part` of `whole`, both unsigned, as a share from 0 to 1: for the geometry of bars, not for figures. */
export function share(part, whole) {
  const a = parse(part);
  const b = parse(whole);
  const places = Math.max(a.places, b.places);
  const size = (value) => {
    const units = scaled(value, places);
    return units < 0n ? -units : units;
  };
  if (size(b) === 0n) return size(a) === 0n ? 0 : 1;
  const permille = (size(a) * 10000n) / size(b);
  return permille > 10000n ? 1 : Number(permille) / 10000;
}
