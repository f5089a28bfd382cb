"""Writes the table of figures in README.md out of `results/`, so that no figure there was typed.

    python benchmarks/table.py [--check]      --check: says whether it is up to date, and changes nothing

A row is text with figures in braces: {FILE/KEY/KEY…|FORMAT}. A format is Python's, or `points` for a signed difference, or `MB` for bytes.
A key may be the number of an element of a list.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- figures: made by benchmarks/table.py -->\n", "<!-- end of figures -->\n"
FIGURE = re.compile(r"\{([^{}|]+)\|([^{}]+)\}")

E, Y, S, W = "evaluate_without_fold_4", "evaluate_yamnet", "bench_starter", "evaluate_elsewhere"
D = "seq2seq_decode/found"
ROWS = (
    (
        "49 recordings of the ten classes out of public repositories, never heard, many of games: class is the strongest sound · named in "
        "the caption",
        f"{{{W}/figures/clips_accuracy/value|.1%}} (95 %: {{{W}/figures/clips_accuracy/low|.1%}} to "
        f"{{{W}/figures/clips_accuracy/high|.1%}}) · {{{W}/figures/clips_captioned/value|.1%}}",
    ),
    (
        "two-sound scenes of them (700): both named, none invented, right order · sounds missed · captions that invent",
        f"{{{W}/figures/scenes_right/value|.1%}} · {{{W}/figures/sounds_missed/value|.1%}} · {{{W}/figures/captions_invent/value|.1%}}",
    ),
    (
        "sequence told from overlap · counts 1-4 exact · questions, 14 skills",
        f"{{{W}/figures/sequence_or_overlap/value|.1%}} · {{{W}/figures/counts_exact/value|.1%}} · {{{W}/figures/questions/value|.1%}}",
    ),
    (
        "false sounds on an hour of noise · of speech in voices never heard",
        f"{{{W}/figures/false_per_hour_noise/value|.0f}} · {{{W}/figures/false_per_hour_speech/value|.0f}}",
    ),
    (
        "52 recordings of rooms, streets, weather and animals, never heard: false sounds an hour · recordings with any",
        f"{{{W}/figures/false_per_hour_rooms/value|.0f}} · {{{W}/figures/rooms_claimed/value|.0%}}",
    ),
    (
        "weights in int8 and Q8_0 against float: class the strongest · scenes right · overlap · counts · digits · yes/no",
        " · ".join(
            f"{{{W}/against/difference/{key}|points}}"
            for key in ("clips_accuracy", "scenes_right", "sequence_or_overlap", "counts_exact", "digits_right", "yes_no")
        )
        + " points",
    ),
    (
        "encoder CPU for a second of audio, one slow core: 2.7.1 · 2.7.0 in turns with it · size of the bundle",
        "{encoder_cost/found/folded_ms_per_s|.1f} ms · {encoder_cost/found/before_ms_per_s|.1f} ms · "
        f"{{{W}/figures/bundle_bytes/value|MB}} MB",
    ),
    (
        "2.3.0, ESC-10 fold 4 (80 real recordings), edition that never heard it: class is the strongest sound · named in the caption",
        f"{{{E}/figures/clips_accuracy/value|.1%}} (95 %: {{{E}/figures/clips_accuracy/low|.1%}} to "
        f"{{{E}/figures/clips_accuracy/high|.1%}}) · "
        f"{{{E}/figures/clips_captioned/value|.1%}}",
    ),
    (
        "the same of YAMNet, scores limited to the ten classes · all of our labels",
        f"{{{Y}/figures/clips_accuracy_of_ten/value|.1%}} · {{{Y}/figures/clips_accuracy/value|.1%}}",
    ),
    (
        "its two-sound scenes (200, half both recorded): both named, none invented, right order · sounds missed · captions that invent",
        f"{{{E}/figures/scenes_right/value|.1%}} · {{{E}/figures/sounds_missed/value|.1%}} · {{{E}/figures/captions_invent/value|.1%}}",
    ),
    (
        "its sequence told from overlap · counts 1-4 exact",
        f"{{{E}/figures/sequence_or_overlap/value|.1%}} · {{{E}/figures/counts_exact/value|.1%}}",
    ),
    ("its digit right, a speaker never heard (500 real recordings)", f"{{{E}/figures/digits_right/value|.1%}}"),
    (
        "its questions, 14 skills · yes/no with hard negatives · CompA-style order pairs, group score",
        f"{{{E}/figures/questions/value|.1%}} · {{{E}/figures/yes_no/value|.1%}} · {{{E}/figures/order_group/value|.1%}}",
    ),
    ("2.8 h of silence, white, pink and brown noise at -60 to -20 dBFS: captions that claim a sound", "{line_noise/claiming_captions|d}"),
    (
        "60 s through PulseAudio, three times: samples lost or doubled",
        "{capture_counter/results/0/lost|d}, {capture_counter/results/1/lost|d}, {capture_counter/results/2/lost|d}",
    ),
    (
        "microphone unplugged, moved, silent, sound server killed: noticed, worst of three each",
        ", ".join(f"{{capture_loss/results/{k}/noticed_s/worst|.2f}}" for k in range(4)) + " s",
    ),
    ("`auricle caption` on busy sound, one core, start-up included", "{line_cost/times_real_time|.0f}x real time"),
    (
        "gate alone: quiet stream · speech without a pause, CPU-s an hour",
        "{gate_cost/cost/white noise at -75 dBFS/cpu_s_per_hour_median|.2f} · "
        "{gate_cost/cost/speech without a pause/cpu_s_per_hour_median|.1f}",
    ),
    (
        "ring, 512 samples in and out on one thread · to a second thread: time against boost's spsc queue, moodycamel's circular buffer; "
        "through Python, against `bytes` in a `queue.Queue`",
        "{native_ring/one_thread/auricle/median_ns|.0f} ns against {native_ring/one_thread/boost_spsc_bulk/median_ns|.0f}, "
        "{native_ring/one_thread/moodycamel_circular/median_ns|.0f} · {native_ring/two_threads/auricle/median_ns|.0f} against "
        "{native_ring/two_threads/boost_spsc_bulk/median_ns|.0f}, {native_ring/two_threads/moodycamel_circular/median_ns|.0f}; "
        "{native_ring/through_python/bytes_queue/times_ours|.1f}x",
    ),
    (
        "an hour of digital silence · of a quiet room; the same minute ten times on end",
        "{line_cost/cpu_s_per_hour_beyond_start_up/silent|.1f} · {line_cost/cpu_s_per_hour_beyond_start_up/quiet_room|.1f} CPU-s; "
        "{line_cost/ten_minutes_to_one|.1f} times its CPU",
    ),
    (
        "resident memory, whole line, 1 h of busy sound",
        "{line_cost/memory/peak_mb|.0f} MB, slope {line_cost/memory/slope_mb_per_hour|+.1f} MB/h",
    ),
    (
        "log-mel, against kaldi-native-fbank in the same run",
        "{native_log_mel/one_shot kaldi_native_fbank/times_ours|.0f}x one-shot, "
        "{native_log_mel/streaming kaldi_native_fbank/times_ours|.0f}x streaming",
    ),
    (
        "final captions that are word for word a fresh evaluation's, behind what was committed: Q8_0 · F32",
        "{line_captions/as shipped/same_behind_what_was_committed|d} of {line_captions/as shipped/audios|d} · "
        "{line_captions/F32/same_behind_what_was_committed|d} of {line_captions/F32/audios|d}",
    ),
    (
        "from the newest sample to a partial · a final caption; from a sound's onset to its record, p95",
        "{line_captions/late/partial/p95_ms|.0f} · {line_captions/late/final/p95_ms|.0f} ms; {line_captions/late/sound/p95_ms|.0f} ms",
    ),
    (
        "a hop of 0.5 s behind the same text, 45 s into a turn against 5 s",
        "{line_captions/cost/hop_ms/same_text/45 s|.2f} ms against {line_captions/cost/hop_ms/same_text/5 s|.2f}",
    ),
    ("words that a revision changed, against words of the finals", "{line_captions/revisions/rate|.1%}"),
    (
        "a language model that needs 20 times as long as there is, for a minute: finals told · with the text of a line that had time · "
        "samples lost; live again after",
        "{line_overload/finals_told|d} of {line_overload/finals|d} · {line_overload/finals_with_the_same_text|d} · {line_overload/gaps|d}; "
        "{line_overload/live_again_after_s|.1f} s",
    ),
    (
        "decoding 30 s, Whisper-tiny's size, random weights, time against CTranslate2's, whisper.cpp's and onnxruntime's in the same run: "
        "float, the same tokens as the first and the last · 8 bits",
        f"{{{D}/float32, 30 s/decode, ours to peer|.2f}}, {{{D}/float32, 30 s/decode, ours to whisper.cpp|.2f}}, "
        f"{{{D}/float32, 30 s/decode, ours to onnxruntime|.2f}} · "
        f"{{{D}/int8, 30 s/decode, ours to peer|.2f}}, {{{D}/int8, 30 s/decode, ours to whisper.cpp|.2f}}, "
        f"{{{D}/int8, 30 s/decode, ours to onnxruntime|.2f}}",
    ),
    (
        "a view of Moonshine streaming, int8, its configuration's size, random weights, 5 · 29 s into a turn: its encoder, "
        "of the time of the whole turn",
        "{encoder_growing/found/int8, 5 s/growing_ms|.0f} ms, {encoder_growing/found/int8, 5 s/ratio|.2f} · "
        "{encoder_growing/found/int8, 29 s/growing_ms|.0f} ms, {encoder_growing/found/int8, 29 s/ratio|.2f}",
    ),
    (
        "int8 encoder of Whisper-tiny's size against float, 5 s · 30 s of sound; cosine",
        "{encoder_int8/found/5 s/times_faster|.1f} · {encoder_int8/found/30 s/times_faster|.1f} times as fast; "
        "{encoder_int8/found/30 s/cosine|.4f}",
    ),
    (
        "an hour of noise through a transcriber that loops on purpose: finals that loop",
        "{line_loops/guarded/finals_that_loop|d} of {line_loops/guarded/turns|d}",
    ),
    (
        "start-up to the first block: gate alone · whole line (`auricle bench`)",
        f"{{{S}/startup_ms/gate, first block/p50|.0f}} · {{{S}/startup_ms/whole line, first block/p50|.0f}} ms",
    ),
    (
        "an hour of the demo scene (`auricle bench`), CPU · memory",
        f"{{{S}/offline/cpu_s_per_audio_hour|.0f}} CPU-s · {{{S}/live/memory_mb/peak|.0f}} MB",
    ),
    ("records that were acknowledged and lost, over 2,000 SIGKILLs", "{history_kills/lost|d} of {history_kills/acknowledged|,}"),
    (
        "broker away for a minute, its database deleted, bridge killed: events that arrived · twice by uid",
        "{bridge_outage/arrived|d} of {bridge_outage/events|d} · {bridge_outage/sent_again|d}",
    ),
    (
        "record to client on loopback, p99: socket · WebSocket · MQTT QoS 1 · Zenoh",
        "{serve_latency/alone/socket/p99_ms|.2f} · {serve_latency/alone/websocket/p99_ms|.2f} · {bridge_latency/mqtt/p99_ms|.2f} · "
        "{bridge_latency/zenoh/p99_ms|.2f} ms",
    ),
    (
        "the same beside 50 clients that never read: socket · WebSocket; memory",
        "{serve_latency/beside/socket/p99_ms|.2f} · {serve_latency/beside/websocket/p99_ms|.2f} ms; "
        "{serve_latency/memory_growth_mb/0|+.1f} MB",
    ),
    (
        "200 devices at one mosquitto, which dies for 10 s: captions that arrived · p99 before",
        "{fleet_mqtt/arrived|d} of {fleet_mqtt/captions|d} · {fleet_mqtt/calm_ms/p99|.0f} ms",
    ),
)


@cache
def result(name: str) -> Any:
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def figure(path: str, form: str) -> str:
    """One figure. Raises: KeyError or IndexError that names the key, FileNotFoundError."""
    name, *keys = path.split("/")
    value = result(name)
    for key in keys:
        value = value[int(key)] if isinstance(value, list) else value[key]
    if form == "points":
        return f"{value:+.1f}"
    return f"{value / 1e6:.1f}" if form == "MB" else format(value, form)


def table() -> str:
    """The whole table as Markdown."""
    lines = ["| what | figure | from |", "|---|---|---|"]
    for what, cells in ROWS:
        sources = dict.fromkeys(path.partition("/")[0] for path, _ in FIGURE.findall(cells))
        told = FIGURE.sub(lambda found: figure(found[1], found[2]), cells)
        lines.append(f"| {what} | {told} | {', '.join(f'`{source}`' for source in sources)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    new = table()
    if sys.argv[1:] == ["--check"]:
        if old != new:
            print("auricle: README's figures are not those of benchmarks/results; run python benchmarks/table.py", file=sys.stderr)
        return int(old != new)
    README.write_text(before + BEGIN + new + END + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
