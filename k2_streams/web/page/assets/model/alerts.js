/** Values that alerts of `deploy/prometheus/alerts.yml` watch, by the limits that stand there.
 *  An alert that needs history of minutes is Prometheus' own and not repeated here. */
import { NONE, count, duration, percent } from "../format.js";
import { largest, total } from "./metrics.js";

const of = (alert, about, read, isRaised, show = count) => ({ alert, about, read, isRaised, show });
const most = (name, labels) => scrape => largest(scrape, name, labels);
const above = limit => value => value > limit;
const yes = value => value === 1;
const yesNo = value => (value === 1 ? "yes" : "no");

/** Per alert: what it watches, how it is read of a scrape (null: no such series), when it is raised,
 *  and how the value is written. */
export const WATCHED = [
  of("K2WorkerNotReady", "The node is ready", most("k2_ready"), value => value === 0, yesNo),
  of(
    "K2BackgroundTaskDown",
    "Background tasks that do not run",
    scrape => scrape.get("k2_background_task_up")?.filter(one => one.value === 0).length ?? null,
    value => value > 0,
  ),
  of("K2PartitionRefused", "Partitions refused", most("k2_refused_partitions"), above(0)),
  of(
    "K2PartitionUnreadable",
    "Partitions that cannot be read",
    most("k2_unreadable_partitions"),
    above(0),
  ),
  of("K2TopicAltered", "Topics that are not as K2 needs them", most("k2_topic_problems"), above(0)),
  of("K2LagHigh", "Time until the lag is processed", most("k2_lag_seconds"), above(60), duration),
  of("K2SourcePaused", "The source is paused", most("k2_source_paused"), yes, yesNo),
  of("K2TransactionStalled", "A transaction holds a log back", most("k2_log_stalled"), yes, yesNo),
  of(
    "K2LakeBreakerOpen",
    "The breaker before the lake is open",
    most("k2_circuit_breaker_state", { breaker: "lake", state: "open" }),
    yes,
    yesNo,
  ),
  of(
    "K2StoreBreakerOpen",
    "The breaker before the store is open",
    most("k2_circuit_breaker_state", { breaker: "store", state: "open" }),
    yes,
    yesNo,
  ),
  of("K2SinkRefused", "A sink refuses to write", most("k2_sink_refused"), yes, yesNo),
  of(
    "K2TailRoomLow",
    "Disk of a tail in use",
    scrape => {
      const limit = total(scrape, "k2_tail_spill_limit_bytes");
      return limit ? total(scrape, "k2_tail_spilled_bytes") / limit : null;
    },
    above(0.7),
    percent,
  ),
  of("K2UnfitFiles", "Files that compaction leaves", most("k2_maintenance_unfit_files"), above(0)),
  of("K2LineLoss", "Largest loss of a line", most("k2_line_loss_ratio"), above(0.05), percent),
  of(
    "K2DedupFilterFull",
    "False positives of the id filter",
    most("k2_dedup_estimated_false_positive_ratio"),
    above(0.05),
    percent,
  ),
  of(
    "K2LevelRaised",
    "Degradation level, 0 to 4",
    most("k2_degradation_level"),
    value => value >= 2,
  ),
  of(
    "K2MemoryHigh",
    "Memory of the process in use",
    most("k2_memory_used_ratio"),
    above(0.85),
    percent,
  ),
];

/** Each watched value of a scrape: raised ones first. */
export const watchedValues = scrape =>
  WATCHED.map(({ alert, about, read, isRaised, show }) => {
    const value = read(scrape);
    return {
      alert,
      about,
      value: value === null ? NONE : show(value),
      isRaised: value !== null && isRaised(value),
      isKnown: value !== null,
    };
  }).sort((a, b) => Number(b.isRaised) - Number(a.isRaised));
