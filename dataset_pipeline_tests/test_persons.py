"""Names of persons: where a text gives them, where known ones stand, with a model; and one pseudonym for all writings of one."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_pipeline import records as model_of
from dataset_pipeline.errors import SpecError
from dataset_pipeline.memo import direct
from dataset_pipeline.spec import beside
from dataset_pipeline.spec.models import Pii
from dataset_pipeline.spec.params import NormalizeParams
from dataset_pipeline.storage import name_models, pseudonym_key
from dataset_pipeline.transforms import pii_names
from dataset_pipeline.transforms.normalize import normalize
from dataset_pipeline.transforms.persons import Helpers, find_in_records
from dataset_pipeline.transforms.pii import find_persons, find_pii, replaced, resolved
from dataset_pipeline.transforms.pii_letters import named_in
from dataset_pipeline.transforms.pseudonyms import Key, person, plain_value

KEY = Key(b"a key that only this test knows")
OTHER_KEY = Key(b"another key, for another team")


def record(prompt: str, answer: str) -> pl.DataFrame:
    said = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    row = {
        "record_id": "r0",
        "day": dt.date(2026, 11, 1),
        "messages": said,
        "person_names": [],
        "content_sha": "sha",
    }
    return pl.DataFrame([row], schema=model_of.RECORDS)


def named(text: str) -> list[str]:
    return [text[start:end] for start, end in named_in(text)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Dear Ms. Okafor,\nthank you.", ["Okafor"]),
        ("Hi Anna and Tom, see below", ["Anna", "Tom"]),
        ("Dear Mr. and Mrs. Smith,", ["Smith"]),
        ("hi jonas,\nany news?", ["jonas"]),
        ("Sehr geehrte Frau Müller-Lüdenscheidt,", ["Müller-Lüdenscheidt"]),
        ("Liebe Jana, lieber Ole,\n", ["Jana", "Ole"]),
        ("Estimada señora García:\n", ["García"]),
        ("Damian,\n\nas discussed.", ["Damian"]),
        ("It works.\n\nBest regards,\nMaria Gonzalez\nHead of Sales", ["Maria Gonzalez"]),
        ("It works.\n\nThanks for your help with this,\nJo", ["Jo"]),
        ("it works\n\nthanks\nsamuel savage", ["samuel savage"]),
        ("Viele Grüße\nIhr Karl von der Heide", ["Karl von der Heide"]),
        ("Let me know. Cheers, Tom", ["Tom"]),
        ("I will call.\n\nLayla", ["Layla"]),
        ("See attached.\n\nArjun Rao\nSenior Buyer\nArborly", ["Arjun Rao"]),
        ("-- \nJune Rice | Architect", ["June Rice"]),
        ("my name is Tom Fox and I am late", ["Tom Fox"]),
        ("My name is Dr. Lynn Porter.", ["Lynn Porter"]),
        ("Hello, this is Siobhan O'Neil from accounts.", ["Siobhan O'Neil"]),
        ("Hi all, I'm Jean-Luc Picot, new here", ["Jean-Luc Picot"]),
        ("Hello, Stefan here from accounts.", ["Stefan"]),
        ('{"body": "Hi Ana,\\n\\nsee you.\\n\\nBest,\\nXavier"}', ["Ana", "Xavier"]),
    ],
)
def test_persons_form_of_a_letter_gives_the_name(text: str, names: list[str]) -> None:
    assert named(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "Dear customer,\nyour order", "Hi team,", "Hello there,", "Dear Sir or Madam,", "Dear Hiring Manager,", "hey guys,",
        "Thanks,\nThe Support Team", "Regards,\nBilling Department", "Cheers,\nSent from my phone", "Beste Grüße\nEure IT-Abteilung",
        "I'm Spanish, so I ask", "This is broken from the start", "I am American and proud", "It's Monday's list",
        "CarPlay!\n\nNext", "Thank you, truly.", "Dear helpers, it works", "thanks\nplease call", 'print("Hello, World!")',
        "echo 'Hello, GPT!'", "Historically speaking, yes", "Bake it.\n\nServes Four", "Beste klant,", "Hey Google, stop",
        "Happy shopping,\nVelocart", "no names at all", "",
    ],
)  # fmt: skip
def test_persons_form_without_a_person_gives_none(text: str) -> None:
    assert named(text) == []


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("jürgen müller, JUERGEN MUELLER, Jurgen Muller", "Jürgen Müller", "[PERSON], [PERSON], [PERSON]"),
        ("ask Annas sister, or anna-lena's", "Anna-Lena Fox", "ask [PERSON]s sister, or [PERSON]'s"),
        ("@mariagonzalez or maria.gonzalez", "Maria Gonzalez", "@[PERSON] or [PERSON]"),
        ("J. Fox and Fox, K. Fox", "Jo Fox", "[PERSON] and [PERSON], K. [PERSON]"),
        ("thanks maria, will you", "Maria Will", "thanks [PERSON], will you"),
        ("OBrien and o'brien", "Pat O'Brien", "[PERSON] and [PERSON]"),
        ("our support team is the best", "Support Team", "our support team is the best"),
    ],
)
def test_persons_known_name_is_found_in_all_its_parts_and_cases(text: str, name: str, expected: str) -> None:
    assert replaced(text, resolved(text, find_persons(text, [name]))) == expected


def test_persons_name_of_one_message_is_found_in_all_of_its_record() -> None:
    messages = ["Hi Jonas, it is late", "Sorry! Jonas will wait.", "will you ask jonas?"]
    found = {text: [] for text in messages}
    ((findings, names),) = find_in_records([messages], [None], found, Pii(), direct, Helpers())  # type: ignore[arg-type]
    assert names == ("Jonas",)
    assert [replaced(t, f) for t, f in zip(messages, findings, strict=True)] == [
        "Hi [PERSON], it is late", "Sorry! [PERSON] will wait.", "will you ask jonas?"
    ]  # fmt: skip


def test_persons_allowed_word_is_nobodys() -> None:
    pii = Pii(allow=("Kontora", "help@kontora.example"))
    text = "Dear Kontora, help@kontora.example or jo@kontora.example"
    found = {text: find_pii([text], pii)[0]}
    ((findings, _),) = find_in_records([[text]], [["Kontora"]], found, pii, direct, Helpers())
    assert replaced(text, findings[0]) == "Dear Kontora, help@kontora.example or [EMAIL_ADDRESS]"


# --- pseudonyms ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity", "one", "other"),
    [
        ("EMAIL_ADDRESS", "Jo@Example.com", "jo (at) example [dot] com"),
        ("PHONE_NUMBER", "+44 20 7946 0018", "020 7946 0018"),
        ("CREDIT_CARD", "4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("IBAN_CODE", "de89370400440532013000", "DE89 3704 0044 0532 0130 00"),
        ("IP_ADDRESS", "2001:db8::1", "2001:0db8:0:0:0:0:0:1"),
        ("US_SSN", "219-09-9999", "219 09 9999"),
        ("URL", "https://www.example.com/", "example.com"),
    ],
)
def test_pseudonyms_writings_of_one_value_have_one(entity: str, one: str, other: str) -> None:
    regions = Pii().phone_regions
    assert plain_value(entity, one, regions) == plain_value(entity, other, regions)


def test_pseudonyms_writings_of_one_person_have_one() -> None:
    names = ("Maria Gonzalez", "Maria")
    said = ["MARIA", "Gonzalez, Maria", "M. Gonzalez", "María González", "maria gonzalez"]
    assert {person(written, names) for written in said} == {"gonzalez maria"}
    assert person("Maria", ()) == "maria"


def test_pseudonyms_differ_by_key_entity_and_value() -> None:
    words = {
        KEY.pseudonym("PERSON", "jo"), OTHER_KEY.pseudonym("PERSON", "jo"), KEY.pseudonym("URL", "jo"),
        KEY.pseudonym("PERSON", "al"),
    }  # fmt: skip
    assert len(words) == 4
    assert KEY.pseudonym("PERSON", "jo") == Key(KEY.secret).pseudonym("PERSON", "jo")
    assert "only this test" not in repr(KEY)


def _params(**pii: object) -> NormalizeParams:
    return NormalizeParams(
        answers_are_labels=False,
        languages=(),
        pii=Pii(**{"action": "pseudonym", **pii}),  # type: ignore[arg-type]
    )


def _said(frame: pl.DataFrame, key: Key) -> list[str]:
    table = normalize(frame, _params(), direct, Helpers(key))
    return [message["content"] for messages in table["messages"] for message in messages]


def test_pseudonyms_conversation_still_reads_and_days_agree() -> None:
    first = record(
        prompt="Hi Jo, this is Maria Gonzalez from Acme. Mail maria@acme.com.",
        answer="Thanks Maria, I wrote to MARIA@ACME.COM.",
    )
    later = record(
        prompt="My name is Maria Gonzalez, call 020 7946 0018 or +44 20 7946 0018", answer="Will do."
    )
    asked, answered, again, _ = _said(pl.concat([first, later]), KEY)
    maria, mail = KEY.pseudonym("PERSON", "gonzalez maria"), KEY.pseudonym("EMAIL_ADDRESS", "maria@acme.com")
    phone = KEY.pseudonym("PHONE_NUMBER", "+442079460018")
    assert asked == f"Hi {KEY.pseudonym('PERSON', 'jo')}, this is {maria} from Acme. Mail {mail}."
    assert answered == f"Thanks {maria}, I wrote to {mail}."
    assert again == f"My name is {maria}, call {phone} or {phone}"
    assert maria not in "".join(_said(first, OTHER_KEY))


def test_pseudonyms_are_left_alone_when_cleaned_again() -> None:
    text = _said(record(prompt="write to jo@example.com", answer="ok then"), KEY)[0]
    assert _said(record(prompt=text, answer="ok then"), KEY)[0] == text


@pytest.mark.parametrize("given", [None, "", "too short"])
def test_pseudonym_key_that_is_missing_or_short_is_an_error(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    if given is not None:
        monkeypatch.setenv("SOME_KEY", given)
    with pytest.raises(SpecError, match="at least 16 bytes in the environment variable SOME_KEY"):
        pseudonym_key.load(Pii(action="pseudonym", key_variable="SOME_KEY"))
    assert beside.key_id(beside.secret_of("SOME_KEY")) == "none"
    assert pseudonym_key.load(Pii(key_variable="SOME_KEY")) is None


def test_pseudonym_key_id_tells_keys_apart_and_is_not_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "correct horse battery staple")
    one = beside.key_id(beside.secret_of("SOME_KEY"))
    monkeypatch.setenv("SOME_KEY", "correct horse battery staples")
    assert one != beside.key_id(beside.secret_of("SOME_KEY"))
    assert len(one) == 8 and int(one, 16) >= 0


# --- a model ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec's folder with a small spaCy model: it was shown a dozen sentences, and knows persons by what stands around them."""
    import spacy
    from spacy.training import Example
    from spacy.util import fix_random_seed

    fix_random_seed(7)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner").add_label("PERSON")
    frames = ["Yesterday {} told us about it.", "We met {} at the desk.", "The parcel of {} is lost."]
    names = ["Ola", "Tomi", "Berit Moe", "Ingrid Aas", "Pavel", "Zoe Lund"]
    shown = []
    for frame in frames:
        for name in names:
            text, start = frame.format(name), frame.index("{")
            shown.append(
                Example.from_dict(nlp.make_doc(text), {"entities": [(start, start + len(name), "PERSON")]})
            )
        shown.append(Example.from_dict(nlp.make_doc("It was told at the desk."), {"entities": []}))
    nlp.initialize(lambda: shown)
    for _ in range(20):
        nlp.update(shown, drop=0.1)
    root = tmp_path_factory.mktemp("spec")
    (root / "models").mkdir()
    nlp.to_disk(root / "models" / "names")
    return root


def test_name_model_finds_names_in_running_text(model: Path) -> None:
    opened = name_models.load(model, "models/names")
    text = "We met Ingrid Aas at the desk."
    assert [text[a:b] for a, b in opened.persons(text)] == ["Ingrid Aas"]
    frame = record(prompt=text, answer="It was told to Ingrid.")
    table = normalize(frame, _params(action="replace", model="models/names"), direct, Helpers(model=opened))
    said = [message["content"] for message in table["messages"][0]]
    assert said == ["We met [PERSON] at the desk.", "It was told to [PERSON]."]


def test_name_model_reads_each_text_by_itself_and_long_ones_in_pieces(model: Path) -> None:
    opened = name_models.load(model, "models/names")
    text = "We met Ingrid Aas at the desk. "
    many = text * 4_000
    found = opened.persons(many)
    assert len(found) > 3_900
    assert all(many[a:b] in ("Ingrid Aas", "Ingrid", "Aas") for a, b in found)


def test_name_model_that_is_missing_broken_or_finds_no_persons_is_named(model: Path) -> None:
    import spacy

    (model / "models" / "broken").mkdir(parents=True, exist_ok=True)
    spacy.blank("en").to_disk(model / "models" / "blank")
    for name, said in [
        ("models/none", "there is no such folder"),
        ("models/broken", "cannot be opened"),
        ("models/blank", "finds no persons"),
        ("../models", "outside the project"),
        ("no-such-model-package", "cannot be opened"),
    ]:
        with pytest.raises(SpecError) as caught:
            name_models.load(model, name)
        assert said in str(caught.value)


def test_name_model_that_changes_on_disk_is_another(model: Path) -> None:
    before = beside.identity_of_model(model, "models/names")
    assert before == beside.identity_of_model(model, "models/names")
    meta = model / "models" / "names" / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"description": "another"}))
    assert beside.identity_of_model(model, "models/names") != before


NAME_PIECES = st.sampled_from(
    [
        "Jo",
        "Jörg",
        "ö",
        "Müller",
        "Anna-Lena",
        "O'Neil",
        "de",
        "Li",
        "王伟",
        "J.",
        "Ana,",
        "x_y",
        "MARIA",
        "(Bo)",
        "Østby",
        "a.b",
    ]
)
OTHER_PIECES = st.sampled_from(
    [" ", ". ", "\n", "-", "'", "mueller", "muller", "lena", "oneil", "王", "ostby", "oestby", "s", "j"]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(NAME_PIECES, min_size=1, max_size=3), st.lists(NAME_PIECES | OTHER_PIECES, max_size=8))
def test_persons_first_look_for_a_name_loses_nothing(words: list[str], said: list[str]) -> None:
    name, text = " ".join(words), "".join(said)
    with pytest.MonkeyPatch.context() as patch:
        quick = pii_names.find_names(text, (name,))
        patch.setattr(pii_names, "_cores", lambda _: ("",))
        assert pii_names.find_names(text, (name,)) == quick
