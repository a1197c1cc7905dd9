/** New rows of a relation as they come: by its stream, or where a node has none by asking again. */
import { poll } from "../dom/poll.js";
import { parseJson } from "./json.js";

/** Rows of a node without a stream are asked for so often. */
const ASK_EVERY_MS = 2_000;
/** Frames of a busy symbol are so far apart: the eye sees no more, and the page keeps its time. */
const FRAME_EVERY_MS = 100;

/** Follows rows until the signal.
 *
 *  `newest` asks for the rows to begin with. `onRows(rows, isWhole)` gets these (the newest first,
 *  `isWhole`), then those that follow (in order); without a stream the newest ones each time.
 *  `onGap()` is called when a gap becomes known, `onDelivery` is told `stream` or `polling`. */
export function follow({
  api, offer, signal, relation, parameters, newest, onRows, onGap, onFailure, onDelivery,
}) {
  const path = `/v1/${relation}`;
  let asking, source;

  function askAgain() {
    asking = new AbortController();
    const either = AbortSignal.any([signal, asking.signal]);
    poll(ask, () => ASK_EVERY_MS, { signal: either, onFailure });
  }

  async function ask(signal) {
    const { data, meta } = await api.ask(path, { ...parameters, ...newest }, { signal });
    if (signal.aborted) return;
    onRows(data, true);
    if (offer.get().isStreamed(relation)) listen(meta.token);
    else onDelivery("polling");
  }

  /** The stream goes on behind the answer's token: each row once. The browser connects again by itself
   *  and names the last frame's token, so that nothing is missing and nothing comes twice. */
  function listen(token) {
    asking.abort();
    const given = { ...parameters, from: token, batch_ms: FRAME_EVERY_MS };
    source = api.events(`${path}/stream`, given);
    source.addEventListener("open", () => onDelivery("stream"));
    source.addEventListener("rows", ({ data }) => onRows(parseJson(data).data, false));
    source.addEventListener("gap", onGap);
    source.addEventListener("error", () => {
      if (source.readyState !== source.CLOSED) return;
      onDelivery(null); // refused: start again from an answer, whose error says why
      askAgain();
    });
  }

  signal.addEventListener("abort", () => source?.close());
  askAgain();
}
