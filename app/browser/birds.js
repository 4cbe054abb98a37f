// The birds that the function found in a photo, and the buttons on the photo that select them.

import { createElement } from "./dom.js";
import { displayName } from "./format.js";
import { largestCentredSquare, scaleBox, scaleSquare } from "./square.js";

// Return the birds of a response, the one that it is for first, in pixels of the photo of `width` x
// `height`; the function received the same photo, perhaps smaller. Where no bird was found or looked
// for, there is one: what the middle square shows.
export function foundBirds(response, width, height) {
  const { photo, birds = [] } = response;
  if (!photo?.crop) return [{ square: largestCentredSquare(width, height), result: response }];
  const scale = [width / photo.width, height / photo.height];
  const first = { box: birds[0]?.box, crop: photo.crop, result: response };
  const others = birds.slice(1).map(({ box, crop, predictions, answer }) => ({ box, crop, result: { predictions, answer } }));
  return [first, ...others].map(({ box, crop, result }, index, all) => ({
    name: all.length > 1 && `Bird ${index + 1}: ${result.answer.kind === "unknown" ? "unknown" : displayName(result.predictions[0])}`,
    box: scaleBox(box || crop, scale),
    square: scaleSquare(crop, scale, width, height),
    crop, // in pixels of the photo that was sent
    result,
  }));
}

// Return a button around each of several birds in a photo of `width` x `height`.
export function birdButtons(birds, width, height, onSelect) {
  if (birds.length < 2) return [];
  return birds.map((bird, index) => {
    const attributes = { type: "button", class: "found", "aria-label": bird.name, onclick: () => onSelect(bird) };
    const button = createElement("button", attributes, createElement("span", {}, String(index + 1)));
    const setLength = (name, share) => button.style.setProperty(name, `${(100 * share).toFixed(2)}%`);
    setLength("--left", bird.box.left / width);
    setLength("--top", bird.box.top / height);
    setLength("--width", bird.box.width / width);
    setLength("--height", bird.box.height / height);
    return button;
  });
}
