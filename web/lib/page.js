// What every page does with its state: draw it anew when it changes, and keep it in the address.

import { keepAddress } from "./address.js";
import { oncePerFrame } from "./controls.js";
import { installCopy } from "./copy.js";
import { followTheme } from "./theme.js";
import { installTour } from "./tour.js";

// Return { redraw, changed }: what draws at most once a frame, and what turns an act that changes
// the state into one that is also drawn and remembered.
export function keepShown(draw, addressOf) {
  const redraw = oncePerFrame(draw);
  const remember = keepAddress(addressOf);
  const changed = (act) => (...values) => {
    act(...values);
    remember();
    redraw();
  };
  return { redraw, changed };
}

// Open a page at the state in its address, now and whenever that changes, and offer its tour and its
// link. `open` reads the address and draws; `redraw` alone follows the window's size and its colors.
export function openPage({ tour, open, redraw, addressOf }) {
  installTour(tour, open);
  installCopy(addressOf);
  window.addEventListener("hashchange", open);
  window.addEventListener("resize", redraw);
  followTheme(redraw);
  open();
}
