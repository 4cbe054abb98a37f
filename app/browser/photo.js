// Decode a photo in the browser, and crop the square that is sent.

const MAX_SIDE = 1024; // pixels, of what is sent and of what is shown
const JPEG_QUALITY = 0.9;
const MAX_BYTES = 20 * 2 ** 20; // the function's limit
const PHOTO_NAME = /\.(heic|heif|avif|jpe?g|png|webp|gif|bmp)$/i;

// Return the decoded photo, upright; null if this browser can't decode the file.
export async function decodePhoto(file) {
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

// Return the size of a region shrunk to MAX_SIDE at most.
export function shrunkSize(width, height) {
  const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
  return [width, height].map((extent) => Math.max(1, Math.round(extent * scale)));
}

// Draw a region of a photo on a canvas, which drops the metadata that the camera wrote.
function drawRegion(image, left, top, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = shrunkSize(width, height);
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "#fff"; // under transparent pixels, as in the function
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, left, top, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

export const drawPhoto = (image) => drawRegion(image, 0, 0, image.naturalWidth, image.naturalHeight);

// Return a crop as a JPEG.
export function cropToBlob(image, { left, top, side }) {
  const canvas = drawRegion(image, left, top, side, side);
  return new Promise((resolve, reject) => {
    const settle = (blob) => (blob ? resolve(blob) : reject(new Error("the browser could not encode the crop")));
    canvas.toBlob(settle, "image/jpeg", JPEG_QUALITY);
  });
}

// Say what to do about a file that this browser can't decode; null if the function may be able to.
export function rejectionText(file) {
  const name = file.name || "This file";
  if (!file.size) return `${name} is empty. Pick another photo.`;
  if (!file.type.startsWith("image/") && !PHOTO_NAME.test(file.name))
    return `${name} is not a photo. Pick a JPEG, PNG, WebP or HEIC file.`;
  if (file.size > MAX_BYTES)
    return `Your browser can't open ${name}, and it is larger than 20 MiB. Save it as a JPEG first.`;
  return null;
}
