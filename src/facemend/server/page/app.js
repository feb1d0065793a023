// The page: what a person does, and what is shown then.

import { formats } from "./api.js";
import { openCamera } from "./camera.js";
import { translateDocument } from "./language.js";
import { adviceOf, faceChoice, madeOf, outcomeOf, pairOf, thumbnail } from "./panel.js";
import { Photo } from "./photo.js";
import { Stage } from "./stage.js";
import { words } from "./words.js";
import { zip } from "./zip.js";

const find = (id) => document.getElementById(id);
const radios = document.querySelectorAll("[name=remove]");
const tools = { add: find("add"), remove: find("remove"), box: find("mark") };
let photos = [];
let current = null;
let away = []; // photos that were removed last, with their places
let maskUrl = null;
let advice = ""; // what is shown of it, so that a focus in it stays

const stage = new Stage(find, {
  painted: (stroke) => paint(stroke),
  boxed: (box) => {
    takeUp(null);
    current.push({ boxes: [...current.step.boxes, box], faces: null });
    run(current);
  },
  left: () => {
    const button = tools[stage.mode];
    takeUp(null);
    button.focus();
  },
  says: say,
});
const helpers = { says: say, askForToken };

function say(text) { find("status").textContent = text; }

/** Tells about photos as a whole, above all else. */
function tell(text, removed = []) {
  away = removed;
  find("message").hidden = !text;
  find("message-text").textContent = text;
  find("bring-back").hidden = removed.length === 0;
}

/** Moves the focus to where it makes sense, if what had it is gone. */
function keepFocus(id) {
  const { activeElement } = document;
  if (activeElement === document.body || !activeElement.checkVisibility() || activeElement.disabled) {
    find(id).focus({ preventScroll: true });
  }
}

// Photos come and go.

async function add(files, remove = "covers") {
  const isPicture = (file) => !file.type || file.type.startsWith("image/");
  const refused = files.filter((file) => !isPicture(file)).map((file) => file.name);
  tell(refused.length ? words.notPictures(refused) : "");
  const added = files.filter(isPicture).map((file) => new Photo(file, remove));
  if (!added.length) return;
  photos.push(...added);
  find("all").hidden = true;
  select(added[0]);
  await Promise.all(added.map((photo) => photo.open()));
  await runAll(added);
}

async function runAll(waiting) {
  for (const photo of waiting) {
    if (!photos.includes(photo) || photo.done || photo.busy) continue;
    await run(photo);
  }
}

async function addExample({ example, remove }) {
  try {
    const response = await fetch(`page/example-${example}.jpg`);
    if (!response.ok) throw new TypeError(response.statusText);
    await add([new File([await response.blob()], `example-${example}.jpg`, { type: "image/jpeg" })], remove);
  } catch {
    tell(words.exampleMissing);
  }
}

function select(photo) {
  current = photo;
  takeUp(null);
  say(outcomeOf(photo));
  show();
  keepFocus("work-title");
}

function remove(gone) {
  const removed = gone.map((photo) => [photos.indexOf(photo), photo]);
  gone.forEach((photo) => photo.busy?.abort());
  const at = photos.indexOf(current);
  photos = photos.filter((photo) => !gone.includes(photo));
  tell(words.removed(gone.length), removed);
  if (photos.length) {
    select(photos[Math.min(at, photos.length - 1)]);
  } else {
    current = null;
    find("all").hidden = true;
    takeUp(null);
    show();
    find("choose").focus();
  }
}

function bringBack() {
  const back = away.map(([, photo]) => photo);
  for (const [at, photo] of away) photos.splice(at, 0, photo);
  tell("");
  select(back[0]);
  runAll(back);
}

// What is done to a photo.

async function run(photo) {
  if (photo === current) say(words.working(photo.name));
  const running = photo.reconstruct(helpers);
  show();
  await running;
  if (photo.busy) return; // a later request took over
  if (photo === current) say(outcomeOf(photo));
  show();
  if (find("format").options.length === 1) offerFormats(); // there was no token before
}

async function runAgain() {
  takeUp(null);
  const running = run(current);
  find("work-title").focus({ preventScroll: true });
  await running;
  if (document.activeElement === find("work-title") && !find("hold").disabled) find("hold").focus({ preventScroll: true });
}

function choose(change) {
  current.push(change);
  run(current);
}

function paint(stroke) {
  const count = current.paintable(stroke.points);
  if (!count) {
    say(words.paintedBeyond);
    return;
  }
  current.push({ strokes: [...current.step.strokes, stroke] });
  show();
  say(count < stroke.points.length ? words.paintedInPart : words.painted);
}

/** Takes up the brush ("add" or "remove") or the box ("box"), or puts it away (null). */
function takeUp(mode) {
  stage.arm(mode);
  for (const [name, button] of Object.entries(tools)) button.setAttribute("aria-pressed", String(mode === name));
  find("size-row").hidden = mode !== "add" && mode !== "remove";
  if (current) showHint();
  if (!mode) return;
  find("brush").focus({ preventScroll: true });
  // On a phone the photo may be out of sight by now.
  find("view").scrollIntoView({ block: "start" });
}

function go(back) {
  if (!current || !(back ? current.canUndo : current.canRedo)) return;
  current.busy?.abort();
  if (back) current.undo();
  else current.redo();
  current.error = null;
  show();
  say(back ? words.undone : words.redone);
  keepFocus(back ? "redo" : "undo");
}

const deeds = {
  again: () => run(current),
  choose: () => find("file").click(),
  mark: () => takeUp("box"),
  paint: () => takeUp("add"),
  both: () => choose({ remove: "all" }),
  closeUp: () => choose({ aligned: true }),
};

// What is shown.

function show() {
  const photo = current;
  const all = !find("all").hidden;
  find("start").hidden = photo !== null;
  find("strip").hidden = photo === null;
  find("work").hidden = photo === null || all;
  showStrip(all);
  if (!photo) return;
  find("work-title").textContent = photo.name;
  find("paging").hidden = photos.length < 2;
  find("count").textContent = words.count(photos.indexOf(photo) + 1, photos.length);
  for (const part of [find("scroll"), ...document.querySelectorAll(".tools")]) part.hidden = !photo.before;
  stage.show(photo);
  find("busy").hidden = !photo.busy;
  find("undo").disabled = !photo.canUndo;
  find("redo").disabled = !photo.canRedo;
  find("again").hidden = !photo.stale || photo.busy !== null || photo.error !== null;
  const ready = photo.result !== null;
  document.querySelector(".panel").hidden = !ready;
  for (const radio of radios) {
    radio.checked = radio.value === photo.step.remove;
    radio.disabled = photo.step.strokes.length > 0;
  }
  showEdge("grow", photo.step.grow);
  showEdge("feather", photo.step.feather ?? (photo.step.strokes.length ? 0 : 2));
  const paintable = ready && photo.result.faces.length > 0;
  tools.add.disabled = tools.remove.disabled = !paintable;
  tools.box.disabled = !ready;
  showHint();
  showAdvice(photo);
  if (ready) showResult(photo);
  if (all) find("grid").replaceChildren(...photos.map((each) => pairOf(each, () => open(each))));
}

function showHint() {
  const hint = stage.mode === "box" ? "box" : stage.mode ? "brush" : current.result?.faces.length === 0 ? "noFaces" : "none";
  const keys = matchMedia("(pointer: coarse)").matches ? "" : words.keys[hint] ?? "";
  find("hand-hint").textContent = `${words.hints[hint]} ${keys}`.trim();
}

function showAdvice(photo) {
  const found = adviceOf(photo, deeds);
  const shown = JSON.stringify([photos.indexOf(photo), found]);
  find("notice").hidden = !found;
  if (shown === advice) return;
  advice = shown;
  find("notice").classList.toggle("failed", Boolean(found?.error));
  find("alert").textContent = found?.error ?? "";
  find("tips").replaceChildren(...(found?.tips ?? []).map((tip) => Object.assign(document.createElement("p"), { textContent: tip })));
  find("actions").replaceChildren(...(found?.actions ?? []).map(({ label, run: act }) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
    button.addEventListener("click", () => {
      act();
      keepFocus("work-title");
    });
    return button;
  }));
}

function showResult(photo) {
  const { faces, response, mask } = photo.result;
  find("faces").hidden = faces.length === 0;
  const focused = document.activeElement?.dataset.face;
  find("face-list").replaceChildren(...faces.map((face) => faceChoice(photo, face, (wanted) => {
    photo.choose(face.face, wanted);
    run(photo);
  })));
  if (focused) document.querySelector(`[data-face="${focused}"]`)?.focus();
  find("made").replaceChildren(...madeOf(response));
  find("call").textContent = photo.curlIn(find("format").value);
  const link = find("save-mask");
  link.hidden = mask === null;
  if (maskUrl) URL.revokeObjectURL(maskUrl);
  maskUrl = mask && URL.createObjectURL(mask);
  if (mask) link.href = maskUrl;
}

function showStrip(all) {
  const ready = photos.filter((photo) => photo.done && !photo.busy).length;
  for (const id of ["overview", "download-all", "thumbs"]) find(id).hidden = photos.length < 2;
  find("overview").setAttribute("aria-pressed", String(all));
  find("download-all").textContent = words.downloadAll(ready, photos.length);
  find("download-all").disabled = ready < photos.length || !photos.some((photo) => photo.result);
  const list = find("thumbs");
  const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
  list.replaceChildren(...photos.map((photo, i) => thumbnail(photo, i + 1, photo === current && !all, () => open(photo))));
  list.children[focused]?.firstChild.focus();
}

function open(photo) {
  find("all").hidden = true;
  select(photo);
}

// Files to take away.

function save({ name, blob }) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Runs `work` with a button, and says what goes wrong. */
async function saving(button, work) {
  button.disabled = true;
  const before = find("status").textContent;
  say(words.converting);
  try {
    save(await work());
    say(before);
  } catch (error) {
    say("");
    tell(error.message);
  }
  button.disabled = false;
  button.focus({ preventScroll: true });
}

async function packed() {
  const [files, done] = [[], photos.filter((photo) => photo.result)];
  for (const photo of done) files.push(await photo.fileIn(find("format").value, helpers));
  const blob = await zip(files);
  tell(words.zipped(done.length, photos.length - done.length));
  return { name: "facemend.zip", blob };
}

function askForToken() {
  const dialog = find("token-dialog");
  dialog.showModal();
  return new Promise((resolve) => {
    find("token-form").addEventListener("submit", () => {
      resolve(find("token").value);
      find("token").value = "";
    }, { once: true });
  });
}

/** Offers what this server writes, and HEIC files only where it reads them. */
async function offerFormats() {
  const names = await formats();
  if (!names) return;
  const select = find("format");
  select.replaceChildren(select.firstElementChild, ...names.map((name) => new Option(name === "webp" ? "WebP" : name.toUpperCase(), name)));
  if (names.includes("heic")) find("file").accept = "image/*,.tif,.tiff,.heic,.heif";
}

/** Shows the example alone where the server has not reconstructed it. */
async function showExample() {
  const after = find("example-after");
  await after.decode().catch(() => after.parentElement.classList.add("alone"));
}

function listenToFiles() {
  const input = find("file");
  for (const id of ["choose", "more"]) find(id).addEventListener("click", deeds.choose);
  input.addEventListener("change", () => {
    add([...input.files]);
    input.value = "";
  });
  find("camera").addEventListener("click", () => openCamera(find, (file) => add([file]), deeds.choose));
  for (const button of document.querySelectorAll("[data-example]")) button.addEventListener("click", () => addExample(button.dataset));
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
}

function listenToPhotos() {
  const turn = (by) => select(photos[(photos.indexOf(current) + by + photos.length) % photos.length]);
  find("previous").addEventListener("click", () => turn(-1));
  find("next").addEventListener("click", () => turn(1));
  find("remove-photo").addEventListener("click", () => remove([current]));
  find("start-over").addEventListener("click", () => remove([...photos]));
  find("bring-back").addEventListener("click", bringBack);
  find("overview").addEventListener("click", () => {
    find("all").hidden = !find("all").hidden;
    takeUp(null);
    show();
  });
  find("download").addEventListener("click", (event) => saving(event.target, () => current.fileIn(find("format").value, helpers)));
  find("download-all").addEventListener("click", (event) => saving(event.target, packed));
  find("format").addEventListener("change", show);
}

/** Shows what changed, or how far off it may be, or neither. */
function showLayer(tinted, doubted) {
  Object.assign(stage, { tinted, doubted });
  find("show-tint").checked = tinted;
  find("show-doubt").checked = doubted;
  stage.show(current);
}

function showEdge(id, value) {
  find(id).value = value;
  document.querySelector(`output[for="${id}"]`).value = value;
}

function listenToTools() {
  find("show-tint").addEventListener("change", (event) => showLayer(event.target.checked, false));
  find("show-doubt").addEventListener("change", (event) => showLayer(false, event.target.checked));
  for (const id of ["grow", "feather"]) {
    find(id).addEventListener("input", () => showEdge(id, find(id).value));
    find(id).addEventListener("change", (event) => choose({ [id]: Number(event.target.value) }));
  }
  find("zoom").addEventListener("change", (event) => {
    stage.zoom = Number(event.target.value);
    stage.fit();
  });
  for (const [mode, button] of Object.entries(tools)) {
    button.addEventListener("click", () => takeUp(stage.mode === mode ? null : mode));
  }
  find("again").addEventListener("click", runAgain);
  find("undo").addEventListener("click", () => go(true));
  find("redo").addEventListener("click", () => go(false));
  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.id === "token") return;
    event.preventDefault();
    go(!event.shiftKey);
  });
  for (const radio of radios) radio.addEventListener("change", () => choose({ remove: radio.value, faces: null }));
  find("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(find("call").textContent);
      say(words.copied);
    } catch {
      getSelection().selectAllChildren(find("call"));
      say(words.selected);
    }
  });
}

translateDocument(find("language"));
const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
find("promise").textContent = isHere ? words.staysHere : words.goesTo(location.host);
showExample();
listenToFiles();
listenToPhotos();
listenToTools();
offerFormats();
