"""The patterns of settings, and what to call each in messages and in the reference."""

from fornada.keys import NAME_PATTERN

URL = r"^https?://"
FUNCTION = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"

#: By pattern: what a setting takes.
WORDS = {
    NAME_PATTERN: "1 to 128 letters, digits, `.`, `_`, `-`, a letter or digit first",
    URL: "a URL that begins with `http://` or `https://`",
    FUNCTION: "`package.module:function`",
}
