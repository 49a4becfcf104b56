"""Markdown of the notebooks, one line of it, as HTML or as plain words."""

import html
import re

# What the chapters' sentences use of TeX; formulas of their own are drawn by `pfpn.kit.formula`.
SYMBOLS = {
    r"\times": "\N{MULTIPLICATION SIGN}", r"\Delta": "\N{GREEK CAPITAL LETTER DELTA}",
    r"\lambda": "\u03bb", r"\theta": "\N{GREEK SMALL LETTER THETA}",
    r"\ge": "\N{GREATER-THAN OR EQUAL TO}", r"\le": "\N{LESS-THAN OR EQUAL TO}",
    r"\cdot": "\N{MIDDLE DOT}", r"\log": "log", r"\,": " ",
}  # fmt: skip
LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*\)")


def to_html(text: str) -> str:
    """Return a line of Markdown as HTML: code, bold, emphasis and formulas; links become words."""
    text = html.escape(_without_tex(LINK.sub(r"\1", text)), quote=False)
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        f"<code>{part[1:-1]}</code>" if part.startswith("`") and len(part) > 1 else _marks(part)
        for part in parts
    )


def to_plain(text: str) -> str:
    """Return a line of Markdown as plain words."""
    text = _without_tex(LINK.sub(r"\1", text)).replace("`", "")
    return re.sub(r"\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*", lambda m: m[1] or m[2], text)


def _marks(text: str) -> str:
    text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", text)


def _without_tex(text: str) -> str:
    return re.sub(r"\$([^$]+)\$", lambda m: _plain_formula(m[1]), text)


def _plain_formula(tex: str) -> str:
    tex = re.sub(r"\\(?:mathrm|text|mathbf)\{([^}]*)\}", r"\1", tex)
    for command, symbol in SYMBOLS.items():
        tex = re.sub(re.escape(command) + (r"(?![a-zA-Z])" if command[-1].isalpha() else ""),
                     symbol, tex)  # fmt: skip
    return tex.replace("{", "").replace("}", "").strip()
