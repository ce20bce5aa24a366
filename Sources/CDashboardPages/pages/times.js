// Elements that say how long ago something was. They count on by themselves between updates.

import { attr, el, text } from "./dom.js";
import { clock, duration, instant, unknown } from "./format.js";

let now = () => Date.now();

// The server's clock.
export function presentTime() {
  return now();
}

export function useClock(clockNow) {
  now = clockNow;
}

function relative(at) {
  const passed = now() - at;
  return passed < 1500 && passed > -1500 ? "now" : passed < 0 ? `in ${duration(-passed)}` : `${duration(passed)} ago`;
}

export function ago(value) {
  const node = el("time");
  setAgo(node, value);
  return node;
}

export function setAgo(node, value) {
  const at = instant(value);
  if (at === null) {
    attr(node, "data-at", null);
    attr(node, "title", null);
    text(node, unknown);
    return;
  }
  attr(node, "data-at", at);
  attr(node, "title", `${clock(at)} (${new Date(at).toISOString()})`);
  text(node, relative(at));
}

export function tickTimes(root) {
  for (const node of root.querySelectorAll("time[data-at]")) text(node, relative(Number(node.dataset.at)));
}
