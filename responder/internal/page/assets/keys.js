// Keys for people who review all day. Everything here can also be done without JavaScript.
"use strict";

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.closest("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const focus = (element) => {
    if (!element) return;
    event.preventDefault();
    element.focus();
  };
  switch (event.key) {
    case "j":
    case "k": {
      const items = [...document.querySelectorAll("a.open")];
      const at = items.indexOf(document.activeElement);
      const to = event.key === "j" ? at + 1 : at < 0 ? items.length - 1 : at - 1;
      focus(items[Math.min(Math.max(to, 0), items.length - 1)]);
      break;
    }
    case "/":
      focus(document.querySelector("input[type=search]"));
      break;
    case "r":
      focus(document.querySelector("details:not([open]) #reason") ? null : document.querySelector("#reason"));
      break;
    case "u": {
      const up = document.querySelector("a.up");
      if (up) location.assign(up.href);
      break;
    }
  }
});
