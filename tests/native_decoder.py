"""The native extension as tests use it; without it their parameter `native` is skipped."""

import pytest

from k2_streams.native import Native, NativeRecords, load_native

_FOUND = load_native("auto")
needs_native = pytest.mark.skipif(_FOUND is None, reason="k2_native is not installed")


def native(on_fallback=lambda _kind, _count: None) -> Native:
    """The extension, which is installed: see `needs_native`."""
    import k2_native  # noqa: PLC0415 - it is optional

    return Native(k2_native, on_fallback)


def all_records(
    data: bytes, at: int = 0, aborted=(), *, committed: bool = True, decoder: Native | None = None
) -> NativeRecords | None:
    """All records of an answer at once; None: they are left to Python."""
    batches = (decoder or native()).batches(data, at, aborted, committed=committed)
    found = batches.read(len(data) + 1)
    assert found is None or found.is_last
    return found


#: Both paths: without the extension, and with it where it is installed.
BOTH = [pytest.param(False, id="python"), pytest.param(True, id="native", marks=needs_native)]
