// The state of a page in the part of its address after #, so that a link holds it.

// Return the settings in an address that `rules` allow. A rule is a list of the texts that a
// setting may have, its [least, largest] number, or a function that returns the value of a text, or
// null; what breaks its rule is left out.
export function readAddress(hash, rules) {
  const settings = {};
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (!Object.hasOwn(rules, name)) continue; // not rules[name], which has toString
    const rule = rules[name];
    if (typeof rule === "function") {
      const value = rule(text);
      if (value !== null) settings[name] = value;
    } else if (typeof rule[0] === "string") {
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

const PAUSE = 200; // milliseconds: browsers limit how often the address may change

// Return a function that writes the address a while after its last call.
export function keepAddress(addressOf) {
  let waiting = null;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => history.replaceState(null, "", addressOf()), PAUSE);
  };
}
