/** What of a node's status a person should see first. */

export const LEVELS = ["NORMAL", "SOFT", "GRACEFUL", "AGGRESSIVE", "CIRCUIT_BREAK"];
/** `good`, `warn` or `bad`: how a level, a state or an answer is coloured and marked. */
export const toneOfLevel = level =>
  level === "NORMAL" ? "good" : LEVELS.indexOf(level) >= 3 ? "bad" : "warn";
export const toneOfBreaker = state => ({ closed: "good", open: "bad" })[state] ?? "warn";
export const toneOfTask = state =>
  ({ running: "good", failed: "bad", fenced: "bad" })[state] ?? "warn";

/** The values of an object by name, each with its name. */
export const named = found => Object.entries(found ?? {}).map(([name, one]) => ({ name, ...one }));

/** All that is wrong with a node, as `{ tone, what, text }`, the worst first. */
export function problemsOf(status) {
  const found = [];
  /** Something is wrong where there is a text. */
  function add(tone, what, text) {
    if (text !== null && text !== undefined && text !== false) found.push({ tone, what, text });
  }
  for (const [name, reason] of Object.entries(status.refused ?? {}))
    add("bad", `Partition ${name} is refused`, reason);
  for (const { topic, partition, error, remedy } of status.unreadable_partitions ?? [])
    add("bad", `${topic}-${partition} cannot be read`, `${error}: ${remedy}`);
  for (const { topic, problem } of status.topic_problems ?? [])
    add("bad", `Topic ${topic}`, problem);
  for (const { name, state, error, failure } of named(status.partitions)) {
    add("bad", `Task of partition ${name} is ${state}`, error);
    if (failure)
      add(
        "warn",
        `Partition ${name} failed on records`,
        `offsets ${failure.offset} to ${failure.last_offset}: ${failure.error}`,
      );
  }
  for (const { name, state, last_error: error } of named(status.background_tasks))
    add("bad", `Background task ${name} failed`, state === "failed" && (error ?? ""));
  for (const { name, sink, tail, maintenance, ...log } of named(status.streams)) {
    add("bad", `Sink of ${name}`, sink?.error);
    add("warn", `Sink of ${name} retries`, !sink?.error && sink?.retrying);
    add("bad", `Tail of ${name}`, tail?.error);
    add("bad", `Tail of ${name} is full`, tail?.holds_source && "The source is paused.");
    add("warn", `Maintenance of ${name}`, maintenance?.error);
    for (const [place, breaker] of [["lake", log.breaker], ["store", log.store_breaker]])
      if (breaker && breaker.state !== "closed")
        add(
          "warn",
          `Breaker before the ${place} of ${name} is ${breaker.state}`,
          `after ${breaker.failures} failures`,
        );
  }
  if (status.level && status.level !== LEVELS[0])
    add(
      toneOfLevel(status.level),
      `Level ${status.level}`,
      "Work is deferred or paused under load.",
    );
  return found.sort((a, b) => Number(b.tone === "bad") - Number(a.tone === "bad"));
}
