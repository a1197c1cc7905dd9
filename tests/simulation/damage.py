"""What can become of a killed worker's disk: files that are older, lost, damaged, or another's."""

import random

from k2_streams.testing.memory.disk import MemoryDisk


def damage(disk: MemoryDisk, chance: random.Random) -> str:
    """Something happens to one database; what."""
    paths = sorted(disk.databases)
    if not paths:
        return "nothing"
    path = chance.choice(paths)
    history = disk.databases[path]
    kind = chance.choice(["older", "lost", "other", "broken", "row", "end", "meta"])
    rows = dict(history[-1])
    keys = sorted(rows)
    if kind == "older":
        del history[chance.randrange(len(history)) + 1 :]
    elif kind == "lost":
        del disk.databases[path]
    elif kind == "other":
        disk.databases[path] = [dict(disk.databases[chance.choice(paths)][-1])]
    elif kind == "broken":
        disk.broken.add(path)
    elif kind == "row" and keys:
        key = chance.choice(keys)
        rows[key] = rows[key][:-1] + bytes([rows[key][-1] ^ 1]) if rows[key] else b"?"
        history.append(rows)
    elif kind == "end" and keys:
        history.append({key: rows[key] for key in keys[: chance.randrange(len(keys))]})
    elif kind == "meta":
        rows.pop(b"\x00meta", None)
        history.append(rows)
    return f"{kind} {path.parent.name}/{path.name}"
