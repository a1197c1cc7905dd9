/** The one place that speaks to the node. */
import { parseJson } from "./json.js";

/** A node that says nothing for so long is shown as one that does not answer. */
export const STATUS_WITHIN_MS = 10_000;
/** A little more than the node's own limit of a request, so that its error is the one shown. */
export const ANSWER_WITHIN_MS = 35_000;
const KEY_HEADER = "X-API-Key",
  SQL = "application/sql";
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
  constructor(kind, message, { status = 0, code = "", retryAfterS = 0 } = {}) {
    super(message);
    Object.assign(this, { name: "ApiError", kind, status, code, retryAfterS });
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
  async function send(url, { withinMs = ANSWER_WITHIN_MS, signal, ...options } = {}) {
    const limit = AbortSignal.timeout(withinMs);
    try {
      const signals = signal ? [signal, limit] : [limit];
      const answer = await fetch(url, { ...options, signal: AbortSignal.any(signals) });
      return { answer, text: await answer.text() };
    } catch (error) {
      if (signal?.aborted) throw error;
      const why = limit.aborted ? ` within ${withinMs / 1000} s` : "";
      throw new ApiError("unreachable", `The node does not answer${why}.`);
    }
  }

  async function body(url, options) {
    const { answer, text } = await send(url, options);
    if (answer.ok) return text;
    throw refusal(answer, text);
  }

  return {
    /** The JSON answer of a path. */
    ask: async (path, parameters, options) =>
      parseJson(await body(urlOf(path, parameters), options)),
    /** The text answer of a path. */
    text: (path, options) => body(path, options),
    /** Rows and proof of a statement. */
    sql: async (statement, parameters, options) =>
      parseJson(
        await body(urlOf("/v1/sql", parameters), {
          ...options,
          method: "POST",
          body: statement,
          headers: { "Content-Type": SQL },
        }),
      ),
    /** Exchange an API key for a session of this browser: a cookie that no script can read. */
    signIn: async key => {
      await body("/v1/session", { method: "POST", headers: { [KEY_HEADER]: key } });
    },
    signOut: async () => {
      await body("/v1/session", { method: "DELETE" });
    },
    /** A stream of server-sent events; the browser connects again by itself. */
    events: (path, parameters) => new EventSource(urlOf(path, parameters)),
  };
}

function refusal(answer, text) {
  let error = {};
  try {
    error = parseJson(text).error ?? {};
  } catch {
    /* not ours: a proxy's page */
  }
  const kind = KINDS[error.code] ?? (answer.status >= 500 ? "failed" : "refused");
  return new ApiError(kind, error.message ?? `The node answered ${answer.status}.`, {
    status: answer.status,
    code: error.code ?? "",
    retryAfterS: Number(answer.headers?.get("Retry-After") ?? 0),
  });
}
