// What scrolls sideways must be reachable by keyboard. The theme sees to it when a page is loaded
// or its window changes size, but not when a reader opens a fold: so whenever a box gets a size.
const boxes = document.querySelectorAll(
  "pre, .cell_output > .output, .jp-RenderedHTMLCommon, .pst-scrollable-table-container",
);
const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const scrolls =
      target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
    target.tabIndex = scrolls ? 0 : -1;
  }
});
boxes.forEach((box) => observer.observe(box));
