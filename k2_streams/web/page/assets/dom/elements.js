/** Elements made in code: text is always text, never HTML. */
const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "polyline"]);

const isGiven = value => value !== null && value !== undefined && value !== false;

/** An element: `h("p.note", { title }, ...children)`, its classes behind points. Attributes may be left
 *  out; `on` holds listeners by event. An attribute or a child that is null, undefined or false is none. */
export function h(name, ...given) {
  const [tag, ...classes] = name.split(".");
  const element = DRAWN.has(tag)
    ? document.createElementNS(SVG, tag)
    : document.createElement(tag);
  const { on = {}, ...attributes } = given[0]?.constructor === Object ? given.shift() : {};
  if (classes.length) element.classList.add(...classes);
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  for (const [key, value] of Object.entries(attributes))
    if (key === "value") element.value = value;
    else if (isGiven(value)) element.setAttribute(key, value === true ? "" : value);
  element.append(...given.flat().filter(isGiven));
  return element;
}

let made = 0;
/** An id that no other element has. */
export const newId = prefix => `${prefix}-${(made += 1)}`;

/** A button that submits nothing. */
export const button = (name, text, click, attributes) =>
  h(name, { type: "button", on: { click }, ...attributes }, text);

/** A field with its label. */
export function field(label, control) {
  control.id ||= newId("field");
  return h("div.field", h("label", { for: control.id }, label), control);
}

/** A form that asks nothing of the server itself: a submit calls `onSubmit`. */
export function createForm(classes, onSubmit, ...children) {
  const submit = event => {
    event.preventDefault();
    onSubmit();
  };
  return h(`form.${classes}`, { on: { submit } }, ...children);
}

/** A choice among `[value, text]`, or values that are their own text. */
export function select(options, value, change) {
  const option = ([of, text = of]) => h("option", { value: of, selected: of === value }, text);
  return h("select", { on: { change } }, options.map(one => option([one].flat())));
}

/** A word with a mark, so that its tone is not told by colour alone. */
export const chip = (tone, text, title) => h(`span.chip.${tone}`, { title }, text);

/** Copies a text, or says that the browser does not let a page copy. */
export function copyButton(text, what) {
  const node = button("button.quiet.small", "Copy", copy, { "aria-label": `Copy the ${what}` });
  async function copy() {
    try {
      await navigator.clipboard.writeText(text());
      node.textContent = "Copied";
    } catch {
      node.textContent = "Not allowed here";
    }
    setTimeout(() => (node.textContent = "Copy"), 1500);
  }
  return node;
}
