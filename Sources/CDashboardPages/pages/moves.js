// Moves: what is on its way, what waits, what has been, and what a join or leave would move.

import { attr, el, keyed, show, text } from "./dom.js";
import { bytes, clock, duration, exact, instant, plural, runs } from "./format.js";
import { PlanForm } from "./plan.js";
import { Table } from "./table.js";
import { ago, setAgo } from "./times.js";

const liveShown = 60;

export class Moves {
  constructor(context) {
    this.context = context;
    this.hold = el("p", { class: "banner warning" }, el("span", { class: "mark", "aria-hidden": "true", text: "▲" }), el("span"), el("time", { class: "muted" }));
    this.live = el("ul", { class: "moves" });
    this.liveMore = el("p", { class: "muted" });
    this.waiting = el("ul", { class: "remarks" });
    this.waitingTitle = el("h3", { text: "Waiting" });
    this.plan = new PlanForm();
    this.history = new Table({ caption: "Moves that ended", pageSize: 50, key: (move) => `${move.shardId} ${move.epoch} ${move.startedAt}`,
      empty: "This dashboard has seen no move end since it started.", columns: [
        { id: "shard", label: "Shard", header: true, numeric: true, value: (move) => move.shardId, text: (move) => move.shardId },
        { id: "from", label: "From", numeric: true, value: (move) => move.from, text: (move) => move.from || "none" },
        { id: "to", label: "To", numeric: true, value: (move) => move.to, text: (move) => move.to || "none" },
        { id: "phase", label: "End", value: (move) => move.phase, text: (move) => (move.phase === "done" ? "✓ done" : `✕ ${move.phase}`),
          mark: (move) => (move.phase === "done" ? "ok-text" : "error-text") },
        { id: "epoch", label: "Epoch", numeric: true, value: (move) => move.epoch, text: (move) => exact(move.epoch) },
        { id: "bytes", label: "Bytes", numeric: true, value: (move) => move.totalBytes, text: (move) => bytes(move.totalBytes), title: (move) => exact(move.totalBytes, " bytes") },
        { id: "took", label: "Took", numeric: true, value: (move) => instant(move.endedAt) - instant(move.startedAt),
          text: (move) => (move.startedAt && move.endedAt ? duration(instant(move.endedAt) - instant(move.startedAt)) : "–") },
        { id: "ended", label: "Ended", value: (move) => instant(move.endedAt), fill: (cell, move) => {
          if (!cell.firstChild) cell.append(el("time"));
          setAgo(cell.firstChild, move.endedAt);
        } },
      ] });
    this.element = el("div", {}, el("h2", { text: "Moves" }), this.hold,
      el("section", { "aria-labelledby": "live-title" }, el("h3", { id: "live-title", text: "Under way" }), this.live, this.liveMore),
      el("section", {}, this.waitingTitle, this.waiting),
      this.plan.element,
      el("section", { "aria-labelledby": "ended-title" }, el("h3", { id: "ended-title", text: "Ended" }), this.history.element));
  }

  update({ moves, topology }) {
    const { live, hold, waiting } = moves;
    show(this.hold, Boolean(hold));
    if (hold) {
      text(this.hold.children[1], `Moves are held by ${hold.holder} until ${clock(hold.until)}; none starts before.`);
      setAgo(this.hold.children[2], hold.until);
    }
    keyed(this.live, live.slice(0, liveShown), (move) => `${move.shardId} ${move.epoch}`, createMove, (node, move) => this.#drawMove(node, move));
    show(this.liveMore, live.length === 0 || live.length > liveShown);
    text(this.liveMore, live.length === 0 ? "No shard is on the move." : `and ${plural(live.length - liveShown, "more move")}`);
    const targets = new Map();
    for (const { shardId, to } of waiting) targets.set(to, [...(targets.get(to) ?? []), shardId]);
    show(this.waitingTitle, targets.size > 0);
    show(this.waiting, targets.size > 0);
    keyed(this.waiting, [...targets].slice(0, 100), ([to]) => to, () => el("li"), (node, [to, ids]) =>
      text(node, `to group ${to}: ${plural(ids.length, "shard")} (${runs(ids).slice(0, 300)})`));
    this.history.update(moves.history);
    this.plan.setGroups(topology.shardGroups);
  }

  #drawMove(node, move) {
    const [name, bar, figures, begun] = node.children;
    text(name, `Shard ${move.shardId}: ${move.from || "none"} → ${move.to || "none"}`);
    const measured = typeof move.copiedBytes === "number" && move.totalBytes > 0;
    const share = measured ? Math.min(1, move.copiedBytes / move.totalBytes) : null;
    attr(bar, "aria-label", `Shard ${move.shardId}`);
    // Without a value the bar says that it doesn't know.
    attr(bar, "value", move.phase === "collecting" ? 1 : share);
    const seconds = (this.context.feed.now() - (instant(move.startedAt) ?? NaN)) / 1000;
    const speed = measured && seconds > 0 ? `, ${bytes(move.copiedBytes / seconds)}/s on average` : "";
    text(figures, move.phase === "collecting" ? "collecting: the target serves, the source still has its copy"
      : measured ? `${move.phase}: ${bytes(move.copiedBytes)} of ${bytes(move.totalBytes)}, ${(share * 100).toFixed(0)} %${speed}`
        : `${move.phase}: how much is copied isn't known`);
    attr(figures, "title", `epoch ${move.epoch}; ${exact(move.copiedBytes)} of ${exact(move.totalBytes)} bytes`);
    setAgo(begun.lastChild, move.startedAt);
  }

  close() {}
}

function createMove() {
  return el("li", {}, el("span", { class: "name" }), el("progress", { max: 1 }), el("span"), el("span", { class: "muted" }, "begun ", ago(null)));
}
