// The state of a page in the part of its address after #, so that a link holds it.

// Return the settings in an address that `rules` allow. A rule is a list of the texts that a
// setting may have, or its [least, largest] number; what breaks its rule is left out.
export function readAddress(hash, rules) {
  const settings = {};
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    const rule = rules[name];
    if (!rule) continue;
    if (typeof rule[0] === "string") {
      if (rule.includes(text)) settings[name] = text;
    } else if (text.trim() && Number(text) >= rule[0] && Number(text) <= rule[1]) {
      settings[name] = Number(text);
    }
  }
  return settings;
}

// Write settings as they stand in an address; numbers with at most three digits after the point.
export function writeAddress(settings) {
  const texts = Object.entries(settings).map(([name, value]) => [
    name,
    typeof value === "number" ? String(Math.round(value * 1000) / 1000) : value,
  ]);
  return `#${new URLSearchParams(texts)}`;
}
