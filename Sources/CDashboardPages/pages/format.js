// Numbers, sizes and times for people; the exact value goes in a title.

export const unknown = "–";

const isNumber = (n) => typeof n === "number" && Number.isFinite(n);

function scaled(n, step, units) {
  let index = 0;
  while (Math.abs(n) >= step && index < units.length - 1) {
    n /= step;
    index += 1;
  }
  const digits = index === 0 || Math.abs(n) >= 100 ? 0 : Math.abs(n) >= 10 ? 1 : 2;
  return `${n.toFixed(digits)}${units[index]}`;
}

export function bytes(n) {
  return isNumber(n) ? scaled(n, 1024, [" B", " KiB", " MiB", " GiB", " TiB", " PiB"]) : unknown;
}

export function count(n) {
  if (!isNumber(n)) return unknown;
  return Math.abs(n) < 10000 ? Math.round(n).toLocaleString("en") : scaled(n, 1000, ["", "k", "M", "G", "T"]);
}

export function exact(n, unit = "") {
  return isNumber(n) ? `${n.toLocaleString("en", { maximumFractionDigits: 3 })}${unit}` : "unknown";
}

export function rate(n) {
  if (!isNumber(n)) return unknown;
  if (n === 0) return "0/s";
  if (n < 10) return `${n.toFixed(1)}/s`;
  return `${count(n)}/s`;
}

export function ms(n) {
  if (!isNumber(n)) return unknown;
  if (n >= 1000) return `${(n / 1000).toFixed(2)} s`;
  if (n >= 100) return `${n.toFixed(0)} ms`;
  return `${n.toFixed(n >= 10 ? 1 : 2)} ms`;
}

export function duration(milliseconds) {
  if (!isNumber(milliseconds)) return unknown;
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d`;
}

export function instant(value) {
  const at = typeof value === "number" ? value : Date.parse(value ?? "");
  return Number.isFinite(at) ? at : null;
}

// The local time of day; with the date if it is another day's.
export function clock(value) {
  const at = instant(value);
  if (at === null) return unknown;
  const date = new Date(at);
  const two = (n) => String(n).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${time}`;
}

export function plural(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function nodeName(groupId, nodeId) {
  return groupId === 0 ? `node ${nodeId} of the controller` : `node ${nodeId} of group ${groupId}`;
}

export function groupName(groupId) {
  return groupId === 0 ? "the controller" : `group ${groupId}`;
}

// [0, 1, 2, 5] as "0–2, 5".
export function runs(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const parts = [];
  for (let start = 0; start < sorted.length; ) {
    let end = start;
    while (end + 1 < sorted.length && sorted[end + 1] === sorted[end] + 1) end += 1;
    parts.push(end === start ? `${sorted[start]}` : `${sorted[start]}–${sorted[end]}`);
    start = end + 1;
  }
  return parts.join(", ");
}
