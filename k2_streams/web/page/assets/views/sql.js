/** A statement over the relations, its rows and its proof. */
import { urlOf } from "../api/api.js";
import { button, createForm, field, h } from "../dom/elements.js";
import { createPanel } from "../dom/panel.js";
import { createProofPanel, knownAt } from "../dom/proof.js";
import { columnsOf, createTablePanel } from "../dom/table.js";
import { milliseconds, plural } from "../format.js";

const SHOWN_ROWS = 1_000,
  HOUR_MS = 3_600_000;
/** Of the last hour by its time itself: a statement has no clock, so that its token repeats it. */
const first =
  () => `SELECT exchange, symbol, count(*) AS trades, sum(quantity) AS volume, max(price) AS high
FROM trades
WHERE exchange_time >= '${new Date(Date.now() - HOUR_MS).toISOString().slice(0, 19)}Z'
GROUP BY ALL ORDER BY trades DESC LIMIT 20`;

export function sqlView(place, context, given) {
  const { api, offer, remember } = context;
  const editor = h("textarea.editor", {
    rows: 6,
    spellcheck: "false",
    autocapitalize: "off",
    value: given.query ?? first(),
    "aria-describedby": "sql-hint",
    on: {
      keydown(event) {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        run();
      },
    },
  });
  const line = (value = "", placeholder) => h("input", { value, placeholder, autocomplete: "off" });
  const known = line(given.known_at, "2026-11-30T10:00:00Z"),
    token = line(given.as_of, "token of an answer"),
    full = h("input", { type: "checkbox", checked: given.full === "true" });
  const csv = h("a.button", { href: "#/sql", download: "answer.csv" }, "As CSV");
  const result = createTablePanel("Rows", rows => columnsOf(Object.keys(rows[0] ?? {}), rows), {
      empty: "The statement has no rows.",
      label: "Rows of the answer",
      actions: csv,
    }),
    proof = createProofPanel("Proof", { factsOf }),
    relations = createPanel("Relations", [], { classes: ".relations" });
  const form = createForm(
    "panel.stack",
    () => run(),
    field("Statement", editor),
    h("p.note", { id: "sql-hint" }, "One SELECT. Ctrl Enter runs it."),
    h(
      "div.controls",
      h("button.primary", { type: "submit" }, "Run"),
      field("As known at", known),
      field("As of", token),
      h(
        "label.row",
        { title: "Read relations without a condition on their time, too" },
        full,
        "Read all of a relation",
      ),
    ),
  );
  place.append(h("div.sql", form, relations.node, result.node, proof.node));
  let question = new AbortController();

  async function run() {
    question.abort();
    question = new AbortController();
    const signal = AbortSignal.any([context.signal, question.signal]);
    const query = editor.value.trim();
    if (!query) return result.empty("Write a statement.");
    const parameters = {
      known_at: known.value.trim(),
      as_of: token.value.trim(),
      full: full.checked ? "true" : "",
    };
    remember({ query, ...parameters });
    csv.href = urlOf("/v1/sql", { query, ...parameters, format: "csv" });
    result.loading();
    proof.loading();
    try {
      const { data, meta } = await api.sql(query, { ...parameters, limit: SHOWN_ROWS }, { signal });
      const more = meta.truncated ? ", the first of more" : "";
      result.heading.textContent = `${plural(meta.rows, "row")}${more}`;
      result.show(data);
      proof.show(meta);
    } catch (error) {
      if (signal.aborted) return;
      result.failed(error);
      proof.empty("There is no answer.");
    }
  }

  /** A name that a click puts where the cursor is. */
  const insert = name =>
    button("button.quiet.small", name, () => {
      editor.setRangeText(name, editor.selectionStart, editor.selectionEnd, "end");
      editor.focus();
    });
  const named = ({ name, columns }) =>
    h(
      "details",
      h("summary", name, h("span.note", ` ${columns.length} columns`)),
      h(
        "ul.names",
        h("li", insert(name)),
        columns.map(one => h("li", insert(one.name), h("span.note", one.type))),
      ),
    );
  offer.watch(({ relations: found }) => {
    const readable = found.filter(({ name }) => name !== "sql" && !name.includes("/"));
    if (!readable.length) return;
    relations.body.replaceChildren(...readable.map(named));
    relations.ready();
  }, context.signal);
  result.empty("Run a statement to see its rows.");
  proof.empty("Each answer says what it rests on.");
}

function factsOf(meta) {
  const relations = Object.entries(meta.relations ?? {});
  const tone = one => (one.complete === false ? "warn" : "");
  return [
    ["Answered in", milliseconds(meta.elapsed_ms)],
    ...knownAt(meta),
    ...relations.map(([name, one]) => [name, relationText(one), tone(one)]),
  ];
}

const relationText = ({ rows, snapshot, complete, gaps }) =>
  [
    rows !== undefined && plural(rows, "row"),
    snapshot && `snapshot ${snapshot}`,
    complete !== undefined && (complete ? "complete" : "not known to be complete"),
    gaps?.length && plural(gaps.length, "gap"),
  ]
    .filter(Boolean)
    .join(", ");
