// One photo on the page: what came, what was done to it, and every step on the way, to be undone.

import { asCurl, blobOf, reconstruct } from "./api.js";

const LARGEST_SHOWN_PX = 2400; // larger canvases cost a phone its memory
const SUFFIX = {
  "image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/tiff": "tif", "image/avif": "avif", "image/heic": "heic",
};
const CLOSE_UPS = [178 / 218, 1]; // ratios of the sides that the server takes as a ready crop

/** A step: options, boxes around faces, strokes of the brush, and the result that they gave. Never changed once it is
 * there. {remove, aligned, boxes: [x, y, width, height] of each, faces: Set of numbers or null for all, grow, feather:
 * of the edge, null for the default, strokes: [], result: of this step or, until it is there, of one before} */
const FIRST = { remove: "covers", aligned: false, boxes: [], faces: null, grow: 0, feather: null, strokes: [], result: null };
const HEAT = [[24, 16, 72], [104, 24, 128], [208, 56, 88], [250, 152, 48], [255, 250, 160]];
const HOTTEST_LEVELS = 100; // as in NAME_doubt.png of the command line

export class Photo {
  constructor(file, remove = "covers") {
    this.file = file;
    this.name = file.name || "photo.png";
    this.steps = [{ ...FIRST, remove }];
    this.at = 0;
    this.before = null; // canvas, as large as it is shown
    this.width = this.height = 0; // of the photo itself
    this.shownAs = null; // the format of the response where the browser cannot show the photo's own
    this.error = null; // {text, passing}
    this.busy = null; // AbortController of the request that runs
  }

  get step() { return this.steps[this.at]; }
  get result() { return this.step.result; }
  get done() { return this.result !== null || this.error !== null; }
  get canUndo() { return this.at > 0; }
  get canRedo() { return this.at < this.steps.length - 1; }
  get scale() { return this.before.width / this.width; }
  get canBeCloseUp() { return CLOSE_UPS.some((ratio) => Math.abs(this.width / this.height / ratio - 1) < 0.01); }
  get changed() { return this.result !== null && this.result.response.outcome === "reconstructed"; }
  /** Whether the result is not that of this step's options and strokes. */
  get stale() {
    if (this.result === null) return this.error !== null;
    const { made } = this.result;
    return Object.keys(FIRST).some((key) => key !== "result" && made[key] !== this.step[key]);
  }

  undo() { if (this.canUndo) this.at--; }
  redo() { if (this.canRedo) this.at++; }

  push(change) {
    this.steps = [...this.steps.slice(0, this.at + 1), { ...this.step, ...change }];
    this.at++;
  }

  /** Decodes the photo for the page. A format that the browser cannot decode comes back from the server. */
  async open() {
    try {
      this.show(await createImageBitmap(this.file));
    } catch {
      this.shownAs = "png";
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
    try {
      const result = await this.resultOf(step, { ...helpers, signal: controller.signal });
      if (controller.signal.aborted) return;
      this.steps = this.steps.map((each) => (each === step ? { ...step, result } : each));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.error = { text: error.message, passing: error.passing ?? true };
    } finally {
      if (this.busy === controller) this.busy = null;
    }
  }

  async resultOf(step, helpers) {
    if (!step.strokes.length) return this.read(await reconstruct(this.workOf(step, null, this.shownAs), helpers), step);
    // What the brush starts from is what the model found, not what the brush or the edge made of it.
    const { made } = step.result;
    const { faces, found } = made.boxes === step.boxes && made.grow === 0 && made.feather === null
      ? step.result : await this.resultOf({ ...step, strokes: [], grow: 0, feather: null }, helpers);
    const mask = await this.maskBlob(step, faces, found);
    const result = await this.read(await reconstruct(this.workOf(step, mask, this.shownAs), helpers), step);
    return { ...result, faces, found, mask };
  }

  workOf(step, mask, format) {
    return {
      photo: this.file,
      remove: step.remove,
      aligned: step.aligned,
      boxes: step.boxes,
      faces: mask || step.faces === null ? null : [...step.faces].sort((a, b) => a - b),
      grow: step.grow,
      feather: step.feather,
      mask,
      format,
      before: this.before === null,
    };
  }

  async read(response, made) {
    const blob = blobOf(response.picture);
    if (response.before) this.show(await createImageBitmap(blobOf(response.before)));
    const bitmap = await createImageBitmap(blob);
    const after = canvasOf(bitmap);
    bitmap.close();
    const { faces } = response;
    const found = await Promise.all(faces.map(areaOf));
    const changed = found.filter((_, i) => faces[i].reconstructed);
    const doubt = await Promise.all(faces.filter((face) => face.reconstructed && face.interval).map(heatOf));
    return { response, blob, after, faces, found, changed, doubt, mask: null, made, files: new Map() };
  }

  /** The result as a file in a format ("" is the photo's own): {name, blob}. */
  async fileIn(format, helpers) {
    const { result } = this;
    const isShown = format ? result.blob.type === mediaTypeOf(format) : this.shownAs === null;
    let blob = isShown ? result.blob : result.files.get(format);
    if (!blob) {
      const work = this.workOf(result.made, result.mask, format || null);
      blob = blobOf((await reconstruct(work, helpers)).picture);
      result.files.set(format, blob);
    }
    return { name: this.nameWith(SUFFIX[blob.type]), blob };
  }

  nameWith(suffix) { return `${this.name.replace(/\.[^.]*$/, "")}_reconstructed.${suffix}`; }

  /** The curl command that gives the result in a format. */
  curlIn(format) {
    const { made, mask, blob } = this.result;
    const own = this.shownAs === null ? SUFFIX[blob.type] : this.name.split(".").at(-1);
    const suffix = format ? SUFFIX[mediaTypeOf(format)] : own;
    return asCurl(this.workOf(made, mask, format || null), this.name, this.nameWith(suffix));
  }

  chosen(number) { return this.step.faces === null || this.step.faces.has(number); }

  choose(number, wanted) {
    const faces = new Set(this.result.faces.map((face) => face.face).filter((each) => this.chosen(each)));
    if (wanted) faces.add(number);
    else faces.delete(number);
    this.push({ faces });
  }

  /** How many of these points, in the photo's pixels, the brush can paint: those on a face that is chosen. */
  paintable(points) {
    const pen = new OffscreenCanvas(1, 1).getContext("2d");
    const reach = this.reach(this.step, this.result.faces, 1);
    return points.filter(([x, y]) => pen.isPointInPath(reach, x, y)).length;
  }

  reach(step, faces, scale) {
    const reach = new Path2D();
    if (step.aligned) reach.rect(0, 0, this.width * scale, this.height * scale);
    for (const face of faces) {
      if (step.faces === null || step.faces.has(face.face)) reach.addPath(pathOf(face.reach_px, scale));
    }
    return reach;
  }

  /** Draws what is to be reconstructed into a canvas whose pixels are `scale` of the photo's. */
  drawTint(pen, scale, colour) {
    pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
    if (!this.result) return;
    const { faces, found, changed } = this.result;
    if (this.step.strokes.length) this.drawMask(pen, scale, this.step, faces, found);
    else changed.forEach((area) => area && drawArea(pen, area, scale));
    fill(pen, colour);
  }

  /** Draws how far off the result may be. */
  drawDoubt(pen, scale) {
    pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
    this.result?.doubt.forEach((area) => drawArea(pen, area, scale));
  }

  drawMask(pen, scale, step, faces, found) {
    pen.save();
    pen.clip(this.reach(step, faces, scale));
    faces.forEach((face, i) => {
      if (found[i] && (step.faces === null || step.faces.has(face.face))) drawArea(pen, found[i], scale);
    });
    step.strokes.forEach((stroke) => drawStroke(pen, stroke, scale));
    pen.restore();
  }

  async maskBlob(step, faces, found) {
    const canvas = new OffscreenCanvas(this.width, this.height);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    this.drawMask(pen, 1, step, faces, found);
    fill(pen, "#fff");
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
}

function mediaTypeOf(format) { return `image/${format}`; }

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
  return areaFrom(face, face.changed, (data, i) => { data[i + 3] = data[i]; });
}

/** How far off a reconstructed face may be, in colours. */
function heatOf(face) {
  return areaFrom(face, face.interval, (data, i) => {
    const at = Math.min(data[i] / HOTTEST_LEVELS, 1) * (HEAT.length - 1);
    const low = Math.min(Math.floor(at), HEAT.length - 2);
    data[i + 3] = data[i] ? 255 : 0;
    for (const band of [0, 1, 2]) data[i + band] = HEAT[low][band] + (at - low) * (HEAT[low + 1][band] - HEAT[low][band]);
  });
}

/** A gray PNG of a face's area as a canvas, each pixel of its data changed by `colour`, and where it lies. */
async function areaFrom(face, base64, colour) {
  const bitmap = await createImageBitmap(blobOf({ base64, media_type: "image/png" }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  const picture = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < picture.data.length; i += 4) colour(picture.data, i);
  pen.putImageData(picture, 0, 0);
  return { canvas, area: face.area_px };
}

function drawArea(pen, { canvas, area: [x, y, width, height] }, scale) {
  pen.imageSmoothingEnabled = scale !== 1;
  pen.drawImage(canvas, x * scale, y * scale, width * scale, height * scale);
}

/** Gives everything that is drawn one colour. */
function fill(pen, colour) {
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = colour;
  pen.fillRect(0, 0, pen.canvas.width, pen.canvas.height);
  pen.globalCompositeOperation = "source-over";
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
