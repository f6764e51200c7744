"""Which language a text is in, what form it has, and what counts as foreign."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from dataset_pipeline.errors import SpecError
from dataset_pipeline.transforms import language_model
from dataset_pipeline.transforms.language import (
    MAX_SPEC_PROBABILITY,
    MIN_EVIDENCE,
    MIN_ODDS,
    NO_LANGUAGE,
    Told,
    detect,
    foreign_detail,
    form,
)

ENGLISH = "The export button does nothing since the last update."
GERMAN = "Seit dem letzten Update lassen sich keine Rechnungen mehr speichern."
RUSSIAN = "Кнопка экспорта не работает после последнего обновления приложения."
MIXED = [
    ENGLISH,
    GERMAN,
    RUSSIAN,
    "ALL IN CAPITALS",
    "x",
    "é\u0301 oo",
    "谢谢",
    "\ue000\ue001",
    f"{GERMAN} {RUSSIAN}",
]


def is_foreign(text: str, *languages: str) -> bool:
    told = Told(*detect(pl.Series([text]), languages).row(0))
    return foreign_detail(text, told, languages) is not None


# --- the model ----------------------------------------------------------------------------


def test_language_model_gives_what_the_package_gives() -> None:
    package = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    long = " ".join(itertools.islice(itertools.cycle([GERMAN, ENGLISH, RUSSIAN]), 40))
    texts = [*MIXED, *(long[:chars] for chars in (60, 63, 64, 65, 70, 127, 128, 129, 500)), long]
    (found,) = language_model.probabilities(texts)
    for text, row in zip(texts, found, strict=True):
        ranked = dict(package.rank(text))
        ours: dict[str, float] = {}
        for name, probability in zip(language_model.classes(), row, strict=True):
            ours.setdefault(name, probability)  # the first column of a language holds all of it
        assert ours == pytest.approx(ranked, abs=1e-4), text


def test_language_model_text_is_read_as_if_it_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    together = np.concatenate(list(language_model.probabilities(MIXED)))
    alone = np.concatenate([next(language_model.probabilities([text])) for text in MIXED])
    monkeypatch.setattr(language_model, "BATCH_TEXTS", 2)
    in_pairs = np.concatenate(list(language_model.probabilities(MIXED)))
    assert (together == alone).all()
    assert (together == in_pairs).all()


def test_language_row_order_changes_nothing() -> None:
    forth, back = detect(pl.Series(MIXED), ("en",)), detect(pl.Series(MIXED[::-1]), ("en",))
    assert forth.equals(back.reverse())


# --- detect -------------------------------------------------------------------------------


def test_language_two_texts_are_told_apart() -> None:
    found = detect(pl.Series([GERMAN, ENGLISH, GERMAN]), ("en",))
    assert found["language"].to_list() == ["de", "en", "de"]
    assert all(probability > 0.9 for probability in found["probability"])
    assert found["spec_probability"][0] < 0.02 < 0.9 < found["spec_probability"][1]


def test_language_spec_probability_is_summed_over_the_languages() -> None:
    both = detect(pl.Series([GERMAN]), ("de", "en"))["spec_probability"][0]
    single = [detect(pl.Series([GERMAN]), (code,))["spec_probability"][0] for code in ("de", "en")]
    assert both == pytest.approx(sum(single), abs=1e-5)


def test_language_without_languages_has_no_spec_probability() -> None:
    assert detect(pl.Series([ENGLISH]), ()).row(0)[0] == "en"
    assert detect(pl.Series([ENGLISH]), ())["spec_probability"].to_list() == [None]


def test_language_text_without_letters_has_none() -> None:
    texts = pl.Series(["", "12 + 3 = 15", "\U0001f600", None, "https://example.com/a @someone #tag"])
    assert detect(texts, ("en",)).rows() == [(None, None, None)] * 5


def test_language_no_texts_give_no_rows() -> None:
    assert detect(pl.Series([], dtype=pl.String), ("en",)).shape == (0, 3)


def test_language_unknown_code_names_itself() -> None:
    with pytest.raises(SpecError, match="does not know xq"):
        detect(pl.Series([ENGLISH]), ("en", "xq"))


def test_language_norwegian_bokmal_is_norwegian() -> None:
    text = "Knappen for eksport virker ikke etter den siste oppdateringen av appen."
    assert detect(pl.Series([text]), ("nb",))["spec_probability"][0] > 0.5


def test_language_known_in_two_scripts_is_one_language() -> None:
    texts = pl.Series(["Dugme za izvoz ne radi posle ažuriranja.", "Дугме за извоз не ради после ажурирања."])
    assert detect(texts, ("sr", "bs", "hr"))["spec_probability"].min() > 0.5  # type: ignore[operator]


# --- form ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "languages", "likeliest", "expected"),
    [
        pytest.param("Muchas gracias por todo", ("en",), "es", "prose", id="words"),
        pytest.param("Спасибо", ("en",), "ru", "other_script", id="foreign_script"),
        pytest.param("Спасибо", ("en", "uk"), "ru", "few_words", id="own_script"),
        pytest.param("Quantum computing (2024)", ("en",), "la", "few_words", id="three_words"),
        pytest.param("谢谢", ("en",), "zh", "other_script", id="han_for_english"),
        pytest.param("非常感谢你", ("ja",), "zh", "prose", id="han_for_japanese"),
        pytest.param("Please translate this: Спасибо", ("en",), "ru", "mixed", id="a_word_in_another_script"),
        pytest.param("Note: Спасибо", ("en",), "ru", "other_script", id="most_letters_in_another_script"),
        pytest.param("Спасибо за Microsoft Teams", ("en",), "ru", "prose", id="a_third_of_the_letters"),
        pytest.param("x = [1, 2, 3]; y = {4: 5, 6: 7}", ("de",), "la", "no_prose", id="symbols"),
        pytest.param(
            "for (int i = 0; i < n; i++) { sum += list.get(i); }", ("de",), "en", "no_prose", id="code"
        ),
        pytest.param("Apple, Banana, Kiwi, Mango, Peach.", ("de",), "sn", "no_prose", id="list_by_commas"),
        pytest.param("Kuwait\nOman\nBahrain\nQatar", ("de",), "sn", "no_prose", id="list_by_lines"),
        pytest.param("Hallo, wir haben heute leider kein Brot.", ("en",), "de", "prose", id="one_comma"),
        pytest.param("नमस्ते", ("en",), "hi", "other_script", id="vowel_signs"),
        pytest.param(
            "यह बटन अपडेट के बाद काम नहीं करता है", ("mr",), "hi", "prose", id="vowel_signs_end_no_word"
        ),
        pytest.param("", ("en",), "de", "few_words", id="empty"),
    ],
)
def test_language_form(text: str, languages: tuple[str, ...], likeliest: str, expected: str) -> None:
    assert form(text, languages, likeliest) == expected


# --- foreign ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "languages", "expected"),
    [
        pytest.param(GERMAN, ("en",), True, id="sentence"),
        pytest.param(GERMAN, ("en", "de"), False, id="one_of_two_languages"),
        pytest.param("Muchas gracias", ("en",), False, id="two_words"),
        pytest.param("Bestellung nicht angekommen", ("en",), True, id="three_words_that_leave_no_doubt"),
        pytest.param("Gracias", ("en",), False, id="one_word_that_english_borrows"),
        pytest.param("Bonjour", ("en",), False, id="one_word"),
        pytest.param("bye bye!", ("en",), False, id="english_that_looks_foreign"),
        pytest.param("hiya", ("en",), False, id="greeting"),
        pytest.param("quantum computing", ("en",), False, id="two_latin_words_of_english"),
        pytest.param("Спасибо", ("en",), True, id="word_in_another_script"),
        pytest.param("Apple, banana, kiwi, orange", ("en",), False, id="list_of_names"),
        pytest.param("let x = 4;\nlet y = 9;\nlet z = x > y ? x : y;", ("en",), False, id="code"),
        pytest.param("@jo #hoy https://example.com/es Gracias", ("en",), False, id="addresses_are_no_evidence"),
        pytest.param(f"{ENGLISH} It says: Сообщение не отправлено.", ("en",), False, id="quotes_another_script"),
        pytest.param(f"{ENGLISH} {GERMAN}", ("fr",), True, id="two_languages_and_none_is_the_specs"),
        pytest.param("42", ("en",), False, id="no_letters"),
    ],
)  # fmt: skip
def test_language_foreign(text: str, languages: tuple[str, ...], expected: bool) -> None:
    assert is_foreign(text, *languages) is expected


def test_language_foreign_without_languages_nothing_is() -> None:
    assert not is_foreign(GERMAN)


def test_language_foreign_detail_says_what_was_measured() -> None:
    detail = foreign_detail("Wo ist das da", Told("de", 0.9, 0.001), ("en",))
    assert detail == {
        "language": "de",
        "threshold": MAX_SPEC_PROBABILITY,
        "value": 0.001,
        "min_odds": MIN_ODDS,
        "odds": 900.0,
        "min_evidence": MIN_EVIDENCE,
        "evidence": 24.526,  # ln 900, times the root of 13 bytes
    }


PROSE, FEW, CODE = "Wo ist das da", "Wo ist das", "x=wo;y=das"


@pytest.mark.parametrize(
    ("text", "told", "expected"),
    [
        pytest.param(PROSE, Told("de", 0.9, 0.001), True, id="all_bars_passed"),
        pytest.param(PROSE, Told("de", 0.9, 0.02), False, id="evidence_too_small"),
        pytest.param(FEW, Told("de", 0.9, 0.001), False, id="evidence_too_small_for_three_words"),
        pytest.param(FEW, Told("de", 0.9, 0.0001), True, id="three_words_with_large_evidence"),
        pytest.param(PROSE * 20, Told("de", 0.9, 0.006), True, id="the_same_odds_of_more_letters"),
        pytest.param(PROSE * 20, Told("de", 0.9, 0.05), False, id="spec_probability_too_large"),
        pytest.param(PROSE * 20, Told("de", 0.3, 0.04), False, id="odds_too_small"),
        pytest.param(PROSE * 20, Told(NO_LANGUAGE, 0.9, 0.001), False, id="no_language"),
        pytest.param(PROSE * 20, Told(None, None, None), False, id="not_told"),
        pytest.param(CODE * 20, Told("de", 0.9, 0.012), False, id="no_prose"),
        pytest.param(CODE * 20, Told("de", 0.9, 0.001), True, id="no_prose_but_large_odds"),
        pytest.param("Где", Told("ru", 0.9, 0.04), True, id="another_script_needs_no_evidence"),
        pytest.param("Где", Told("ru", 0.3, 0.04), False, id="another_script_needs_odds"),
    ],
)  # fmt: skip
def test_language_foreign_each_bar(text: str, told: Told, expected: bool) -> None:
    assert (foreign_detail(text, told, ("en",)) is not None) is expected
