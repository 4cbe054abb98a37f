// Build elements, of text alone: nothing that a photo, a file name or an answer says is markup.

const SVG = "http://www.w3.org/2000/svg";

export function element(name, properties = {}, ...children) {
  return furnish(document.createElement(name), properties, children);
}

export function drawing(name, properties = {}, ...children) {
  return furnish(document.createElementNS(SVG, name), properties, children);
}

function furnish(node, properties, children) {
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

// Numbers and their unit stay on one line.
export const unbroken = (text) => text.replaceAll(" %", "\u00a0%");

export function percent(share) {
  if (share < 0.01) return "< 1\u00a0%";
  return `${share >= 0.995 ? "> 99" : Math.round(100 * share)}\u00a0%`;
}
