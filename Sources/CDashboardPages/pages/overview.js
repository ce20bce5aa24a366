// Metrics Overview: problems first, then figures, then how they went.

import { attr, el, keyed, show, text } from "./dom.js";
import { bytes, count, exact, ms, plural, rate } from "./format.js";
import { Chart } from "./chart.js";
import { problems, severityMarks } from "./problems.js";
import { address, change } from "./route.js";
import { setAgo } from "./times.js";
import { Table } from "./table.js";

const operations = ["get", "scan", "put", "append", "delete", "compareAndSet"];
const ranges = [[300, "5 min"], [900, "15 min"], [3600, "1 hour"]];
const shownProblems = 12;

export class Overview {
  constructor(context) {
    this.context = context;
    const each = (prefix) => operations.map((name) => ({ name: `${prefix}.${name}`, label: name }));
    this.charts = [
      new Chart({ title: "Throughput", series: each("operations"), format: rate }),
      new Chart({ title: "Latency, p50", series: each("p50Ms"), format: ms }),
      new Chart({ title: "Latency, p99", series: each("p99Ms"), format: ms }),
      new Chart({ title: "Fsync time", series: [{ name: "fsync.p50Ms", label: "p50" }, { name: "fsync.p99Ms", label: "p99" }], format: ms }),
      new Chart({ title: "Replication lag, entries", series: [{ name: "lagEntries", label: "largest" }], format: count }),
      new Chart({ title: "Storage used", series: [{ name: "storage", label: "all nodes" }], format: bytes, base: 1024 }),
      new Chart({ title: "Keys", series: [{ name: "keys", label: "all shards" }], format: count }),
      new Chart({ title: "Healthy nodes", series: [{ name: "healthyNodes", label: "nodes" }], format: count }),
    ];
    this.allWell = el("p", { class: "well" }, el("span", { class: "mark ok", "aria-hidden": "true", text: severityMarks.ok }),
      " Every group has a leader, and every node answers.");
    this.problemList = el("ul", { class: "problems" });
    this.moreProblems = el("p", { class: "muted" });
    this.tiles = el("dl", { class: "tiles" });
    this.rangeButtons = ranges.map(([seconds, label]) => el("button", { type: "button", text: label, "data-range": seconds,
      on: { click: () => change({ range: seconds === 300 ? null : seconds }) } }));
    this.historyError = el("p", { class: "muted", role: "status" });
    this.table = new Table({ caption: "Operations", key: (row) => row.operation, columns: [
      { id: "operation", label: "Operation", header: true, text: (row) => row.operation },
      { id: "rate", label: "Rate", numeric: true, text: (row) => rate(row.perSecond), title: (row) => exact(row.perSecond, " per second") },
      { id: "errors", label: "Errors", numeric: true, text: (row) => rate(row.errorsPerSecond), title: (row) => exact(row.errorsPerSecond, " per second"),
        mark: (row) => (row.errorsPerSecond > 0 ? "warning-text" : null) },
      { id: "p50", label: "p50", numeric: true, text: (row) => ms(row.p50Ms), title: (row) => exact(row.p50Ms, " ms") },
      { id: "p99", label: "p99", numeric: true, text: (row) => ms(row.p99Ms), title: (row) => exact(row.p99Ms, " ms") },
    ] });
    this.element = el("div", {},
      el("h2", { text: "Metrics Overview" }),
      el("section", { "aria-labelledby": "problems-title" }, el("h3", { id: "problems-title", text: "Problems" }),
        this.allWell, this.problemList, this.moreProblems),
      el("section", { "aria-label": "Figures" }, this.tiles),
      el("section", { "aria-labelledby": "history-title" },
        el("div", { class: "row" }, el("h3", { id: "history-title", text: "Live and history" }),
          el("div", { class: "segments", role: "group", "aria-label": "Time range" }, ...this.rangeButtons)),
        this.historyError, el("div", { class: "charts" },
          el("div", { class: "chart" }, el("h3", { text: "Operations since the last update" }), this.table.element), ...this.charts.map((chart) => chart.element))));
  }

  update(data, params) {
    this.#drawProblems(data);
    this.#drawTiles(data);
    const known = new Map(data.metrics.operations.map((row) => [row.operation, row]));
    this.table.update(operations.map((operation) => known.get(operation) ?? { operation }));
    const range = ranges.find(([seconds]) => String(seconds) === params.range)?.[0] ?? 300;
    for (const node of this.rangeButtons) attr(node, "aria-pressed", String(Number(node.dataset.range) === range));
    const { samples } = this.context;
    samples.want(range, () => this.#drawCharts(range));
    this.#drawCharts(range);
  }

  #drawCharts(range) {
    const { samples } = this.context;
    text(this.historyError, samples.error ? `The history before this page was opened is missing: ${samples.error}` : "");
    const to = samples.times.at(-1) ?? this.context.feed.now();
    const { gapMs } = samples;
    for (const chart of this.charts) {
      chart.update({ times: samples.times, columns: samples.series, from: to - range * 1000, to, gapMs });
    }
  }

  #drawProblems(data) {
    const found = problems(data);
    const shown = found.slice(0, shownProblems);
    show(this.allWell, found.length === 0);
    keyed(this.problemList, shown, (problem) => problem.id, (problem) => el("li", { class: problem.severity },
      el("span", { class: "mark", text: severityMarks[problem.severity], title: problem.severity }), el("span", { class: "hidden", text: `${problem.severity}: ` }),
      el("a", { href: problem.link ?? "#overview" }), el("time", { class: "muted" })),
    (node, problem) => {
      text(node.children[2], problem.text);
      show(node.children[3], Boolean(problem.since));
      if (problem.since) setAgo(node.children[3], problem.since);
    });
    show(this.moreProblems, found.length > shown.length);
    text(this.moreProblems, `and ${plural(found.length - shown.length, "more problem")}`);
  }

  #drawTiles({ metrics, topology, moves }) {
    const used = metrics.storageCapacity > 0 ? (metrics.storageCapacity - metrics.storageFree) / metrics.storageCapacity : null;
    const ill = metrics.totalNodes - metrics.healthyNodes;
    const tiles = [
      { name: "Nodes", value: count(metrics.totalNodes), more: plural(metrics.groups ?? topology.shardGroups.length, "group"), link: address("topology") },
      { name: "Healthy", value: count(metrics.healthyNodes), more: ill > 0 ? `▲ ${ill} not healthy` : "all of them",
        mark: ill > 0 ? "warning-text" : "", link: address("topology", ill > 0 ? { health: "ill" } : {}) },
      { name: "Storage used", value: bytes(metrics.totalStorage), exact: exact(metrics.totalStorage, " bytes") },
      { name: "Capacity", value: bytes(metrics.storageCapacity), exact: exact(metrics.storageCapacity, " bytes"),
        more: used === null ? "" : `${bytes(metrics.storageFree)} free, ${(used * 100).toFixed(0)} % full` },
      { name: "Keys", value: count(metrics.totalKeys), exact: exact(metrics.totalKeys) },
      { name: "Shards", value: count(metrics.totalShards), more: moves.live.length > 0 ? `${moves.live.length} moving` : "none moving", link: address("shards") },
      { name: "Average load", value: exact(Math.round(metrics.averageLoad * 10) / 10), exact: exact(metrics.averageLoad), more: "shards of each group" },
      { name: "Operations", value: rate(metrics.operationsPerSecond), exact: exact(metrics.operationsPerSecond, " per second") },
    ];
    keyed(this.tiles, tiles, (tile) => tile.name, (tile) => el("div", { class: "tile" }, el("dt", {},
      tile.link ? el("a", { text: tile.name }) : tile.name), el("dd"), el("dd", { class: "more" })),
    (node, tile) => {
      if (tile.link) attr(node.querySelector("a"), "href", tile.link);
      text(node.children[1], tile.value);
      attr(node.children[1], "title", tile.exact);
      text(node.children[2], tile.more ?? "");
      attr(node.children[2], "class", `more ${tile.mark ?? ""}`.trim());
    });
  }

  close() {
    for (const chart of this.charts) chart.close();
  }
}
