// The newest Dashboard, kept up to date: by the stream, by asking while the stream fails, and with growing pauses while
// nothing answers. It knows how old the data is.

import { get } from "./api.js";
import { instant } from "./format.js";

const firstPauseMs = 1000;
const longestPauseMs = 15000;
const staleIntervals = 3;
// What the server waits for nodes that don't answer, and some more.
const lookMs = 5000;

export class Feed {
  data = null;
  // By this browser's clock.
  freshAt = null;
  startedAt = Date.now();
  lostSince = null;
  error = null;
  way = "connecting";
  listeners = [];
  #source = null;
  #timer = 0;
  #pauseMs = firstPauseMs;
  #streamFailures = 0;
  #asking = false;
  #lastProbe = 0;
  #streamOpenedAt = 0;
  #clockOffset = 0;

  start() {
    this.#openStream();
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.retryNow());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.isStale()) this.retryNow();
    });
  }

  get intervalMs() {
    return this.data?.status.updateIntervalMs || 5000;
  }

  // The server's clock, as far as the last update tells: relative times don't suffer from a wrong clock here.
  now() {
    return Date.now() - this.#clockOffset;
  }

  isStale() {
    if (this.lostSince !== null) return true;
    return Date.now() - (this.freshAt ?? this.startedAt) > staleIntervals * this.intervalMs + lookMs;
  }

  retryNow() {
    this.#pauseMs = firstPauseMs;
    this.#ask();
  }

  #openStream() {
    this.#closeStream();
    const source = new EventSource("/api/stream");
    this.#source = source;
    this.#streamOpenedAt = Date.now();
    source.addEventListener("dashboard", (event) => {
      let body = null;
      try {
        body = JSON.parse(event.data);
      } catch {
        // Taken below as what it is: no Dashboard.
      }
      if (this.#take(body)) {
        this.way = "stream";
        // One that is cut after each update isn't worth its beginning.
        if (Date.now() - this.#streamOpenedAt > 2 * this.intervalMs) this.#streamFailures = 0;
        clearTimeout(this.#timer);
      } else {
        this.#streamFailed();
      }
    });
    source.onerror = () => this.#streamFailed();
  }

  #closeStream() {
    if (this.#source) {
      this.#source.onerror = null;
      this.#source.close();
      this.#source = null;
    }
  }

  #streamFailed() {
    this.#closeStream();
    this.#streamFailures += 1;
    this.#schedule(this.#streamFailures === 1 ? 0 : this.#pauseMs);
  }

  #schedule(pauseMs) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), pauseMs);
  }

  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const body = await get("/api/dashboard");
      if (!this.#take(body)) throw new Error("the dashboard's answer isn't a Dashboard");
      this.#pauseMs = firstPauseMs;
      if (!this.#source) {
        this.way = "polling";
        // A proxy may not let streams through: then it is tried ever more rarely, and asked for in between.
        const due = this.#streamFailures <= 3 || this.#streamFailures % 8 === 0;
        if (due) this.#openStream();
        else {
          this.#streamFailures += 1;
          this.#schedule(this.intervalMs);
        }
      }
    } catch (error) {
      this.lostSince ??= Date.now();
      this.error = error.message;
      this.way = "lost";
      this.#closeStream();
      this.#schedule(this.#pauseMs);
      this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 2);
      this.#notify();
    } finally {
      this.#asking = false;
    }
  }

  // A connection may be dead without an error, so silence is reason enough to ask.
  #watch() {
    const now = Date.now();
    const patienceMs = staleIntervals * this.intervalMs;
    if (this.lostSince === null && this.isStale() && now - this.#lastProbe > patienceMs) {
      this.#lastProbe = now;
      this.#closeStream();
      this.#streamFailures += 1;
      this.#ask();
    }
    this.#notify("tick");
  }

  #take(body) {
    if (!isDashboard(body)) return false;
    const before = this.data?.status;
    const isNew = !before || before.sequence !== body.status.sequence || before.collectedAt !== body.status.collectedAt;
    this.lostSince = null;
    this.error = null;
    if (isNew) {
      this.data = body;
      this.freshAt = Date.now();
      const collectedAt = instant(body.status.collectedAt);
      if (collectedAt !== null) this.#clockOffset = this.freshAt - collectedAt;
    }
    this.#notify();
    return true;
  }

  #notify(what = "data") {
    for (const listener of this.listeners) listener(what);
  }
}

function isDashboard(body) {
  const { topology, metrics, shards, moves, events, status } = body ?? {};
  return Boolean(topology && Array.isArray(topology.shardGroups) && topology.configCluster
    && Array.isArray(topology.configCluster.nodes) && metrics && Array.isArray(metrics.operations)
    && Array.isArray(shards) && moves && Array.isArray(moves.live) && Array.isArray(moves.history)
    && Array.isArray(events) && status && Array.isArray(status.missing));
}
