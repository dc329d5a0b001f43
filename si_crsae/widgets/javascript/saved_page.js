// Stands in for the model that Jupyter gives a widget: it answers what the page holds, and says so where it does not.
// A test may connect `receive` to a kernel of its own.
function restored(value) {
  if (Array.isArray(value)) return value.map(restored);
  if (value === null || typeof value !== "object") return value;
  const copy = Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, restored(entry)]));
  if (typeof copy.data === "string" && copy.dtype) {
    copy.data = new DataView(Uint8Array.from(atob(copy.data), (letter) => letter.charCodeAt(0)).buffer);
  }
  return copy;
}
const { held, ...saved } = JSON.parse(document.getElementById("state").textContent);
const isPlain = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !ArrayBuffer.isView(value) && !value.dtype;
function merged(old, changes) {
  if (!isPlain(old) || !isPlain(changes)) return changes;
  return { ...old, ...Object.fromEntries(Object.entries(changes).map(([name, value]) => [name, merged(old[name], value)])) };
}
const listeners = {};
// What a view draws by itself of a message that the page lists; of others that it lists, the view has drawn all.
const local = {
  select_units({ unit_ids: ids }) {
    const { payload } = model.state;
    return { payload: { ...payload, selected: payload.unit_ids ? ids.map((id) => payload.unit_ids.indexOf(id)) : ids } };
  },
  go_to({ time_s }) {
    return "cursor_s" in model.state ? { cursor_s: time_s } : { payload: { ...model.state.payload, cursor_s: time_s } };
  },
};
const model = {
  isStatic: true,
  held,
  state: restored(saved),
  get(name) { return this.state[name]; },
  set(name, value) { this.state[name] = value; this.emit("change:" + name); },
  save_changes() {},
  // Whether the page can answer a kind of message at all.
  answers(kind) {
    return held.kinds.includes(kind) || Object.keys(held.answers).some((key) => key.startsWith(`{"kind":"${kind}"`));
  },
  isSelected(ids) {
    const { selected = [], unit_ids: names, detail, overview } = this.state.payload;
    const known = names ?? overview?.unit_ids ?? detail?.pictures.overview.unit_ids ?? [];
    return ids.join() === selected.map((unit) => known[unit] ?? unit).join();
  },
  send(message) {
    if (!this.isStatic || (message.kind === "select_units" && this.isSelected(message.unit_ids))) return;
    const answer = held.answers[JSON.stringify(message)];
    this.set("refused", !answer && !held.kinds.includes(message.kind));
    if (answer) this.set("payload", merged(this.state.payload, restored(answer)));
    else if (held.kinds.includes(message.kind)) {
      for (const [name, value] of Object.entries(local[message.kind]?.(message) ?? {})) this.set(name, value);
    }
  },
  on(name, listener) { (listeners[name] ??= []).push(listener); },
  off(name, listener) { listeners[name] = (listeners[name] ?? []).filter((other) => other !== listener); },
  emit(name) { for (const listener of listeners[name] ?? []) listener(); },
  receive(changes) { for (const [name, value] of Object.entries(changes)) this.set(name, restored(value)); },
};
window.model = model;
view.render({ model, el: document.getElementById("view") });
