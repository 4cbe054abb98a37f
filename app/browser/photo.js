// Open a photo in the browser, and cut out of it the square that leaves the phone.

export const SIDE = 1024; // pixels, of what is sent and of what is shown
const QUALITY = 0.9;
const LIMIT = 20 * 2 ** 20; // bytes, as the function has it
const PERHAPS = /\.(heic|heif|avif|jpe?g|png|webp|gif|bmp)$/i;

// Return the decoded photo, upright; null where this browser can't read the file.
export async function open(file) {
  const image = new Image();
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
    return image.naturalWidth && image;
  } catch {
    URL.revokeObjectURL(image.src);
    return null;
  }
}

// The largest square in the middle: left, top and side in pixels of the upright photo.
export function middle(image) {
  const { naturalWidth: width, naturalHeight: height } = image;
  const side = Math.min(width, height);
  return { left: Math.round((width - side) / 2), top: Math.round((height - side) / 2), side };
}

// Draw a part of a photo, shrunk to SIDE at most; what a camera wrote into the file stays behind.
function drawn(image, left, top, width, height) {
  const scale = Math.min(1, SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const pen = canvas.getContext("2d", { alpha: false });
  pen.fillStyle = "#fff"; // under what is transparent, as the function has it
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, left, top, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

export const whole = (image) => drawn(image, 0, 0, image.naturalWidth, image.naturalHeight);

// Return the bytes of a crop, as a JPEG.
export function cut(image, { left, top, side }) {
  const canvas = drawn(image, left, top, side, side);
  return new Promise((resolve, reject) =>
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("no memory for the photo"))),
      "image/jpeg",
      QUALITY,
    ),
  );
}

// Say what to do about a file that this browser can't read; null if the function may know better.
export function refusal(file) {
  const name = file.name || "This file";
  if (!file.size) return `${name} is empty. Pick another photo.`;
  if (!file.type.startsWith("image/") && !PERHAPS.test(file.name))
    return `${name} is no photo. Pick a JPEG, PNG, WebP or HEIC.`;
  if (file.size > LIMIT)
    return `Your browser can't open ${name}, and it is over 20 MiB. Save it as a JPEG first.`;
  return null;
}
