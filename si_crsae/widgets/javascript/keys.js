import { answers, make } from "./shared.js";

const SPOKEN = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "Space", "+": "+", PageUp: "Page Up", PageDown: "Page Down" };

// The name of a key as tables have it: Cmd counts as Ctrl, and Shift is in the key itself.
function nameOf(event) {
  if (event.altKey) return "";
  return (event.ctrlKey || event.metaKey ? "Ctrl+" : "") + event.key;
}

// Whether a key presses what has the focus, such as the head of a column in a list that has keys of its own.
const presses = (event) => ["Enter", " "].includes(event.key) && event.target.closest("button, summary");

const spoken = (name) => name.split(/(?<=.)\+(?=.)/).map((part) => make("kbd", {}, SPOKEN[part] ?? part));

// Gives parts of a view their keys, and the view the list of them, which ? opens. A table is {on, title, rows}, each row
// [names of the keys, what they do, action, kind of message that it needs]; `rows` may be a function. Without an action
// a row tells of a click. The first table that knows a key acts, that of a part before that of the whole.
export function listenToKeys(view, model, tables, isReady) {
  const rowsOf = (table) => (typeof table.rows === "function" ? table.rows() : table.rows);
  for (const table of tables) {
    table.on.addEventListener("keydown", (event) => {
      if (!isReady() || event.target.closest("input, select, dialog") || presses(event)) return;
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

// How far keys go in a list of so many rows, and where that is.
const moves = (length) => [
  ["ArrowUp", "above", -1], ["ArrowDown", "below", 1], ["PageUp", "ten rows up", -10], ["PageDown", "ten rows down", 10],
  ["Home", "in the first row", -length()], ["End", "in the last row", length()],
];

// What keys do in a list of which one row is chosen, where `step(change)` moves the cursor and chooses.
export const chooserRows = (step, length) => moves(length).map(([name, where, by]) => [[name], `choose the one ${where}`, () => step(by)]);

// What keys do in a list of units, where `step(change, event)` moves the cursor and selects.
export function listRows(step, length, toggle) {
  return [
    ...moves(length).map(([name, where, by], place) => [
      [name, `Ctrl+${name}`], `select the unit ${where}${place ? "" : "; with Shift: add it; with Ctrl: only go there"}`, (event) => step(by, event),
    ]),
    [["Enter", " "], "add the unit, or take it away", toggle],
  ];
}
