/** A statement over the relations, its rows and its proof. */
import { urlOf } from "../api/api.js";
import { chip, copyButton, createForm, field, h } from "../dom/elements.js";
import { createFacts } from "../dom/figures.js";
import { createPanel } from "../dom/panel.js";
import { columnsOf, createTable } from "../dom/table.js";
import { dateTimeOfNs, isKnown, milliseconds, plural } from "../format.js";

const SHOWN_ROWS = 1_000;
/** Of the last hour by its time itself: a statement has no clock, so that its token repeats it. */
const first =
  () => `SELECT exchange, symbol, count(*) AS trades, sum(quantity) AS volume, max(price) AS high
FROM trades
WHERE exchange_time >= '${new Date(Date.now() - 3_600_000).toISOString().slice(0, 19)}Z'
GROUP BY ALL ORDER BY trades DESC LIMIT 20`;

export function sqlView(place, context, given) {
  const { api, offer, signIn } = context;
  const editor = h("textarea", {
    rows: 6,
    spellcheck: "false",
    autocapitalize: "off",
    class: "editor",
    value: given.query ?? first(),
    "aria-describedby": "sql-hint",
    on: {
      keydown: event => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.preventDefault();
          run();
        }
      },
    },
  });
  const known = h("input", {
    type: "text",
    placeholder: "2026-11-30T10:00:00Z",
    value: given.known_at ?? "",
    autocomplete: "off",
  });
  const token = h("input", {
    type: "text",
    placeholder: "token of an answer",
    value: given.as_of ?? "",
    autocomplete: "off",
  });
  const full = h("input", { type: "checkbox", checked: given.full === "true" });
  const csv = h("a", { class: "button", href: "#/sql", download: "answer.csv" }, "As CSV");
  const rows = h("div"),
    verdict = h("p", { class: "verdict" }),
    facts = createFacts();
  const result = createPanel({ title: "Rows", content: [rows], actions: [csv], onSignIn: signIn });
  const proof = createPanel({ title: "Proof", content: [verdict, facts.node], onSignIn: signIn });
  const relations = createPanel({ title: "Relations", className: "relations" });
  place.append(
    h(
      "div",
      { class: "sql" },
      createForm(
        "panel stack",
        () => run(),
        field("Statement", editor),
        h("p", { class: "note", id: "sql-hint" }, "One SELECT. Ctrl Enter runs it."),
        h(
          "div",
          { class: "controls" },
          h("button", { type: "submit", class: "primary" }, "Run"),
          field("As known at", known),
          field("As of", token),
          h(
            "label",
            { class: "row", title: "Read relations without a condition on their time, too" },
            full,
            "Read all of a relation",
          ),
        ),
      ),
      relations.node,
      result.node,
      proof.node,
    ),
  );
  let ending = new AbortController();

  async function run() {
    ending.abort();
    ending = new AbortController();
    const { signal } = ending,
      statement = editor.value.trim();
    if (!statement) {
      result.empty("Write a statement.");
      return;
    }
    const parameters = {
      known_at: known.value.trim(),
      as_of: token.value.trim(),
      full: full.checked ? "true" : "",
    };
    context.remember("sql", { query: statement, ...parameters });
    csv.href = urlOf("/v1/sql", { query: statement, ...parameters, format: "csv" });
    result.loading();
    proof.loading();
    try {
      const { data, meta } = await api.sql(
        statement,
        { ...parameters, limit: SHOWN_ROWS },
        { signal },
      );
      show(data, meta);
    } catch (error) {
      if (signal.aborted) return;
      result.empty("");
      result.failed(error);
      proof.empty("There is no answer.");
    }
  }

  function show(data, meta) {
    const table = createTable({
      label: "Rows of the answer",
      columns: columnsOf(Object.keys(data[0] ?? {}), data),
    });
    table.show(data);
    rows.replaceChildren(table.node);
    result.heading.textContent = `${plural(meta.rows, "row")}${meta.truncated ? ", the first of more" : ""}`;
    if (data.length) result.ready();
    else result.empty("The statement has no rows.");
    verdict.replaceChildren(
      meta.complete ? chip("good", "Complete") : chip("warn", "Not known to be complete"),
    );
    facts.show([
      ["Answered in", milliseconds(meta.elapsed_ms)],
      ...(isKnown(meta.known_at_ns) ? [["Known at", dateTimeOfNs(meta.known_at_ns)]] : []),
      ...Object.entries(meta.relations ?? {}).map(([name, one]) => [
        name,
        relationText(one),
        one.complete === false ? "warn" : "",
      ]),
      [
        "Token",
        h(
          "span",
          { class: "token-line" },
          h("code", { class: "token" }, meta.token),
          copyButton(() => meta.token, "token"),
        ),
      ],
    ]);
    proof.ready();
  }

  /** Relations and their columns; a click puts the name where the cursor is. */
  const unwatch = offer.watch(({ relations: found }) => {
    const named = found.filter(one => !["sql"].includes(one.name) && !one.name.includes("/"));
    if (!named.length) {
      relations.loading();
      return;
    }
    const insert = text =>
      h(
        "button",
        {
          type: "button",
          class: "quiet small",
          on: {
            click: () => {
              editor.setRangeText(text, editor.selectionStart, editor.selectionEnd, "end");
              editor.focus();
            },
          },
        },
        text,
      );
    relations.body.replaceChildren(
      ...named.map(({ name, columns }) =>
        h(
          "details",
          {},
          h("summary", {}, name, h("span", { class: "note" }, ` ${columns.length} columns`)),
          h(
            "ul",
            { class: "names" },
            h("li", {}, insert(name)),
            columns.map(column =>
              h("li", {}, insert(column.name), h("span", { class: "note" }, column.type)),
            ),
          ),
        ),
      ),
    );
    relations.ready();
  });
  result.empty("Run a statement to see its rows.");
  proof.empty("Each answer says what it rests on.");
  return {
    stop() {
      ending.abort();
      unwatch();
    },
  };
}

function relationText(meta) {
  const parts = [
    meta.rows === undefined ? "" : plural(meta.rows, "row"),
    meta.snapshot ? `snapshot ${meta.snapshot}` : "",
    meta.complete === undefined ? "" : meta.complete ? "complete" : "not known to be complete",
    meta.gaps?.length ? plural(meta.gaps.length, "gap") : "",
  ];
  return parts.filter(Boolean).join(", ");
}
