/** What stands around every view: the way to the others, how the node is, the session, the keys. */
import { duration } from "../format.js";
import { toneOfLevel } from "../model/health.js";
import { VIEWS, addressOf } from "../router.js";
import { button, chip, createForm, field, h } from "./elements.js";
import { SIGN_IN } from "./panel.js";

const WITH_KEYS = "k2.shortcuts";
const at = id => document.getElementById(id);

/** `show(view)` marks the view that is open. */
export function createShell({ api, status, offer, delivery, signal, onSession }) {
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
  const askForKey = createSignIn(api, onSession),
    toggle = at("session-button");
  at("view").addEventListener(SIGN_IN, askForKey);
  at("help-button").addEventListener("click", createShortcuts());
  toggle.addEventListener("click", async () => {
    if (toggle.textContent === "Sign in") return askForKey();
    await api.signOut().catch(() => {});
    onSession();
  });
  let since = null;

  function showNode() {
    const { value, error } = status.get(),
      how = delivery.get();
    const away = since === null ? "" : `for ${duration(Math.round((Date.now() - since) / 1000))}`;
    at("node").replaceChildren(
      ...(error?.kind === "unauthorised"
        ? [chip("warn", "Signed out")]
        : error
          ? [chip("bad", "No answer", error.message), h("span.note", away)]
          : value
            ? [
                value.ready ? chip("good", "Ready") : chip("bad", "Not ready"),
                chip(toneOfLevel(value.level), value.level, "Degradation level"),
                h("span.note.worker", value.worker),
              ]
            : []),
      how && !error ? h("span.note", how === "stream" ? "live" : "asked every 2 s") : "",
    );
    since = error ? (since ?? Date.now()) : null;
    toggle.hidden = !offer.get().asksForKeys;
    toggle.textContent = error ? "Sign in" : "Sign out";
  }
  for (const store of [status, offer, delivery]) store.watch(showNode, signal);

  return {
    show(view) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(view);
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest" });
      document.title = `${link.textContent} \u2013 K2 Streams`;
    },
  };
}

function createDialog(title, ...content) {
  const dialog = h("dialog", { "aria-label": title }, h("div.stack", h("h2", title), content));
  document.body.append(dialog);
  return dialog;
}

/** The dialog that exchanges a key for a session; what opens it. The key is kept nowhere: the browser
 *  holds a cookie that no script can read. */
function createSignIn(api, onSession) {
  const key = h("input", { type: "password", autocomplete: "off", required: true });
  const problem = h("p.problem", { role: "alert" });
  const dialog = createDialog(
    "Sign in",
    h(
      "p.note",
      "The key is sent to this node once, and exchanged for a session of 12 hours. It is not stored.",
    ),
    createForm(
      "stack",
      submit,
      field("API key", key),
      problem,
      h(
        "div.row",
        h("button.primary", { type: "submit" }, "Sign in"),
        button("button", "Cancel", () => dialog.close()),
      ),
    ),
  );
  async function submit() {
    try {
      await api.signIn(key.value);
    } catch (error) {
      const isUnknown = error.kind === "unauthorised";
      problem.textContent = isUnknown ? "The node does not know this key." : error.message;
      key.select();
      return;
    }
    key.value = "";
    dialog.close();
    onSession();
  }
  return () => {
    problem.textContent = "";
    dialog.showModal();
  };
}

/** Keys for whoever does not use a pointer; they can be turned off. What opens their list. */
function createShortcuts() {
  const remember = () => localStorage.setItem(WITH_KEYS, isOn.checked ? "on" : "off");
  const isOn = h("input", {
    type: "checkbox",
    checked: localStorage.getItem(WITH_KEYS) !== "off",
    on: { change: remember },
  });
  const keys = [
    ...VIEWS.map(([, title], place) => [place + 1, title]),
    ["/", "The first field of the view"],
    ["Ctrl Enter", "Run the statement (SQL)"],
    ["?", "This list"],
  ];
  const dialog = createDialog(
    "Keyboard shortcuts",
    h("dl.facts", keys.flatMap(([key, what]) => [h("dt", h("kbd", key)), h("dd", what)])),
    h("label.row", isOn, "Use single keys"),
    button("button", "Close", () => dialog.close()),
  );
  document.addEventListener("keydown", event => {
    if (!isOn.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, dialog")) return;
    const view = VIEWS[Number(event.key) - 1];
    if (view) location.hash = addressOf(view[0]);
    else if (event.key === "/")
      document.querySelector("#view input, #view textarea, #view select")?.focus();
    else if (event.key === "?") dialog.showModal();
    else return;
    event.preventDefault();
  });
  return () => dialog.showModal();
}
