// Shard Status: a heat map of all shards, and a table that sorts and filters.

import { attr, button, el, field, keyed, later, select, setOptions, show, text } from "./dom.js";
import { bytes, count, exact, plural, rate } from "./format.js";
import { checkContent, confirmMove, groupMenu } from "./dialogs.js";
import { dragShard } from "./drag.js";
import { describe, HeatMap, measures, stateLetters } from "./heatmap.js";
import { change } from "./route.js";
import { Table } from "./table.js";

const states = ["Serving", "Pulling", "BePulling", "GCing", "Unowned", "Unknown"];

export class Shards {
  constructor(context) {
    this.context = context;
    this.search = el("input", { type: "search", placeholder: "shard number or words", on: { input: later(() =>
      change({ q: this.search.value, page: null })) } });
    this.state = select([["", "all"], ...states.map((name) => [name, name])], "", (value) => change({ state: value, page: null }));
    this.group = select([["", "all"]], "", (value) => change({ group: value, page: null }));
    this.measure = el("div", { class: "segments", role: "group", "aria-label": "Colour by" },
      ...Object.entries(measures).map(([name, { label }]) => el("button", { type: "button", text: label, "data-measure": name,
        on: { click: () => change({ measure: name === "keys" ? null : name }) } })));
    this.heat = new HeatMap({
      onSelect: (shard) => this.#choose(shard),
      onOpen: (shard) => checkContent(shard.shardId),
      onGrab: (event, shard) => this.#grab(event, shard),
    });
    this.chosen = el("p", { class: "chosen" });
    this.check = button("Check content", () => checkContent(this.shard.shardId));
    this.move = button("Move…", () => this.#menu(this.move, this.shard), { "aria-haspopup": "menu", "aria-expanded": "false" });
    this.targets = el("ul", { class: "targets" });
    this.targetBox = el("div", { class: "target-box", hidden: true }, el("h4", { text: "Drag a shard onto a group to move it" }), this.targets);
    this.summary = el("p", { class: "muted", role: "status" });
    this.table = new Table({ caption: "Shards", pageSize: 50, sort: "shard", key: (shard) => shard.shardId, columns: this.#columns(),
      empty: "No shard matches.", onView: ({ sort, descending, page }) => change({
        sort: sort === "shard" ? null : sort, order: descending ? "down" : null, page: page === 0 ? null : page + 1 }) });
    this.table.body.addEventListener("pointerdown", (event) => {
      const row = event.target.closest("tr");
      if (row && !event.target.closest("button")) this.#grab(event, this.byId.get(Number(row.firstChild.textContent)));
    });
    this.element = el("div", {}, el("h2", { text: "Shard Status" }),
      el("section", { class: "card", "aria-labelledby": "heat-title" },
        el("div", { class: "row" }, el("h3", { id: "heat-title", text: "Heat map" }), this.measure),
        this.heat.element, el("div", { class: "row" }, this.chosen, this.check, this.move), this.targetBox),
      el("div", { class: "filters", role: "search" }, field("Find", this.search), field("State", this.state), field("Group", this.group)),
      this.summary, this.table.element);
  }

  #columns() {
    return [
      { id: "shard", label: "Shard", header: true, numeric: true, value: (shard) => shard.shardId, text: (shard) => shard.shardId },
      { id: "group", label: "Group", numeric: true, value: (shard) => shard.groupId, text: (shard) => shard.groupId || "none" },
      { id: "state", label: "State", value: (shard) => shard.state,
        text: (shard) => (stateLetters[shard.state] ? `${stateLetters[shard.state]} ${shard.state}` : shard.state),
        mark: (shard) => (shard.state === "Unowned" || shard.state === "Unknown" ? "error-text" : shard.state === "Serving" ? "" : "warning-text") },
      { id: "move", label: "Move", value: (shard) => (shard.move ? shard.move.to : null), text: (shard) => (shard.move ? `${shard.move.from} → ${shard.move.to}, ${shard.move.phase}` : "") },
      { id: "keys", label: "Keys", numeric: true, value: (shard) => shard.keys, text: (shard) => count(shard.keys), title: (shard) => exact(shard.keys) },
      { id: "bytes", label: "Bytes", numeric: true, value: (shard) => shard.bytes, text: (shard) => bytes(shard.bytes), title: (shard) => exact(shard.bytes, " bytes") },
      { id: "reads", label: "Reads", numeric: true, value: (shard) => shard.readsPerSecond, text: (shard) => rate(shard.readsPerSecond), title: (shard) => exact(shard.readsPerSecond, " per second") },
      { id: "writes", label: "Writes", numeric: true, value: (shard) => shard.writesPerSecond, text: (shard) => rate(shard.writesPerSecond), title: (shard) => exact(shard.writesPerSecond, " per second") },
      { id: "epoch", label: "Epoch", numeric: true, value: (shard) => shard.epoch, text: (shard) => exact(shard.epoch) },
      { id: "do", label: "Actions", fill: (cell, shard) => this.#actions(cell, shard) },
    ];
  }

  #actions(cell, { shardId }) {
    if (!cell.firstChild) {
      attr(cell, "class", "do");
      cell.append(button("Check", () => checkContent(shardId), { class: "small", "aria-label": `Check the content of shard ${shardId}` }));
    }
    const may = this.allowActions;
    if (may && cell.children.length === 1) {
      const open = button("Move…", () => this.#menu(open, this.byId.get(shardId)),
        { class: "small", "aria-label": `Move shard ${shardId}`, "aria-haspopup": "menu", "aria-expanded": "false" });
      cell.append(open);
    } else if (!may && cell.children.length === 2) {
      cell.lastChild.remove();
    }
  }

  update(data, params) {
    const { shards, topology, status } = data;
    this.allowActions = status.allowActions === true;
    this.groups = topology.shardGroups;
    this.byId = new Map(shards.map((shard) => [shard.shardId, shard]));
    if (document.activeElement !== this.search) this.search.value = params.q ?? "";
    this.state.value = states.includes(params.state) ? params.state : "";
    const owners = this.groups.map((group) => [String(group.groupId), `group ${group.groupId}`]);
    setOptions(this.group, [["", "all"], ...owners, ["0", "no group"]], params.group ?? "");
    const matching = shards.filter((shard) => matches(shard, params));
    const filtered = matching.length < shards.length;
    const measure = params.measure in measures ? params.measure : "keys";
    for (const node of this.measure.children) attr(node, "aria-pressed", String(node.dataset.measure === measure));
    this.selected ??= Number(params.shard ?? 0);
    this.heat.update(shards, { measure, matching: filtered ? new Set(matching.map((shard) => shard.shardId)) : null, selected: this.selected });
    this.shard = shards[this.heat.selected];
    this.#drawChosen();
    this.table.view({ sort: params.sort ?? "shard", descending: params.order === "down", page: Number(params.page ?? 1) - 1 });
    this.table.update(matching);
    const moving = shards.filter((shard) => shard.move).length;
    text(this.summary, `${filtered ? `${matching.length} of ` : ""}${plural(shards.length, "shard")}; ${moving} moving`);
    this.#drawTargets();
  }

  #drawChosen() {
    show(this.check, Boolean(this.shard));
    show(this.move, Boolean(this.shard) && this.allowActions);
    text(this.chosen, this.shard ? `Chosen: shard ${this.shard.shardId} of ${this.shard.groupId ? `group ${this.shard.groupId}` : "no group"}, ${this.shard.state}` : "");
    attr(this.chosen, "title", this.shard ? describe(this.shard) : null);
  }

  // Where nothing may be moved there are no targets either.
  #drawTargets() {
    const groups = this.allowActions ? this.groups.filter((group) => !group.leaving) : [];
    show(this.targetBox, groups.length > 0);
    document.body.classList.toggle("may-move", this.allowActions);
    keyed(this.targets, groups, (group) => group.groupId, (group) => el("li", { "data-drop": group.groupId }),
      (node, group) => text(node, `${group.groupId} · ${group.shards.length}`));
    for (const node of this.targets.children) attr(node, "title", `group ${node.dataset.drop}: shards it serves`);
  }

  #choose(shard) {
    this.selected = shard.shardId;
    this.shard = shard;
    this.#drawChosen();
  }

  #grab(event, shard) {
    if (!this.allowActions || !shard) return;
    dragShard(event, shard.shardId, this.targetBox, (groupId) => {
      this.#confirm(shard.shardId, groupId);
    });
  }

  #menu(anchor, shard) {
    groupMenu(anchor, this.groups, shard, (groupId) => this.#confirm(shard.shardId, groupId));
  }

  #confirm(shardId, groupId) {
    const shard = this.byId.get(shardId);
    if (!shard || shard.groupId === groupId) return;
    confirmMove(shard, groupId, () => (this.context.feed.isStale() ? undefined : this.byId.get(shardId)));
  }

  close() {
    document.body.classList.remove("may-move");
    this.heat.close();
  }
}

function matches(shard, { q = "", state = "", group = "" }) {
  if (state && shard.state !== state) return false;
  if (group !== "" && String(shard.groupId) !== group) return false;
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const all = `shard ${shard.shardId} group ${shard.groupId} ${shard.state} epoch ${shard.epoch}`.toLowerCase();
  // A number means the shard; "group 101" is found by its words.
  return words.length === 1 && /^\d+$/.test(words[0]) ? String(shard.shardId) === words[0] : all.includes(words.join(" "));
}
