// The page: what a person does, and what is shown then.

import { openCamera } from "./camera.js";
import { Photo } from "./photo.js";
import { Stage } from "./stage.js";

const find = (id) => document.getElementById(id);
const photos = [];
let current = null;
let downloadUrl = null;
let maskUrl = null;

const stage = new Stage(find, {
  painted: (stroke) => {
    current.push({ strokes: [...current.step.strokes, stroke] });
    show();
    say("Painted. Reconstruct again when you are done.");
  },
  left: () => {
    const button = find(stage.mode === "remove" ? "remove" : "add");
    takeBrush(null);
    button.focus();
  },
});

function say(text) { find("status").textContent = text; }

function complain(text) {
  const alert = find("alert");
  alert.hidden = !text;
  alert.textContent = text ?? "";
}

async function add(files) {
  const added = [...files].filter((file) => !file.type || file.type.startsWith("image/")).map((file) => new Photo(file));
  if (files.length && !added.length) complain("That is not a picture.");
  if (!added.length) return;
  complain(null);
  photos.push(...added);
  document.body.classList.add("working");
  compare(false);
  select(added[0]);
  await Promise.all(added.map((photo) => photo.open()));
  for (const photo of added) {
    show();
    await reconstruct(photo);
  }
}

function select(photo) {
  current = photo;
  takeBrush(null);
  complain(photo.error);
  say(photo.result ? outcomeOf(photo) : photo.error ? "" : "Waiting for its turn …");
  show();
}

async function reconstruct(photo) {
  say(`Reconstructing ${photo.name} …`);
  const running = photo.reconstruct({ says: say, askForToken });
  show();
  await running;
  if (photo.busy) return; // a later request took over
  if (photo.error) {
    if (photo === current) complain(photo.error);
    say("");
  } else if (photo.result) {
    if (photo === current) complain(null);
    say(photo === current ? outcomeOf(photo) : `${photo.name}: ${outcomeOf(photo)}`);
  }
  show();
}

function outcomeOf(photo) {
  const { response } = photo.result;
  const count = response.faces.length;
  const changed = response.faces.filter((face) => face.reconstructed).length;
  if (!count) return "No face was found, so nothing was changed.";
  const found = count === 1 ? "One face was found" : `${count} faces were found`;
  if (!changed) return `${found}; nothing hides ${count === 1 ? "it" : "them"}, so nothing was changed.`;
  if (changed === count) return `${found} and reconstructed.`;
  return `${found}, ${changed} of them reconstructed.`;
}

function show() {
  const photo = current;
  if (!photo) return;
  const ready = photo.result !== null;
  find("work").hidden = !photo.before || !find("comparison").hidden;
  if (photo.before) stage.show(photo);
  find("busy").hidden = !photo.busy;
  find("undo").disabled = !photo.canUndo;
  find("redo").disabled = !photo.canRedo;
  find("again").disabled = !photo.stale || photo.busy !== null;
  for (const radio of document.querySelectorAll("[name=remove]")) {
    radio.checked = radio.value === photo.step.remove;
    radio.disabled = !ready || photo.step.strokes.length > 0;
  }
  const paintable = ready && photo.result.faces.length > 0;
  for (const id of ["add", "remove"]) find(id).disabled = !paintable;
  showDownload(photo);
  showFaces(photo);
  showMade(photo);
  showStrip();
}

function showDownload(photo) {
  const link = find("download");
  link.hidden = !photo.result;
  if (!photo.result) return;
  if (downloadUrl) URL.revokeObjectURL(downloadUrl);
  downloadUrl = URL.createObjectURL(photo.result.blob);
  link.href = downloadUrl;
  link.download = photo.outputName;
}

function showFaces(photo) {
  const faces = photo.result?.faces ?? [];
  find("faces").hidden = faces.length === 0;
  const focused = document.activeElement?.dataset.face;
  find("face-list").replaceChildren(...faces.map((face) => faceChoice(photo, face)));
  if (focused) document.querySelector(`[data-face="${focused}"]`)?.focus();
}

function faceChoice(photo, face) {
  const label = document.createElement("label");
  label.className = "face";
  const box = document.createElement("input");
  box.type = "checkbox";
  box.checked = photo.chosen(face.face);
  box.dataset.face = face.face;
  box.addEventListener("change", () => {
    photo.choose(face.face, box.checked);
    reconstruct(photo);
  });
  const text = document.createElement("span");
  const note = document.createElement("small");
  note.textContent = face.changed ? "covered" : "nothing found";
  text.append(`Face ${face.face}`, note);
  label.append(box, portrait(photo, face), text);
  return label;
}

function portrait(photo, { box_px: [x1, y1, x2, y2] }) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 92;
  const side = Math.max(x2 - x1, y2 - y1) * 1.25 * photo.scale;
  const [x, y] = [((x1 + x2) / 2) * photo.scale - side / 2, ((y1 + y2) / 2) * photo.scale - side / 2];
  canvas.getContext("2d").drawImage(photo.before, x, y, side, side, 0, 0, 92, 92);
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

function showMade(photo) {
  if (!photo.result) return;
  const { provenance, work_s } = photo.result.response;
  const regions = provenance.regions.map(({ box_px, coverage }) => `${box_px.join(", ")} (${(100 * coverage).toFixed(1)}% of the photo)`);
  const lines = [
    ["Program", provenance.software], ["Model", `${provenance.model}, ${provenance.model_sha256.slice(0, 12)}`],
    ["Input", provenance.input_sha256?.slice(0, 12) ?? "none"],
    ["Made up", regions.join("; ") || "nothing"], ["Time", `${work_s.toFixed(2)} s`],
  ];
  find("made").replaceChildren(
    ...lines.flatMap(([term, value]) => {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = term;
      dd.textContent = value;
      return [dt, dd];
    }),
  );
  find("call").textContent = photo.curl;
  showMaskLink(photo);
}

async function showMaskLink(photo) {
  const link = find("save-mask");
  link.hidden = photo.step.strokes.length === 0;
  if (link.hidden) return;
  if (maskUrl) URL.revokeObjectURL(maskUrl);
  maskUrl = URL.createObjectURL(await photo.maskBlob());
  link.href = maskUrl;
}

function showStrip() {
  find("strip").hidden = false;
  find("compare").hidden = photos.length < 2;
  find("thumbs").hidden = photos.length < 2;
  const list = find("thumbs");
  const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
  list.replaceChildren(...photos.map(thumbnail));
  list.children[focused]?.firstChild.focus();
}

function thumbnail(photo, index) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `Photo ${index + 1}: ${photo.name}${photo.error ? ", failed" : ""}`);
  if (photo === current && find("comparison").hidden) button.setAttribute("aria-current", "true");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 124;
  const shown = photo.result?.after ?? photo.before;
  if (shown) {
    const side = Math.min(shown.width, shown.height);
    const [x, y] = [(shown.width - side) / 2, (shown.height - side) / 2];
    canvas.getContext("2d").drawImage(shown, x, y, side, side, 0, 0, 124, 124);
  }
  button.append(canvas);
  if (photo.error) {
    const note = document.createElement("span");
    note.className = "failed";
    note.textContent = "failed";
    button.append(note);
  }
  button.addEventListener("click", () => {
    compare(false);
    select(photo);
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

function compare(wanted) {
  find("comparison").hidden = !wanted;
  find("compare").setAttribute("aria-pressed", String(wanted));
  if (wanted) {
    find("grid").replaceChildren(...photos.filter((photo) => photo.before).map(pairOf));
  }
  show();
}

function pairOf(photo) {
  const figure = document.createElement("figure");
  const pair = document.createElement("div");
  pair.className = "pair";
  for (const source of [photo.before, photo.result?.after ?? photo.before]) {
    const canvas = document.createElement("canvas");
    canvas.width = source.width;
    canvas.height = source.height;
    canvas.getContext("2d").drawImage(source, 0, 0);
    pair.append(canvas);
  }
  pair.setAttribute("role", "img");
  pair.setAttribute("aria-label", `${photo.name}, before and after`);
  const caption = document.createElement("figcaption");
  const note = document.createElement("small");
  note.textContent = photo.error ?? (photo.result ? outcomeOf(photo) : "waiting");
  caption.append(photo.name, note);
  figure.append(pair, caption);
  return figure;
}

function takeBrush(mode) {
  stage.arm(mode);
  find("add").setAttribute("aria-pressed", String(mode === "add"));
  find("remove").setAttribute("aria-pressed", String(mode === "remove"));
}

function askForToken() {
  const dialog = find("token-dialog");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(find("token").value);
      find("token").value = "";
    }, { once: true });
  });
}

function go(back) {
  if (!current || !(back ? current.canUndo : current.canRedo)) return;
  current.busy?.abort();
  if (back) current.undo();
  else current.redo();
  complain(null);
  show();
  say(back ? "Undone." : "Done again.");
}

function listen() {
  const input = find("file");
  const pick = () => input.click();
  find("choose").addEventListener("click", pick);
  find("more").addEventListener("click", pick);
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = "";
  });
  find("camera").addEventListener("click", () => openCamera(find, (file) => add([file]), pick));
  addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) add([...event.clipboardData.files]);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    add([...event.dataTransfer.files]);
  });
  find("show-tint").addEventListener("change", (event) => {
    stage.tinted = event.target.checked;
    stage.show(current);
  });
  find("zoom").addEventListener("change", (event) => {
    stage.zoom = Number(event.target.value);
    stage.fit();
  });
  for (const mode of ["add", "remove"]) {
    find(mode).addEventListener("click", () => {
      takeBrush(stage.mode === mode ? null : mode);
      if (stage.mode) find("brush").focus({ preventScroll: true });
    });
  }
  find("again").addEventListener("click", () => reconstruct(current));
  find("undo").addEventListener("click", () => go(true));
  find("redo").addEventListener("click", () => go(false));
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.id === "token") return;
    event.preventDefault();
    go(!event.shiftKey);
  });
  for (const radio of document.querySelectorAll("[name=remove]")) {
    radio.addEventListener("change", () => {
      current.push({ remove: radio.value, faces: null });
      reconstruct(current);
    });
  }
  find("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(find("call").textContent);
      say("Copied.");
    } catch {
      getSelection().selectAllChildren(find("call"));
      say("Selected: copy it with the keyboard.");
    }
  });
  find("compare").addEventListener("click", () => compare(find("comparison").hidden));
  find("split-all").addEventListener("input", (event) => find("grid").style.setProperty("--split", `${event.target.value}%`));
}

listen();
