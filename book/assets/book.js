// What a keyboard and a screen reader need, and mdBook does not give.
"use strict";
(() => {
  // The toggle is a label that says it controls something: so it is a button.
  const toggle = document.getElementById("mdbook-sidebar-toggle");
  if (toggle) toggle.setAttribute("role", "button");

  // What is wider than the screen can be scrolled with the keyboard.
  const regions = document.querySelectorAll("main pre > code, main .table-wrapper");
  const mark = () => {
    for (const region of regions) {
      if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
      else region.removeAttribute("tabindex");
    }
  };
  mark();
  window.addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true); // a <details> was opened

  // There the arrows scroll, where else they turn the page.
  for (const region of regions) {
    region.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" || event.key === "ArrowRight") event.stopPropagation();
    });
  }
})();
