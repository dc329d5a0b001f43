import { answers, make } from "./shared.js";

const SPOKEN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", "+": "+", PageUp: "Page Up", PageDown: "Page Down" };

// The name of a key as tables have it: Cmd counts as Ctrl, and Shift is in the key itself.
function nameOf(event) {
  if (event.altKey) return "";
  return (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + event.key;
}

const spoken = (name) => name.split(/(?<=.)\+(?=.)/).map((part) => make("kbd", {}, SPOKEN[part] ?? part));

// Gives parts of a view their keys, and the view the list of them, which ? opens. A table is {on, title, rows}, each row
// [names of the keys, what they do, action, kind of message that it needs]; `rows` may be a function. Without an action
// a row tells of a click. The first table that knows a key acts, that of a part before that of the whole.
export function listenToKeys(view, model, tables, isReady) {
  const rowsOf = (table) => (typeof table.rows === "function" ? table.rows() : table.rows);
  for (const table of tables) {
    table.on.addEventListener("keydown", (event) => {
      if (!isReady() || event.target.closest("input, select, dialog")) return;
      const act = rowsOf(table).find(([names, , action]) => action && names.includes(nameOf(event)))?.[2];
      if (!act) return;
      event.preventDefault();
      event.stopPropagation();
      act(event);
    });
  }
  const dialog = make("dialog", { class: "crsae-keys", "aria-label": "Keys of this view" });
  function open() {
    const close = make("button", { onclick: () => dialog.close() }, "close");
    const parts = tables.flatMap((table) => {
      const rows = rowsOf(table).filter(([, , , needs]) => !needs || answers(model, needs));
      return [make("h5", {}, table.title), make("table", {}, ...rows.map(([names, says]) =>
        make("tr", {}, make("th", { scope: "row" }, ...names.flatMap((name) => [...spoken(name), " "])), make("td", {}, says))))];
    });
    dialog.replaceChildren(...parts, close);
    dialog.showModal();
    close.focus();
  }
  const help = make("button", { title: "List of keys (?)", "aria-label": "List of keys (?)", class: "crsae-help", onclick: open }, "?");
  view.tools.append(help);
  view.root.append(dialog);
  view.root.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.target.closest("input, select")) return;
    event.preventDefault();
    event.stopPropagation();
    if (dialog.open) dialog.close();
    else open();
  });
}

// What keys do in a list of units, where `step(change, event)` moves the cursor and selects.
export function listRows(step, length, toggle) {
  const both = (name) => [name, `Ctrl+${name}`];
  return [
    [both("ArrowUp"), "select the unit above; with Shift: add it; with Ctrl: only go there", (event) => step(-1, event)],
    [both("ArrowDown"), "the unit below", (event) => step(1, event)],
    [both("PageUp"), "ten units up", (event) => step(-10, event)],
    [both("PageDown"), "ten units down", (event) => step(10, event)],
    [both("Home"), "the first unit", (event) => step(-length(), event)],
    [both("End"), "the last unit", (event) => step(length(), event)],
    [["Enter", " "], "add the unit, or take it away", toggle],
  ];
}
