// Before the page is drawn: explorers will take the place of figures, so their room is kept. Pages
// opened as files cannot load modules, and keep the figures.
if (location.protocol !== "file:") document.documentElement.classList.add("living");
