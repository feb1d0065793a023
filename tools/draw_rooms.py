"""Draws docs/rooms.svg: the rooms of src/facemend in layers, from the import graph.

python tools/draw_rooms.py
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path

import grimp

_ROOT = Path(__file__).resolve().parents[1]
_WORDS = {
    "cli": "the commands, one a file",
    "server": "page and HTTP API",
    "training": "networks, losses, loop",
    "evaluation": "protocol, systems, report",
    "video": "clips, faces followed, fused",
    "reconstruction": "model file, photo in, photo out",
    "datasets": "faces, splits by person, pairs",
    "detection": "where the faces are",
    "occlusion": "what hides a face, with its alpha",
    "metrics": "PSNR, SSIM, identity, seam",
    "degradations": "blur, noise, JPEG",
    "alignment": "a face, cut out and put back",
    "io": "photo files and their metadata",
    "images": "uint8 and the network's range",
    "onnx_model": "an ONNX file, opened and run",
    "parallel": "processes or Ray",
    "files": "written whole or not at all",
    "errors": "each says what to do",
    "terminal": "progress, and strangers' text",
    "safe_path": "no code out of the current folder",
    "thresholds": "numbers that were tuned",
}
"""What a room holds. A room of the package that is not here is an error."""

_TOP_LAYERS = (("cli",), ("server", "training", "evaluation"))
_BOX_PX, _ROW_PX, _WIDTH_PX, _MARGIN_PX = (226, 54), 96, 1020, 24
_COLOURS = {"product": "#cdece6", "laboratory": "#fde3c4", "both": "#e4e7ee"}
_LEGEND = {"product": "product only", "laboratory": "laboratory only", "both": "both roads"}


def main() -> None:
    """Writes the picture."""
    (_ROOT / "docs/rooms.svg").write_text(draw(import_graph()), encoding="utf-8")


def import_graph() -> dict[str, set[str]]:
    """The rooms that each room imports.

    Raises:
        SystemExit: a room has no words here.
    """
    graph = grimp.build_graph("facemend", cache_dir=None)
    rooms: dict[str, set[str]] = {}
    for module in graph.modules:
        room = _room(module)
        imported = {_room(other) for other in graph.find_modules_directly_imported_by(module)}
        rooms.setdefault(room, set()).update(imported - {room, ""})
    for outside in ("", "__main__"):
        rooms.pop(outside, None)
    if new := sorted(rooms.keys() - _WORDS.keys()):
        raise SystemExit(f"say in _WORDS of tools/draw_rooms.py what these rooms hold: {', '.join(new)}")
    return rooms


def _room(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def draw(graph: Mapping[str, set[str]]) -> str:
    """An SVG picture: a row a layer, and a line for each import from one row to the next."""
    rows: dict[int, list[str]] = {}
    for room in _WORDS:  # in this order from left to right
        if room in graph:
            rows.setdefault(_height(room, graph), []).append(room)
    places = {}
    for y, height in enumerate(sorted(rows, reverse=True)):
        free_px = (_WIDTH_PX - 2 * _MARGIN_PX) / len(rows[height])
        for x, room in enumerate(rows[height]):
            places[room] = (_MARGIN_PX + free_px * (x + 0.5), 70 + _ROW_PX * y + _BOX_PX[1] / 2)
    size = f'width="{_WIDTH_PX}" height="{70 + _ROW_PX * len(rows)}"'
    box = f"0 0 {_WIDTH_PX} {70 + _ROW_PX * len(rows)}"
    lines = [
        _line(places[room], places[other])
        for room in graph
        for other in sorted(graph[room])
        if _height(room, graph) == _height(other, graph) + 1 and graph[other]
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="{box}" font-family="sans-serif">',
            f'<title>The rooms of facemend</title>\n<rect {size} fill="#fff"/>',
            *_legend(),
            *sorted(lines),
            *(_box(room, *places[room], _COLOURS[_road(room, graph)]) for room in places),
            "</svg>\n",
        ]
    )


def _below(room: str, graph: Mapping[str, set[str]]) -> set[str]:
    """All rooms that a room imports, directly or not."""
    return graph[room].union(*(_below(other, graph) for other in graph[room]))


def _height(room: str, graph: Mapping[str, set[str]]) -> int:
    return max((1 + _height(other, graph) for other in graph[room]), default=0)


def _road(room: str, graph: Mapping[str, set[str]]) -> str:
    """Which of the two roads needs a room. The lowest row serves everybody."""
    product = {"server", *_below("server", graph)}
    laboratory = {"training", "evaluation"} | _below("training", graph) | _below("evaluation", graph)
    if not graph[room] or (room in product) == (room in laboratory):
        return "both"
    return "product" if room in product else "laboratory"


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    top, bottom = y1 + _BOX_PX[1] / 2, y2 - _BOX_PX[1] / 2
    middle = (top + bottom) / 2
    return (
        f'<path d="M{x1:.0f} {top:.0f}C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} {x2:.0f} {bottom:.0f}" '
        'fill="none" stroke="#9aa3b2" stroke-width="1.4"/>'
    )


def _box(room: str, x: float, y: float, colour: str) -> str:
    width, height = _BOX_PX
    suffix = "/" if (_ROOT / "src/facemend" / room).is_dir() else ".py"
    place = f'x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width}" height="{height}"'
    title = f'x="{x:.0f}" y="{y - 4:.0f}" text-anchor="middle" font-size="16" font-weight="600"'
    words = f'x="{x:.0f}" y="{y + 16:.0f}" text-anchor="middle" font-size="13"'
    return (
        f'<rect {place} rx="7" fill="{colour}" stroke="#5b6472"/>'
        f"<text {title}>{room}{suffix}</text><text {words}>{escape(_WORDS[room])}</text>"
    )


def _legend() -> list[str]:
    drawn = []
    for number, (road, words) in enumerate(_LEGEND.items()):
        x = _MARGIN_PX + 170 * number
        box = f'x="{x}" y="20" width="18" height="18" rx="4"'
        drawn.append(f'<rect {box} fill="{_COLOURS[road]}" stroke="#5b6472"/>')
        drawn.append(f'<text x="{x + 26}" y="34" font-size="14">{words}</text>')
    hint = "Imports go down only. Lines: imports from one row to the next."
    return [
        *drawn,
        f'<text x="{_WIDTH_PX - _MARGIN_PX}" y="34" text-anchor="end" font-size="13">{hint}</text>',
    ]


if __name__ == "__main__":
    main()
