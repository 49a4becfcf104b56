"""The text of all pages as one script, for the search of a book that is opened without a server.

Below each result the search shows an excerpt of its page, which it fetches; from file:// a browser
fetches nothing. There `book.js` loads this script and answers in the place of the server.
"""

import json
import re
from pathlib import Path

ARTICLE = re.compile(r'<article role="main".*?</article>', re.DOTALL)
NOT_READ = re.compile(r'<(script|style)\b.*?</\1>|<a class="headerlink".*?</a>', re.DOTALL)
TAG = re.compile(r"<(?!/?section\b)[^>]*>")  # an excerpt may begin at a section


def text_of(page: str) -> str:
    """Return the main text of a page, as HTML with no tags but those of its sections."""
    article = ARTICLE.search(page)
    if article is None:
        return ""
    words = TAG.sub("", NOT_READ.sub("", article[0]))
    return re.sub(r'<section\b[^>]*?( id="[^"]*")[^>]*>', r"<section\1>", words)


def write_texts(site: Path) -> None:
    """Write `_static/texts.js`: the text of each page of the book, by its name in the site."""
    texts = {}
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        if not name.startswith("pages/"):
            texts[name] = text_of(path.read_text(encoding="utf-8"))
    script = f"globalThis.BOOK_TEXTS = {json.dumps(texts, ensure_ascii=False)};\n"
    (site / "_static" / "texts.js").write_text(script, encoding="utf-8")
