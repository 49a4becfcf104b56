// A tour of a page: each stop is a state of the page, by its address, and what to look at.

const $ = (id) => document.getElementById(id);

const STOP = `<h2 id="stop-title" tabindex="-1"></h2>
<p id="stop-text"></p>
<div class="buttons"><button type="button" id="stop-back">Back</button>
<button type="button" id="stop-next">Next</button>
<button type="button" id="stop-end">End the tour</button></div>`;

// Let the button #tour start a tour through stops [{ title, text, address, at }], told in the empty
// section #stop. `open` shows the state that the address holds; `at` is the id of what to scroll to.
export function installTour(stops, open) {
  let current = 0;
  $("stop").innerHTML = STOP;

  function visit(index) {
    current = index;
    const { title, text, address, at } = stops[index];
    $("stop").hidden = false;
    $("stop-title").textContent = `${index + 1} of ${stops.length}: ${title}`;
    $("stop-text").textContent = text;
    $("stop-back").disabled = index === 0;
    $("stop-next").disabled = index === stops.length - 1;
    history.replaceState(null, "", address);
    open();
    // Without a part to look at, all of the page below the stop is: bring it into view.
    $(at ?? "tour").scrollIntoView({ block: at ? "center" : "start" });
    $("stop-title").focus({ preventScroll: true });
  }

  $("tour").addEventListener("click", () => visit(0));
  $("stop-back").addEventListener("click", () => visit(current - 1));
  $("stop-next").addEventListener("click", () => visit(current + 1));
  $("stop-end").addEventListener("click", () => {
    $("stop").hidden = true;
    $("tour").focus();
  });
}
