// A link to a case shows the case: its explanation is folded below its heading.
"use strict";
(() => {
  const unfold = () => {
    const heading = document.getElementById(location.hash.slice(1));
    const folded = heading?.nextElementSibling;
    if (folded?.matches("details.case")) folded.open = true;
  };
  unfold();
  window.addEventListener("hashchange", unfold);
})();
