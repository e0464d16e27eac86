"""Penn-Treebank tokens of captions, as the official caption scorers make them, without Java.

The scorers run Stanford's tokenizer (CoreNLP 3.4.1, `-preserveLines -lowerCase`) and then drop 17 punctuation tokens.
The rules below were written from that tool's answers to strings (its source was not read); two of its habits matter:

- Brackets come out as `-lrb-`, lower-cased, and the list of dropped tokens has `-LRB-`: they stay, as words.
- A mixed number ("2 1/2") and parts of a telephone number are one token with a no-break space inside.

Not copied: whether a quotation mark opens or closes (both are dropped), long telephone numbers without brackets,
unusual emoticons, and that the tool looks at the next caption: there "... letter B." loses its period when the line
after it happens to start with "The". Here a caption's tokens depend on that caption alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What the scorers drop, in their spelling (upper-case brackets never occur in lower-cased text).
PUNCTUATION = frozenset(
    ("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--", "...", ";")
)

# Words that keep their period, in any case.
_ABBREVIATIONS = (
    "adj adm adv al ala alex apr ariz assn asst atty aug ave bhd bldg blvd brig bros capt cf cie cmdr co col colo conn "
    "corp cos cpl ct dak dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga gen gov govs hon inc ind insp "
    "intl invt jan jos jr jul jun kan kans ky lt ltd maj mar md mfg mich minn mlle mme mo mon mont mr mrs ms msgr mt "
    "mtg natl neb nev nov oct okla penn pfc ph plc ppte ppty pres prof pte ptes pty ptys pvt rd rep reps rev rt sen "
    "sens sep sept seq sfc sgt spc sq sr st ste supt sys tel tenn thu tue tues univ va vs vt wed wis wisc wm wyo"
)
# With a capital only: in small letters they are words.
_CAPITAL_ABBREVIATIONS = "ark az del ill la mass miss ore pa tex wash"
# Before a number only.
_NUMBER_ABBREVIATIONS = "art ca fig figs no nos op pp prop"
# Behind "B." these begin a sentence, so the period ends the one before.
_SENTENCE_STARTS = (
    "a about according additionally after an as at but earlier he her here however if in it last many more now once "
    "one other our she since so some such that the their then there these they this we what when while yet you"
)
# Two words in one.
_FUSED = {"cannot": 3, "gonna": 3, "gotta": 3, "wanna": 3, "lemme": 3, "gimme": 3}

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_REPLACED = {'"': "''", "£": "#", "€": "$", "¢": "cents", "½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
_STRAIGHT = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "--", "—": "--", "…": "...", "\u200b": None, "\u200e": None}
)


def _either(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


def _capital(words: str) -> str:
    return "|".join(f"{word[0].upper()}(?:{word[1:]}|{word[1:].upper()})" for word in words.split())


_LETTER = r"(?:[^\W\d_][\u0300-\u036f]*)"
_ALNUM = r"(?:[^\W_][\u0300-\u036f]*)"
_WORD = rf"{_ALNUM}+(?:(?:[-/_]|\\/){_ALNUM}+)*"
_NOT_WORD = rf"(?!{_ALNUM})"
_NUMBER = r"(?:\d*(?:[.,:]\d+)+|\d+)"

# In order: the first that fits wins. Named groups are those that `_token` treats.
_RULES = (
    rf"(?P<phone>\(\d{{3}}\)[ -]?\d{{3}}[- ]\d{{4}}{_NOT_WORD})",
    r"<[A-Za-z/!][^<>]*>",
    r"(?:https?://|www\.)[^\s\"<>()]*[^\s\"<>().,;:!?']",
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    rf"{_ALNUM}+@{_ALNUM}+",
    r"[#@][A-Za-z_]\w*",
    r"(?P<smile>[:;=]'?-?(?:[()\]|DP3])(?!\w)|:-[()D])",
    # Apostrophes: what follows a word, years, and old forms.
    rf"(?P<clitic>'(?:s|m|d|re|ve|ll|n){_NOT_WORD})(?!')",
    rf"n't{_NOT_WORD}",
    rf"'\d\ds?{_NOT_WORD}",
    rf"'(?:em|til|till|cause|n'?){_NOT_WORD}'?",
    rf"'t(?=(?:is|was){_NOT_WORD})",
    # Words and their parts.
    rf"(?P<fused>(?:{'|'.join(_FUSED)}){_NOT_WORD}(?!['_/-]\w))",
    rf"{_LETTER}+?(?=n't{_NOT_WORD})",
    rf"(?:o'clock|ma'am|s'mores|c'mon|ol'(?!\w)|cap'n){_NOT_WORD}",
    rf"[dlno]'{_LETTER}{{2,}}",
    rf"(?:[jy]|[dl](?='{_LETTER}{_NOT_WORD}))'(?={_LETTER}(?!\w)|{_LETTER}{{2}})(?!(?:s|m|d|re|ve|ll){_NOT_WORD})",
    rf"rock(?='n'roll{_NOT_WORD})",
    rf"{_LETTER}+'[aeiou]{_LETTER}*",
    rf"{_LETTER}+[.!?]{_LETTER}{{2,}}(?:[.!?]{_LETTER}+)*(?:-{_LETTER}+)*{_NOT_WORD}",
    rf"(?P<letters>(?:{_LETTER}\.)*{_LETTER}\.{_LETTER}{_NOT_WORD}\.?)",
    rf"{_LETTER}+\.{_LETTER}+(?:\.{_LETTER}+)*{_NOT_WORD}",
    rf"(?:(?:{_either(_ABBREVIATIONS)})|(?-i:{_capital(_CAPITAL_ABBREVIATIONS)}))\.(?!\w)",
    rf"(?:{_either(_NUMBER_ABBREVIATIONS)})\.(?= ?\d)",
    rf"(?P<initial>{_LETTER}\.)(?!{_ALNUM})",
    rf"{_LETTER}+\.(?=[,;:])",
    r"(?-i:[A-Z]+(?:&[A-Z]+)+)",
    r"w/o(?!\w)",
    r"c\+\+",
    r"(?P<mixed>\d{1,4} \d{1,4}/\d{1,4}(?![\w/]))",
    r"\d{1,2}[/-]\d{1,2}[/-]\d{2,4}(?!\w)",
    r"[-+]?\d+(?:[.,:]\d+)+",
    _WORD,
    rf"[-+.,:]{_NUMBER}",
    r"&amp;|&lt;|&gt;",
    r"(?P<dots>\.(?: ?\.){2,})",
    r"(?P<dashes>-{2,})",
    r"[!?]{2,}",
    r"\*+|_+|<<|>>",
    r"\S",
)
_TOKEN = re.compile("|".join(f"(?:{rule})" for rule in _RULES), re.IGNORECASE)
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
_STARTS = frozenset(_SENTENCE_STARTS.split())
_NEXT_WORD = re.compile(rf"\s+({_LETTER}+)")

# Most captions are words with spaces, commas and a period at the end; they need no rules.
_PLAIN = re.compile(r"[A-Za-z]+(?:,? +[A-Za-z]+)*(?: ?\.)? *")
_PERIOD_WORDS = frozenset((_ABBREVIATIONS + " " + _CAPITAL_ABBREVIATIONS).split())


def ptb_tokenize(captions: Iterable[str]) -> list[str]:
    """Each caption as its tokens joined by single spaces, punctuation dropped; an empty one gives ""."""
    return [_tokenize(caption) for caption in captions]


def ptb_tokens(caption: str) -> list[str]:
    """All tokens of one caption, punctuation kept."""
    text = caption.translate(_STRAIGHT)
    found: list[str] = []
    for match in _TOKEN.finditer(text):
        found.extend(_token(match, text))
    return found


def words(tokenized: str) -> Sequence[str]:
    """The words that CIDEr and BLEU count: split at any white space, so a mixed number is two."""
    return tokenized.split()


def _tokenize(caption: str) -> str:
    if _PLAIN.fullmatch(caption):
        plain = caption.lower().replace(",", " ").rstrip()
        ends = plain.endswith(".")
        parts = plain.rstrip(". ").split()
        last = parts[-1]
        if _FUSED.keys().isdisjoint(parts) and not (ends and (len(last) == 1 or last in _PERIOD_WORDS)):
            return " ".join(parts)
    return " ".join(token for token in ptb_tokens(caption) if token not in PUNCTUATION)


def _token(match: re.Match[str], text: str) -> tuple[str, ...]:
    kind, token = match.lastgroup, match.group()
    if kind is None:
        lowered = token.lower()
        if len(token) == 1:
            return (_BRACKETS.get(token) or _REPLACED.get(token) or lowered,)
        return (_ENTITIES.get(lowered, lowered),)
    lowered = token.lower()
    if kind == "fused":
        cut = _FUSED[lowered]
        return lowered[:cut], lowered[cut:]
    if kind == "initial":
        following = _NEXT_WORD.match(text, match.end())
        if following and following.group(1)[0].isupper() and following.group(1).lower() in _STARTS:
            return lowered[:-1], "."
        return (lowered,)
    if kind == "mixed":
        return (lowered.replace(" ", "\N{NO-BREAK SPACE}"),)
    if kind in ("phone", "smile"):
        for bracket, name in _BRACKETS.items():
            lowered = lowered.replace(bracket, name)
        return (lowered.replace(" ", "\N{NO-BREAK SPACE}"),)
    return ({"dots": "...", "dashes": "--"}.get(kind, lowered),)
