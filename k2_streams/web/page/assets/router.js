/** The address of a view: `#/symbol?key=SIM:AAA`. What is shown can so be shared and gone back to. */
export const VIEWS = [
  ["overview", "Overview"],
  ["symbol", "Symbol"],
  ["time-travel", "Time travel"],
  ["replay", "Replay"],
  ["sql", "SQL"],
  ["operations", "Operations"],
];
const NAMES = new Set(VIEWS.map(([name]) => name));

/** View and parameters of an address; what it does not know is the overview. */
export function parseAddress(hash) {
  const [name, query = ""] = hash.replace(/^#\/?/, "").split("?");
  return {
    view: NAMES.has(name) ? name : "overview",
    parameters: Object.fromEntries(new URLSearchParams(query)),
  };
}

/** The address of a view; parameters without a value are left out. */
export function addressOf(view, parameters = {}) {
  const given = Object.entries(parameters).filter(
    ([, value]) => value !== undefined && value !== "",
  );
  return given.length ? `#/${view}?${new URLSearchParams(given)}` : `#/${view}`;
}
