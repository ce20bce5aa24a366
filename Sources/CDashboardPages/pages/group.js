// An opened group: its nodes, and the round-trip times between them.

import { attr, el, keyed, show, text } from "./dom.js";
import { bytes, count, duration, exact, instant, ms, plural, rate, runs } from "./format.js";
import { Table } from "./table.js";
import { setAgo } from "./times.js";

function health(node) {
  if (node.healthy) return node.condition ? "▲ healthy, complains" : "✓ healthy";
  return node.error ? "✕ no answer" : "✕ not healthy";
}

const columns = [
  { id: "id", label: "Node", header: true, numeric: true, value: (node) => node.id, text: (node) => node.id },
  { id: "address", label: "Address", value: (node) => node.address, text: (node) => node.address, title: (node) => (node.httpAddress ? `metrics at ${node.httpAddress}` : null) },
  { id: "health", label: "Health", value: (node) => Number(node.healthy), text: health, title: (node) => node.error ?? (node.condition || null),
    mark: (node) => (node.healthy ? (node.condition ? "warning-text" : "ok-text") : "error-text") },
  { id: "role", label: "Role", value: (node) => node.role, text: (node) => (node.role === "Leader" ? "◆ Leader" : node.voter === false ? `${node.role}, no vote` : node.role) },
  { id: "term", label: "Term", numeric: true, value: (node) => node.term, text: (node) => exact(node.term) },
  { id: "commit", label: "Commit", numeric: true, value: (node) => node.commitIndex, text: (node) => exact(node.commitIndex), title: (node) => `log ${exact(node.firstIndex)} to ${exact(node.lastIndex)}` },
  { id: "applied", label: "Applied", numeric: true, value: (node) => node.lastApplied, text: (node) => exact(node.lastApplied) },
  { id: "lag", label: "Lag", numeric: true, value: (node) => node.lagEntries, text: (node) => count(node.lagEntries), title: (node) => exact(node.lagEntries, " entries"),
    mark: (node) => (node.lagEntries > 1000 ? "warning-text" : null) },
  { id: "rate", label: "Ops", numeric: true, value: (node) => node.operationsPerSecond, text: (node) => rate(node.operationsPerSecond) },
  { id: "fsync", label: "Fsync p50 / p99", numeric: true, value: (node) => node.fsync?.p99Ms, text: (node) => (node.fsync ? `${ms(node.fsync.p50Ms)} / ${ms(node.fsync.p99Ms)}` : "–") },
  { id: "storage", label: "Storage", numeric: true, value: (node) => node.storageBytes, text: (node) => bytes(node.storageBytes),
    title: (node) => `${exact(node.storageBytes, " bytes")}, of which ${bytes(node.reusableBytes)} are reusable` },
  { id: "free", label: "Free", numeric: true, value: (node) => node.storageFree, text: (node) => `${node.shortOfSpace ? "✕ " : ""}${bytes(node.storageFree)}`,
    title: (node) => `of ${bytes(node.storageCapacity)}`, mark: (node) => (node.shortOfSpace ? "error-text" : null) },
  { id: "engine", label: "Engine", value: (node) => node.engine, text: (node) => node.engine },
  { id: "version", label: "Version", value: (node) => node.version, text: (node) => node.version },
  { id: "up", label: "Up", numeric: true, value: (node) => instant(node.startedAt), text: (node) => (node.startedAt ? duration(Date.parse(node.lastSeen ?? "") - Date.parse(node.startedAt)) : "–"),
    title: (node) => `${plural(node.leaderChanges ?? 0, "leader change")}, ${plural(node.proposalsPending ?? 0, "proposal")} pending, snapshots ${node.snapshotsSent ?? 0} sent, ${node.snapshotsInstalled ?? 0} installed` },
  { id: "seen", label: "Last seen", value: (node) => instant(node.lastSeen), fill: (cell, node) => {
    if (!cell.firstChild) cell.append(el("time"));
    setAgo(cell.firstChild, node.lastSeen);
  } },
];

export class GroupDetail {
  constructor(group) {
    const name = group.groupId === 0 ? "the controller" : `group ${group.groupId}`;
    this.table = new Table({ caption: `Nodes of ${name}`, columns, key: (node) => node.id });
    this.remarks = el("ul", { class: "remarks" });
    this.shards = el("p", { class: "muted" }, el("span"), " ", el("a", { text: "Show them" }));
    this.head = el("tr");
    this.body = el("tbody");
    this.element = el("div", { class: "detail" }, this.table.element, this.remarks,
      el("p", { class: "muted", text: "Round trips from row to column, ms; ▲ and colour: more than twice the median." }),
      el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Round trips of ${name}` },
        el("table", { class: "matrix" }, el("caption", { class: "hidden", text: `Round trips of ${name}, ms` }),
          el("thead", {}, this.head), this.body)),
      this.shards);
  }

  update(group, shardsLink) {
    this.table.update(group.nodes);
    const remarks = group.nodes.flatMap((node) => [
      node.error ? { id: `${node.id} error`, text: `✕ node ${node.id}: ${node.error}`, since: node.downSince } : null,
      node.condition ? { id: `${node.id} condition`, text: `▲ node ${node.id}: ${node.condition}`, since: null } : null,
    ]).filter(Boolean);
    show(this.remarks, remarks.length > 0);
    keyed(this.remarks, remarks, (each) => each.id, () => el("li", {}, el("span"), " ", el("time", { class: "muted" })), (node, each) => {
      text(node.children[0], each.text);
      show(node.children[1], Boolean(each.since));
      if (each.since) setAgo(node.children[1], each.since);
    });
    this.#drawMatrix(group.nodes);
    show(this.shards, group.groupId !== 0);
    if (group.groupId !== 0) {
      const ids = runs(group.shards);
      text(this.shards.firstChild, `Shards: ${ids.length > 300 ? `${ids.slice(0, 300)}…` : ids || "none"}.`);
      attr(this.shards.lastChild, "href", shardsLink);
    }
  }

  #drawMatrix(nodes) {
    const peersOf = new Map(nodes.map((node) => [node.id, new Map((node.peers ?? []).map((peer) => [peer.id, peer]))]));
    const known = [...peersOf.values()].flatMap((peers) => [...peers.values()].map((peer) => peer.roundTripMs))
      .filter((value) => typeof value === "number").sort((a, b) => a - b);
    const median = known.length > 0 ? known[Math.floor(known.length / 2)] : null;
    keyed(this.head, [{ id: "from" }, ...nodes], (node) => node.id, () => el("th", { scope: "col" }), (cell, node) =>
      text(cell, node.id === "from" ? "From \\ to" : `node ${node.id}`));
    keyed(this.body, nodes, (node) => node.id, (node) => el("tr", {}, el("th", { scope: "row", text: `node ${node.id}` })), (row, node) => {
      while (row.children.length < nodes.length + 1) row.append(el("td", { class: "number" }));
      while (row.children.length > nodes.length + 1) row.lastChild.remove();
      nodes.forEach((to, index) => {
        const cell = row.children[index + 1];
        if (to.id === node.id) {
          text(cell, "");
          attr(cell, "class", "self");
          return;
        }
        const peer = peersOf.get(node.id).get(to.id);
        const trip = typeof peer?.roundTripMs === "number" ? peer.roundTripMs : null;
        const far = trip === null || !median ? 0 : trip / median;
        text(cell, trip === null ? "–" : `${far > 2 ? "▲ " : ""}${trip.toFixed(trip < 10 ? 2 : 1)}`);
        attr(cell, "class", `number ${far > 4 ? "far" : far > 2 ? "farther" : far > 1.3 ? "near" : ""}`.trim());
        attr(cell, "title", !peer ? "never talked" : peer.heardAgoMs === null ? "not heard from" : `heard ${duration(peer.heardAgoMs)} before the last answer`);
      });
    });
  }
}
