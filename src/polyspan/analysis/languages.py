"""What languages are called in English and which way they are written, for people who read a report."""

from __future__ import annotations

import re

from polyspan.evaluation.normalise import primary_language

_NAMES = """
af Afrikaans; am Amharic; ar Arabic; az Azerbaijani; be Belarusian; bg Bulgarian; bn Bengali; ca Catalan;
cs Czech; cy Welsh; da Danish; de German; el Greek; en English; es Spanish; et Estonian; eu Basque;
fa Persian; fi Finnish; fr French; ga Irish; gl Galician; gu Gujarati; ha Hausa; he Hebrew; hi Hindi;
hr Croatian; hu Hungarian; hy Armenian; id Indonesian; ig Igbo; is Icelandic; it Italian; ja Japanese;
jv Javanese; ka Georgian; kk Kazakh; km Khmer; kn Kannada; ko Korean; ku Kurdish; ky Kyrgyz; lo Lao;
lt Lithuanian; lv Latvian; mg Malagasy; mk Macedonian; ml Malayalam; mn Mongolian; mr Marathi; ms Malay;
my Burmese; ne Nepali; nl Dutch; no Norwegian; om Oromo; or Odia; pa Punjabi; pl Polish; ps Pashto;
pt Portuguese; ro Romanian; ru Russian; rw Kinyarwanda; sd Sindhi; si Sinhala; sk Slovak; sl Slovenian;
so Somali; sq Albanian; sr Serbian; su Sundanese; sv Swedish; sw Swahili; ta Tamil; te Telugu; th Thai;
tl Tagalog; tr Turkish; ug Uyghur; uk Ukrainian; ur Urdu; uz Uzbek; vi Vietnamese; xh Xhosa; yi Yiddish;
yo Yoruba; zh Chinese; zu Zulu
"""
LANGUAGE_NAMES: dict[str, str] = dict(entry.strip().split(" ", 1) for entry in _NAMES.split(";"))
"""English names by ISO 639-1 code."""
RIGHT_TO_LEFT = frozenset(
    {"ar", "ckb", "dv", "fa", "he", "nqo", "prs", "ps", "sd", "syr", "ug", "ur", "yi"}
    | {"acm", "acq", "aeb", "ajp", "apc", "apd", "arb", "ars", "ary", "arz"}  # what ISO 639-3 tells apart in Arabic
    | {"fas", "heb", "pbt", "pes", "snd", "uig", "urd", "ydd"}
)
RIGHT_TO_LEFT_SCRIPTS = frozenset({"adlm", "arab", "hebr", "mand", "nkoo", "rohg", "syrc", "thaa"})
SCRIPT = re.compile(r"[-_]([A-Za-z]{4})(?=[-_]|$)")
"""The part of a code that tells the script (BCP 47)."""


def language_name(code: str) -> str:
    """The English name, with the code where it says more than the language; the code where no name is known."""
    language = primary_language(code)
    if language not in LANGUAGE_NAMES:
        return code
    return LANGUAGE_NAMES[language] + ("" if code.lower() == language else f" ({code})")


def direction(code: str) -> str:
    """``rtl``, ``ltr`` or, of a language that is not known here, ``auto``, as HTML writes it."""
    if script := SCRIPT.search(code):
        return "rtl" if script[1].lower() in RIGHT_TO_LEFT_SCRIPTS else "ltr"
    language = primary_language(code)
    if language in RIGHT_TO_LEFT:
        return "rtl"
    return "ltr" if language in LANGUAGE_NAMES else "auto"
