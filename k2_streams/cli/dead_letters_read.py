"""What the commands about dead letters read."""

import asyncio
import logging

from k2_streams.cli.errors import CannotError
from k2_streams.kafka.log_reader import LogError
from k2_streams.kafka.sender import UNREACHABLE
from k2_streams.runtime.settings.kafka import with_bootstrap
from k2_streams.runtime.settings.worker import SettingsError, from_environment
from k2_streams.testing.oracle.dead_letters import LetterSelection, select_letters
from k2_streams.testing.oracle.topic_records import NotReachedError


def read_into(selection: LetterSelection, topic: str, bootstrap: str | None) -> None:
    """Offer all dead letters of a topic to a selection.

    Args:
        selection: keeps those that are wanted.
        topic: of dead letters.
        bootstrap: None: as the settings say.

    Raises:
        CannotError: they cannot be read.
    """
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        kafka = with_bootstrap(from_environment().kafka, bootstrap)
        asyncio.run(select_letters(kafka, topic, selection))
    except (*UNREACHABLE, LogError) as error:
        raise CannotError(f"the dead letters cannot be read: {error}") from error
    except (SettingsError, NotReachedError) as error:
        raise CannotError(str(error)) from error
