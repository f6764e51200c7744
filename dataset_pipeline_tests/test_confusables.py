"""Words disguised with letters of another script or of mathematics: which are respelled, and which mean what they say.

The letters that look wrong here are; an editor that shows code points tells them apart.
"""

from __future__ import annotations

import pytest

from dataset_pipeline.transforms.cleaning import Profile, clean
from dataset_pipeline.transforms.confusables import respelled


@pytest.mark.parametrize(
    ("text", "expected", "letters"),
    [
        pytest.param("pаypal", "paypal", 1, id="cyrillic_within"),
        pytest.param("your Αpple account", "your Apple account", 1, id="greek_capital_first"),
        pytest.param("PАYPAL", "PAYPAL", 1, id="all_in_capitals"),
        pytest.param("раураl", "paypal", 5, id="most_letters_cyrillic"),
        pytest.param(
            "frее of chаrge, оr nоt tо", "free of charge, or not to", 6, id="last_letters_and_short_words"
        ),
        pytest.param("wilІ, Hе and mіІe", "will, He and mile", 4, id="capital_like_a_small_letter"),
        pytest.param("саn а аге", "can а аге", 2, id="words_of_twins_alone_speak_for_no_script"),
        pytest.param("gοοgle", "google", 2, id="omicron"),
        pytest.param("pαypal", "paypal", 1, id="alpha_within_small_letters"),
        pytest.param("pαypаl pаγpal", "paypal paypal", 4, id="symbol_beside_another_look-alike"),
        pytest.param("ᏢayPal Usеr աord", "PayPal User word", 3, id="cherokee_and_armenian"),
        pytest.param("Сáfe а́pple", "Cáfe ápple", 2, id="accents"),
        pytest.param("ХХI век, ХVIII и ХI", "XXI век, XVIII и XI", 4, id="roman_numbers"),
        pytest.param("хIара, Iамал", "хӀара, Ӏамал", 2, id="palochka_of_the_caucasus"),
        pytest.param("пpивет, Cергей", "привет, Сергей", 2, id="latin_in_russian"),
        pytest.param("ещë мiсто", "ещё місто", 2, id="latin_with_dots_and_i"),
        pytest.param("вăл", "вӑл", 1, id="latin_with_a_breve_in_chuvash"),
        pytest.param("Ελλάδa, Aυτά", "Ελλάδα, Αυτά", 2, id="latin_in_greek"),
        pytest.param("𝐟𝐫𝐞𝐞 𝓬𝓪𝓼𝓱", "free cash", 8, id="mathematical"),
        pytest.param("𝗜 𝗮𝗺 𝗵𝗲𝗿𝗲 𝟮𝟬 times", "I am here 20 times", 9, id="phrase_in_one_style"),
        pytest.param("ｆｒｅｅ ｃａｓｈ！", "free cash！", 8, id="full_width"),
        pytest.param("fｒee", "free", 1, id="one_wide_letter_in_a_word"),
    ],
)
def test_respelled_disguised_word_is_mended_and_counted(text: str, expected: str, letters: int) -> None:
    assert clean(text, Profile.MESSAGE) == (expected, {"confusable": letters})
    assert clean(text, Profile.TEXT) == (expected, {"confusable": letters})


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("сор, ВІКІ, скоро", id="wholly_cyrillic"),
        pytest.param("ΑΒΕ και ΡΟΗ", id="wholly_greek"),
        pytest.param("μm Δx αβ-test 10 Ωcm β2 λ", id="greek_symbols"),
        pytest.param("IFNγ NFκB RORγt Gαolf p38α ρair νmax sinα mgsinαcosα dαdt", id="symbols_in_words"),
        pytest.param("Yeγra taktabt", id="kabyle"),
        pytest.param("bɩna yιnda", id="letters_borrowed_from_greek"),
        pytest.param("KoЯn, Toys Я Us, Zахар", id="names"),
        pytest.param("SENSЕ - Oleg Tsedryk", id="ending_after_capitals"),
        pytest.param("купил iPhoneа и PDFу, наш PCшник", id="stems_with_russian_endings"),
        pytest.param("читайте вTwitter и сApple", id="lost_spaces"),
        pytest.param("Чул çĕр, çур", id="letters_that_a_keyboard_lacks"),
        pytest.param("[𝕨𝕩𝕗𝕘𝕤]", id="signs_of_a_program"),
        pytest.param("çĕнĕ", id="letter_without_a_twin"),
        pytest.param("Yндсэн хууль", id="mongolian_y_is_another_letter"),
        pytest.param("ТV НP", id="two_letters"),
        pytest.param("https://pаypal.com pаypal.com jо@pаypal.com #pаypal @pаypal", id="addresses"),
        pytest.param("`pаypal` and\n```\nprint(pаypal)\n```", id="quoted_code"),
        pytest.param("pаypal = 3\n    return pаypal\nf(pаypal); \nlog_pаypal x.pаypal pаypal2", id="code"),
        pytest.param('print("ｗｉｄｔｈ", pаypal)\nx = "𝐟𝐫𝐞𝐞"\n    return 3', id="a_text_that_is_code"),
        pytest.param("Cрп\ufffdки", id="word_with_lost_letters"),
        pytest.param("ℝ, 𝑥² + 𝑦² = 𝑟², 𝑎𝑏𝑐, 𝐀𝐱", id="mathematics"),
        pytest.param("𝑠𝑖𝑛 𝑥 and 𝑐𝑜𝑠 𝑥", id="functions"),
        pytest.param("𝑙𝑜𝑔𝑖𝑡(𝑝)\n𝐯𝐚𝐥𝐮𝐞 = 𝟑", id="formulas"),
        pytest.param("日本のＡＢＣ株、ＯＫ。", id="full_width_in_japanese"),
        pytest.param("Ａ, Ｂ", id="single_wide_letters"),
        pytest.param("ﬁne x² Ⅳ ½ ™ ⓐ ʰ", id="compatibility"),
    ],
)
def test_respelled_letters_with_a_meaning_stay(text: str) -> None:
    assert clean(text, Profile.TEXT) == (text, {})


def test_respelled_short_word_follows_the_rest_of_the_text() -> None:
    assert respelled("нe был") == ("не был", 1)
    assert respelled("нe") == ("нe", 0)
    assert respelled("нe был in Rome") == ("нe был in Rome", 0)


def test_respelled_ending_of_a_small_word_depends_on_the_rest_of_the_text() -> None:
    assert respelled("Googlе account") == ("Google account", 1)
    assert respelled("аккаунт Googlе") == ("аккаунт Googlе", 0)
