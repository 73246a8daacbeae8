"use strict";

// What htmx could not do is said in one line, and everything that was typed
// stays. The application's own refusals carry a message; anything else means
// that this page is not what the system now serves.
(() => {
  const movedOn = "This page has moved on; what you did was not carried out.";

  const say = (text) => {
    const notice = document.getElementById("notice");
    notice.textContent = text;
    notice.hidden = !text;
    if (text === movedOn) {
      const reload = document.createElement("a");
      reload.href = location.href;
      reload.textContent = "Reload";
      notice.append(" ", reload);
    }
  };

  const messageIn = (answer) => {
    if (!(answer.getResponseHeader("Content-Type") ?? "").startsWith("text/html")) return "";
    const fragment = new DOMParser().parseFromString(answer.responseText, "text/html");
    return fragment.querySelector("body > .alert")?.textContent ?? "";
  };

  document.addEventListener("htmx:responseError", (event) => say(messageIn(event.detail.xhr) || movedOn));
  document.addEventListener("htmx:sendError", () => say(movedOn));
  document.addEventListener("htmx:afterSwap", () => say(""));
})();
