"""The page's files: read once, served under an address that changes with their content.

So a browser keeps each file for as long as it likes, and a worker of another version is never asked
for the files of this one. Nothing but these files can be asked for: a name is looked up, no path of
the machine is made of it.
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

ROOT = resources.files("k2_streams.web.page").joinpath("assets")
INDEX = "index.html"
#: In the index where the address of the files belongs.
PLACEHOLDER = "FILES"
MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
#: A browser asks this server alone, and runs and draws what these files hold alone.
POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
#: A file's address names its content.
FOREVER = "public, max-age=31536000, immutable"
PREFIX = "/page"
#: Of the digest: enough to tell versions from each other.
_VERSION_LENGTH = 16


def _read(folder: Traversable, path: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{path}{entry.name}"
        if entry.is_dir():
            yield from _read(entry, f"{name}/")
        elif media_type(name) is not None:
            yield name, entry.read_bytes()


def media_type(name: str) -> str | None:
    """Of a file's name; None: no file of the page, as a licence."""
    return next((kind for end, kind in MEDIA_TYPES.items() if name.endswith(end)), None)


def version_of(files: Mapping[str, bytes]) -> str:
    """A name of the files' content."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:_VERSION_LENGTH]


FILES = dict(_read(ROOT))
VERSION = version_of(FILES)
ROUTE = f"{PREFIX}/{VERSION}/{{name:.+}}"
HTML = FILES[INDEX].decode().replace(PLACEHOLDER, f"{PREFIX}/{VERSION}")


@cache
def packed(name: str) -> bytes:
    """A file as it is sent, packed once."""
    return gzip.compress(FILES[name], mtime=0)
