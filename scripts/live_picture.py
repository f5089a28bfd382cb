"""Makes docs/pictures/live.svg: the real live view on the demo scene, photographed in a tmux pane.

Usage: live_picture.py [SECONDS] [SVG]
"""

from __future__ import annotations

import html
import re
import subprocess
import sys
import time
from pathlib import Path

COLUMNS, LINES = 92, 16
CELL_X, CELL_Y = 8.4, 18
STYLES = {"1": "font-weight:bold", "2": "opacity:.55"}


def photograph(seconds: float) -> str:
    """The pane's text with its escape sequences after so many seconds of `auricle listen` on the demo scene."""
    command = f"{Path(sys.executable).parent}/auricle listen --input edge/data/demo_scene.flac --format live; sleep 5"
    tmux = ["tmux", "-u", "-L", "auricle-picture"]
    subprocess.run([*tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), command], check=True)
    try:
        time.sleep(seconds)
        return subprocess.run([*tmux, "capture-pane", "-p", "-e"], check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def spans(line: str, style: str) -> tuple[str, str]:
    """One line of the pane as SVG text spans, and the style that is in force after it."""
    out = ""
    for code, text in re.findall(r"(?:\x1b\[([0-9;]*)m)?([^\x1b]*)", line):
        if code:
            style = ";".join(STYLES[part] for part in code.split(";") if part in STYLES)
        if text:
            out += f'<tspan style="{style}">{html.escape(text)}</tspan>'
    return out, style


def svg(pane: str) -> str:
    """The whole picture."""
    lines = pane.rstrip("\n").split("\n")
    width, height = COLUMNS * CELL_X + 32, len(lines) * CELL_Y + 32
    rows, style = "", ""
    for i, line in enumerate(lines):
        text, style = spans(line, style)
        rows += f'<text x="16" y="{28 + i * CELL_Y}" xml:space="preserve">{text}</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="14">'
    return f'{head}<rect width="100%" height="100%" rx="8" fill="#16181d"/><g fill="#e6e6e6">{rows}</g></svg>\n'


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 26.0
    target = Path(sys.argv[2] if len(sys.argv) > 2 else "docs/pictures/live.svg")
    target.write_text(svg(photograph(seconds)), encoding="utf-8")
    print(f"wrote {target}")
