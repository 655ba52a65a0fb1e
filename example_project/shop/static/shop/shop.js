/* What the pages gain where scripts run. Everything works without: the photo form is a plain form. */

"use strict";

const LARGE = 500_000; // bytes from which a photo is made smaller before it is sent
const SIDE = 1024; // pixels: more than any model looks at, and a phone's photo is sent in a second

const form = document.querySelector(".photo-form");
const input = form?.querySelector("input[type=file]");
const progress = form?.querySelector("[role=status]");

document.documentElement.classList.add("scripted");

/* Returns a photo that is quick to send, or the file as it is: the server says what is wrong with it. */
async function lighter(file) {
  if (file.size < LARGE) return file;
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.min(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(bitmap.width * scale);
    canvas.height = Math.round(bitmap.height * scale);
    const context = canvas.getContext("2d");
    context.fillStyle = "white"; // what is transparent would become black
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
    return blob ? new File([blob], "photo.jpg", { type: blob.type }) : file;
  } catch {
    return file;
  }
}

async function search(file) {
  progress.textContent = "Looking at your photo …";
  const files = new DataTransfer();
  files.items.add(await lighter(file));
  input.files = files.files;
  form.requestSubmit();
}

if (form) {
  input.addEventListener("change", () => input.files.length && search(input.files[0]));

  /* Drop a photo anywhere. Only files count: words and links are dragged as ever. */
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    mark(false);
    form.closest("details")?.setAttribute("open", "");
    if (event.dataTransfer.files.length) search(event.dataTransfer.files[0]);
  });

  /* The browser's “back” may show this page as it was left. */
  addEventListener("pageshow", (event) => {
    if (event.persisted) progress.textContent = "";
  });
}

/* The photo's panel lies over the page: Escape and a click beside it put it away. */
const panel = document.querySelector(".photobox");
if (panel) {
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !panel.open) return;
    panel.open = false;
    panel.querySelector("summary").focus();
  });
  addEventListener("click", (event) => {
    if (!panel.contains(event.target)) panel.open = false;
  });
}

/* On a phone, the filters start folded: what was found comes first. */
const fold = document.querySelector(".filters__fold");
if (fold) {
  const narrow = matchMedia("(max-width: 60rem)");
  const follow = () => (fold.open = !narrow.matches);
  narrow.addEventListener("change", follow);
  follow();
}
