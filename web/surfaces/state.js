// What the page shows, and where it starts.

export const REACH = 3; // scores run from -REACH to REACH

const START = { yaw: 35, pitch: 30, x: 1.5, y: -0.8 };
// Seen from the corner where both pixels are right, or slopes hide behind plateaus.
const TURNED = { "00": 0, "01": 90, "11": 180, "10": 270 };

export const state = { ...START, yaw: START.yaw + TURNED["01"], loss: "lovasz_hinge", truth: "01" };

// The truth as numbers, one a pixel.
export const labels = () => [...state.truth].map(Number);

export function turn(yaw, pitch) {
  state.yaw = (((state.yaw + yaw) % 360) + 360) % 360;
  state.pitch = Math.min(85, Math.max(5, state.pitch + pitch));
}

export function turnBack() {
  state.yaw = START.yaw + TURNED[state.truth];
  state.pitch = START.pitch;
}

export function move(x, y) {
  const within = (v) => Math.min(REACH, Math.max(-REACH, Math.round(v * 1000) / 1000));
  state.x = within(x);
  state.y = within(y);
}

export const moveBack = () => move(START.x, START.y);
