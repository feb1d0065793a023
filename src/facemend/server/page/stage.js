// Where a photo is seen: before and after with a wipe between them, the tint, the faces' frames, and the brush.

import { drawStroke } from "./photo.js";

const TINT = "rgb(232 42 120 / 50%)";
const STEP_SHARE = 0.012; // of the photo's width, for an arrow key

export class Stage {
  /** `painted` is called with each finished stroke, `left` when the brush is put away from the keyboard. */
  constructor(find, { painted, left }) {
    this.parts = Object.fromEntries(
      ["scroll", "stage", "before", "after", "tint", "marks", "brush", "cursor", "split", "size"].map((id) => [id, find(id)]),
    );
    this.painted = painted;
    this.left = left;
    this.photo = null;
    this.mode = null; // "add", "remove" or null
    this.stroke = null;
    this.at = null;
    this.zoom = 1;
    this.tinted = false;
    this.listen();
  }

  listen() {
    const { stage, brush, split, scroll } = this.parts;
    split.addEventListener("input", () => this.wipe());
    stage.addEventListener("pointerdown", (event) => this.drag(event));
    brush.addEventListener("pointerdown", (event) => this.press(event));
    brush.addEventListener("pointermove", (event) => this.move(event));
    for (const type of ["pointerup", "pointercancel"]) brush.addEventListener(type, () => this.lift());
    brush.addEventListener("pointerleave", () => { if (!this.stroke) this.parts.cursor.hidden = true; });
    brush.addEventListener("keydown", (event) => this.key(event));
    brush.addEventListener("focus", () => this.place(this.at ?? [this.photo.width / 2, this.photo.height / 2]));
    new ResizeObserver(() => this.fit()).observe(scroll);
  }

  wipe() {
    const { split, stage } = this.parts;
    stage.style.setProperty("--split", `${split.value}%`);
    split.setAttribute("aria-valuetext", `${100 - split.value}% of the width shows after`);
  }

  drag(event) {
    const { stage, split } = this.parts;
    if (this.mode || event.button !== 0) return;
    const follow = (each) => {
      const box = stage.getBoundingClientRect();
      split.value = Math.round(Math.min(1, Math.max(0, (each.clientX - box.left) / box.width)) * 100);
      this.wipe();
    };
    const end = new AbortController();
    for (const type of ["pointerup", "pointercancel"]) addEventListener(type, () => end.abort(), { signal: end.signal });
    addEventListener("pointermove", follow, { signal: end.signal });
    follow(event);
  }

  show(photo) {
    const other = this.photo !== photo;
    this.photo = photo;
    if (!photo?.before) return;
    const { before, after, tint, brush } = this.parts;
    for (const canvas of [before, after, tint, brush]) {
      if (canvas.width !== photo.before.width || canvas.height !== photo.before.height) {
        canvas.width = photo.before.width;
        canvas.height = photo.before.height;
      }
    }
    put(before, photo.before);
    put(after, photo.result?.after ?? photo.before);
    if (other) this.at = null;
    this.fit();
    this.wipe();
    this.drawTint();
    this.drawMarks();
  }

  fit() {
    const { scroll, stage } = this.parts;
    if (!this.photo?.before) return;
    const { width, height } = this.photo;
    const most = Math.min(innerHeight * (innerWidth > 860 ? 0.72 : 0.62), 860);
    const share = Math.min(scroll.clientWidth / width, most / height, innerWidth > 860 ? 3 : 99);
    stage.style.width = `${Math.floor(width * share * this.zoom)}px`;
    stage.style.height = `${Math.floor(height * share * this.zoom)}px`;
  }

  drawTint() {
    const { tint } = this.parts;
    const pen = tint.getContext("2d");
    tint.hidden = !this.tinted && !this.mode && !this.photo.stale;
    if (!tint.hidden) this.photo.drawMask(pen, this.photo.scale, TINT);
    // The stroke that is being drawn, before it is cut to the faces.
    if (this.stroke && this.photo.result) drawStroke(pen, this.stroke, this.photo.scale, TINT);
  }

  drawMarks() {
    const { marks } = this.parts;
    const faces = this.photo.result?.faces ?? [];
    marks.replaceChildren(
      ...faces.map((face) => {
        const mark = document.createElement("div");
        const [x1, y1, x2, y2] = face.box_px;
        const { width, height } = this.photo;
        Object.assign(mark.style, {
          left: `${(100 * x1) / width}%`, top: `${(100 * y1) / height}%`,
          width: `${(100 * (x2 - x1)) / width}%`, height: `${(100 * (y2 - y1)) / height}%`,
        });
        mark.classList.toggle("off", !this.photo.chosen(face.face));
        const number = document.createElement("span");
        number.textContent = face.face;
        mark.append(number);
        return mark;
      }),
    );
    marks.hidden = !this.tinted && !this.mode && faces.length < 2;
  }

  /** Takes the brush up, to add or to remove, or puts it away (null). */
  arm(mode) {
    const { stage, brush, cursor } = this.parts;
    this.mode = mode;
    brush.hidden = mode === null;
    brush.tabIndex = mode === null ? -1 : 0;
    cursor.hidden = true;
    stage.classList.toggle("painting", mode !== null);
    if (this.photo?.before) {
      this.drawTint();
      this.drawMarks();
    }
  }

  /** Width of the brush in the photo's pixels: a share of the largest face, so that it fits any photo. */
  get width() {
    const face = this.photo.result?.faces[0];
    const span = face ? face.box_px[2] - face.box_px[0] : this.photo.width / 3;
    return Math.max(1, (span * this.parts.size.value) / 100);
  }

  pointOf(event) {
    const box = this.parts.stage.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * this.photo.width,
      ((event.clientY - box.top) / box.height) * this.photo.height,
    ];
  }

  place(point) {
    const { width, height } = this.photo;
    const { cursor, stage } = this.parts;
    this.at = [Math.min(width, Math.max(0, point[0])), Math.min(height, Math.max(0, point[1]))];
    const shown = (this.width / width) * stage.clientWidth;
    Object.assign(cursor.style, {
      left: `${(100 * this.at[0]) / width}%`, top: `${(100 * this.at[1]) / height}%`,
      width: `${shown}px`, height: `${shown}px`,
    });
    cursor.hidden = false;
  }

  press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    this.parts.brush.setPointerCapture(event.pointerId);
    this.begin(this.pointOf(event));
  }

  begin(point) {
    this.place(point);
    this.stroke = { points: [this.at], width: this.width, adds: this.mode === "add" };
    this.drawTint();
  }

  move(event) {
    const point = this.pointOf(event);
    this.place(point);
    if (!this.stroke) return;
    this.stroke.points.push(point);
    this.drawTint();
  }

  lift() {
    if (!this.stroke) return;
    const { stroke } = this;
    this.stroke = null;
    this.painted(stroke);
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const step = this.photo.width * STEP_SHARE * (event.shiftKey ? 4 : 1);
      this.place([this.at[0] + move[0] * step, this.at[1] + move[1] * step]);
    } else if (event.key === " ") {
      this.begin(this.at);
      this.lift();
      this.place(this.at);
    } else if (event.key === "Escape") {
      this.left();
    } else {
      return;
    }
    event.preventDefault();
  }
}

function put(canvas, source) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
}
