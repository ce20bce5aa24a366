// The samples of the last hour: from /api/history, with live ones appended from each update.

import { get } from "./api.js";
import { instant } from "./format.js";

const keptMs = 3600 * 1000;

export class Samples {
  times = [];
  series = {};
  intervalMs = 5000;
  error = null;
  #loadedSeconds = 0;
  #loading = false;

  // Asks for `seconds` back unless they are here already.
  async want(seconds, done) {
    if (this.#loading || this.#loadedSeconds >= seconds) return;
    this.#loading = true;
    try {
      this.#merge(await get("/api/history", { window: seconds }));
      this.#loadedSeconds = seconds;
      this.error = null;
    } catch (error) {
      this.error = error.message;
    } finally {
      this.#loading = false;
      done();
    }
  }

  append(data) {
    const { metrics, status } = data;
    const at = instant(status.collectedAt) ?? instant(metrics.updatedAt);
    const last = this.times.at(-1);
    if (at === null || at === last) return;
    this.intervalMs = status.updateIntervalMs || this.intervalMs;
    // The server's clock was set back, or it is another server: what was later is of no time now.
    if (last !== undefined && at < last) this.#dropFrom(at);
    // Updates were missed here that the server has.
    if (last !== undefined && Math.abs(at - last) > this.gapMs) this.#loadedSeconds = 0;
    const values = {
      "fsync.p50Ms": metrics.fsync?.p50Ms, "fsync.p99Ms": metrics.fsync?.p99Ms,
      lagEntries: metrics.replicationLag?.entries, keys: metrics.totalKeys, storage: metrics.totalStorage,
      healthyNodes: metrics.healthyNodes,
    };
    for (const each of metrics.operations) {
      values[`operations.${each.operation}`] = each.perSecond;
      values[`p50Ms.${each.operation}`] = each.p50Ms;
      values[`p99Ms.${each.operation}`] = each.p99Ms;
    }
    this.#push(at, values);
    let old = 0;
    while (this.times[old] < at - keptMs) old += 1;
    if (old > 0) {
      this.times.splice(0, old);
      for (const column of Object.values(this.series)) column.splice(0, old);
    }
  }

  // Longer without a sample, and there is none: a node that hangs makes an update two seconds late.
  get gapMs() {
    return 2.5 * Math.max(1000, this.intervalMs) + 2000;
  }

  #dropFrom(at) {
    const kept = this.times.findIndex((time) => time >= at);
    if (kept < 0) return;
    this.times.length = kept;
    for (const column of Object.values(this.series)) column.length = kept;
  }

  #push(at, values) {
    for (const name of Object.keys(values)) this.series[name] ??= new Array(this.times.length).fill(null);
    this.times.push(at);
    for (const [name, column] of Object.entries(this.series)) column.push(values[name] ?? null);
  }

  // What was asked for replaces what is here, except newer samples.
  #merge(body) {
    if (!Array.isArray(body?.times) || typeof body.series !== "object" || body.series === null) {
      throw new Error("the dashboard's history isn't one");
    }
    const { times, series } = this;
    this.times = body.times.slice();
    this.series = {};
    for (const [name, column] of Object.entries(body.series)) {
      this.series[name] = this.times.map((_, index) => column[index] ?? null);
    }
    this.intervalMs = body.intervalMs || this.intervalMs;
    const last = this.times.at(-1) ?? -Infinity;
    for (let index = 0; index < times.length; index += 1) {
      if (times[index] > last) {
        this.#push(times[index], Object.fromEntries(Object.keys(series).map((name) => [name, series[name][index]])));
      }
    }
  }
}
