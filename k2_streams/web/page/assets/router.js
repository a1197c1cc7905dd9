/** The address of a view: `#/symbol?key=SIM:AAA`. What is shown can so be shared and gone back to. */
export const VIEWS = [
  ["overview", "Overview"],
  ["symbol", "Symbol"],
  ["time-travel", "Time travel"],
  ["replay", "Replay"],
  ["sql", "SQL"],
  ["operations", "Operations"],
];

/** View and parameters of an address; what it does not know is the overview. */
export function parseAddress(hash) {
  const [name, query] = hash.replace(/^#\/?/, "").split("?");
  const [view] = VIEWS.find(([known]) => known === name) ?? VIEWS[0];
  return { view, parameters: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a view; parameters without a value are left out. */
export function addressOf(view, parameters = {}) {
  const isGiven = ([, value]) => value !== undefined && value !== "";
  const given = Object.entries(parameters).filter(isGiven);
  return given.length ? `#/${view}?${new URLSearchParams(given)}` : `#/${view}`;
}
