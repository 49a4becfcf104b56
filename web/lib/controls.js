// Ways to act on a canvas: dragging, arrow keys; and drawing at most once a frame.

// Call act(event, dx, dy) while a pointer is held down on a canvas.
export function onDrag(canvas, act) {
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    act(event, 0, 0);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) act(event, event.movementX, event.movementY);
  });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// Call act(dx, dy) for arrow keys, and back() for Home.
export function onKeys(canvas, act, back) {
  canvas.addEventListener("keydown", (event) => {
    if (event.key in ARROWS) act(...ARROWS[event.key]);
    else if (event.key === "Home") back();
    else return;
    event.preventDefault();
  });
}

// Return a function that calls draw() before the next frame, however often it is called itself.
export function oncePerFrame(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}
