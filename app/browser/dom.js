// Create elements from text only: nothing in a photo's name or a response is parsed as markup.

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

export function createElement(name, attributes = {}, ...children) {
  return initialize(document.createElement(name), attributes, children);
}

export function createSvgElement(name, attributes = {}, ...children) {
  return initialize(document.createElementNS(SVG_NAMESPACE, name), attributes, children);
}

function initialize(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}
