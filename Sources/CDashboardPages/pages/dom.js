// Building and updating elements. Text only ever goes in as text: there is no way here to set HTML.

const svgNamespace = "http://www.w3.org/2000/svg";

function build(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (name === "text") node.textContent = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}

export function el(tag, properties = {}, ...children) {
  return build(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return build(document.createElementNS(svgNamespace, tag), properties, children);
}

// Sets a leaf's text if it differs, by its text node: selections and screen readers see only real changes.
export function text(node, value) {
  const string = String(value);
  const leaf = node.firstChild;
  if (leaf && leaf.nodeType === Node.TEXT_NODE && !leaf.nextSibling) {
    if (leaf.nodeValue !== string) leaf.nodeValue = string;
  } else if (leaf || string !== "") {
    node.textContent = string;
  }
}

export function attr(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else {
    const string = value === true ? "" : String(value);
    if (node.getAttribute(name) !== string) node.setAttribute(name, string);
  }
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

const keptNodes = new WeakMap();

// Makes the children of `parent` one for each item, in order, and reuses those whose key is the same.
export function keyed(parent, items, key, create, update) {
  let kept = keptNodes.get(parent);
  if (!kept) keptNodes.set(parent, (kept = new Map()));
  const focused = document.activeElement;
  const holdsFocus = focused && parent.contains(focused);
  const wanted = new Map();
  for (const item of items) wanted.set(key(item), item);
  for (const [name, node] of kept) {
    if (!wanted.has(name)) {
      node.remove();
      kept.delete(name);
    }
  }
  let next = parent.firstChild;
  for (const [name, item] of wanted) {
    let node = kept.get(name);
    if (!node) kept.set(name, (node = create(item)));
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
    update(node, item);
  }
  // Moving a node takes the focus away from it.
  if (holdsFocus && document.activeElement !== focused && parent.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

export function field(label, control, properties = {}) {
  return el("label", { class: "field", ...properties }, el("span", { text: label }), control);
}

export function select(options, value, onChange, properties = {}) {
  const node = el("select", { ...properties, on: { change: () => onChange(node.value) } });
  setOptions(node, options, value);
  return node;
}

export function setOptions(node, options, value) {
  const described = JSON.stringify(options);
  if (node.dataset.options !== described) {
    node.dataset.options = described;
    node.replaceChildren(...options.map(([name, label]) => el("option", { value: name, text: label })));
  }
  if (node !== document.activeElement || node.value === "") node.value = value;
}

export function button(label, onClick, properties = {}) {
  return el("button", { type: "button", ...properties, on: { click: onClick }, text: label });
}

// Waits for typing to pause, so that a filter doesn't redraw with every letter.
export function later(action, pauseMs = 150) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), pauseMs);
  };
}
