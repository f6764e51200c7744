"""What the filter measures: signals of one text, the word list, the patterns of automatic replies."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from dataset_pipeline.spec.models import SideLimits
from dataset_pipeline.spec.params import FilterParams
from dataset_pipeline.transforms import profanity
from dataset_pipeline.transforms.automatic_replies import is_automatic_reply
from dataset_pipeline.transforms.profanity import profane_word_count
from dataset_pipeline.transforms.signals import side_signals

PARAMS = FilterParams(
    answers_are_labels=True,
    prompt=SideLimits(),
    answer=SideLimits(),
    max_tokens=None,
    chars_per_token=4.0,
    drop_automatic_replies=True,
    max_profane_words=1,
    profane_add=(),
    profane_allow=(),
    examples=(),
)


def signals(value: str | None) -> dict[str, Any]:
    return side_signals(pl.Series([value], dtype=pl.String), PARAMS).row(0, named=True)


def test_signals_missing_text_is_null_in_every_signal() -> None:
    assert set(signals(None).values()) == {None}


def test_signals_empty_text_has_counts_of_zero_and_no_shares() -> None:
    empty = signals("")
    assert (empty["words"], empty["chars"], empty["tokens"], empty["lines"]) == (0, 0, 0, 0)
    assert empty["alpha_share"] is None and empty["symbol_share"] is None


@pytest.mark.parametrize(
    ("value", "words", "tokens"),
    [
        ("It's v4.2, ok", 5, 4),
        ("应用崩溃了", 5, 5),
        ("app 崩溃", 3, 3),
        ("แอปล่ม", 5, 6),
        ("앱이 멈춰요", 2, 6),
    ],
)
def test_signals_words_and_tokens_of_scripts(value: str, words: int, tokens: int) -> None:
    measured = signals(value)
    assert (measured["words"], measured["tokens"]) == (words, tokens)


def test_signals_shares_are_of_visible_characters() -> None:
    measured = signals("ab 12 #. ")
    assert measured["alpha_share"] == pytest.approx(2 / 6)
    assert measured["digit_share"] == pytest.approx(2 / 6)
    assert measured["symbol_share"] == pytest.approx(1 / 6)


def test_signals_typographic_punctuation_is_no_symbol() -> None:
    assert signals("“Well” – it’s done…")["symbol_share"] == 0.0


def test_signals_few_emoji_are_left_out_many_are_symbols() -> None:
    few = signals("love it 💚💚✂️")
    assert (few["symbol_share"], few["alpha_share"]) == (0.0, 1.0)
    many = signals("ok 💚💚💚💚💚💚")
    assert many["symbol_share"] == pytest.approx(6 / 8)
    assert signals("👍")["symbol_share"] == 1.0


def test_signals_encoded_data_is_one_word_and_no_letters() -> None:
    measured = signals("see " + "QUJDREVG" * 10 + "==")
    assert measured["words"] == 2
    assert measured["alpha_share"] is not None and measured["alpha_share"] < 0.1


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("no no no no", 0.0),
        ("one two three one two", 0.0),
        ("help help help help help", 0.8),
        ("Help help, help help help HELP", 0.75),
        ("a b c d a b c d", 2 / 6),
        ("应用崩溃了请尽快修复谢谢", 0.0),
        ("好评好评好评好评好评好评好评好评", 9 / 11),
    ],
)
def test_signals_repetition_counts_repeated_runs(value: str, share: float) -> None:
    assert signals(value)["repetition_share"] == pytest.approx(share)


def test_signals_distinct_share_folds_case() -> None:
    assert signals("Go go stop")["distinct_share"] == pytest.approx(2 / 3)


def test_signals_compression_ratio_only_from_200_bytes() -> None:
    assert signals("a" * 199)["compression_ratio"] is None
    ratio = signals("ab" * 100)["compression_ratio"]
    assert ratio is not None and ratio < 0.2


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("<b>hi</b>", 7 / 9),
        ("a < b and c > d", 0.0),
        ("see <https://a.example/x>", 0.0),
        ("<?php echo 1; ?>", 0.0),
        ("&nbsp;&nbsp;", 1.0),
        ("fish &amp; chips", 1 / 12),
    ],
)
def test_signals_markup_is_tags_and_entities(value: str, share: float) -> None:
    assert signals(value)["markup_share"] == pytest.approx(share)


def test_signals_escaped_emoji_are_no_digits() -> None:
    assert signals("nice work &#128514;&#128514;")["digit_share"] == 0.0


def test_signals_lines_ignore_blank_ends() -> None:
    assert [signals(value)["lines"] for value in ("bug\n", "bug\nfeature", "a\r\nb")] == [1, 2, 2]


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("What the FUCK, you assholes", 2),
        ("f*ck this sh1t", 2),
        ("fuuuck", 1),
        ("Shih Tzu, Cockapoo, Scunthorpe, classic spicy bass", 0),
        ("damn, crap, hell, bloody screw sucks, my donkey is an ass", 0),
        ("it was five euros 5$ a#b C# f# major", 0),
        ("saved my ass", 1),
    ],
)
def test_profanity_counts_whole_listed_words(value: str, count: int) -> None:
    assert profane_word_count(pl.Series([value])).to_list() == [count]


def test_profanity_every_listed_word_is_found() -> None:
    words = sorted(profanity.PROFANE_WORDS)
    counts = profane_word_count(pl.Series([f"you {word}!" for word in words])).to_list()
    assert [word for word, count in zip(words, counts, strict=True) if count != 1] == []


def test_profanity_added_and_allowed_words_are_respected() -> None:
    texts = pl.Series(["Dratted bitch"])
    assert profane_word_count(texts, add=("dratted",)).to_list() == [2]
    assert profane_word_count(texts, allow=("Bitch",)).to_list() == [0]


AUTOMATIC = [
    "Out of office: back on 4 May.",
    "Automatic reply: Booking for Friday",
    "Thanks for your mail. I'm on parental leave until October, please write to my colleague instead.",
    "Your request (77291) has been received and is being reviewed by our support staff.",
    "Thank you for your enquiry. We aim to respond within two working days.",
    "This is an automated message, replies are not read.",
    "Please do not reply to this email. Your parcel is on its way.",
    "Mail delivery failed: returning message to sender",
    "Your message wasn't delivered. The recipient's mailbox is full.",
    "Abwesenheitsnotiz: Ich bin im Urlaub.",
    "Ich bin bis zum 12.08. nicht im Büro. In dringenden Fällen hilft meine Kollegin.",
    "Ihre Anfrage ist bei uns eingegangen. Wir melden uns in Kürze.",
    "Ceci est une réponse automatique.",
    "Je suis absente du bureau jusqu'au 15 août inclus.",
    "Nous avons bien reçu votre demande et vous répondrons sous 3 jours.",
    "Estoy de vacaciones hasta el 20 de agosto. Responderé a mi regreso.",
    "Este mensaje ha sido generado automáticamente.",
]

REAL = [
    "My auto reply goes out twice to every client since Monday.",
    "Please add a way to schedule vacation replies in advance.",
    "The footer 'This is an automated message' is printed twice.",
    "When a client's mailbox is full the invoice counts as paid. Delivery failed and paid differ!",
    "Thank you for your message about ticket 4812. The calendar is still blank.",
    "I am on holiday and can't open the app from Spain.",
    "I'm on sick leave and my substitute cannot log in with the guest account.",
    "Invoices bounce with 550 5.1.1, mailbox unavailable, though I can mail her from my phone.",
    "I will be traveling to Lyon on April 2 and returning on April 7",
    "We are closed on Mondays but the booking page offers slots then.",
    "We have not heard back from you and my ticket was closed automatically.",
    "Write an out-of-office reply: I am on annual leave until Monday, urgent matters to my colleague.",
    "Ihre automatische Antwort kommt bei meinen Kunden doppelt an, bitte prüfen.",
    "J'ai bien reçu votre message mais la facture manque toujours.",
]


def test_automatic_replies_of_four_languages_are_found() -> None:
    flagged = is_automatic_reply(pl.Series(AUTOMATIC)).to_list()
    assert [text for text, flag in zip(AUTOMATIC, flagged, strict=True) if not flag] == []


def test_automatic_replies_real_feedback_is_not_flagged() -> None:
    flagged = is_automatic_reply(pl.Series(REAL)).to_list()
    assert [text for text, flag in zip(REAL, flagged, strict=True) if flag] == []


def test_automatic_replies_missing_text_is_none() -> None:
    assert is_automatic_reply(pl.Series([None, ""], dtype=pl.String)).to_list() == [False, False]
