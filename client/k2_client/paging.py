"""Pages of a question, all at the first one's read point."""

from k2_client.columns import ColumnShape
from k2_client.errors import QuestionRefusedError, UnreadableError
from k2_client.exchange import Nodes, Operation, Question
from k2_client.parameters import Parameters
from k2_client.result import Result, result_of

#: Rows of a page: the most that an answer has, some 55 MB, since a node scans anew for each page.
#: Fewer where it has too little memory for them.
PAGE_ROWS = 250_000
MIN_PAGE_ROWS = 1_000


class Paging:
    """Asks for one page after the other.

    Args:
        nodes: where.
        question: of the first page, without its length.
        repeated: its parameters that stand beside a cursor, too.
        shape: what becomes of the columns.
        page_rows: rows of a page.
        limit: rows of all pages; None: all there are.

    Raises:
        ValueError: the limit is not positive.
    """

    def __init__(
        self,
        nodes: Nodes,
        question: Question,
        repeated: Parameters,
        shape: ColumnShape,
        *,
        page_rows: int,
        limit: int | None,
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit: expected at least 1, found {limit}")
        self._nodes = nodes
        self._path = question.path
        self._asked: Parameters | None = question.parameters
        self._repeated = repeated
        self._shape = shape
        self._page_rows = page_rows
        self._left = limit

    @property
    def is_more(self) -> bool:
        """Whether there are rows behind those that were given."""
        return self._asked is not None

    def following(self) -> Operation[Result | None]:
        """The next page; None: there is none, or the limit is reached.

        A node that has too little memory for a page is asked for a smaller one.
        """
        while self._asked is not None and self._left != 0:
            wanted = self._page_rows if self._left is None else min(self._page_rows, self._left)
            more = (("limit", str(wanted)), ("format", "arrow"))
            try:
                reply = yield from self._nodes.ask(Question(self._path, (*self._asked, *more)))
            except QuestionRefusedError as error:
                if error.code != "query_too_large" or wanted <= MIN_PAGE_ROWS:
                    raise
                self._page_rows = max(wanted // 2, MIN_PAGE_ROWS)
                continue
            page = result_of(reply, self._shape)
            self._advance(page)
            return page
        return None

    def _advance(self, page: Result) -> None:
        if self._left is not None:
            self._left -= len(page)
        cursor = page.proof.get("next_cursor")
        if cursor is None:
            self._asked = None
            return
        if not len(page):
            raise UnreadableError(f"{self._path}: a page without rows names a next one")
        quotes = page.proof.get("quotes")
        if quotes is not None and all(name != "quotes_as_of" for name, _ in self._repeated):
            # Of a join: the cursor has the read point of the trades alone.
            self._repeated = (*self._repeated, ("quotes_as_of", quotes["token"]))
        self._asked = (*self._repeated, ("cursor", cursor))
