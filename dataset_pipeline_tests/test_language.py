"""Which language a text is in, and whether it is long enough to say so."""

from __future__ import annotations

import polars as pl
import pytest

from dataset_pipeline.errors import SpecError
from dataset_pipeline.transforms.language import can_be_told, detect

ENGLISH = "The export button does nothing since the last update."
GERMAN = "Seit dem letzten Update lassen sich keine Rechnungen mehr speichern."


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


def test_language_unknown_code_names_itself() -> None:
    with pytest.raises(SpecError, match="does not know xq"):
        detect(pl.Series([ENGLISH]), ("en", "xq"))


def test_language_norwegian_bokmal_is_norwegian() -> None:
    text = "Knappen for eksport virker ikke etter den siste oppdateringen av appen."
    assert detect(pl.Series([text]), ("nb",))["spec_probability"][0] > 0.5


@pytest.mark.parametrize(
    ("text", "languages", "expected"),
    [
        pytest.param("Muchas gracias", ("en",), False, id="two_words"),
        pytest.param("Muchas gracias por todo", ("en",), True, id="four_words"),
        pytest.param("Спасибо", ("en",), True, id="foreign_script"),
        pytest.param("Спасибо", ("en", "uk"), False, id="own_script"),
        pytest.param("谢谢", ("en",), True, id="han_for_english"),
        pytest.param("谢谢", ("ja",), False, id="two_han_for_japanese"),
        pytest.param("非常感谢你", ("ja",), True, id="five_han_for_japanese"),
        pytest.param("x = [1, 2, 3]; y = {4: 5, 6: 7}", ("de",), False, id="symbols"),
        pytest.param("for (int i = 0; i < n; i++) { sum += list.get(i); }", ("de",), False, id="code"),
        pytest.param("नमस्ते", ("en",), True, id="vowel_signs"),
        pytest.param("", ("en",), False, id="empty"),
    ],
)
def test_language_long_enough_to_tell(text: str, languages: tuple[str, ...], expected: bool) -> None:
    assert can_be_told(text, languages) is expected
