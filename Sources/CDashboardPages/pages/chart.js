// A time-series chart: lines with axes, a cursor by mouse or arrow keys, and a table that is legend, readout and
// summary at once.

import { attr, el, svg, text } from "./dom.js";
import { clock } from "./format.js";

const height = 150;
const margin = { left: 52, right: 8, top: 8, bottom: 20 };

export class Chart {
  // series: [{name, label}]; format: number to text; base: of which the axis has round numbers
  constructor({ title, series, format, base = 10 }) {
    Object.assign(this, { title, series, format, base });
    this.width = 0;
    this.cursor = null;
    this.view = null;
    this.grid = svg("g", { class: "grid" });
    this.lines = series.map((_, index) => svg("path", { class: `line s${index}` }));
    this.rule = svg("line", { class: "rule", y1: margin.top, y2: height - margin.bottom });
    this.none = svg("text", { class: "none", "text-anchor": "middle", y: height / 2 });
    this.plot = svg("svg", { class: "plot", role: "img", tabindex: "0", height, on: {
      pointermove: (event) => this.#point(event.clientX), pointerleave: () => this.#moveCursor(null),
      keydown: (event) => this.#key(event), blur: () => this.#moveCursor(null) } },
    this.grid, ...this.lines, this.rule, this.none);
    this.at = el("th", { scope: "col", class: "number", text: "Now" });
    this.rows = series.map(({ label }, index) => {
      const sample = svg("svg", { width: 22, height: 8, "aria-hidden": "true" },
        svg("line", { class: `line s${index}`, x1: 0, x2: 22, y1: 4, y2: 4 }));
      return el("tr", {}, el("th", { scope: "row" }, sample, ` ${label}`), ...[0, 1, 2, 3].map(() => el("td", { class: "number" })));
    });
    this.spoken = el("p", { class: "hidden", "aria-live": "polite" });
    this.element = el("figure", { class: "chart" }, el("h3", { text: title }), this.plot,
      el("table", { class: "legend" }, el("caption", { class: "hidden", text: `${title}, summary` }),
        el("thead", {}, el("tr", {}, el("th", { scope: "col", text: "Series" }), this.at,
          ...["Min", "Mean", "Max"].map((name) => el("th", { scope: "col", class: "number", text: name })))),
        el("tbody", {}, ...this.rows)), this.spoken);
    this.observer = new ResizeObserver(() => this.#resize());
    this.observer.observe(this.plot);
  }

  close() {
    this.observer.disconnect();
  }

  // times: Unix ms, of which only those in [from, to] are drawn; columns: name to numbers or null
  update({ times, columns, from, to, gapMs }) {
    let first = times.findIndex((time) => time >= from);
    if (first < 0) first = times.length;
    this.view = { times, columns, from, to, gapMs, first };
    this.#draw();
  }

  #resize() {
    const width = Math.round(this.plot.clientWidth);
    if (width === this.width || width === 0) return;
    this.width = width;
    attr(this.plot, "viewBox", `0 0 ${width} ${height}`);
    this.#draw();
  }

  #x(time) {
    const { from, to } = this.view;
    return margin.left + ((time - from) / Math.max(1, to - from)) * (this.width - margin.left - margin.right);
  }

  #draw() {
    if (!this.view) return;
    const { times, columns, first, gapMs } = this.view;
    let top = 0;
    let any = false;
    const said = [];
    this.series.forEach(({ name, label }, index) => {
      const column = columns[name] ?? [];
      let low = Infinity;
      let high = -Infinity;
      let sum = 0;
      let known = 0;
      for (let at = first; at < times.length; at += 1) {
        const value = column[at];
        if (value === null || value === undefined) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
        sum += value;
        known += 1;
      }
      top = Math.max(top, high);
      any ||= known > 0;
      const cells = this.rows[index].children;
      text(cells[2], known ? this.format(low) : "–");
      text(cells[3], known ? this.format(sum / known) : "–");
      text(cells[4], known ? this.format(high) : "–");
      if (known) said.push(`${label} ${this.format(low)} to ${this.format(high)}`);
    });
    attr(this.plot, "aria-label", `${this.title}, line chart. ${said.join("; ") || "No samples"}. Arrow keys read samples.`);
    this.#readout();
    if (this.width === 0) return;
    text(this.none, any ? "" : "No samples in this range");
    attr(this.none, "x", this.width / 2);
    const step = niceStep(top / 3, this.base);
    const ceiling = Math.max(step, Math.ceil(top / step) * step);
    const bottomY = height - margin.bottom;
    const y = (value) => bottomY - (value / ceiling) * (bottomY - margin.top);
    this.#drawGrid(ceiling, step, y);
    this.series.forEach(({ name }, index) => {
      const column = columns[name] ?? [];
      let path = "";
      let previous = null;
      for (let at = first; at < times.length; at += 1) {
        const value = column[at];
        if (value === null || value === undefined) {
          previous = null;
          continue;
        }
        const joined = previous !== null && times[at] - previous <= gapMs;
        path += `${joined ? "L" : "M"}${this.#x(times[at]).toFixed(1)} ${y(value).toFixed(1)}${joined ? "" : "h0.1"}`;
        previous = times[at];
      }
      attr(this.lines[index], "d", path);
    });
    this.#drawRule();
  }

  #drawGrid(ceiling, step, y) {
    const parts = [];
    for (let value = 0; value <= ceiling + step / 2; value += step) {
      parts.push(svg("line", { x1: margin.left, x2: this.width - margin.right, y1: y(value), y2: y(value) }));
      parts.push(svg("text", { x: margin.left - 6, y: y(value) + 4, "text-anchor": "end" }, this.format(value)));
    }
    const { from, to } = this.view;
    const every = [60, 120, 300, 600, 900, 1200].find((seconds) => (to - from) / 1000 / seconds <= this.width / 80) ?? 1800;
    for (let time = Math.ceil(from / 1000 / every) * every * 1000; time <= to; time += every * 1000) {
      const x = this.#x(time);
      parts.push(svg("text", { x, y: height - 5, "text-anchor": x > this.width - 24 ? "end" : "middle" }, clock(time).slice(-8, -3)));
    }
    const described = `${this.width} ${ceiling} ${from} ${to}`;
    if (this.drawnGrid !== described) {
      this.drawnGrid = described;
      this.grid.replaceChildren(...parts);
    }
  }

  #nearest(time) {
    const { times, first } = this.view;
    let best = null;
    for (let at = first; at < times.length; at += 1) {
      if (best === null || Math.abs(times[at] - time) <= Math.abs(times[best] - time)) best = at;
    }
    return best;
  }

  #point(clientX) {
    if (!this.view || this.width === 0) return;
    const x = clientX - this.plot.getBoundingClientRect().left;
    const { from, to } = this.view;
    const at = this.#nearest(from + ((x - margin.left) / (this.width - margin.left - margin.right)) * (to - from));
    this.#moveCursor(at === null ? null : this.view.times[at]);
  }

  #key(event) {
    if (!this.view || this.view.times.length <= this.view.first) return;
    const { times, first } = this.view;
    const at = this.cursor === null ? times.length : this.#nearest(this.cursor);
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: first, End: times.length - 1 }[event.key];
    if (event.key === "Escape") this.#moveCursor(null);
    else if (next !== undefined) {
      event.preventDefault();
      const index = Math.min(times.length - 1, Math.max(first, next));
      this.#moveCursor(times[index]);
      text(this.spoken, `${clock(times[index])}: ${this.series.map(({ label }, row) =>
        `${label} ${this.rows[row].children[1].textContent}`).join(", ")}`);
    }
  }

  #moveCursor(time) {
    if (this.cursor === time) return;
    this.cursor = time;
    this.#readout();
    this.#drawRule();
  }

  #readout() {
    if (!this.view) return;
    const { times, columns, first } = this.view;
    const at = this.cursor === null ? times.length - 1 : this.#nearest(this.cursor);
    text(this.at, this.cursor === null || at === null ? "Now" : clock(times[at]));
    this.series.forEach(({ name }, index) => {
      const value = at === null || at < first ? null : columns[name]?.[at];
      text(this.rows[index].children[1], value === null || value === undefined ? "–" : this.format(value));
    });
  }

  #drawRule() {
    const visible = this.cursor !== null && this.width > 0 && this.cursor >= this.view.from;
    attr(this.rule, "visibility", visible ? "visible" : "hidden");
    if (visible) {
      attr(this.rule, "x1", this.#x(this.cursor));
      attr(this.rule, "x2", this.#x(this.cursor));
    }
  }
}

function niceStep(rough, base) {
  if (!(rough > 0)) return 1;
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  return power * [1, 2, 5, 10, 20, 50, 100, 200, 500, 1024].find((factor) => factor * power >= rough);
}
