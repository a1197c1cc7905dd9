/** A part of a view with a heading and its four states: loading, empty, error, content. */
import { h, newId } from "./elements.js";

/** `title` heads it; `actions` stand beside the title; `onSignIn` opens the sign-in.
 *  One of `loading`, `empty(text)`, `failed(error)` and `ready()` holds at a time; content stays under
 *  an error, so that a worker that is away for a moment does not empty the page. */
export function createPanel({
  title,
  actions = [],
  content = [],
  onSignIn = () => {},
  className = "",
}) {
  const id = newId("panel"),
    state = h("div", { class: "state", role: "status" });
  const body = h("div", { class: "body" }, content);
  const node = h(
    "section",
    { class: `panel ${className}`, "aria-labelledby": id },
    h("div", { class: "head" }, h("h2", { id }, title), h("div", { class: "actions" }, actions)),
    state,
    body,
  );
  let hasContent = false;
  function say(children, { isBusy = false, isContentShown = false } = {}) {
    state.replaceChildren(...children);
    state.hidden = children.length === 0;
    body.hidden = !isContentShown;
    if (isBusy) node.setAttribute("aria-busy", "true");
    else node.removeAttribute("aria-busy");
  }
  return {
    node,
    body,
    heading: node.querySelector("h2"),
    loading() {
      hasContent = false;
      say([h("p", { class: "note" }, "Loading\u2026")], { isBusy: true });
    },
    empty(text) {
      hasContent = false;
      say([h("p", { class: "note" }, text)]);
    },
    ready() {
      hasContent = true;
      say([], { isContentShown: true });
    },
    failed(error) {
      if (error.kind === "unauthorised") {
        hasContent = false;
        say([
          h("p", { class: "note" }, "This node asks for an API key. "),
          h("button", { type: "button", on: { click: onSignIn } }, "Sign in"),
        ]);
      } else if (error.kind === "absent") {
        hasContent = false;
        say([h("p", { class: "note" }, "This node does not offer this.")]);
      } else {
        say([h("p", { class: "problem" }, error.message)], { isContentShown: hasContent });
      }
    },
  };
}
