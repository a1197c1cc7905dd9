/** A table whose cells change in place: what is selected or scrolled stays. */
import { h } from "./elements.js";
import { NONE, cell } from "../format.js";

const NUMBER = /^-?\d+(\.\d+)?$/;

/** Columns of words, of numbers, and of long texts that are broken into lines. `cell(row)` gives a
 *  text, `{ text, tone, title }` or a node; `title` explains the heading. */
export const text = (name, cell, title) => ({ name, cell, title, kind: null });
export const number = (name, cell, title) => ({ name, cell, title, kind: "number" });
export const wide = (name, cell, title) => ({ name, cell, title, kind: "wide" });

/** Columns of rows as they are, by the names of their fields; numbers stand at the right. */
export const columnsOf = (names, rows, heading = name => name) =>
  names.map(name => {
    const isNumber = rows.every(row => row[name] === null || NUMBER.test(row[name]));
    return (isNumber ? number : text)(heading(name), row => cell(row[name]));
  });

/** `show(rows)` shows rows; without any the text is `empty`. */
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
            { scope: "col", class: column.kind === "number" && "number", title: column.title },
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
            columns.map(column => h("td", { class: column.kind })),
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

function setCell(place, shown) {
  if (shown instanceof Node) {
    if (place.firstChild !== shown) place.replaceChildren(shown);
    return;
  }
  const {
    text,
    tone = "",
    title = "",
  } = shown !== null && typeof shown === "object" ? shown : { text: shown };
  const value = text === null || text === undefined ? NONE : String(text);
  if (place.textContent !== value) place.textContent = value;
  if (place.dataset.tone !== tone) place.dataset.tone = tone;
  if (place.title !== title) place.title = title;
}
