// What the page says about one photo, beside it and above it.

import { words } from "./words.js";

/** What came of a photo, in a sentence. Empty where it failed. */
export function outcomeOf(photo) {
  if (photo.error) return "";
  if (!photo.result) return words.waiting;
  const { faces } = photo.result.response;
  const changed = faces.filter((face) => face.reconstructed).length;
  if (!changed && photo.result.mask) return words.emptyMask;
  if (!faces.length) return words.noFace;
  if (changed === faces.length) return words.allDone(changed);
  if (changed) return words.someDone(faces.length, changed);
  const staying = stayingOf(photo);
  if (staying) return words.leftAlone(faces.length, staying);
  return faces.some((face) => face.chosen) ? words.nothingHides(faces.length) : words.notChosen;
}

/** A class that hides a chosen face and stays, or null. */
function stayingOf(photo) {
  return photo.result.faces.find((face) => face.chosen && face.stays.length)?.stays[0] ?? null;
}

/** What to do next about a photo: {error, tips, actions: [{label, run}]}. `deeds` are what the page can do. */
export function adviceOf(photo, deeds) {
  const action = (label, run) => ({ label, run });
  if (photo.busy) return null;
  if (photo.error) {
    const again = photo.error.passing ? [action(words.tryAgain, deeds.again)] : [];
    const tips = photo.error.passing ? [] : words.failedTips;
    return { error: photo.error.text, tips, actions: [...again, action(words.chooseOther, deeds.choose)] };
  }
  if (!photo.result || photo.stale) return null;
  const { outcome } = photo.result.response;
  const mark = action(words.markFace, deeds.mark);
  if (outcome === "no_face") {
    const closeUp = photo.canBeCloseUp && !photo.step.aligned;
    return {
      tips: [...words.noFaceTips, ...(closeUp ? [words.closeUpTip] : [])],
      actions: [mark, ...(closeUp ? [action(words.closeUp, deeds.closeUp)] : []), action(words.chooseOther, deeds.choose)],
    };
  }
  const staying = photo.result.mask ? null : stayingOf(photo);
  if (staying) return { tips: [words.staysTips[staying]], actions: [action(words.both, deeds.both)] };
  if (outcome === "unchanged") return { tips: words.freeTips, actions: [action(words.paint, deeds.paint), mark] };
  return null;
}

/** A face to choose, as a checkbox with its portrait and what became of it. */
export function faceChoice(photo, face, chosen) {
  const label = document.createElement("label");
  label.className = "face";
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = photo.chosen(face.face);
  box.dataset.face = face.face;
  box.addEventListener("change", () => chosen(box.checked));
  const text = document.createElement("span");
  const note = document.createElement("small");
  note.textContent = noteOf(photo, face);
  text.append(words.face(face.face), note);
  label.append(box, portrait(photo, face), text);
  return label;
}

function noteOf(photo, face) {
  if (!photo.chosen(face.face)) return words.faceLeft;
  if (face.changed) return words.faceDone;
  if (face.stays.length) return words.faceStays[face.stays[0]];
  return face.marked ? words.faceMarked : words.faceFree;
}

function portrait(photo, { box_px: [left, top, width, height] }) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 92;
  const side = Math.max(width, height) * 1.25 * photo.scale;
  const [x, y] = [(left + width / 2) * photo.scale - side / 2, (top + height / 2) * photo.scale - side / 2];
  canvas.getContext("2d").drawImage(photo.before, x, y, side, side, 0, 0, 92, 92);
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

/** How a result was made, as the children of a <dl>. */
export function madeOf({ provenance, work_s }) {
  const regions = provenance.regions.map(({ box_px, coverage }) => words.region(box_px.join(", "), (100 * coverage).toFixed(1)));
  const lines = [
    [words.made.program, provenance.software],
    [words.made.model, `${provenance.model}, ${provenance.model_sha256.slice(0, 12)}`],
    [words.made.input, provenance.input_sha256?.slice(0, 12) ?? words.none],
    [words.made.regions, regions.join("; ") || words.nothing],
    [words.made.time, `${work_s.toFixed(2)} s`],
  ];
  return lines.flatMap(([term, value]) => {
    const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
    dt.textContent = term;
    dd.textContent = value;
    return [dt, dd];
  });
}

/** A photo in the row of photos: a picture and a name, to click. */
export function thumbnail(photo, number, current, clicked) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", words.thumbnail(number, photo.name, photo.error !== null));
  if (current) button.setAttribute("aria-current", "true");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 124;
  const shown = photo.result?.after ?? photo.before;
  if (shown) {
    const side = Math.min(shown.width, shown.height);
    const [x, y] = [(shown.width - side) / 2, (shown.height - side) / 2];
    canvas.getContext("2d").drawImage(shown, x, y, side, side, 0, 0, 124, 124);
  }
  const name = document.createElement("span");
  name.textContent = photo.name;
  button.append(canvas, name);
  button.classList.toggle("pending", !photo.done || photo.busy !== null);
  if (photo.error) {
    const note = document.createElement("strong");
    note.textContent = words.failed;
    button.append(note);
  }
  button.addEventListener("click", clicked);
  const item = document.createElement("li");
  item.append(button);
  return item;
}

/** A photo before and after, side by side; `opened` is called when its name is clicked. */
export function pairOf(photo, opened) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const name = document.createElement("button");
  name.type = "button";
  name.textContent = photo.name;
  name.addEventListener("click", opened);
  const note = document.createElement("small");
  note.textContent = photo.error?.text ?? outcomeOf(photo);
  caption.append(name, note);
  if (photo.before) figure.append(sidesOf(photo));
  figure.append(caption);
  return figure;
}

function sidesOf(photo) {
  const pair = document.createElement("div");
  pair.className = "pair";
  pair.dir = "ltr";
  pair.setAttribute("role", "img");
  pair.setAttribute("aria-label", words.pair(photo.name));
  const sides = photo.changed ? [[photo.before, "start", words.before], [photo.result.after, "end", words.after]]
    : [[photo.before, "end", words.unchanged]];
  for (const [source, side, label] of sides) {
    const [part, canvas, badge] = ["div", "canvas", "span"].map((name) => document.createElement(name));
    canvas.width = source.width;
    canvas.height = source.height;
    canvas.getContext("2d").drawImage(source, 0, 0);
    badge.className = `badge ${side}`;
    badge.textContent = label;
    part.append(canvas, badge);
    pair.append(part);
  }
  return pair;
}
