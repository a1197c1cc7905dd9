/** The one place that speaks to the node. */
import { parseJson } from "./json.js";

/** A node that says nothing for so long is shown as one that does not answer. */
export const STATUS_WITHIN_MS = 10_000;
/** A little more than the node's own limit of a request, so that its error is the one shown. */
const ANSWER_WITHIN_MS = 35_000;
const KINDS = {
  unauthorized: "unauthorised",
  not_found: "absent",
  method_not_allowed: "absent",
  rate_limited: "busy",
  busy: "busy",
  not_yet: "busy",
  not_ready: "busy",
};

/** Why there is no answer.
 *  `kind`: `unauthorised`, `absent` (the node does not offer it), `busy`, `refused` (the question
 *  is wrong), `failed` or `unreachable`. */
export class ApiError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** A path with a query string; what is not given is left out, a list is repeated. */
export function urlOf(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    for (const one of [value].flat())
      if (one !== undefined && one !== null && one !== "") query.append(name, one);
  return query.size ? `${path}?${query}` : path;
}

/** What the page asks of a node.
 *  `fetch` and `EventSource` are the browser's; a test gives its own. */
export function createApi({ fetch, EventSource }) {
  /** The text of an answer. Options are those of `fetch`, and `withinMs`. */
  async function text(url, { withinMs = ANSWER_WITHIN_MS, signal, ...options } = {}) {
    const limit = AbortSignal.timeout(withinMs);
    let answer, body;
    try {
      answer = await fetch(url, {
        ...options,
        signal: AbortSignal.any(signal ? [signal, limit] : [limit]),
      });
      body = await answer.text();
    } catch (error) {
      if (signal?.aborted) throw error;
      const why = limit.aborted ? ` within ${withinMs / 1000} s` : "";
      throw new ApiError("unreachable", `The node does not answer${why}.`);
    }
    if (answer.ok) return body;
    throw refusal(answer.status, body);
  }
  const ask = async (path, parameters, options) =>
    parseJson(await text(urlOf(path, parameters), options));

  return {
    text,
    /** The JSON answer of a path. */
    ask,
    /** Rows and proof of a statement. */
    sql: (statement, parameters, options) =>
      ask("/v1/sql", parameters, {
        ...options,
        method: "POST",
        body: statement,
        headers: { "Content-Type": "application/sql" },
      }),
    /** Exchange an API key for a session of this browser: a cookie that no script can read. */
    signIn: key => text("/v1/session", { method: "POST", headers: { "X-API-Key": key } }),
    signOut: () => text("/v1/session", { method: "DELETE" }),
    /** A stream of server-sent events; the browser connects again by itself. */
    events: (path, parameters) => new EventSource(urlOf(path, parameters)),
  };
}

function refusal(status, body) {
  let error = {};
  try {
    error = parseJson(body).error ?? {};
  } catch {
    /* not ours: a proxy's page */
  }
  const kind = KINDS[error.code] ?? (status >= 500 ? "failed" : "refused");
  return new ApiError(kind, error.message ?? `The node answered ${status}.`);
}
