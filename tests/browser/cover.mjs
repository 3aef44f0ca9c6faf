// Runs in a page: puts a cover before the text, with the drawing of the page
// that welcomes the reader.
export function addCover(title) {
  const make = (name, className, text = "") => {
    const element = document.createElement(name);
    element.className = className;
    element.textContent = text;
    return element;
  };
  const main = document.querySelector("main");
  const cover = make("div", "pdf-cover");
  const drawing = main.querySelector(".cover figure").cloneNode(true);
  for (const part of drawing.querySelectorAll("title, desc")) part.removeAttribute("id");
  const subtitle = document.querySelector("meta[name=description]").content;
  cover.append(make("p", "name", title), make("p", "", subtitle), drawing,
    make("p", "licence", "Text: CC BY 4.0. Code: MIT or Apache-2.0."));
  main.prepend(cover);
}
