/** The field in which a symbol is chosen: `EXCHANGE:SYMBOL`, from those that the node knows. */
import { field, h, newId } from "../dom/elements.js";

/** More names than a browser lists at once; any other can be typed. */
const MAX_LISTED = 2_000;

/** Exchange and symbol of `SIM:AAA`; without an exchange the symbol of all. An exchange holds no colon. */
export function keyParameters(key) {
  const at = key.indexOf(":");
  return at < 0 ? { symbol: key } : { exchange: key.slice(0, at), symbol: key.slice(at + 1) };
}

/** `onChoice()` is called when a symbol is chosen, and once by itself if none is and the node has some. */
export function createKeyField({ api }, value, onChoice) {
  const list = h("datalist", { id: newId("symbols") });
  const input = h("input", {
    value,
    list: list.id,
    placeholder: "EXCHANGE:SYMBOL",
    maxlength: 160,
    autocomplete: "off",
    spellcheck: "false",
    class: "key",
    on: { change: onChoice },
  });
  const ending = new AbortController();
  api.ask("/v1/symbols", {}, { signal: ending.signal }).then(
    ({ data }) => {
      list.replaceChildren(
        ...data
          .slice(0, MAX_LISTED)
          .map(row => h("option", { value: `${row.exchange}:${row.symbol}` })),
      );
      if (!input.value && data.length) {
        input.value = list.firstChild.value;
        onChoice();
      }
    },
    () => {},
  ); // the panels of the view say what is wrong; a symbol can still be typed
  return {
    node: h("div", { class: "field" }, field("Symbol", input), list),
    value: () => input.value.trim(),
    stop: () => ending.abort(),
  };
}
