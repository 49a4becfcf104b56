// Numbers and boxes as text.

export const number = (value) =>
  (Math.abs(value) >= 100 ? value.toFixed(1) : value.toFixed(3)).replace("-", "−");
export const signed = (value) => (value < 0 ? number(value) : `+${number(value)}`);
export const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)} %`;
export const corners = (box) => box.map((value) => value.toFixed(1)).join(", ");
export const several = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
