/** Values that alerts of `deploy/prometheus/alerts.yml` watch, by the limits that stand there.
 *  An alert that needs history of minutes is Prometheus' own and not repeated here. */
import { NONE, count, duration, percent } from "../format.js";
import { largest, total } from "./metrics.js";

const yesNo = value => (value ? "yes" : "no");
const isOpen = breaker => scrape =>
  largest(scrape, "k2_circuit_breaker_state", { breaker, state: "open" });

function stoppedTasks(scrape) {
  return scrape.get("k2_background_task_up")?.filter(one => one.value === 0).length ?? null;
}
function isNotReady(scrape) {
  const ready = largest(scrape, "k2_ready");
  return ready === null ? null : 1 - ready;
}
function tailDiskUsed(scrape) {
  const limit = total(scrape, "k2_tail_spill_limit_bytes");
  return limit ? total(scrape, "k2_tail_spilled_bytes") / limit : null;
}

/** An alert, what it watches, the metric (or what reads it of a scrape; null: no such series), the
 *  limit above which it is raised, and how the value is written. */
const watch = (alert, about, metric, limit = 0, show = count) => ({
  alert,
  about,
  read: typeof metric === "string" ? scrape => largest(scrape, metric) : metric,
  isRaised: value => value > limit,
  show,
});

export const WATCHED = [
  watch("K2WorkerNotReady", "The node is not ready", isNotReady, 0, yesNo),
  watch("K2BackgroundTaskDown", "Background tasks that do not run", stoppedTasks),
  watch("K2PartitionRefused", "Partitions refused", "k2_refused_partitions"),
  watch("K2PartitionUnreadable", "Partitions that cannot be read", "k2_unreadable_partitions"),
  watch("K2TopicAltered", "Topics that are not as K2 needs them", "k2_topic_problems"),
  watch("K2LagHigh", "Time until the lag is processed", "k2_lag_seconds", 60, duration),
  watch("K2SourcePaused", "The source is paused", "k2_source_paused", 0, yesNo),
  watch("K2TransactionStalled", "A transaction holds a log back", "k2_log_stalled", 0, yesNo),
  watch("K2LakeBreakerOpen", "The breaker before the lake is open", isOpen("lake"), 0, yesNo),
  watch("K2StoreBreakerOpen", "The breaker before the store is open", isOpen("store"), 0, yesNo),
  watch("K2SinkRefused", "A sink refuses to write", "k2_sink_refused", 0, yesNo),
  watch("K2TailRoomLow", "Disk of a tail in use", tailDiskUsed, 0.7, percent),
  watch("K2UnfitFiles", "Files that compaction leaves", "k2_maintenance_unfit_files"),
  watch(
    "K2DedupFilterFull",
    "False positives of the id filter",
    "k2_dedup_estimated_false_positive_ratio",
    0.05,
    percent,
  ),
  watch("K2LevelRaised", "Degradation level, 0 to 4", "k2_degradation_level", 1),
  watch("K2MemoryHigh", "Memory of the process in use", "k2_memory_used_ratio", 0.85, percent),
];

/** Each watched value of a scrape: raised ones first. */
export const watchedValues = scrape =>
  WATCHED.map(({ alert, about, read, isRaised, show }) => {
    const value = read(scrape),
      isKnown = value !== null;
    return {
      alert,
      about,
      value: isKnown ? show(value) : NONE,
      isRaised: isKnown && isRaised(value),
      isKnown,
    };
  }).sort((a, b) => Number(b.isRaised) - Number(a.isRaised));
