// Where a photo is seen: after or before, or both with a slider between; the tint, the faces' frames, brush and box.

import { drawStroke } from "./photo.js";
import { words } from "./words.js";

const TINT = "rgb(232 42 120 / 50%)";
const STEP_SHARE = 0.012; // of the photo's width, for an arrow key
const LEAST_BOX_SHARE = 0.01; // of the photo's longer side
const SLIP_MS = 150; // a finger that scrolls the page has moved by then
const GLANCE_MS = 1200; // how long a mere click shows before

export class Stage {
  /** `painted` is called with each finished stroke, `boxed` with each finished box, `left` when the keyboard puts brush
   * or box away, `says` with a hint. */
  constructor(find, { painted, boxed, left, says }) {
    this.parts = Object.fromEntries(
      ["view", "scroll", "stage", "before", "after", "tint", "marks", "slider", "split", "brush", "cursor", "box", "size", "hold", "wipe"]
        .map((id) => [id, find(id)]),
    );
    this.badges = [find("badge-before"), find("badge-after")];
    Object.assign(this, { painted, boxed, left, says });
    this.photo = null;
    this.mode = null; // "add", "remove", "box" or null
    this.stroke = null;
    this.corner = null; // of the box that is drawn
    this.at = null;
    this.zoom = 1;
    this.tinted = false;
    this.doubted = false; // whether the doubt is shown
    this.split = false; // whether the slider is there
    this.peeking = false; // whether before is held
    this.listen();
  }

  listen() {
    const { stage, brush, split, scroll, hold, wipe } = this.parts;
    split.addEventListener("input", () => this.slide());
    wipe.addEventListener("click", () => {
      this.split = !this.split;
      this.showSides();
    });
    this.peekWhileHeld(hold, 0);
    this.peekWhileHeld(stage, SLIP_MS);
    for (const part of [hold, stage]) {
      part.addEventListener("contextmenu", (event) => { if (this.peeking) event.preventDefault(); });
    }
    brush.addEventListener("pointerdown", (event) => this.press(event));
    brush.addEventListener("pointermove", (event) => this.move(event));
    brush.addEventListener("pointerup", () => this.lift());
    brush.addEventListener("pointercancel", () => this.drop());
    brush.addEventListener("pointerleave", () => { if (!this.stroke) this.parts.cursor.hidden = true; });
    brush.addEventListener("keydown", (event) => this.key(event));
    brush.addEventListener("focus", () => this.place(this.at ?? [this.photo.width / 2, this.photo.height / 2]));
    new ResizeObserver(() => this.fit()).observe(scroll);
  }

  /** Shows before while `part` is held, by pointer or key. */
  peekWhileHeld(part, afterMs) {
    let timer = null;
    let since = null;
    const begin = () => {
      if (this.mode || (part === this.parts.stage && this.split)) return;
      since = Date.now();
      this.peek(true);
    };
    const end = () => {
      clearTimeout(timer);
      if (since === null) return;
      const left = part === this.parts.hold && Date.now() - since < 250 ? GLANCE_MS : 0;
      since = null;
      timer = setTimeout(() => this.peek(false), left);
    };
    part.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      clearTimeout(timer);
      timer = setTimeout(begin, event.pointerType === "mouse" ? 0 : afterMs);
    });
    for (const type of ["pointerup", "pointercancel"]) addEventListener(type, end);
    if (part !== this.parts.hold) return;
    part.addEventListener("keydown", (event) => {
      if (![" ", "Enter"].includes(event.key) || event.repeat) return;
      clearTimeout(timer);
      begin();
    });
    part.addEventListener("keyup", end);
    part.addEventListener("blur", end);
  }

  peek(on) {
    this.peeking = on;
    this.showSides();
  }

  slide() {
    const { split, stage } = this.parts;
    stage.style.setProperty("--split", `${split.value}%`);
    split.setAttribute("aria-valuetext", words.sliderValue(split.value));
  }

  /** Shows after, or before, or both with the slider between. A brush works on what the photo was before. */
  showSides() {
    const { stage, slider, after, hold, wipe } = this.parts;
    const changed = this.photo?.changed ?? false;
    const split = this.split && changed && !this.mode && !this.peeking;
    const before = changed && (this.peeking || this.mode !== null);
    slider.hidden = !split;
    after.hidden = before;
    stage.classList.toggle("split", split);
    wipe.setAttribute("aria-pressed", String(this.split));
    hold.disabled = wipe.disabled = !changed || this.mode !== null;
    const [beforeBadge, afterBadge] = this.badges;
    beforeBadge.hidden = !before && !split;
    afterBadge.hidden = before || !this.photo?.result || this.photo.busy !== null;
    afterBadge.textContent = changed ? words.after : words.unchanged;
    this.slide();
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
    this.showSides();
    this.drawTint();
    this.drawMarks();
  }

  /** Makes the photo as large as there is room. A brush leaves room for its tools below. */
  fit() {
    const { scroll, stage } = this.parts;
    if (!this.photo?.before) return;
    const { width, height } = this.photo;
    const narrow = innerWidth <= 860;
    const most = Math.min(innerHeight * (this.mode ? 0.52 : narrow ? 0.62 : 0.72), 860);
    const share = Math.min(scroll.clientWidth / width, most / height, narrow ? 99 : 3);
    stage.style.width = `${Math.floor(width * share * this.zoom)}px`;
    stage.style.height = `${Math.floor(height * share * this.zoom)}px`;
  }

  drawTint() {
    const { tint } = this.parts;
    const brushing = this.mode === "add" || this.mode === "remove";
    const shows = this.tinted || brushing || (this.photo.stale && this.photo.step.strokes.length);
    tint.hidden = !shows && !this.doubted;
    if (tint.hidden) return;
    const pen = tint.getContext("2d");
    if (!shows) {
      this.photo.drawDoubt(pen, this.photo.scale);
      return;
    }
    this.photo.drawTint(pen, this.photo.scale, TINT);
    // The stroke that is being drawn, before it is cut to the faces.
    if (this.stroke && this.photo.result) drawStroke(pen, this.stroke, this.photo.scale, TINT);
  }

  drawMarks() {
    const { marks } = this.parts;
    const faces = this.photo.result?.faces ?? [];
    marks.replaceChildren(
      ...faces.map((face) => {
        const mark = document.createElement("div");
        Object.assign(mark.style, this.placed(face.box_px));
        mark.classList.toggle("off", !this.photo.chosen(face.face));
        const number = document.createElement("span");
        number.textContent = face.face;
        mark.append(number);
        return mark;
      }),
    );
    marks.hidden = !this.tinted && !this.mode && faces.length < 2;
  }

  /** The style of something that lies at x, y, width, height of the photo. */
  placed([x, y, width, height]) {
    const share = (part, whole) => `${(100 * part) / whole}%`;
    const photo = this.photo;
    return {
      left: share(x, photo.width), top: share(y, photo.height),
      width: share(width, photo.width), height: share(height, photo.height),
    };
  }

  /** Takes up the brush ("add" or "remove") or the box ("box"), or puts it away (null). */
  arm(mode) {
    const { stage, brush, cursor, box } = this.parts;
    this.mode = mode;
    this.corner = this.stroke = null;
    this.peeking = false;
    brush.hidden = mode === null;
    brush.tabIndex = mode === null ? -1 : 0;
    brush.setAttribute("aria-label", mode === "box" ? words.boxLabel : words.brushLabel);
    cursor.hidden = box.hidden = true;
    stage.classList.toggle("boxing", mode === "box");
    if (!this.photo?.before) return;
    this.fit();
    this.showSides();
    this.drawTint();
    this.drawMarks();
  }

  /** Width of the brush in the photo's pixels: a share of the largest face, so that it fits any photo. */
  get width() {
    const face = this.photo.result?.faces[0];
    const span = face ? face.box_px[2] : this.photo.width / 3;
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
    const shown = this.mode === "box" ? 14 : (this.width / width) * stage.clientWidth;
    Object.assign(cursor.style, this.placed([...this.at, 0, 0]), { width: `${shown}px`, height: `${shown}px` });
    cursor.hidden = false;
    this.drawBox();
  }

  /** x, y, width, height between the corner and the pointer. */
  get drawn() {
    const [low, high] = [Math.min, Math.max].map((of) => [0, 1].map((axis) => of(this.corner[axis], this.at[axis])));
    return [...low, high[0] - low[0], high[1] - low[1]].map((value) => Math.round(value * 10) / 10);
  }

  drawBox() {
    const { box } = this.parts;
    box.hidden = this.corner === null;
    if (this.corner) Object.assign(box.style, this.placed(this.drawn));
  }

  press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    this.parts.brush.focus({ preventScroll: true });
    this.parts.brush.setPointerCapture(event.pointerId);
    this.begin(this.pointOf(event));
  }

  begin(point) {
    this.place(point);
    if (this.mode === "box") {
      this.corner = this.at;
      this.drawBox();
    } else {
      this.stroke = { points: [this.at], width: this.width, adds: this.mode === "add" };
      this.drawTint();
    }
  }

  move(event) {
    this.place(this.pointOf(event));
    if (!this.stroke) return;
    this.stroke.points.push(this.at);
    this.drawTint();
  }

  lift() {
    if (this.corner) this.finishBox();
    if (!this.stroke) return;
    const { stroke } = this;
    this.stroke = null;
    this.painted(stroke);
    this.drawTint();
  }

  drop() {
    this.stroke = this.corner = null;
    this.drawBox();
    this.drawTint();
  }

  finishBox() {
    const { drawn, photo } = this;
    this.corner = null;
    this.drawBox();
    if (Math.min(drawn[2], drawn[3]) < LEAST_BOX_SHARE * Math.max(photo.width, photo.height)) this.says(words.boxTooSmall);
    else this.boxed(drawn);
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const step = this.photo.width * STEP_SHARE * (event.shiftKey ? 4 : 1);
      this.place([this.at[0] + move[0] * step, this.at[1] + move[1] * step]);
    } else if (event.key === " " && this.mode === "box") {
      this.keyCorner();
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

  keyCorner() {
    if (this.corner) {
      this.finishBox();
      return;
    }
    this.begin(this.at);
    this.says(words.corner);
  }
}

function put(canvas, source) {
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
}
