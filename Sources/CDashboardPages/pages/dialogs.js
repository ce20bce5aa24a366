// Dialogs and the menu of groups. Escape closes each; the focus goes back to where it was.

import { attr, button, el, show, text } from "./dom.js";
import { ago, presentTime } from "./times.js";
import { bytes, count, exact, groupName } from "./format.js";
import { get, moveShard } from "./api.js";

export function dialog(title, ...content) {
  const opener = document.activeElement;
  const heading = el("h2", { id: "dialog-title", text: title });
  const node = el("dialog", { "aria-labelledby": "dialog-title" }, heading, ...content);
  node.addEventListener("close", () => {
    node.remove();
    // The opener's row may have gone meanwhile.
    (opener?.isConnected ? opener : document.getElementById("panel")).focus({ preventScroll: true });
  });
  document.body.append(node);
  node.showModal();
  return node;
}

function facts(rows) {
  return el("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [el("dt", { text: name }), el("dd", { text: value })]));
}

const outcomes = {
  begun: (config) => `The move has begun with config ${config}.`,
  waiting: () => "Moves are held: it begins when the hold ends.",
  there: () => "The group serves the shard already; nothing was moved.",
};

// present: the shard as it is now, or undefined while that isn't known. What was shown must still be so.
export function confirmMove(shard, to, present) {
  const answer = el("p", { class: "answer", role: "status" });
  const go = button("Move the shard", async () => {
    const now = present();
    if (!now || now.groupId !== shard.groupId || now.epoch !== shard.epoch) {
      attr(answer, "class", "answer error");
      text(answer, now ? `✕ The shard has changed: ${now.groupId ? groupName(now.groupId) : "no group"} has it now. Close this and choose again.`
        : "✕ The data is old, so where the shard is now isn't known. Wait for new data.");
      return;
    }
    go.disabled = true;
    text(answer, "Asking the controller…");
    attr(answer, "class", "answer");
    try {
      const { config, outcome } = await moveShard(shard.shardId, to);
      text(answer, (outcomes[outcome] ?? outcomes.begun)(config));
      show(go, false);
      text(cancel, "Close");
      cancel.focus();
    } catch (error) {
      attr(answer, "class", "answer error");
      text(answer, `✕ ${error.message}`);
      go.disabled = false;
    }
  }, { class: "primary" });
  const cancel = button("Cancel", () => node.close());
  const node = dialog(`Move shard ${shard.shardId}?`,
    facts([["Shard", String(shard.shardId)], ["From", shard.groupId ? groupName(shard.groupId) : "no group"], ["To", groupName(to)],
      ["Holds", `${count(shard.keys)} keys, ${bytes(shard.bytes)}`]]),
    el("p", { class: "muted", text: "While it is copied neither group serves it, and its clients wait." }),
    answer, el("div", { class: "actions" }, cancel, go));
  cancel.focus();
}

const verdicts = {
  agree: "✓ The replicas agree.",
  differ: "✕ The replicas differ at one index: one of them is damaged.",
  changing: "● Writes came in between. Ask again.",
  unreachable: "▲ Too few replicas answered.",
};

export function checkContent(shardId) {
  const answer = el("p", { class: "answer", role: "status" });
  const result = el("div", { class: "scroll" });
  const again = button("Check again", () => ask());
  const node = dialog(`Content of shard ${shardId}`, answer, result,
    el("div", { class: "actions" }, again, button("Close", () => node.close(), { class: "primary" })));
  async function ask() {
    again.disabled = true;
    attr(answer, "class", "answer");
    text(answer, "Reading the whole shard on each replica…");
    try {
      const content = await get(`/api/shards/${shardId}/content`, {}, 120000);
      attr(answer, "class", `answer ${content.verdict === "differ" ? "error" : ""}`);
      text(answer, `${verdicts[content.verdict] ?? content.verdict} Group ${content.groupId}.`);
      answer.append(" ", ago(presentTime()));
      result.replaceChildren(replicaTable(content.replicas));
    } catch (error) {
      attr(answer, "class", "answer error");
      text(answer, `✕ ${error.message}`);
      result.replaceChildren();
    }
    again.disabled = false;
  }
  ask();
}

function replicaTable(replicas) {
  const row = (replica) => el("tr", {},
    el("th", { scope: "row", class: "replica", text: `node ${replica.nodeId}`, title: replica.address }),
    el("td", { class: "code", text: replica.error ?? replica.hash ?? "no hash" }),
    el("td", { class: "number", text: count(replica.keys), title: exact(replica.keys) }),
    el("td", { class: "number", text: exact(replica.appliedIndex) }));
  return el("table", {}, el("caption", { class: "hidden", text: "Replicas" }),
    el("thead", {}, el("tr", {}, ...["Replica", "Content hash", "Keys", "Applied"].map((name, index) =>
      el("th", { scope: "col", class: index > 1 ? "number" : null, text: name })))),
    el("tbody", {}, ...replicas.map(row)));
}

// A menu at `anchor` with the groups that a shard can move to.
export function groupMenu(anchor, groups, shard, choose) {
  const items = groups.filter((group) => group.groupId !== shard.groupId && !group.leaving);
  const menu = el("div", { class: "menu", role: "menu", tabindex: "-1", "aria-label": `Move shard ${shard.shardId} to` });
  const leave = (refocus) => {
    if (!menu.isConnected) return;
    menu.remove();
    attr(anchor, "aria-expanded", "false");
    document.removeEventListener("pointerdown", outside, true);
    if (refocus && anchor.isConnected) anchor.focus({ preventScroll: true });
  };
  const outside = (event) => { if (!menu.contains(event.target)) leave(false); };
  for (const group of items) {
    menu.append(el("button", { type: "button", role: "menuitem", tabindex: "-1", "data-group": group.groupId,
      text: `Group ${group.groupId} · ${group.shards.length} shards`,
      on: { click: () => { leave(true); choose(group.groupId); } } }));
  }
  if (items.length === 0) menu.append(el("p", { class: "muted", text: "No other group" }));
  let typed = "";
  menu.addEventListener("keydown", (event) => {
    const buttons = [...menu.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const go = (index) => buttons.at(index % buttons.length)?.focus();
    if (event.key === "ArrowDown") go(at + 1);
    else if (event.key === "ArrowUp") go(at - 1);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(-1);
    else if (event.key === "Escape") leave(true);
    else if (event.key === "Tab") return leave(true);
    else if (/^\d$/.test(event.key)) {
      typed += event.key;
      setTimeout(() => { typed = ""; }, 1000);
      buttons.find((each) => each.dataset.group.startsWith(typed))?.focus();
    } else return;
    event.preventDefault();
  });
  document.body.append(menu);
  const box = anchor.getBoundingClientRect();
  menu.style.left = `${Math.max(4, Math.min(box.left, innerWidth - menu.offsetWidth - 8)) + scrollX}px`;
  const below = innerHeight - box.bottom > menu.offsetHeight + 8;
  menu.style.top = `${(below ? box.bottom + 2 : Math.max(4, box.top - menu.offsetHeight - 2)) + scrollY}px`;
  attr(anchor, "aria-expanded", "true");
  document.addEventListener("pointerdown", outside, true);
  (menu.querySelector("button") ?? menu).focus({ preventScroll: true });
}
