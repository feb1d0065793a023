// Every sentence that the scripts of the page say, so that a translation finds them in one place.

import { translatedAll } from "./language.js";

const some = (count, one, many) => (count === 1 ? one : many.replace("#", count));

export const words = translatedAll({
  // Where photos go.
  staysHere: "Photos stay on this computer. Nothing is kept.",
  goesTo: (host) => `Photos go to ${host} and nowhere else. Nothing is kept.`,

  // Files.
  notPictures: (names) => `${names.join(", ")}: not a picture. Choose a PNG, JPEG, WebP, TIFF, AVIF or BMP.`,
  removed: (count) => some(count, "The photo was removed from this page.", "# photos were removed from this page."),
  exampleMissing: "The example cannot be loaded. Choose a photo of your own.",
  zipped: (count, failed) => some(count, "One photo is in the zip.", "# photos are in the zip.")
    + (failed ? ` ${some(failed, "One failed and is not.", "# failed and are not.")}` : ""),
  downloadAll: (ready, all) => (ready === all ? "Download all" : `Download all (${ready} of ${all} ready)`),
  count: (number, all) => `${number} of ${all}`,
  thumbnail: (number, name, failed) => `Photo ${number}: ${name}${failed ? ", failed" : ""}`,
  failed: "failed",

  // What happens.
  waiting: "Waiting for its turn …",
  working: (name) => `Reconstructing ${name} …`,
  converting: "Writing the file …",
  busy: (seconds) => `The server is busy; trying again in ${seconds} s.`,
  undone: "Undone.",
  redone: "Done again.",
  copied: "Copied.",
  selected: "Selected: copy it with the keyboard.",
  unreachable: "The server cannot be reached, or it closed the connection. Is the photo too large?",
  noReason: "the server gave no reason",

  // What came of it.
  noFace: "No face was found, so nothing was changed.",
  emptyMask: "Nothing is painted, so nothing was changed.",
  nothingHides: (count) => some(count, "One face was found; nothing hides it, so nothing was changed.",
    "# faces were found; nothing hides them, so nothing was changed."),
  allDone: (count) => some(count, "One face was found and reconstructed.", "# faces were found and reconstructed."),
  someDone: (count, changed) => `${count} faces were found, ${changed} of them reconstructed.`,
  leftAlone: (count, kind) => some(count, "One face was found. ", "# faces were found. ") + ({
    accessories: "Glasses or the like hide a part of it and were left alone.",
    covers: "A mask, blur or patch hides a part of it and was left alone.",
  })[kind],
  notChosen: "No face is chosen, so nothing was changed.",

  // Faces in the list.
  face: (number) => `Face ${number}`,
  faceDone: "reconstructed",
  faceLeft: "left as it is",
  faceFree: "nothing hides it",
  faceMarked: "nothing found: use the brush",
  faceStays: { accessories: "glasses: choose “Both”", covers: "a mask or blur: choose “Both”" },

  // What to do next.
  noFaceTips: [
    "Mark the face: draw a box around it, from the forehead to the chin.",
    "Turn the photo upright, or send a larger copy, if the face is small or lies on its side.",
  ],
  closeUpTip: "If the photo is a close-up of one face, it can be taken whole.",
  freeTips: ["If something does hide a face, paint it with the brush and reconstruct again."],
  staysTips: {
    accessories: "Glasses, hands and things are reconstructed when you choose them.",
    covers: "Masks, blur and patches are reconstructed when you choose them.",
  },
  failedTips: ["Save the photo anew as JPEG or PNG, or choose another one."],
  markFace: "Mark the face",
  closeUp: "Take it as a close-up",
  paint: "Paint it",
  both: "Reconstruct it",
  tryAgain: "Try again",
  chooseOther: "Choose another photo",

  // By hand.
  hints: {
    none: "Paint what hides a face, or draw a box around a face that was not found.",
    noFaces: "No face was found here. Mark one first; then the brush can paint it.",
    brush: "Paint on the photo, then reconstruct again.",
    box: "Draw a box around the face, from the forehead to the chin.",
  },
  keys: {
    brush: "Arrow keys move the brush, Space paints, Escape ends.",
    box: "With the keyboard: Space sets one corner, arrow keys move, Space sets the other.",
  },
  brushLabel: "Brush. Arrow keys move it, space paints, Escape ends.",
  boxLabel: "Box around a face. Arrow keys move, space sets a corner, Escape ends.",
  painted: "Painted. Reconstruct again when you are done.",
  paintedInPart: "Only the part on a face was painted. To paint the rest, mark the face there.",
  paintedBeyond: "That is not on a face that was found, so nothing was painted. Mark the face there first.",
  boxTooSmall: "Draw the box larger: from one corner of the face to the other.",
  corner: "One corner is set. Move to the other and press Space.",

  // Before and after.
  unchanged: "Unchanged",
  before: "Before",
  after: "After",
  pair: (name) => `${name}, before and after`,
  sliderValue: (percent) => `${percent}% of the width shows before`,

  // How it was made.
  made: { program: "Program", model: "Model", input: "Input", regions: "Made up", time: "Time" },
  none: "none",
  nothing: "nothing",
  region: (box, percent) => `${box} (${percent}% of the photo)`,
});
