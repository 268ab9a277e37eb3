"""Reads docstrings in Keras's form for the pages of the API.

In that form the text under `Example:` and `Reference:` is not indented, and
`Call arguments:` is a section of its own.
"""

import re
import textwrap

from griffe import Extension

# A heading, and all up to the next one or the end.
_SECTION = re.compile(
    r"^(Example|Call arguments|Attributes):\n(.*?)(?=^[A-Z][\w ]+:\n|\Z)",
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
    if heading == "Example":
        if ">>>" not in body:
            return f"**Example**\n{body}"
        code = textwrap.dedent(body).strip("\n")
        return f"**Example**\n\n```pycon\n{code}\n```\n"
    # A list of `name: text`, each with indented lines that go on.
    items = _ITEM.sub(r"- `\1`: ", textwrap.dedent(body).strip("\n"))
    return f"**{heading}**\n\n{items}\n\n"
