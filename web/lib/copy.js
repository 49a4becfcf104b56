// The button that copies the page's address, with what it shows.

const $ = (id) => document.getElementById(id);

// Who can open a link to where this page lies.
export function reachOf({ protocol, hostname }) {
  if (protocol === "file:") return "It leads to a file on this computer: only you can open it.";
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  return isLocal ? "It leads to a server on this computer: only you can open it." : "";
}

// Let the button #copy write the address and copy it; `remark` says what the address leaves out.
export function installCopy(addressOf, remark = () => "") {
  for (const kind of ["input", "pointerdown"]) {
    document.querySelector("main").addEventListener(kind, () => $("copied").replaceChildren()); // no longer so
  }
  $("copy").addEventListener("click", async () => {
    history.replaceState(null, "", addressOf());
    const words = [remark(), reachOf(location)].filter(Boolean);
    try {
      await navigator.clipboard.writeText(location.href);
      $("copied").textContent = ["The link is copied.", ...words].join(" ");
    } catch {
      const link = Object.assign(document.createElement("a"), { href: location.href, textContent: "this link" });
      $("copied").replaceChildren("The browser does not let the page copy. Copy ", link, ` by hand. ${words.join(" ")}`);
    }
  });
}
