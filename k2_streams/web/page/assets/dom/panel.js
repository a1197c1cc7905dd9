/** A part of a view with a heading and its states: loading, empty, failed, ready. */
import { clock } from "../format.js";
import { button, h, newId } from "./elements.js";

/** What a panel asks the shell for. */
export const SIGN_IN = "k2-sign-in";

/** `actions` stand beside the title, `classes` say how the view lays it out.
 *  One of `loading`, `empty(text)`, `failed(error)` and `ready()` holds at a time, at first loading.
 *  Content stays under an error, so that a worker that is away for a moment does not empty the page;
 *  the error says from when it is. */
export function createPanel(title, content, { actions = [], classes = "" } = {}) {
  const heading = h("h2", { id: newId("panel") }, title),
    state = h("div.state", { role: "status" }),
    body = h("div.body", content);
  const node = h(
    `section.panel${classes}`,
    { "aria-labelledby": heading.id },
    h("div.head", heading, h("div.actions", actions)),
    state,
    body,
  );
  let filledMs = null;
  function turn(hasContent, ...children) {
    if (!hasContent) filledMs = null;
    body.hidden = !hasContent;
    state.hidden = children.length === 0;
    state.replaceChildren(...children);
    node.removeAttribute("aria-busy");
  }
  const signIn = () => node.dispatchEvent(new Event(SIGN_IN, { bubbles: true }));
  const panel = {
    node,
    body,
    heading,
    loading() {
      turn(false, h("p.note", "Loading\u2026"));
      node.setAttribute("aria-busy", "true");
    },
    empty: text => turn(false, h("p.note", text)),
    ready() {
      filledMs = Date.now();
      turn(true);
    },
    failed(error) {
      if (error.kind === "unauthorised")
        turn(
          false,
          h("p.note", "This node asks for an API key. "),
          button("button", "Sign in", signIn),
        );
      else if (error.kind === "absent") panel.empty("This node does not offer this.");
      else {
        const from = filledMs === null ? "" : ` What is shown is from ${clock(filledMs)} UTC.`;
        turn(filledMs !== null, h("p.problem", error.message + from));
      }
    },
  };
  panel.loading();
  return panel;
}
