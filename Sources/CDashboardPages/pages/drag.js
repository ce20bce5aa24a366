// Dragging a shard onto a group, by pointer events: the same for a heat map's cell, which is no element, and a row.
// Touch is left to scrolling; the menu does the same there.

import { el } from "./dom.js";

const startPixels = 6;

// targets: the element with what a shard can be dropped on
export function dragShard(down, shardId, targets, drop) {
  if (down.button !== 0 || down.pointerType === "touch") return;
  let ghost = null;
  let target = null;
  const aim = (next) => {
    if (next === target) return;
    target?.classList.remove("aimed");
    target = next;
    target?.classList.add("aimed");
  };
  const move = (event) => {
    if (!ghost) {
      if (Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < startPixels) return;
      ghost = el("div", { class: "ghost", text: `shard ${shardId}` });
      document.body.append(ghost);
      document.body.classList.add("dragging");
      const box = targets.getBoundingClientRect();
      if (box.top < 0 || box.bottom > innerHeight) targets.classList.add("floating");
    }
    ghost.style.transform = `translate(${event.clientX + 12}px, ${event.clientY + 12}px)`;
    aim(document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-drop]") ?? null);
  };
  const end = () => {
    removeEventListener("pointermove", move);
    removeEventListener("pointerup", up);
    removeEventListener("pointercancel", end);
    removeEventListener("keydown", escape, true);
    ghost?.remove();
    document.body.classList.remove("dragging");
    targets.classList.remove("floating");
    target?.classList.remove("aimed");
  };
  const up = () => {
    const group = ghost && target ? Number(target.dataset.drop) : null;
    end();
    if (group !== null) drop(group);
  };
  const escape = (event) => {
    if (event.key === "Escape") end();
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", up);
  addEventListener("pointercancel", end);
  addEventListener("keydown", escape, true);
}
