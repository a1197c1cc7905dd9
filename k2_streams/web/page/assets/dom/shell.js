/** What stands around every view: the way to the others, how the node is, the session, the keys. */
import { VIEWS, addressOf } from "../router.js";
import { duration } from "../format.js";
import { toneOfLevel } from "../model/health.js";
import { chip, field, h } from "./elements.js";

const WITH_KEYS = "k2.shortcuts";

/** `show(view)` marks the view that is open; `signIn()` asks for an API key. */
export function createShell({ api, status, offer, delivery, onSession }) {
  const at = id => document.getElementById(id);
  const links = new Map(
    VIEWS.map(([name, title], place) => [
      name,
      h("a", { href: addressOf(name), title: `${title} (${place + 1})` }, title),
    ]),
  );
  at("views").append(...links.values());
  at("skip").addEventListener("click", event => {
    event.preventDefault();
    at("view").focus();
  });
  const session = createSession(api, onSession);
  const shortcuts = createShortcuts();
  const button = at("session-button");
  let isSignedIn = false,
    since = null;

  button.addEventListener("click", async () => {
    if (!isSignedIn) {
      session.open();
      return;
    }
    await api.signOut().catch(() => {});
    onSession();
  });
  at("help-button").addEventListener("click", shortcuts.open);

  function showNode() {
    const { value, error } = status.get(),
      chips = [];
    if (error?.kind === "unauthorised") chips.push(chip("warn", "Signed out"));
    else if (error)
      chips.push(
        chip("bad", "No answer", error.message),
        h(
          "span",
          { class: "note" },
          since ? `for ${duration(Math.round((Date.now() - since) / 1000))}` : "",
        ),
      );
    else if (value)
      chips.push(
        value.ready ? chip("good", "Ready") : chip("bad", "Not ready"),
        chip(toneOfLevel(value.level), value.level, "Degradation level"),
        h("span", { class: "note worker" }, value.worker),
      );
    const how = delivery.get();
    if (how && !error)
      chips.push(h("span", { class: "note" }, how === "stream" ? "live" : "asked every 2 s"));
    since = error ? (since ?? Date.now()) : null;
    isSignedIn = offer.get().asksForKeys && !error;
    button.hidden = !offer.get().asksForKeys;
    button.textContent = isSignedIn ? "Sign out" : "Sign in";
    at("node").replaceChildren(...chips);
  }
  for (const store of [status, offer, delivery]) store.watch(showNode);

  return {
    signIn: session.open,
    show(view) {
      for (const [name, link] of links)
        if (name === view) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      document.title = `${links.get(view).textContent} \u2013 K2 Streams`;
      links.get(view).scrollIntoView({ block: "nearest", inline: "nearest" });
    },
  };
}

/** The dialog that exchanges a key for a session. The key is kept nowhere: the browser holds a cookie
 *  that no script can read. */
function createSession(api, onSession) {
  const key = h("input", {
    type: "password",
    autocomplete: "off",
    required: true,
    spellcheck: "false",
  });
  const problem = h("p", { class: "problem", role: "alert" });
  const dialog = h(
    "dialog",
    { "aria-label": "Sign in" },
    h(
      "form",
      {
        class: "stack",
        on: {
          async submit(event) {
            event.preventDefault();
            const given = key.value;
            try {
              await api.signIn(given);
              key.value = "";
              dialog.close();
              onSession();
            } catch (error) {
              problem.textContent =
                error.kind === "unauthorised" ? "The node does not know this key." : error.message;
              key.select();
            }
          },
        },
      },
      h("h2", {}, "Sign in"),
      h(
        "p",
        { class: "note" },
        "The key is sent to this node once, and exchanged for a session of 12 hours. It is not stored.",
      ),
      field("API key", key),
      problem,
      h(
        "div",
        { class: "row" },
        h("button", { type: "submit", class: "primary" }, "Sign in"),
        h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel"),
      ),
    ),
  );
  document.body.append(dialog);
  return {
    open() {
      problem.textContent = "";
      if (!dialog.open) dialog.showModal();
    },
  };
}

/** Keys for whoever does not use a pointer; they can be turned off. */
function createShortcuts() {
  const isOn = h("input", {
    type: "checkbox",
    checked: localStorage.getItem(WITH_KEYS) !== "off",
    on: {
      change: () => localStorage.setItem(WITH_KEYS, isOn.checked ? "on" : "off"),
    },
  });
  const keys = [
    ...VIEWS.map(([, title], place) => [String(place + 1), title]),
    ["/", "The first field of the view"],
    ["Ctrl Enter", "Run the statement (SQL)"],
    ["?", "This list"],
  ];
  const dialog = h(
    "dialog",
    { "aria-label": "Keyboard shortcuts" },
    h(
      "div",
      { class: "stack" },
      h("h2", {}, "Keyboard shortcuts"),
      h(
        "dl",
        { class: "facts" },
        keys.flatMap(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)]),
      ),
      h("label", { class: "row" }, isOn, "Use single keys"),
      h("button", { type: "button", on: { click: () => dialog.close() } }, "Close"),
    ),
  );
  document.body.append(dialog);
  document.addEventListener("keydown", event => {
    if (
      !isOn.checked ||
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.target.closest("input, select, textarea, dialog")
    )
      return;
    const view = VIEWS[Number(event.key) - 1];
    if (view) location.hash = addressOf(view[0]);
    else if (event.key === "/")
      document.querySelector("#view input, #view textarea, #view select")?.focus();
    else if (event.key === "?") dialog.showModal();
    else return;
    event.preventDefault();
  });
  return { open: () => dialog.showModal() };
}
