"""The project's own list of English swear words and slurs, and how often a text uses them.

Lives here: the words, written for this project, and the count. Keep out: how many are too many.
Not in the list, on purpose: words that are normal in support mail (damn, crap, hell, bloody,
screw, sucks), and words with an innocent meaning in somebody's trade (cock, dick, coon, dyke)
or in French (retard, douche): the language is not known yet when this is counted.
"""

from __future__ import annotations

import re

import polars as pl

from dataset_pipeline.text import folded

_WORDS = """
fuck fucks fucked fucker fuckers fuckin fucking fuckhead fuckheads fuckface fucktard fucktards fuckwit
fuckwits fuckup fuckups fuckery unfuck mindfuck clusterfuck motherfucker motherfuckers motherfucking
motherfuckin mofo wtf stfu shit shits shitted shitting shitty shittier shittiest shitter shite shithead
shitheads shithole shitholes shitload shitshow shitstorm bullshit bullshitter bullshitting bullshitted
horseshit batshit dipshit dipshits apeshit shitface cunt cunts cunty twat twats wank wanker wankers
wanking asshole assholes arsehole arseholes asshat asshats asswipe asswipes assclown assclowns dumbass
dumbasses jackass jackasses fatass lardass smartass bitch bitches bitching bitchy bastard bastards prick
pricks dickhead dickheads dickwad dickface cocksucker cocksuckers cocksucking cumshot douchebag
douchebags piss pissed pissing pisser goddamn goddamned goddamnit motherfuck whore whores slut sluts
slutty skank skanks nigger niggers nigga niggas faggot faggots faggy retarded kike kikes spic spics
wetback wetbacks gook gooks raghead ragheads towelhead towelheads paki pakis shemale shemales
"""

_PHRASES = ("my ass", "my arse", "suck my dick", "suck my cock", "son of a bitch", "sons of bitches")

_DISGUISED = (
    r"f[*#@$]{1,3}c?k(?:s|ed|er|ers|in|ing)?",
    r"fu+[*#@$]{1,2}k?(?:s|ed|er|ers|ing)?",
    r"f+u{2,}c*k+(?:s|ed|er|ers|in|ing)?",
    r"(?:bull)?s(?:h[*#@$!1]|[*#@$]{2}|h?[*#@$!1])t+(?:s|ty|ting)?",
    r"(?:bull)?s+h+i{2,}t+(?:s|ty)?",
    r"b[*#@$!1]+t?ch(?:es|y)?",
    r"c[*#@$]nts?",
    r"a[*#@$]{2}holes?",
)
"""Letters replaced by signs, or drawn out: f*ck, sh1t, fuuuck."""

PROFANE_WORDS: frozenset[str] = frozenset(_WORDS.split()) | frozenset(_PHRASES)
"""Every listed word and phrase, case-folded, inflections written out."""

_CUES = (
    "fuc", "mofo", "wtf", "stfu", "shit", "cunt", "twat", "wank", "assh", "assw", "assc", "arseho",
    "dumbas", "jackas", "fatass", "lardas", "smartas", "my ass", "my arse", "bitch", "bastard", "prick",
    "dick", "cocks", "my cock", "cumshot", "douche", "piss", "goddam", "whore", "slut", "skank", "nigg",
    "fagg", "retarded", "kike", "spic", "wetback", "gook", "raghead", "towelhead", "paki", "shemale",
    "unfuck",
)  # fmt: skip
"""Pieces one of which is in every listed word: a cheap scan spares most texts the exact pattern."""

_DISGUISED_CUE = r"[fsbca][a-z]?[*#@$!1]+[a-z*#@$!1]|fu{2,}|hi{2,}t"


def _listed(add: tuple[str, ...], allow: tuple[str, ...]) -> list[str]:
    allowed = {word.strip().casefold() for word in allow}
    added = {word.strip().casefold() for word in add} - {""}
    return sorted((PROFANE_WORDS | added) - allowed, key=lambda word: (-len(word), word))


def profane_word_count(texts: pl.Series, add: tuple[str, ...] = (), allow: tuple[str, ...] = ()) -> pl.Series:
    """How many listed words each text holds (Int32; null stays null); every occurrence counts.

    Words are whole and case-folded: "Cockapoo" and "Shih Tzu" hold none. `add` lists more words
    or phrases, `allow` takes listed ones out, each exactly as written, without its inflections.
    """
    words = [re.escape(word).replace(r"\ ", " ").replace("'", "['\u2019]") for word in _listed(add, allow)]
    pattern = rf"(?:^|\b)(?:{'|'.join([*_DISGUISED, *words])})(?:\b|$)"
    cues = sorted({*_CUES, *(word.strip().casefold()[:3] for word in add if word.strip())})
    frame = texts.alias("text").to_frame().with_row_index("row").with_columns(read=folded(pl.col("text")))
    likely = pl.col("read").str.contains_any(cues) | pl.col("read").str.contains(_DISGUISED_CUE)
    found = frame.filter(likely.fill_null(False)).select(
        "row", count=pl.col("read").str.count_matches(pattern).cast(pl.Int32)
    )
    return (
        frame.join(found, on="row", how="left", maintain_order="left")
        .select(pl.when(pl.col("text").is_not_null()).then(pl.col("count").fill_null(0)))
        .to_series()
        .alias(texts.name)
    )
