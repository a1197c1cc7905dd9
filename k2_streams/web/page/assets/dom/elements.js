/** Elements made in code: text is always text, never HTML. */
const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set([
  "value",
  "checked",
  "hidden",
  "disabled",
  "selected",
  "textContent",
  "tabIndex",
]);

/** An element. `on` holds listeners by event; what is null, undefined or false is left out. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for a drawing. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, { on = {}, ...attributes }, children) {
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  for (const [name, value] of Object.entries(attributes)) {
    if (PROPERTIES.has(name)) element[name] = value;
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat().filter(child => child !== null && child !== undefined && child !== false),
  );
  return element;
}

let made = 0;
/** An id that no other element has. */
export const newId = prefix => `${prefix}-${(made += 1)}`;

/** A field with its label. */
export function field(label, control, hint) {
  control.id ||= newId("field");
  return h("div", { class: "field" }, h("label", { for: control.id, title: hint }, label), control);
}

/** A form that asks nothing of the server itself: a submit calls `onSubmit`. */
export function createForm(className, onSubmit, ...children) {
  const submit = event => {
    event.preventDefault();
    onSubmit();
  };
  return h("form", { class: className, on: { submit } }, ...children);
}

/** A choice among `[value, text]`, or values that are their own text. */
export function select(options, value, attributes = {}) {
  return h(
    "select",
    attributes,
    options
      .map(one => [one].flat())
      .map(([of, text = of]) => h("option", { value: of, selected: of === value }, text)),
  );
}

/** Choices among the properties of `asked`: `of(name, options)` is one, `choose({ name: value })` is
 *  called when it changes. */
export const createChoices = (asked, choose) => (name, options) => {
  const node = select(options, asked[name], {
    on: { change: () => choose({ [name]: node.value }) },
  });
  return node;
};

/** A word with a mark, so that its tone is not told by colour alone. */
export const chip = (tone, text, title) => h("span", { class: `chip ${tone}`, title }, text);

/** Copies a text, or selects it where the browser does not let a page copy. */
export function copyButton(text, what) {
  const button = h(
    "button",
    {
      type: "button",
      class: "quiet small",
      on: {
        async click() {
          try {
            await navigator.clipboard.writeText(text());
            button.textContent = "Copied";
          } catch {
            button.textContent = "Not allowed here";
          }
          setTimeout(() => {
            button.textContent = "Copy";
          }, 1500);
        },
      },
    },
    "Copy",
  );
  button.setAttribute("aria-label", `Copy the ${what}`);
  return button;
}
