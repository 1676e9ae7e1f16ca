"""What languages are called in English and which way they are written, for people who read a report."""

from __future__ import annotations

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
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ps", "sd", "ug", "ur", "yi"})


def language_name(code: str) -> str:
    """The English name; the code itself where it is not known."""
    return LANGUAGE_NAMES.get(primary_language(code), code)


def direction(code: str) -> str:
    """``rtl`` or ``ltr``, as HTML writes it."""
    return "rtl" if primary_language(code) in RIGHT_TO_LEFT else "ltr"
