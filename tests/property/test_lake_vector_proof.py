"""A vector is believed only for the snapshot that it speaks of and for what came of it.

Commits of K2 (of this version and of the one before), snapshots of other engines on main and on
branches, roll backs, expiry by K2, by pyiceberg (which drops the reference to a parent) and by Java
(which keeps it), and the loss of earlier metadata files, in any order. A model knows what each
snapshot really holds.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.partitioning import assign_fresh_partition_spec_ids
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    update_table_metadata,
)

from k2_streams.core.records.stream import QUOTES, TRADES
from k2_streams.core.records.vector import Range, Vector
from k2_streams.lake.claim import Claim
from k2_streams.lake.errors import VectorMissingError
from k2_streams.lake.maintenance.expiry import doomed_by
from k2_streams.lake.schema import description_of
from k2_streams.lake.vectors import head_vector, link_of, properties_of, summary_of

TOPIC_ID = "topic-1"
KEPT_FILES = 20
chance = st.integers(0, 1 << 30)
commits = st.tuples(st.just("commit"), st.integers(0, 1))
step = st.one_of(
    commits,
    commits,
    st.tuples(st.just("commit_of_the_version_before"), st.integers(0, 1)),
    st.tuples(st.just("foreign"), st.just("main")),
    st.tuples(st.just("branch"), chance),
    st.tuples(st.just("set_back"), chance),
    st.tuples(st.just("set_back"), chance),
    st.tuples(st.just("expire"), chance, st.booleans()),
    st.tuples(st.just("expire_of_k2"), st.integers(1, 3)),
    st.tuples(st.just("lose_files")),
)
steps = st.lists(step, min_size=5, max_size=20)


class World:
    def __init__(self):
        described = description_of(TRADES)
        schema = assign_fresh_schema_ids(described.created)
        spec = assign_fresh_partition_spec_ids(described.partition_spec, described.created, schema)
        self.metadata = new_table_metadata(
            schema, spec, UNSORTED_SORT_ORDER, "memory://t", {"format-version": "2"}
        )
        self.earlier = []
        self.truth = {}  # what each snapshot really holds
        self.others_expired = self.was_set = False
        self._ids = iter(range(1_000, 1 << 30))

    def update(self, *updates):
        self.become(update_table_metadata(self.metadata, updates))

    def become(self, metadata):
        self.earlier = [*self.earlier, self.metadata][-KEPT_FILES:]
        self.metadata = metadata

    def vector(self):
        """As the product has it; None: it is refused."""
        links = (tuple(map(link_of, each.snapshots)) for each in reversed(self.earlier))
        try:
            return head_vector(self.metadata, links, log=TRADES.log)
        except VectorMissingError:
            return None

    def really(self):
        head = self.metadata.current_snapshot()
        return Vector() if head is None else self.truth[head.snapshot_id]

    def add(self, says, ref, holds, properties=None):
        parent = self.metadata.snapshot_by_name(ref)
        snapshot = Snapshot(
            snapshot_id=next(self._ids),
            parent_snapshot_id=parent.snapshot_id if parent else None,
            sequence_number=self.metadata.next_sequence_number(),
            manifest_list="memory://list",
            summary=Summary(Operation.APPEND, **{"total-records": "9", **says}),
            schema_id=0,
        )
        self.truth[snapshot.snapshot_id] = holds
        moved = properties(snapshot) if properties else {}
        self.update(
            AddSnapshotUpdate(snapshot=snapshot),
            _ref(ref, snapshot.snapshot_id),
            *([SetPropertiesUpdate(updates=moved)] if moved else []),
        )

    def commit(self, partition, *, before=False):
        head = self.vector()
        if head is None:
            return
        start = head.next_of(TRADES.log, partition) or 0
        claim = Claim(TRADES.log, TOPIC_ID, {partition: Range(start, start + 3)}, "c")
        after = claim.rebase(head)
        says = summary_of("c", self.metadata, head, after)
        if before:
            says.pop("k2.offsets-before", None)

        def properties(snapshot):
            moved = properties_of(snapshot.snapshot_id, snapshot.sequence_number, after)
            return {"k2.offsets": moved["k2.offsets"]} if before else moved

        self.add(says, "main", after, properties)

    def commit_of_the_version_before(self, partition):
        self.commit(partition, before=True)

    def foreign(self, ref):
        parent = self.metadata.snapshot_by_name(ref)
        self.add({}, ref, self.truth[parent.snapshot_id] if parent else Vector())

    def set_back(self, seed):
        if self.metadata.snapshots:
            self.was_set = True
            self.update(_ref("main", self._any(seed)))

    def branch(self, seed):
        """A snapshot on a branch from anywhere."""
        if self.metadata.snapshots:
            self.update(_ref("side", self._any(seed)))
            self.foreign("side")

    def expire(self, seed, keeps_parents):
        chosen = random.Random(seed)
        named = {ref.snapshot_id for ref in self.metadata.refs.values()}
        gone = {
            s.snapshot_id
            for s in self.metadata.snapshots
            if s.snapshot_id not in named and chosen.random() < 0.7
        }
        self.others_expired |= bool(gone)
        if keeps_parents:
            left = [s for s in self.metadata.snapshots if s.snapshot_id not in gone]
            self.become(self.metadata.model_copy(update={"snapshots": left}))
        elif gone:
            self.update(RemoveSnapshotsUpdate.model_validate({"snapshot-ids": list(gone)}))

    def expire_of_k2(self, keep):
        head, vector = self.metadata.current_snapshot(), self.vector()
        gone = doomed_by(self.metadata, keep, 1 << 62)
        if head is None or vector is None or not gone:
            return
        mirror = properties_of(head.snapshot_id, head.sequence_number, vector)
        self.update(
            RemoveSnapshotsUpdate.model_validate({"snapshot-ids": list(gone)}),
            SetPropertiesUpdate(updates=mirror),
        )

    def lose_files(self):
        self.earlier = []

    def _any(self, seed):
        return random.Random(seed).choice(self.metadata.snapshots).snapshot_id


def _ref(name, snapshot_id):
    return SetSnapshotRefUpdate.model_validate(
        {"ref-name": name, "type": SnapshotRefType.BRANCH, "snapshot-id": snapshot_id}
    )


@settings(max_examples=300)
@given(steps)
def test_a_vector_is_the_heads_own_or_it_is_refused(todo):
    """Too high is rows in neither lake nor tail; too low is rows twice."""
    world = World()
    for what, *arguments in todo:
        getattr(world, what)(*arguments)
        found = world.vector()
        if found is not None:
            assert found.topics == world.really().topics
        elif world.really().topics:
            # What others made before the first commit of K2 is refused in any case.
            assert world.others_expired or world.was_set


def test_the_refusal_and_its_remedy_name_the_tables_own_log():
    world = World()
    world.foreign("main")
    with pytest.raises(VectorMissingError) as refused:
        head_vector(world.metadata, log=QUOTES.log)
    assert str(refused.value).startswith(f"{QUOTES.log} has 9 rows")
    assert f'"offsets": {{"{QUOTES.log}": {{"id": "<topic id>",' in str(refused.value)
    assert '"next": {"0": <next offset>, ...}}}} with what it holds' in str(refused.value)
