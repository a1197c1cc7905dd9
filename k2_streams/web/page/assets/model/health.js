/** What of a node's status a person should see first. */

export const LEVELS = ["NORMAL", "SOFT", "GRACEFUL", "AGGRESSIVE", "CIRCUIT_BREAK"];
/** `good`, `warn` or `bad`: how a level, a state or an answer is coloured and marked. */
export const toneOfLevel = level =>
  level === "NORMAL" ? "good" : LEVELS.indexOf(level) >= 3 ? "bad" : "warn";
export const toneOfBreaker = state => ({ closed: "good", open: "bad" })[state] ?? "warn";
export const toneOfTask = state =>
  ({ running: "good", failed: "bad", fenced: "bad" })[state] ?? "warn";

/** All that is wrong with a node, as `{ tone, what, text }`, the worst first. */
export function problemsOf(status) {
  const bad = (what, text) => ({ tone: "bad", what, text }),
    warn = (what, text) => ({ tone: "warn", what, text });
  const found = [
    ...Object.entries(status.refused ?? {}).map(([name, reason]) =>
      bad(`Partition ${name} is refused`, reason),
    ),
    ...(status.unreadable_partitions ?? []).map(one =>
      bad(`${one.topic}-${one.partition} cannot be read`, `${one.error}: ${one.remedy}`),
    ),
    ...(status.topic_problems ?? []).map(one => bad(`Topic ${one.topic}`, one.problem)),
    ...Object.entries(status.partitions ?? {})
      .filter(([, one]) => one.error)
      .map(([name, one]) => bad(`Task of partition ${name} is ${one.state}`, one.error)),
    ...Object.entries(status.partitions ?? {})
      .filter(([, one]) => one.failure)
      .map(([name, { failure }]) =>
        warn(
          `Partition ${name} failed on records`,
          `offsets ${failure.offset} to ${failure.last_offset}: ${failure.error}`,
        ),
      ),
    ...Object.entries(status.background_tasks ?? {})
      .filter(([, one]) => one.state === "failed")
      .map(([name, one]) => bad(`Background task ${name} failed`, one.last_error ?? "")),
  ];
  for (const [name, log] of Object.entries(status.streams ?? {})) {
    if (log.sink?.error) found.push(bad(`Sink of ${name}`, log.sink.error));
    else if (log.sink?.retrying)
      found.push(warn(`Sink of ${name} retries`, String(log.sink.retrying)));
    if (log.tail?.error) found.push(bad(`Tail of ${name}`, log.tail.error));
    if (log.tail?.holds_source) found.push(bad(`Tail of ${name} is full`, "The source is paused."));
    if (log.maintenance?.error) found.push(warn(`Maintenance of ${name}`, log.maintenance.error));
    for (const [kind, words] of [
      ["breaker", "lake"],
      ["store_breaker", "store"],
    ])
      if (log[kind] && log[kind].state !== "closed")
        found.push(
          warn(
            `Breaker before the ${words} of ${name} is ${log[kind].state}`,
            `after ${log[kind].failures} failures`,
          ),
        );
  }
  if (status.level && status.level !== "NORMAL")
    found.push({
      tone: toneOfLevel(status.level),
      what: `Level ${status.level}`,
      text: "Work is deferred or paused under load.",
    });
  return found.sort((a, b) => Number(b.tone === "bad") - Number(a.tone === "bad"));
}
