"""What leaves the line, as other programs and terminals see it."""

from __future__ import annotations

import io
import json
import random
import re
import unicodedata
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import webvtt

from edge.sinks import FORMATS, open_sink
from edge.sinks.cells import cells, fit, wrap
from edge.sinks.live import Live
from edge.sinks.record import TEXT_CHARACTERS, as_dict, milliseconds, seconds
from edge.types import Caption, Device, Gap, Record, Session, Sound, Speech, Vitals, Word

# 2026-11-23T10:00:00.000Z, by hand: 20,780 days after the epoch and ten hours.
STARTED_NS = (20_780 * 86_400 + 36_000) * 1_000_000_000
SESSION = Session("file:kitchen.wav", "starter", "1.0.0", STARTED_NS)


def final(text: str, start: int = 25_600, stop: int = 64_320, number: int = 2) -> Caption:
    return Caption(number, 5, start, stop, text, len(text), True, 0.2314)


def written(form: str, *records: Record | Vitals, several: bool = False) -> str:
    stream = io.StringIO()
    sink = open_sink(form, stream, several)
    for record in records:
        sink.write(record)
    sink.close()
    return stream.getvalue()


# JSON Lines

# The records of the contract, word for word, and what the line must hand over to get them (1.60 s = 25,600 samples …).
CONTRACT: list[tuple[Record, str]] = [
    (
        SESSION,
        '{"type":"session","schema":1,"source":"file:kitchen.wav","bundle":"starter","bundle_version":"1.0.0",'
        '"started":"2026-11-23T10:00:00.000Z"}',
    ),
    (Speech(25_600, 54_720), '{"type":"speech","start":1.60,"end":3.42}'),
    (Sound(4, "Bark", 30_720, None, 0.93), '{"type":"sound","id":4,"state":"start","label":"Bark","start":1.92,"score":0.93}'),
    (Sound(4, "Bark", 30_720, 38_560, 0.97), '{"type":"sound","id":4,"state":"end","label":"Bark","start":1.92,"end":2.41,"score":0.97}'),
    (
        Caption(2, 3, 25_600, 51_200, "A dog barks twice, then", 17, False, 0.184),
        '{"type":"caption","id":2,"revision":3,"final":false,"start":1.60,"end":3.20,"text":"A dog barks twice, then",'
        '"committed":17,"latency":0.184}',
    ),
    (
        Caption(2, 5, 25_600, 64_320, "A dog barks twice, then a person says seven.", 43, True, 0.2314),
        '{"type":"caption","id":2,"revision":5,"final":true,"start":1.60,"end":4.02,'
        '"text":"A dog barks twice, then a person says seven.","committed":43,"latency":0.231}',
    ),
    (Gap(128_000, 136_160, "overrun"), '{"type":"gap","start":8.00,"end":8.51,"reason":"overrun"}'),
]


@pytest.mark.parametrize(("record", "line"), CONTRACT)
def test_a_record_is_the_line_of_the_contract_field_by_field_in_order(record: Record, line: str) -> None:
    got = written("jsonl", record)
    assert got.endswith("\n")
    assert list(json.loads(got).items()) == list(json.loads(line).items())


def test_a_device_record_says_state_and_name_and_may_say_more() -> None:
    record = json.loads(written("jsonl", Device(16_000, "lost", "USB mic", "it was unplugged")))
    assert {key: record[key] for key in ("type", "state", "name")} == {"type": "device", "state": "lost", "name": "USB mic"}
    assert (record["at"], record["detail"]) == (1.0, "it was unplugged")


def test_times_are_milliseconds_of_the_sample_count_even_after_a_year() -> None:
    for index in (0, 7, 8, 9, 15, 16, 160, 399, 25_607, 25_608, 16_000 * 86_400 * 366 + 24):
        exact = index / 16  # milliseconds, exact in binary
        assert abs(milliseconds(index) - exact) <= 0.5
        assert as_dict(Speech(index, index + 1))["start"] == milliseconds(index) / 1000
    year = 16_000 * 86_400 * 366
    assert written("jsonl", Speech(year + 16, year + 32)) == '{"type":"speech","start":31622400.001,"end":31622400.002}\n'


def test_any_text_stays_one_line_of_json_and_valid_utf_8() -> None:
    nasty = 'quote " back \\ line\nbreak\r tab\t bell\a escape\x1b[2J c1\x9b nel\x85 ls\u2028 bidi\u202e 👩‍🔬 naïve 日本語 \ud800'
    got = written("jsonl", final(nasty))
    got.encode("utf-8")
    assert got.count("\n") == 1
    assert len(got.splitlines()) == 1
    text = json.loads(got)["text"]
    assert len(text) == len(nasty)
    assert all(word in text for word in ('quote " back \\ line break', "👩‍🔬", "naïve", "日本語"))
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e]", text)


def test_a_text_without_end_is_capped_and_committed_stays_inside_it() -> None:
    record = as_dict(final("a" * 100_000))
    assert (len(record["text"]), record["committed"]) == (TEXT_CHARACTERS, TEXT_CHARACTERS)


def test_vitals_are_for_the_live_view_only() -> None:
    vitals = Vitals(1600, -20.0, -60.0, "speech")
    for form in ("jsonl", "text", "srt", "vtt"):
        assert written(form, SESSION, vitals) == written(form, SESSION)


def test_each_record_is_flushed_before_the_next_one_is_made() -> None:
    class Counting(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    for form in ("jsonl", "text", "srt", "vtt"):
        stream = Counting()
        sink = open_sink(form, stream)
        for number in range(1, 4):
            before = stream.flushes
            sink.write(final("words", number * 16_000, number * 16_000 + 8_000, number))
            assert stream.flushes > before
            assert "words" in stream.getvalue()


# Text and subtitles

DOG = final("A dog barks twice, then a person says seven.")


def test_text_is_one_line_for_each_final() -> None:
    assert written("text", SESSION, Caption(2, 1, 25_600, 48_000, "A dog", 0, False), DOG, Gap(0, 1, "x")) == (
        "00:00:01.600 A dog barks twice, then a person says seven.\n"
    )


def test_several_files_are_told_apart_by_a_line_each() -> None:
    assert written("text", SESSION, final("One."), SESSION, several=True) == "# file:kitchen.wav\n00:00:01.600 One.\n# file:kitchen.wav\n"


def test_srt_is_the_known_file() -> None:
    assert written("srt", SESSION, DOG, final("Then rain.", 3_600 * 16_000 + 80, 3_661 * 16_000, 3)) == (
        "1\n00:00:01,600 --> 00:00:04,020\nA dog barks twice, then a person says\nseven.\n\n"
        "2\n01:00:00,005 --> 01:01:01,000\nThen rain.\n\n"
    )


def test_vtt_is_the_known_file() -> None:
    assert written("vtt", SESSION, final("Tom & <b>Jerry</b> --> run")) == (
        "WEBVTT\n\n1\n00:00:01.600 --> 00:00:04.020\nTom &amp; &lt;b&gt;Jerry&lt;/b&gt; --&gt; run\n\n"
    )


def test_a_stream_without_captions_is_still_a_valid_document() -> None:
    assert written("srt", SESSION) == ""
    assert list(webvtt.from_buffer(io.BytesIO(written("vtt", SESSION).encode()))) == []


def random_finals(seed: int, count: int = 60) -> list[Caption]:
    chance = random.Random(seed)
    words = [
        "a",
        "dog",
        "barks",
        "twice,",
        "<script>",
        "-->",
        "&",
        "{\\an8}",
        "1",
        "naïve",
        "日本語",
        "x" * 60,
        "00:00:01,000",
        "\n\n",
        "\x1b[2J",
    ]
    finals, at = [], 0
    for number in range(1, count + 1):
        start = max(0, at - chance.randint(0, 12_000))  # pre-roll reaches back
        stop = start + chance.choice([1, 8, 160, 16_000, 480_000])
        text = " ".join(chance.choices(words, k=chance.choice([0, 1, 5, 40])))
        finals.append(final(text, start, stop, number))
        at = stop + chance.randint(0, 16_000)
    return finals


SRT_CUE = re.compile(r"(\d+)\n\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}\n[^\n]+\n(?:[^\n]+\n)?\n")


def in_ms(stamp: str) -> int:
    """Milliseconds of HH:MM:SS.mmm."""
    hours, minutes, seconds = stamp.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000 + round(float(seconds) * 1_000)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("seed", range(8))
def test_other_programs_read_back_every_word_in_order_with_sane_times(seed: int) -> None:
    finals = random_finals(seed)
    document = written("srt", SESSION, *finals)
    parsed = list(webvtt.from_buffer(io.BytesIO(document.encode()), format="srt"))
    cues = [(in_ms(cue.start), in_ms(cue.end), cue.text) for cue in parsed]
    # That reader forgives much, so the form is checked too: number, times with a comma, one or two lines, an empty line.
    assert SRT_CUE.findall(document) == [str(number) for number in range(1, len(parsed) + 1)]
    assert SRT_CUE.sub("", document) == ""
    read = webvtt.from_buffer(io.BytesIO(written("vtt", SESSION, *finals).encode()))
    assert [(a, b) for a, b, _ in cues] == [(in_ms(cue.start), in_ms(cue.end)) for cue in read]
    assert all(begin < end for begin, end, _ in cues)
    assert all(before[1] <= after[0] for before, after in pairwise(cues))
    for _, _, content in cues:
        assert len(content.split("\n")) <= 2
        assert max(map(len, content.split("\n"))) <= 42
    said = squeezed(" ".join(caption.text for caption in finals).replace("\x1b", " "))
    assert squeezed("".join(cue.raw_text for cue in read)).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == said
    assert squeezed("".join(content for *_, content in cues)) == said.translate(str.maketrans("<>{}", "‹›()"))


def test_a_cue_begins_with_its_first_word_where_words_have_times() -> None:
    said = "He said that the kettle was on and that nobody should touch it before he came back from the garden with the mint"
    words, rng, at = [], random.Random(5), 30_000
    for word in said.split():
        words.append(Word(word, at, at + 1_000))
        at += rng.randrange(1_000, 20_000)
    caption = replace(final(said, 25_600, at + 8_000), words=tuple(words))
    cues = list(webvtt.from_buffer(io.BytesIO(written("vtt", SESSION, caption).encode())))
    assert len(cues) == 2
    second = len(cues[0].text.split())
    assert [in_ms(cue.start) for cue in cues] == [1_600, milliseconds(words[second].start)]
    assert in_ms(cues[1].end) == milliseconds(at + 8_000)
    assert as_dict(caption)["words"][1] == {"text": "said", "start": seconds(words[1].start), "end": seconds(words[1].stop)}
    # A line of sounds alone, and words that are not the caption's: the time is divided as without.
    plain = written("vtt", SESSION, final(said, 25_600, at + 8_000))
    assert written("vtt", SESSION, replace(caption, words=tuple(words[:3]))) == plain
    assert written("vtt", SESSION, replace(caption, words=(Word("elsewhere", 0, 1),))) == plain
    # Words at one moment, all of them before the turn: no cue is shorter than a millisecond or steps back.
    at_once = replace(caption, words=tuple(Word(word.text, 0, 0) for word in words))
    times = [(in_ms(c.start), in_ms(c.end)) for c in webvtt.from_buffer(io.BytesIO(written("vtt", SESSION, at_once).encode()))]
    assert times == [(1_600, 1_601), (1_601, milliseconds(at + 8_000))]
    # Without spaces between words, a line breaks where it is full, within a word too.
    long = "今日はとてもいい天気ですね" * 8
    words = [Word(long[i : i + 3], 1_000 * i + 32_000, 1_000 * i + 34_000) for i in range(0, len(long), 3)]
    cues = list(webvtt.from_buffer(io.BytesIO(written("vtt", SESSION, replace(final(long, 25_600, 200_000), words=tuple(words))).encode())))
    assert in_ms(cues[1].start) == words[len("".join(cues[0].text.split())) // 3].start // 16


def test_nothing_in_a_caption_becomes_markup() -> None:
    for text in ("<script>alert(1)</script>", "{\\an8}up", "00:00:00,000 --> 00:00:09,000", "a\n\n7\n00:00:01,000 --> 00:00:02,000\nb"):
        assert not re.search(r"[<>{}]", written("srt", final(text)).replace("00:00:01,600 --> 00:00:04,020", ""))
        body = written("vtt", final(text)).split("\n", 4)[4]
        assert "<" not in body
        assert ">" not in body


def test_cues_of_a_second_file_start_anew_and_carry_its_name() -> None:
    other = Session("file:--> b&b.wav", "starter", "1.0.0", STARTED_NS)
    got = written("vtt", SESSION, final("One."), other, final("Two.", 0, 16_000), several=True)
    assert "NOTE file:--&gt; b&amp;b.wav\n\n2\n00:00:00.000 --> 00:00:01.000\nTwo." in got
    assert [cue.text for cue in webvtt.from_buffer(io.BytesIO(got.encode()))] == ["One.", "Two."]


# Live


class Terminal(io.StringIO):
    """A screen of `width` columns that understands what Live sends, and nothing more; anything else fails the test."""

    encoding = "utf-8"

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.lines: list[list[str]] = [[]]
        self.row = self.column = 0
        self.cursor = True

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for sequence, character in re.findall(r"(\x1b\[[?0-9;]*[A-Za-z])|([\s\S])", text):
            if sequence:
                self._sequence(sequence)
            elif character == "\r":
                self.column = 0
            elif character == "\n":
                self.row, self.column = self.row + 1, 0
                while len(self.lines) <= self.row:
                    self.lines.append([])
            else:
                assert unicodedata.category(character) not in ("Cc", "Cs"), f"{character!r} reached the terminal"
                self._put(character)
        return len(text)

    def _put(self, character: str) -> None:
        if cells(character) == 0:
            return
        assert self.column + cells(character) < self.width, "a line wraps, so the way back up is miscounted"
        line = self.lines[self.row]
        line.extend([" "] * (self.column - len(line)))
        line[self.column : self.column + cells(character)] = [character, *[""] * (cells(character) - 1)]
        self.column += cells(character)

    def _sequence(self, sequence: str) -> None:
        if up := re.fullmatch(r"\x1b\[(\d+)A", sequence):
            assert self.row >= int(up[1])
            self.row -= int(up[1])
        elif down := re.fullmatch(r"\x1b\[(\d+)B", sequence):
            self.row += int(down[1])
            assert self.row < len(self.lines)
        elif forward := re.fullmatch(r"\x1b\[(\d+)C", sequence):
            self.column += int(forward[1])
            assert self.column < self.width
        elif sequence == "\x1b[K":
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif sequence == "\x1b[J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]
        elif sequence in ("\x1b[?25l", "\x1b[?25h"):
            self.cursor = sequence.endswith("h")
        else:
            assert re.fullmatch(r"\x1b\[[0-2]m", sequence), f"{sequence!r} is none of the sequences that Live uses"

    def shown(self) -> list[str]:
        return ["".join(line).rstrip() for line in self.lines]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")
    return Terminal(60)


def partial(text: str, committed: int = 0, revision: int = 1) -> Caption:
    return Caption(2, revision, 25_600, 51_200, text, committed, False)


def test_the_open_caption_is_redrawn_in_place_and_finals_stay(terminal: Terminal) -> None:
    live = Live(terminal)
    live.write(SESSION)
    live.write(partial("A dog"))
    live.write(partial("A dog barks twice, then a person says something that is long enough for two lines", 5, 2))
    assert [line[:9] for line in terminal.shown()[1:3]] == ["> A dog b", "> long en"]
    assert not terminal.cursor
    live.write(partial("A dog barks.", 5, 3))
    shown = terminal.shown()
    assert (len(shown), shown[1]) == (3, "> A dog barks.")
    live.write(final("A dog barks."))
    live.write(Gap(128_000, 136_160, "overrun"))
    live.close()
    assert terminal.shown() == ["file:kitchen.wav · starter 1.0.0", "00:00:01.6  A dog barks.", "00:00:08.0  -- 0.510 s lost (overrun)", ""]
    assert terminal.cursor


def test_only_the_words_that_changed_are_written_anew(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live(terminal, monotonic=iter(range(1000)).__next__)
    live.write(SESSION)
    live.write(Vitals(16_000, -36.0, -60.0, "sound"))
    live.write(partial("A dog barks twice", 5))
    sent: list[str] = []
    write = terminal.write
    monkeypatch.setattr(terminal, "write", lambda text: sent.append(text) or write(text))
    for text, committed, new in (
        ("A dog barks twice, then", 5, "twice, then"),
        ("A dog barks three", 5, "three"),
        ("A dog barks three", 5, ""),
        ("A dog barks three times", 11, "barks three times"),
    ):
        sent.clear()
        live.write(partial(text, committed))
        assert re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", "".join(sent)).strip() == new
        assert terminal.shown()[1:] == [f"> {text}", "00:00:01 ████████░░░░░░░░  -36 dBFS ● sound"]
    sent.clear()
    live.write(Vitals(32_000, -36.0, -60.0, "sound"))
    assert "dog" not in "".join(sent)
    assert terminal.shown()[1:] == ["> A dog barks three times", "00:00:02 ████████░░░░░░░░  -36 dBFS ● sound"]


@pytest.mark.parametrize("seed", range(30))
def test_the_view_is_the_same_whatever_stood_there_before(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Against a view that draws the last state alone."""
    monkeypatch.setenv("TERM", "xterm")
    chance = random.Random(seed)
    words = ["a", "dog", "barks,", "日本", "é", "e\u0301", "then", "👩‍🔬", "a-long-word-that-takes-a-third-of-a-line"]
    width, held = chance.choice([24, 40, 60]), Terminal(60)
    monkeypatch.setenv("COLUMNS", str(width))
    live = Live(held, monotonic=iter(range(10_000)).__next__)
    live.write(SESSION)
    text: list[str] = []
    for _ in range(60):
        text = text[: chance.randint(0, len(text))] + chance.choices(words, k=chance.randint(0, 5))
        whole = " ".join(text)[:300]
        caption = partial(whole, chance.randint(0, len(whole)))
        vitals = Vitals(chance.randint(0, 10**6), chance.uniform(-70, 0), -60.0, chance.choice(["sound", "speech", None]))
        live.write(vitals)
        live.write(caption)
        fresh = Terminal(60)
        anew = Live(fresh, monotonic=iter(range(100)).__next__)
        anew.write(SESSION)
        anew._vitals, anew._now_ms = vitals, live._now_ms
        anew.write(caption)
        assert held.shown() == fresh.shown()


def test_the_status_line_shows_level_gate_and_active_sounds(terminal: Terminal) -> None:
    live = Live(terminal, monotonic=iter(range(100)).__next__)
    live.write(SESSION)
    live.write(Vitals(16_000 * 61, -36.0, -60.0, "sound"))
    live.write(Sound(4, "Bark", 30_720, None, 0.9))
    live.write(Sound(5, "Siren", 30_720, None, 0.9))
    assert terminal.shown()[-1] == "00:01:01 ████████░░░░░░░░  -36 dBFS ● sound  [Bark] [Siren]"
    live.write(Sound(4, "Bark", 30_720, 40_000, 0.9))
    live.write(Vitals(16_000 * 62, 0.0, -60.0, None))
    assert terminal.shown()[-1] == "00:01:02 ████████████████    0 dBFS ○ quiet  [Siren]"


def test_vitals_are_redrawn_ten_times_a_second_and_records_at_once(terminal: Terminal) -> None:
    now = 0.0
    live = Live(terminal, monotonic=lambda: now)
    live.write(SESSION)
    seen = []
    for step in range(100):
        now = step / 100
        live.write(Vitals(step * 160, -float(step), -60.0, None))
        seen.append(terminal.shown()[-1])
    assert 9 <= len(set(seen)) <= 11
    live.write(partial("now"))
    assert "> now" in terminal.shown()


@pytest.mark.parametrize("seed", range(20))
def test_no_caption_can_move_the_cursor_or_break_the_picture(terminal: Terminal, seed: int) -> None:
    chance = random.Random(seed)
    alphabet = [
        "a",
        "B ",
        "word ",
        "日本",
        "é",
        "e\u0301",
        "👩‍🔬",
        "\x1b[2J",
        "\x1b]0;x\a",
        "\x9b1A",
        "\n",
        "\r",
        "\t",
        "\b",
        "\u202e",
        "\u200b",
        " ",
        "\x00",
    ]
    live = Live(terminal)
    live.write(SESSION)
    for number in range(1, 40):
        text = "".join(chance.choices(alphabet, k=chance.choice([0, 1, 10, 80, 600])))
        live.write(Caption(number, 1, 0, 16_000, text, chance.randint(0, len(text)), False))
        assert sum(line[:2] == [">", " "] for line in terminal.lines) <= 6
        live.write(Sound(number, text[:200], 0, None, 0.5))
        live.write(Device(0, "lost", text, text))
        live.write(Sound(number, text[:200], 0, 1, 0.5))
        live.write(Caption(number, 2, 0, 16_000, text, len(text), True))
    live.close()
    assert terminal.cursor


def test_live_on_anything_but_a_terminal_is_plain_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert written("live", SESSION, Vitals(1, 0, 0, None), partial("A"), DOG) == written("text", DOG)
    monkeypatch.setenv("TERM", "dumb")
    assert type(open_sink("live", terminal)).__name__ == "Text"


def test_an_unknown_format_is_wrong_use() -> None:
    with pytest.raises(ValueError, match="xml"):
        open_sink("xml", io.StringIO())
    assert len(FORMATS) == 5


# Cells


@pytest.mark.parametrize("width", [2, 3, 10, 42])
def test_wrapped_lines_fit_and_lose_nothing_but_spaces(width: int) -> None:
    chance = random.Random(width)
    for _ in range(300):
        text = "".join(chance.choices(["a", "bb", " ", "  ", "日", "e\u0301", "long-word"], k=chance.randint(0, 40)))
        spans: list[Any] = wrap(text, width)
        assert all(sum(map(cells, text[a:b])) <= width for a, b in spans)
        assert "".join(text[a:b] for a, b in spans).replace(" ", "") == text.replace(" ", "")
        assert sum(map(cells, fit(text, width))) <= width
