// Figures open in full resolution: by a click or a tap on them, or by the button that the keyboard
// reaches after each. Without this module they stay as they are.
const SMALLEST = 200; // pixels; what is narrower is an icon
const LARGEST = 2; // screen pixels for one of the picture's

const dialog = document.createElement("dialog");
dialog.className = "zoom-view";
dialog.setAttribute("aria-label", "Enlarged figure");
dialog.innerHTML = `
  <button type="button" class="zoom-close" aria-label="Close"><span aria-hidden="true">×</span></button>
  <div class="zoom-pane" tabindex="0" role="region" aria-label="Figure, scrolls in both directions"></div>`;
const [close, pane] = ["button", "div"].map((one) => dialog.querySelector(one));
const enlarged = new Image();
let opener = null;

function open(image, button) {
  opener = button;
  enlarged.src = image.currentSrc || image.src;
  enlarged.alt = image.alt;
  enlarged.onload = fit;
  pane.replaceChildren(enlarged);
  dialog.showModal();
  document.documentElement.classList.add("zoom-open");
  fit();
  pane.scrollTo(0, 0);
  close.focus();
}

// At least one screen pixel for each of the picture's; more where the window has room.
function fit() {
  const { naturalWidth: width, naturalHeight: height } = enlarged;
  if (!width) return;
  const room = Math.min(pane.clientWidth / width, pane.clientHeight / height);
  enlarged.style.width = `${Math.round(width * Math.min(Math.max(room, 1), LARGEST))}px`;
}

dialog.addEventListener("close", () => {
  document.documentElement.classList.remove("zoom-open");
  enlarged.remove();
  opener?.focus({ preventScroll: true });
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog || event.target === pane) dialog.close(); // beside the picture
});
close.addEventListener("click", () => dialog.close());
addEventListener("resize", () => dialog.open && fit());
document.body.append(dialog);

function widthOf(image) {
  return Number(image.getAttribute("width")) || image.naturalWidth || image.clientWidth;
}

function prepare(image) {
  if (widthOf(image) < SMALLEST) return;
  const link = image.closest("a.image-reference"); // to the picture's file, for use without scripts
  const frame = document.createElement("span");
  frame.className = "zoom-frame";
  // A width in percent is one of the box around; the frame takes it over.
  if (image.style.width) {
    frame.style.width = image.style.width;
    image.style.width = "100%";
  }
  const button = document.createElement("button");
  button.type = "button";
  button.className = "zoom-button";
  button.textContent = "Enlarge figure";
  button.setAttribute("aria-haspopup", "dialog");
  (link ?? image).replaceWith(frame);
  frame.append(image, button);
  button.addEventListener("click", () => open(image, button));
  image.addEventListener("click", () => open(image, button));
}

// An explorer takes the place of its figure, and a picture inside a control belongs to the control.
for (const image of document.querySelectorAll(".bd-article img")) {
  if (image.closest(".tag_explorer, .zoom-frame, button, label, a:not(.image-reference)")) continue;
  if (image.complete || image.getAttribute("width")) prepare(image);
  else image.addEventListener("load", () => prepare(image), { once: true });
}
