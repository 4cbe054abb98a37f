// Squares and boxes of a photo, in pixels of the photo as it was picked, turned upright.

const MIN_SIDE = 0.05; // of the photo's shorter side

// Return the largest square in the middle of a photo: left, top and side in pixels.
export function largestCentredSquare(width, height) {
  const side = Math.min(width, height);
  return { left: Math.round((width - side) / 2), top: Math.round((height - side) / 2), side };
}

// Return the square nearest to `square` that lies within a photo.
export function clampSquare(square, width, height) {
  const shorter = Math.min(width, height);
  const side = Math.round(Math.min(shorter, Math.max(MIN_SIDE * shorter, square.side)));
  const clamp = (offset, extent) => Math.round(Math.min(Math.max(0, offset), extent - side));
  return { left: clamp(square.left, width), top: clamp(square.top, height), side };
}

// Return the square that a key press asks for; undefined for any other key.
export function squareAfterKey(key, { left, top, side }, step) {
  const resized = (change) => ({ left: left - change / 2, top: top - change / 2, side: side + change });
  return {
    ArrowLeft: { left: left - step, top, side },
    ArrowRight: { left: left + step, top, side },
    ArrowUp: { left, top: top - step, side },
    ArrowDown: { left, top: top + step, side },
    "+": resized(2 * step),
    "=": resized(2 * step),
    "-": resized(-2 * step),
  }[key];
}

export const isSameSquare = (one, other) => ["left", "top", "side"].every((key) => one[key] === other[key]);

// Return a box, given as left, top, width and height, at another scale of the photo.
export function scaleBox([left, top, width, height], [right, down]) {
  return { left: left * right, top: top * down, width: width * right, height: height * down };
}

// Return a square, given as left, top, width and height, at another scale of the photo, and within it.
export function scaleSquare(crop, scale, width, height) {
  const box = scaleBox(crop, scale);
  const side = Math.min(Math.max(box.width, box.height), width, height);
  return { left: Math.min(box.left, width - side), top: Math.min(box.top, height - side), side };
}
