// A part that scrolls by itself must be reachable by keyboard, and have a name.
const SCROLLING = "pre, .table-wrapper, mjx-container[display='true']";

function nameScrolling() {
  for (const part of document.querySelectorAll(SCROLLING)) {
    const scrolls = part.scrollWidth > part.clientWidth + 1;
    if (scrolls && !part.hasAttribute("tabindex")) {
      part.tabIndex = 0;
      part.setAttribute("role", "region");
      part.setAttribute("aria-label", part.matches("pre") ? "code" : part.matches(".table-wrapper") ? "table" : "formula");
    }
  }
}

document.addEventListener("DOMContentLoaded", nameScrolling);
addEventListener("load", nameScrolling);
addEventListener("resize", nameScrolling);
document.addEventListener("toggle", nameScrolling, true);

// The theme opens its menus by labels, which only a pointer reaches.
const MENUS = { "nav-overlay-icon": "Open the chapters", "toc-overlay-icon": "Open the contents of this page" };

function nameMenus() {
  for (const [kind, name] of Object.entries(MENUS)) {
    for (const label of document.querySelectorAll(`label.${kind}`)) {
      label.tabIndex = 0;
      label.setAttribute("role", "button");
      label.setAttribute("aria-label", name);
      label.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          label.click();
        }
      });
    }
  }
}

document.addEventListener("DOMContentLoaded", nameMenus);

// Pages in frames have colors of their own; they follow the theme that is chosen here.
function sendTheme() {
  for (const frame of document.querySelectorAll("details.computing > iframe")) {
    frame.contentWindow?.postMessage({ theme: document.body.dataset.theme || "auto" }, "*");
  }
}

document.addEventListener("DOMContentLoaded", () => {
  const frames = document.querySelectorAll("details.computing > iframe");
  if (!frames.length) return;
  for (const frame of frames) frame.addEventListener("load", sendTheme);
  new MutationObserver(sendTheme).observe(document.body, { attributeFilter: ["data-theme"] });
});

// Without a server the search can fetch no page to show an excerpt of: see excerpts.py.
function answerFromFile() {
  const root = new URL(document.documentElement.dataset.content_root, location.href).href;
  const loaded = new Promise((done) => {
    const script = document.createElement("script");
    script.onload = script.onerror = done;
    script.src = `${root}_static/texts.js`;
    document.head.append(script);
  });
  window.fetch = async (address) => {
    await loaded;
    const name = new URL(address, location.href).href.slice(root.length).replace(/[?#].*$/, "");
    const text = globalThis.BOOK_TEXTS?.[decodeURIComponent(name)] ?? "";
    return new Response(text && `<div role="main">${text}</div>`);
  };
}

if (location.protocol === "file:" && document.querySelector("#search-results")) answerFromFile();
