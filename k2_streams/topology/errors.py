"""What a topology, or an agent of it, fails with."""


class TopologyError(ValueError):
    """A declaration that cannot work; the text says what to change."""


class StateReadError(Exception):
    """The state's store could not be read: no record is at fault."""


class AgentFailedError(Exception):
    """An agent raised. Nothing of the batch was taken.

    Attributes:
        agent: its name.
        start, end: the rows of the batch that it was given, `[start, end)`.
        timer: the key of the timer that it was called for; None: it was called with the rows.
        error: type and text of what it raised.
    """

    def __init__(
        self, agent: str, start: int, end: int, error: str, timer: str | None = None
    ) -> None:
        what = f"rows {start} to {end - 1}" if timer is None else f"timer {timer!r}"
        super().__init__(f"agent {agent}, {what}: {error}")
        self.agent = agent
        self.start = start
        self.end = end
        self.timer = timer
        self.error = error


class TaskStoppedError(Exception):
    """A partition stops until a person has done what the text says."""


class RecordUnreadableError(TaskStoppedError):
    """A record of a log is none that this version can read."""

    def __init__(self, topic: str, partition: int, offset: int, error: str) -> None:
        super().__init__(
            f"failed: record {topic}-{partition} offset {offset} cannot be read: {error}. A newer "
            "version of K2, or another program, wrote it: run that version, or remove the record"
        )


class AgentStoppedError(TaskStoppedError):
    """An agent fails on a row again and again, and `on_error` says that its partition stops."""

    def __init__(self, agent: str, row: int, error: str) -> None:
        super().__init__(
            f"failed: agent {agent}: {error} (row {row} of the batch). Its on_error is 'stop': fix "
            "the agent and restart the worker, or declare on_error='dead-letter'"
        )
        self.agent = agent
        self.row = row
        self.error = error
