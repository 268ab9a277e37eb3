"""Reads docstrings in Keras's form for the pages of the API.

In that form the text under `Example:` is not indented, `Call arguments:` is a
section of its own, and `Returns:` is prose.
"""

import re
import textwrap

from griffe import Extension

# A heading, and all up to the next one or the end.
_SECTION = re.compile(
    r"^(Example|Call arguments|Attributes|Returns):\n"
    r"(.*?)(?=^[A-Z][\w ]+:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_ITEM = re.compile(r"^(\w+): ", re.MULTILINE)


class KerasDocstrings(Extension):
    """Rewrites docstrings before they are parsed as Google's."""

    def on_instance(self, *, obj, **kwargs):
        if obj.docstring is not None:
            text = obj.docstring.value
            obj.docstring.value = _SECTION.sub(_rewrite, text)


def _rewrite(match):
    heading, body = match.groups()
    body = textwrap.dedent(body).strip("\n")
    if heading == "Example" and ">>>" in body:
        body = f"```pycon\n{body}\n```"
    elif heading in ("Call arguments", "Attributes"):
        # A list of `name: text`, each with indented lines that go on.
        body = _ITEM.sub(r"- `\1`: ", body)
    return f"**{heading}:**\n\n{body}\n\n"
