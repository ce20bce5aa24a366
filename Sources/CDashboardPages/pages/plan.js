// What a join or leave would move. It only asks; nothing changes.

import { button, el, field, keyed, select, setOptions, show, text } from "./dom.js";
import { get } from "./api.js";
import { plural, runs } from "./format.js";
import { Table } from "./table.js";

const pairsShown = 60;

export class PlanForm {
  constructor() {
    this.kind = select([["join", "join"], ["leave", "leave"]], "join", () => this.#drawKind(), { id: "plan-kind" });
    this.joining = el("input", { type: "text", id: "plan-join", class: "wide", placeholder: "102=10.0.0.7:50151,10.0.0.8:50151", autocomplete: "off", spellcheck: "false" });
    this.leaving = select([["", "no group"]], "", () => {}, { id: "plan-leave" });
    this.joinField = field("Group and its nodes", this.joining);
    this.leaveField = field("Group", this.leaving);
    this.answer = el("p", { class: "answer", role: "status" });
    this.pairs = el("ul", { class: "remarks" });
    this.table = new Table({ caption: "Shards of each group", key: (row) => row.groupId, pageSize: 25, columns: [
      { id: "group", label: "Group", header: true, numeric: true, value: (row) => row.groupId, text: (row) => row.groupId },
      { id: "before", label: "Before", numeric: true, value: (row) => row.before, text: (row) => row.before },
      { id: "after", label: "After", numeric: true, value: (row) => row.after, text: (row) => row.after },
      { id: "change", label: "Change", numeric: true, value: (row) => row.after - row.before, text: (row) => signed(row.after - row.before) },
    ] });
    this.result = el("div", { class: "plan-result", hidden: true }, this.table.element, this.pairs);
    const form = el("form", { class: "filters", on: { submit: (event) => { event.preventDefault(); this.#ask(); } } },
      field("Change", this.kind), this.joinField, this.leaveField, el("button", { type: "submit", class: "primary", text: "Show the plan" }));
    this.element = el("section", { class: "card", "aria-labelledby": "plan-title" },
      el("h3", { id: "plan-title", text: "What would a join or leave move?" }), form, this.answer, this.result,
      button("Clear", () => this.#clear(), { hidden: true }));
    this.clear = this.element.lastChild;
    this.#drawKind();
  }

  setGroups(groups) {
    setOptions(this.leaving, groups.map((group) => [String(group.groupId), `group ${group.groupId}, ${plural(group.shards.length, "shard")}`]),
      this.leaving.value || String(groups[0]?.groupId ?? ""));
  }

  #drawKind() {
    show(this.joinField, this.kind.value === "join");
    show(this.leaveField, this.kind.value === "leave");
  }

  #clear() {
    this.asked = (this.asked ?? 0) + 1;
    show(this.result, false);
    show(this.clear, false);
    text(this.answer, "");
  }

  async #ask() {
    // The answer to an earlier question may come after this one's.
    const question = this.asked = (this.asked ?? 0) + 1;
    text(this.answer, "Asking…");
    this.answer.classList.remove("error");
    try {
      const plan = await get("/api/plan", this.kind.value === "join" ? { join: this.joining.value.trim() } : { leave: this.leaving.value });
      if (question === this.asked) this.#draw(plan);
    } catch (error) {
      if (question !== this.asked) return;
      this.#clear();
      this.answer.classList.add("error");
      text(this.answer, `✕ ${error.message}`);
    }
  }

  #draw({ moves, before, after }) {
    text(this.answer, moves.length === 0 ? "Nothing would move." : `${plural(moves.length, "shard")} would move.`);
    const groups = [...new Set([...Object.keys(before), ...Object.keys(after)])].map(Number).sort((a, b) => a - b);
    this.table.update(groups.map((groupId) => ({ groupId, before: before[groupId] ?? 0, after: after[groupId] ?? 0 })));
    const pairs = new Map();
    for (const { shardId, from, to } of moves) pairs.set(`${from} → ${to}`, [...(pairs.get(`${from} → ${to}`) ?? []), shardId]);
    const lines = [...pairs].slice(0, pairsShown).map(([pair, ids]) => `${pair}: ${runs(ids)}`);
    if (pairs.size > pairsShown) lines.push(`and ${pairs.size - pairsShown} more pairs of groups`);
    keyed(this.pairs, lines, (line) => line, () => el("li"), (node, line) => text(node, line));
    show(this.result, true);
    show(this.clear, true);
  }
}

function signed(n) {
  return n > 0 ? `+${n}` : n < 0 ? `−${-n}` : "0";
}
