// Turns the pages where reveal.js is missing: arrows, space, Home, End, S for notes, F for full screen.
const slides = [...document.querySelectorAll("section")];
const stage = document.querySelector(".slides");
document.documentElement.classList.add("plain");

function fit() {
  const scale = Math.min(innerWidth / 1280, innerHeight / 720);
  stage.style.transform = `translate(${(innerWidth - 1280 * scale) / 2}px, ${(innerHeight - 720 * scale) / 2}px) scale(${scale})`;
}

function show(number) {
  const at = Math.max(0, Math.min(slides.length - 1, number));
  slides.forEach((slide, i) => slide.classList.toggle("present", i === at));
  history.replaceState(null, "", `#/${at}`);
}

const now = () => Math.max(0, slides.findIndex((slide) => slide.classList.contains("present")));
const keys = {
  ArrowRight: () => show(now() + 1), PageDown: () => show(now() + 1), " ": () => show(now() + 1),
  ArrowLeft: () => show(now() - 1), PageUp: () => show(now() - 1), Home: () => show(0), End: () => show(slides.length),
  s: () => document.documentElement.classList.toggle("noted"),
  f: () => document.documentElement.requestFullscreen?.(),
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own, such as to find a word
  if (Object.hasOwn(keys, event.key)) keys[event.key]();
});
addEventListener("resize", fit);
fit();
show(Number(location.hash.slice(2)) || 0);
