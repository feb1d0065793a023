// One photo on the page: what came, what was done to it, and every step on the way, to be undone.

import { asCurl, blobOf, reconstruct } from "./api.js";

const LARGEST_SHOWN_PX = 2400; // larger canvases cost a phone its memory
const SUFFIX = {
  "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/tiff": "tif", "image/avif": "avif", "image/heic": "heic",
};

/** A step: options, strokes of the brush, and the result that they gave. Never changed once it is there.
 * {remove, faces: Set of numbers or null for all, strokes: [], result: of this step or, until it is there, of one before} */
const FIRST = { remove: "covers", faces: null, strokes: [], result: null };

export class Photo {
  constructor(file) {
    this.file = file;
    this.name = file.name || "photo.png";
    this.steps = [FIRST];
    this.at = 0;
    this.before = null; // canvas, as large as it is shown
    this.width = this.height = 0; // of the photo itself
    this.format = null; // requested where the browser cannot show the photo's own
    this.error = null;
    this.busy = null; // AbortController of the request that runs
  }

  get step() { return this.steps[this.at]; }
  get result() { return this.step.result; }
  get canUndo() { return this.at > 0; }
  get canRedo() { return this.at < this.steps.length - 1; }
  /** Whether the result is not that of this step's options and strokes. */
  get stale() {
    if (this.result === null) return this.error !== null;
    const { made } = this.result;
    return ["remove", "faces", "strokes"].some((key) => made[key] !== this.step[key]);
  }
  get scale() { return this.before.width / this.width; }

  undo() { if (this.canUndo) this.at--; }
  redo() { if (this.canRedo) this.at++; }

  push(change) {
    this.steps = [...this.steps.slice(0, this.at + 1), { ...this.step, ...change }];
    this.at++;
  }

  /** Decodes the photo for the page. A format that the browser cannot decode comes back from the server. */
  async open() {
    try {
      const bitmap = await createImageBitmap(this.file);
      this.show(bitmap);
    } catch {
      this.format = "png";
    }
  }

  show(bitmap) {
    this.width = bitmap.width;
    this.height = bitmap.height;
    this.before = canvasOf(bitmap);
    bitmap.close();
  }

  /** Sends this step to the server, and keeps the response as its result. */
  async reconstruct(helpers) {
    this.busy?.abort();
    const controller = new AbortController();
    this.busy = controller;
    this.error = null;
    const { step } = this;
    const masked = step.strokes.length > 0;
    try {
      const work = {
        photo: this.file,
        remove: step.remove,
        faces: masked || step.faces === null ? null : [...step.faces].sort((a, b) => a - b),
        mask: masked ? await this.maskBlob() : null,
        format: this.format,
        before: this.before === null,
      };
      const response = await reconstruct(work, { ...helpers, signal: controller.signal });
      const result = await this.read(response, step);
      if (controller.signal.aborted) return;
      this.steps = this.steps.map((each) => (each === step ? { ...step, result } : each));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.error = error.message;
    } finally {
      if (this.busy === controller) this.busy = null;
    }
  }

  async read(response, step) {
    const blob = blobOf(response.picture);
    if (response.before) this.show(await createImageBitmap(blobOf(response.before)));
    const bitmap = await createImageBitmap(blob);
    const after = canvasOf(bitmap);
    bitmap.close();
    const masked = step.strokes.length > 0;
    // What the brush starts from is what the model found, not what the brush made of it.
    const found = masked ? step.result.found : await Promise.all(response.faces.map(areaOf));
    const faces = masked ? step.result.faces : response.faces;
    const changed = await Promise.all(response.faces.filter((face) => face.reconstructed).map(areaOf));
    return { response, blob, after, faces, found, changed, made: step };
  }

  chosen(number) { return this.step.faces === null || this.step.faces.has(number); }

  choose(number, wanted) {
    const faces = new Set(this.result.faces.map((face) => face.face).filter((each) => this.chosen(each)));
    if (wanted) faces.add(number);
    else faces.delete(number);
    this.push({ faces });
  }

  /** Draws what is to be reconstructed into a canvas whose pixels are `scale` of the photo's. */
  drawMask(pen, scale, colour) {
    const { canvas } = pen;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.result) return;
    if (this.step.strokes.length === 0) {
      this.result.changed.forEach((area) => area && drawArea(pen, area, scale));
    } else {
      const { faces, found } = this.result;
      pen.save();
      const reach = new Path2D();
      faces.forEach((face) => this.chosen(face.face) && reach.addPath(pathOf(face.reach_px, scale)));
      pen.clip(reach);
      faces.forEach((face, i) => this.chosen(face.face) && found[i] && drawArea(pen, found[i], scale));
      this.step.strokes.forEach((stroke) => drawStroke(pen, stroke, scale));
      pen.restore();
    }
    pen.globalCompositeOperation = "source-in";
    pen.fillStyle = colour;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.globalCompositeOperation = "source-over";
  }

  async maskBlob() {
    const canvas = new OffscreenCanvas(this.width, this.height);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    this.drawMask(pen, 1, "#fff");
    const picture = pen.getImageData(0, 0, canvas.width, canvas.height);
    const { data } = picture;
    for (let i = 0; i < data.length; i += 4) {
      // A pixel that the clip's soft edge touches only in part may lie beyond what the server takes.
      data.fill(data[i + 3] > 250 ? 255 : 0, i, i + 3);
      data[i + 3] = 255;
    }
    pen.putImageData(picture, 0, 0);
    return canvas.convertToBlob({ type: "image/png" });
  }

  get outputName() {
    const stem = this.name.replace(/\.[^.]*$/, "");
    return `${stem}_reconstructed.${SUFFIX[this.result.response.picture.media_type]}`;
  }

  get curl() {
    const masked = this.step.strokes.length > 0;
    const faces = masked || this.step.faces === null ? null : [...this.step.faces].sort((a, b) => a - b);
    return asCurl({ name: this.name, remove: this.step.remove, faces, masked, format: this.format }, this.outputName);
  }
}

function canvasOf(bitmap) {
  const scale = Math.min(1, LARGEST_SHOWN_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** What of a face was reconstructed, as a canvas with opacity, and where it lies; null if nothing was. */
async function areaOf(face) {
  if (!face.changed) return null;
  const bitmap = await createImageBitmap(blobOf({ base64: face.changed, media_type: "image/png" }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  const picture = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < picture.data.length; i += 4) picture.data[i + 3] = picture.data[i];
  pen.putImageData(picture, 0, 0);
  return { canvas, area: face.area_px };
}

function drawArea(pen, { canvas, area: [x1, y1, x2, y2] }, scale) {
  pen.imageSmoothingEnabled = scale !== 1;
  pen.drawImage(canvas, x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale);
}

/** A stroke of the brush; one that removes takes away what is there, whatever its colour. */
export function drawStroke(pen, { points, width, adds }, scale, colour = "#fff") {
  pen.globalCompositeOperation = adds ? "source-over" : "destination-out";
  pen.strokeStyle = colour;
  pen.lineWidth = width * scale;
  pen.lineCap = pen.lineJoin = "round";
  pen.beginPath();
  points.forEach(([x, y], i) => pen[i ? "lineTo" : "moveTo"](x * scale, y * scale));
  if (points.length === 1) pen.lineTo(points[0][0] * scale + 0.01, points[0][1] * scale);
  pen.stroke();
  pen.globalCompositeOperation = "source-over";
}

/** A face's reach, drawn in a little: the server takes only pixels that its crop sees whole. */
function pathOf(corners, scale) {
  const path = new Path2D();
  const middle = [0, 1].map((axis) => corners.reduce((sum, corner) => sum + corner[axis], 0) / (corners.length || 1));
  corners.forEach(([x, y], i) => {
    const length = Math.hypot(x - middle[0], y - middle[1]) || 1;
    const share = Math.max(0, 1 - Math.max(3, length * 0.02) / length);
    const at = [middle[0] + (x - middle[0]) * share + 0.5, middle[1] + (y - middle[1]) * share + 0.5];
    path[i ? "lineTo" : "moveTo"](at[0] * scale, at[1] * scale);
  });
  path.closePath();
  return path;
}
