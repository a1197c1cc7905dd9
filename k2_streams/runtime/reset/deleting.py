"""Carries a reset out: nothing before the group is empty, then step by step."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from k2_streams.clock import Clock
from k2_streams.kafka.client import KafkaConfig
from k2_streams.kafka.groups import GroupAdmin, GroupInfo, GroupInUseError
from k2_streams.kafka.topics import TopicAdmin
from k2_streams.lake.removal import remove_table
from k2_streams.runtime.lock import DirectoryHeldError, is_held
from k2_streams.runtime.reset.plan import Deleted, Deletion, ResetPlan, streams_of
from k2_streams.runtime.settings.worker import Settings
from k2_streams.topology.declarations import Topology

#: Beside the session timeout: what the broker takes to notice that a member has gone.
LEAVES_WITHIN_S = 5.0
ASK_EVERY_S = 0.5


class ResetRefusedError(Exception):
    """The app is in use; nothing was deleted."""


class ResetIncompleteError(Exception):
    """A part was deleted and the next could not be; the same command goes on."""


async def group_of(settings: Settings) -> GroupInfo:
    """The app's consumer group.

    Raises:
        KafkaError, OSError: the broker does not answer.
    """
    async with GroupAdmin(settings.kafka) as admin:
        return await admin.describe(settings.app_id)


async def wait_until_unused(settings: Settings, clock: Clock) -> GroupInfo:
    """Wait for the members of workers that have stopped to leave the group.

    A static member stays in the group until its session ends, as its worker may come back.

    Raises:
        ResetRefusedError: there are still members after the session timeout.
        KafkaError, OSError: the broker does not answer.
    """
    deadline_s = clock.monotonic() + settings.session_timeout_s + LEAVES_WITHIN_S
    group = await group_of(settings)
    while group.members:
        if clock.monotonic() > deadline_s:
            raise ResetRefusedError(in_use(group, settings))
        await asyncio.sleep(ASK_EVERY_S)
        group = await group_of(settings)
    return group


def in_use(group: GroupInfo, settings: Settings) -> str:
    """Why an app cannot be reset now."""
    return (
        f"group {group.name} has members: {', '.join(group.members)}: stop the workers of the app; "
        f"one that has stopped leaves the group after {settings.session_timeout_s:g} s "
        "(K2_SESSION_TIMEOUT_S)"
    )


def require_free(folders: tuple[Path, ...]) -> None:
    """No worker on this machine has its state open.

    Raises:
        ResetRefusedError: one has.
    """
    held = [str(folder) for folder in folders if is_held(folder)]
    if held:
        raise ResetRefusedError(f"{', '.join(held)}: in use by a worker: stop it")


async def carry_out(
    plan: ResetPlan, topology: Topology, settings: Settings, report: Callable[[Deletion], None]
) -> None:
    """Delete what the plan says, in its order.

    Args:
        plan: what.
        topology: of the app.
        settings: of a worker of it.
        report: told each deletion when it is done.

    Raises:
        ResetRefusedError: the app is in use; nothing was deleted.
        ResetIncompleteError: a part was not deleted.
    """
    for done, one in enumerate(plan.deletions):
        try:
            await _delete(one, topology, settings)
        except Exception as error:
            refused = isinstance(error, GroupInUseError | DirectoryHeldError)
            if refused and not done:
                raise ResetRefusedError(str(error)) from error
            raise ResetIncompleteError(
                f"{one.kind} {one.name} was not deleted: {error}: run the command again before the "
                "app is started"
            ) from error
        report(one)


async def _delete(one: Deletion, topology: Topology, settings: Settings) -> None:
    match one.kind:
        case Deleted.GROUP:
            async with GroupAdmin(settings.kafka) as admin:
                await admin.delete(one.name)
        case Deleted.FOLDER:
            await asyncio.to_thread(_delete_folder, Path(one.name))
        case Deleted.TABLE:
            stream = streams_of(topology)[one.name]
            await asyncio.to_thread(remove_table, settings.lake, stream)
        case _:
            await _delete_topic(one.name, settings.kafka)


def _delete_folder(folder: Path) -> None:
    if is_held(folder):
        raise DirectoryHeldError(f"{folder} is in use by a worker: stop it")
    shutil.rmtree(folder)


async def _delete_topic(name: str, kafka: KafkaConfig) -> None:
    async with TopicAdmin(kafka) as admin:
        await admin.delete([name])
