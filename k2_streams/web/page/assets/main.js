/** Puts the page together: the node's description and status, the views, the sign-in. */
import { STATUS_WITHIN_MS, createApi } from "./api/api.js";
import { NOTHING, offerOf } from "./api/offer.js";
import { poll } from "./dom/poll.js";
import { createShell } from "./dom/shell.js";
import { createHistory } from "./model/history.js";
import { parseMetrics } from "./model/metrics.js";
import { addressOf, parseAddress } from "./router.js";
import { createStore } from "./store.js";
import { operationsView } from "./views/operations.js";
import { overviewView } from "./views/overview.js";
import { replayView } from "./views/replay.js";
import { sqlView } from "./views/sql.js";
import { symbolView } from "./views/symbol.js";
import { timeTravelView } from "./views/time_travel.js";

const STATUS_EVERY_MS = 2_000,
  METRICS_EVERY_MS = 5_000;
const VIEW_OF = {
  overview: overviewView,
  symbol: symbolView,
  "time-travel": timeTravelView,
  replay: replayView,
  sql: sqlView,
  operations: operationsView,
};

const api = createApi({ fetch: (...given) => fetch(...given), EventSource });
/** `{ value, error }`: what was last known stays beside the error of the newest question. */
const status = createStore({ value: null, error: null });
const metrics = createStore({ history: createHistory(), error: null });
const offer = createStore(NOTHING);
/** How rows reach the view that is open: `stream`, `polling` or nothing. */
const delivery = createStore(null);
const page = new AbortController();
const place = document.getElementById("view");
let current = new AbortController();

const shell = createShell({
  api, status, offer, delivery,
  signal: page.signal,
  onSession: () => describe().catch(fail).finally(open),
});

const fail = error => status.set({ ...status.get(), error });
const within = signal => ({ withinMs: STATUS_WITHIN_MS, signal });

async function describe(signal) {
  offer.set(offerOf(await api.ask("/v1/openapi.json", {}, within(signal))));
}

/** A view gets what is known of the node, and the signal that ends it. */
function open() {
  const { view, parameters } = parseAddress(location.hash);
  current.abort();
  current = new AbortController();
  delivery.set(null);
  place.replaceChildren();
  const context = {
    api, status, metrics, offer, delivery,
    signal: current.signal,
    /** The view writes its own selection into the address; nothing is mounted again. */
    remember: selection => history.replaceState(null, "", addressOf(view, selection)),
  };
  VIEW_OF[view](place, context, parameters);
  shell.show(view);
}

poll(
  async signal => {
    if (offer.get() === NOTHING) await describe(signal);
    status.set({ value: await api.ask("/v1/status", {}, within(signal)), error: null });
  },
  () => STATUS_EVERY_MS,
  { signal: page.signal, onFailure: fail },
);

poll(
  async signal => {
    const { history } = metrics.get();
    const samples = parseMetrics(await api.text("/metrics", { signal }));
    history.add(performance.now() / 1000, samples);
    metrics.set({ history, error: null });
  },
  () => METRICS_EVERY_MS,
  { signal: page.signal, onFailure: error => metrics.set({ ...metrics.get(), error }) },
);

addEventListener("hashchange", open);
open();
