"""A disk on which nothing can be opened."""

from pathlib import Path

from k2_streams.state.rocks import RocksDatabase, RocksDisk


class FullDisk(RocksDisk):
    """Nothing can be opened: what RocksDB says of a full disk, word for word."""

    def open(self, path: Path) -> RocksDatabase:
        raise Exception(  # noqa: TRY002 - as rocksdict does
            f"IO error: No space left on device: While appending to file: {path}/000009.sst: "
            "No space left on device"
        )
