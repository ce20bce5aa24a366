// A table that sorts, pages and keeps its rows across updates. A page of rows bounds the nodes of the document.

import { attr, button, el, keyed, show, text } from "./dom.js";

// columns: {id, label, numeric?, header? (its cell names the row), value(row) to sort by, text(row), title?(row),
// mark?(row) gives the cell a class, fill?(cell, row) instead of text, wideOnly? leaves it out on a phone}
export class Table {
  constructor({ caption, columns, key, pageSize = 50, sort = null, descending = false, onView = () => {}, empty = "None." }) {
    Object.assign(this, { columns, key, pageSize, sort, descending, onView });
    this.page = 0;
    this.rows = [];
    this.headers = new Map();
    const head = el("tr");
    for (const column of columns) head.append(this.#header(column));
    this.body = el("tbody");
    this.range = el("span", { role: "status" });
    this.previous = button("Previous", () => this.#turn(-1));
    this.next = button("Next", () => this.#turn(1));
    this.pager = el("div", { class: "pager", hidden: true }, this.previous, this.range, this.next);
    this.empty = el("p", { class: "muted empty", text: empty, hidden: true });
    this.element = el("div", {},
      el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption },
        el("table", {}, el("caption", { class: "hidden", text: caption }), el("thead", {}, head), this.body)),
      this.empty, this.pager);
  }

  update(rows) {
    this.rows = rows;
    this.#draw();
  }

  // Of the page's settings in the URL.
  view({ sort, descending, page }) {
    this.sort = sort;
    this.descending = descending;
    this.page = page;
  }

  #header(column) {
    const cell = el("th", { scope: "col", class: classes(column) });
    if (column.value) {
      cell.append(button(column.label, () => this.#sortBy(column), { class: "sort" }));
      this.headers.set(column.id, cell);
    } else {
      cell.append(column.label);
    }
    return cell;
  }

  #sortBy(column) {
    if (this.sort === column.id) this.descending = !this.descending;
    else {
      this.sort = column.id;
      this.descending = Boolean(column.numeric) && column.id !== this.columns[0].id;
    }
    this.page = 0;
    this.#viewed();
  }

  #turn(step) {
    this.page += step;
    this.#viewed();
  }

  #viewed() {
    this.#draw();
    this.onView({ sort: this.sort, descending: this.descending, page: this.page });
  }

  #draw() {
    let rows = this.rows;
    const column = this.columns.find((each) => each.id === this.sort && each.value);
    if (column) {
      const sign = this.descending ? -1 : 1;
      // Equal rows stay in the order in which they came.
      rows = [...rows].sort((a, b) => sign * compare(column.value(a), column.value(b)));
    }
    for (const [id, cell] of this.headers) {
      attr(cell, "aria-sort", id === this.sort ? (this.descending ? "descending" : "ascending") : null);
    }
    const pages = Math.max(1, Math.ceil(rows.length / this.pageSize));
    this.page = Math.min(Math.max(0, this.page), pages - 1);
    const first = this.page * this.pageSize;
    const shown = rows.slice(first, first + this.pageSize);
    keyed(this.body, shown, this.key, () => this.#row(), (row, item) => this.#fill(row, item));
    show(this.pager, pages > 1);
    show(this.empty, rows.length === 0);
    if (pages > 1) {
      text(this.range, `${first + 1}–${first + shown.length} of ${rows.length.toLocaleString("en")}`);
      this.previous.disabled = this.page === 0;
      this.next.disabled = this.page === pages - 1;
    }
  }

  #row() {
    const row = el("tr");
    for (const column of this.columns) {
      row.append(el(column.header ? "th" : "td", { scope: column.header ? "row" : null, class: classes(column) }));
    }
    return row;
  }

  #fill(row, item) {
    let cell = row.firstChild;
    for (const column of this.columns) {
      if (column.fill) column.fill(cell, item);
      else text(cell, column.text(item));
      if (column.title) attr(cell, "title", column.title(item));
      if (column.mark) attr(cell, "class", classes(column, column.mark(item)));
      cell = cell.nextSibling;
    }
  }
}

function classes(column, mark = null) {
  return [column.numeric && "number", column.wideOnly && "wide-only", mark].filter(Boolean).join(" ") || null;
}

function compare(a, b) {
  // What isn't known goes last when ascending.
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
  if (b === null || b === undefined) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}
