// All shards as cells on a canvas: one element, however many shards. Arrow keys move a cursor; a line of text says what
// is under it. A letter marks each state but Serving, so colour isn't the only sign.

import { attr, el, text } from "./dom.js";
import { bytes, count, plural, rate } from "./format.js";

export const measures = {
  keys: { label: "Keys", of: (shard) => shard.keys, format: (value) => `${count(value)} keys` },
  bytes: { label: "Bytes", of: (shard) => shard.bytes, format: bytes },
  load: { label: "Load", of: (shard) => (shard.readsPerSecond ?? 0) + (shard.writesPerSecond ?? 0), format: (value) => `${rate(value)} operations` },
};

export const stateLetters = { Pulling: "P", BePulling: "B", GCing: "G", Unowned: "×", Unknown: "?" };

const gutter = 40;
const smallestCell = 15;
const largestCell = 32;
const fewRows = 4;

export class HeatMap {
  constructor({ onSelect, onOpen, onGrab }) {
    this.selected = 0;
    this.shards = [];
    this.canvas = el("canvas", { class: "heat", tabindex: "0", role: "application", "aria-roledescription": "heat map", "aria-describedby": "heat-readout", on: {
      keydown: (event) => this.#key(event, onSelect, onOpen),
      pointermove: (event) => this.#hover(this.#at(event)),
      pointerleave: () => this.#hover(null),
      pointerdown: (event) => {
        const shard = this.#at(event);
        if (!shard) return;
        this.selected = shard.shardId;
        onSelect(shard);
        this.#draw();
        onGrab(event, shard);
      },
      dblclick: (event) => {
        const shard = this.#at(event);
        if (shard) onOpen(shard);
      },
      focus: () => this.#draw(),
      blur: () => this.#draw(),
    } });
    this.readout = el("p", { id: "heat-readout", class: "readout", "aria-live": "polite" });
    this.legend = el("p", { class: "muted legend-line" });
    this.box = el("div", { class: "heat-box" }, this.canvas);
    this.element = el("div", {}, this.box, this.readout, this.legend);
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.box);
    this.redraw = () => this.#draw();
    document.addEventListener("themechange", this.redraw);
  }

  close() {
    this.observer.disconnect();
    document.removeEventListener("themechange", this.redraw);
  }

  // matching: the ids that the filters leave, or null for all
  update(shards, { measure, matching, selected }) {
    Object.assign(this, { shards, matching, measure: measures[measure] ?? measures.keys });
    this.selected = Math.min(Math.max(0, selected), Math.max(0, shards.length - 1));
    attr(this.canvas, "aria-label", `Heat map of ${plural(shards.length, "shard")} by ${this.measure.label.toLowerCase()}`);
    this.#draw();
    if (this.hovered) this.hovered = this.shards.find((shard) => shard.shardId === this.hovered.shardId) ?? null;
    this.#say(this.hovered ?? this.shards[this.selected]);
    const most = this.#largest();
    text(this.legend, `Pale 0, full ${this.measure.format(most)} (square root scale). P Pulling · B BePulling · G GCing · × Unowned · ? Unknown. Arrow keys move, Enter checks the content.`);
  }

  #largest() {
    return this.shards.reduce((most, shard) => Math.max(most, this.measure.of(shard) ?? 0), 0);
  }

  #layout() {
    const width = this.box.clientWidth - gutter;
    let columns = 8;
    while (this.shards.length / columns > fewRows && width / (columns * 2) >= smallestCell) columns *= 2;
    const size = Math.max(6, Math.min(largestCell, Math.floor(width / columns)));
    return { columns, size, rows: Math.ceil(this.shards.length / columns) };
  }

  #draw() {
    if (!this.measure || this.box.clientWidth === 0) return;
    const { columns, size, rows } = (this.grid = this.#layout());
    const ratio = devicePixelRatio || 1;
    const width = gutter + columns * size;
    const height = rows * size + 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    const pen = this.canvas.getContext("2d");
    const colours = this.#colours();
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.textBaseline = "middle";
    pen.font = "11px ui-monospace, monospace";
    pen.fillStyle = colours.muted;
    pen.textAlign = "right";
    for (let row = 0; row < rows; row += 1) pen.fillText(String(row * columns), gutter - 6, row * size + size / 2);
    pen.textAlign = "center";
    pen.font = `bold ${Math.max(9, Math.floor(size * 0.6))}px ui-monospace, monospace`;
    const most = this.#largest() || 1;
    this.shards.forEach((shard, index) => {
      const x = gutter + (index % columns) * size;
      const y = Math.floor(index / columns) * size;
      const share = Math.sqrt((this.measure.of(shard) ?? 0) / most);
      pen.globalAlpha = this.matching && !this.matching.has(shard.shardId) ? 0.15 : 1;
      pen.fillStyle = colours.empty;
      pen.fillRect(x + 0.5, y + 0.5, size - 1, size - 1);
      pen.globalAlpha *= 0.06 + 0.94 * share;
      pen.fillStyle = colours.full;
      pen.fillRect(x + 0.5, y + 0.5, size - 1, size - 1);
      const letter = stateLetters[shard.state];
      if (letter) {
        pen.globalAlpha = 1;
        pen.fillStyle = colours.mark;
        pen.fillRect(x + 2, y + 2, size - 4, size - 4);
        pen.fillStyle = colours.markText;
        pen.fillText(letter, x + size / 2, y + size / 2 + 1);
      }
    });
    pen.globalAlpha = 1;
    if (this.shards.length > 0) {
      const x = gutter + (this.selected % columns) * size;
      const y = Math.floor(this.selected / columns) * size;
      pen.lineWidth = document.activeElement === this.canvas ? 3 : 2;
      pen.strokeStyle = colours.text;
      pen.strokeRect(x + 1, y + 1, size - 2, size - 2);
    }
  }

  #colours() {
    const style = getComputedStyle(this.canvas);
    const named = (name) => style.getPropertyValue(name);
    // Registered properties resolve light-dark(); see app.css.
    return { full: named("--heat-full"), empty: named("--heat-empty"), mark: named("--heat-mark"), markText: named("--heat-mark-text"),
      muted: named("--heat-muted"), text: named("--heat-text") };
  }

  #at(event) {
    if (!this.grid) return null;
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - gutter) / this.grid.size);
    const row = Math.floor((event.clientY - box.top) / this.grid.size);
    if (column < 0 || column >= this.grid.columns || row < 0) return null;
    return this.shards[row * this.grid.columns + column] ?? null;
  }

  #hover(shard) {
    this.hovered = shard;
    this.#say(shard ?? this.shards[this.selected]);
  }

  #say(shard) {
    text(this.readout, shard ? describe(shard) : "No shards yet.");
  }

  #key(event, onSelect, onOpen) {
    if (!this.grid || this.shards.length === 0) return;
    const { columns } = this.grid;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -columns * 4, PageDown: columns * 4 };
    const last = this.shards.length - 1;
    let next = this.selected;
    if (event.key in steps) next = this.selected + steps[event.key];
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = last;
    else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onOpen(this.shards[this.selected]);
      return;
    } else return;
    event.preventDefault();
    if (next < 0 || next > last) return;
    this.selected = next;
    this.hovered = null;
    this.#draw();
    this.#say(this.shards[next]);
    onSelect(this.shards[next]);
  }
}

export function describe(shard) {
  const owner = shard.groupId ? `group ${shard.groupId}` : "no group";
  const move = shard.move ? `, ${shard.move.phase} from ${shard.move.from} to ${shard.move.to}` : "";
  return `Shard ${shard.shardId} · ${owner} · ${shard.state}${move} · ${count(shard.keys)} keys · ${bytes(shard.bytes)} · `
    + `${rate(shard.readsPerSecond)} reads, ${rate(shard.writesPerSecond)} writes`;
}
