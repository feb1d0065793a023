// The server's API, as the page uses it. Waits where the server is busy; asks for a token where the server requires one.

import { words } from "./words.js";

const RETRIES = 10;
// `facemend serve --share` shows a code whose address ends with the token. It is taken out of the address at once.
const shared = new URLSearchParams(location.hash.slice(1)).get("token");
if (shared) {
  sessionStorage.setItem("facemend-token", shared);
  history.replaceState(null, "", location.pathname + location.search);
}
let token = sessionStorage.getItem("facemend-token") ?? "";

export class ApiError extends Error {
  /** `passing`: whether the same request may succeed later. */
  constructor(message, passing) {
    super(message);
    this.passing = passing;
  }
}

/** The names of the formats that the server writes, or null where it tells nobody without a token. */
export async function formats() {
  try {
    const response = await fetch("v1/models", { headers: authorization() });
    return response.ok ? (await response.json()).formats : null;
  } catch {
    return null;
  }
}

/** Reconstructs a photo. `work` has photo (File), remove, aligned, boxes ([x, y, width, height], …), faces (numbers or
 * null), grow, feather (pixels of the crop, or null), mask (Blob or null), format (null for the photo's own), before (whether the original comes back as PNG). */
export async function reconstruct(work, { signal, askForToken, says }) {
  for (let attempt = 0; ; attempt++) {
    const response = await send(work, signal);
    if (response.ok) return response.json();
    const problem = await response.json().catch(() => ({ message: words.noReason }));
    if (response.status === 401) {
      token = await askForToken();
      sessionStorage.setItem("facemend-token", token);
    } else if (response.status === 429 && attempt < RETRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      says(words.busy(seconds));
      await pause(seconds * 1000, signal);
    } else {
      throw new ApiError(sentence(problem.message), response.status >= 429);
    }
  }
}

/** The form's fields beside its files: [name, value] of each that is not at its default. */
function fieldsOf({ remove, aligned, boxes, faces, grow, feather, mask, format }) {
  return [
    remove !== "covers" && !mask && ["remove", remove],
    aligned && ["aligned", "true"],
    boxes.length > 0 && ["face", boxes.map((box) => box.join(",")).join(" ")],
    faces && ["faces", faces.join(",")],
    grow !== 0 && ["grow", String(grow)],
    feather !== null && ["feather", String(feather)],
    format && ["format", format],
  ].filter(Boolean);
}

async function send(work, signal) {
  const form = new FormData();
  // The server has no use for a file's name, so that it is not told.
  form.append("photo", work.photo, "photo");
  form.append("answer", "json");
  for (const [name, value] of fieldsOf(work)) form.append(name, value);
  if (work.mask) form.append("mask", work.mask, "mask");
  if (work.before) form.append("before", "true");
  try {
    return await fetch("v1/reconstruct", { method: "POST", body: form, headers: authorization(), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(words.unreachable, true);
  }
}

function authorization() { return token ? { Authorization: `Bearer ${token}` } : {}; }

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** The curl command that does the same. */
export function asCurl(work, name, output) {
  const parts = ["curl"];
  if (token) parts.push('-H "Authorization: Bearer $FACEMEND_TOKEN"');
  parts.push(`-F ${quoted(`photo=@"${name.replace(/["\\]/g, "\\$&")}"`)}`);
  if (work.mask) parts.push("-F mask=@mask.png");
  for (const [field, value] of fieldsOf(work)) parts.push(`-F ${value.includes(" ") ? quoted(`${field}=${value}`) : `${field}=${value}`}`);
  return `${parts.join(" \\\n  ")} \\\n  -o ${quoted(output)} ${new URL("v1/reconstruct", document.baseURI)}`;
}

function quoted(word) {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** A message of the server as a sentence. */
function sentence(message) {
  return `${message[0].toUpperCase()}${message.slice(1)}.`;
}

/** A picture of a response as a Blob. */
export function blobOf({ base64, media_type }) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: media_type });
}
