// Events: what this dashboard has seen happen, newest first.

import { button, el, field, later, select, text } from "./dom.js";
import { get } from "./api.js";
import { clock, exact, instant, plural } from "./format.js";
import { severityMarks } from "./problems.js";
import { change } from "./route.js";
import { Table } from "./table.js";
import { setAgo } from "./times.js";

const kinds = ["leader", "node-lost", "node-found", "node-restarted", "condition", "config", "move", "controller-lost", "controller-found", "space"];
const severities = ["info", "warning", "error"];
const asked = 1000;
const fields = ["id", "at", "kind", "severity", "groupId", "nodeId", "shardId", "text"];

export class Events {
  constructor(context) {
    this.context = context;
    this.search = el("input", { type: "search", placeholder: "words", on: { input: later(() => change({ q: this.search.value, page: null })) } });
    this.severity = select([["", "all"], ["warning", "warnings and errors"], ["error", "errors"]], "", (value) => change({ severity: value, page: null }));
    this.kind = select([["", "all"], ...kinds.map((name) => [name, name])], "", (value) => change({ kind: value, page: null }));
    this.summary = el("p", { class: "muted", role: "status" });
    this.table = new Table({ caption: "Events", pageSize: 100, key: (event) => event.id, empty: "No event matches.", columns: [
      { id: "at", label: "When", fill: (cell, event) => {
        if (!cell.firstChild) cell.append(el("span", { class: "code clock" }), " ", el("time", { class: "muted" }));
        text(cell.firstChild, clock(event.at));
        setAgo(cell.lastChild, event.at);
      } },
      { id: "severity", label: "Severity", text: (event) => `${severityMarks[event.severity] ?? ""} ${event.severity}`, mark: (event) => `${event.severity}-text` },
      { id: "kind", label: "Kind", wideOnly: true, text: (event) => event.kind },
      { id: "group", label: "Group", numeric: true, wideOnly: true, text: (event) => (event.groupId === null ? "" : event.groupId === 0 ? "controller" : event.groupId) },
      { id: "node", label: "Node", numeric: true, wideOnly: true, text: (event) => event.nodeId ?? "" },
      { id: "shard", label: "Shard", numeric: true, wideOnly: true, text: (event) => event.shardId ?? "" },
      { id: "text", label: "What happened", header: true, text: (event) => event.text },
    ], onView: ({ page }) => change({ page: page === 0 ? null : page + 1 }) });
    this.element = el("div", {}, el("h2", { text: "Events" }),
      el("div", { class: "filters", role: "search" }, field("Find", this.search), field("Severity", this.severity), field("Kind", this.kind),
        button("Export CSV", () => this.#export("csv")), button("Export JSON", () => this.#export("json"))),
      this.summary, this.table.element);
    this.#askOlder();
  }

  async #askOlder() {
    try {
      const { events } = await get("/api/events", { limit: asked });
      this.context.events.add(events);
      this.context.redraw();
    } catch (error) {
      this.error = error.message;
    }
  }

  update(data, params) {
    if (document.activeElement !== this.search) this.search.value = params.q ?? "";
    this.severity.value = params.severity ?? "";
    this.kind.value = kinds.includes(params.kind) ? params.kind : "";
    if (this.context.events.hasHole) {
      this.context.events.hasHole = false;
      this.#askOlder();
    }
    const every = this.context.events.newestFirst();
    const least = Math.max(0, severities.indexOf(params.severity ?? "info"));
    const words = (params.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    this.matching = every.filter((event) => severities.indexOf(event.severity) >= least && (!params.kind || event.kind === params.kind)
      && words.every((word) => `${event.text} ${event.kind}`.toLowerCase().includes(word)));
    text(this.summary, `${plural(this.matching.length, "event")}${this.matching.length < every.length ? ` of ${exact(every.length)}` : ""}`
      + `${this.error ? `; older ones are missing: ${this.error}` : ""}. They are what this dashboard has seen since it started.`);
    this.table.view({ sort: null, descending: false, page: Number(params.page ?? 1) - 1 });
    this.table.update(this.matching);
  }

  #export(kind) {
    const content = kind === "json" ? `${JSON.stringify(this.matching, null, 2)}\n`
      : [fields, ...this.matching.map((event) => fields.map((name) => event[name]))].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
    const address = URL.createObjectURL(new Blob([content], { type: kind === "json" ? "application/json" : "text/csv;charset=utf-8" }));
    const link = el("a", { href: address, download: `flotilla-events.${kind}` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
  }

  close() {}
}

function csvCell(value) {
  let string = value === null || value === undefined ? "" : String(value);
  // A spreadsheet would take such a cell for a formula.
  if (/^[=+\-@\t\r]/.test(string)) string = `'${string}`;
  return /[",\r\n]/.test(string) ? `"${string.replaceAll('"', '""')}"` : string;
}

// The events seen so far, across updates.
export class EventList {
  #byId = new Map();
  // Between what is here and what came there were more than an update brings.
  hasHole = false;

  add(events) {
    const least = events.reduce((id, event) => Math.min(id, event.id), Infinity);
    const most = this.#byId.size === 0 ? null : Math.max(...this.#byId.keys());
    if (most !== null && least !== Infinity && least > most + 1) this.hasHole = true;
    for (const event of events) {
      const known = this.#byId.get(event.id);
      // The numbers begin anew when the dashboard's process does.
      if (known && known.at !== event.at) this.#byId.clear();
      this.#byId.set(event.id, event);
    }
    const ids = [...this.#byId.keys()].sort((a, b) => b - a);
    for (const id of ids.slice(asked)) this.#byId.delete(id);
  }

  newestFirst() {
    return [...this.#byId.values()].sort((a, b) => b.id - a.id || instant(b.at) - instant(a.at));
  }
}
