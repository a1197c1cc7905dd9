"""Broken builds: what is broken in each, by which change of the source, and the test that notices.

A change replaces a text that stands exactly once in its file. One that no longer applies is an
error: the source has moved on, and the mutant must follow it.
"""

from dataclasses import dataclass

SIMULATION = "tests/simulation/test_simulation.py::test_nothing_is_violated"
COMMIT = "tests/unit/test_lake_commit.py::"
COMPACTION = "tests/unit/test_lake_compaction.py::"
DELETION = "tests/unit/test_lake_deletion.py::"
TAKE_OVER = "tests/simulation/test_take_over.py::"
GAPS_TABLE = "tests/property/test_gaps_table.py::"
ADOPTION = "tests/property/test_adoption_model.py::"


@dataclass(frozen=True, slots=True)
class Change:
    """Of one file of `k2_streams`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A build in which one guarantee is broken."""

    name: str
    broken: str
    caught_by: str  # a test's id, or the beginning of one with parameters
    changes: tuple[Change, ...]


def _mutant(name: str, broken: str, caught_by: str, *changes: tuple[str, str, str]) -> Mutant:
    return Mutant(name, broken, caught_by, tuple(Change(*change) for change in changes))


MUTANTS = (
    _mutant(
        "store-before-changelog",
        "RocksDB is written before the transaction is committed",
        SIMULATION,
        (
            "runtime/task/checkpoint.py",
            "            async with asyncio.timeout(CHECKPOINT_DEADLINE_S):\n",
            "            for one in changed:\n"
            "                one.table.written(one.sealed, 0, encoded)\n"
            "            async with asyncio.timeout(CHECKPOINT_DEADLINE_S):\n",
        ),
    ),
    _mutant(
        "position-before-outputs",
        "state and position are committed in a transaction before the outputs'",
        SIMULATION,
        (
            "kafka/transactions.py",
            '            await failpoint_in_loop("checkpoint.begun")\n',
            "            early = [await self._send_rows(self._place(topic), "
            "[(*row, ()) for row in rows]) for topic, rows in changelogs]\n"
            "            await asyncio.gather(*(future for sent in early for future, _ in sent))\n"
            "            await self._producer.commit_transaction()\n"
            "            await self._producer.begin_transaction()\n",
        ),
    ),
    _mutant(
        "no-fence",
        "each worker's producer has a transactional id of its own",
        TAKE_OVER + "test_a_take_over_by_another_worker_fences_the_task_before",
        (
            "runtime/task/take_over.py",
            'f"{context.settings.app_id}-{context.source.name}-{partition}"',
            'f"{context.settings.member_id}-{context.source.name}-{partition}"',
        ),
    ),
    _mutant(
        "join-in-parts",
        "a member sends a join after each protocol that it lists: each begins another rebalance",
        "tests/unit/test_one_join.py::",
        ("kafka/one_join.py", "        if is_join and", "        if not is_join and"),
    ),
    _mutant(
        "uncommitted-reads",
        "the log's readers deliver open and aborted transactions",
        SIMULATION,
        (
            "kafka/log_reader.py",
            'isolation_level="read_committed"',
            'isolation_level="read_uncommitted"',
        ),
    ),
    _mutant(
        "replay-beyond-the-end",
        "a recovery applies what somebody else commits meanwhile",
        f"{TAKE_OVER}test_a_recovery_applies_nothing_beyond_the_end_it_saw",
        ("state/restore.py", "if record.offset < end]", "if record.offset >= 0]"),
    ),
    _mutant(
        "recovery-skips-an-error",
        "a store whose rows do not have their checksum is used",
        "tests/unit/test_state_store.py::",
        (
            "state/checked_store.py",
            "        if found != expected:\n",
            "        if self._db is None:\n",
        ),
    ),
    _mutant(
        "lost-for-fenced",
        "a position committed since the recovery is not looked for",
        f"{TAKE_OVER}test_a_position_committed_since_the_recovery_means_fenced_not_lost",
        (
            "runtime/task/resume.py",
            "if await holds_records(reader, changelog):",
            "if changelog.partition < 0:",
        ),
    ),
    _mutant(
        "broken-chain-accepted",
        "a task works on whatever batch comes, also behind a hole",
        SIMULATION,
        ("runtime/task/running.py", "if fetched.start != end:", "if fetched.start < 0:"),
    ),
    _mutant(
        "sink-chain-accepted",
        "the sink takes whatever batch comes, also behind a hole",
        "tests/unit/test_lake_sink.py::test_a_hole_or_an_overlap_is_refused",
        (
            "runtime/sinks/runner.py",
            "        if not fetched.start <= expected <= fetched.end:\n",
            "        if fetched.start < 0:\n",
        ),
        (
            "lake/sink.py",
            "        if end is not None and held.start != end:\n",
            "        if held.start < 0:\n",
        ),
    ),
    _mutant(
        "accepted-time-goes-back",
        "the checkpoint's time is the worker's clock, wherever that jumps",
        SIMULATION,
        (
            "runtime/task/checkpoint.py",
            "accepted_time_us=max(now_us, last.accepted_time_us)",
            "accepted_time_us=now_us",
        ),
    ),
    _mutant(
        "no-vector-check",
        "a batch is appended wherever the table ends",
        f"{COMMIT}test_a_stale_writer_is_refused",
        ("lake/claim.py", "        if moved:\n", "        if moved and not self.ranges:\n"),
        (
            "core/records/vector.py",
            "            if end < found.next.get(partition, 0):\n",
            "            if end < 0:\n",
        ),
    ),
    _mutant(
        "vector-check-on-retry-only",
        "the vector is checked when the catalog has refused an attempt, not before",
        f"{COMMIT}test_a_stale_writer_is_refused",
        (
            "lake/table.py",
            "        claim.rebase(self.head_of(table).vector)\n",
            "        self.head_of(table)\n",
        ),
        (
            "lake/commit.py",
            "        return self._claim.rebase(head)\n",
            "        return (self._claim.rebase(head) if self.attempts > 1 else head.with_next("
            "self._claim.topic, self._claim.topic_id, "
            "{p: held.end for p, held in self._claim.ranges.items()}))\n",
        ),
    ),
    _mutant(
        "blind-re-append",
        "after an error the batch is appended again without a look at the table",
        f"{COMMIT}test_a_lost_acknowledgement_is_found_to_have_landed",
        (
            "lake/table.py",
            "            landed = find(table.metadata)\n            if landed",
            "            landed = None if refused else find(table.metadata)\n            if landed",
        ),
    ),
    _mutant(
        "unheard-commit-forgotten",
        "a batch tried again later is not looked for in the table",
        f"{COMMIT}test_an_unknown_commit_is_resolved_by_the_same_call_later",
        (
            "lake/table.py",
            "        landed = find_commit(table.metadata, claim)\n        if landed",
            "        landed = None\n        if landed",
        ),
    ),
    _mutant(
        "vector-of-the-first-attempt",
        "a retry writes the vector that the first attempt made: other writers are set back",
        f"{COMMIT}test_two_stale_writers_of_disjoint_partitions_both_land",
        (
            "lake/commit.py",
            "        return self._claim.rebase(head)\n",
            "        self.first = getattr(self, 'first', head)\n"
            "        return self._claim.rebase(self.first)\n",
        ),
    ),
    _mutant(
        "refused-files-deleted",
        "pyiceberg deletes the manifests of a commit that was reported as failed",
        f"{COMMIT}test_a_lost_acknowledgement_at_the_last_retry_leaves_the_table_readable",
        ("lake/commit.py", "def _clean_all_uncommitted(", "def _keep_all_uncommitted("),
    ),
    _mutant(
        "uncommitted-row-of-the-catalog-believed",
        "a connection goes back to the pool with the row of a commit that the catalog refused",
        "tests/unit/test_lake_table.py::"
        "test_a_commit_that_the_catalog_refused_is_not_found_in_what_was_not_committed",
        ("lake/catalog.py", "        connection.rollback()\n", "        pass\n"),
    ),
    _mutant(
        "commit-id-believed-alone",
        "a snapshot with the commit's id is taken for the commit, wherever it ends",
        f"{COMMIT}test_a_commit_id_used_twice_hides_no_rows",
        (
            "lake/claim.py",
            "            and all(vector.next_of(self.topic, p) == held.end"
            " for p, held in self.ranges.items())\n",
            "",
        ),
    ),
    _mutant(
        "vector-believed-for-any-head",
        "the vector in the table's property is believed for a head that it does not speak of",
        "tests/property/test_lake_vector_proof.py::test_a_vector_is_the_heads_own_or_it_is_refused",
        (
            "lake/vectors.py",
            "        stored.append((mirror.snapshot_id, mirror.vector.encode()))\n",
            "        stored.append((metadata.current_snapshot_id, mirror.vector.encode()))\n",
        ),
    ),
    _mutant(
        "table-checked-at-load-only",
        "columns and partitions are checked when the table is loaded, not by the commit itself",
        "tests/unit/test_lake_other_engines.py::test_it_is_refused_by_the_commit_itself",
        (
            "lake/commit.py",
            "        check_table(self._described, table.metadata)\n"
            "        self._check_spec(table.metadata.default_spec_id)\n",
            "",
        ),
    ),
    _mutant(
        "schema-and-spec-not-required",
        "the catalog compares the head alone: schema or spec may change under a commit",
        "tests/unit/test_lake_other_engines.py::test_it_is_refused_by_the_commit_itself",
        (
            "lake/commit.py",
            "        requirements = (*requirements, *_unchanged(table.metadata))\n",
            "",
        ),
    ),
    _mutant(
        "expiry-drops-the-vector",
        "expiry keeps neither the newest snapshot with a vector nor the mirror of it",
        "tests/unit/test_lake_maintenance.py::",
        (
            "lake/maintenance/expiry.py",
            "        kept.add(carrier.snapshot_id)\n",
            "        kept.discard(-1)\n",
        ),
        (
            "lake/maintenance/expiry.py",
            "            *_mirror(head),\n",
            "",
        ),
    ),
    _mutant(
        "compaction-of-files-that-are-gone",
        "a compaction commits though its inputs are no longer in the table",
        f"{COMPACTION}test_two_compactions_of_the_same_files_double_no_row",
        (
            "lake/maintenance/replace.py",
            '            raise InputsGoneError(f"commit {self._commit_id}: {error}") from error\n',
            "            return [] if error else []\n",
        ),
    ),
    _mutant(
        "compaction-sets-the-vector-back",
        "a compaction writes the vector of its first attempt: a sink that committed is set back",
        f"{COMPACTION}test_a_sink_that_commits_meanwhile_is_neither_lost_nor_hindered",
        (
            "lake/maintenance/replace.py",
            "        return head\n",
            "        self.first = getattr(self, 'first', head)\n        return self.first\n",
        ),
    ),
    _mutant(
        "compaction-not-proven",
        "what a compaction wrote is not compared with what it read",
        f"{COMPACTION}test_what_is_not_proven_is_not_committed",
        ("lake/maintenance/rewrite.py", "        self._prove(read, written)\n", ""),
    ),
    _mutant(
        "compaction-proven-by-its-count",
        "of a compaction the number of rows is compared, and not what is in them",
        f"{COMPACTION}test_what_is_not_proven_is_not_committed",
        (
            "lake/maintenance/rewrite.py",
            "            found.places != read.places\n            or found.rows != read.rows\n"
            "            or found",
            "            found",
        ),
    ),
    _mutant(
        "compaction-proven-by-itself",
        "the places of a compaction's rows are counted by the same ranges that choose them",
        f"{COMPACTION}test_rows_that_a_range_leaves_out_are_noticed",
        (
            "lake/maintenance/rewrite.py",
            "            found.places != read.places\n            or found.rows != read.rows\n"
            "            or found.rows.rows != self._expected\n",
            "            found.rows != read.rows\n",
        ),
    ),
    _mutant(
        "compaction-drops-a-column",
        "a file with another engine's column is written again without it",
        f"{COMPACTION}test_files_of_another_engine_with_columns_of_its_own_stay_as_they_are",
        ("lake/maintenance/reading.py", "        if by_id:\n", "        if not found:\n"),
    ),
    _mutant(
        "compaction-beside-deletes",
        "a compaction brings rows back that another engine deleted meanwhile",
        f"{COMPACTION}test_a_table_with_delete_files_is_refused",
        ("lake/maintenance/replace.py", "        self._refuse_deletes()\n", ""),
    ),
    _mutant(
        "expired-files-not-looked-for-again",
        "files that were written down are deleted though a snapshot reaches them",
        f"{DELETION}test_an_expiry_that_failed_deletes_nothing",
        (
            "lake/maintenance/deletions.py",
            "deletable(record.paths, reachable.keys(), folders_of(table))",
            "deletable(record.paths, set(), folders_of(table))",
        ),
    ),
    _mutant(
        "expired-files-deleted-at-once",
        "files of expired snapshots are deleted while a query may read them",
        f"{DELETION}test_compacted_files_go_when_their_snapshots_have_expired_and_the_delay_is_over",
        (
            "core/maintenance/deletion.py",
            "        return now_ms - self.written_ms >= delay_s * 1_000\n",
            "        return now_ms >= self.written_ms\n",
        ),
    ),
    _mutant(
        "expired-files-not-written-down",
        "snapshots expire and nobody knows which files they reached",
        f"{DELETION}test_a_crash_after_the_expiry_forgets_no_file",
        (
            "lake/maintenance/expiry.py",
            "                write_down(table, doomed, files_at_ms)\n",
            "                pass\n",
        ),
    ),
    _mutant(
        "young-orphans",
        "files of a commit under way are taken for orphans",
        f"{DELETION}test_orphans_are_exactly_the_files_of_killed_commits",
        (
            "core/maintenance/deletion.py",
            "        if one.modified_ms < before_ms\n        and is",
            "        if is",
        ),
    ),
    _mutant(
        "orphans-before-their-time",
        "files that wait for their deletion are taken for orphans",
        f"{DELETION}test_files_that_wait_for_their_deletion_are_no_orphans",
        (
            "core/maintenance/deletion.py",
            "    known = reachable | pending\n",
            "    known = reachable\n",
        ),
    ),
    _mutant(
        "tagged-snapshot-expires",
        "expiry removes a snapshot that a tag names",
        "tests/unit/test_lake_tags.py::test_a_tagged_snapshot_is_the_same_after_all_maintenance",
        (
            "lake/maintenance/expiry.py",
            "for name, ref in metadata.refs.items() if name not in over}",
            "for name, ref in metadata.refs.items() if name == MAIN_BRANCH}",
        ),
    ),
    _mutant(
        "hold-without-a-tag-forgotten",
        "a held snapshot expires once another engine has dropped its tag",
        "tests/unit/test_lake_tags.py::"
        "test_a_hold_keeps_the_snapshot_though_another_engine_drops_the_tag",
        ("lake/maintenance/expiry.py", "    kept |= held_snapshots(metadata)\n", ""),
    ),
    _mutant(
        "evicted-before-seen",
        "the tail lets rows go before the snapshot that holds them is what queries take",
        "tests/unit/test_query_hybrid.py::",
        (
            "core/query/union_read.py",
            "        if v < part.start:\n            return B",
            "        if v < 0:\n            return B",
        ),
    ),
    _mutant(
        "off-by-one-in-a-range",
        "the tail's part of an answer starts one offset behind the lake's",
        "tests/unit/test_union_read.py::",
        (
            "core/query/union_read.py",
            "PartitionCut(None, Range(v, end), end)",
            "PartitionCut(None, Range(min(v + 1, end), end), end)",
        ),
    ),
    _mutant(
        "batch-boundary-in-a-verdict",
        "a run's event times are those of its whole batch",
        "tests/property/test_sequence_batch.py::",
        ("core/sequence/batch.py", "        if whole:\n", "        if whole or at:\n"),
    ),
    _mutant(
        "received-taken-for-missing",
        "the number behind a missing range counts as missing: a repeat becomes a row",
        "tests/property/test_sequence_model.py::",
        (
            "core/sequence/step.py",
            "missing[index].end <= sequence:",
            "missing[index].end < sequence:",
        ),
    ),
    _mutant(
        "stale-taken-for-late",
        "a number below what was abandoned is accepted, though it may have been received",
        "tests/property/test_sequence_model.py::",
        ("core/sequence/step.py", "elif sequence < session.floor:", "elif sequence < -1:"),
    ),
    _mutant(
        "dead-stays-dead",
        "a number that was redriven stays dead: each further copy is one more row",
        "tests/unit/test_sequence_dead.py::",
        (
            "core/sequence/redrive.py",
            "        dead=without_number(session.dead, sequence),\n",
            "        dead=session.dead,\n",
        ),
    ),
    _mutant(
        "redriven-by-its-time",
        "a redriven record is of the session that its time fits, not of that its number is dead in",
        "tests/unit/test_sequence_dead.py::",
        (
            "core/sequence/step.py",
            "        where = place_dead(sessions, rule, message.session, sequence, where)\n",
            "        pass\n",
        ),
    ),
    _mutant(
        "redriven-to-the-newest",
        "a redriven record is of the newest session that its number is dead in, not of its own",
        "tests/unit/test_sequence_dead.py::",
        (
            "core/sequence/redrive.py",
            "if usual.placing is Placing.KNOWN and holds(sessions[usual.at].dead, sequence):",
            "if usual.placing is Placing.TOO_OLD and holds(sessions[usual.at].dead, sequence):",
        ),
    ),
    _mutant(
        "forgotten-taken-for-received",
        "a redriven number of which it is not known whether it is dead is dropped as a repeat",
        "tests/unit/test_sequence_dead.py::",
        (
            "core/sequence/step.py",
            "if is_redriven and sequence < session.dead_floor:",
            "if is_redriven and sequence < 0:",
        ),
    ),
    _mutant(
        "refused-taken-for-received",
        "the number of a record that becomes a dead letter counts as one with a row",
        "tests/unit/test_redrive_outlook.py::",
        (
            "runtime/task/raw_context.py",
            "    nature[kind == Kind.BAD] = Nature.DEAD\n",
            "    nature[kind == Kind.BAD] = Nature.USUAL\n",
        ),
    ),
    _mutant(
        "redriven-apart-from-its-note",
        "what a redrive sends is committed before what it notes of that",
        "tests/property/test_redrive_exact.py::",
        (
            "runtime/redrive/run.py",
            "                    await producer.send(self._outputs(accepted))\n",
            "                    *raw, entry = self._outputs(accepted)\n"
            "                    await producer.send(raw)\n"
            "                    await producer.send([entry])\n",
        ),
    ),
    _mutant(
        "redrives-read-before-the-fence",
        "what was sent is read while another redrive still runs and commits",
        "tests/property/test_redrive_exact.py::",
        (
            "runtime/redrive/run.py",
            "                await producer.start()\n"
            "                await self._partition(partition, producer, report)\n",
            "                await self._partition(partition, producer, report)\n",
        ),
        (
            "runtime/redrive/run.py",
            "        outlook = await self.outlook(partition)\n",
            "        outlook = await self.outlook(partition)\n"
            "        if producer is not None:\n"
            "            await producer.start()\n",
        ),
    ),
    _mutant(
        "repair-beyond-the-horizon",
        "a repair asks for numbers that would be stale: each becomes a dead letter",
        "tests/unit/test_repair.py::",
        (
            "runtime/repair/missing.py",
            "if part.since_ms and part.since_ms + horizon_ms <= now_ms:",
            "if part.since_ms and part.since_ms + horizon_ms < 0:",
        ),
    ),
    _mutant(
        "repair-of-another-session",
        "a repair sends what has a missing number, whichever session it is of",
        "tests/unit/test_repair.py::",
        (
            "runtime/repair/run.py",
            "if after.verdict is Verdict.LATE and after.session_id == one.session:",
            "if after.state is not None:",
        ),
    ),
    _mutant(
        "repair-abandons",
        "a repair sends a record that makes its scope abandon a range that it asks for",
        "tests/unit/test_repair.py::",
        ("runtime/repair/run.py", 'one.reason == "limit"', 'one.reason == ""'),
    ),
    _mutant(
        "half-read-gaps",
        "a node that has just started answers gaps from what it has read of their events so far",
        "tests/property/test_gaps_table.py::",
        ("query/gaps.py", "== 0 and self._has_read_up", "== 0"),
    ),
    _mutant(
        "empty-checkpoint-writes-nothing",
        "an epoch without rows says nowhere how far the source was worked",
        "tests/property/test_sequencer_splits.py::"
        "test_an_epoch_without_rows_still_says_how_far_it_came",
        ("core/records/log_record.py", "max(rows.num_rows, 1)", "rows.num_rows"),
    ),
    _mutant(
        "horizon-a-moment-late",
        "a number that is late by exactly the horizon is still accepted",
        "tests/unit/test_sequence.py::",
        (
            "core/sequence/horizon.py",
            "if part.since_ms + horizon_ms <= append_ms:",
            "if part.since_ms + horizon_ms < append_ms:",
        ),
    ),
    _mutant(
        "horizon-in-the-slow-path-alone",
        "a run in order leaves open the gaps that its times abandon",
        "tests/property/test_sequence_batch.py::",
        (
            "core/sequence/run.py",
            "if at < 0 or is_due(state.sessions, run.latest_append_ms, horizon_ms):",
            "if at < 0:",
        ),
    ),
    _mutant(
        "gap-younger-than-the-one-above",
        "what is missing below a session's first is as old as the message that showed it",
        "tests/property/test_sequence_model.py::",
        (
            "core/sequence/horizon.py",
            "    return missing[0].since_ms if missing else append_ms\n",
            "    return append_ms\n",
        ),
    ),
    _mutant(
        "gap-without-a-lower-edge",
        "a gap is where the message that opened it is: a range inside it is called complete",
        "tests/property/test_gap_ranges.py::",
        (
            "core/sequence/gaps.py",
            "            previous_time_ns=event.previous_time_ns or None,\n",
            "            previous_time_ns=event.next_time_ns or None,\n",
        ),
    ),
    _mutant(
        "gap-as-wide-as-it-opened",
        "what a gap received divides nothing: a range between late numbers is never complete",
        "tests/property/test_gap_ranges.py::",
        (
            "core/sequence/gaps.py",
            "in _divided(part, event.sequence, time_ns)",
            "in _divided(part, event.sequence, None)",
        ),
    ),
    _mutant(
        "top-time-of-the-whole-batch",
        "the message before a gap has the time of its run's first: only in the batch step",
        "tests/property/test_sequence_batch.py::",
        ("core/sequence/batch.py", "self._numbered[at + same.size - 1]", "self._numbered[at]"),
    ),
    _mutant(
        "abandoned-before-the-horizon",
        "a gap of a silent scope is abandoned before a message to come would do so",
        "tests/property/test_expiry.py::",
        (
            "core/sequence/expiry.py",
            "    sessions = abandon_expired(state.sessions, time_ms, horizon_ms, about)\n",
            "    sessions = abandon_expired(state.sessions, time_ms + 50, horizon_ms, about)\n",
        ),
    ),
    _mutant(
        "time-runs-ahead",
        "time that passes while nothing comes runs ahead of the records to come",
        "tests/property/test_sequencer_splits.py::",
        (
            "runtime/task/sequencer.py",
            "        self._now_ms = max(self._now_ms, time_ms)\n",
            "        self._now_ms = max(self._now_ms, time_ms + 1)\n",
        ),
    ),
    _mutant(
        "idle-though-a-record-came",
        "the broker is not asked what has come before time alone decides",
        "tests/unit/test_idle.py::",
        (
            "runtime/task/idle.py",
            "            if any(chunk.records for chunk in await reader.poll()):\n",
            "            if await reader.poll() is None:\n",
        ),
    ),
    _mutant(
        "copies-counted-before-the-dedup",
        "a trade told by its id is new of each line: two lossless lines lose half each",
        "tests/property/test_line_copies.py::",
        (
            "runtime/task/raw_context.py",
            "message_counts(decoded, by_id & kept)",
            "message_counts(decoded, by_id)",
        ),
    ),
    _mutant(
        "separator-not-escaped",
        "a `|` within a name stands in an id as it is: two messages share one",
        "tests/property/test_identity.py::",
        (
            "core/records/identity.py",
            'ESCAPES = (("%", "%25"), (SEPARATOR, "%7C"))',
            'ESCAPES = (("%", "%25"),)',
        ),
    ),
    _mutant(
        "number-used-twice-taken-for-a-repeat",
        "a number seen before is a duplicate whatever its event time: the message is lost",
        "tests/unit/test_sequence_conflicts.py::",
        (
            "core/sequence/sessions.py",
            "        return 0 < self.last_time_ns < time_ns - tolerance_ms * 1_000_000\n",
            "        return 0 > self.last_time_ns + time_ns + tolerance_ms\n",
        ),
    ),
    _mutant(
        "conflict-that-depends-on-its-batch",
        "a run of numbers seen before is not looked at for times that make them others",
        "tests/property/test_sequence_batch.py::",
        (
            "core/sequence/batch.py",
            "if tolerance_ms is None or not session.is_before(run.latest_ns, tolerance_ms):",
            "if run.latest_ns:",
        ),
    ),
    _mutant(
        "conflict-moves-the-time",
        "the first of a second count makes repeats of all that follow it within a second",
        "tests/unit/test_sequence_conflicts.py::",
        (
            "core/sequence/step.py",
            "                return Verdict.CONFLICTING, session\n",
            "                return Verdict.CONFLICTING, msgspec.structs.replace(\n"
            "                    session, last_time_ns=time_ns\n                )\n",
        ),
    ),
    _mutant(
        "filter-believed-before-it-was-rebuilt",
        "a filter says no of ids that the store holds since before the restart",
        "tests/property/test_dedup_batch.py::",
        (
            "state/ids.py",
            "        self._bucket(bucket, hashes)\n",
            "        self._bucket(bucket, hashes).filter = Bloom(self._memory.shape)\n",
        ),
    ),
    _mutant(
        "bucket-dropped-too-early",
        "a bucket goes when its own time to live is over, not that of its last id",
        "tests/property/test_dedup_batch.py::",
        ("core/dedup/ids.py", "> bucket - self.width_ms", "> bucket"),
    ),
    _mutant(
        "id-not-in-the-changelog",
        "of an epoch's ids only the first batch's are in the changelog: a restart forgets the rest",
        "tests/property/test_dedup_batch.py::",
        ("state/ids.py", "np.concatenate(bucket.new)", "bucket.new[0]"),
    ),
    _mutant(
        "maybe-taken-for-yes",
        "a new id that a filter says maybe to is a repeat",
        "tests/property/test_dedup_batch.py::",
        ("state/ids.py", "or self._store.holds(end, identity)", "or maybe[number]"),
    ),
    _mutant(
        "ids-in-flight-forgotten",
        "ids of a checkpoint that is being written are not looked up",
        "tests/property/test_dedup_batch.py::",
        (
            "state/ids.py",
            "bucket.sealed, bucket.pending = bucket.pending, set()",
            "bucket.sealed, bucket.pending = set(), set()",
        ),
    ),
    _mutant(
        "another-partitions-store",
        "a store is used that says it is of another partition",
        "tests/unit/test_ids_store.py::test_another_partitions_store_is_not_believed",
        (
            "state/checked_store.py",
            "if self.partition != partition:",
            "if self.partition < 0:",
        ),
    ),
    _mutant(
        "ids-of-a-successor",
        "ids that somebody else committed since the position was read are not noticed",
        f"{TAKE_OVER}test_ids_committed_since_the_position_was_read_mean_fenced_not_lost",
        ("runtime/task/take_over.py", "if end != self._ends[tp]]", "if end < 0]"),
    ),
    _mutant(
        "fenced-ends-not-compared-again",
        "a take-over does not look whether somebody has written since it fenced all others",
        f"{TAKE_OVER}test_what_was_written_since_the_fence_means_fenced",
        (
            "runtime/task/take_over.py",
            "            await FencedEnds(reader, fenced).confirm()\n",
            "",
        ),
    ),
    _mutant(
        "section-not-upgraded",
        "a feature reads what an earlier version of it wrote as if it were its own",
        "tests/unit/test_position.py::",
        (
            "state/position.py",
            "            version, body = version + 1, self.upgrades[version](body)\n",
            "            version += 1\n",
        ),
    ),
    _mutant(
        "backlog-of-version-1-forgotten",
        "what was deferred before the upgrade is not drained after it",
        "tests/simulation/test_state_upgrade.py::",
        ("state/position.py", '"records": old.deferred_records,', '"records": 0,'),
    ),
    _mutant(
        "sum-of-version-1-not-compared",
        "a store of version 1 is used whatever it holds",
        "tests/unit/test_state_store.py::",
        (
            "state/store.py",
            "_compare(RowSum(old.position.rows, old.position.checksum), total(found))",
            "_compare(total(found), total(found))",
        ),
    ),
    _mutant(
        "deleted-row-left-in-the-sum",
        "a row that is deleted still counts in its table's checksum",
        "tests/unit/test_state_store.py::",
        (
            "state/table.py",
            "added += (new or 0) - (old or 0)",
            "added += (new or 0) - ((old or 0) if new else 0)",
        ),
    ),
    _mutant(
        "effects-of-a-failing-call-kept",
        "what an agent has put in a batch that fails is in its table",
        "tests/property/test_agents.py::",
        (
            "topology/running.py",
            "        except BaseException:\n",
            "        except BaseException:\n"
            "            for overlays in batch.overlays.values():\n"
            "                for overlay in overlays.values():\n"
            "                    overlay.apply()\n",
        ),
    ),
    _mutant(
        "timers-of-a-failing-call-kept",
        "what an agent has set before it raised fires",
        "tests/property/test_agents.py::",
        (
            "topology/running.py",
            "                timers.rollback(0)\n",
            "                timers.commit()\n",
        ),
    ),
    _mutant(
        "timer-fired-late",
        "a batch is not cut in front of a pending timer",
        "tests/property/test_agents.py::",
        (
            "topology/running.py",
            "if due is not None:\n                end",
            "if False:\n                end",
        ),
    ),
    _mutant(
        "timer-set-within-its-rows",
        "a timer that is due within the rows of its call fires behind them",
        "tests/property/test_agents.py::",
        ("topology/running.py", "early <= maximum[end - 1]:", "early <= batch.watermark_ns:"),
    ),
    _mutant(
        "replaced-timer-not-seen",
        "only the last of the times that a call sets a timer to is looked at",
        "tests/property/test_agents.py::",
        (
            "topology/context.py",
            "event_time_ns if earliest is None else min(earliest, event_time_ns)",
            "event_time_ns if earliest is None else max(earliest, event_time_ns)",
        ),
    ),
    _mutant(
        "decompressed-without-a-limit",
        "a batch of a few bytes takes all memory: one producer ends every worker",
        "tests/unit/test_bounded_codecs.py::",
        ("kafka/client.py", "        bounded_codecs.install()\n", ""),
    ),
    _mutant(
        "emitted-null-committed",
        "a null that no table takes is committed to the log, whose sink then stands for good",
        "tests/unit/test_agent_call.py::",
        ("topology/emitted.py", "if column.null_count and not field.nullable:", "if False:"),
    ),
    _mutant(
        "long-names-in-every-half",
        "a record with long names is halved into records as large, which no broker takes",
        "tests/unit/test_log_record.py::",
        (
            "core/records/columns.py",
            " and len(column.dictionary) > rows.num_rows\n",
            " and False\n",
        ),
    ),
    _mutant(
        "replay-counts-what-it-did-not-write",
        "a replay that is cut off goes on behind rows that the store does not have",
        "tests/unit/test_declared_tables.py::",
        (
            "state/row_tables.py",
            "self._write_pending(record.offset + 1)",
            "self._write_pending(record.offset + 2)",
        ),
    ),
    _mutant(
        "stop-policy-passes-the-row",
        "an agent that is to stop its partition goes on behind the row that it fails on",
        "tests/property/test_agents.py::",
        ("topology/running.py", "policies[error.agent] is OnError.STOP or", ""),
    ),
    _mutant(
        "dead-row-not-in-front-of-its-timers",
        "in front of a row that is refused no timer fires",
        "tests/property/test_agents.py::",
        (
            "topology/running.py",
            "            self._fire(agent, batch, start)\n",
            "            if refusal is None:\n                self._fire(agent, batch, start)\n",
        ),
        ("topology/running.py", "if due is not None:\n", "if due is not None and not refusal:\n"),
    ),
    _mutant(
        "replaced-row-not-read",
        "a row that is put without being read counts as a new one",
        "tests/unit/test_state_store.py::",
        (
            "state/table.py",
            "            self.get(key)  # what it replaces is part of the sum\n",
            "            self._hashes[key] = None\n",
        ),
    ),
    _mutant(
        "released-before-the-line-passed",
        "a gap is released when a line has come to it, not behind it",
        "tests/property/test_lines_model.py::",
        ("core/lines/step.py", "if following <= last:", "if following < last:"),
    ),
    _mutant(
        "hold-a-moment-longer",
        "a gap is released after its deadline, not at it",
        "tests/property/test_lines_model.py::",
        (
            "core/lines/step.py",
            "if deadline <= now_ms]",
            "if deadline < now_ms]",
        ),
    ),
    _mutant(
        "reported-as-they-came-about",
        "gaps that are released together are reported as they came about, not by their deadlines",
        "tests/property/test_lines_model.py::",
        (
            "core/lines/step.py",
            "due.sort(key=lambda at: deadlines[at])",
            "",
        ),
    ),
    _mutant(
        "awaits-no-other-line",
        "a gap waits only for lines that the scope has seen",
        "tests/property/test_lines_model.py::",
        ("core/lines/step.py", "if name != arrival.line)", "if not name)"),
    ),
    _mutant(
        "brought-by-another-line-is-late",
        "what one line lost and another brings is late",
        "tests/property/test_lines_model.py::",
        (
            "core/lines/step.py",
            "                verdict = Verdict.IN_ORDER\n",
            "                pass\n",
        ),
    ),
    _mutant(
        "first-copy-counted-as-a-copy",
        "in a batch the first copies are counted as duplicates of their line, not the others",
        "tests/property/test_lines_model.py::",
        (
            "core/sequence/moves.py",
            "mover.copies(part, ~is_next)",
            "mover.copies(part, is_next)",
        ),
    ),
    _mutant(
        "moved-over-a-due-gap",
        "messages in order move a scope one of whose gaps is beyond the horizon",
        "tests/property/test_sequence_batch.py::",
        (
            "core/sequence/moves.py",
            "(oldest_ms + self._horizon_ms > batch.append_ms[at])",
            "(oldest_ms <= batch.append_ms[at])",
        ),
    ),
    _mutant(
        "moved-for-a-missing-number",
        "a number that is missing is taken for a copy, if its scope is in columns",
        "tests/property/test_sequence_batch.py::",
        (
            "core/sequence/moves.py",
            ' & (sequence >= part.own("least"))',
            "",
        ),
    ),
    _mutant(
        "moved-states-not-sealed",
        "a checkpoint does not write the states of scopes that moved in columns",
        "tests/unit/test_scope_table.py::",
        (
            "state/scope_table.py",
            "        self._take_moved()\n        return super().seal()\n",
            "        return super().seal()\n",
        ),
    ),
    _mutant(
        "moved-states-evicted",
        "a state that moved while a checkpoint was written leaves the cache unwritten",
        "tests/unit/test_scope_table.py::",
        (
            "state/scope_table.py",
            "            self._take_moved()  # what has moved must not leave the cache\n",
            "            pass\n",
        ),
    ),
    _mutant(
        "kept-partitions-taken-over-again",
        "a rebalance rebuilds every partition, also those that stay",
        "tests/unit/test_ownership.py::",
        (
            "runtime/assignment.py",
            "gone = set(self.tasks) - stays",
            "gone = set(self.tasks)",
        ),
    ),
    _mutant(
        "kept-over-a-missed-generation",
        "a worker that the group had excluded keeps the tasks that it had before",
        "tests/unit/test_ownership.py::",
        ("runtime/assignment.py", "generation - self._generation in (0, 1)", "True"),
    ),
    _mutant(
        "successor-taken-for-hanging",
        "a successor's open transaction is taken for a hanging one: the partition is refused",
        "tests/simulation/test_take_over.py::",
        (
            "kafka/hanging_transactions.py",
            "if (last.producer_id, last.producer_epoch) != producer.session:",
            "if last.state != EMPTY:",
        ),
    ),
    _mutant(
        "late-marker-taken-for-none",
        "a marker that its coordinator writes a moment later is written a second time",
        "tests/simulation/test_take_over.py::",
        (
            "kafka/hanging_transactions.py",
            "hanging = sorted((await reader.settled_offsets(partitions)).open)",
            "hanging = sorted((await reader.stable_offsets(partitions)).open)",
        ),
    ),
    _mutant(
        "markers-alone-not-told",
        "a fetch of markers alone moves nobody: sinks and tasks never reach the end of their log",
        "tests/unit/test_transport.py::",
        (
            "kafka/partition_faults.py",
            "        elif _position(held, tp) not in (None, before):\n            found[tp] = ()\n",
            "",
        ),
    ),
    _mutant(
        "fenced-begins-again",
        "a task that somebody else fenced takes its partition over again by itself",
        "tests/unit/test_ownership.py::",
        (
            "runtime/assignment.py",
            "if task.state is TaskState.FAILED:",
            "if task.state in {TaskState.FAILED, TaskState.FENCED}:",
        ),
    ),
    _mutant(
        "cancellation-swallowed",
        "a task that is woken in the moment in which it is told to end goes on",
        "tests/unit/test_task_flow.py::",
        (
            "runtime/task/running.py",
            "                async with asyncio.timeout(min(waits, default=None)):\n"
            "                    await self._wake.wait()\n",
            "                await asyncio.wait_for(self._wake.wait(), min(waits, default=None))\n",
        ),
    ),
    _mutant(
        "background-task-dies-unnoticed",
        "a background task that failed is neither shown nor started again",
        "tests/unit/test_supervisor.py::",
        (
            "runtime/control/supervisor.py",
            "        if task.is_closing:\n            return\n        if self._timer",
            "        if task.is_closing or not task.is_closing:\n            return\n"
            "        if self._timer",
        ),
    ),
    _mutant(
        "cancelled-task-taken-for-closed",
        "a background task that somebody else cancelled counts as ended by its owner",
        "tests/unit/test_supervisor.py::",
        (
            "runtime/control/supervisor.py",
            "(self._task.cancelled() and self.is_closing)",
            "self._task.cancelled()",
        ),
    ),
    _mutant(
        "corrupt-batch-ends-the-fetch",
        "an error of one partition is raised for the whole fetch, with the others' records",
        "tests/unit/test_partition_faults.py::",
        (
            "kafka/partition_faults.py",
            "            errors[tp] = error\n            continue\n",
            "            raise\n",
        ),
    ),
    _mutant(
        "meta-record-believed",
        "what a store says of itself is believed without its sum",
        "tests/unit/test_state_store.py::",
        (
            "state/checked_store.py",
            "if mmh3.mmh3_x64_128_digest(content) != own_sum:",
            "if not own_sum:",
        ),
    ),
    _mutant(
        "silent-connections-stay",
        "a connection whose request's head does not come is never closed",
        "tests/unit/test_web_connections.py::",
        ("web/http/connections.py", "if c.deadline_s <= now_s]", "if c.deadline_s < 0]"),
    ),
    _mutant(
        "answers-hold-what-they-like",
        "an answer is worked out and sent also where others hold all the room",
        "tests/unit/test_web_answers.py::",
        ("web/http/room.py", "if not self._shares.take(caller, size_bytes):", "if size_bytes < 0:"),
    ),
    _mutant(
        "every-path-is-public",
        "no path asks for a key",
        "tests/unit/test_web_middlewares.py::",
        ("web/server.py", "if endpoint.is_public)", "if endpoint.path)"),
    ),
    _mutant(
        "a-key-reads-every-exchange",
        "rows of exchanges that a key may not read are answered",
        "tests/unit/test_entitlement.py::test_rows_are_of_permitted_exchanges_alone",
        (
            "query/entitlement.py",
            "return msgspec.structs.replace(request, permitted=permitted)",
            "return request",
        ),
    ),
    _mutant(
        "a-key-reads-every-relation",
        "relations that a key may not read are answered",
        "tests/unit/test_entitlement.py::test_a_key_of_one_relation_reads_nothing_else",
        ("query/entitlement.py", "name not in relations:", "not name:"),
    ),
    _mutant(
        "a-key-that-was-taken-away",
        "a key stays valid after its file has changed",
        "tests/unit/test_api_keys.py::",
        ("runtime/control/api_keys_file.py", "        self.ring.replace(keys)\n", ""),
    ),
    _mutant(
        "a-handshake-has-no-bounds",
        "a connection with TLS is admitted when its handshake is over, not before",
        "tests/unit/test_certificates.py::",
        (
            "web/http/connections.py",
            "        if not self._connections.admit(self, transport):\n",
            "        if not (self.is_encrypted or self._connections.admit(self, transport)):\n",
        ),
    ),
    _mutant(
        "a-view-reads-any-relation",
        "a view reads relations that it does not declare",
        "tests/unit/test_web_user_views.py::",
        (
            "web/declaration/endpoint.py",
            "if relation not in self.endpoint.relations:",
            "if not relation:",
        ),
    ),
    _mutant(
        "known-before-it-was-accepted",
        "an answer as known at a time has rows that were accepted later",
        "tests/property/test_known_at.py::",
        (
            "query/known_at.py",
            "if batch.accepted_us > known_us:",
            "if batch.accepted_us > known_us + 1_000:",
        ),
    ),
    _mutant(
        "idle-means-known",
        "a partition without newer rows is read past a time while transactions are open",
        "tests/unit/test_known_at_answers.py::",
        ("query/read_point.py", "part.read_to_ns - SETTLED_AFTER_S * 10**9)", "part.read_to_ns)"),
    ),
    _mutant(
        "gaps-of-today",
        "gaps are shown as known now, whenever they are asked to be known",
        "tests/unit/test_known_at_answers.py::",
        (
            "core/sequence/gap_history.py",
            "if event.accepted_time_us <= known_us:",
            "if event.accepted_time_us <= known_us + 10**6:",
        ),
    ),
    _mutant(
        "older-rows-not-looked-for",
        "a partition's last row before a time is looked for in the newest window alone",
        "tests/unit/test_known_at_answers.py::",
        ("query/known_at.py", "for window in range(WINDOWS + 1):", "for window in range(1):"),
    ),
    _mutant(
        "any-function-in-sql",
        "a statement may call whatever function DuckDB has",
        "tests/unit/test_sql_hostile.py::",
        (
            "query/sql/parsing.py",
            'if len(path) != 1 or node["function_name"].lower() not in known:',
            "if len(path) != 1:",
        ),
    ),
    _mutant(
        "pruned-as-of",
        "rows are left out that an as-of join would have matched",
        "tests/unit/test_sql_answers.py::",
        (
            "query/sql/parsing.py",
            'if both and node["ref_type"] != "ASOF":',
            "if both:",
        ),
    ),
    _mutant(
        "exclusive-bound-too-early",
        "rows at the last moment that a condition allows are not read",
        "tests/unit/test_sql_golden.py::",
        (
            "query/sql/pruning.py",
            '"COMPARE_LESSTHANOREQUALTO": (None, high + 1),',
            '"COMPARE_LESSTHANOREQUALTO": (None, high),',
        ),
    ),
    _mutant(
        "relations-at-two-read-points",
        "what is made of a log is read at another read point than its rows",
        "tests/unit/test_sql_answers.py::",
        (
            "query/sql/query.py",
            "as_of=None if is_known else tokens.get(log),",
            "as_of=None,",
        ),
    ),
    _mutant(
        "lists-without-a-turn",
        "gaps are listed however many queries run",
        "tests/unit/test_query_admission.py::",
        (
            "query/ledger/in_memory.py",
            "async with questions.engine.turn("
            "request.limit, request.limit, reads_lake=reads_lake):",
            "if request.limit:",
        ),
    ),
    _mutant(
        "filled-gaps-of-the-table-open",
        "a gap that is read from the table stays open when it is filled",
        f"{GAPS_TABLE}test_what_memory_has_dropped_is_read_from_the_table",
        (
            "query/ledger/gap_statements.py",
            "            WHEN filled_at > opened_at THEN '{FILLED}'\n",
            "",
        ),
    ),
    _mutant(
        "page-of-gaps-begins-at-the-last-one",
        "the last gap of a page is the first of the next one too",
        f"{GAPS_TABLE}test_what_memory_has_dropped_is_read_from_the_table",
        ("query/ledger/gap_statements.py", "(scope, place) > (?, ?)", "(scope, place) >= (?, ?)"),
    ),
    _mutant(
        "forgotten-gaps-not-asked-for",
        "gaps that memory has dropped are not looked for in the table",
        f"{GAPS_TABLE}test_what_memory_has_dropped_is_read_from_the_table",
        (
            "query/ledger/gaps.py",
            "if answer.meta.complete and not answer.meta.omitted:",
            "if not answer.meta.omitted:",
        ),
    ),
    _mutant(
        "late-numbers-missing",
        "coverage counts a number that came late as missing",
        "tests/unit/test_coverage.py::",
        (
            "query/ledger/coverage_statements.py",
            "- coalesce(came_late.numbers, 0) - coalesce(abandoned",
            "- coalesce(abandoned",
        ),
    ),
    _mutant(
        "redriven-numbers-dead",
        "coverage counts a number as dead that was redriven",
        "tests/unit/test_coverage.py::",
        (
            "query/ledger/coverage_statements.py",
            "type = 'redriven'), -1)",
            "type = 'redriven' AND false), -1)",
        ),
    ),
    _mutant(
        "coverage-of-today",
        "coverage as known at a time adds what is known of gaps now",
        "tests/unit/test_coverage.py::",
        (
            "query/ledger/coverage.py",
            "self._events.ask(_request(request, request.events_as_of), add)",
            "self._events.ask(RowsRequest(limit=request.limit), add)",
        ),
    ),
    _mutant(
        "findings-at-one-offset",
        "the rows of findings that are fetched together have the place of the first one",
        "tests/unit/test_ledger_rows.py::",
        (
            "core/ledger/records.py",
            "            record.offset,\n",
            "            records[0].offset,\n",
        ),
    ),
    _mutant(
        "findings-between-taken-too",
        "of findings that were fetched together the first ones are taken, whichever are meant",
        "tests/unit/test_ledger_rows.py::",
        (
            "core/records/log_record.py",
            "(batch.only.number - at, id(batch.made))",
            "(0, id(batch.made))",
        ),
    ),
    _mutant(
        "light-behind-heavy",
        "light queries wait in the lane of the heavy ones",
        "tests/unit/test_query_turns.py::",
        ("query/turns.py", "self._lanes[is_heavy(units), far]", "self._lanes[True, far]"),
    ),
    _mutant(
        "files-of-the-last-time-left-out",
        "a page ends before files that hold rows of the very time of its last row",
        "tests/unit/test_query_file_steps.py::",
        ("query/file_steps.py", "else edge_ns <= last_ns", "else edge_ns < last_ns"),
    ),
    _mutant(
        "files-without-bounds-come-last",
        "a page ends before files that do not say which times they hold",
        "tests/unit/test_query_file_steps.py::",
        (
            "query/file_steps.py",
            "[*(file.path for file in files if edges[file.path] is None), *known]",
            "[*known, *(file.path for file in files if edges[file.path] is None)]",
        ),
    ),
    _mutant(
        "watermark-not-in-the-position",
        "an agent's event time begins anew after a restart",
        "tests/simulation/test_agent_tasks.py::",
        (
            "runtime/task/agents.py",
            "WATERMARK.write(Watermark(self._runner.watermark_ns))",
            "WATERMARK.write(Watermark())",
        ),
    ),
    _mutant(
        "timers-not-restored",
        "the timers that agents have set end with their task",
        "tests/simulation/test_agent_tasks.py::",
        (
            "topology/timers.py",
            "for key, value in rows.items(self._prefix)",
            "for key, value in list(rows.items(self._prefix))[:0]",
        ),
    ),
    _mutant(
        "declared-tables-not-restored",
        "a take-over restores the table with the position alone",
        "tests/simulation/test_agent_tasks.py::",
        (
            "runtime/task/agents.py",
            "(self._first, *self._declared.values())",
            "(self._first,)",
        ),
    ),
    _mutant(
        "a-tables-sum-not-compared",
        "a store that lost rows is used where its position lies in another changelog",
        "tests/unit/test_declared_tables.py::",
        (
            "state/row_tables.py",
            "            if without_empty(expected) != without_empty(found):\n",
            "            if self._has_position and "
            "without_empty(expected) != without_empty(found):\n",
        ),
    ),
    _mutant(
        "table-of-another-version-used",
        "state that other code made is taken for one's own",
        "tests/simulation/test_agent_tasks.py::",
        ("runtime/task/resume.py", "        if found != version:\n", "        if found < 0:\n"),
    ),
    _mutant(
        "stopped-agent-begins-again",
        "a partition whose agent has stopped it is taken over again and again",
        "tests/unit/test_driver_agents.py::",
        ("runtime/assignment.py", "isinstance(task.error, TaskStoppedError)", "False"),
    ),
    _mutant(
        "dead-row-of-the-record-behind",
        "the dead letter of a record's first row names the record in front",
        "tests/simulation/test_agent_tasks.py::",
        ("runtime/task/agents.py", 'row, side="right")', 'row, side="left")'),
    ),
    _mutant(
        "agents-read-what-load-leaves-out",
        "agents are given columns that are null while a worker is under load",
        "tests/unit/test_agent_rows.py::",
        (
            "core/records/agent_rows.py",
            "ENRICHED if stream.is_enriched else frozenset()",
            "frozenset[str]()",
        ),
    ),
    _mutant(
        "output-without-a-record-per-checkpoint",
        "a checkpoint without rows of an output writes nothing into its log",
        "tests/simulation/test_agent_tasks.py::",
        (
            "runtime/task/epoch.py",
            "            log, batches = stream.log, self.rows[stream.log]\n",
            "            log, batches = stream.log, self.rows[stream.log]\n"
            "            if not batches:\n                continue\n",
        ),
    ),
    _mutant(
        "record-at-fault-not-looked-for",
        "a record that K2 or a feed fails on stops its partition for good",
        "tests/unit/test_record_isolation.py::",
        ("runtime/task/isolation.py", "if not failures.is_isolating:", "if True:"),
    ),
    _mutant(
        "failure-counted-by-batch",
        "failures count as one position only where the batches are the same: they never are",
        "tests/unit/test_record_failures.py::",
        (
            "core/records/record_failures.py",
            "start < before.end and before.start < end",
            "(start, end) == (before.start, before.end)",
        ),
    ),
    _mutant(
        "disk-error-blamed-on-records",
        "records become dead letters because the state's store could not be read",
        "tests/unit/test_record_isolation.py::",
        (
            "runtime/task/sequencer.py",
            "except (ProcessingError, StateReadError, MemoryError):",
            "except ProcessingError:",
        ),
    ),
    _mutant(
        "ids-of-a-failed-batch-remembered",
        "the trades of a batch that failed are repeats when it is tried again: they are lost",
        "tests/unit/test_record_isolation.py::",
        (
            "runtime/task/row_ids.py",
            "            self._added.append((bucket, hashes))\n",
            "            self._ids.add(bucket, hashes)\n",
        ),
    ),
    _mutant(
        "first-header-counts",
        "a null header behind another one does not take it back",
        "tests/unit/test_record_headers.py::",
        (
            "runtime/task/headers.py",
            "            found = value\n",
            "            found = found or value\n",
        ),
    ),
    _mutant(
        "set-back-partition-forgotten",
        "a commit looks at no partition but its own: what a roll back took of others stays away",
        "tests/unit/test_lake_set_back.py::test_a_partition_without_messages_is_read_again_while_others_go_on",
        ("runtime/sinks/runner.py", "        await self._follow_back(done.head.vector)\n", ""),
    ),
    _mutant(
        "header-key-stops-partition",
        "a batch with a header key that is no UTF-8 is not read again",
        "tests/unit/test_header_keys.py::test_each_of_the_decoders_of_aiokafka_is_helped",
        (
            "kafka/header_keys.py",
            "                self._records.read_again()\n",
            "                raise\n",
        ),
    ),
    _mutant(
        "given-before-the-commit",
        "rows are given to tail and sink once they are sent; the commit follows",
        SIMULATION,
        (
            "kafka/transactions.py",
            "            await self._commit(places)\n            found",
            "            self.late = asyncio.ensure_future(self._commit(places))\n"
            "            found",
        ),
    ),
    _mutant(
        "gap-taken-for-a-marker",
        "what others committed between two transactions of a task is taken for a marker",
        "tests/property/test_rows_from_memory.py::",
        (
            "core/records/log_chunk.py",
            "        return Range(first - MARKER_OFFSETS if follows else first, self._end)\n",
            "        return Range(previous if was_known else first, self._end)\n",
        ),
    ),
    _mutant(
        "record-in-place-of-a-marker",
        "a task goes on at once although a broker was restarted behind its last commit",
        "tests/property/test_rows_from_memory.py::",
        (
            "kafka/transactions.py",
            "            if all(one.connected() for one in self._last_connections):\n",
            "            if self._last_connections is not None:\n",
        ),
    ),
    _mutant(
        "refused-partitions-written-to",
        "a task whose partitions the coordinator refused goes on: it does not learn that it is "
        "fenced",
        "tests/unit/test_transactions.py::",
        (
            "kafka/transactions.py",
            "        if not manager.is_in_transaction():",
            "        if manager is None:",
        ),
    ),
    _mutant(
        "missing-marker-passed",
        "a record that lies where a reader expected a marker is left out",
        "tests/property/test_rows_from_memory.py::"
        "test_a_record_where_a_marker_was_expected_stops_its_partition",
        (
            "runtime/committed_rows.py",
            "            raise MarkerMissingError(fetched.partition, marker)\n",
            "            pass\n",
        ),
    ),
    _mutant(
        "aborted-end-incomplete",
        "behind an aborted transaction no answer is complete until the next checkpoint",
        "tests/unit/test_published.py::",
        (
            "runtime/node/published.py",
            "        if start <= log_next < end:\n",
            "        if start < log_next < end:\n",
        ),
    ),
    _mutant(
        "aborted-end-covers-all",
        "an end without records covers records before it whose events nobody has counted",
        "tests/unit/test_published.py::",
        (
            "runtime/node/published.py",
            "        if start <= log_next < end:\n",
            "        if log_next < end:\n",
        ),
    ),
    _mutant(
        "given-rows-taken-anywhere",
        "a reader takes whatever is given, wherever it stands",
        "tests/property/test_rows_from_memory.py::",
        (
            "runtime/committed_rows.py",
            "len(waiting) > 0 and waiting[0].chunk.start <= position",
            "len(waiting) > 0",
        ),
    ),
    _mutant(
        "given-rows-taken-twice",
        "a reader in the middle of what is given takes all of it",
        "tests/unit/test_committed_rows.py::",
        (
            "core/records/log_chunk.py",
            "if batch.log_offset >= position)",
            "if batch.log_offset >= 0)",
        ),
    ),
    _mutant(
        "given-events-taken-anywhere",
        "events of a transaction are taken although those before them were not read",
        "tests/unit/test_tail_reader.py::",
        (
            "core/records/log_chunk.py",
            "        return self.range.start <= position <= self.range.end\n",
            "        return position <= self.range.end\n",
        ),
    ),
    _mutant(
        "given-events-read-as-well",
        "events that memory was ahead with are counted when they are fetched",
        "tests/unit/test_tail_reader.py::",
        (
            "runtime/node/tailing.py",
            "            records = [one for one in chunk.records if one.offset >= position]\n",
            "            records = list(chunk.records)\n",
        ),
    ),
    _mutant(
        "fetched-behind-given",
        "the tail appends what was fetched although memory was faster",
        SIMULATION,
        (
            "runtime/node/tailing.py",
            "            chunk = self._given.rest_of(chunk, end)\n",
            "            chunk = chunk.since(fetched.start)\n",
        ),
    ),
    _mutant(
        "followed-for-ever",
        "a reader that is given nothing any more does not go back to the log",
        "tests/unit/test_committed_rows.py::",
        (
            "runtime/committed_rows.py",
            "        return end == position and is_recent and not",
            "        return end == position and not",
        ),
    ),
    _mutant(
        "hand-over-outlives-its-task",
        "the readers of a partition are not told that its task is over",
        "tests/unit/test_committed_rows.py::",
        (
            "runtime/committed_rows.py",
            "            log.clear(self._partition)\n",
            "            log.clear(-1)\n",
        ),
    ),
    _mutant(
        "reset-deletes-logs-first",
        "a reset that ends half-way leaves dead letters and no log that would stop a start",
        "tests/unit/test_app_reset_halfway.py::",
        (
            "runtime/reset/plan.py",
            '    TABLE = "Iceberg table"\n    EVENTS = "sequence events"\n',
            '    LOG = "output"\n    TABLE = "Iceberg table"\n    EVENTS = "sequence events"\n',
        ),
        (
            "runtime/reset/plan.py",
            '    LEVELS = "level changes"\n    LOG = "output"\n',
            '    LEVELS = "level changes"\n',
        ),
    ),
    _mutant(
        "reset-keeps-unguarded-outputs",
        "state is deleted though nothing would stop the app from writing its rows again",
        "tests/unit/test_app_reset_plan.py::",
        (
            "cli/app_reset.py",
            "    if plan.kept and found.unguarded:\n",
            "    if plan.read == ():\n",
        ),
    ),
    _mutant(
        "bars-know-no-upper-edge",
        "a gap makes every bar behind it incomplete, so that none is known to be empty",
        "tests/unit/test_bars_complete.py::test_a_gap_within_a_minute_makes_exactly_that_minute_incomplete",
        (
            "core/query/bars/completeness.py",
            "        if latest_ns is not None:\n",
            "        if latest_ns is None:\n",
        ),
    ),
    _mutant(
        "bars-complete-before-events-read",
        "a bar is complete though gaps among its trades are not known yet",
        "tests/unit/test_bars_complete.py::test_no_bar_is_complete_before_the_events_were_read",
        (
            "query/gaps.py",
            "return self.covers(log_next) and self.forgotten == 0\n",
            "return self.forgotten == 0\n",
        ),
    ),
    _mutant(
        "bars-stepped-over-clock-change",
        "bars are stepped on from midnight, so that those behind a change are shifted",
        "tests/unit/test_bars_grid.py::test_a_bar_begins_where_the_clock_shows_a_multiple",
        (
            "core/query/bars/grid.py",
            "    if len(begins) == len(ends) == 1 and ends[0] - begins[0] == DAY_NS:",
            "    if len(begins) == len(ends) == 1:",
        ),
    ),
    _mutant(
        "bars-open-by-time-alone",
        "of trades at one moment any may open a bar, so that answers differ from node to node",
        "tests/property/test_bars_answer.py::",
        (
            "query/bars/statement.py",
            '_ORDER = "exchange_time_ns, log_partition, log_offset, log_row"\n',
            '_ORDER = "exchange_time_ns"\n',
        ),
    ),
    _mutant(
        "asof-ignores-ties",
        "of quotes at one moment any may be taken, so that answers differ from node to node",
        "tests/unit/test_asof_ties.py::test_the_quote_next_to_the_trade_is_taken",
        (
            "query/asof/statement.py",
            '        f"QUALIFY {neighbour}(exchange_time_ns) OVER {window} IS DISTINCT FROM '
            'exchange_time_ns"\n',
            '        f"QUALIFY {neighbour}(exchange_time_ns) OVER {window} IS NOT NULL OR TRUE"\n',
        ),
    ),
    _mutant(
        "asof-old-is-complete",
        "a quote that is old because what was quoted since is missing is shown as complete",
        "tests/unit/test_asof_complete.py::test_a_gap_among_quotes_flags_the_trades_whose_quote_may_be_another",
        (
            "core/query/asof/strategy.py",
            "        complete &= ~meets\n",
            "        complete &= meets | ~meets\n",
        ),
    ),
    _mutant(
        "stream-reads-both-parts",
        "a subscription takes offsets from the tail that it takes from the lake too",
        "tests/unit/test_subscription_core.py::test_each_offset_is_read_from_one_part",
        (
            "core/subscription/sources.py",
            "recent[partition] = Range(cut, until)",
            "recent[partition] = Range(part.start, until)",
        ),
    ),
    _mutant(
        "stream-forgets-partial-record",
        "a subscription's token says nothing of the rows of a record that are given",
        "tests/unit/test_web_stream.py::test_every_token_goes_on_where_it_was_given",
        (
            "query/subscription/reader.py",
            "    if partial is None:\n",
            "    if partial is None or partial.row:\n",
        ),
    ),
    _mutant(
        "stream-passes-late-rows",
        "a subscription looks for rows it has not seen in no file older than those it has",
        "tests/unit/test_subscriptions.py::"
        "test_rows_that_are_seen_late_are_given_though_they_were_accepted_before",
        (
            "core/subscription/legs.py",
            "return Leg(goal, self.beyond, beyond)",
            "return Leg(goal, max(self.floor, self.beyond), beyond)",
        ),
    ),
    _mutant(
        "stream-ends-early",
        "a finite range ends where the node has no more, before its end",
        "tests/unit/test_subscriptions.py::"
        "test_a_range_ends_at_its_end_and_not_where_the_node_has_no_more",
        (
            "query/subscription/subscription.py",
            "self._is_over = end is not None and self._position.covers(end.next)",
            "self._is_over = end is not None",
        ),
    ),
    _mutant(
        "stream-checksum-by-order",
        "the checksum at the end of a range depends on the order of the rows",
        "tests/unit/test_subscription_core.py::"
        "test_a_tally_does_not_depend_on_the_order_and_notices_each_row",
        (
            "core/subscription/tally.py",
            "(self.checksum + added) & _MASK",
            "(self.checksum * 3 + added) & _MASK",
        ),
    ),
    _mutant(
        "history-skips-a-record",
        "a task that starts in the lake goes on behind a record of which it was given no row",
        "tests/unit/test_lake_start.py::"
        "test_it_equals_that_through_ten_crashes_in_history_and_after",
        (
            "runtime/history/lake_history.py",
            "HistoryRecords(records, last.offset, last.timestamp * 1_000)",
            "HistoryRecords(records, last.offset + 1, last.timestamp * 1_000)",
        ),
    ),
    _mutant(
        "sketch-union-adds",
        "a union of sketches adds registers up: what two workers saw counts twice",
        "tests/unit/test_sketches.py::test_the_union_of_four_workers_has_the_bytes_of_one",
        (
            "core/sketches/distinct.py",
            "        np.maximum(self.registers, other.registers, out=self.registers)\n",
            "        self.registers += other.registers\n",
        ),
    ),
    _mutant(
        "counters-dropped-by-batch",
        "heavy hitters drop counters at the end of a batch, so that a restart changes the state",
        "tests/unit/test_sketches.py::test_how_rows_are_cut_changes_no_byte_of_heavy_hitters",
        (
            "core/sketches/heavy_hitters.py",
            "            if self.rows % BLOCK_ROWS == 0:\n",
            "            if self.rows % BLOCK_ROWS == 0 or end == count:\n",
        ),
    ),
    _mutant(
        "sketch-due-by-batch",
        "a minute of sketches is due by the first row of a batch, not by its own first trade",
        "tests/unit/test_sketches_app.py::test_how_trades_are_cut_changes_no_byte_of_a_sketch",
        (
            "core/sketches/measures.py",
            "        begun_ns = max(int(reached_ns[at[first[number]]]), minute_ns + MINUTE_NS)\n",
            "        begun_ns = max(int(reached_ns[-1]), minute_ns + MINUTE_NS)\n",
        ),
    ),
    _mutant(
        "adoption-believes-what-is-not-whole",
        "an adoption counts every number below a scope's last row as received that no event names",
        f"{ADOPTION}test_what_is_sent_again_is_neither_doubled_nor_lost_and_the_ledger_agrees",
        (
            "core/adoption/rebuild.py",
            "max((one.certain_last + 1 for one in rows), default=0)",
            "max((one.last + 1 for one in rows), default=0)",
        ),
    ),
    _mutant(
        "adoption-hides-what-is-missing",
        "an adoption reports no gap of what is missing and was not reported before",
        f"{ADOPTION}test_what_is_sent_again_is_neither_doubled_nor_lost_and_the_ledger_agrees",
        (
            "core/adoption/rebuild.py",
            "parts.append(about.opened(start, end - 1, evidence.now_ms, *beside))",
            "parts.append(Missing(start, end, start, end - 1, evidence.now_ms, *beside))",
        ),
    ),
    _mutant(
        "adoption-forgets-rows",
        "an adoption takes numbers for missing that have rows",
        f"{ADOPTION}test_a_lake_that_has_everything_gives_the_state_back",
        (
            "core/adoption/rebuild.py",
            "received = merged((*with_rows, *dead, *without_row))",
            "received = merged((*with_rows[1:], *dead, *without_row))",
        ),
    ),
    _mutant(
        "adoption-begins-at-zero",
        "the table of an adopted log expects its rows from offset 0 on",
        "tests/unit/test_adoption.py::"
        "test_a_table_goes_on_from_a_new_log_at_the_offsets_that_it_has",
        (
            "core/records/vector.py",
            "TopicOffsets(topic_id, held.next)})",
            "TopicOffsets(topic_id, dict.fromkeys(held.next, 0))})",
        ),
    ),
    _mutant(
        "token-of-lost-rows",
        "a token of a lost log is answered with other rows in place of those that were lost",
        "tests/unit/test_adoption.py::"
        "test_a_token_of_a_lost_log_is_answered_as_far_as_its_rows_had_come",
        (
            "core/records/vector.py",
            "return all(end <= self.next.get(partition, 0) for partition, end in offsets.items())",
            "return bool(offsets)",
        ),
    ),
    _mutant(
        "statement-without-a-wall",
        "a statement may take whatever memory the machine has",
        "tests/unit/test_sql_process.py::test_what_duckdb_does_not_count_is_bounded_all_the_same",
        (
            "query/sql/child.py",
            "        _wall(self._memory_bytes + SLACK_BYTES)\n",
            "        _wall(None)\n",
        ),
    ),
    _mutant(
        "late-refusal-ends-the-process",
        "what DuckDB refuses while rows are taken ends the process, and is told as want of memory",
        "tests/unit/test_sql_process.py::test_what_duckdb_refuses_is_told_as_that_whenever_it_refuses",
        (
            "query/sql/child.py",
            "duckdb.Error, pa.ArrowException, OSError, MemoryError,",
            "duckdb.Error, pa.ArrowException, MemoryError,",
        ),
    ),
    _mutant(
        "kind-of-failure-by-any-word",
        "a name or value that contains the words of another failure is told as that",
        "tests/unit/test_sql_process.py::test_what_duckdb_refuses_is_told_as_that_whenever_it_refuses",
        (
            "query/walled.py",
            'text.startswith("INTERRUPT Error:")',
            '"INTERRUPT Error:" in text',
        ),
    ),
    _mutant(
        "rows-without-a-bound-in-bytes",
        "an answer to a statement has as many bytes as its rows have",
        "tests/unit/test_sql_process.py::test_rows_have_a_bound_in_bytes",
        (
            "query/sql/child.py",
            "                if size > most_bytes:",
            "                if size < 0:",
        ),
    ),
    _mutant(
        "checkpoint-size-forgotten",
        "a task that replaces one whose checkpoint took too long makes as large ones",
        "tests/unit/test_task_flow.py::test_a_checkpoint_after_one_that_failed_is_smaller",
        (
            "runtime/task/checkpoint.py",
            "        self._size = context.sizes.setdefault(\n",
            "        self._size = {}.setdefault(\n",
        ),
    ),
    _mutant(
        "held-partition-read",
        "after an assignment partitions are read that something holds",
        "tests/unit/test_flow.py::test_what_is_held_stays_paused_through_an_assignment",
        (
            "runtime/flow.py",
            "        self._group.pause_partitions(wanted - unheld)\n",
            "",
        ),
    ),
    _mutant(
        "partial-checkpoint-covered",
        "rows of a checkpoint that was read in part count as covered by the events before it",
        "tests/unit/test_published.py::"
        "test_wherever_the_log_is_cut_no_row_is_covered_whose_events_may_still_come",
        (
            "core/records/log_chunk.py",
            "        return self.end if self.partial_from is None else self.partial_from\n",
            "        return self.end\n",
        ),
    ),
)
