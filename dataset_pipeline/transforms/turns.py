"""Lists of turns and transcripts as messages: {role, content} with the roles system, user, assistant.

Lives here: reading one list or one transcript, and the order that turns must have. Keep out: pairs of
conversations (`preference`), trees (`trees`), the row around them (`layouts`).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from dataset_pipeline.transforms.mapping import Misfit

Message = dict[str, str]

CHAT_ROLES: Mapping[str, str] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
SHAREGPT_ROLES: Mapping[str, str] = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bot": "assistant", "model": "assistant", "system": "system",
}  # fmt: skip
_TOOL_ROLES = frozenset({"tool", "function"})
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})


def chat_turns(turns: Any, column: str) -> list[Message]:
    """A list of {role, content} as OpenAI writes it; `developer` is system.

    content is text, or a list of parts: their texts become lines. A blank system prompt at the beginning counts as
    none. Where the last turn has the weight 0 nobody answers: it is not to be trained on. Not read, whatever they
    hold: name, the weight of earlier turns, and every other key of a turn but tool_calls and function_call, which
    make it a turn that is no text.
    Raises Misfit: missing_value, bad_messages, tool_turn, unknown_role, empty_message, not_text, no_answer.
    """
    return _turns(turns, column, CHAT_ROLES, False)


def sharegpt_turns(turns: Any, column: str) -> list[Message]:
    """A list of {from, value}, or of {role, content}; the roles are SHAREGPT_ROLES. Else as `chat_turns`."""
    return _turns(turns, column, SHAREGPT_ROLES, True)


def _turns(turns: Any, column: str, roles: Mapping[str, str], is_sharegpt: bool) -> list[Message]:
    if turns is None:
        raise Misfit("missing_value", f"{column} is missing or null")
    if not isinstance(turns, list) or not turns:
        raise Misfit("bad_messages", f"{column} is not a list of messages")
    who, what = ("from", "value") if is_sharegpt else ("role", "content")
    messages: list[Message] = []
    for number, turn in enumerate(turns):
        try:  # nearly every turn is a role and its text: this is the short way for them
            role, content = roles[turn[who]], turn[what]
            if len(turn) == 2 and type(content) is str and content and not content.isspace():
                messages.append({"role": role, "content": content})
                continue
        except (KeyError, TypeError):
            pass
        message = _turn(turn, f"{column}[{number}]", roles, is_sharegpt)
        if message["content"].strip():
            messages.append(message)
        elif message["role"] != "system" or number > 0 or len(turns) == 1:
            raise Misfit("empty_message", f"{column}[{number}] holds no word")
    if isinstance(turns[-1], dict) and turns[-1].get("weight", 1) == 0:
        raise Misfit("no_answer", f"{column}: the last turn has the weight 0, so nothing is left to train on")
    return messages


def _turn(turn: Any, place: str, roles: Mapping[str, str], is_sharegpt: bool) -> Message:
    """Any turn, looked at closely; its content may be blank."""
    if not isinstance(turn, dict):
        raise Misfit("bad_messages", f"{place} is no object with a role and content")
    said, content = turn.get("role"), turn.get("content")
    if is_sharegpt and "role" not in turn:
        said, content = turn.get("from"), turn.get("value")
    role = roles.get(said) if isinstance(said, str) else None
    if role is None or turn.get("tool_calls") or turn.get("function_call"):
        _refuse_speaker(turn, said, place, roles, is_sharegpt)
    return {"role": role, "content": content if isinstance(content, str) else _content(turn, content, place)}


def _refuse_speaker(
    turn: dict[str, Any], said: Any, place: str, roles: Mapping[str, str], is_sharegpt: bool
) -> NoReturn:
    calls = turn.get("tool_calls") or turn.get("function_call")
    if calls or (not is_sharegpt and isinstance(said, str) and said in _TOOL_ROLES):
        raise Misfit("tool_turn", f"{place} calls a tool or answers a call: only text turns are read")
    raise Misfit("unknown_role", f"{place}: the role is none of {', '.join(roles)}")


def _content(turn: dict[str, Any], content: Any, place: str) -> str:
    """Content that is no plain string: parts, null, or a fault."""
    if content is None and ("content" in turn or "value" in turn):
        return ""
    if not isinstance(content, list):
        raise Misfit("bad_messages", f"{place} has no text as its content")
    texts: list[str] = []
    for part in content:
        text = part
        if isinstance(part, dict):
            kind = part.get("type", "text")
            text = part.get("text") if isinstance(kind, str) and kind in _TEXT_PARTS else None
        if not isinstance(text, str):
            raise Misfit("not_text", f"{place} holds a part that is no text: only text turns are read")
        texts.append(text)
    return "\n".join(texts)


def check_order(messages: list[Message], place: str) -> None:
    """Raises roles_out_of_order unless turns alternate user, assistant and end with assistant, a system prompt first."""
    roles = [message["role"] for message in messages]
    first = 1 if roles and roles[0] == "system" else 0
    asked, answered = roles[first::2], roles[first + 1 :: 2]
    pairs = len(answered)
    if pairs and asked.count("user") == answered.count("assistant") == pairs == len(asked):
        return
    expected = "user"
    for number, role in enumerate(roles[first:], first):
        if role != expected:
            raise Misfit("roles_out_of_order", f"{place}: {_fault(role, number, first)}")
        expected = "assistant" if role == "user" else "user"
    what = "ends with user" if len(roles) > first else "has no turn but the system's"
    raise Misfit(
        "roles_out_of_order", f"{place}: {what}; turns alternate user, assistant and end with assistant"
    )


def _fault(role: str, number: int, first: int) -> str:
    if role == "system":
        return f"a system turn in the middle, at turn {number + 1}"
    if number == first:
        return "begins with assistant"
    return f"two {role} turns in a row at turn {number + 1}"


def with_system(messages: list[Message], system: str | None) -> list[Message]:
    """`messages` with a system prompt put before them, where there is one and they have none."""
    if not system or system.isspace() or messages[0]["role"] == "system":
        return messages
    return [{"role": "system", "content": system}, *messages]


# --- transcripts --------------------------------------------------------------------------

_MARKER = re.compile(r"^(Human|User|Assistant|AI|System):", re.MULTILINE)
_SPEAKERS = {"Human": "user", "User": "user", "Assistant": "assistant", "AI": "assistant", "System": "system"}


def _markers(text: str) -> list[re.Match[str]]:
    """Markers at the beginning of a paragraph that say who speaks, in the names this transcript uses.

    The user is called as the first user turn says; the assistant is Assistant, or AI where no paragraph begins
    with Assistant; System speaks only before all others. Other names that begin a paragraph are part of what
    is said: an answer may quote a dialogue. So is a marker in a fenced code block.
    """
    found = []
    for match in _MARKER.finditer(text):
        here = match.start()
        before = text.rfind("\n", 0, here - 1) + 1 if here else 0
        if not text[before:here].strip():
            found.append(match)
    found = _unquoted(text, found)
    names = {match[1] for match in found}
    user = next((match[1] for match in found if match[1] in ("Human", "User")), "Human")
    assistant = "Assistant" if "Assistant" in names else "AI"
    return [m for n, m in enumerate(found) if m[1] in (user, assistant) or (m[1] == "System" and n == 0)]


_FENCE = re.compile(
    r"^(?:[ \t]*|((?:Human|User|Assistant|AI|System):[ \t]*))(`{3,}|~{3,})([^\n]*)", re.MULTILINE
)
_LONGEST_FENCE = 8
"""Longer fences are taken for as long as this: so few kinds keep the search below linear."""


class _Fence(NamedTuple):
    """Three or more backticks or tildes that begin a line. is_bare: nothing follows, so that it can close a block."""

    sign: str
    length: int
    is_bare: bool


def _unquoted(text: str, markers: list[re.Match[str]]) -> list[re.Match[str]]:
    """`markers` without those in a fenced code block that is closed later.

    A block is closed where the turn that holds it has no block open before the next marker or the end; where
    that never comes, or a block with a language begins first, the fence was left open, and the turn ends at
    its next marker.
    """
    fences = _fences(text, markers) if len(markers) > 1 and ("```" in text or "~~~" in text) else None
    if fences is None:
        return markers
    kept: list[re.Match[str]] = []
    failed: set[tuple[int, _Fence]] = set()
    number = 0
    while number < len(markers):
        kept.append(markers[number])
        number = _next_turn(fences, number, failed)
    return kept


def _fences(text: str, markers: list[re.Match[str]]) -> list[list[_Fence]]:
    """The fences behind each marker, up to the next one."""
    starts = [marker.start() for marker in markers]
    found: list[list[_Fence]] = [[] for _ in markers]
    for match in _FENCE.finditer(text):
        number = bisect_right(starts, match.start()) - 1
        after_marker, signs, rest = match.groups()
        is_inline = signs[0] == "`" and "`" in rest
        if number < 0 or is_inline or (after_marker and match.start() != starts[number]):
            continue
        length = min(len(signs), _LONGEST_FENCE)
        found[number].append(_Fence(signs[0], length, not after_marker and not rest.strip()))
    return found


def _next_turn(fences: list[list[_Fence]], first: int, failed: set[tuple[int, _Fence]]) -> int:
    """The number of the marker that ends the turn of marker `first`.

    failed: markers and the fences open there from which a search came to nothing. No search goes that way
    again, which keeps all of them together linear.
    """
    is_open = _open_after(fences[first], None)
    way: list[tuple[int, _Fence]] = []
    number = first + 1
    while is_open is not None:
        here = (number, is_open)
        if number == len(fences) or here in failed or _is_left_open(fences[number], is_open):
            failed.update(way)
            return first + 1
        way.append(here)
        is_open = _open_after(fences[number], is_open)
        number += 1
    return number


def _open_after(fences: list[_Fence], is_open: _Fence | None) -> _Fence | None:
    """The fence that is open behind `fences`; one with a language in a block as long says that its end is missing."""
    for fence in fences:
        if is_open is None:
            is_open = fence
        elif fence.sign == is_open.sign and fence.length >= is_open.length:
            is_open = None if fence.is_bare else fence
    return is_open


def _is_left_open(fences: list[_Fence], is_open: _Fence) -> bool:
    """Whether the first of `fences` that is to do with a block open before them begins another one."""
    ends = (f for f in fences if f.sign == is_open.sign and f.length >= is_open.length)
    return not next((fence.is_bare for fence in ends), True)


def is_transcript(text: str) -> bool:
    """Whether a text begins with the user's marker, or with the system's and goes on with one."""
    return "user" in _speakers(text)[:2]


def is_answered(text: str) -> bool:
    """Whether a text is a transcript in which the assistant speaks."""
    speakers = _speakers(text)
    return "user" in speakers[:2] and "assistant" in speakers


def _speakers(text: str) -> list[str]:
    """Who speaks, turn by turn; nobody where the text does not begin with a marker."""
    markers = _markers(text)
    if not markers or text[: markers[0].start()].strip():
        return []
    return [_SPEAKERS[marker[1]] for marker in markers]


def transcript_turns(text: str, place: str) -> list[Message]:
    """The turns of a text such as "Human: …", blank line, "Assistant: …"; each without the space around it.

    A marker (Human, User, Assistant, AI, System, then a colon) counts at the beginning of a paragraph only, and
    not in a fenced code block.
    Raises Misfit: bad_transcript, empty_message.
    """
    markers = _markers(text)
    if not markers:
        raise Misfit("bad_transcript", f"{place}: no paragraph begins with Human: or Assistant:")
    if text[: markers[0].start()].strip():
        raise Misfit("bad_transcript", f"{place}: there is text before the first Human: or Assistant:")
    messages: list[Message] = []
    ends = [*(marker.start() for marker in markers[1:]), len(text)]
    for marker, end in zip(markers, ends, strict=True):
        content = text[marker.end() : end].strip()
        if not content:
            raise Misfit("empty_message", f"{place}: turn {len(messages) + 1} holds no word")
        messages.append({"role": _SPEAKERS[marker[1]], "content": content})
    return messages
