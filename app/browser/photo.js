// Decode a photo in the browser, and encode what is sent of it: all of it shrunk, or a square.

const SENT_PHOTO = 1600; // pixels of the longer side of a whole photo
const SENT_SQUARE = 1024; // pixels of the side of a square
const SHOWN_PHOTO = 1024; // pixels of the longer side
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

// Return the size of a region whose longer side is shrunk to `longest` pixels, and never enlarged.
export function shrunkSize(width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  return [width, height].map((extent) => Math.max(1, Math.round(extent * scale)));
}

// Draw a region of a photo on a canvas, which drops the metadata that the camera wrote.
function drawRegion(image, { left, top, width, height }, longest) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = shrunkSize(width, height, longest);
  const context = canvas.getContext("2d", { alpha: false });
  context.fillStyle = "#fff"; // under transparent pixels, as in the function
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, left, top, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

const wholePhoto = (image) => ({ left: 0, top: 0, width: image.naturalWidth, height: image.naturalHeight });

export const drawPhoto = (image) => drawRegion(image, wholePhoto(image), SHOWN_PHOTO);

// Return the whole photo as a JPEG; the same bytes each time.
export const photoToBlob = (image) => toJpeg(drawRegion(image, wholePhoto(image), SENT_PHOTO));

// Return a square as a JPEG.
export const squareToBlob = (image, { left, top, side }) =>
  toJpeg(drawRegion(image, { left, top, width: side, height: side }, SENT_SQUARE));

function toJpeg(canvas) {
  return new Promise((resolve, reject) => {
    const settle = (blob) => (blob ? resolve(blob) : reject(new Error("the browser could not encode the photo")));
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
