// The page in the reader's language. English stands in the page itself; a file of messages has the rest.
//
// messages-CODE.json: {"name", "dir": "ltr" or "rtl", "text": {English: translation}}. A key may hold {0}, {1} …, which stand
// for what the page puts there. What has no translation stays English. Add a code to LANGUAGES, and the file.

const LANGUAGES = { en: "English", ar: "العربية", de: "Deutsch", es: "Español", fr: "Français" };
const KEPT = "facemend-language";
const SENTENCES = /(?<=[.!?؟])\s+/;
const ATTRIBUTES = ["aria-label", "alt", "placeholder"];

/** The language that was chosen here, else the first of the browser's that there is, else English. */
function chosen() {
  const wanted = [localStorage.getItem(KEPT), ...navigator.languages].map((code) => code?.toLowerCase().split("-")[0]);
  return wanted.find((code) => code && Object.hasOwn(LANGUAGES, code)) ?? "en";
}

async function load(code) {
  if (code === "en") return { dir: "ltr", text: {} };
  try {
    const response = await fetch(`page/messages-${code}.json`);
    if (response.ok) return await response.json();
  } catch {
    // The page works in English as well.
  }
  return null;
}

const wanted = chosen();
const loaded = await load(wanted);
const code = loaded ? wanted : "en";
const { dir, text } = loaded ?? { dir: "ltr", text: {} };
const patterns = Object.keys(text).filter((key) => key.includes("{0}")).map((key) => {
  const parts = key.split(/\{\d\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  // A key of hardly any letters, such as "{0} of {1}", takes numbers alone. It would fit too much.
  const value = parts.join("").match(/\p{L}/gu)?.length > 2 ? "(.+?)" : "(\\d+)";
  return [new RegExp(`^${parts.join(value)}$`, "s"), text[key], key.match(/\{\d\}/g)];
});

/** A text of the page in the reader's language. */
export function translated(english) {
  if (code === "en") return english;
  const key = english.trim().replace(/\s+/g, " ");
  const whole = lookUp(key);
  if (whole !== null) return english.replace(english.trim(), () => whole);
  const sentences = key.split(SENTENCES);
  return sentences.length > 1 ? sentences.map((each) => lookUp(each) ?? each).join(" ") : english;
}

function lookUp(key) {
  if (Object.hasOwn(text, key)) return text[key];
  for (const [pattern, translation, names] of patterns) {
    const found = key.match(pattern);
    if (found) return names.reduce((said, name, i) => said.replace(name, () => found[i + 1]), translation);
  }
  return null;
}

/** The same for every text in an object, also for those that its functions return. */
export function translatedAll(words) {
  if (typeof words === "string") return translated(words);
  if (typeof words === "function") return (...values) => translatedAll(words(...values));
  if (Array.isArray(words)) return words.map(translatedAll);
  return Object.fromEntries(Object.entries(words).map(([name, value]) => [name, translatedAll(value)]));
}

/** Translates what stands in the document, and offers the languages in `select`. */
export function translateDocument(select) {
  Object.assign(document.documentElement, { lang: code, dir });
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { currentNode: node } = walker;
    if (node.data.trim() && !node.parentElement.closest("script, code, pre")) node.data = translated(node.data);
  }
  for (const name of ATTRIBUTES) {
    for (const element of document.querySelectorAll(`[${name}]`)) element.setAttribute(name, translated(element.getAttribute(name)));
  }
  select.replaceChildren(...Object.entries(LANGUAGES).map(([each, name]) => {
    const option = new Option(name, each, each === code, each === code);
    option.lang = each;
    return option;
  }));
  select.addEventListener("change", () => {
    localStorage.setItem(KEPT, select.value);
    location.reload();
  });
}
