// In "When to try again": shows another draw of the eight clients. Each one
// was measured; this only chooses which is to be seen.
"use strict";
(() => {
  const herd = document.querySelector(".herd");
  if (!herd) return;
  const draws = [...herd.querySelectorAll(".draw")];
  let shown = 0;

  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Another eight clients";
  const status = document.createElement("p");
  status.setAttribute("aria-live", "polite");
  const say = () => {
    const times = draws[shown].querySelector("desc").textContent;
    status.textContent = `Group ${shown + 1} of ${draws.length}: ${times}`;
  };

  button.addEventListener("click", () => {
    draws[shown].hidden = true;
    shown = (shown + 1) % draws.length;
    draws[shown].hidden = false;
    say();
  });
  say();
  herd.querySelector("figcaption").before(button, status);
})();
