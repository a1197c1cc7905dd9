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

/** `open(parameters)` opens the stream (an EventSource); `parameters()` and `interval()` are what is
 *  asked; `onChange` is called with all that is shown, at every frame. */
export function createPlayer({ open, parameters, interval, onChange }) {
  let source = null,
    state,
    bars,
    rows,
    total,
    token,
    timeText,
    end,
    problem;

  function reset() {
    source?.close();
    source = null;
    state = "idle";
    [bars, rows, total, token, timeText, end, problem] = [[], [], 0, null, "", null, null];
  }
  const look = (changed = [], isNewBars = true) => ({
    state,
    bars,
    isNewBars,
    changed,
    rows,
    total,
    timeText,
    end,
    problem,
    digits: digitsOf(rows.map(row => row.price)),
  });

  function play() {
    const isResumed = token !== null;
    source = open({ ...parameters(), ...(isResumed ? { from: token } : {}) });
    state = "playing";
    source.addEventListener("rows", take);
    source.addEventListener("end", event => {
      end = parseJson(event.data);
      finish("ended");
    });
    source.addEventListener("error", () => {
      if (source.readyState !== source.CLOSED) return;
      problem = new Error("The node refused the replay: check the symbol and the times.");
      finish("paused");
    });
    onChange(look([], false));
  }

  function take({ data, lastEventId }) {
    const found = parseJson(data).data,
      changed = new Set(),
      isFirst = !bars.length;
    for (const row of found) {
      if (!row.action)
        for (const bar of fold(bars, row, secondsOf(interval())) ?? []) changed.add(bar);
      timeText = `${row.exchange_time.slice(0, 10)} ${timeOfText(row.exchange_time)}`;
    }
    total += found.length;
    token = lastEventId || token;
    rows = merged(rows, found);
    onChange(
      look(
        [...changed].sort((a, b) => a.time - b.time),
        isFirst,
      ),
    );
  }

  function finish(next) {
    source?.close();
    source = null;
    state = next;
    onChange(look([], false));
  }

  reset();
  return {
    look,
    toggle() {
      if (state === "playing") {
        finish("paused");
        return;
      }
      if (state === "ended") reset();
      problem = null;
      play();
    },
    rewind() {
      reset();
      onChange(look());
    },
    close() {
      source?.close();
    },
  };
}
