"""The agents of one source partition: they run over batches of rows, all or nothing.

What a batch brings about lies above the tables until every agent has returned. What one call of an
agent brings about lies above that, so a call can be discarded by itself:

    table <--- batch <--- call        taken from right to left, each as a whole

**How rows are cut into batches decides nothing.** A timer fires in front of the first row, behind
the one that set it, whose running maximum of event time reaches it. So a batch is cut in front of a
pending timer. A call that sets a timer which may be due within the rows it was given is discarded,
and made again with the rows in front of that moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from k2_streams.core.error_text import described
from k2_streams.topology.context import NO_EVENT_TIME_NS, Context, DeadRow
from k2_streams.topology.declarations import Agent, OnError, Output
from k2_streams.topology.errors import AgentFailedError, AgentStoppedError, StateReadError
from k2_streams.topology.overlay import KeyedRows, Overlay
from k2_streams.topology.timers import Timers

Nanoseconds = npt.NDArray[np.int64]
Milliseconds = npt.NDArray[np.int64]

#: Timers that fire in front of one row, beside those that were pending before: an agent that sets
#: one in the past whenever one fires would never come to the row. One per second of a long weekend
#: are 300,000.
MAX_TIMERS_PER_ROW = 1_000_000


@dataclass(slots=True)
class Effects:
    """What rows brought about, beside the state."""

    emitted: list[tuple[Output, pa.RecordBatch]] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)

    def add(self, more: "Effects", first_row: int) -> None:
        """Add those of a part of the batch that begins at a row."""
        self.emitted += more.emitted
        self.dead += [one._replace(row=one.row + first_row) for one in more.dead]


@dataclass(slots=True)
class _Batch:
    """Rows on their way through the agents, and all that they bring about."""

    rows: pa.RecordBatch
    stream_time_ms: Milliseconds
    running_max_ns: Nanoseconds  # of event time, with what came before the batch
    watermark_ns: int  # before the batch
    overlays: Mapping[str, Mapping[int, Overlay]]  # by agent and table
    effects: Effects = field(default_factory=Effects)

    def watermark_before(self, row: int) -> int:
        """The largest event time of the rows before one."""
        return int(self.running_max_ns[row - 1]) if row else self.watermark_ns


class AgentRunner:
    """Runs agents over the rows of one partition. One thread at a time.

    Args:
        agents: of one source.
        time: the column of event time.
        partition: of the source.
        tables: the rows of each table, by its name.
        timers: the rows of the table `timers`.
        watermark_ns: the largest event time so far; `NO_EVENT_TIME_NS`: there was no row.
        max_timers_per_row: see `MAX_TIMERS_PER_ROW`.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        time: str,
        partition: int,
        tables: Mapping[str, KeyedRows],
        timers: KeyedRows,
        watermark_ns: int = NO_EVENT_TIME_NS,
        max_timers_per_row: int = MAX_TIMERS_PER_ROW,
    ) -> None:
        self.watermark_ns = watermark_ns
        self._max_timers_per_row = max_timers_per_row
        self.agents = agents
        self._time = time
        self._partition = partition
        self._tables = tables
        self._timers = {agent.name: Timers(agent.name, timers) for agent in agents}

    @property
    def pending_timers(self) -> int:
        """Of all agents."""
        return sum(map(len, self._timers.values()))

    def process(
        self,
        rows: pa.RecordBatch,
        stream_time_ms: Milliseconds,
        refused: Mapping[str, str] | None = None,
    ) -> Effects:
        """Run every agent over rows, in their order.

        Args:
            rows: the next ones.
            stream_time_ms: at each of them the largest append time so far.
            refused: agents that are not called with the rows, and why: these are dead letters.

        Raises:
            AgentFailedError: an agent raised. Nothing of the rows is in tables, timers, effects.
            StateReadError: the state's store could not be read.
        """
        if not rows.num_rows:
            return Effects()
        times_ns = rows.column(self._time).to_numpy(zero_copy_only=False).astype(np.int64)
        batch = _Batch(
            rows,
            stream_time_ms,
            np.maximum.accumulate(np.maximum(times_ns, self.watermark_ns)),
            self.watermark_ns,
            {
                agent.name: {
                    id(one): Overlay(self._tables[one.name]) for one in agent.declared_tables
                }
                for agent in self.agents
            },
        )
        refused = refused or {}
        try:
            for agent in self.agents:
                self._run(agent, batch, refused.get(agent.name))
        except BaseException:
            for timers in self._timers.values():
                timers.rollback(0)
            raise
        for overlays in batch.overlays.values():
            for overlay in overlays.values():
                overlay.apply()
        for timers in self._timers.values():
            timers.commit()
        self.watermark_ns = int(batch.running_max_ns[-1])
        return batch.effects

    def isolate(
        self, rows: pa.RecordBatch, stream_time_ms: Milliseconds, error: AgentFailedError
    ) -> Effects:
        """Process rows of which one or more fail: halve them until each is found.

        A row that remains as the only one is tried again, and then handled as its agent's
        `on_error` says.

        Args:
            rows: that `process` failed on.
            stream_time_ms: as for `process`.
            error: of `process`.

        Raises:
            AgentStoppedError: the agent's partition stops. Its task is over.
            StateReadError: the state's store could not be read.
        """
        effects = Effects()
        if rows.num_rows == 1:
            effects.add(self._decide(rows, stream_time_ms, error), 0)
            return effects
        half = rows.num_rows // 2
        for start, count in ((0, half), (half, rows.num_rows - half)):
            part, times_ms = rows.slice(start, count), stream_time_ms[start : start + count]
            try:
                found = self.process(part, times_ms)
            except AgentFailedError as failed:
                found = self.isolate(part, times_ms, failed)
            effects.add(found, start)
        return effects

    def _decide(
        self, row: pa.RecordBatch, stream_time_ms: Milliseconds, error: AgentFailedError
    ) -> Effects:
        """One row, on which an agent has failed."""
        policies = {agent.name: agent.on_error for agent in self.agents}
        refused: dict[str, str] = {}
        # Each turn refuses the row to one more agent.
        for _ in range(len(self.agents) + 1):
            try:
                return self.process(row, stream_time_ms, refused)
            except AgentFailedError as again:
                error = again
            # Of a timer no row is at fault: there is nothing that could be a dead letter.
            if policies[error.agent] is OnError.STOP or error.timer is not None:
                break
            refused[error.agent] = error.error
        raise AgentStoppedError(error.agent, 0, error.error) from error

    # -- one agent -------------------------------------------------------------------------------

    def _run(self, agent: Agent, batch: _Batch, refusal: str | None) -> None:
        """One agent over the batch, cut where its timers want it."""
        timers, maximum = self._timers[agent.name], batch.running_max_ns
        start, count = 0, batch.rows.num_rows
        most = count  # rows of one call; halved or cut when a call is discarded, doubled else
        while start < count:
            self._fire(agent, batch, start)
            end = min(start + most, count)
            due = timers.earliest()
            if due is not None:
                end = min(end, int(np.searchsorted(maximum, due[0])))
            if refusal is not None:
                batch.effects.dead += [
                    DeadRow(agent.name, row, "agent-error", refusal) for row in range(start, end)
                ]
                start = end
                continue
            savepoint = timers.savepoint()
            context = self._call(agent, batch, start, end)
            early = context.timers.earliest_set_ns
            if early is not None and end - start > 1 and early <= maximum[end - 1]:
                # A timer may be due within these rows: only the rows in front of that moment can
                # have been processed before it fires. Of one row that is always so.
                timers.rollback(savepoint)
                most = max(int(np.searchsorted(maximum, early)) - start, 1)
                continue
            self._take(agent, batch, context, start)
            start, most = end, 2 * most

    def _fire(self, agent: Agent, batch: _Batch, row: int) -> None:
        """Fire what is due in front of a row."""
        timers, reached_ns = self._timers[agent.name], int(batch.running_max_ns[row])
        for _ in range(len(timers) + self._max_timers_per_row):
            due = timers.earliest()
            if due is None or due[0] > reached_ns:
                return
            time_ns, key = due
            timers.delete(key)
            context = self._context(agent, batch, row, 0)
            try:
                assert agent.on_timer is not None  # noqa: S101 - none is set without it
                agent.on_timer(key, time_ns, context)
            except (StateReadError, MemoryError):
                raise
            except Exception as error:
                raise AgentFailedError(agent.name, row, row + 1, described(error), key) from error
            self._take(agent, batch, context, row)
        raise AgentFailedError(
            agent.name, row, row + 1,
            f"more than {self._max_timers_per_row} timers set and due in front of one row: "
            "on_timer sets one in the past again and again", key,
        )  # fmt: skip

    def _call(self, agent: Agent, batch: _Batch, start: int, end: int) -> Context:
        context = self._context(agent, batch, start, end - start)
        try:
            agent.function(batch.rows.slice(start, end - start), context)
        except (StateReadError, MemoryError):
            raise
        except Exception as error:
            raise AgentFailedError(agent.name, start, end, described(error)) from error
        return context

    def _context(self, agent: Agent, batch: _Batch, row: int, count: int) -> Context:
        """Of a call that begins at a row, with so many of them."""
        return Context(
            agent,
            self._partition,
            batch.overlays[agent.name],
            self._timers[agent.name],
            int(batch.stream_time_ms[row]),
            batch.watermark_before(row),
            count,
        )

    def _take(self, agent: Agent, batch: _Batch, context: Context, start: int) -> None:
        """What a call has brought about, into the batch."""
        for overlay in context.overlays.values():
            overlay.apply()
        batch.effects.emitted += context.emitted
        batch.effects.dead += [
            DeadRow(agent.name, start + row, reason, detail) for row, reason, detail in context.dead
        ]
