/** Runs `work` now and again `everyMs` after it ended: never twice at once, and not while nobody
 *  looks. `work` takes an AbortSignal. `now()` runs it at once, `end()` ends it. */
export function poll(work, everyMs) {
  const ending = new AbortController();
  let timer = 0,
    isRunning = false,
    isWanted = false;
  async function run() {
    clearTimeout(timer);
    isWanted = isRunning;
    if (isRunning || document.hidden || ending.signal.aborted) return;
    isRunning = true;
    try {
      await work(ending.signal);
    } finally {
      isRunning = false;
      if (!ending.signal.aborted) timer = setTimeout(run, isWanted ? 0 : everyMs());
    }
  }
  document.addEventListener("visibilitychange", run, { signal: ending.signal });
  run();
  return {
    now: run,
    end() {
      ending.abort();
      clearTimeout(timer);
    },
  };
}
