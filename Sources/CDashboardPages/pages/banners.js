// What the reader must know before trusting the page: old data, an unreachable controller, missing nodes. Each says
// since when. The counting part is hidden from screen readers, which otherwise would read it anew every second.

import { attr, button, el, keyed, show, text } from "./dom.js";
import { clock, nodeName, plural } from "./format.js";
import { severityMarks } from "./problems.js";
import { address } from "./route.js";
import { setAgo } from "./times.js";

const namedNodes = 4;

export function banners(feed, drawError) {
  const { data } = feed;
  const shown = [];
  if (feed.lostSince !== null) {
    const last = data ? ` What you see is from ${clock(data.status.collectedAt)}.` : "";
    shown.push({ id: "lost", severity: "error", retry: true, since: feed.lostSince - (Date.now() - feed.now()),
      text: `Connection lost since ${clock(feed.lostSince)}: ${feed.error}.${last}` });
  } else if (feed.isStale()) {
    shown.push(data
      ? { id: "stale", severity: "error", retry: true, since: data.status.collectedAt,
        text: `The data is old: the dashboard answers, but has had no new data since ${clock(data.status.collectedAt)}.` }
      : { id: "stale", severity: "error", retry: true, since: null, text: "The dashboard hasn't answered yet." });
  }
  if (drawError) shown.push({ id: "draw", severity: "error", since: null, text: `This page can't show the last update: ${drawError}` });
  if (!data) return shown;
  const { controller, missing } = data.status;
  if (controller && !controller.reachable) {
    shown.push({ id: "controller", severity: "error", since: controller.since,
      text: data.topology.configCluster.configNum === 0
        ? `No controller has answered yet: ${controller.error ?? "no answer"}.`
        : `The controller can't be reached since ${clock(controller.since)}: ${controller.error ?? "no answer"}. The shard map is the last one seen, config ${data.topology.configCluster.configNum}.` });
  }
  if (missing.length > 0) {
    const names = missing.slice(0, namedNodes).map((node) =>
      `${nodeName(node.groupId, node.nodeId)} since ${clock(node.since)} (${node.error})`);
    const more = missing.length > namedNodes ? `; and ${missing.length - namedNodes} more` : "";
    const earliest = missing.map((node) => node.since).filter(Boolean).sort()[0] ?? null;
    shown.push({ id: "missing", severity: "warning", since: earliest, link: address("topology", { health: "ill" }),
      text: `${plural(missing.length, "node")} missing: ${names.join("; ")}${more}. Their last answers are shown.` });
  }
  return shown;
}

export function drawBanners(root, list, retry) {
  keyed(root, list, (banner) => banner.id, (banner) => {
    const node = el("p", { class: `banner ${banner.severity}` },
      el("span", { class: "mark", "aria-hidden": "true", text: severityMarks[banner.severity] }),
      el("span", { class: "sentence" }),
      el("time", { "aria-hidden": "true", class: "muted" }));
    if (banner.retry) node.append(button("Try now", retry));
    if (banner.link) node.append(el("a", { href: banner.link, text: "Show" }));
    return node;
  }, (node, banner) => {
    text(node.children[1], banner.text);
    show(node.children[2], banner.since !== null);
    if (banner.since !== null) setAgo(node.children[2], banner.since);
    attr(node, "data-banner", banner.id);
  });
}
