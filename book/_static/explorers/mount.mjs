// Puts a living explorer in the place of each static figure that a cell tagged explorer-KIND shows.
// The figure keeps its caption; the explorer has the height that the style sheet keeps free for it.
import { Explorer } from "./explorer.mjs";

const KINDS = ["classes", "channels", "scales", "threshold", "methods", "identity"];

// What an explorer needs is loaded when its reader comes near.
const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      mount(target);
    }
  },
  { rootMargin: "600px" },
);
document.querySelectorAll(".tag_explorer").forEach((cell) => observer.observe(cell));

async function mount(cell) {
  const kind = KINDS.find((one) => cell.classList.contains(`tag_explorer-${one}`));
  const image = cell.querySelector("img");
  if (!kind || !image) return;
  const { default: build } = await import(`./${kind}.mjs`);
  const explorer = new Explorer(build, kind);
  try {
    await explorer.start();
  } catch (error) {
    console.warn("The explorer could not start, its figure stays:", error);
    return;
  }
  (image.closest("a, button") ?? image).replaceWith(explorer.root);
}
