/** A replay: a stream that is played, paused and begun again, and the bars and rows of it so far.
 *
 *      idle --play--> playing <--pause, go on--> paused
 *        ^               |  \--last frame--> ended
 *        \--- rewind ----+-- (from any state)
 */
import { parseJson } from "../api/json.js";
import { timeOfText } from "../format.js";
import { digitsOf, fold, secondsOf } from "./bars.js";
import { merged } from "./tape.js";

/** `open(parameters)` opens the stream (an EventSource), of what `parameters()` asks; `interval()` is
 *  the length of a bar. `onChange` gets all that is shown, at every frame: `changed` are the bars of it,
 *  if not `isNewBars`. */
export function createPlayer({ open, parameters, interval, onChange }) {
  let source = null,
    token,
    shown;

  function reset() {
    source?.close();
    token = null;
    shown = { state: "idle", bars: [], rows: [], total: 0, timeText: "", end: null, problem: null };
  }
  const tell = (changed = [], isNewBars = false) =>
    onChange({ ...shown, changed, isNewBars, digits: digitsOf(shown.rows.map(row => row.price)) });

  function play() {
    source = open({ ...parameters(), ...(token && { from: token }) });
    Object.assign(shown, { state: "playing", problem: null });
    source.addEventListener("rows", take);
    source.addEventListener("end", ({ data }) => stop("ended", { end: parseJson(data) }));
    source.addEventListener("error", () => {
      if (source.readyState !== source.CLOSED) return;
      const problem = new Error("The node refused the replay: check the symbol and the times.");
      stop("paused", { problem });
    });
    tell();
  }

  function take({ data, lastEventId }) {
    const found = parseJson(data).data,
      changed = new Set(),
      isFirst = shown.bars.length === 0;
    for (const row of found) {
      const { action, exchange_time: time } = row;
      const bars = action ? [] : fold(shown.bars, row, secondsOf(interval()));
      for (const bar of bars ?? []) changed.add(bar);
      shown.timeText = `${time.slice(0, 10)} ${timeOfText(time)}`;
    }
    shown.total += found.length;
    shown.rows = merged(shown.rows, found);
    token = lastEventId || token;
    tell([...changed].sort((a, b) => a.time - b.time), isFirst);
  }

  function stop(state, more) {
    source.close();
    Object.assign(shown, { state, ...more });
    tell();
  }

  reset();
  return {
    toggle() {
      if (shown.state === "playing") return stop("paused");
      if (shown.state === "ended") reset();
      play();
    },
    rewind() {
      reset();
      tell([], true);
    },
    close: () => source?.close(),
  };
}
