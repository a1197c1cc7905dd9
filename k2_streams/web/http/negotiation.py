"""In which format a caller wants the answer."""

from k2_streams.web.http.formats import BY_NAME, Format
from k2_streams.web.http.frames import FrameFormat


def choose(name: str | None, accept: str) -> Format:
    """The format named by the parameter, else the one that `Accept` likes best, else JSON.

    A header that names none of ours gets JSON: HTTP allows to answer with what there is.
    """
    if name is not None:
        return BY_NAME[name]
    best, best_quality = Format.JSON, 0.0
    for choice in accept.split(","):
        media_type, *attributes = (part.strip().lower() for part in choice.split(";"))
        found, quality = _of_media_type(media_type), _quality(attributes)
        if found is not None and quality > best_quality:
            best, best_quality = found, quality
    return best


def choose_frames(name: str | None, accept: str) -> FrameFormat:
    """The same of a stream of frames: Arrow where it is named first, else server-sent events."""
    if name is not None:
        return FrameFormat.ARROW if name == "arrow" else FrameFormat.SSE
    first = accept.partition(",")[0].partition(";")[0].strip().lower()
    is_arrow = _of_media_type(first) is Format.ARROW
    return FrameFormat.ARROW if is_arrow else FrameFormat.SSE


def _of_media_type(media_type: str) -> Format | None:
    match media_type:
        case "*/*" | "application/*" | Format.JSON.value:
            return Format.JSON
        case Format.ARROW.value | "application/vnd.apache.arrow":
            return Format.ARROW
        case Format.CSV.value | "text/*":
            return Format.CSV
        case Format.PARQUET.value:
            return Format.PARQUET
        case Format.MARKDOWN.value:
            return Format.MARKDOWN
        case _:
            return None


def _quality(attributes: list[str]) -> float:
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
