// Cluster Topology: the controller and the groups as cards; one line each until opened.

import { attr, button, el, field, keyed, later, select, show, text } from "./dom.js";
import { bytes, count, exact, plural, runs } from "./format.js";
import { severityMarks } from "./problems.js";
import { address, change } from "./route.js";
import { GroupDetail } from "./group.js";

const groupsOfPage = 40;
// An open card has a few hundred nodes.
const openAtMost = 6;
const openedByItself = 4;

export class Topology {
  constructor() {
    this.details = new WeakMap();
    this.search = el("input", { type: "search", placeholder: "group, address, role, engine, version", on: { input: later(() =>
      change({ q: this.search.value, page: null })) } });
    this.health = select([["", "all"], ["ill", "with problems"], ["well", "without problems"]], "", (value) => change({ health: value, page: null }));
    this.only = button("", () => change({ group: null, open: null }), { hidden: true });
    this.summary = el("p", { class: "muted", role: "status" });
    this.list = el("div", { class: "cards" });
    this.previous = button("Previous", () => this.#turn(-1));
    this.range = el("span");
    this.next = button("Next", () => this.#turn(1));
    this.pager = el("div", { class: "pager" }, this.previous, this.range, this.next);
    this.element = el("div", {}, el("h2", { text: "Cluster Topology" }),
      el("div", { class: "filters", role: "search" }, field("Find", this.search), field("Groups", this.health),
        button("Close all", () => change({ open: "none" })), this.only),
      this.summary, this.list, this.pager);
  }

  update(data, params) {
    const { topology } = data;
    if (document.activeElement !== this.search) this.search.value = params.q ?? "";
    this.health.value = params.health ?? "";
    const controller = { groupId: 0, nodes: topology.configCluster.nodes, leaderId: topology.configCluster.leaderId,
      totalStorage: topology.configCluster.totalStorage, configNum: topology.configCluster.configNum };
    const every = [controller, ...topology.shardGroups].map((group) => ({ group, state: stateOf(group) }));
    show(this.only, params.group !== undefined);
    text(this.only, params.group === "0" ? "Only the controller: show all" : `Only group ${params.group}: show all`);
    const words = (params.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const matching = every.filter(({ group, state }) => {
      if (params.group !== undefined && String(group.groupId) !== params.group) return false;
      if (params.health === "ill" && state.severity === "ok") return false;
      if (params.health === "well" && state.severity !== "ok") return false;
      return words.length === 0 || words.every((word) => described(group).includes(word));
    });
    const pages = Math.max(1, Math.ceil(matching.length / groupsOfPage));
    this.page = Math.min(Math.max(0, Number(params.page ?? 1) - 1), pages - 1);
    const first = this.page * groupsOfPage;
    const shown = matching.slice(first, first + groupsOfPage);
    this.open = params.open === undefined
      ? (every.length <= openedByItself ? every.map(({ group }) => String(group.groupId)) : [])
      : params.open.split(" ").slice(-openAtMost);
    const ill = every.filter(({ state }) => state.severity !== "ok").length;
    text(this.summary, `${plural(topology.shardGroups.length, "group")}, ${plural(topology.totalShards, "shard")}, config ${topology.configCluster.configNum}; `
      + `${ill === 0 ? "no group has problems" : `${plural(ill, "group")} with problems`}`
      + `${matching.length < every.length ? `; ${matching.length} match` : ""}`);
    keyed(this.list, shown, ({ group }) => group.groupId, ({ group }) => this.#card(group), (node, item) => this.#fill(node, item));
    show(this.pager, pages > 1);
    text(this.range, `${first + 1}–${first + shown.length} of ${matching.length}`);
    this.previous.disabled = this.page === 0;
    this.next.disabled = this.page === pages - 1;
  }

  #turn(step) {
    change({ page: this.page + step === 0 ? null : this.page + step + 1 });
  }

  #card({ groupId }) {
    const id = `group-${groupId}`;
    return el("article", { class: "group card", "aria-labelledby": id },
      el("h3", {}, el("button", { type: "button", id, class: "opener", "aria-expanded": "false", on: { click: () => this.#toggle(groupId) } },
        el("span", { class: "name", text: groupId === 0 ? "Controller" : `Group ${groupId}` }), el("span", { class: "state" }),
        el("span", { class: "pips" }), el("span", { class: "line" }))));
  }

  #toggle(groupId) {
    const id = String(groupId);
    const open = this.open.includes(id) ? this.open.filter((each) => each !== id) : [...this.open, id].slice(-openAtMost);
    change({ open: open.length > 0 ? open.join(" ") : "none" });
  }

  #fill(node, { group, state }) {
    const opener = node.firstChild.firstChild;
    const [, badge, pips, line] = opener.children;
    text(badge, `${severityMarks[state.severity]} ${state.text}`);
    attr(badge, "class", `state ${state.severity}-text`);
    text(pips, group.nodes.map((each) => (!each.healthy ? "×" : each.role === "Leader" ? "◆" : each.voter === false ? "○" : "●")).join(""));
    const healthy = group.nodes.filter((each) => each.healthy).length;
    attr(pips, "title", `${healthy} of ${group.nodes.length} nodes healthy; ◆ leader, ● follower, ○ learner, × not healthy`);
    attr(pips, "aria-label", `${healthy} of ${plural(group.nodes.length, "node")} healthy`);
    const term = Math.max(0, ...group.nodes.map((each) => each.term));
    const leader = group.leaderId === null ? "no leader" : `leader ${group.leaderId}`;
    text(line, group.groupId === 0
      ? `${leader} · term ${term} · config ${group.configNum} · ${bytes(group.totalStorage)}`
      : `${leader} · term ${term} · ${plural(group.shards.length, "shard")} · ${count(group.keys)} keys · ${bytes(group.totalStorage)}`);
    attr(line, "title", group.groupId === 0 ? exact(group.totalStorage, " bytes") : `${exact(group.keys)} keys, ${exact(group.bytes, " bytes")} of data, ${exact(group.totalStorage, " bytes")} on disk; shards ${runs(group.shards).slice(0, 400)}`);
    const open = this.open.includes(String(group.groupId));
    attr(opener, "aria-expanded", String(open));
    let detail = this.details.get(node);
    if (open && !detail) {
      detail = new GroupDetail(group);
      this.details.set(node, detail);
      node.append(detail.element);
    } else if (!open && detail) {
      detail.element.remove();
      this.details.delete(node);
    }
    if (open) detail.update(group, address("shards", { group: group.groupId }));
  }

  close() {}
}

function stateOf(group) {
  if (group.groupId !== 0 && group.hasQuorum === false) return { severity: "error", text: "no quorum" };
  if (group.leaderId === null) return { severity: "error", text: "no leader" };
  if (group.nodes.some((node) => node.shortOfSpace)) return { severity: "error", text: "short of space" };
  const ill = group.nodes.filter((node) => !node.healthy).length;
  if (ill > 0) return { severity: "warning", text: `${plural(ill, "node")} down` };
  if (group.nodes.some((node) => node.condition)) return { severity: "warning", text: "condition" };
  if (group.leaving) return { severity: "warning", text: "leaving" };
  return { severity: "ok", text: "well" };
}

function described(group) {
  const parts = [group.groupId === 0 ? "controller 0" : `group ${group.groupId}`];
  for (const node of group.nodes) {
    parts.push(node.address, node.role, node.engine, node.version, node.condition ?? "", node.error ?? "", node.healthy ? "healthy" : "down");
  }
  return parts.join(" ").toLowerCase();
}

