// The theme's arrow keys for the previous and the next page leave input fields alone. Other things
// take arrow keys too: boxes that scroll sideways, sliders drawn on a canvas, dialogs.
const TAKES_ARROWS =
  "[tabindex]:not([tabindex='-1']), [role='slider'], [role='radiogroup'], [contenteditable], dialog";

document.body.addEventListener("keydown", (event) => {
  const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
  if (sideways && event.target.closest(TAKES_ARROWS)) event.stopPropagation();
});
