import { matcher, nameOfTitle } from "./filter.js";
import { make } from "./shared.js";

// A list of numbered rows: its heads sort, a field above filters, a cursor moves through it. What a click means is the
// view's: `choose(row, event)`; after `changed()` it shows the list again. A column is {name, title, value(row), cells(row)}:
// what it filters and sorts by, and what its cells hold; without `cells` it is for the filter only. It may have a `hint`, a
// `rank(row)` to sort by, a `className` for its cells, and be `isRising`, the least value first. Where a kernel sorts, as
// it does not send all rows, it is told by `sortedBy(sort)`.
export class GridList {
  constructor({ label, choose, changed, sort = { name: "id", isDown: false }, isMultiple = true }) {
    this.prefix = `crsae-row-${Math.random().toString(36).slice(2)}-`;
    Object.assign(this, { choose, changed, sort, sortedBy: null, rows: [], cursor: -1, content: null });
    this.field = make("input", { type: "text", "aria-label": `Filter ${label.split(":")[0].toLowerCase()}`, placeholder: "filter (f)", oninput: () => this.changed(), onkeydown: (event) => this.leave(event) });
    this.found = make("span", { class: "crsae-summary", role: "status" });
    this.list = make("div", { class: "crsae-unit-list", tabindex: "0", role: "grid", "aria-multiselectable": String(isMultiple), "aria-label": label });
    this.node = make("div", { class: "crsae-grid" }, make("div", { class: "crsae-filter" }, this.field, this.found), this.list);
  }

  resize(width, height) {
    Object.assign(this.node.style, { width: `${width}px` });
    Object.assign(this.list.style, { height: `${height - this.node.firstChild.offsetHeight - 4}px` });
  }

  // Making rows takes longest: they are kept as long as `content`, all that they say, is the same.
  show(columns, count, { content, attributes, selected }) {
    Object.assign(this, { columns, count, attributes, selected });
    const text = JSON.stringify([content, this.sort, this.field.value]);
    if (text !== this.content) this.build();
    this.content = text;
    for (const row of this.list.querySelectorAll("tbody tr")) row.setAttribute("aria-selected", String(selected.has(Number(row.dataset.row))));
    this.moveCursor(this.cursor);
  }

  build() {
    const { columns, sort } = this;
    const shown = columns.filter((column) => column.cells);
    this.rows = this.sorted(this.filtered([...Array(this.count).keys()]));
    const heads = shown.map(({ name, title, hint, className }) => make("th", {
      scope: "col", role: "columnheader", class: className, "aria-sort": sort.name !== name ? "none" : sort.isDown ? "descending" : "ascending",
    }, make("button", { title: `Sort by ${hint ?? title}`, "data-sort": name, onclick: () => this.resort(name) },
      title + (sort.name !== name ? "" : sort.isDown ? " ▼" : " ▲"))));
    const body = this.rows.map((row) => make("tr", {
      id: `${this.prefix}${row}`, role: "row", "data-row": row, onclick: (event) => this.choose(row, event), ...this.attributes?.(row),
    }, ...shown.map(({ cells, className }) => make("td", { role: "gridcell", class: className }, ...cells(row)))));
    const scroll = this.list.scrollTop;
    this.list.replaceChildren(make("table", { role: "presentation" },
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), make("tbody", { role: "rowgroup" }, ...body)));
    this.list.scrollTop = scroll;
  }

  filtered(rows) {
    let kept = rows;
    try {
      kept = rows.filter(matcher(this.field.value, this.columns));
      this.field.removeAttribute("aria-invalid");
      this.found.textContent = kept.length < rows.length ? `${kept.length} of ${rows.length}` : "";
    } catch (problem) {
      this.field.setAttribute("aria-invalid", "true");
      this.found.textContent = problem.message;
    }
    const names = this.columns.map(({ title }) => nameOfTitle(title)).join(", ");
    const example = this.columns.find(({ value }) => rows.length && typeof value(rows[0]) === "number") ?? this.columns[0];
    this.field.title = `A word, or for instance ${nameOfTitle(example.title)} > 5 and not good. Names: ${names}`;
    return kept;
  }

  // Texts in their order, numbers by size, what is unknown last.
  sorted(rows) {
    const column = this.columns.find(({ name }) => name === this.sort.name);
    if (!column || this.sortedBy) return rows;
    const sign = this.sort.isDown ? -1 : 1;
    const isUnknown = (value) => value === "" || Number.isNaN(value);
    const rank = column.rank ?? column.value;
    return rows.sort((one, other) => {
      const [a, b] = [rank(one), rank(other)];
      if (isUnknown(a) || isUnknown(b)) return isUnknown(a) - isUnknown(b) || one - other;
      return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b) || one - other;
    });
  }

  resort(name) {
    const column = this.columns.find((other) => other.name === name);
    const isText = this.count > 0 && typeof column.value(0) === "string";
    this.sort = { name, isDown: this.sort.name === name ? !this.sort.isDown : !isText && !column.isRising };
    this.sortedBy?.(this.sort);
    this.changed();
  }

  // From the field back to the list: with what is found, or with everything.
  leave(event) {
    if (event.key !== "Enter" && event.key !== "Escape") return;
    event.stopPropagation();
    if (event.key === "Escape") this.search("");
    this.list.focus({ preventScroll: true });
  }

  search(text) {
    this.field.value = text;
    this.changed();
  }

  moveCursor(row) {
    this.cursor = row;
    const { list } = this;
    list.querySelector(".cursor")?.classList.remove("cursor");
    const node = row < 0 ? null : list.querySelector(`#${this.prefix}${row}`);
    if (!node) return list.removeAttribute("aria-activedescendant");
    node.classList.add("cursor");
    list.setAttribute("aria-activedescendant", node.id);
    // out from under the head of the table
    const headHeight = list.querySelector("thead").offsetHeight;
    const bottom = node.offsetTop + node.offsetHeight;
    if (node.offsetTop - headHeight < list.scrollTop) list.scrollTop = node.offsetTop - headHeight;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  }

  // The row so many further on; the first or last one at the ends; -1 where there is none.
  neighbor(by) {
    const place = this.rows.indexOf(this.cursor);
    return this.rows[place < 0 ? 0 : Math.min(Math.max(place + by, 0), this.rows.length - 1)] ?? -1;
  }
}
