// The server's API, as the page uses it. Waits where the server is busy; asks for a token where the server requires one.

const RETRIES = 10;
let token = sessionStorage.getItem("facemend-token") ?? "";

export class ApiError extends Error {}

/** Reconstructs a photo. `work` has photo (File), remove, faces (numbers or null), mask (Blob or null), format, before. */
export async function reconstruct(work, { signal, askForToken, says }) {
  for (let attempt = 0; ; attempt++) {
    const response = await send(work, signal);
    if (response.ok) return response.json();
    const problem = await response.json().catch(() => ({ message: "the server gave no reason" }));
    if (response.status === 401) {
      token = await askForToken();
      sessionStorage.setItem("facemend-token", token);
    } else if (response.status === 429 && attempt < RETRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      says(`The server is busy; trying again in ${seconds} s.`);
      await pause(seconds * 1000, signal);
    } else {
      throw new ApiError(sentence(problem.message));
    }
  }
}

async function send(work, signal) {
  const form = new FormData();
  // The server has no use for a file's name, so that it is not told.
  form.append("photo", work.photo, "photo");
  form.append("answer", "json");
  form.append("remove", work.remove);
  if (work.faces) form.append("faces", work.faces.join(","));
  if (work.mask) form.append("mask", work.mask, "mask");
  if (work.format) form.append("format", work.format);
  if (work.before) form.append("before", "true");
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    return await fetch("/v1/reconstruct", { method: "POST", body: form, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached, or it closed the connection. Is the photo too large?");
  }
}

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
export function asCurl({ name, remove, faces, masked, format }, output) {
  const parts = ["curl"];
  if (token) parts.push('-H "Authorization: Bearer $FACEMEND_TOKEN"');
  parts.push(`-F ${quoted(`photo=@"${name.replace(/["\\]/g, "\\$&")}"`)}`);
  if (masked) parts.push("-F mask=@mask.png");
  else if (remove !== "covers") parts.push(`-F remove=${remove}`);
  if (faces) parts.push(`-F faces=${faces.join(",")}`);
  if (format) parts.push(`-F format=${format}`);
  return `${parts.join(" \\\n  ")} \\\n  -o ${quoted(output)} ${location.origin}/v1/reconstruct`;
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
