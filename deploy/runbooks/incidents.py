"""The incidents, in an order in which none disturbs the next one on the same workers.

Numbers are abandoned before others are missing, which would be abandoned with them; what restarts
the worker comes last.
"""

from dataclasses import dataclass

from deploy.runbooks.causes import brokers, feeds, lake, queries, workers
from deploy.runbooks.causes.rounds import Happening


@dataclass(frozen=True, slots=True)
class Incident:
    """What goes wrong.

    Attributes:
        alerts: that it raises; the runbook of each is followed.
        cause: in a few words.
        happening: begins it, and ends what a runbook tells people to end outside of K2.
        remedy: what that is, in a few words; empty: the runbook's commands are all.
    """

    alerts: tuple[str, ...]
    cause: str
    happening: Happening
    remedy: str = ""


#: Triggers of levels that no lag of a run reaches.
DEFERS_NOTHING = {
    "K2_LAG_TRIGGERS_RECORDS": "1e10,1e11,1e12",
    "K2_LAG_TRIGGERS_S": "86000,86100,86200",
}
INCIDENTS = (
    Incident(
        ("K2NoData", "K2ExchangeSilent"), "no feed handler sends while an exchange trades",
        feeds.silence, "the feed handler is restarted",
    ),
    Incident(
        ("K2DeadLetters",), "a feed handler sends invalid records", feeds.sent("--invalid", "0.05"),
        "the feed handler is repaired",
    ),
    Incident(
        ("K2UnknownFeed",), "records name a feed that is not installed",
        feeds.sending(feeds.of_unknown_feed), "the feed handler is repaired",
    ),
    Incident(
        ("K2DuplicateRateHigh",), "a feed handler sends all three times",
        feeds.sending(feeds.three_times), "the feed handler is repaired",
    ),
    Incident(
        ("K2ConflictingMessages",), "a venue restarts its numbers within a session",
        feeds.sending(feeds.with_used_number), "the venue's session is declared",
    ),
    Incident(
        ("K2LineSilent",), "one of two lines sends nothing", feeds.line_silent,
        "the line's feed handler is restarted",
    ),
    Incident(
        ("K2HttpUnavailable",), "a client asks for what is not there yet", queries.unanswerable,
        "the client is stopped",
    ),
    Incident(("K2TopicAltered",), "the raw topic's timestamp type is altered",
             brokers.topic_altered),
    Incident(
        ("K2TransactionStalled",), "a stranger leaves a transaction open in the log",
        brokers.transaction_open, "the stranger aborts it",
    ),
    Incident(
        ("K2LakeBreakerOpen", "K2MaintenanceFailing", "K2LakeCommitStalled"),
        "the tables' folder cannot be written to", lake.store_away, "the folder is repaired",
    ),
    Incident(
        ("K2SinkRefused",), "another engine renames a column", lake.column_renamed,
        "the column is renamed again",
    ),
    Incident(
        ("K2NumbersAbandoned",), "missing messages do not come within the horizon of 5 s",
        workers.horizon_too_short, "the horizon is raised",
    ),
    Incident(
        ("K2GapsOpening",), "a feed handler loses messages", feeds.sent("--gaps", "0.1"),
        "the feed handler is restarted",
    ),
    Incident(
        ("K2WorkerDown",), "kill -9 of the worker", workers.killed, "the worker is started again"
    ),
    Incident(
        ("K2TaskFenced",), "another deployment takes the transactional ids over",
        brokers.second_deployment, "the other one is ended, and the worker started again",
    ),
    Incident(
        ("K2WorkerNotReady",), "kill -9 of the broker", brokers.broker_away,
        "the broker is started again",
    ),
    Incident(
        ("K2LagHigh", "K2FreshnessSlow", "K2LevelRaised"),
        "the worker may process 20 records per second, and 300 come", feeds.too_many(),
        "the worker is started without the limit",
    ),
    Incident(
        ("K2LagGrowing",), "the same, and nothing is deferred", feeds.too_many(**DEFERS_NOTHING),
        "the worker is started without the limit",
    ),
    Incident(
        ("K2TaskFailing", "K2ProcessingErrors"), "records raise an exception",
        workers.failing_records, "the code is corrected, and the worker started again",
    ),
    Incident(
        ("K2MemoryHigh", "K2CircuitBreak", "K2SourcePaused"), "the worker may use 256 MiB",
        workers.too_little_memory, "the worker is started with more",
    ),
)  # fmt: skip
