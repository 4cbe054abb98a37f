// Create elements from text only: nothing in a photo's name or a response is parsed as markup.

export function createElement(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

// Parse an SVG image of this page; `text` holds nothing from a response but numbers.
export const parseSvg = (text) => new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
