/** Puts the page together: the node's description and status, the views, the sign-in. */
import { ANSWER_WITHIN_MS, STATUS_WITHIN_MS, createApi } from "./api/api.js";
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
/** `{ value, error }` each: what was last known stays beside the error of the newest question. */
const status = createStore({ value: null, error: null });
const metrics = createStore({ history: createHistory(), error: null });
const offer = createStore(NOTHING);
/** How rows reach the view that is open: `stream`, `polling` or nothing. */
const delivery = createStore(null);
const place = document.getElementById("view");
let current = null;

const shell = createShell({
  api,
  status,
  offer,
  delivery,
  onSession: () => {
    describe().finally(open);
  },
});
const context = {
  api,
  status,
  metrics,
  offer,
  delivery,
  signIn: shell.signIn,
  /** The view writes its own selection into the address; nothing is mounted again. */
  remember(view, parameters) {
    history.replaceState(null, "", addressOf(view, parameters));
  },
};

async function describe() {
  try {
    offer.set(offerOf(await api.ask("/v1/openapi.json", {}, { withinMs: STATUS_WITHIN_MS })));
  } catch (error) {
    status.set({ ...status.get(), error });
  }
}

function open() {
  const { view, parameters } = parseAddress(location.hash);
  current?.stop();
  delivery.set(null);
  place.replaceChildren();
  current = VIEW_OF[view](place, context, parameters);
  shell.show(view);
}

poll(
  async signal => {
    if (offer.get() === NOTHING) await describe();
    try {
      status.set({
        value: await api.ask("/v1/status", {}, { withinMs: STATUS_WITHIN_MS, signal }),
        error: null,
      });
    } catch (error) {
      if (!signal.aborted) status.set({ ...status.get(), error });
    }
  },
  () => STATUS_EVERY_MS,
);

poll(
  async signal => {
    const { history } = metrics.get();
    try {
      const text = await api.text("/metrics", { withinMs: ANSWER_WITHIN_MS, signal });
      history.add(
        performance.now() / 1000,
        parseMetrics(text, name => name.startsWith("k2_")),
      );
      metrics.set({ history, error: null });
    } catch (error) {
      if (!signal.aborted) metrics.set({ history, error });
    }
  },
  () => METRICS_EVERY_MS,
);

addEventListener("hashchange", open);
open();
