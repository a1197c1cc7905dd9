"""`make reference`: writes every generated page of `docs/reference`."""

from k2_streams.runtime.reference.pages import FOLDER, PAGES, text

for name in PAGES:
    (FOLDER / name).write_text(text(name))
