// What is wrong with the cluster, worst first: for the overview, and for the title of the window.

import { bytes, groupName, nodeName } from "./format.js";
import { address } from "./route.js";

const lowShare = 0.1;

export function allNodes(topology) {
  return [...topology.configCluster.nodes, ...topology.shardGroups.flatMap((group) => group.nodes)];
}

function link(groupId) {
  return address("topology", { group: groupId, open: groupId });
}

// [{id, severity, text, since, link}]
export function problems(data) {
  const { topology, metrics, status, moves } = data;
  const found = [];
  const add = (id, severity, sentence, where = null, since = null) => found.push({ id, severity, text: sentence, link: where, since });
  const withoutQuorum = new Set(metrics.withoutQuorum ?? []);
  if (status.controller && !status.controller.reachable) {
    add("controller", "error", `The controller can't be reached: ${status.controller.error ?? "no answer"}`, link(0), status.controller.since);
  }
  for (const group of withoutQuorum) {
    add(`quorum ${group}`, "error", `${capital(groupName(group))} has no quorum: it serves nothing until a majority is back`, link(group));
  }
  for (const group of metrics.leaderless ?? []) {
    if (!withoutQuorum.has(group)) add(`leader ${group}`, "error", `${capital(groupName(group))} has no leader`, link(group));
  }
  for (const node of allNodes(topology)) {
    const name = nodeName(node.groupId, node.id);
    if (node.shortOfSpace || (node.storageCapacity > 0 && node.storageFree < lowShare * node.storageCapacity)) {
      add(`space ${node.groupId} ${node.id}`, node.shortOfSpace ? "error" : "warning",
        `${capital(name)} is short of space: ${bytes(node.storageFree)} free of ${bytes(node.storageCapacity)}`, link(node.groupId));
    }
    if (node.condition) add(`condition ${node.groupId} ${node.id}`, "warning", `${capital(name)}: ${node.condition}`, link(node.groupId));
  }
  const missing = new Set(status.missing.map((node) => `${node.groupId} ${node.nodeId}`));
  for (const node of status.missing) {
    add(`missing ${node.groupId} ${node.nodeId}`, "warning", `${capital(nodeName(node.groupId, node.nodeId))} doesn't answer: ${node.error}`,
      link(node.groupId), node.since);
  }
  for (const node of allNodes(topology)) {
    if (!node.healthy && !missing.has(`${node.groupId} ${node.id}`)) {
      add(`unhealthy ${node.groupId} ${node.id}`, "warning",
        `${capital(nodeName(node.groupId, node.id))} isn't healthy${node.error ? `: ${node.error}` : ""}`, link(node.groupId), node.downSince);
    }
  }
  for (const group of metrics.underReplicated ?? []) {
    add(`replicas ${group}`, "warning", `${capital(groupName(group))} is under-replicated: a member is down`, link(group));
  }
  const unowned = data.shards.filter((shard) => shard.state === "Unowned").length;
  if (unowned > 0) add("unowned", "warning", unowned === 1 ? "1 shard has no owner" : `${unowned} shards have no owner`, address("shards", { state: "Unowned" }));
  if (moves.hold) add("hold", "info", `Moves are held by ${moves.hold.holder}`, address("moves"), null);
  const rank = { error: 0, warning: 1, info: 2 };
  return found.sort((a, b) => rank[a.severity] - rank[b.severity]);
}

export function capital(sentence) {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

export const severityMarks = { error: "✕", warning: "▲", info: "●", ok: "✓" };

