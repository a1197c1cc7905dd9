/** A table whose cells change in place: what is selected or scrolled stays. */
import { h } from "./elements.js";
import { NONE } from "../format.js";

/** `columns`: `{ name, cell(row), number, title, wide }`, where `cell` gives a text, `{ text, tone, title }` or
 *  a node. `show(rows)` shows rows; without any the text is `empty`. */
export function createTable({ label, columns, empty = "None." }) {
  const body = h("tbody"),
    note = h("p", { class: "note", hidden: true }, empty);
  const table = h(
    "table",
    {},
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        columns.map(column =>
          h(
            "th",
            { scope: "col", class: column.number && "number", title: column.title },
            column.name,
          ),
        ),
      ),
    ),
    body,
  );
  const scroller = h(
    "div",
    { class: "scroll", tabIndex: 0, role: "region", "aria-label": label },
    table,
  );
  return {
    node: h("div", {}, scroller, note),
    show(rows) {
      while (body.rows.length > rows.length) body.deleteRow(-1);
      while (body.rows.length < rows.length)
        body.append(
          h(
            "tr",
            {},
            columns.map(column =>
              h("td", {
                class:
                  [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") ||
                  null,
              }),
            ),
          ),
        );
      rows.forEach((row, at) =>
        columns.forEach((column, place) => setCell(body.rows[at].cells[place], column.cell(row))),
      );
      scroller.hidden = rows.length === 0;
      note.hidden = rows.length > 0;
    },
  };
}

function setCell(cell, shown) {
  if (shown instanceof Node) {
    if (cell.firstChild !== shown) cell.replaceChildren(shown);
    return;
  }
  const {
    text,
    tone = "",
    title = "",
  } = shown !== null && typeof shown === "object" ? shown : { text: shown };
  const value = text === null || text === undefined ? NONE : String(text);
  if (cell.textContent !== value) cell.textContent = value;
  if (cell.dataset.tone !== tone) cell.dataset.tone = tone;
  if (cell.title !== title) cell.title = title;
}
