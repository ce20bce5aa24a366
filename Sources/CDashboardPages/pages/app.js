// The frame around the pages: tabs, banners, how fresh the data is, and drawing the page that is shown.

import { attr, text } from "./dom.js";
import { banners, drawBanners } from "./banners.js";
import { Feed } from "./feed.js";
import { clock, duration } from "./format.js";
import { Samples } from "./history.js";
import { problems, severityMarks } from "./problems.js";
import { address, onRoute, pageNames, route } from "./route.js";
import { tickTimes, useClock } from "./times.js";
import { Events, EventList } from "./events.js";
import { Keys } from "./keys.js";
import { Moves } from "./moves.js";
import { Overview } from "./overview.js";
import { Shards } from "./shards.js";
import { Topology } from "./topology.js";

const makers = { overview: Overview, topology: Topology, shards: Shards, moves: Moves, events: Events, keys: Keys };

const feed = new Feed();
const context = { feed, samples: new Samples(), events: new EventList(), redraw };
const panel = document.getElementById("panel");
const tabs = pageNames.map((name) => document.getElementById(`tab-${name}`));
const remembered = {};
let shown = { name: null, page: null };
let drawError = null;
let asked = false;

// At most one drawing for each frame, and none while the window isn't seen.
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}

function draw() {
  const { page: name, params } = route();
  remembered[name] = params;
  if (shown.name !== name) openPage(name);
  if (feed.data) {
    // An answer of an unexpected shape must not stop the updates that follow.
    try {
      if (!shown.page) {
        shown.page = new makers[name](context);
        panel.replaceChildren(shown.page.element);
      }
      shown.page.update(feed.data, params);
      drawError = null;
      // For who waits for an update to be seen.
      attr(panel, "data-sequence", feed.data.status.sequence);
    } catch (error) {
      drawError = error.message;
    }
  }
  drawFrame();
}

function openPage(name) {
  shown.page?.close();
  shown = { name, page: null };
  attr(panel, "data-page", name);
  attr(panel, "data-sequence", null);
  const heldFocus = panel.contains(document.activeElement) && document.activeElement !== panel;
  if (feed.data) panel.replaceChildren();
  // A link within the page has gone with it.
  if (heldFocus) panel.focus({ preventScroll: true });
  attr(panel, "aria-labelledby", `tab-${name}`);
  for (const tab of tabs) {
    const chosen = tab.id === `tab-${name}`;
    attr(tab, "aria-selected", String(chosen));
    attr(tab, "tabindex", chosen ? "0" : "-1");
    // On a phone the tabs may be wider than the window.
    if (chosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

function drawFrame() {
  const { data } = feed;
  const stale = feed.isStale();
  document.body.classList.toggle("stale", stale && data !== null);
  drawBanners(document.getElementById("banners"), banners(feed, drawError), () => feed.retryNow());
  const mark = stale ? severityMarks.error : feed.way === "stream" || feed.way === "polling" ? severityMarks.info : "○";
  text(document.getElementById("freshness-mark"), mark);
  attr(document.getElementById("freshness"), "class", `freshness ${stale ? "error-text" : "ok-text"}`);
  const since = feed.freshAt === null ? "" : duration(Date.now() - feed.freshAt);
  text(document.getElementById("freshness-text"), !data ? (stale ? "no data" : "connecting")
    : stale ? `old data, ${clock(data.status.collectedAt)}`
      : `${feed.way === "polling" ? "polled" : "live"}, ${since} old`);
  if (!data) return;
  const count = problems(data).filter((problem) => problem.severity !== "info").length;
  const title = tabs.find((tab) => tab.id === `tab-${shown.name}`).textContent;
  const prefix = stale ? "(old) " : count > 0 ? `(${count}) ` : "";
  if (document.title !== `${prefix}${title} · Flotilla`) document.title = `${prefix}${title} · Flotilla`;
  const id = data.status.clusterId;
  const cluster = document.getElementById("cluster");
  text(cluster, `${id ? `cluster ${id.slice(0, 8)} · ` : ""}${data.status.version}`);
  attr(cluster, "title", id ? `cluster id ${id}` : "the cluster id isn't known yet");
}

for (const tab of tabs) {
  const name = tab.id.slice(4);
  tab.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey) return;
    event.preventDefault();
    // A page comes back as it was left.
    location.hash = address(name, remembered[name]);
  });
  tab.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(tab);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (next !== undefined) {
      const target = tabs.at(next % tabs.length);
      target.focus();
      target.click();
    } else if (event.key === " ") tab.click();
    else return;
    event.preventDefault();
  });
}

// "#panel" would be taken for a page.
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  panel.focus();
});

useClock(() => feed.now());
let appended = null;
feed.listeners.push((what) => {
  if (what === "tick") {
    if (!document.hidden) tickTimes(document);
    // The title too, which a tab in the background shows.
    drawFrame();
    return;
  }
  if (feed.data && appended !== feed.data) {
    // Another process of the dashboard numbers its events anew.
    if (appended && feed.data.status.sequence < appended.status.sequence) context.events = new EventList();
    appended = feed.data;
    context.samples.append(feed.data);
    context.events.add(feed.data.events);
  }
  redraw();
});
onRoute(redraw);
document.addEventListener("visibilitychange", redraw);
feed.start();
redraw();
