/** The form above a view: a symbol, and choices about it. */
import { createForm, field, h, newId, select } from "../dom/elements.js";

/** More names than a browser lists at once; any other can be typed. */
const MAX_LISTED = 2_000;

/** Exchange and symbol of `SIM:AAA`; without an exchange the symbol of all. An exchange holds no colon. */
export function keyParameters(key) {
  const at = key.indexOf(":");
  return at < 0 ? { symbol: key } : { exchange: key.slice(0, at), symbol: key.slice(at + 1) };
}

/** An instant as a query has it, of a `datetime-local` field. */
export const instantOf = text => (text ? `${text.padEnd(19, ":00")}Z` : "");
/** A field of a time in UTC. */
export const timeField = (value, change) =>
  h("input", { type: "datetime-local", step: 1, value, on: { change } });

/** What is chosen is kept in `asked` and in the address; `onChoice(change)` is called when it changes.
 *  `choices` are `[name, label, options]`, without options a time. `onSubmit` is what Enter does, if not
 *  to take the symbol; `more` stands behind the fields. `controls` holds the fields by name. */
export function createSelection(context, asked, { choices, onChoice, onSubmit, more = [] }) {
  const { input, list } = createKeyField(context, asked.key, takeKey),
    controls = { key: input };
  function choose(change) {
    Object.assign(asked, change);
    onChoice(change);
    context.remember(asked);
  }
  function takeKey() {
    choose({ key: input.value.trim() });
  }
  const fields = choices.map(([name, label, options]) => {
    const change = () => choose({ [name]: controls[name].value });
    controls[name] = options
      ? select(options, asked[name], change)
      : timeField(asked[name], change);
    return field(label, controls[name]);
  });
  const key = h("div.field", field("Symbol", input), list);
  const node = createForm("controls", onSubmit ?? takeKey, key, fields, more);
  return { node, controls };
}

/** `EXCHANGE:SYMBOL`, from those that the node knows; the first of them where none is chosen. */
function createKeyField({ api, signal }, value, onChoice) {
  const list = h("datalist", { id: newId("symbols") });
  const input = h("input.key", {
    value,
    list: list.id,
    placeholder: "EXCHANGE:SYMBOL",
    maxlength: 160,
    autocomplete: "off",
    spellcheck: "false",
    on: { change: onChoice },
  });
  async function fill() {
    const { data } = await api.ask("/v1/symbols", {}, { signal });
    const names = data.slice(0, MAX_LISTED).map(row => `${row.exchange}:${row.symbol}`);
    list.replaceChildren(...names.map(name => h("option", { value: name })));
    if (input.value || !names.length) return;
    input.value = names[0];
    onChoice();
  }
  fill().catch(() => {}); // the panels of the view say what is wrong; a symbol can still be typed
  return { input, list };
}
