"""The alerts that `make runbooks` does not cause, and why. Cases of promtool try all of them.

An alert is either here or among the incidents. What "faults cause" is caused and checked by
`python -m faults`, without a Prometheus.
"""

NOT_INJECTED = {
    "K2NoWorkers": "its cause lies in the configuration of Prometheus itself",
    "K2BackgroundTaskDown": "needs a fault in K2's own code that no failpoint stands for",
    "K2BackgroundTaskFailing": "needs a fault in K2's own code that no failpoint stands for",
    "K2PartitionRefused": "its remedy discards the state; faults cause it",
    "K2PartitionUnowned": "needs partitions without a worker for minutes",
    "K2PartitionUnreadable": "needs a damaged segment in the broker's log; faults cause it",
    "K2RetentionRisk": "needs a day of records that wait",
    "K2CheckpointSlow": "needs a broker that acknowledges in seconds",
    "K2TakeOverSlow": "needs a state of gigabytes",
    "K2RebalancingOften": "needs half an hour of workers that join and leave",
    "K2LakeCommitFailing": "needs a store that fails now and then: none at all opens the breaker",
    "K2LakeCommitSlow": "needs a slow object store",
    "K2LakeContention": "needs a writer that commits more often than K2",
    "K2StoreBreakerOpen": "needs an object store: `make faults-long` takes it away",
    "K2TailRoomLow": "needs gigabytes of rows without a lake",
    "K2UnfitFiles": "needs an hour with a file of another engine",
    "K2LineLoss": "its ratio counts since the line was first seen: it resolves after hours",
    "K2DedupFilterFull": "needs a hundred million trade ids",
    "K2BacklogNotDraining": "needs half an hour under overload: `make demo-overload` has it",
    "K2HttpErrors": "needs a fault in K2's own code",
    "K2HttpSlow": "needs a query that takes seconds on a large lake",
    "K2ConnectionsRefused": "needs more clients than this machine has descriptors for",
    "K2DiskLow": "needs a disk of its own; faults fill one",
    "K2QueryMemoryHigh": "needs a query larger than the memory limit for minutes",
}
