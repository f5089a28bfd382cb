"""Audio models as llama.cpp has them: a language model and its mmproj, both GGUF, taken as they are (Ultravox, Qwen2.5-Omni …).

They run through mtmd, which makes its own log-mels, in windows of 30 s. The prompt is the file's own chat template, or one that
llama.cpp knows by name.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge.backends.llama import LlamaModel, load_llama
from edge.backends.mtmd import MtmdTower
from edge.errors import BackendError
from edge.types import SAMPLE_RATE
from export.prompts import CONTEXT, Prompts, captioned
from export.recipes.recipe import BuildError, Recipe, Work

WINDOW_S = 29.9
"""Of the last 20 ms before 30 s mtmd makes a second window, of silence."""
MARK, QUESTION, ANSWER = "\x02", "\x03", "\x04"
"""Where audio, question and answer stand while the chat template is applied."""
THOUGHT = ("<think>", "</think>")
"""What the templates of Qwen3 and DeepSeek write around a thought."""
PROJECTOR = "clip"


def pair_of(source: Path) -> tuple[Path, Path] | None:
    """(mmproj, language model) of a folder that holds exactly one of each."""
    import gguf

    found: dict[bool, list[Path]] = {True: [], False: []}
    for path in sorted(source.glob("*.gguf")):
        try:
            field = gguf.GGUFReader(path).get_field("general.architecture")
        except (OSError, ValueError, IndexError) as error:
            raise BuildError(f"{path}: it cannot be read as GGUF ({error}); fetch it again") from None
        found[field is not None and field.contents() == PROJECTOR].append(path)
    if len(found[True]) != 1 or len(found[False]) != 1:
        return None
    return found[True][0], found[False][0]


def chat_template(language: Path, wanted: str) -> str:
    """The name that is wanted, or the template in the file. Raises: BuildError where there is none."""
    import gguf

    field = gguf.GGUFReader(language).get_field("tokenizer.chat_template")
    given = wanted or (str(field.contents()) if field is not None else "")
    if not given:
        raise BuildError(f"{language}: it holds no chat template; name one with --chat-template (chatml, llama3, mistral-v7 …)")
    return given


def applied(given: str, *said: tuple[str, str]) -> str:
    """The template over what each role says, with the beginning of an answer behind it; "" where llama.cpp does not know it."""
    llama = load_llama()
    messages = [llama.llama_chat_message(role=role.encode(), content=text.encode()) for role, text in said]
    room = ctypes.create_string_buffer(1 << 16)
    size = llama.llama_chat_apply_template(
        given.encode(), (llama.llama_chat_message * len(said))(*messages), len(said), True, room, len(room)
    )
    return str(room.raw[: max(0, size)].decode())


def template(language: Path, wanted: str) -> str:
    """The chat template as text with MARK and QUESTION in it. wanted: a name, "" for the file's. Raises: BuildError."""
    text = applied(chat_template(language, wanted), ("user", MARK + QUESTION))
    if text.count(MARK) != 1 or text.count(QUESTION) != 1:
        raise BuildError(
            f"{language}: llama.cpp does not know its chat template{f' {wanted!r}' * bool(wanted)}; name one with --chat-template (chatml, "
            "llama3, mistral-v7 …)"
        )
    return text


def prompts_of(language: Path, tower: MtmdTower, wanted: str) -> Prompts:
    """What stands before the rows and behind them: the chat template and the tokens that the model has around audio."""
    import gguf

    field = gguf.GGUFReader(language).get_field("tokenizer.ggml.tokens")
    names = field.contents() if field is not None else []
    around = tower.around()
    before, behind = ("".join(str(names[token]) for token in tokens) for tokens in (around.before, around.behind))
    front, _, back = template(language, wanted).partition(MARK)
    given = chat_template(language, wanted)
    both = applied(given, ("user", MARK + QUESTION), ("assistant", ANSWER), ("user", QUESTION))
    again = both.partition(ANSWER)[2].replace(QUESTION, "{question}") if both.count(ANSWER) == 1 else ""
    thought = THOUGHT if all(mark in given for mark in THOUGHT) else None
    return Prompts(front + before, behind + back.replace(QUESTION, "{question}"), again=again, thought=thought)


def attempt(source: Path, encoder: Path, language: Path) -> None:
    """Runs the encoder once in a process of its own: on what llama.cpp does not expect it ends the process. Raises: BuildError."""
    code = (
        "import sys; from pathlib import Path; import numpy as np; from edge.backends.mtmd import MtmdTower\n"
        "tower = MtmdTower(Path(sys.argv[1]), Path(sys.argv[2]), speak=True)\n"
        "tower.run({'samples': np.zeros((1, 16000), np.float32)})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(encoder), str(language)], capture_output=True, text=True, check=False)
    if done.returncode < 0:
        told = [line.strip() for line in done.stderr.splitlines() if "expected" in line or "ASSERT" in line or "nvalid" in line]
        why = (told or [f"signal {-done.returncode}"])[0][:200]
        raise BuildError(f"{source}: this llama.cpp ends the process when it hears with these files ({why}); choose another model")


def make(work: Work) -> dict[str, Any]:
    """Copies, and a run through both to see that they go together."""
    found = pair_of(work.source)
    if found is None:
        raise BuildError(f"{work.source}: it must hold exactly one mmproj and one language model as .gguf; put the two of one model there")
    encoder, language = work.folder / "encoder.gguf", work.folder / "captioner.gguf"
    for source, target in zip(found, (encoder, language), strict=True):
        work.tell(f"copying {source.name}")
        shutil.copyfile(source, target)
    attempt(work.source, encoder, language)
    try:
        tower = MtmdTower(encoder, language)
    except BackendError as error:
        raise BuildError(f"{work.source}: {error}") from None
    try:
        prompts = prompts_of(language, tower, work.options.get("chat_template", ""))
        sound = np.random.default_rng(1).normal(0, 0.05, round(WINDOW_S * SAMPLE_RATE)).astype(np.float32)
        begin = time.perf_counter()
        rows = tower.run({"samples": sound[None]})["vectors"][0]
        spent = time.perf_counter() - begin
        if not np.isfinite(rows).all():
            raise BuildError(f"{work.source}: its encoder makes rows that are no numbers; the file is damaged")
        model = LlamaModel(language, context=CONTEXT, before=prompts.before)
        try:
            model.extend(rows)
            said = model.decode(model.tokenize(prompts.after.replace("{question}", prompts.caption)), [], 0, 16)
        finally:
            model.close()
    finally:
        tower.close()
    data = f"{WINDOW_S:g} s of noise"
    work.measured("rows of a window", len(rows), "", data, 1)
    work.measured("milliseconds for a window", 1000 * spent, "ms", data, 1)
    work.measured("tokens said of it, at most 16", len(said), "", data, 1)
    work.measured("bytes", encoder.stat().st_size + language.stat().st_size, "bytes", "both files", 1)
    parts = [
        {"role": role, "runtime": "gguf", "file": path.name, "inputs": [], "outputs": [], "precision": "published", "source": work.origin}
        for role, path in (("encoder", encoder), ("captioner", language))
    ]
    return {
        "licence": work.licence,
        "models": parts,
        "front_end": {"kind": "samples"},
        "encoder": {"kind": "whole", "window_s": WINDOW_S, "vector_hop": round(WINDOW_S * SAMPLE_RATE / len(rows))},
        "caption": captioned(prompts, CONTEXT),
        "card": f"# {work.name}\nA published GGUF pair, unchanged, run through llama.cpp's mtmd in windows of {WINDOW_S:g} s: a shorter "
        "sound costs the whole window in most of these models. It captions and answers questions; it tells no sounds of its own.",
    }


def _suits(source: Path) -> bool:
    try:
        return pair_of(source) is not None
    except (ImportError, BuildError):
        return False


RECIPE = Recipe(
    "gguf-pair",
    "published GGUF pairs of model and mmproj, taken as they are, through mtmd",
    (),
    (),
    (),
    ("cpu", "pi5", "jetson"),
    make,
    _suits,
)
