// A photo that was added, with what is known of it.

import { foundBirds } from "./birds.js";
import { photoToBlob, rejectionText, squareToBlob } from "./photo.js";
import { largestCentredSquare } from "./square.js";

export class PhotoEntry {
  image; // undefined before the file is decoded, null if this browser can't
  task = null; // that identifies the bird
  result = null; // for the square
  error = null; // a sentence that says why there is no result
  retriable = false;
  square = null; // null before the first result, and for a file that this browser can't decode
  moved = false; // whether the visitor placed the square
  birds = []; // found in the whole photo
  bird = null; // the selected one
  foundNone = false; // whether a finder looked at the whole photo, and the model took its middle

  constructor(file) {
    this.file = file;
    this.name = file.name || "photo";
  }

  // Say why the file is not sent; null if it is.
  get rejection() {
    return this.image ? null : rejectionText(this.file);
  }

  // Return what is sent to identify the bird, and where to look in it: the whole photo, or the square
  // alone once the visitor moved it. A file that only the function may be able to decode is unchanged.
  async upload() {
    if (!this.image) return { blob: this.file, crop: "auto" };
    if (this.moved) return { blob: await squareToBlob(this.image, this.square), crop: "center" };
    return { blob: await photoToBlob(this.image), crop: "auto" };
  }

  // Take over the response to what `upload` returned.
  accept(response) {
    Object.assign(this, { result: response, error: null, retriable: false });
    if (this.moved) return;
    const { photo, milliseconds } = response;
    this.foundNone = photo?.crop_from === "center" && milliseconds?.find > 0; // 0 without a finder
    if (!this.image) return;
    this.birds = foundBirds(response, this.image.naturalWidth, this.image.naturalHeight);
    this.select(this.birds[0]);
  }

  fail(error, retriable) {
    Object.assign(this, { result: null, error, retriable });
    if (this.image) this.square ??= largestCentredSquare(this.image.naturalWidth, this.image.naturalHeight);
  }

  select(bird) {
    Object.assign(this, { bird, square: bird.square, result: bird.result, error: null, moved: false });
  }

  // Free what is left of it when other photos were added.
  discard() {
    this.task.cancel();
    if (this.image) URL.revokeObjectURL(this.image.src);
  }

  moveSquare(square) {
    return Object.assign(this, { square, bird: null, moved: true });
  }
}
