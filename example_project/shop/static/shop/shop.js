/* Enhancements of the pages. All pages work without scripts, too: the photo form is a plain form. */

"use strict";

const MAX_BYTES = 500_000; // a larger photo is resized before it is uploaded
const SHORT_SIDE = 1024; // pixels of a resized photo: more than any model uses

const form = document.querySelector(".photo-form");
const input = form?.querySelector("input[type=file]");
const progress = form?.querySelector("[role=status]");

document.documentElement.classList.add("scripted");

/* Return a resized copy of a large photo. Return the file itself if the browser cannot read it: the server
   reports what is wrong with it. */
async function resized(file) {
  if (file.size < MAX_BYTES) return file;
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SHORT_SIDE / Math.min(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(bitmap.width * scale);
    canvas.height = Math.round(bitmap.height * scale);
    const context = canvas.getContext("2d");
    context.fillStyle = "white"; // without this, transparent areas would become black
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
    return blob ? new File([blob], "photo.jpg", { type: blob.type }) : file;
  } catch {
    return file;
  }
}

/* Submit the form with this file. */
async function search(file) {
  progress.textContent = "Searching …";
  const files = new DataTransfer();
  files.items.add(await resized(file));
  input.files = files.files;
  form.requestSubmit();
}

if (form) {
  input.addEventListener("change", () => input.files.length && search(input.files[0]));

  /* A photo can be dropped anywhere on the page. Dragged text and links are left to the browser. */
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const highlight = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    highlight(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && highlight(false));
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    highlight(false);
    form.closest("details")?.setAttribute("open", "");
    if (event.dataTransfer.files.length) search(event.dataTransfer.files[0]);
  });

  /* The browser's back button may restore this page with the old message. */
  addEventListener("pageshow", (event) => {
    if (event.persisted) progress.textContent = "";
  });
}

/* Escape, or a click beside it, closes the panel with the photo form and the menu of orders. */
for (const panel of document.querySelectorAll(".photobox, .order")) {
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !panel.open) return;
    panel.open = false;
    panel.querySelector("summary").focus();
  });
  addEventListener("click", (event) => {
    if (!panel.contains(event.target)) panel.open = false;
  });
}

/* On narrow screens the filters start folded, so that the products come first. */
const filters = document.querySelector(".filters__fold");
if (filters) {
  const narrow = matchMedia("(max-width: 60rem)");
  const update = () => (filters.open = !narrow.matches);
  narrow.addEventListener("change", update);
  update();
}
