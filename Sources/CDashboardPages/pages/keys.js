// Keys: one key's value, or a page of those with a prefix.

import { attr, button, el, field, keyed, select, show, text } from "./dom.js";
import { get } from "./api.js";
import { asHex, asText, bytesOf, parseHex, toBase64 } from "./bytestext.js";
import { dialog } from "./dialogs.js";
import { bytes, exact, plural } from "./format.js";
import { change, route } from "./route.js";

const previewBytes = 160;
const ways = [["text", "text"], ["hex", "hex"]];

/** The largest length up to `most` that doesn't end inside a character of UTF-8; of other bytes, nearly `most`. */
function wholeCharacters(content, most) {
  let end = most;
  while (end > most - 3 && (content[end] & 0xc0) === 0x80) end -= 1;
  return end;
}

export class Keys {
  constructor() {
    const { params } = route();
    this.way = params.way === "hex" ? "hex" : "text";
    this.key = el("input", { type: "text", id: "key", class: "wide", autocomplete: "off", spellcheck: "false" });
    this.prefix = el("input", { type: "text", id: "prefix", class: "wide", autocomplete: "off", spellcheck: "false", value: params.prefix });
    this.typed = select(ways, params.typed === "hex" ? "hex" : "text", (value) => change({ typed: value === "hex" ? "hex" : null }), { id: "typed" });
    this.limit = select([["20", "20"], ["50", "50"], ["100", "100"]], params.limit ?? "50", (value) => change({ limit: value === "50" ? null : value }), { id: "limit" });
    this.shownAs = el("div", { class: "segments", role: "group", "aria-label": "Show bytes as" }, ...ways.map(([name]) =>
      button(name === "text" ? "Text, escaped" : "Hex", () => this.#show(name), { "data-way": name })));
    this.found = el("p", { class: "answer", role: "status", id: "found" });
    this.value = el("pre", { class: "value", hidden: true, tabindex: "0", "aria-label": "Value" });
    this.scanned = el("p", { class: "answer", role: "status", id: "scanned" });
    this.body = el("tbody");
    this.table = el("div", { class: "scroll", hidden: true, role: "region", tabindex: "0", "aria-label": "Keys" },
      el("table", { class: "pairs" }, el("caption", { class: "hidden", text: "Keys and values" }), el("thead", {}, el("tr", {},
        ...["Key", "Value", "Bytes"].map((name) => el("th", { scope: "col", class: name === "Bytes" ? "number" : null, text: name })))), this.body));
    // Pages are of what was asked for, whatever stands in the fields by now.
    this.first = button("First page", () => this.#scan([], this.scanSettings));
    this.previous = button("Previous", () => this.#scan(this.afters.slice(0, -1), this.scanSettings));
    this.next = button("Next", () => this.#scan([...this.afters, this.pageAfter], this.scanSettings));
    this.pager = el("div", { class: "pager", hidden: true }, this.first, this.previous, this.next);
    const form = (action, ...content) => el("form", { class: "filters", on: { submit: (event) => { event.preventDefault(); action(); } } }, ...content);
    this.element = el("div", {}, el("h2", { text: "Keys" }),
      el("div", { class: "row" }, field("Keys and prefixes are typed as", this.typed), this.shownAs),
      el("section", { class: "card", "aria-labelledby": "get-title" }, el("h3", { id: "get-title", text: "Get one key" }),
        form(() => this.#get(), field("Key", this.key), el("button", { type: "submit", class: "primary", text: "Get" })), this.found, this.value),
      el("section", { class: "card", "aria-labelledby": "scan-title" }, el("h3", { id: "scan-title", text: "Scan by prefix" }),
        form(() => this.#scan([]), field("Prefix", this.prefix), field("Keys of a page", this.limit), el("button", { type: "submit", class: "primary", text: "Scan" })),
        this.scanned, this.table, this.pager));
    this.pairs = [];
    this.afters = [];
    this.#show(this.way);
  }

  // Nothing here comes with the updates: keys are asked for only on request.
  update() {}

  #show(way) {
    this.way = way;
    if (route().page === "keys") change({ way: way === "hex" ? "hex" : null });
    for (const node of this.shownAs.children) attr(node, "aria-pressed", String(node.dataset.way === way));
    this.#drawValue();
    this.#drawPairs();
  }

  #written(content) {
    return this.way === "hex" ? asHex(content) : asText(content);
  }

  #settings(name, string) {
    return this.typed.value === "hex" ? { [`${name}Base64`]: toBase64(parseHex(string)) } : { [name]: string };
  }

  async #get() {
    // A slow answer must not take the place of a later question's.
    const turn = (this.getTurn = (this.getTurn ?? 0) + 1);
    text(this.found, "Asking…");
    attr(this.found, "class", "answer");
    this.answer = null;
    try {
      const answer = await get("/api/keys/get", this.#settings("key", this.key.value));
      if (turn !== this.getTurn) return;
      this.answer = answer;
    } catch (error) {
      if (turn !== this.getTurn) return;
      attr(this.found, "class", "answer error");
      text(this.found, `✕ ${error.message}`);
    }
    this.#drawValue();
  }

  #drawValue() {
    const { answer } = this;
    show(this.value, Boolean(answer?.found));
    if (!answer) return;
    const where = `shard ${answer.shardId}, group ${answer.groupId}`;
    text(this.found, answer.found
      ? `✓ ${bytes(answer.bytes)}${answer.truncated ? ", cut" : ""}; ${where}`
      : `Not found; it would be in ${where}`);
    attr(this.found, "title", exact(answer.bytes, " bytes"));
    if (answer.found) text(this.value, this.#written(bytesOf(answer, "value") ?? new Uint8Array()));
  }

  async #scan(afters, asked) {
    const turn = (this.scanTurn = (this.scanTurn ?? 0) + 1);
    text(this.scanned, "Asking…");
    attr(this.scanned, "class", "answer");
    const wasDisabled = this.next.disabled;
    this.next.disabled = true;
    try {
      const settings = asked ?? { ...this.#settings("prefix", this.prefix.value), limit: this.limit.value };
      if (!asked) change({ prefix: this.prefix.value });
      const place = afters.length > 0 ? { afterBase64: afters.at(-1) } : {};
      const page = await get("/api/keys/scan", { ...settings, ...place }, 30000);
      if (turn !== this.scanTurn) return;
      this.scanSettings = settings;
      this.pairs = page.pairs;
      this.afters = afters;
      this.pageAfter = page.afterBase64;
      text(this.scanned, page.pairs.length === 0 ? "No keys." : `${plural(page.pairs.length, "key")} on page ${afters.length + 1}${page.more ? "; there are more" : "; the last page"}`);
      show(this.pager, page.more || afters.length > 0);
      this.first.disabled = this.previous.disabled = afters.length === 0;
      this.next.disabled = !page.more || !page.afterBase64;
      this.#drawPairs();
    } catch (error) {
      if (turn !== this.scanTurn) return;
      attr(this.scanned, "class", "answer error");
      text(this.scanned, `✕ ${error.message}`);
      this.next.disabled = wasDisabled;
    }
  }

  #drawPairs() {
    show(this.table, this.pairs.length > 0);
    keyed(this.body, this.pairs.map((pair, index) => ({ pair, index })), ({ index }) => index,
      () => el("tr", {}, el("th", { scope: "row", class: "code" }), el("td"), el("td", { class: "number" })),
      (row, { pair }) => this.#drawPair(row, pair));
  }

  #drawPair(row, pair) {
    const [keyCell, valueCell, size] = row.children;
    const key = bytesOf(pair, "key") ?? new Uint8Array();
    const value = bytesOf(pair, "value") ?? new Uint8Array();
    text(keyCell, this.#written(key));
    if (!valueCell.firstChild) valueCell.append(el("span", { class: "code" }));
    const short = value.length > previewBytes;
    text(valueCell.firstChild, this.#written(short ? value.subarray(0, wholeCharacters(value, previewBytes)) : value) + (short ? "…" : ""));
    valueCell.children[1]?.remove();
    if (short) {
      valueCell.append(button("Whole", () => {
        const node = dialog(`Value of ${asText(key).slice(0, 80)}`, el("pre", { class: "value", tabindex: "0", text: this.#written(value) }),
          el("p", { class: "muted", text: pair.truncated ? `Cut; the whole has ${exact(pair.bytes)} bytes.` : "" }),
          el("div", { class: "actions" }, button("Close", () => node.close(), { class: "primary" })));
      }, { class: "small", "aria-label": `Whole value of ${asText(key).slice(0, 80)}` }));
    }
    text(size, `${bytes(pair.bytes)}${pair.truncated ? ", cut" : ""}`);
    attr(size, "title", exact(pair.bytes, " bytes"));
  }

  close() {}
}
