/** Runs `work` now and again `everyMs()` after it ended: never twice at once, not while nobody looks,
 *  and no more after the signal. `work` takes the signal; why it failed goes to `onFailure`.
 *  Returns what runs it at once. */
export function poll(work, everyMs, { signal, onFailure }) {
  let timer = 0,
    isRunning = false,
    isWanted = false;
  async function run() {
    clearTimeout(timer);
    isWanted = isRunning;
    if (isRunning || document.hidden || signal.aborted) return;
    isRunning = true;
    try {
      await work(signal);
    } catch (error) {
      if (!signal.aborted) onFailure(error);
    }
    isRunning = false;
    if (!signal.aborted) timer = setTimeout(run, isWanted ? 0 : everyMs());
  }
  document.addEventListener("visibilitychange", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  run();
  return run;
}
